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
    for (int const each : numbers) {
        set.emplace("t", each);
    }
    return set;
}

// Words for what the machine is told and says, so that a test reads as a story and a failure as a
// line of it.

inline std::string to_text(partition_set const& partitions) {
    std::string text;
    for (topic_partition const& each : partitions) {
        text += (text.empty() ? "" : " ") + std::to_string(each.partition);
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
    std::string operator()(machine::look_up const& what) const {
        return "look up " + to_text(what.partitions);
    }
    std::string operator()(machine::begin_session const& what) const {
        return "begin session over " + to_text(what.partitions);
    }
    std::string operator()(machine::start_claims const& what) const {
        std::string const answer = what.cooperative ? "add " : "assign ";
        return (what.answers ? answer + to_text(what.assignment) + ", " : "") + "start " +
               to_text(what.claims) +
               (what.delayed.empty() ? "" : ", later " + to_text(what.delayed));
    }
    std::string operator()(machine::start_delayed const& what) const {
        return "start later " + to_text(what.claims);
    }
    std::string operator()(machine::assign_without_reading const& what) const {
        return (what.cooperative ? "add unread " : "assign unread ") + to_text(what.assignment);
    }
    std::string operator()(machine::release_partitions const& what) const {
        return (what.cooperative ? "remove " : "release ") + to_text(what.partitions);
    }
    std::string operator()(machine::end_claims const& what) const {
        return "end " + to_text(what.claims) + (what.session ? " and session: " : ": ") +
               to_text(what.why);
    }
    std::string operator()(machine::cancel const& what) const {
        return "cancel " + (what.claims.empty() ? "hook" : to_text(what.claims));
    }
    std::string operator()(machine::abandon const& what) const {
        return "abandon " + (what.claims.empty() ? "hook" : to_text(what.claims));
    }
    std::string operator()(machine::clean_up const&) const { return "clean up"; }
    std::string operator()(machine::commit const& what) const {
        return "seal " + to_text(what.claims) + ", commit " + to_text(what.may_commit);
    }
    std::string operator()(machine::seal const& what) const {
        return "seal " + to_text(what.claims);
    }
    std::string operator()(machine::forget_claims const& what) const {
        return "drop " + to_text(what.claims);
    }
    std::string operator()(machine::end_session const& what) const {
        return "end session: " + to_text(what.why);
    }
    std::string operator()(machine::report_exited_claim const& what) const {
        return "orphan " + to_text(partition_set{what.where});
    }
    std::string operator()(machine::report_superseded const&) const { return "superseded"; }
    std::string operator()(machine::arm_deadline const& what) const {
        constexpr std::array names{"drain", "grace", "join"};
        return std::string{"arm "} + names.at(static_cast<std::size_t>(what.how_long));
    }
    std::string operator()(machine::disarm_deadline const&) const { return "disarm"; }
    std::string operator()(machine::hasten_deadline const&) const { return "hasten"; }
    std::string operator()(machine::start_backoff const&) const { return "back off"; }
    std::string operator()(machine::close_client const&) const { return "close"; }
    std::string operator()(machine::finish const& what) const {
        return what.cancelled_late ? "finish, a moment later" : "finish";
    }
};

struct event_words {
    std::string operator()(machine::assigned const& what) const {
        return (what.cooperative ? "added " : "assigned ") + to_text(what.partitions);
    }
    std::string operator()(machine::revoked const& what) const {
        return (what.cooperative ? "removed " : "revoked ") + to_text(what.partitions) +
               (what.lost ? ", lost" : "");
    }
    std::string operator()(machine::looked_up const& what) const {
        return "looked up" + (what.delayed.empty() ? "" : ", but " + to_text(what.delayed));
    }
    std::string operator()(machine::start_found const& what) const {
        return "found " + to_text(what.partitions);
    }
    std::string operator()(machine::setup_ended const& what) const {
        return what.failed ? "setup failed" : "setup ended";
    }
    std::string operator()(machine::claim_ended const& what) const {
        return to_text(partition_set{what.where}) + (what.failed ? " failed" : " ended");
    }
    std::string operator()(machine::cleanup_ended const& what) const {
        return what.failed ? "cleanup failed" : "cleanup ended";
    }
    std::string operator()(machine::committed const&) const { return "committed"; }
    std::string operator()(machine::deadline_over const&) const { return "deadline over"; }
    std::string operator()(machine::backoff_over const&) const { return "backoff over"; }
    std::string operator()(machine::stop_requested const& what) const {
        return what.joined ? "stop, joined" : "stop";
    }
    std::string operator()(machine::failed const&) const { return "failed"; }
    std::string operator()(machine::fatal const&) const { return "fatal"; }
    std::string operator()(machine::client_closed const&) const { return "client closed"; }
    std::string operator()(machine::close_deadline_over const&) const {
        return "close deadline over";
    }
    std::string operator()(machine::interrupted const& what) const {
        return "interrupted over " + to_text(what.claims);
    }
};

inline std::string to_text(machine::action const& what) { return std::visit(action_words{}, what); }
inline std::string to_text(machine::event const& what) { return std::visit(event_words{}, what); }

using lines = std::vector<std::string>;

lines to_text(machine::actions const& all) {
    lines texts;
    for (machine::action const& each : all) {
        texts.push_back(to_text(each));
    }
    return texts;
}

inline std::string joined(lines const& all) {
    std::string text;
    for (std::string const& each : all) {
        text += (text.empty() ? "" : "; ") + each;
    }
    return text.empty() ? "nothing" : text;
}

} // namespace session_machine_tests
