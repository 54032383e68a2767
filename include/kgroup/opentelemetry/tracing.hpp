// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/attempt.hpp>
#include <kgroup/detail/config/utf8.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/detail/metrics/error_type.hpp>
#include <kgroup/detail/opentelemetry/messaging_attributes.hpp>
#include <kgroup/message.hpp>
#include <kgroup/message_channel.hpp>
#include <kgroup/trace_context.hpp>
#include <kgroup/version.hpp>

#include <asio/awaitable.hpp>

#include <opentelemetry/common/key_value_iterable_view.h>
#include <opentelemetry/nostd/shared_ptr.h>
#include <opentelemetry/trace/provider.h>
#include <opentelemetry/trace/scope.h>
#include <opentelemetry/trace/span.h>
#include <opentelemetry/trace/span_context.h>
#include <opentelemetry/trace/span_context_kv_iterable_view.h>
#include <opentelemetry/trace/span_startoptions.h>
#include <opentelemetry/trace/trace_state.h>
#include <opentelemetry/trace/tracer.h>
#include <opentelemetry/trace/tracer_provider.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace kgroup {

/// How the span of a record's processing hangs together with the one in which it was produced.
enum class span_relation {
    link,   ///< linked to it: each has a trace of its own, as the conventions have it
    parent, ///< a child of it: one trace from the producer on; a batch has links all the same
};

struct tracing_options {
    std::string group_id{};  ///< `config::group_id`; empty: the spans do not name it
    std::string client_id{}; ///< the property `client.id`; empty: the spans do not name it
    span_relation relation = span_relation::link;
    /// Whether spans name the record's key, where it is text in UTF-8. Not where keys are secret.
    bool keys = true;
};

/// Where the spans of processed records come from: see `traced` and `process_span`.
///
/// *Thread safety.* Shared objects: safe.
class tracing {
public:
    using provider = ::opentelemetry::nostd::shared_ptr<::opentelemetry::trace::TracerProvider>;

    /// @param from not null; unless given, OpenTelemetry's global one as it is now.
    explicit tracing(tracing_options options,
                     provider const& from = ::opentelemetry::trace::Provider::GetTracerProvider())
        : options_(std::move(options)),
          tracer_(from->GetTracer("kgroup", KGROUP_VERSION_STRING)) {}

    /// The options that it was made with.
    tracing_options const& options() const noexcept { return options_; }
    /// The tracer whose spans they are; valid for as long as this object.
    ::opentelemetry::trace::Tracer& tracer() const noexcept { return *tracer_; }

private:
    tracing_options options_;
    ::opentelemetry::nostd::shared_ptr<::opentelemetry::trace::Tracer> tracer_;
};

namespace detail {

inline ::opentelemetry::trace::SpanContext remote_context(trace_context const& context) {
    namespace trace = ::opentelemetry::trace;
    std::uint8_t trace_id[trace::TraceId::kSize];
    std::uint8_t span_id[trace::SpanId::kSize];
    auto const read = [](std::string_view digits, auto& bytes) {
        for (std::size_t i = 0; i != std::size(bytes); ++i) {
            bytes[i] = static_cast<std::uint8_t>(hex_value(digits[2 * i]) * 16 +
                                                 hex_value(digits[2 * i + 1]));
        }
    };
    read(context.trace_id, trace_id);
    read(context.parent_id, span_id);
    return {trace::TraceId{trace_id}, trace::SpanId{span_id}, trace::TraceFlags{context.flags},
            true, trace::TraceState::FromHeader(context.tracestate)};
}

/// Of the span in which a record was produced; nullopt: its headers name none, or cannot be read,
/// which is no reason not to process it.
inline std::optional<::opentelemetry::trace::SpanContext> creation_context(message const& record) {
    try {
        if (auto const context = parse_trace_context(record)) {
            return remote_context(*context);
        }
    } catch (std::system_error const&) { // malformed headers
    }
    return std::nullopt;
}

inline bool is_utf8(std::string_view text) noexcept {
    while (!text.empty()) {
        auto const length = utf8_length(text);
        if (length == 0) {
            return false;
        }
        text.remove_prefix(length);
    }
    return true;
}

} // namespace detail

/// The span of one record's processing, or of a batch's, from its making to its end: named
/// `process TOPIC`, of the kind CONSUMER, with the attributes of OpenTelemetry's semantic
/// conventions (1.44). `traced` makes them around the function of `for_each`; by hand:
///
///     while (auto const next = co_await claim.messages().async_receive()) {
///         kgroup::process_span span{tracing, *next};
///         co_await book(*next);
///         claim.mark(*next);
///     }
///
/// It is not made the active span of the thread, since a coroutine may wait and go on elsewhere:
/// what is to be its child is given `span()` or `context()`.
///
/// *Lifetime.* The record may go before. *Thread safety.* As of OpenTelemetry's span.
class process_span {
public:
    using span_pointer = ::opentelemetry::nostd::shared_ptr<::opentelemetry::trace::Span>;

    /// Begins it.
    ///
    /// @param attempt which one at this record, from 1 (`kgroup.attempt`); 0: not known.
    /// @throws std::bad_alloc.
    process_span(tracing const& by, message const& record, std::uint32_t attempt = 0) {
        auto const creation = detail::creation_context(record);
        auto const partition = std::to_string(record.partition());
        auto attributes = attributes_of(by, record, partition, attempt);
        attributes.add("messaging.kafka.offset", record.offset());
        if (by.options().keys && record.has_key() && detail::is_utf8(record.key())) {
            attributes.add("messaging.kafka.message.key", detail::telemetry_text(record.key()));
        }
        if (!record.has_value()) {
            attributes.add("messaging.kafka.message.tombstone", true);
        }
        auto const is_child = by.options().relation == span_relation::parent;
        links creations;
        if (creation && !is_child) {
            creations.push_back({*creation, {}});
        }
        begin(by, record.topic(), attributes, creations, is_child ? creation : std::nullopt);
    }

    /// Begins that of a batch: with a link for each record that was produced in a span, and how
    /// many records there are. The offset of each stands at its link.
    ///
    /// @param batch not empty.
    process_span(tracing const& by, message_batch const& batch, std::uint32_t attempt = 0) {
        auto const partition = std::to_string(batch[0].partition());
        auto attributes = attributes_of(by, batch[0], partition, attempt);
        attributes.add("messaging.batch.message_count", static_cast<std::int64_t>(batch.size()));
        links creations;
        for (auto const& record : batch) {
            if (auto const creation = detail::creation_context(record)) {
                creations.push_back(
                    {*creation, {{"messaging.kafka.offset", std::int64_t{record.offset()}}}});
            }
        }
        begin(by, batch[0].topic(), attributes, creations, std::nullopt);
    }

    process_span(process_span const&) = delete;
    process_span& operator=(process_span const&) = delete;

    /// Ends it; with an error if an exception is on its way and `failed` was not called.
    ~process_span() {
        if (!has_failed_ && std::uncaught_exceptions() > exceptions_at_begin_) {
            fail("_OTHER", {});
        }
        span_->End();
    }

    /// It ends with this error: `error.type` is the class of the exception, or, of a
    /// std::system_error, category and number ("kafka:29").
    ///
    /// @param failure not null.
    void failed(std::exception_ptr const& failure) noexcept {
        try {
            fail(detail::error_type(failure), detail::one_line(detail::error_words(failure)));
        } catch (std::bad_alloc const&) {
            fail("_OTHER", {});
        }
    }

    /// For children, and attributes of your own. Not null.
    span_pointer const& span() const noexcept { return span_; }

    /// What to write into the headers of records that come of this one: `traceparent()` and
    /// `tracestate`.
    ///
    /// @throws std::bad_alloc.
    trace_context context() const {
        auto const context = span_->GetContext();
        char trace_id[2 * ::opentelemetry::trace::TraceId::kSize];
        char span_id[2 * ::opentelemetry::trace::SpanId::kSize];
        context.trace_id().ToLowerBase16(trace_id);
        context.span_id().ToLowerBase16(span_id);
        return {std::string(trace_id, std::size(trace_id)),
                std::string(span_id, std::size(span_id)), context.trace_flags().flags(),
                context.trace_state()->ToHeader()};
    }

private:
    using link_attributes =
        std::vector<std::pair<std::string, ::opentelemetry::common::AttributeValue>>;
    using links = std::vector<std::pair<::opentelemetry::trace::SpanContext, link_attributes>>;

    static detail::messaging_attributes attributes_of(tracing const& by, message const& record,
                                                      std::string const& partition,
                                                      std::uint32_t attempt) {
        detail::messaging_attributes attributes{"process", "process"};
        attributes.add_text("messaging.destination.name", record.topic());
        attributes.add_text("messaging.destination.partition.id", partition);
        attributes.add_text("messaging.consumer.group.name", by.options().group_id);
        attributes.add_text("messaging.client.id", by.options().client_id);
        if (attempt != 0) {
            attributes.add("kgroup.attempt", std::int64_t{attempt});
        }
        return attributes;
    }

    void begin(tracing const& by, std::string_view topic,
               detail::messaging_attributes const& attributes, links const& creations,
               std::optional<::opentelemetry::trace::SpanContext> const& parent) {
        ::opentelemetry::trace::StartSpanOptions options;
        options.kind = ::opentelemetry::trace::SpanKind::kConsumer;
        if (parent) {
            options.parent = *parent;
        }
        auto const name = "process " + std::string{topic};
        span_ = by.tracer().StartSpan(name, attributes.get(), creations, options);
    }

    void fail(std::string_view type, std::string_view words) noexcept {
        has_failed_ = true;
        span_->SetAttribute("error.type", detail::telemetry_text(type));
        span_->SetStatus(::opentelemetry::trace::StatusCode::kError, detail::telemetry_text(words));
    }

    span_pointer span_;
    int exceptions_at_begin_ = std::uncaught_exceptions();
    bool has_failed_ = false;
};

namespace detail {

template <typename F, typename Item>
concept takes_attempt_and_span =
    std::is_invocable_v<F&, Item const&, attempt const&, process_span&>;
template <typename F, typename Item>
concept takes_attempt_alone = std::is_invocable_v<F&, Item const&, attempt const&>;
template <typename F, typename Item>
concept takes_span_alone = std::is_invocable_v<F&, Item const&, process_span&>;
template <typename F, typename Item>
concept can_be_traced = takes_attempt_and_span<F, Item> || takes_attempt_alone<F, Item> ||
    takes_span_alone<F, Item> || std::is_invocable_v<F&, Item const&>;

template <typename F, typename Item>
decltype(auto) call_in_span(F& function, Item const& item, attempt const& current,
                            process_span& span) {
    if constexpr (takes_attempt_and_span<F, Item>) {
        return function(item, current, span);
    } else if constexpr (takes_attempt_alone<F, Item>) {
        return function(item, current);
    } else if constexpr (takes_span_alone<F, Item>) {
        return function(item, span);
    } else {
        return function(item);
    }
}

template <typename F, typename Item>
using result_in_span =
    decltype(detail::call_in_span(std::declval<F&>(), std::declval<Item const&>(),
                                  std::declval<attempt const&>(), std::declval<process_span&>()));

/// `F`: a function object, or a reference to one that outlives this.
template <typename F>
class traced_function {
    using function = std::remove_reference_t<F>;

public:
    traced_function(tracing const& by, F&& given) noexcept(std::is_nothrow_constructible_v<F, F&&>)
        : by_(&by),
          function_(std::forward<F>(given)) {}

    template <typename Item>
    requires can_be_traced<function, Item> && std::is_void_v<result_in_span<function, Item>>
    void operator()(Item const& item, attempt const& current) {
        process_span span{*by_, item, current.number()};
        try {
            // It does not wait, so all that it calls is on this thread.
            ::opentelemetry::trace::Scope const active{span.span()};
            detail::call_in_span(function_, item, current, span);
        } catch (...) {
            span.failed(std::current_exception());
            throw;
        }
    }
    template <typename Item>
    requires can_be_traced<function, Item> &&
        std::is_same_v<result_in_span<function, Item>, asio::awaitable<void>>
            asio::awaitable<void>
    operator()(Item const& item, attempt const& current) {
        process_span span{*by_, item, current.number()};
        try {
            co_await detail::call_in_span(function_, item, current, span);
        } catch (...) {
            span.failed(std::current_exception());
            throw;
        }
    }

private:
    tracing const* by_;
    F function_;
};

} // namespace detail

/// The function of `for_each`, `for_each_batch` or `each`, with a span around each of its calls:
///
///     auto traced = kgroup::traced(tracing, book);
///     co_await kgroup::for_each(claim, {.order = kgroup::order::by_key}, traced);
///
/// @param by outlives the calls.
/// @param function as for these; it may take a `process_span&` as its last parameter, for children
///     and attributes of its own. An lvalue is referenced, an rvalue moved. If it returns `void`,
///     the span is the active one of the thread meanwhile, so what it calls finds it by itself.
///
/// An attempt that fails is a span with an error, also if it said `not_now`. A retry is a span of
/// its own.
template <typename F>
auto traced(tracing const& by, F&& function) {
    return detail::traced_function<F>{by, std::forward<F>(function)};
}
template <typename F>
void traced(tracing const&& by, F&& function) = delete; // it would not live

} // namespace kgroup
