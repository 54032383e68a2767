// SPDX-License-Identifier: MIT

#pragma once

/// A page that asks for /state each second and shows it: one file, without a script from elsewhere.
inline constexpr auto state_page = R"html(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>kgroup</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
         color: #1c2733; background: #fbfbfa; }
  h1 { font-size: 1.4rem; margin: 0; }
  .badge { display: inline-block; padding: 0 .6rem; border-radius: 1rem; color: #fff; background: #888; }
  .ok { background: #23854a; } .bad { background: #b3321f; }
  .facts { color: #54616e; margin: .3rem 0 1rem; }
  ul { padding-left: 1.2rem; } li { color: #b3321f; }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid #e3e5e6; white-space: nowrap; }
  th { font-weight: 600; } th:first-child, td:first-child { text-align: left; }
  td.lag { width: 30%; text-align: left; }
  .bar { display: inline-block; height: .8rem; background: #4a7fb5; vertical-align: middle; margin-right: .4rem; }
  .stalled { background: #b3321f; } .why { text-align: left; white-space: normal; color: #b3321f; }
</style>
<h1><span id="group"></span> <span id="phase" class="badge"></span>
  <span id="ready" class="badge"></span> <span id="live" class="badge"></span></h1>
<p class="facts" id="facts"></p>
<ul id="reasons"></ul>
<table><thead><tr><th>partition<th>lag<th>position<th>committed<th>waiting<th>in flight<th>oldest<th>records/s
</thead><tbody id="claims"></tbody></table>
<script>
  const element = id => document.getElementById(id);
  const age = (state, when) => when ? ((Date.parse(state.at) - Date.parse(when)) / 1000).toFixed(1) + ' s' : '–';
  const known = value => value === null ? '–' : value.toLocaleString('en');
  function cell(row, text, style) {
    const made = row.insertCell();
    made.textContent = text;
    if (style) made.className = style;
    return made;
  }
  function badge(id, text, ok) {
    element(id).textContent = text;
    element(id).className = 'badge ' + (ok ? 'ok' : 'bad');
  }
  function show(state) {
    element('group').textContent = state.group_id;
    badge('phase', state.phase + ' for ' + age(state, state.phase_since), state.phase === 'consuming');
    badge('ready', state.readiness.ok ? 'ready' : 'not ready', state.readiness.ok);
    badge('live', state.liveness.ok ? 'live' : 'not live', state.liveness.ok);
    element('facts').textContent = 'member ' + (state.member_id || '–') + ', generation ' + known(state.generation) +
      ', lag ' + known(state.lag) + ', last commit ' + age(state, state.last_commit) +
      ', records ' + known(state.stats.records_received);
    const reasons = new Set([...state.readiness.reasons, ...state.liveness.reasons]);
    element('reasons').replaceChildren(...[...reasons].map(reason => {
      const item = document.createElement('li');
      item.textContent = reason;
      return item;
    }));
    const most = Math.max(1, ...state.claims.map(claim => claim.lag ?? 0));
    const rows = element('claims');
    rows.replaceChildren();
    for (const claim of state.claims) {
      const row = rows.insertRow();
      cell(row, claim.topic + '[' + claim.partition + ']' + (claim.paused ? ' paused' : ''));
      const bar = document.createElement('span');
      bar.className = 'bar' + (claim.stalled_since ? ' stalled' : '');
      bar.style.width = 70 * (claim.lag ?? 0) / most + '%';
      const lag = cell(row, '', 'lag');
      lag.append(bar, known(claim.lag));
      for (const value of [claim.position, claim.committed, claim.records_waiting, claim.records_in_flight]) {
        cell(row, known(value));
      }
      cell(row, age(state, claim.oldest_in_flight));
      cell(row, known(Math.round(claim.records_per_second)));
      if (claim.stalled_since) {
        const why = cell(rows.insertRow(), 'stalled for ' + age(state, claim.stalled_since) + ': ' + claim.stalled_why, 'why');
        why.colSpan = 8;
      }
    }
  }
  async function look() {
    try {
      const answer = await fetch('state');
      show(await answer.json());
    } catch (error) {
      badge('live', 'no answer', false);
    }
    setTimeout(look, 1000);
  }
  look();
</script>
</html>
)html";
