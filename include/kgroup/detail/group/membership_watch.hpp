// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/group/assignment_watch.hpp>
#include <kgroup/detail/group/broker_watch.hpp>
#include <kgroup/detail/group/event_reporter.hpp>
#include <kgroup/detail/group/outage_watch.hpp>
#include <kgroup/detail/group/state_board.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// The watch over the membership: whether brokers answer and accept this member, and whether it
/// has an assignment. It says which questions to ask of brokers, takes their answers, and tells
/// what lasts and its end. Knows no client and no clock.
class membership_watch {
public:
    membership_watch(event_reporter& reporter, group_protocol protocol,
                     std::vector<std::string> topics)
        : reporter_(reporter),
          protocol_(protocol),
          topics_(std::move(topics)) {}

    void subscribed(std::vector<std::string> topics) { topics_ = std::move(topics); }
    std::vector<std::string> const& topics() const noexcept { return topics_; }

    // Brokers.

    bool outage() const noexcept { return brokers_.outage(); }
    bool refusal() const noexcept { return brokers_.refusal(); }

    /// No broker can be reached. `last_commit`, `last_look_up`: what was asked last before: its
    /// answer may be older. false: that lasts already.
    bool unreachable(clock::time_point now, std::uint64_t last_commit, std::uint64_t last_look_up) {
        if (!brokers_.unreachable(now, last_commit, last_look_up)) {
            return false;
        }
        questions_.forget(); // their answers may be older
        return true;
    }
    /// A broker has refused this member.
    void refused(clock::time_point now) noexcept { brokers_.refused(now); }
    /// A broker has answered. `without_token`: the member's token cannot be renewed.
    void answered(clock::time_point now, bool without_token) {
        auto const ended = brokers_.answered(now);
        if (ended.reachable) {
            reporter_.brokers_reachable();
        }
        if (ended.accepted && !without_token) {
            reporter_.member_accepted();
        }
    }
    /// Whether the answer to a commit, or to a look-up, shows that brokers answer now.
    bool commit_shows_broker(std::uint64_t id, std::error_code const& error) const noexcept {
        return brokers_.answers_commit(id, error);
    }
    bool look_up_shows_broker(std::uint64_t id, std::error_code const& error) const noexcept {
        return brokers_.answers_look_up(id, error);
    }

    // The assignment.

    /// There is none from now on. No effect while one is awaited already.
    void without_assignment(clock::time_point now) noexcept { assignment_.begin(now); }
    /// `text`: what has come.
    void assigned(std::string text) {
        has_joined_ = true;
        end_wait(std::move(text));
    }
    join_progress progress() const noexcept {
        if (!assignment_.since()) {
            return join_progress::joined;
        }
        if (outage() || (coordinator_ && !coordinator_->broker_known)) {
            return join_progress::no_broker;
        }
        if (coordinator_ && !is_answer_of_broker(coordinator_->error)) {
            return join_progress::no_coordinator;
        }
        return coordinator_ || has_joined_ ? join_progress::joining : join_progress::no_broker;
    }
    /// Whether the reason is to be looked for, why there is no assignment.
    bool tells_soon(clock::time_point now) const noexcept { return assignment_.tells_soon(now); }

    /// While an assignment is awaited. `member`: its id, empty before the coordinator has given
    /// one. `words`: gives what the client's log says of the membership.
    template <typename Words>
    void look(clock::time_point now, std::string const& member, std::int32_t generation,
              Words const& words) {
        auto const has_id = !member.empty();
        if (protocol_ == group_protocol::consumer) {
            // Who has an epoch has been answered: its share is empty, of which librdkafka does not
            // tell. Nor does it tell that such a member has to join again.
            if (generation > 0) {
                end_wait("this member's share is empty");
            } else {
                assignment_.begin(now);
            }
        } else {
            has_joined_ = has_joined_ || has_id;
        }
        if (assignment_.telling_is_due(now)) {
            auto const joined = protocol_ != group_protocol::consumer && has_id;
            reporter_.no_assignment(coordinator_ ? coordinator_->error : std::error_code{},
                                    now - *assignment_.since(),
                                    reason_of_wait(outage(), coordinator_, joined,
                                                   reporter_.lasting(event_kind::topic_missing)),
                                    words());
        }
    }

    // Questions to brokers, one of a kind at a time.

    using question = broker_questions::kind;

    /// A question that is to be asked now; its answer has this id.
    struct request {
        question kind;
        std::uint64_t id;
        std::vector<topic_partition> partitions; ///< one, for the coordinator
    };

    /// `any_claim`: null if there is none. `quiet_claims(outage)`: gives the claims whose logs'
    /// ends are to be asked for.
    template <typename QuietClaims>
    std::vector<request> questions_due(clock::time_point now, topic_partition const* any_claim,
                                       QuietClaims const& quiet_claims) {
        std::vector<request> due;
        auto const brokers = brokers_.questions_due(now);
        auto const assignment_due = assignment_.question_is_due(now);
        if (!questions_.open(question::coordinator) &&
            (brokers.outage || brokers.refusal || assignment_due)) {
            due.push_back(ask(question::coordinator, {some_partition(any_claim)}));
        }
        if (!questions_.open(question::log_ends)) {
            if (auto quiet = quiet_claims(brokers.outage); !quiet.empty()) {
                due.push_back(ask(question::log_ends, std::move(quiet)));
            }
        }
        if (!questions_.open(question::topics) && now >= next_topics_) {
            next_topics_ = now + ask_topics_after;
            if (auto topics = topics_in_trouble(); !topics.empty()) {
                due.push_back(ask(question::topics, std::move(topics)));
            }
        }
        return due;
    }
    /// Those under way could not be asked.
    void forget_questions() noexcept { questions_.forget(); }
    /// Whether that is the answer to a question under way.
    bool take(client_ends const& answer) noexcept {
        return questions_.answer(question::log_ends, answer.id) ||
               questions_.answer(question::topics, answer.id);
    }
    /// Likewise; then it counts.
    bool take(client_coordinator const& answer) {
        if (!questions_.answer(question::coordinator, answer.id)) {
            return false;
        }
        coordinator_ = answer;
        return true;
    }

private:
    static constexpr auto ask_topics_after = std::chrono::seconds{10};

    void end_wait(std::string text) {
        assignment_.end();
        reporter_.assignment_received(std::move(text));
    }

    request ask(question kind, std::vector<topic_partition> partitions) {
        return {kind, questions_.ask(kind), std::move(partitions)};
    }

    // A partition of each topic that is missing, or cannot be read, as a whole.
    std::vector<topic_partition> topics_in_trouble() const {
        std::vector<topic_partition> topics;
        for (auto const kind : {event_kind::topic_missing, event_kind::partition_error}) {
            for (auto const& known : reporter_.lasting(kind)) {
                if (known.newest.where && known.newest.where->partition < 0) {
                    topics.emplace_back(known.newest.where->topic, 0);
                }
            }
        }
        return topics;
    }

    topic_partition some_partition(topic_partition const* any_claim) const {
        if (any_claim) {
            return *any_claim;
        }
        for (auto const& topic : topics_) {
            if (!topic.starts_with('^')) {
                return {topic, 0};
            }
        }
        return {"__consumer_offsets", 0};
    }

    event_reporter& reporter_;
    group_protocol protocol_;
    std::vector<std::string> topics_;
    broker_watch brokers_;
    broker_questions questions_;
    assignment_watch assignment_;
    bool has_joined_ = false;                       // the coordinator has let it, some time
    std::optional<client_coordinator> coordinator_; // its last answer
    clock::time_point next_topics_{};
};

} // namespace kgroup::detail
