// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/group/session_machine.hpp>

#include <array>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <variant>

namespace session_machine_tests {

using kgroup::end_reason;
using kgroup::topic_partition;
using kgroup::detail::partition_set;
using machine = kgroup::detail::session_machine;
using step = machine::step;

// Partitions of one topic, by number.
inline partition_set set_of(std::initializer_list<int> numbers) {
    partition_set set;
    for (int const number : numbers) {
        set.emplace("t", number);
    }
    return set;
}

// Words for what the machine is told and says, so that a test reads as a story and a failure as a
// line of it.

inline std::string to_text(partition_set const& partitions) {
    std::string text;
    for (topic_partition const& partition : partitions) {
        text += (text.empty() ? "" : " ") + std::to_string(partition.partition);
    }
    return text.empty() ? "none" : text;
}

inline std::string to_text(end_reason why) { return std::string{to_string(why)}; }

inline std::string to_text(step at) {
    constexpr std::array names{"joining",    "looking_up",  "setting_up",
                               "running",    "draining",    "cleaning_up",
                               "committing", "backing_off", "awaiting_final_assignment",
                               "leaving",    "finished"};
    return names.at(static_cast<std::size_t>(at));
}

struct action_words {
    std::string operator()(machine::look_up const& action) const {
        return "look up " + to_text(action.partitions);
    }
    std::string operator()(machine::begin_session const& action) const {
        return "begin session over " + to_text(action.partitions);
    }
    std::string operator()(machine::start_claims const& action) const {
        std::string const answer = action.cooperative ? "add " : "assign ";
        return (action.answers ? answer + to_text(action.assignment) + ", " : "") + "start " +
               to_text(action.claims) +
               (action.delayed.empty() ? "" : ", later " + to_text(action.delayed));
    }
    std::string operator()(machine::start_delayed const& action) const {
        return "start later " + to_text(action.claims);
    }
    std::string operator()(machine::assign_without_reading const& action) const {
        return (action.cooperative ? "add unread " : "assign unread ") + to_text(action.assignment);
    }
    std::string operator()(machine::release_partitions const& action) const {
        return (action.cooperative ? "remove " : "release ") + to_text(action.partitions);
    }
    std::string operator()(machine::end_claims const& action) const {
        return "end " + to_text(action.claims) + (action.session ? " and session: " : ": ") +
               to_text(action.why);
    }
    std::string operator()(machine::cancel const& action) const {
        return "cancel " + (action.claims.empty() ? "hook" : to_text(action.claims));
    }
    std::string operator()(machine::abandon const& action) const {
        return "abandon " + (action.claims.empty() ? "hook" : to_text(action.claims));
    }
    std::string operator()(machine::clean_up const&) const { return "clean up"; }
    std::string operator()(machine::commit const& action) const {
        return "seal " + to_text(action.claims) + ", commit " + to_text(action.may_commit);
    }
    std::string operator()(machine::seal const& action) const {
        return "seal " + to_text(action.claims);
    }
    std::string operator()(machine::forget_claims const& action) const {
        return "drop " + to_text(action.claims);
    }
    std::string operator()(machine::end_session const& action) const {
        return "end session: " + to_text(action.why);
    }
    std::string operator()(machine::report_exited_claim const& action) const {
        return "orphan " + to_text(partition_set{action.where});
    }
    std::string operator()(machine::report_superseded const&) const { return "superseded"; }
    std::string operator()(machine::arm_deadline const& action) const {
        constexpr std::array names{"drain", "grace", "join"};
        return std::string{"arm "} + names.at(static_cast<std::size_t>(action.how_long));
    }
    std::string operator()(machine::disarm_deadline const&) const { return "disarm"; }
    std::string operator()(machine::hasten_deadline const&) const { return "hasten"; }
    std::string operator()(machine::start_backoff const&) const { return "back off"; }
    std::string operator()(machine::close_client const&) const { return "close"; }
    std::string operator()(machine::finish const& action) const {
        return action.cancelled_late ? "finish, a moment later" : "finish";
    }
};

struct event_words {
    std::string operator()(machine::assigned const& event) const {
        return (event.cooperative ? "added " : "assigned ") + to_text(event.partitions);
    }
    std::string operator()(machine::revoked const& event) const {
        return (event.cooperative ? "removed " : "revoked ") + to_text(event.partitions) +
               (event.lost ? ", lost" : "");
    }
    std::string operator()(machine::looked_up const& event) const {
        return "looked up" + (event.delayed.empty() ? "" : ", but " + to_text(event.delayed));
    }
    std::string operator()(machine::start_found const& event) const {
        return "found " + to_text(event.partitions);
    }
    std::string operator()(machine::setup_ended const& event) const {
        return event.failed ? "setup failed" : "setup ended";
    }
    std::string operator()(machine::claim_ended const& event) const {
        return to_text(partition_set{event.where}) + (event.failed ? " failed" : " ended");
    }
    std::string operator()(machine::cleanup_ended const& event) const {
        return event.failed ? "cleanup failed" : "cleanup ended";
    }
    std::string operator()(machine::committed const&) const { return "committed"; }
    std::string operator()(machine::deadline_over const&) const { return "deadline over"; }
    std::string operator()(machine::backoff_over const&) const { return "backoff over"; }
    std::string operator()(machine::stop_requested const& event) const {
        return event.joined ? "stop, joined" : "stop";
    }
    std::string operator()(machine::failed const&) const { return "failed"; }
    std::string operator()(machine::fatal const&) const { return "fatal"; }
    std::string operator()(machine::client_closed const&) const { return "client closed"; }
    std::string operator()(machine::close_deadline_over const&) const {
        return "close deadline over";
    }
    std::string operator()(machine::interrupted const& event) const {
        return "interrupted over " + to_text(event.claims);
    }
};

inline std::string to_text(machine::action const& action) {
    return std::visit(action_words{}, action);
}
inline std::string to_text(machine::event const& event) { return std::visit(event_words{}, event); }

using lines = std::vector<std::string>;

lines to_text(machine::actions const& all) {
    lines texts;
    for (machine::action const& action : all) {
        texts.push_back(to_text(action));
    }
    return texts;
}

inline std::string joined(lines const& all) {
    std::string text;
    for (std::string const& line : all) {
        text += (text.empty() ? "" : "; ") + line;
    }
    return text.empty() ? "nothing" : text;
}

} // namespace session_machine_tests
