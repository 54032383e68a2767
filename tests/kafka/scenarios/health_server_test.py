# SPDX-License-Identifier: MIT
"""The example health_server: what it answers over HTTP, against Kafka and without."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import scenario
from verifiable import MemberFailed, built_program

OPENMETRICS = "application/openmetrics-text"


def parsers(folder: Path):
    """Prometheus' own parsers of both formats; from PyPI if they are not installed. None: they cannot be had."""
    for attempt in range(2):
        try:
            return (importlib.import_module("prometheus_client.parser"),
                    importlib.import_module("prometheus_client.openmetrics.parser"))
        except ImportError:
            if attempt == 0:
                subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "prometheus-client"],
                               stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
                sys.path.append(str(folder))
                importlib.invalidate_caches()
    return None


SHOW_PAGE = """
const shownElements = {};
function madeElement() {
  return {
    textContent: '', className: '', style: {}, cells: [], rows: [], children: [],
    replaceChildren(...children) { this.children = children; this.rows = []; },
    append() {},
    insertRow() { const row = madeElement(); this.rows.push(row); return row; },
    insertCell() { const cell = madeElement(); this.cells.push(cell); return cell; },
  };
}
globalThis.document = {
  getElementById: id => shownElements[id] ??= madeElement(),
  createElement: () => madeElement(),
};
globalThis.setTimeout = () => {
  const text = id => shownElements[id].textContent;
  console.log(JSON.stringify({
    group: text('group'), phase: text('phase'), ready: text('ready'), live: text('live'),
    reasons: shownElements.reasons.children.map(item => item.textContent),
    partitions: shownElements.claims.rows.map(row => row.cells[0].textContent),
  }));
};
globalThis.fetch = async () => ({json: async () => JSON.parse(process.env.STATE)});
"""
"""A document for the page's script, which has other names: it prints what was shown instead of looking again."""


class Server:
    def __init__(self, folder: Path, **config) -> None:
        file = folder / "health.json"
        file.write_text(json.dumps(config))
        self.process = subprocess.Popen([built_program("health_server"), file, "0"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)\n", line).group(1))

    def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, answer.headers["Content-Type"], body

    def state(self) -> dict:
        return json.loads(self.get("/state")[2])

    def page(self, state: dict) -> dict | None:
        """What the page shows of a state. None: there is no Node.js to run its script."""
        if shutil.which("node") is None:
            return None
        script = re.search(r"<script>(.*)</script>", self.get("/")[2], re.DOTALL)[1]
        shown = subprocess.run(["node", "-"], input=SHOW_PAGE + script, capture_output=True, text=True, timeout=60,
                               env=os.environ | {"STATE": json.dumps(state)}, check=True)
        return json.loads(shown.stdout)

    def wait(self, wanted, bound: float = 30) -> dict:
        state: dict = {}

        def look() -> bool:
            nonlocal state
            state = self.state()
            return wanted(state)

        scenario.poll(look, bound, lambda: json.dumps(state, indent=1))
        return state

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class HealthServerTest(scenario.Scenario):
    def serve(self, brokers: str, topic: str) -> Server:
        try:
            built_program("health_server")
        except MemberFailed as reason:
            self.skipTest(str(reason))
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        server = Server(folder, brokers_address=[brokers], consumer_group_id=self.unique('a "quoted" group'),
                        group_id_consistent=True, topics=[topic], consumer={"offset_initial": -2})
        self.addCleanup(server.close)
        return server

    def test_a_member_that_consumes_is_ready_and_all_pages_show_it(self) -> None:
        topic = self.topic(3)
        self.kafka.produce(topic, 1000)
        server = self.serve(self.kafka.addresses, topic)
        state = server.wait(lambda state: state["phase"] == "consuming" and state["lag"] == 0 and
                            state["stats"]["records_received"] == 1000)
        self.assertEqual([(topic, number) for number in range(3)],
                         [(claim["topic"], claim["partition"]) for claim in state["claims"]])
        self.assertEqual(1000, sum(claim["position"] for claim in state["claims"]))
        self.assertTrue(state["member_id"])
        self.assertEqual({"ok": True, "reasons": []}, state["readiness"])
        server.wait(lambda state: state["last_commit"] and sum(claim["committed"] or 0 for claim in state["claims"]) == 1000)
        for path in "/readyz", "/healthz":
            status, kind, body = server.get(path)
            self.assertEqual((200, "application/json"), (status, kind))
            self.assertEqual({"ok": True, "reasons": []}, json.loads(body))
        status, kind, body = server.get("/")
        self.assertEqual((200, "text/html; charset=utf-8"), (status, kind))
        self.assertIn("fetch('state')", body)
        self.check_metrics(server, topic)
        self.check_page(server, server.state(), "consuming", "ready", "live")
        self.assertEqual(0, server.stop())

    def check_page(self, server: Server, state: dict, phase: str, ready: str, live: str) -> None:
        """The page, drawn from the state, shows its badges, its reasons and its claims."""
        page = server.page(state)
        if page is None:
            print("[left out] the page is not drawn: Node.js is not there", flush=True)
            return
        self.assertEqual(state["group_id"], page["group"])
        self.assertTrue(page["phase"].startswith(phase + " for "), page["phase"])
        self.assertEqual((ready, live), (page["ready"], page["live"]))
        self.assertEqual(state["readiness"]["reasons"] + state["liveness"]["reasons"], page["reasons"])
        self.assertEqual([f"{claim['topic']}[{claim['partition']}]" for claim in state["claims"]], page["partitions"])

    def check_metrics(self, server: Server, topic: str) -> None:
        found = parsers(Path(self.enterContext(tempfile.TemporaryDirectory())))
        if found is None:
            print("[left out] the metrics are not parsed: prometheus-client cannot be had", flush=True)
            return
        for parser, accept, kind in zip(found, ("text/plain", OPENMETRICS), ("text/plain; version=0.0.4", OPENMETRICS)):
            status, told, body = server.get("/metrics", Accept=accept)
            self.assertEqual(200, status)
            self.assertTrue(told.startswith(kind), told)
            families = list(parser.text_string_to_metric_families(body))
            names = [family.name for family in families]
            self.assertEqual(len(set(names)), len(names))
            samples = {}
            for family in families:
                self.assertIn(family.type, ("counter", "gauge", "histogram"), family.name)
                self.assertTrue(family.documentation, family.name)
                for sample in family.samples:
                    self.assertEqual(family.type == "counter", sample.name.endswith("_total"), sample.name)
                    self.assertIn('a "quoted" group', sample.labels["group"])
                    samples.setdefault(sample.name, []).append(sample)
            self.assertEqual([1000.0], [sample.value for sample in samples["kgroup_records_delivered_total"]])
            lags = {(sample.labels["topic"], sample.labels["partition"]): sample.value
                    for sample in samples["kgroup_claim_lag_records"]}
            self.assertEqual({(topic, str(number)): 0.0 for number in range(3)}, lags)
            commits = {sample.labels["le"]: sample.value for sample in samples["kgroup_commit_seconds_bucket"]}
            self.assertEqual(samples["kgroup_commit_seconds_count"][0].value, commits["+Inf"])
            self.assertGreater(commits["+Inf"], 0)
            if accept == "text/plain":
                self.check_dashboard(body)
            phases = {sample.labels["phase"]: sample.value for sample in samples["kgroup_phase"]}
            self.assertEqual(["consuming"], [phase for phase, value in phases.items() if value == 1])

    def check_dashboard(self, exposition: str) -> None:
        """Each metric that the dashboard in docs/ asks for is in an exposition, and each histogram is asked for its buckets."""
        types = dict(line.split()[2:4] for line in exposition.splitlines() if line.startswith("# TYPE "))
        names = {name for name, kind in types.items() if kind != "histogram"}
        names |= {name + "_bucket" for name, kind in types.items() if kind == "histogram"}
        dashboard = json.loads((Path(__file__).resolve().parents[3] / "docs" / "grafana" / "kgroup.json").read_text())
        queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        queries += [variable["query"] for variable in dashboard["templating"]["list"]]
        asked = {name for query in queries for name in re.findall(r"\bkgroup_\w+", query)}
        self.assertGreater(len(asked), 20)
        self.assertEqual(set(), asked - names)

    def test_without_a_broker_it_is_live_and_not_ready_and_says_why(self) -> None:
        server = self.serve("127.0.0.1:1", "orders")
        state = server.wait(lambda state: state["outage_since"])
        self.assertEqual("connecting", state["phase"])
        status, _, body = server.get("/readyz")
        self.assertEqual(503, status)
        self.assertIn("brokers_unreachable", body)
        self.assertEqual(200, server.get("/healthz")[0])
        self.assertIn('kind="brokers_unreachable"} 1\n', server.get("/metrics")[2])
        self.check_page(server, server.state(), "connecting", "not ready", "live")
        self.assertEqual(0, server.stop())

    def test_while_its_topic_is_missing_all_pages_say_so_and_afterwards_none_does(self) -> None:
        topic = self.unique("topic")
        server = self.serve(self.kafka.addresses, topic)
        state = server.wait(lambda state: state["conditions"])
        self.assertEqual(["topic_missing"], [condition["kind"] for condition in state["conditions"]])
        status, _, body = server.get("/readyz")
        self.assertEqual(503, status)
        self.assertIn(topic, body)
        self.assertEqual(200, server.get("/healthz")[0])
        self.assertIn('kind="topic_missing"} 1\n', server.get("/metrics")[2])
        self.check_page(server, state, state["phase"], "not ready", "live")

        self.kafka.create_topic(topic, 2)
        state = server.wait(lambda state: state["readiness"]["ok"] and len(state["claims"]) == 2, 60)
        self.assertEqual([], state["conditions"])
        for path in "/readyz", "/healthz":
            status, _, body = server.get(path)
            self.assertEqual((200, {"ok": True, "reasons": []}), (status, json.loads(body)))
        self.assertIn('kind="topic_missing"} 0\n', server.get("/metrics")[2])
        self.check_page(server, state, "consuming", "ready", "live")
        self.assertEqual(0, server.stop())


if __name__ == "__main__":
    unittest.main()
