// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/config/config_check.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::detail {

/// Kafka's own topics, whose names begin with two underscores. A regular expression is not meant to
/// match them unless it says so: a group that reads `__consumer_offsets` feeds itself with its
/// commits. What hides them (librdkafka's `topic.blacklist`) is settled at the start and hides them
/// from everyone; so a group either knows them by name or not at all.
class internal_topics {
public:
    /// What the configuration subscribes to.
    ///
    /// @throws std::system_error `errc::invalid_config`: it names some, and has expressions that
    /// might match others
    explicit internal_topics(std::vector<std::string> const& topics)
        : hidden_(std::none_of(topics.begin(), topics.end(),
                               [](auto const& topic) { return is_meant(topic); })) {
        check(topics);
    }

    bool hidden() const noexcept { return hidden_; }

    /// Whether these can be subscribed to; `topics` as they are checked already.
    ///
    /// @throws std::system_error `errc::invalid_config`
    void check(std::vector<std::string> const& topics) const {
        for (auto const& topic : topics) {
            if (hidden_ && is_meant(topic)) {
                refuse_config("topics: '" + topic +
                              "' is internal to Kafka, and this group does not see internal "
                              "topics, which is settled "
                              "when it is made: name one in its configuration");
            }
            if (!hidden_ && topic.front() == '^' && !is_meant(topic) && !begins_otherwise(topic)) {
                refuse_config("topics: '" + topic +
                              "' might match internal topics ('__...') that are not meant, because "
                              "this group names "
                              "one or more of them: begin it with other characters than '_', or "
                              "use a group of its own for them");
            }
        }
    }

private:
    static bool is_meant(std::string_view topic) {
        return topic.starts_with("__") || topic.starts_with("^__");
    }

    // Whether whatever the expression matches begins with a character that is not '_'. false: it is
    // not obvious.
    static bool begins_otherwise(std::string_view pattern) {
        auto const literal = [](char c) {
            return c != '_' && is_legal_name(std::string_view{&c, 1}) && c != '.';
        };
        return pattern.size() > 1 && literal(pattern[1]) && pattern.find('|') == pattern.npos &&
               (pattern.size() == 2 ||
                std::string_view{"*?{"}.find(pattern[2]) == std::string_view::npos);
    }

    bool hidden_;
};

} // namespace kgroup::detail
