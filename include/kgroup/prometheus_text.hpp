// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/duration_histogram.hpp>
#include <kgroup/event.hpp>
#include <kgroup/group_state.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup {

/// The text format of Prometheus, version 0.0.4, which every version of it reads, or OpenMetrics
/// 1.0.
enum class exposition_format { prometheus, openmetrics };

/// What goes with it as `Content-Type`.
constexpr std::string_view content_type(exposition_format format) noexcept {
    return format == exposition_format::openmetrics
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

namespace detail {

/// Writes families of metrics one after another, each with its samples.
class exposition_writer {
public:
    exposition_writer(exposition_format format, std::size_t size_expected) : format_(format) {
        text_.reserve(size_expected);
    }

    void begin_gauge(std::string_view name, std::string_view meaning) {
        begin(name, "gauge", meaning, "");
    }
    /// `name` without `_total`, which samples of counters end in.
    void begin_counter(std::string_view name, std::string_view meaning) {
        begin(name, "counter", meaning, "_total");
    }
    void begin_histogram(std::string_view name, std::string_view meaning) {
        begin(name, "histogram", meaning, "");
    }

    /// `labels`: as `label` gives them, separated by commas.
    void add(std::string_view labels, std::int64_t value) {
        begin_sample(labels);
        text_ += std::to_string(value);
        text_ += '\n';
    }
    void add(std::string_view labels, std::uint64_t value) {
        begin_sample(labels);
        text_ += std::to_string(value);
        text_ += '\n';
    }
    /// In seconds. No locale has a say in it.
    void add(std::string_view labels, std::chrono::system_clock::duration length) {
        using std::chrono::milliseconds;
        auto const whole =
            (std::max<std::int64_t>)(std::chrono::duration_cast<milliseconds>(length).count(), 0);
        auto const rest = std::to_string(1000 + whole % 1000);
        begin_sample(labels);
        text_ += std::to_string(whole / 1000);
        text_ += '.';
        text_.append(rest, 1);
        text_ += '\n';
    }
    void add(std::string_view labels, std::chrono::system_clock::time_point when) {
        add(labels, when.time_since_epoch());
    }

    /// In seconds, by what it counts up to each bound.
    void add(std::string_view labels, duration_histogram const& counted) {
        std::uint64_t up_to_bound = 0;
        for (std::size_t i = 0; i != duration_histogram::buckets; ++i) {
            up_to_bound += counted.counts[i];
            begin_sample(labels, "_bucket", i < bounds.size() ? bounds[i] : "+Inf");
            text_ += std::to_string(up_to_bound);
            text_ += '\n';
        }
        auto const microseconds =
            std::chrono::duration_cast<std::chrono::microseconds>(counted.sum).count();
        begin_sample(labels, "_sum");
        text_ += std::to_string(microseconds / 1'000'000);
        text_ += '.';
        text_.append(std::to_string(1'000'000 + microseconds % 1'000'000), 1);
        text_ += '\n';
        begin_sample(labels, "_count");
        text_ += std::to_string(up_to_bound);
        text_ += '\n';
    }
    /// 0 to 1, to a thousandth.
    void add_ratio(std::string_view labels, double ratio) {
        auto const thousandths = std::clamp(static_cast<int>(ratio * 1000 + 0.5), 0, 1000);
        begin_sample(labels);
        text_ += std::to_string(thousandths / 1000);
        text_ += '.';
        text_.append(std::to_string(1000 + thousandths % 1000), 1);
        text_ += '\n';
    }

    static std::string label(std::string_view name, std::string_view value) {
        std::string text{name};
        text += "=\"";
        for (auto const letter : value) {
            if (letter == '\\' || letter == '"') {
                text += '\\';
                text += letter;
            } else if (letter == '\n') {
                text += "\\n";
            } else {
                text += letter;
            }
        }
        return text += '"';
    }

    std::string finish() && {
        if (format_ == exposition_format::openmetrics) {
            text_ += "# EOF\n";
        }
        return std::move(text_);
    }

private:
    void begin(std::string_view name, std::string_view type, std::string_view meaning,
               std::string_view suffix) {
        sample_ = name;
        sample_ += suffix;
        // OpenMetrics names the family; the older format knows samples only.
        auto const family = format_ == exposition_format::openmetrics ? name : sample_;
        text_.append("# HELP ").append(family).append(" ").append(meaning).append("\n");
        text_.append("# TYPE ").append(family).append(" ").append(type).append("\n");
    }
    void begin_sample(std::string_view labels, std::string_view suffix = {},
                      std::string_view up_to = {}) {
        text_.append(sample_).append(suffix).append("{").append(labels);
        if (!up_to.empty()) {
            text_.append(",le=\"").append(up_to).append("\"");
        }
        text_.append("} ");
    }

    // The bounds of `duration_histogram` in seconds, in the one form that OpenMetrics has for them.
    static constexpr std::array<std::string_view, duration_histogram::bounds.size()> bounds{
        "0.0001", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
        "0.25",   "0.5",    "1.0",   "2.5",    "5.0",   "10.0", "30.0",  "60.0", "300.0"};

    exposition_format format_;
    std::string text_;
    std::string sample_;
};

struct counter_family {
    std::string_view name;
    std::string_view meaning;
    std::uint64_t group_stats::*value;
};

inline constexpr counter_family counter_families[] = {
    {"kgroup_sessions", "Sessions begun.", &group_stats::sessions},
    {"kgroup_rebalances", "Assignments and revocations answered.", &group_stats::rebalances},
    {"kgroup_rebalances_superseded", "Rebalances that a newer one made void.",
     &group_stats::superseded_rebalances},
    {"kgroup_records_delivered", "Records delivered to handlers.", &group_stats::records_received},
    {"kgroup_records_direct", "Records that kgroup fetched itself.", &group_stats::records_direct},
    {"kgroup_records_handed_over", "Records that librdkafka fetched for a direct group.",
     &group_stats::records_handed_over},
    {"kgroup_commits", "Commits that the broker confirmed, whole.", &group_stats::commits},
    {"kgroup_commits_failed", "Commits that failed, in part or whole, or timed out.",
     &group_stats::commits_failed},
    {"kgroup_offsets_committed", "Offsets of partitions that the broker confirmed.",
     &group_stats::offsets_committed},
    {"kgroup_marks_refused", "Marks and acknowledgements that did not count.",
     &group_stats::marks_refused},
    {"kgroup_messages_late", "Messages still held when their handler had returned.",
     &group_stats::late_messages},
    {"kgroup_wakeups_healed", "Wake-ups that the periodic look had to make up for.",
     &group_stats::wakeups_healed},
    {"kgroup_handlers_abandoned", "Handlers that did not end in time.",
     &group_stats::handlers_abandoned},
    {"kgroup_handler_failures_late", "Abandoned handlers that threw when the run was over.",
     &group_stats::late_failures},
    {"kgroup_events_dropped", "Events that were not told because of their rate.",
     &group_stats::events_dropped},
};

/// One claim and the labels of its samples.
struct labelled_claim {
    group_state const* group;
    claim_state const* claim;
    std::string labels;
};

template <typename Value>
void write_claims(exposition_writer& out, std::vector<labelled_claim> const& claims, Value value) {
    for (auto const& labelled : claims) {
        if (auto const known = value(*labelled.claim, *labelled.group)) {
            out.add(labelled.labels, *known);
        }
    }
}

/// An offset or a lag; negative: not known.
inline std::optional<std::int64_t> if_known(std::int64_t offset) noexcept {
    return offset < 0 ? std::nullopt : std::optional{offset};
}

inline void write_claim_families(exposition_writer& out,
                                 std::vector<labelled_claim> const& claims) {
    using group = group_state;
    using row = claim_state;
    out.begin_gauge("kgroup_claim_position", "The next offset to deliver.");
    write_claims(out, claims, [](row const& at, group const&) { return if_known(at.position); });
    out.begin_gauge("kgroup_claim_committed", "The offset that the broker has confirmed.");
    write_claims(out, claims, [](row const& at, group const&) { return if_known(at.committed); });
    out.begin_gauge("kgroup_claim_marked", "The offset up to which all is done.");
    write_claims(out, claims, [](row const& at, group const&) { return if_known(at.marked); });
    out.begin_gauge("kgroup_claim_log_end", "The high watermark, as last fetched.");
    write_claims(out, claims, [](row const& at, group const&) { return if_known(at.log_end); });
    out.begin_gauge("kgroup_claim_lag_records", "Offsets from the position to the log's end.");
    write_claims(out, claims, [](row const& at, group const&) { return if_known(at.lag); });
    out.begin_gauge("kgroup_claim_waiting_records", "Records fetched and not delivered.");
    write_claims(out, claims, [](row const& at, group const&) {
        return std::optional{static_cast<std::uint64_t>(at.records_waiting)};
    });
    out.begin_gauge("kgroup_claim_waiting_bytes",
                    "About their size, by the mean of what was delivered.");
    write_claims(out, claims, [](row const& at, group const&) {
        return std::optional{static_cast<std::uint64_t>(at.bytes_waiting)};
    });
    out.begin_gauge("kgroup_claim_in_flight_records",
                    "Records from the oldest that is delivered and not done on.");
    write_claims(out, claims,
                 [](row const& at, group const&) { return std::optional{at.records_in_flight}; });
    out.begin_gauge("kgroup_claim_oldest_in_flight_seconds",
                    "For how long the oldest of these has been delivered; 0 if there is none.");
    write_claims(out, claims, [](row const& at, group const& in) {
        return std::optional{at.oldest_in_flight ? in.at - *at.oldest_in_flight
                                                 : std::chrono::system_clock::duration{}};
    });
    out.begin_gauge("kgroup_claim_last_progress_timestamp_seconds",
                    "When the position or what is done moved last.");
    write_claims(out, claims,
                 [](row const& at, group const&) { return std::optional{at.last_progress}; });
    out.begin_gauge("kgroup_claim_paused", "1: it is paused.");
    write_claims(out, claims, [](row const& at, group const&) {
        return std::optional{std::uint64_t{at.paused}};
    });
    out.begin_gauge("kgroup_claim_stalled", "1: a lasting condition concerns it.");
    write_claims(out, claims, [](row const& at, group const&) {
        return std::optional{std::uint64_t{at.stalled_since.has_value()}};
    });
    out.begin_counter("kgroup_claim_records_delivered", "Records delivered by this claim.");
    write_claims(out, claims,
                 [](row const& at, group const&) { return std::optional{at.records_delivered}; });
    out.begin_counter("kgroup_claim_bytes_delivered", "Keys and values delivered by this claim.");
    write_claims(out, claims,
                 [](row const& at, group const&) { return std::optional{at.bytes_delivered}; });
}

/// Of claims that `for_each` works on.
inline void write_processing_families(exposition_writer& out,
                                      std::vector<labelled_claim> const& claims) {
    using figure = std::uint64_t processing_state::*;
    auto const write = [&](figure shown) {
        write_claims(out, claims, [shown](claim_state const& at, group_state const&) {
            return at.processing ? std::optional{*at.processing.*shown} : std::nullopt;
        });
    };
    out.begin_gauge("kgroup_claim_running_attempts", "Attempts of for_each that are under way.");
    write(&processing_state::running);
    out.begin_gauge("kgroup_claim_busy_lanes", "Keys of which a record runs or waits.");
    write(&processing_state::busy_lanes);
    out.begin_gauge("kgroup_claim_parked_keys", "Keys that wait for a retry.");
    write(&processing_state::parked_keys);
    out.begin_gauge("kgroup_claim_retrying_records", "Records that wait for a retry.");
    write(&processing_state::waiting_for_retry);
    out.begin_gauge("kgroup_claim_hottest_key_ratio",
                    "What the key with the most holds of the records that are taken and not done.");
    for (auto const& labelled : claims) {
        if (auto const& processing = labelled.claim->processing) {
            out.add_ratio(labelled.labels, processing->hottest_key_share);
        }
    }
    out.begin_counter("kgroup_claim_attempts", "Attempts of for_each begun.");
    write(&processing_state::attempts);
    out.begin_counter("kgroup_claim_attempts_failed", "Attempts of for_each that failed.");
    write(&processing_state::attempts_failed);
    out.begin_counter("kgroup_claim_dead_letters", "Dead letters of records given up.");
    write(&processing_state::dead_letters);
}

struct histogram_family {
    std::string_view name;
    std::string_view meaning;
    duration_histogram group_state::*value;
};

inline constexpr histogram_family histogram_families[] = {
    {"kgroup_handling_seconds", "How long each attempt of for_each took.", &group_state::handling},
    {"kgroup_residence_seconds", "From when a record was fetched until for_each had done it.",
     &group_state::residence},
    {"kgroup_commit_seconds", "How long each commit took, whatever came of it.",
     &group_state::committing},
    {"kgroup_rebalance_seconds", "From when a rebalance was heard of until it was answered.",
     &group_state::rebalancing},
};

} // namespace detail

/// States of groups as metrics of Prometheus: docs/observability.md lists them. Each has the label
/// `group`; those of a claim `topic` and `partition`, too. What is not known yet has no sample.
/// Several groups of one process go into one text, since a text names each metric once.
///
/// @throws std::bad_alloc.
inline std::string prometheus_text(std::span<group_state const> states,
                                   exposition_format format = exposition_format::prometheus) {
    using detail::exposition_writer;
    std::vector<std::string> groups; // labels of each
    std::vector<detail::labelled_claim> claims;
    for (auto const& state : states) {
        auto const& group = groups.emplace_back(exposition_writer::label("group", state.group_id));
        for (auto const& claim : state.claims) {
            claims.push_back({&state, &claim,
                              group + "," + exposition_writer::label("topic", claim.where.topic) +
                                  ",partition=\"" + std::to_string(claim.where.partition) + "\""});
        }
    }
    exposition_writer out{format, 16384 * states.size() + 2048 * claims.size()};
    auto const for_groups = [&](auto write) {
        for (std::size_t i = 0; i != states.size(); ++i) {
            write(states[i], groups[i]);
        }
    };
    out.begin_gauge("kgroup_phase", "1: the phase that the group is in.");
    for_groups([&](group_state const& state, std::string const& labels) {
        for (auto const phase : group_phases) {
            out.add(labels + "," + exposition_writer::label("phase", to_string(phase)),
                    std::uint64_t{state.phase == phase});
        }
    });
    out.begin_gauge("kgroup_phase_start_timestamp_seconds", "When it has entered its phase.");
    for_groups([&](group_state const& state, std::string const& labels) {
        out.add(labels, state.phase_since);
    });
    out.begin_gauge("kgroup_last_look_timestamp_seconds",
                    "When the group had a thread for its own work last.");
    for_groups([&](group_state const& state, std::string const& labels) {
        out.add(labels, state.looked_at);
    });
    out.begin_gauge("kgroup_conditions", "Lasting conditions of this kind, by their places.");
    for_groups([&](group_state const& state, std::string const& labels) {
        for (auto kind = 0; kind <= static_cast<int>(event_kind::client_log); ++kind) {
            auto const begin = static_cast<event_kind>(kind);
            if (ended_by(begin)) {
                out.add(labels + "," + exposition_writer::label("kind", to_string(begin)),
                        static_cast<std::int64_t>(
                            std::ranges::count(state.conditions, begin, &lasting_condition::kind)));
            }
        }
    });
    out.begin_gauge("kgroup_generation", "The generation of the membership.");
    for_groups([&](group_state const& state, std::string const& labels) {
        if (auto const known = detail::if_known(state.generation)) {
            out.add(labels, *known);
        }
    });
    out.begin_gauge("kgroup_claims", "Partitions that this member owns.");
    for_groups([&](group_state const& state, std::string const& labels) {
        out.add(labels, static_cast<std::uint64_t>(state.claims.size()));
    });
    out.begin_gauge("kgroup_abandoned_handlers",
                    "Frames of handlers that did not end in time and still live.");
    for_groups([&](group_state const& state, std::string const& labels) {
        out.add(labels, static_cast<std::uint64_t>(state.stats.abandoned_handlers));
    });
    out.begin_gauge("kgroup_last_commit_timestamp_seconds",
                    "When a commit was confirmed last, whole.");
    for_groups([&](group_state const& state, std::string const& labels) {
        if (state.last_commit) {
            out.add(labels, *state.last_commit);
        }
    });
    out.begin_gauge("kgroup_last_commit_failure_timestamp_seconds", "When a commit failed last.");
    for_groups([&](group_state const& state, std::string const& labels) {
        if (state.last_commit_failure) {
            out.add(labels, *state.last_commit_failure);
        }
    });
    for (auto const& family : detail::counter_families) {
        out.begin_counter(family.name, family.meaning);
        for_groups([&](group_state const& state, std::string const& labels) {
            out.add(labels, state.stats.*family.value);
        });
    }
    for (auto const& family : detail::histogram_families) {
        out.begin_histogram(family.name, family.meaning);
        for_groups([&](group_state const& state, std::string const& labels) {
            out.add(labels, state.*family.value);
        });
    }
    detail::write_claim_families(out, claims);
    detail::write_processing_families(out, claims);
    return std::move(out).finish();
}

/// The same for one group.
inline std::string prometheus_text(group_state const& state,
                                   exposition_format format = exposition_format::prometheus) {
    return prometheus_text({&state, 1}, format);
}

} // namespace kgroup
