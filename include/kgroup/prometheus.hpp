// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/metrics/metric_families.hpp>
#include <kgroup/detail/metrics/states_function.hpp>
#include <kgroup/duration_histogram.hpp>
#include <kgroup/group_state.hpp>

#include <prometheus/client_metric.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup {

namespace detail {

using prometheus_labels = std::vector<::prometheus::ClientMetric::Label>;

inline ::prometheus::MetricFamily
prometheus_family(std::string_view name, ::prometheus::MetricType type, std::string_view meaning) {
    ::prometheus::MetricFamily family;
    family.name = name;
    family.help = meaning;
    family.type = type;
    return family;
}
inline ::prometheus::MetricFamily prometheus_family(std::string_view name, metric_type type,
                                                    std::string_view meaning) {
    return type == metric_type::counter
               ? prometheus_family(std::string{name} + "_total", ::prometheus::MetricType::Counter,
                                   meaning)
               : prometheus_family(name, ::prometheus::MetricType::Gauge, meaning);
}

/// What is not known is left out.
inline void add_sample(::prometheus::MetricFamily& family, prometheus_labels labels,
                       metric_reading reading) {
    if (!reading) {
        return;
    }
    auto& sample = family.metric.emplace_back();
    sample.label = std::move(labels);
    auto const value = static_cast<double>(reading->count) / (reading->thousandths ? 1000 : 1);
    sample.counter.value = value; // which of the two counts is the family's to say
    sample.gauge.value = value;
}

inline void add_sample(::prometheus::MetricFamily& family, prometheus_labels labels,
                       duration_histogram const& counted) {
    using seconds = std::chrono::duration<double>;
    auto& sample = family.metric.emplace_back();
    sample.label = std::move(labels);
    auto& histogram = sample.histogram;
    for (std::size_t i = 0; i != duration_histogram::buckets; ++i) {
        histogram.sample_count += counted.counts[i];
        auto& bucket = histogram.bucket.emplace_back();
        bucket.cumulative_count = histogram.sample_count;
        bucket.upper_bound = i < duration_histogram::bounds.size()
                                 ? seconds{duration_histogram::bounds[i]}.count()
                                 : std::numeric_limits<double>::infinity();
    }
    histogram.sample_sum = seconds{counted.sum}.count();
}

inline std::vector<::prometheus::MetricFamily>
prometheus_families(std::vector<group_state> const& states) {
    using ::prometheus::MetricType;
    struct labelled_claim {
        group_state const* group;
        claim_state const* claim;
        prometheus_labels labels;
    };
    std::vector<prometheus_labels> groups;
    std::vector<labelled_claim> claims;
    for (auto const& state : states) {
        auto const& group = groups.emplace_back(prometheus_labels{{"group", state.group_id}});
        for (auto const& claim : state.claims) {
            auto labels = group;
            labels.push_back({"topic", claim.where.topic});
            labels.push_back({"partition", std::to_string(claim.where.partition)});
            claims.push_back({&state, &claim, std::move(labels)});
        }
    }
    std::vector<::prometheus::MetricFamily> families;
    for (auto const& family : divided_families) {
        auto& made = families.emplace_back(
            prometheus_family(family.name, MetricType::Gauge, family.meaning));
        for (std::size_t i = 0; i != states.size(); ++i) {
            for (std::size_t part = 0; part != family.parts; ++part) {
                auto labels = groups[i];
                labels.push_back({std::string{family.label}, std::string{family.part(part)}});
                add_sample(made, std::move(labels), family.value(states[i], part));
            }
        }
    }
    for (auto const& family : group_families) {
        auto& made =
            families.emplace_back(prometheus_family(family.name, family.type, family.meaning));
        for (std::size_t i = 0; i != states.size(); ++i) {
            add_sample(made, groups[i], family.value(states[i]));
        }
    }
    for (auto const& family : histogram_families) {
        auto& made = families.emplace_back(
            prometheus_family(family.name, MetricType::Histogram, family.meaning));
        for (std::size_t i = 0; i != states.size(); ++i) {
            add_sample(made, groups[i], states[i].*family.value);
        }
    }
    for (auto const& family : claim_families) {
        auto& made =
            families.emplace_back(prometheus_family(family.name, family.type, family.meaning));
        made.metric.reserve(claims.size());
        for (auto const& labelled : claims) {
            add_sample(made, labelled.labels, family.value(*labelled.claim, *labelled.group));
        }
    }
    return families;
}

} // namespace detail

/// States of groups as metrics for prometheus-cpp: the families of `prometheus_text`, with its
/// names, labels and units, next to the program's own metrics. Needs prometheus-cpp 1.0 or newer;
/// the CMake target is `kgroup::prometheus`.
///
///     prometheus::Exposer exposer{"127.0.0.1:9464"};
///     auto const metrics = std::make_shared<kgroup::prometheus_collectable>(
///         [&group] { return group.state(); });
///     exposer.RegisterCollectable(metrics); // which does not keep it
///
/// *Thread safety.* Distinct objects: safe. Shared objects: safe if the function is.
class prometheus_collectable : public ::prometheus::Collectable {
public:
    /// @param states gives one `group_state` or, where a process has several groups, a
    ///     `std::vector` of them. Called by each collection, on the thread that collects, for as
    ///     long as this lives: what it refers to must outlive that.
    template <typename States>
    explicit prometheus_collectable(States states)
        : states_(detail::make_states_function(std::move(states))) {}

    /// Throws nothing, for it is called through frames of C, where prometheus-cpp's own server
    /// collects. If the function has thrown, or memory is short, the counter
    /// `kgroup_failed_collections_total` alone is there.
    std::vector<::prometheus::MetricFamily> Collect() const override {
        std::vector<::prometheus::MetricFamily> families;
        try {
            families = detail::prometheus_families(states_());
        } catch (...) {
            ++failures_;
        }
        try {
            auto& failures = families.emplace_back(detail::prometheus_family(
                "kgroup_failed_collections", detail::metric_type::counter,
                "Collections for prometheus-cpp that threw, so that nothing else was there."));
            detail::add_sample(failures, {}, detail::whole(failures_));
        } catch (...) { // counted above, and told by the next one
        }
        return families;
    }

private:
    detail::states_function states_;
    mutable std::atomic<std::uint64_t> failures_{0};
};

} // namespace kgroup
