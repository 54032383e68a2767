// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/metrics/metric_families.hpp>
#include <kgroup/detail/metrics/states_function.hpp>
#include <kgroup/detail/opentelemetry/messaging_attributes.hpp>
#include <kgroup/group_state.hpp>
#include <kgroup/version.hpp>

#include <opentelemetry/metrics/async_instruments.h>
#include <opentelemetry/metrics/meter.h>
#include <opentelemetry/metrics/meter_provider.h>
#include <opentelemetry/metrics/observer_result.h>
#include <opentelemetry/metrics/provider.h>
#include <opentelemetry/nostd/shared_ptr.h>
#include <opentelemetry/nostd/variant.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup {

/// States of groups as instruments of OpenTelemetry: the gauges and counters of `prometheus_text`,
/// lags above all, under their names with dots (`kgroup_claim_lag_records` is
/// `kgroup.claim.lag_records`; seconds are the unit, not part of the name). The group, topic and
/// partition are attributes by the semantic conventions. The histograms of `prometheus_text` are in
/// `operation_metrics`.
///
///     kgroup::state_metrics const metrics{[&group] { return group.state(); }};
///
/// *Lifetime.* The instruments observe for as long as this lives.
/// *Thread safety.* Shared objects: safe if the function is.
class state_metrics {
public:
    using provider = ::opentelemetry::nostd::shared_ptr<::opentelemetry::metrics::MeterProvider>;

    /// @param states gives one `group_state` or, where a process has several groups, a
    ///     `std::vector` of them. Called once for each collection, on the thread that collects:
    ///     what it refers to must outlive this. What it throws is counted in
    ///     `kgroup.failed_collections`, and nothing else is observed then.
    /// @param from not null; unless given, OpenTelemetry's global one as it is now.
    template <typename States>
    explicit state_metrics(
        States states,
        provider const& from = ::opentelemetry::metrics::Provider::GetMeterProvider())
        : source_(std::make_unique<source>(detail::make_states_function(std::move(states)))) {
        auto const meter = from->GetMeter("kgroup", KGROUP_VERSION_STRING);
        for (auto const& family : detail::divided_families) {
            observe(*meter, detail::metric_type::gauge, family, &observe_divided);
        }
        for (auto const& family : detail::group_families) {
            observe(*meter, family.type, family, &observe_groups);
        }
        for (auto const& family : detail::claim_families) {
            observe(*meter, family.type, family, &observe_claims);
        }
        static constexpr detail::group_family failed{
            "kgroup_failed_collections", detail::metric_type::counter,
            "Collections that threw, so that nothing else was there.", nullptr};
        observe(*meter, failed.type, failed, &observe_failures);
    }

    state_metrics(state_metrics const&) = delete;
    state_metrics& operator=(state_metrics const&) = delete;
    ~state_metrics() {
        for (auto const& entry : instruments_) {
            entry->instrument->RemoveCallback(entry->observe, entry.get());
        }
    }

private:
    using result = ::opentelemetry::metrics::ObserverResult;
    using callback = ::opentelemetry::metrics::ObservableCallbackPtr;

    /// The states that one collection observes. Each instrument asks by itself, one after another;
    /// one that asks again begins the next collection.
    class source {
    public:
        explicit source(detail::states_function from) : from_(std::move(from)) {}

        std::shared_ptr<std::vector<group_state> const> take(std::size_t instrument) {
            std::lock_guard const guard{mutex_};
            if (!now_ || has_had_it_[instrument]) {
                has_had_it_ = {};
                try {
                    now_ = std::make_shared<std::vector<group_state> const>(from_());
                } catch (...) {
                    now_ = std::make_shared<std::vector<group_state> const>();
                    ++failures_;
                }
            }
            has_had_it_[instrument] = true;
            return now_;
        }
        std::uint64_t failures() {
            std::lock_guard const guard{mutex_};
            return failures_;
        }

    private:
        detail::states_function from_;
        std::mutex mutex_;
        std::shared_ptr<std::vector<group_state> const> now_;
        std::array<bool, std::size(detail::divided_families) + std::size(detail::group_families) +
                             std::size(detail::claim_families)>
            has_had_it_{};
        std::uint64_t failures_ = 0;
    };

    struct observed {
        source* states;
        void const* family;
        std::size_t number;
        callback observe;
        ::opentelemetry::nostd::shared_ptr<::opentelemetry::metrics::ObservableInstrument>
            instrument;
    };

    /// `kgroup_claim_oldest_in_flight_seconds`: `kgroup.claim.oldest_in_flight`.
    static std::string dotted(std::string_view name) {
        constexpr std::string_view project{"kgroup_"};
        constexpr std::string_view claim{"claim_"};
        std::string text{"kgroup."};
        name.remove_prefix(project.size());
        if (name.starts_with(claim)) {
            text += "claim.";
            name.remove_prefix(claim.size());
        }
        text += name.substr(0, name.size() - seconds_of(name).size());
        return text;
    }
    static std::string_view seconds_of(std::string_view name) noexcept {
        constexpr std::string_view seconds{"_seconds"};
        return name.ends_with(seconds) ? seconds : std::string_view{};
    }
    static std::string_view unit_of(std::string_view name) noexcept {
        return !seconds_of(name).empty()    ? "s"
               : name.ends_with("_bytes")   ? "By"
               : name.ends_with("_records") ? "{record}"
                                            : "";
    }

    template <typename Family>
    void observe(::opentelemetry::metrics::Meter& meter, detail::metric_type type,
                 Family const& family, callback call) {
        auto const name = dotted(family.name);
        auto const meaning = detail::telemetry_text(family.meaning);
        auto const unit = detail::telemetry_text(unit_of(family.name));
        auto instrument = type == detail::metric_type::counter
                              ? meter.CreateDoubleObservableCounter(name, meaning, unit)
                              : meter.CreateDoubleObservableGauge(name, meaning, unit);
        auto& added = instruments_.emplace_back(std::make_unique<observed>(
            observed{source_.get(), &family, instruments_.size(), call, std::move(instrument)}));
        added->instrument->AddCallback(call, added.get());
    }

    /// @param attributes of the sample alone.
    static void give(result const& output, group_state const& group, detail::metric_reading reading,
                     std::initializer_list<detail::messaging_attributes::pair> attributes) {
        if (!reading) {
            return;
        }
        std::array<detail::messaging_attributes::pair, 4> all{};
        std::size_t size = 0;
        all[size++] = {"messaging.consumer.group.name", detail::telemetry_text(group.group_id)};
        for (auto const& attribute : attributes) {
            all[size++] = attribute;
        }
        namespace nostd = ::opentelemetry::nostd;
        using results = nostd::shared_ptr<::opentelemetry::metrics::ObserverResultT<double>>;
        nostd::get<results>(output)->Observe(
            static_cast<double>(reading->count) / (reading->thousandths ? 1000 : 1),
            nostd::span<detail::messaging_attributes::pair const>{all.data(), size});
    }

    // Called by OpenTelemetry, which knows no exceptions: what is given is as far as memory goes.
    template <typename Give>
    static void for_states(void* instrument, Give give_samples) noexcept {
        try {
            auto const& observes = *static_cast<observed const*>(instrument);
            for (auto const& state : *observes.states->take(observes.number)) {
                give_samples(state, observes.family);
            }
        } catch (...) {
        }
    }
    static void observe_divided(result output, void* instrument) {
        for_states(instrument, [&](group_state const& state, void const* address) {
            auto const& family = *static_cast<detail::divided_family const*>(address);
            auto const label = "kgroup." + std::string{family.label};
            for (std::size_t part = 0; part != family.parts; ++part) {
                give(output, state, family.value(state, part),
                     {{label, detail::telemetry_text(family.part(part))}});
            }
        });
    }
    static void observe_groups(result output, void* instrument) {
        for_states(instrument, [&](group_state const& state, void const* address) {
            give(output, state, static_cast<detail::group_family const*>(address)->value(state),
                 {});
        });
    }
    static void observe_claims(result output, void* instrument) {
        for_states(instrument, [&](group_state const& state, void const* address) {
            for (auto const& claim : state.claims) {
                auto const partition = std::to_string(claim.where.partition);
                give(output, state,
                     static_cast<detail::claim_family const*>(address)->value(claim, state),
                     {{"messaging.destination.name", detail::telemetry_text(claim.where.topic)},
                      {"messaging.destination.partition.id", detail::telemetry_text(partition)}});
            }
        });
    }
    static void observe_failures(result output, void* instrument) {
        namespace nostd = ::opentelemetry::nostd;
        using results = nostd::shared_ptr<::opentelemetry::metrics::ObserverResultT<double>>;
        auto const& observes = *static_cast<observed const*>(instrument);
        nostd::get<results>(output)->Observe(static_cast<double>(observes.states->failures()));
    }

    std::unique_ptr<source> source_;
    std::vector<std::unique_ptr<observed>> instruments_;
};

} // namespace kgroup
