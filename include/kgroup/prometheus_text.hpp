// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/metrics/metric_families.hpp>
#include <kgroup/duration_histogram.hpp>
#include <kgroup/group_state.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
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

    void begin_family(std::string_view name, metric_type type, std::string_view meaning) {
        if (type == metric_type::counter) {
            begin(name, "counter", meaning, "_total");
        } else {
            begin(name, "gauge", meaning, "");
        }
    }
    void begin_histogram(std::string_view name, std::string_view meaning) {
        begin(name, "histogram", meaning, "");
    }

    /// `labels`: as `label` gives them, separated by commas. What is not known is left out.
    void add(std::string_view labels, metric_reading reading) {
        if (!reading) {
            return;
        }
        begin_sample(labels);
        if (reading->thousandths) {
            add_decimal(reading->count, 1000);
        } else {
            text_ += std::to_string(reading->count);
        }
        text_ += '\n';
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
        add_decimal(static_cast<std::uint64_t>(microseconds), 1'000'000);
        text_ += '\n';
        begin_sample(labels, "_count");
        text_ += std::to_string(up_to_bound);
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
    /// A power of ten is what the number is divided by. No locale has a say in it.
    void add_decimal(std::uint64_t number, std::uint64_t divided_by) {
        text_ += std::to_string(number / divided_by);
        text_ += '.';
        text_.append(std::to_string(divided_by + number % divided_by), 1);
    }
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

} // namespace detail

/// States of groups as metrics of Prometheus: docs/observability.md lists them. Each has the label
/// `group`; those of a claim `topic` and `partition`, too. What is not known yet has no sample.
/// Several groups of one process go into one text, since a text names each metric once.
///
/// @throws std::bad_alloc.
inline std::string prometheus_text(std::span<group_state const> states,
                                   exposition_format format = exposition_format::prometheus) {
    using detail::exposition_writer;
    struct labelled_claim {
        group_state const* group;
        claim_state const* claim;
        std::string labels;
    };
    std::vector<std::string> groups; // labels of each
    std::vector<labelled_claim> claims;
    for (auto const& state : states) {
        auto const& group = groups.emplace_back(exposition_writer::label("group", state.group_id));
        for (auto const& claim : state.claims) {
            claims.push_back({&state, &claim,
                              group + "," + exposition_writer::label("topic", claim.where.topic) +
                                  ",partition=\"" + std::to_string(claim.where.partition) + "\""});
        }
    }
    exposition_writer out{format, 16384 * states.size() + 2048 * claims.size()};
    for (auto const& family : detail::divided_families) {
        out.begin_family(family.name, detail::metric_type::gauge, family.meaning);
        for (std::size_t i = 0; i != states.size(); ++i) {
            for (std::size_t part = 0; part != family.parts; ++part) {
                out.add(groups[i] + "," + exposition_writer::label(family.label, family.part(part)),
                        family.value(states[i], part));
            }
        }
    }
    for (auto const& family : detail::group_families) {
        out.begin_family(family.name, family.type, family.meaning);
        for (std::size_t i = 0; i != states.size(); ++i) {
            out.add(groups[i], family.value(states[i]));
        }
    }
    for (auto const& family : detail::histogram_families) {
        out.begin_histogram(family.name, family.meaning);
        for (std::size_t i = 0; i != states.size(); ++i) {
            out.add(groups[i], states[i].*family.value);
        }
    }
    for (auto const& family : detail::claim_families) {
        out.begin_family(family.name, family.type, family.meaning);
        for (auto const& labelled : claims) {
            out.add(labelled.labels, family.value(*labelled.claim, *labelled.group));
        }
    }
    return std::move(out).finish();
}

/// The same for one group.
inline std::string prometheus_text(group_state const& state,
                                   exposition_format format = exposition_format::prometheus) {
    return prometheus_text({&state, 1}, format);
}

} // namespace kgroup
