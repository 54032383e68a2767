// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/events/error_table.hpp>
#include <kgroup/error_effect.hpp>
#include <kgroup/kafka_errc.hpp>

#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace kgroup {

/// The errors of kgroup's own. Kafka's and librdkafka's codes have a category of their own:
/// `kafka_category`.
enum class errc {
    /// A field of `config` is missing, malformed, or contradicts another; the message names it.
    invalid_config = 1,
    /// The librdkafka found at run time is too old for what was asked; the message names the
    /// version needed.
    unsupported_by_librdkafka,
    /// A group runs once: `async_run` or `async_consume` was called on a group that runs or has
    /// run.
    already_running,
    /// A handler had not ended when `close_timeout` was over; its frame lives on, owns what it can
    /// touch, and
    /// can commit nothing.
    handler_abandoned,
    /// `initial_offset` is `none` and the group has no committed offset for an assigned partition.
    no_committed_offset,
    /// `initial_offset` is `none` and the position of a claim is no longer in the log.
    offset_out_of_range,
    /// A second receive or wait was begun on a channel while one was outstanding.
    receive_in_progress,
    /// The session is over; there is nothing left to commit through it.
    session_ended,
    /// A record cannot be read, as far as librdkafka tells: its batch cannot be decompressed, has a
    /// codec or a format that librdkafka does
    /// not know, or a wrong checksum, if they are checked (`check.crcs`). Nothing behind it is
    /// delivered or committed. A damaged
    /// record length it does not tell.
    record_unreadable,
    /// The broker did not answer a commit within `commit_timeout`.
    commit_timed_out,
    /// An attempt of `for_each` did not end within `retry_options::attempt_timeout`.
    attempt_timed_out,
    /// Only a group that runs can be asked for this: it has not begun, or is over.
    not_running,
    /// Where claims start is chosen in `setup`; it does not run.
    not_in_setup,
    /// The producer was stopped, or is gone; what was not acknowledged by then may have been
    /// delivered.
    producer_stopped,
    /// `async_collect` was given no limit, or a negative time.
    invalid_limits,
};

/// The category of `errc`; its name is "kgroup".
inline std::error_category const& error_category() noexcept {
    struct category final : std::error_category {
        char const* name() const noexcept override { return "kgroup"; }
        std::string message(int value) const override {
            switch (static_cast<errc>(value)) {
            case errc::invalid_config:
                return "invalid configuration";
            case errc::unsupported_by_librdkafka:
                return "not supported by the librdkafka found at run time";
            case errc::already_running:
                return "the group runs or has run: a group runs once";
            case errc::handler_abandoned:
                return "a handler did not end within close_timeout";
            case errc::no_committed_offset:
                return "no committed offset, and initial_offset is none";
            case errc::offset_out_of_range:
                return "the position is no longer in the log, and initial_offset is none";
            case errc::receive_in_progress:
                return "another receive is outstanding on this channel";
            case errc::session_ended:
                return "the session has ended";
            case errc::record_unreadable:
                return "a record cannot be read";
            case errc::commit_timed_out:
                return "the commit was not answered within commit_timeout";
            case errc::attempt_timed_out:
                return "the attempt did not end within attempt_timeout";
            case errc::not_running:
                return "the group does not run";
            case errc::not_in_setup:
                return "only setup can choose where a claim starts";
            case errc::producer_stopped:
                return "the producer was stopped";
            case errc::invalid_limits:
                return "async_collect needs a limit: records, bytes, or within, which is not "
                       "negative";
            }
            return "unknown error of kgroup";
        }
    };
    static category const instance;
    return instance;
}

/// So that an `errc` is a `std::error_code`.
inline std::error_code make_error_code(errc value) noexcept {
    return {static_cast<int>(value), error_category()};
}

namespace detail {

/// librdkafka's words for a code.
std::string text_of_kafka_error(int code);

} // namespace detail

/// The category over the error codes of the Kafka protocol (positive) and of librdkafka (negative):
/// `kafka_errc`, and all that it does not name. Its name is "kafka", its messages are librdkafka's.
inline std::error_category const& kafka_category() noexcept {
    struct category final : std::error_category {
        char const* name() const noexcept override { return "kafka"; }
        std::string message(int value) const override { return detail::text_of_kafka_error(value); }
    };
    static category const instance;
    return instance;
}

/// So that a `kafka_errc` is a `std::error_code`.
inline std::error_code make_error_code(kafka_errc value) noexcept {
    return {static_cast<int>(value), kafka_category()};
}

/// Whether the same request may succeed when it is repeated without any change: the coordinator is
/// moving or loading, a rebalance is in progress, a request timed out, no broker is reachable at
/// the moment.
inline bool is_retriable(std::error_code const& ec) noexcept {
    if (ec.category() == error_category()) {
        return ec == make_error_code(errc::commit_timed_out);
    }
    if (ec.category() != kafka_category()) {
        return false;
    }
    switch (static_cast<kafka_errc>(ec.value())) {
    case kafka_errc::local_transport:
    case kafka_errc::local_timed_out:
    case kafka_errc::local_timed_out_in_queue:
    case kafka_errc::local_all_brokers_down:
    case kafka_errc::local_resolve:
    case kafka_errc::local_waiting_for_coordinator:
    case kafka_errc::local_waiting_for_metadata:
    case kafka_errc::local_retry:
    case kafka_errc::local_in_progress:
    case kafka_errc::request_timed_out:
    case kafka_errc::coordinator_load_in_progress:
    case kafka_errc::coordinator_not_available:
    case kafka_errc::not_coordinator:
    case kafka_errc::rebalance_in_progress:
    case kafka_errc::leader_not_available:
    case kafka_errc::not_leader_or_follower:
    case kafka_errc::network_exception:
    case kafka_errc::unknown_topic_or_partition:
    case kafka_errc::unstable_offset_commit:
        return true;
    default:
        return false;
    }
}

/// Whether a commit was refused because it came from a generation of the group that is over, or
/// between two.
inline bool is_stale(std::error_code const& ec) noexcept {
    if (ec.category() != kafka_category()) {
        return false;
    }
    switch (static_cast<kafka_errc>(ec.value())) {
    case kafka_errc::rebalance_in_progress:
    case kafka_errc::illegal_generation:
    case kafka_errc::unknown_member_id:
    case kafka_errc::stale_member_epoch:
        return true;
    default:
        return false;
    }
}

/// What an error means to a run. A code without a row in the table (docs/errors.md) `heals`; if
/// librdkafka calls such a one fatal all the same, the run ends with it, and another may succeed.
/// Codes of other categories: as `heals`.
inline error_effect effect_of(std::error_code const& ec) noexcept {
    if (ec.category() == error_category()) {
        switch (static_cast<errc>(ec.value())) {
        case errc::invalid_config:
        case errc::unsupported_by_librdkafka:
        case errc::no_committed_offset:
        case errc::offset_out_of_range:
        case errc::record_unreadable:
            return error_effect::ends_application;
        default:
            return error_effect::heals;
        }
    }
    return ec.category() == kafka_category()
               ? detail::row_of(static_cast<kafka_errc>(ec.value())).effect
               : error_effect::heals;
}

/// Whether the error ends a member for good, so that only a new group object (often: a changed
/// configuration, a changed permission) can go on: fenced by another member of the same instance
/// id, refused by the cluster, not supported, or named fatal by librdkafka. `effect_of` says
/// whether a new one may succeed without any change.
inline bool is_fatal(std::error_code const& ec) noexcept {
    return effect_of(ec) != error_effect::heals;
}

namespace detail {

/// Which field an error concerns and what to do, where the table knows.
inline std::string_view remedy_of(std::error_code const& ec) noexcept {
    return ec.category() == kafka_category() ? row_of(static_cast<kafka_errc>(ec.value())).remedy
                                             : std::string_view{};
}

/// What an exception says, and its code if it is a `std::system_error`.
inline std::pair<std::string, std::error_code>
describe_exception(std::exception_ptr const& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (std::system_error const& e) {
        return {e.what(), e.code()};
    } catch (std::exception const& e) {
        return {e.what(), {}};
    } catch (...) {
        return {"an exception of unknown type", {}};
    }
}

} // namespace detail

} // namespace kgroup

template <>
struct std::is_error_code_enum<kgroup::errc> : std::true_type {};

#ifndef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/rdkafka/error.ipp>
#endif
