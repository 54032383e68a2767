// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>
#include <kgroup/opentelemetry.hpp>
#include <kgroup/testing/fake_dead_letters.hpp>

#include <doctest/doctest.h>
#include <opentelemetry/exporters/memory/in_memory_metric_data.h>
#include <opentelemetry/exporters/memory/in_memory_metric_exporter_factory.h>
#include <opentelemetry/exporters/memory/in_memory_span_data.h>
#include <opentelemetry/exporters/memory/in_memory_span_exporter_factory.h>
#include <opentelemetry/sdk/metrics/aggregation/aggregation_config.h>
#include <opentelemetry/sdk/metrics/export/periodic_exporting_metric_reader_factory.h>
#include <opentelemetry/sdk/metrics/export/periodic_exporting_metric_reader_options.h>
#include <opentelemetry/sdk/metrics/meter_provider.h>
#include <opentelemetry/sdk/metrics/view/instrument_selector_factory.h>
#include <opentelemetry/sdk/metrics/view/meter_selector_factory.h>
#include <opentelemetry/sdk/metrics/view/view_factory.h>
#include <opentelemetry/sdk/trace/simple_processor_factory.h>
#include <opentelemetry/sdk/trace/span_data.h>
#include <opentelemetry/sdk/trace/tracer_provider.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// What OpenTelemetry's exporters in memory see of a group over the fake.

namespace opentelemetry_tests {

namespace {

using namespace kgroup::tests;
namespace api = ::opentelemetry;
namespace memory = api::exporter::memory;
namespace sdk = api::sdk;
using kgroup::claim;
using kgroup::message;
using kgroup::process_span;
using kgroup::session;
using kgroup::span_relation;
using record = fake_cluster::record;
using attributes = std::map<std::string, std::string>;

constexpr std::string_view trace_id{"0af7651916cd43dd8448eb211c80319c"};
constexpr std::string_view parent_id{"b7ad6b7169203331"};

std::string text(sdk::common::OwnedAttributeValue const& value) {
    return api::nostd::visit(
        [](auto const& held) -> std::string {
            using type = std::decay_t<decltype(held)>;
            if constexpr (std::is_same_v<type, std::string>) {
                return held;
            } else if constexpr (std::is_same_v<type, bool>) {
                return held ? "true" : "false";
            } else if constexpr (std::is_arithmetic_v<type>) {
                return std::to_string(held);
            } else {
                return "a list";
            }
        },
        value);
}
template <typename Map>
attributes all_of(Map const& from) {
    attributes result;
    for (auto const& [name, value] : from) {
        result[name] = text(value);
    }
    return result;
}
template <typename Id>
std::string hex(Id const& id) {
    char digits[2 * Id::kSize];
    id.ToLowerBase16(digits);
    return std::string(digits, 2 * Id::kSize);
}

record produced_in_a_span(std::string value) {
    return {.key = "k",
            .value = std::move(value),
            .headers = {{"traceparent",
                         "00-" + std::string{trace_id} + "-" + std::string{parent_id} + "-01"},
                        {"tracestate", "vendor=1"}}};
}

struct traced_group : scripted_group {
    std::shared_ptr<memory::InMemorySpanData> data =
        std::make_shared<memory::InMemorySpanData>(100);
    kgroup::tracing::provider const provider{std::shared_ptr<api::trace::TracerProvider>{
        std::make_shared<sdk::trace::TracerProvider>(sdk::trace::SimpleSpanProcessorFactory::Create(
            memory::InMemorySpanExporterFactory::Create(data)))}};
    kgroup::tracing plain{{.group_id = "billing", .client_id = "one"}, provider};

    std::vector<std::unique_ptr<sdk::trace::SpanData>> ended() const { return data->GetSpans(); }
};

} // namespace

TEST_CASE_FIXTURE(traced_group, "opentelemetry: the span of a record by the conventions") {
    cluster.add_records(t0, produced_in_a_span("a"));
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto book = [](message const&) -> asio::awaitable<void> { co_return; };
        auto traced = kgroup::traced(plain, book);
        co_await kgroup::for_each(claim, {}, traced);
    };
    run_over({t0});
    auto const spans = ended();
    REQUIRE(spans.size() == 1);
    auto const& span = *spans[0];
    CHECK(span.GetName() == "process t");
    CHECK(span.GetSpanKind() == api::trace::SpanKind::kConsumer);
    CHECK(span.GetStatus() == api::trace::StatusCode::kUnset);
    CHECK(all_of(span.GetAttributes()) == attributes{{"messaging.system", "kafka"},
                                                     {"messaging.operation.name", "process"},
                                                     {"messaging.operation.type", "process"},
                                                     {"messaging.destination.name", "t"},
                                                     {"messaging.destination.partition.id", "0"},
                                                     {"messaging.consumer.group.name", "billing"},
                                                     {"messaging.client.id", "one"},
                                                     {"messaging.kafka.offset", "0"},
                                                     {"messaging.kafka.message.key", "k"},
                                                     {"kgroup.attempt", "1"}});
    CHECK_FALSE(span.GetParentSpanId().IsValid());
    CHECK(hex(span.GetTraceId()) != trace_id);
    REQUIRE(span.GetLinks().size() == 1);
    auto const& linked = span.GetLinks()[0].GetSpanContext();
    CHECK(hex(linked.trace_id()) == trace_id);
    CHECK(hex(linked.span_id()) == parent_id);
    CHECK(linked.IsRemote());
    CHECK(linked.IsSampled());
    CHECK(linked.trace_state()->ToHeader() == "vendor=1");
    CHECK(span.GetInstrumentationScope().GetName() == "kgroup");
    stop();
}

TEST_CASE_FIXTURE(traced_group, "opentelemetry: the producer's span as the parent, if so told") {
    cluster.add_records(t0, produced_in_a_span("a"), "no trace");
    kgroup::tracing const children{{.group_id = "billing", .relation = span_relation::parent},
                                   provider};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto book = [](message const&) {};
        auto traced = kgroup::traced(children, book);
        co_await kgroup::for_each(claim, {}, traced);
    };
    run_over({t0});
    auto const spans = ended();
    REQUIRE(spans.size() == 2);
    CHECK(hex(spans[0]->GetTraceId()) == trace_id);
    CHECK(hex(spans[0]->GetParentSpanId()) == parent_id);
    CHECK(spans[0]->GetLinks().empty());
    CHECK_FALSE(spans[1]->GetParentSpanId().IsValid());
    CHECK(spans[1]->GetLinks().empty());
    stop();
}

TEST_CASE_FIXTURE(traced_group, "opentelemetry: an attempt that fails, and the next one") {
    cluster.add_records(t0, "a", "b");
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto book = [](message const& taken, kgroup::attempt const& now) -> asio::awaitable<void> {
            if (taken.value() == "b") {
                throw std::system_error{
                    kgroup::make_error_code(kgroup::kafka_errc::group_authorization_failed)};
            }
            if (now.number() == 1) {
                throw std::runtime_error{"the warehouse\nis closed"};
            }
            co_return;
        };
        auto traced = kgroup::traced(plain, book);
        co_await kgroup::for_each(
            claim, {.retry = {.attempts = 2, .backoff = {.initial = 1s, .jitter = 0}}}, traced);
    };
    run_over({t0});
    advance(1s);
    advance(1s);
    auto const spans = ended();
    REQUIRE(spans.size() == 4);
    CHECK(spans[0]->GetStatus() == api::trace::StatusCode::kError);
    CHECK(spans[0]->GetDescription() == "the warehouse is closed");
    auto const failed = all_of(spans[0]->GetAttributes());
    CHECK(failed.at("error.type") == "std::runtime_error");
    CHECK(failed.at("kgroup.attempt") == "1");
    CHECK(spans[1]->GetStatus() == api::trace::StatusCode::kUnset);
    auto const passed = all_of(spans[1]->GetAttributes());
    CHECK(passed.at("kgroup.attempt") == "2");
    CHECK_FALSE(passed.contains("error.type"));
    CHECK(all_of(spans[3]->GetAttributes()).at("error.type") == "kafka:30");
}

TEST_CASE_FIXTURE(traced_group, "opentelemetry: a batch has its size, and a link for each record") {
    cluster.add_records(t0, produced_in_a_span("a"), "b", produced_in_a_span("c"));
    kgroup::tracing const children{{.relation = span_relation::parent}, provider};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto store = [](kgroup::message_batch const&) -> asio::awaitable<void> { co_return; };
        auto traced = kgroup::traced(children, store);
        co_await kgroup::for_each_batch(claim, {.records = 3}, {}, traced);
    };
    run_over({t0});
    auto const spans = ended();
    REQUIRE(spans.size() == 1);
    CHECK(all_of(spans[0]->GetAttributes()) ==
          attributes{{"messaging.system", "kafka"},
                     {"messaging.operation.name", "process"},
                     {"messaging.operation.type", "process"},
                     {"messaging.destination.name", "t"},
                     {"messaging.destination.partition.id", "0"},
                     {"messaging.batch.message_count", "3"},
                     {"kgroup.attempt", "1"}});
    CHECK_FALSE(spans[0]->GetParentSpanId().IsValid());
    REQUIRE(spans[0]->GetLinks().size() == 2);
    CHECK(all_of(spans[0]->GetLinks()[1].GetAttributes()) ==
          attributes{{"messaging.kafka.offset", "2"}});
    stop();
}

TEST_CASE_FIXTURE(traced_group, "opentelemetry: children of a span, found or given") {
    cluster.add_records(t0, produced_in_a_span("a"), "b");
    auto const tracer = provider->GetTracer("the warehouse");
    std::string written;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const first = co_await claim.messages().async_receive();
        {
            process_span const by_hand{plain, *first};
            written = by_hand.context().traceparent();
        }
        claim.mark(*first);
        auto book = [&](message const&) { tracer->StartSpan("book")->End(); };
        auto traced = kgroup::traced(plain, book);
        co_await kgroup::for_each(claim, {}, traced);
    };
    run_over({t0});
    auto spans = ended();
    REQUIRE(spans.size() == 3);
    CHECK(written ==
          "00-" + hex(spans[0]->GetTraceId()) + "-" + hex(spans[0]->GetSpanId()) + "-01");
    CHECK_FALSE(all_of(spans[0]->GetAttributes()).contains("kgroup.attempt"));
    CHECK(spans[1]->GetName() == "book");
    CHECK(spans[1]->GetParentSpanId() == spans[2]->GetSpanId());
    CHECK_FALSE(api::trace::Tracer::GetCurrentSpan()->GetContext().IsValid()); // none is left
    stop();
}

TEST_CASE_FIXTURE(traced_group, "opentelemetry: a function that waits is given its span") {
    cluster.add_records(t0, "a", "b");
    latch goes_on{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto book = [&](message const&, kgroup::attempt const&,
                        process_span& span) -> asio::awaitable<void> {
            co_await goes_on.wait();
            span.span()->SetAttribute("shelf", 7);
        };
        auto traced = kgroup::traced(plain, book);
        co_await kgroup::for_each(claim, {.order = kgroup::order::unordered, .in_flight = 2},
                                  traced);
    };
    run_over({t0});
    CHECK(ended().empty()); // both run side by side
    CHECK_FALSE(api::trace::Tracer::GetCurrentSpan()->GetContext().IsValid());
    goes_on.open();
    settle();
    auto const spans = ended();
    REQUIRE(spans.size() == 2);
    CHECK(all_of(spans[0]->GetAttributes()).at("shelf") == "7");
    CHECK(spans[0]->GetTraceId() != spans[1]->GetTraceId());
    stop();
}

TEST_CASE_FIXTURE(traced_group, "opentelemetry: the trace goes on from the span, with the vendors' "
                                "state, and a dead letter has the record's own") {
    kgroup::tracing const children{{.relation = span_relation::parent}, provider};
    cluster.add_records(t0, produced_in_a_span("a"));
    kgroup::testing::fake_dead_letters letters;
    std::optional<kgroup::trace_context> written;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto book = [&](message const&, kgroup::attempt const&,
                        process_span& span) -> asio::awaitable<void> {
            written = span.context();
            throw kgroup::permanent_failure{"refused"};
            co_return;
        };
        auto traced = kgroup::traced(children, book);
        co_await kgroup::for_each(claim, {.dead_letters = &letters}, traced);
    };
    run_over({t0});
    auto spans = ended();
    REQUIRE(spans.size() == 1);
    REQUIRE(written);
    CHECK(written->trace_id == trace_id);
    CHECK(written->parent_id == hex(spans[0]->GetSpanId()));
    CHECK(written->tracestate == "vendor=1");
    CHECK(kgroup::parse_trace_context(written->traceparent(), written->tracestate) == written);
    REQUIRE(letters.sent().size() == 1);
    auto const& headers = letters.sent()[0].record.headers;
    auto const expected = produced_in_a_span("a").headers;
    REQUIRE(headers.size() == expected.size());
    for (std::size_t i = 0; i != headers.size(); ++i) {
        CHECK(headers[i].name == expected[i].name);
        CHECK(headers[i].value == expected[i].value);
    }
    stop();
}

TEST_CASE_FIXTURE(traced_group, "opentelemetry: a span by hand that an exception ends") {
    cluster.add_records(t0, "a");
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto const next = co_await claim.messages().async_receive();
        try {
            process_span const span{plain, *next};
            throw std::runtime_error{"refused"};
        } catch (std::runtime_error const&) {
        }
        process_span const well{plain, *next};
        claim.mark(*next);
    };
    run_over({t0});
    auto const spans = ended();
    REQUIRE(spans.size() >= 2);
    CHECK(spans[0]->GetStatus() == api::trace::StatusCode::kError);
    CHECK(all_of(spans[0]->GetAttributes()).at("error.type") == "_OTHER");
    CHECK(spans[1]->GetStatus() == api::trace::StatusCode::kUnset);
    stop();
}

TEST_CASE_FIXTURE(traced_group, "opentelemetry: keys that are no text, or secret, and tombstones") {
    cluster.add_records(t0, record{.key = "\xff\x00"}, record{.key = "secret", .value = "v"});
    kgroup::tracing const discreet{{.keys = false}, provider};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            process_span const span{next->has_value() ? discreet : plain, *next};
        }
    };
    run_over({t0});
    auto const spans = ended();
    REQUIRE(spans.size() == 2);
    auto const tombstone = all_of(spans[0]->GetAttributes());
    CHECK(tombstone.at("messaging.kafka.message.tombstone") == "true");
    CHECK_FALSE(tombstone.contains("messaging.kafka.message.key"));
    auto const secret = all_of(spans[1]->GetAttributes());
    CHECK_FALSE(secret.contains("messaging.kafka.message.tombstone"));
    CHECK_FALSE(secret.contains("messaging.kafka.message.key"));
    CHECK_FALSE(secret.contains("messaging.consumer.group.name")); // none was named
    stop();
}

namespace {

// Shown in docs/observability.md.
void use_buckets_of_the_conventions(sdk::metrics::MeterProvider& provider) {
    auto const buckets = std::make_shared<sdk::metrics::HistogramAggregationConfig>();
    buckets->boundaries_ = {.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10};
    for (auto const* name : {"messaging.process.duration", "messaging.client.operation.duration",
                             "kgroup.rebalance.duration"}) {
        provider.AddView(sdk::metrics::InstrumentSelectorFactory::Create(
                             sdk::metrics::InstrumentType::kHistogram, name, "s"),
                         sdk::metrics::MeterSelectorFactory::Create("kgroup", "", ""),
                         sdk::metrics::ViewFactory::Create(
                             name, "", "s", sdk::metrics::AggregationType::kHistogram, buckets));
    }
}

struct metered {
    std::shared_ptr<memory::SimpleAggregateInMemoryMetricData> const data =
        std::make_shared<memory::SimpleAggregateInMemoryMetricData>();
    std::shared_ptr<sdk::metrics::MeterProvider> const sdk_provider =
        std::make_shared<sdk::metrics::MeterProvider>();
    kgroup::operation_metrics::provider const provider{
        std::shared_ptr<api::metrics::MeterProvider>{sdk_provider}};

    metered() {
        use_buckets_of_the_conventions(*sdk_provider);
        sdk::metrics::PeriodicExportingMetricReaderOptions at_request_only;
        at_request_only.export_interval_millis = 1h;
        at_request_only.export_timeout_millis = 1min;
        sdk_provider->AddMetricReader(sdk::metrics::PeriodicExportingMetricReaderFactory::Create(
            memory::InMemoryMetricExporterFactory::Create(data), at_request_only));
        collect(); // the reader does so when it begins, by itself: that is over now
    }

    auto points(std::string const& metric) {
        std::map<attributes, sdk::metrics::PointType> result;
        for (auto const& [at, point] : data->Get("kgroup", metric)) {
            result.emplace(all_of(at), point);
        }
        return result;
    }
    sdk::metrics::HistogramPointData histogram(std::string const& metric, attributes const& at) {
        auto const all = points(metric);
        REQUIRE_MESSAGE(all.contains(at), metric);
        return api::nostd::get<sdk::metrics::HistogramPointData>(all.at(at));
    }
    /// Of a gauge or a counter.
    double number(std::string const& metric, attributes const& at) {
        auto const all = points(metric);
        REQUIRE_MESSAGE(all.contains(at), metric);
        auto const& point = all.at(at);
        if (auto const* last = api::nostd::get_if<sdk::metrics::LastValuePointData>(&point)) {
            return api::nostd::get<double>(last->value_);
        }
        return api::nostd::get<double>(api::nostd::get<sdk::metrics::SumPointData>(point).value_);
    }
    void collect() {
        data->Clear();
        REQUIRE(sdk_provider->ForceFlush());
    }
};

} // namespace

TEST_CASE_FIXTURE(scripted_group,
                  "opentelemetry: operations by the conventions, in their buckets") {
    metered metrics;
    settings.observer = std::make_shared<kgroup::operation_metrics>("billing", metrics.provider);
    cluster.add_records(t0, "a", "b", "c");
    latch goes_on{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto book = [&](message const& taken) -> asio::awaitable<void> {
            if (taken.value() == "b") {
                throw std::runtime_error{"refused"};
            }
            if (taken.value() == "c") {
                co_await goes_on.wait();
            }
        };
        co_await kgroup::for_each(
            claim, {.order = kgroup::order::unordered, .retry = {.give_up = kgroup::give_up::skip}},
            book);
    };
    run_over({t0});
    advance(3s);
    goes_on.open();
    settle();
    advance(1min);
    metrics.collect();
    attributes const of_group{{"messaging.system", "kafka"},
                              {"messaging.consumer.group.name", "billing"}};
    auto const with = [](attributes base, attributes more) {
        base.merge(more);
        return base;
    };
    auto const partition = with(of_group, {{"messaging.destination.name", "t"},
                                           {"messaging.destination.partition.id", "0"}});
    auto const receive = with(partition, {{"messaging.operation.name", "receive"},
                                          {"messaging.operation.type", "receive"}});
    auto const consumed = metrics.points("messaging.client.consumed.messages");
    REQUIRE(consumed.contains(receive));
    CHECK(api::nostd::get<std::int64_t>(
              api::nostd::get<sdk::metrics::SumPointData>(consumed.at(receive)).value_) == 3);
    auto const process = with(partition, {{"messaging.operation.name", "process"},
                                          {"messaging.operation.type", "process"}});
    auto const passed = metrics.histogram("messaging.process.duration", process);
    CHECK(passed.count_ == 2);
    CHECK(passed.boundaries_.size() == 14);
    CHECK(passed.boundaries_.front() == .005);
    CHECK(api::nostd::get<double>(passed.sum_) >= 3);
    CHECK(api::nostd::get<double>(passed.sum_) < 4);
    CHECK(metrics
              .histogram("messaging.process.duration",
                         with(process, {{"error.type", "std::runtime_error"}}))
              .count_ == 1);
    CHECK(metrics
              .histogram("messaging.client.operation.duration",
                         with(of_group, {{"messaging.operation.name", "commit"},
                                         {"messaging.operation.type", "settle"}}))
              .count_ >= 1);
    CHECK(metrics
              .histogram("kgroup.rebalance.duration",
                         with(of_group, {{"messaging.operation.name", "rebalance"},
                                         {"kgroup.rebalance", "assigned"}}))
              .count_ == 1);
    stop();
}

TEST_CASE("opentelemetry: gauges and counters of states, asked once for each collection") {
    metered metrics;
    kgroup::group_state state;
    state.group_id = "billing";
    state.at = state.looked_at = std::chrono::system_clock::time_point{1'800'000'000'500ms};
    state.phase = kgroup::group_phase::consuming;
    state.stats.commits = 7;
    kgroup::claim_state row;
    row.where = {"orders", 3};
    row.lag = 30;
    row.bytes_waiting = 700;
    row.oldest_in_flight = state.at - 1250ms;
    state.claims.push_back(row);
    row.where.partition = 4;
    row.lag = -1; // not known
    state.claims.push_back(row);
    auto asked = 0;
    auto fails = false;
    attributes const group{{"messaging.consumer.group.name", "billing"}};
    attributes const claim{{"messaging.consumer.group.name", "billing"},
                           {"messaging.destination.name", "orders"},
                           {"messaging.destination.partition.id", "3"}};
    {
        kgroup::state_metrics const observed{[&] {
                                                 ++asked;
                                                 if (fails) {
                                                     throw std::runtime_error{"no states"};
                                                 }
                                                 return state;
                                             },
                                             metrics.provider};
        metrics.collect();
        CHECK(asked == 1);
        CHECK(metrics.number("kgroup.claim.lag_records", claim) == 30);
        CHECK(metrics.points("kgroup.claim.lag_records").size() == 1);
        CHECK(metrics.number("kgroup.claim.waiting_bytes", claim) == 700);
        CHECK(metrics.number("kgroup.claim.oldest_in_flight", claim) == 1.25);
        CHECK(metrics.number("kgroup.last_look_timestamp", group) == 1'800'000'000.5);
        CHECK(metrics.number("kgroup.commits", group) == 7);
        CHECK(metrics.number("kgroup.claims", group) == 2);
        auto phase = group;
        phase["kgroup.phase"] = "consuming";
        CHECK(metrics.number("kgroup.phase", phase) == 1);
        CHECK(metrics.number("kgroup.failed_collections", {}) == 0);
        // Each family of prometheus_text, but its histograms.
        std::istringstream lines{kgroup::prometheus_text(state)};
        std::set<std::string> missing;
        for (std::string line; std::getline(lines, line);) {
            if (!line.starts_with("kgroup_") || line.find("_bucket{") != line.npos ||
                line.find("_sum{") != line.npos || line.find("_count{") != line.npos) {
                continue;
            }
            auto name = line.substr(0, line.find('{'));
            name.replace(6, 1, ".");
            if (name.starts_with("kgroup.claim_")) {
                name.replace(12, 1, ".");
            }
            for (std::string_view const suffix : {"_total", "_seconds"}) {
                if (name.ends_with(suffix)) {
                    name.resize(name.size() - suffix.size());
                }
            }
            if (metrics.points(name).empty()) {
                missing.insert(name);
            }
        }
        CHECK(missing.empty());
        state.claims[0].lag = 31;
        metrics.collect();
        CHECK(asked == 2);
        CHECK(metrics.number("kgroup.claim.lag_records", claim) == 31);
        fails = true;
        metrics.collect();
        CHECK(metrics.number("kgroup.failed_collections", {}) == 1);
    }
    metrics.collect();
    CHECK(asked == 3); // nobody asks what is gone
}

} // namespace opentelemetry_tests
