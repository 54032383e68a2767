#pragma once

#include <kgroup/config.hpp>
#include <kgroup/error.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#if __has_include(<regex.h>)
#include <regex.h> // librdkafka's own choice where it exists
#endif

namespace kgroup::detail {

[[noreturn]] inline void refuse_config(std::string const& what) {
    throw std::system_error{errc::invalid_config, what};
}

// Kafka's rule for the names of topics and of static members.
inline bool is_legal_name(std::string_view name) {
    return name.size() <= 249 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    });
}

/// Whether librdkafka takes this regular expression: what is wrong with one it does not tell.
inline void check_pattern(std::string const& pattern) {
#if __has_include(<regex.h>)
    regex_t compiled;
    if (auto const failed = ::regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB)) {
        char why[128];
        ::regerror(failed, &compiled, why, sizeof why);
        refuse_config("topics: '" + pattern + "' is not a regular expression (POSIX extended): " + why);
    }
    ::regfree(&compiled);
#else
    static_cast<void>(pattern); // found out when the group is joined
#endif
}

/// What can be said of a subscription without librdkafka.
inline void check_topics(std::vector<std::string> const& topics, group_protocol protocol) {
    if (topics.empty()) {
        refuse_config("topics: at least one is needed");
    }
    for (auto const& topic : topics) {
        if (topic.empty()) {
            refuse_config("topics: a name must not be empty");
        }
        if (topic.front() == '^') {
            if (protocol == group_protocol::classic) { // the other's are the broker's to judge, and of another kind
                check_pattern(topic);
            }
        } else if (!is_legal_name(topic)) {
            refuse_config("topics: '" + topic + "' is not a topic's name (letters, digits, '.', '_', '-'; 249 at most) "
                          "and not a regular expression, which begins with '^'");
        }
        if (std::count(topics.begin(), topics.end(), topic) > 1) {
            refuse_config("topics: '" + topic + "' is named twice");
        }
    }
}

/// What can be said of a configuration without librdkafka.
inline void check(config const& given) {
    using namespace std::chrono_literals;
    if (given.brokers.empty()) {
        refuse_config("brokers: must not be empty");
    }
    if (given.group_id.empty()) {
        refuse_config("group_id: must not be empty");
    }
    check_topics(given.topics, given.protocol);
    if (!given.initial_offset) {
        refuse_config("initial_offset: must be set: earliest, latest or none (there is no default, because a wrong one skips "
                      "records or repeats them)");
    }
    if (!given.group_instance_id.empty()) {
        if (!is_legal_name(given.group_instance_id)) {
            refuse_config("group_instance_id: only letters, digits, '.', '_' and '-' are allowed, 249 at most");
        }
    }
    if (given.protocol == group_protocol::classic) {
        if (given.assignors.empty()) {
            refuse_config("assignors: at least one is needed");
        }
        auto const cooperative = std::count(given.assignors.begin(), given.assignors.end(), assignor::cooperative_sticky);
        if (cooperative != 0 && static_cast<std::size_t>(cooperative) != given.assignors.size()) {
            refuse_config("assignors: cooperative_sticky cannot be offered together with range or roundrobin "
                          "(librdkafka refuses to mix cooperative and eager protocols)");
        }
    }
    if (given.auto_commit_interval < 0ms) {
        refuse_config("auto_commit_interval: must not be negative (0 turns periodic commits off)");
    }
    if (given.commit_timeout <= 0ms) {
        refuse_config("commit_timeout: must be positive");
    }
    if (given.close_timeout <= 0ms) {
        refuse_config("close_timeout: must be positive");
    }
    if (given.rebalance_deadline && *given.rebalance_deadline <= 0ms) {
        refuse_config("rebalance_deadline: must be positive");
    }
    if (given.expected_partitions == 0) {
        refuse_config("expected_partitions: must not be 0");
    }
    if (given.buffer_bytes / given.expected_partitions < 16384) {
        refuse_config("buffer_bytes: must be at least 16 KiB for each of expected_partitions");
    }
}

/// `config::rebalance_deadline`, or what it is if unset.
inline std::chrono::milliseconds rebalance_deadline_of(config const& given, std::chrono::milliseconds max_poll_interval) {
    auto const deadline = given.rebalance_deadline.value_or((std::min)(std::chrono::milliseconds{10000}, max_poll_interval / 3));
    if (deadline > max_poll_interval / 2) {
        refuse_config("rebalance_deadline: " + std::to_string(deadline.count()) + " ms is more than half of max.poll.interval.ms (" +
                      std::to_string(max_poll_interval.count()) +
                      "), after which the broker evicts a member that has not answered a rebalance");
    }
    return deadline;
}

} // namespace kgroup::detail
