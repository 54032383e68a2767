// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/config/bootstrap_server.hpp>
#include <kgroup/detail/config/pattern_check.hpp>
#include <kgroup/detail/config/utf8.hpp>
#include <kgroup/error.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#if __has_include(<regex.h>)
#include <regex.h> // librdkafka's own choice where it exists
#endif

namespace kgroup::detail {

/// Control characters, and bytes that are no UTF-8, as `\x1b`: messages end in logs and on
/// terminals.
inline std::string shown(std::string_view text) {
    std::string result;
    for (std::size_t at = 0; at < text.size();) {
        auto const length = utf8_length(text.substr(at));
        auto const first = static_cast<unsigned char>(text[at]);
        auto const control =
            first < 0x20 || first == 0x7f ||
            (length == 2 && first == 0xc2 && static_cast<unsigned char>(text[at + 1]) < 0xa0);
        if (length != 0 && !control) {
            result += text.substr(at, length);
            at += length;
            continue;
        }
        constexpr std::string_view digits{"0123456789abcdef"};
        for (auto const end = at + (std::max<std::size_t>)(length, 1); at != end; ++at) {
            auto const byte = static_cast<unsigned char>(text[at]);
            result += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
        }
    }
    return result;
}

/// The same of a value in a message: long ones are cut.
inline std::string quoted(std::string_view text) {
    constexpr std::size_t longest = 260;
    return "'" + shown(text.substr(0, longest)) + (text.size() > longest ? "…'" : "'");
}

[[noreturn]] inline void refuse_config(std::string const& complaint) {
    throw std::system_error{errc::invalid_config, shown(complaint)};
}

// Kafka's rule for the names of topics and of static members.
inline bool is_legal_name(std::string_view name) {
    return name.size() <= 249 && name != "." && name != ".." &&
           std::all_of(name.begin(), name.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '_' || c == '-';
           });
}

/// Whether librdkafka takes this regular expression (POSIX extended, whoever divides the
/// partitions), and the brokers do if it is they who read it (RE2): what is wrong with one
/// librdkafka does not tell, and the brokers' refusal is fatal to it.
inline void check_pattern(std::string const& pattern, group_protocol protocol) {
    auto const refuse = [&](std::string const& kind, std::string const& why) {
        refuse_config("topics: " + detail::quoted(pattern) + " is not a regular expression (" +
                      kind + "): " + why);
    };
    auto const refuse_at = [&](char const* kind, pattern_flaw const& flaw) {
        refuse(kind, flaw.reason + ", at position " + std::to_string(flaw.position + 1));
    };
    if (auto const zero = pattern.find('\0'); zero != pattern.npos) {
        refuse_at("POSIX extended", {zero, "a NUL"});
    }
    if (auto const flaw = pattern_size::flaw_of(pattern)) {
        refuse_at("POSIX extended", *flaw);
    }
#if __has_include(<regex.h>)
    regex_t compiled;
    if (auto const failed = ::regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB)) {
        char why[128];
        ::regerror(failed, &compiled, why, sizeof why);
        refuse("POSIX extended", why);
    }
    ::regfree(&compiled);
#endif
    if (protocol == group_protocol::consumer) {
        if (auto const flaw = pattern_check::flaw_of(pattern)) {
            refuse_at("RE2, as the brokers read it", *flaw);
        }
    }
}

/// What can be said of a subscription without librdkafka.
inline void check_topics(std::vector<std::string> const& topics, group_protocol protocol) {
    if (topics.empty()) {
        refuse_config("topics: at least one is needed");
    }
    std::set<std::string_view> seen;
    for (auto const& topic : topics) {
        if (topic.empty()) {
            refuse_config("topics: a name must not be empty");
        }
        if (topic.front() == '^') {
            check_pattern(topic, protocol);
        } else if (!is_legal_name(topic)) {
            refuse_config("topics: " + detail::quoted(topic) +
                          " is not a topic's name (letters, digits, '.', '_', '-'; 249 at most) "
                          "and not a regular expression, which begins with '^'");
        }
        if (!seen.insert(topic).second) {
            refuse_config("topics: " + detail::quoted(topic) + " is named twice");
        }
    }
}

inline void check_no_nul(char const* field, std::string_view value) {
    if (value.find('\0') != value.npos) {
        refuse_config(std::string{field} + ": holds a NUL, behind which librdkafka would not read");
    }
}

/// Brokers to start from, as far as they can be judged without asking.
///
/// @param security_protocol the property; empty: librdkafka's default.
inline void check_brokers(std::string_view brokers, std::string_view security_protocol) {
    check_no_nul("brokers", brokers);
    if (brokers.empty()) {
        refuse_config("brokers: must not be empty");
    }
    if (security_protocol.empty()) {
        security_protocol = "plaintext";
    }
    for (std::size_t begin = 0; begin <= brokers.size();) {
        auto const end = (std::min)(brokers.find(',', begin), brokers.size());
        auto broker = brokers.substr(begin, end - begin);
        begin = end + 1;
        while (!broker.empty() && broker.front() == ' ') {
            broker.remove_prefix(1);
        }
        while (!broker.empty() && broker.back() == ' ') {
            broker.remove_suffix(1);
        }
        if (broker.empty()) {
            refuse_config("brokers: a name between the commas must not be empty");
        }
        auto const refuse = [&](std::string const& flaw) {
            auto const login = broker.rfind('@'); // before it may stand a password
            refuse_config("brokers: " + detail::quoted(broker.substr(login + 1)) + " " + flaw);
        };
        if (std::any_of(broker.begin(), broker.end(),
                        [](unsigned char c) { return c <= 0x20 || c == 0x7f; })) {
            refuse("holds a blank or a control character");
        }
        auto const server = bootstrap_server_reader::read(broker);
        if (!server.flaw.empty()) {
            refuse(server.flaw);
        }
        if (!server.protocol.empty() && !is_same_word(server.protocol, security_protocol)) {
            refuse("contradicts the property 'security.protocol', which is " +
                   std::string{security_protocol});
        }
    }
}

/// A property's value, or nothing.
inline std::string_view value_of(std::map<std::string, std::string> const& properties,
                                 std::string const& name) {
    auto const found = properties.find(name);
    return found == properties.end() ? std::string_view{} : found->second;
}

/// A time that librdkafka and clocks can be given: up to 24 days.
inline void check_time(char const* field, std::chrono::milliseconds time) {
    if (time.count() > (std::numeric_limits<std::int32_t>::max)()) {
        refuse_config(std::string{field} + ": must not be more than 2147483647 ms");
    }
}

template <typename Enum>
void check_enumerator(char const* field, Enum value, Enum last) {
    if (static_cast<int>(value) < 0 || static_cast<int>(value) > static_cast<int>(last)) {
        refuse_config(std::string{field} + ": " + std::to_string(static_cast<int>(value)) +
                      " is none of its enumerators");
    }
}

/// Names and values, as far as librdkafka would not refuse them itself.
inline void check_properties(std::map<std::string, std::string> const& properties) {
    for (auto const& [name, value] : properties) {
        if (name.empty()) {
            refuse_config("properties: a name must not be empty");
        }
        if (name.find('\0') != name.npos || value.find('\0') != value.npos) {
            refuse_config("properties: " + detail::quoted(name) +
                          " holds a NUL, behind which librdkafka would not read");
        }
    }
    constexpr std::pair<char const*, char const*> twins[]{
        {"bootstrap.servers", "metadata.broker.list"},
        {"fetch.message.max.bytes", "max.partition.fetch.bytes"},
        {"max.in.flight", "max.in.flight.requests.per.connection"},
        {"sasl.mechanism", "sasl.mechanisms"}};
    for (auto const& [one, other] : twins) {
        if (properties.contains(one) && properties.contains(other)) {
            refuse_config("properties: '" + std::string{one} + "' and '" + other +
                          "' are two names of one property");
        }
    }
}

/// What can be said of a configuration without librdkafka.
inline void check(config const& given) {
    using namespace std::chrono_literals;
    check_brokers(given.brokers, value_of(given.properties, "security.protocol"));
    check_no_nul("group_id", given.group_id);
    if (given.group_id.empty()) {
        refuse_config("group_id: must not be empty");
    }
    if (given.group_id.size() > 32767) {
        refuse_config("group_id: must not be longer than 32767 bytes");
    }
    check_enumerator("protocol", given.protocol, group_protocol::consumer);
    check_topics(given.topics, given.protocol);
    if (!given.initial_offset) {
        refuse_config("initial_offset: must be set: earliest, latest or none (there is no default, "
                      "because a wrong one skips "
                      "records or repeats them)");
    }
    check_enumerator("initial_offset", *given.initial_offset, offset_reset::none);
    check_enumerator("on_claim_exit", given.on_claim_exit, claim_exit::keep_others);
    if (!given.group_instance_id.empty()) {
        if (!is_legal_name(given.group_instance_id)) {
            refuse_config("group_instance_id: only letters, digits, '.', '_' and '-' are allowed, "
                          "249 at most");
        }
    }
    if (given.protocol == group_protocol::classic) {
        if (given.assignors.empty()) {
            refuse_config("assignors: at least one is needed");
        }
        for (auto const strategy : given.assignors) {
            check_enumerator("assignors", strategy, assignor::cooperative_sticky);
            if (std::count(given.assignors.begin(), given.assignors.end(), strategy) > 1) {
                refuse_config("assignors: one is named twice");
            }
        }
        auto const cooperative = std::count(given.assignors.begin(), given.assignors.end(),
                                            assignor::cooperative_sticky);
        if (cooperative != 0 && static_cast<std::size_t>(cooperative) != given.assignors.size()) {
            refuse_config(
                "assignors: cooperative_sticky cannot be offered together with range or roundrobin "
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
    check_time("auto_commit_interval", given.auto_commit_interval);
    check_time("commit_timeout", given.commit_timeout);
    check_time("close_timeout", given.close_timeout);
    if (given.expected_partitions == 0) {
        refuse_config("expected_partitions: must not be 0");
    }
    if (given.buffer_bytes / given.expected_partitions < 16384) {
        refuse_config("buffer_bytes: must be at least 16 KiB for each of expected_partitions");
    }
    check_properties(given.properties);
}

/// `config::rebalance_deadline`, or what it is if unset.
inline std::chrono::milliseconds
rebalance_deadline_of(config const& given, std::chrono::milliseconds max_poll_interval) {
    auto const deadline = given.rebalance_deadline.value_or(
        (std::min)(std::chrono::milliseconds{10000}, max_poll_interval / 3));
    if (deadline > max_poll_interval / 2) {
        refuse_config(
            "rebalance_deadline: " + std::to_string(deadline.count()) +
            " ms is more than half of max.poll.interval.ms (" +
            std::to_string(max_poll_interval.count()) +
            "), after which the broker evicts a member that has not answered a rebalance");
    }
    return deadline;
}

} // namespace kgroup::detail
