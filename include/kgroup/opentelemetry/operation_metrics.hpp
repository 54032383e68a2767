// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/metrics/error_type.hpp>
#include <kgroup/detail/opentelemetry/messaging_attributes.hpp>
#include <kgroup/message.hpp>
#include <kgroup/observer.hpp>
#include <kgroup/topic_partition.hpp>
#include <kgroup/version.hpp>

#include <opentelemetry/context/context.h>
#include <opentelemetry/metrics/meter.h>
#include <opentelemetry/metrics/meter_provider.h>
#include <opentelemetry/metrics/provider.h>
#include <opentelemetry/metrics/sync_instruments.h>
#include <opentelemetry/nostd/shared_ptr.h>
#include <opentelemetry/nostd/unique_ptr.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace kgroup {

/// An observer that counts a group's operations for OpenTelemetry, by its semantic conventions
/// (1.44): `messaging.client.consumed.messages` (records delivered), `messaging.process.duration`
/// (attempts of `for_each` and `for_each_batch`), `messaging.client.operation.duration` (commits),
/// and, outside of them, `kgroup.rebalance.duration`.
///
///     given.observer = std::make_shared<kgroup::operation_metrics>(given.group_id);
///
/// OpenTelemetry's default buckets are for milliseconds, and an instrument cannot ask for others:
/// docs/observability.md shows the view that sets those of the conventions.
///
/// *Thread safety.* Shared objects: safe; one group each, since it names the group.
class operation_metrics {
public:
    using provider = ::opentelemetry::nostd::shared_ptr<::opentelemetry::metrics::MeterProvider>;

    /// @param group_id `config::group_id`.
    /// @param from not null; unless given, OpenTelemetry's global one as it is now.
    explicit operation_metrics(
        std::string group_id,
        provider const& from = ::opentelemetry::metrics::Provider::GetMeterProvider())
        : group_id_(std::move(group_id)) {
        auto const meter = from->GetMeter("kgroup", KGROUP_VERSION_STRING);
        consumed_ = meter->CreateUInt64Counter("messaging.client.consumed.messages",
                                               "Records delivered to handlers.", "{message}");
        processing_ = meter->CreateDoubleHistogram("messaging.process.duration",
                                                   "How long each attempt of for_each took.", "s");
        operations_ =
            meter->CreateDoubleHistogram("messaging.client.operation.duration",
                                         "How long each commit took, whatever came of it.", "s");
        rebalances_ = meter->CreateDoubleHistogram(
            "kgroup.rebalance.duration",
            "From when a rebalance was heard of until it was answered.", "s");
    }

    /// Counts delivered records. What a group calls, as the next ones: see `observer`.
    void delivered(delivered_records const& told) noexcept {
        auto const partition = std::to_string(told.where.partition);
        auto const attributes = attributes_of("receive", "receive", told.where.topic, partition);
        consumed_->Add(told.records, attributes.get());
    }
    /// Records an attempt of `for_each` or `for_each_batch`.
    void handled(handled_records const& told) noexcept {
        auto const partition = std::to_string(told.first.partition());
        auto attributes = attributes_of("process", "process", told.first.topic(), partition);
        auto const error = told.failure ? type_of(told.failure) : std::string{};
        attributes.add_text("error.type", error);
        processing_->Record(seconds(told.duration), attributes.get(), {});
    }
    /// Records a commit.
    void committed(commit_observation const& told) noexcept {
        auto attributes = attributes_of("commit", "settle", {}, {}); // of several topics
        auto const error = told.error ? type_of(told.error) : std::string{};
        attributes.add_text("error.type", error);
        operations_->Record(seconds(told.duration), attributes.get(), {});
    }
    /// Records a rebalance.
    void rebalance(rebalance_observation const& told) noexcept {
        using kind = rebalance_observation::kind;
        auto attributes = attributes_of("rebalance", {}, {}, {});
        attributes.add_text("kgroup.rebalance", told.what == kind::assigned  ? "assigned"
                                                : told.what == kind::revoked ? "revoked"
                                                                             : "lost");
        rebalances_->Record(seconds(told.duration), attributes.get(), {});
    }

private:
    using histogram =
        ::opentelemetry::nostd::unique_ptr<::opentelemetry::metrics::Histogram<double>>;

    static double seconds(std::chrono::nanoseconds length) noexcept {
        return std::chrono::duration<double>{length}.count();
    }
    // Where memory is short the error is one without a name.
    template <typename Failure>
    static std::string type_of(Failure const& failure) noexcept {
        try {
            return detail::error_type(failure);
        } catch (...) {
            return "_OTHER";
        }
    }
    detail::messaging_attributes attributes_of(std::string_view operation, std::string_view type,
                                               std::string_view topic,
                                               std::string_view partition) const noexcept {
        detail::messaging_attributes attributes{operation, type};
        attributes.add_text("messaging.consumer.group.name", group_id_);
        attributes.add_text("messaging.destination.name", topic);
        attributes.add_text("messaging.destination.partition.id", partition);
        return attributes;
    }

    std::string group_id_;
    ::opentelemetry::nostd::unique_ptr<::opentelemetry::metrics::Counter<std::uint64_t>> consumed_;
    histogram processing_;
    histogram operations_;
    histogram rebalances_;
};

} // namespace kgroup
