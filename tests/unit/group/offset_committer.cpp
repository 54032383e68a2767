// SPDX-License-Identifier: MIT

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/group/offset_committer.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace offset_committer_tests {

namespace {

using namespace std::chrono_literals;
using kgroup::commit_status;
using kgroup::end_reason;
using kgroup::make_error_code;
using kgroup::topic_partition;
using kgroup::detail::commit_outcome;
using kgroup::detail::commit_waiter;
using kgroup::detail::offset_committer;
using kgroup::detail::partition_state;

std::error_code const rebalancing = make_error_code(RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS);
std::error_code const loading = make_error_code(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
std::error_code const forbidden = make_error_code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
std::error_code const unknown_member = make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID);

// A session over partitions 0, 1, … of one topic, a committer, and what stands for the client and
// the clock.
class committer_story {
public:
    static constexpr auto timeout = 5s;

    explicit committer_story(int partitions = 2, bool commits_at_end = true)
        : committer(timeout, commits_at_end) {
        for (int partition = 0; partition != partitions; ++partition) {
            own(partition);
        }
    }

    void own(int partition, std::int64_t committed = -1) {
        topic_partition const where{"t", partition};
        session.claims[where] = std::make_shared<partition_state>(
            where, context.get_executor(), kgroup::tracked_offset{committed},
            std::weak_ptr<kgroup::detail::claim_observer>{});
    }
    partition_state& claim(int partition) { return *session.claims.at({"t", partition}); }
    void mark(int partition, std::int64_t next, std::string const& metadata = {}) {
        auto& tracker = claim(partition).tracker();
        REQUIRE(tracker.mark(next, metadata, tracker.epoch()) == kgroup::mark_result::accepted);
    }
    offset_committer::claim_list claims(std::vector<int> const& partitions) {
        offset_committer::claim_list list;
        for (int const partition : partitions) {
            list.push_back(session.claims.at({"t", partition}));
        }
        return list;
    }

    // What is asked of the committer.

    std::shared_ptr<commit_waiter> call() {
        auto waiter = std::make_shared<commit_waiter>();
        committer.add(waiter);
        return waiter;
    }
    void clock_commit() {
        committer.schedule(now);
        REQUIRE(committer.clock_is_due(now));
        committer.schedule(now + 1h);
    }
    void finish(std::vector<int> const& partitions, std::chrono::milliseconds time = timeout) {
        for (int const partition : partitions) {
            claim(partition).end(end_reason::revoked);
            static_cast<void>(claim(partition).tracker().seal());
        }
        finishing = partitions;
        committer.finish(now, claims(partitions), now + time);
    }
    // Whether the last commit is over; its claims are dropped then.
    bool finished() {
        auto const over = committer.take_finished();
        for (int const partition : over ? std::exchange(finishing, {}) : std::vector<int>{}) {
            claim(partition).give_away();
            session.claims.erase({"t", partition});
        }
        return over;
    }
    void lose(int partition) {
        claim(partition).end(end_reason::lost);
        static_cast<void>(claim(partition).tracker().seal());
    }

    // What is sent now, as "0=10 1=7"; empty: nothing.
    std::string sent() {
        committer.time_out(now);
        auto const request = committer.next(now, &session);
        if (!request) {
            return {};
        }
        last_id = request->id;
        std::string text;
        for (auto const& offset : request->offsets) {
            text += (text.empty() ? "" : " ") + std::to_string(offset.where.partition) + "=" +
                    std::to_string(offset.offset);
            text += offset.metadata.empty() ? "" : "'" + offset.metadata + "'";
        }
        offsets[last_id] = request->offsets;
        return text;
    }
    std::string sent_after(std::chrono::milliseconds time) {
        now += time;
        return sent();
    }

    // The answer to a request: the same for all of its partitions, as librdkafka has it.
    void answer(std::uint64_t id, std::error_code error = {}) {
        kgroup::detail::client_commit result{id, error, {}};
        for (auto const& offset : offsets.at(id)) {
            result.results.push_back({offset.where, error});
        }
        committer.answer(now, result, &session);
    }
    void answer_last(std::error_code error = {}) { answer(last_id, error); }

    std::string committed() {
        std::string text;
        for (auto const& claim : session.claims) {
            text += (text.empty() ? "" : " ") + std::to_string(claim.second->tracker().committed());
        }
        return text;
    }
    commit_outcome outcome() {
        auto const ended = committer.take_outcome();
        REQUIRE(ended);
        return *ended;
    }

    asio::io_context context;
    kgroup::detail::session_state session;
    offset_committer committer;
    kgroup::detail::clock::time_point now{24h};
    std::vector<int> finishing;
    std::uint64_t last_id = 0;
    std::map<std::uint64_t, std::vector<kgroup::detail::offset_commit>> offsets;
};

TEST_CASE(
    "offset_committer: what is marked goes in one request, when it is asked for, and not twice") {
    committer_story story;
    story.mark(0, 10);
    story.mark(1, 7, "text");
    CHECK(story.sent().empty());
    story.clock_commit();
    CHECK(story.sent() == "0=10 1=7'text'");
    CHECK(story.sent().empty());
    story.answer_last();
    CHECK(story.committed() == "10 7");
    story.clock_commit();
    CHECK(story.sent().empty());
    CHECK(story.outcome().committed == 2);
    CHECK_FALSE(story.committer.take_outcome());
    CHECK_FALSE(story.finished());
}

TEST_CASE("offset_committer: offsets go with the leader epoch that their source knows") {
    struct known_epochs final : kgroup::detail::record_source {
        void drain(kgroup::detail::record_block&, std::size_t) noexcept override {}
        std::size_t waiting() const noexcept override { return 0; }
        void close() noexcept override {}
        kgroup::detail::watermarks known_watermarks() const noexcept override { return {}; }
        std::int32_t leader_epoch_before(std::int64_t next) const noexcept override {
            return static_cast<std::int32_t>(next / 10);
        }
        void free_records(kgroup::detail::record*, std::size_t) noexcept override {}
        std::int64_t timestamp(void*) const noexcept override { return -1; }
        void headers(void*, header_sink const&) const override {}
    };
    committer_story story;
    story.claim(1).start(std::make_shared<known_epochs>(), 0);
    story.mark(0, 10);
    story.mark(1, 30);
    story.clock_commit();
    CHECK(story.sent() == "0=10 1=30");
    auto const& sent = story.offsets.at(story.last_id);
    CHECK(sent[0].leader_epoch == -1); // it has no source yet
    CHECK(sent[1].leader_epoch == 3);
    story.answer_last();
    story.claim(1).tracker().forget_committed();
    story.clock_commit();
    CHECK(story.sent() == "1=30"); // once more, and with its epoch
    CHECK(story.offsets.at(story.last_id)[0].leader_epoch == 3);
}

TEST_CASE("offset_committer: who comes while a request is under way shares the next") {
    committer_story story;
    story.mark(0, 10);
    auto const first = story.call();
    CHECK(story.sent() == "0=10");
    story.mark(0, 20);
    auto const second = story.call();
    auto const third = story.call();
    CHECK(story.sent().empty());
    story.answer_last();
    CHECK(story.sent() == "0=20");
    CHECK(first->done.happened());
    CHECK_FALSE(second->done.happened());
    story.answer_last();
    CHECK(story.sent().empty());
    CHECK(second->results.at(0).offset == 20);
    CHECK(third->results.at(0).offset == 20);
}

TEST_CASE("offset_committer: a refusal of one partition, told of all, is taken apart, and the "
          "refused one comes last from then on") {
    committer_story story{3};
    for (int partition : {0, 1, 2}) {
        story.mark(partition, 10);
    }
    auto const waiter = story.call();
    CHECK(story.sent() == "0=10 1=10 2=10");
    story.answer_last(forbidden);
    CHECK(story.sent() == "0=10");
    story.answer_last(forbidden);
    CHECK(story.sent() == "1=10");
    story.answer_last();
    CHECK(story.sent() == "2=10");
    story.answer_last();
    CHECK(story.sent().empty());
    CHECK(story.committed() == "-1 10 10");
    REQUIRE(waiter->results.size() == 3);
    CHECK(waiter->results[0].status == commit_status::failed);
    CHECK(waiter->results[1].status == commit_status::committed);
    auto const ended = story.outcome();
    CHECK(ended.where == topic_partition{"t", 0});
    CHECK(ended.error == forbidden);
    CHECK(ended.committed == 2);
    story.mark(1, 20);
    story.clock_commit();
    CHECK(story.sent() == "1=20");
    story.answer_last();
    CHECK(story.sent() == "0=10");
    story.answer_last();
    CHECK(story.committed() == "10 20 10");
}

TEST_CASE("offset_committer: only what was asked and told is committed") {
    committer_story story{3};
    story.mark(0, 10);
    story.mark(1, 10);
    auto const waiter = story.call();
    CHECK(story.sent() == "0=10 1=10");
    SUBCASE("a partition that was not asked for, and one that is not spoken of") {
        story.committer.answer(
            story.now,
            {story.last_id, {}, {{{"t", 1}, {}}, {{"t", 2}, forbidden}, {{"u", 0}, forbidden}}},
            &story.session);
        CHECK(story.sent().empty());
        CHECK(story.committed() == "-1 10 -1");
        REQUIRE(waiter->results.size() == 2);
        CHECK(waiter->results[0].status == commit_status::failed);
        CHECK(waiter->results[1].status == commit_status::committed);
        CHECK(story.outcome().where == topic_partition{"t", 0});
    }
    SUBCASE("nothing at all") {
        story.committer.answer(story.now, {story.last_id, {}, {}}, &story.session);
        CHECK(story.sent().empty());
        CHECK(story.committed() == "-1 -1 -1");
        CHECK(waiter->results.at(0).status == commit_status::failed);
    }
    SUBCASE("an error of the whole, which no partition repeats") {
        story.committer.answer(
            story.now, {story.last_id, loading, {{{"t", 0}, {}}, {{"t", 1}, {}}}}, &story.session);
        CHECK(story.sent().empty());
        CHECK(story.committed() == "-1 -1 -1");
        CHECK(waiter->results.at(0).status == commit_status::retriable);
    }
    SUBCASE("by a request that was never sent") {
        story.committer.answer(story.now, {story.last_id + 7, {}, {{{"t", 0}, {}}}},
                               &story.session);
        CHECK(story.committed() == "-1 -1 -1");
        story.answer_last();
        CHECK(story.committed() == "10 10 -1");
    }
    SUBCASE("twice") {
        story.answer_last();
        story.answer_last(forbidden);
        CHECK(story.sent().empty());
        CHECK(story.committed() == "10 10 -1");
    }
}

TEST_CASE("offset_committer: a partition in doubt is not sent again, the others are") {
    committer_story story;
    story.mark(0, 10);
    story.clock_commit();
    CHECK(story.sent() == "0=10");
    auto const old = story.last_id;
    CHECK(story.sent_after(4999ms).empty());
    CHECK(story.sent_after(1ms).empty());
    CHECK(story.outcome().error == kgroup::errc::commit_timed_out);
    story.mark(0, 20);
    story.mark(1, 7);
    story.clock_commit();
    CHECK(story.sent() == "1=7");
    story.answer_last();
    CHECK(story.sent_after(1min).empty());
    SUBCASE("until it is answered: the clock has it again") { story.answer(old); }
    SUBCASE("whatever that answer is") { story.answer(old, unknown_member); }
    CHECK(story.sent().empty());
    CHECK(story.committed() == "-1 7");
    story.clock_commit();
    CHECK(story.sent() == "0=20");
    story.answer_last();
    CHECK(story.committed() == "20 7");
    CHECK(story.sent().empty());
}

TEST_CASE("offset_committer: after an answer to what was given up, the newest position is "
          "committed once more") {
    committer_story story;
    story.mark(0, 10, "text");
    story.mark(1, 3);
    SUBCASE("at once, if the clock has nothing newer") {
        story.clock_commit();
        CHECK(story.sent() == "0=10'text' 1=3");
        CHECK(story.sent_after(5s).empty());
        story.answer(story.last_id);
        CHECK(story.sent() == "0=10'text' 1=3");
        story.answer_last();
        CHECK(story.sent_after(1min).empty());
    }
    SUBCASE("at once, without a clock") {
        auto const waiter = story.call();
        CHECK(story.sent() == "0=10'text' 1=3");
        CHECK(story.sent_after(5s).empty());
        CHECK(waiter->error == kgroup::errc::commit_timed_out);
        story.mark(0, 20);
        story.answer(story.last_id);
        CHECK(story.sent() == "0=20 1=3");
        SUBCASE("again if that is refused, and may help") {
            story.answer_last(loading);
            CHECK(story.sent().empty());
            CHECK(story.sent_after(999ms).empty());
            CHECK(story.sent_after(1ms) == "0=20 1=3");
        }
        SUBCASE("again if that is not answered either, when it is") {
            CHECK(story.sent_after(5s).empty());
            CHECK(story.sent_after(1min).empty());
            story.answer_last();
            CHECK(story.sent() == "0=20 1=3");
        }
        story.answer_last();
        CHECK(story.sent_after(1min).empty());
        CHECK(story.committed() == "20 3");
    }
    SUBCASE("in the claim that has the partition now, which began at the newer one") {
        story.clock_commit();
        CHECK(story.sent() == "0=10'text' 1=3");
        CHECK(story.sent_after(5s).empty());
        story.claim(0).give_away();
        story.claim(1).give_away();
        story.own(0, 20);
        story.own(1);
        story.answer(story.last_id);
        CHECK(story.sent() == "0=20");
    }
    SUBCASE("not of what was given away") {
        story.clock_commit();
        CHECK(story.sent() == "0=10'text' 1=3");
        CHECK(story.sent_after(5s).empty());
        story.lose(0);
        story.session.claims.erase({"t", 1});
        story.answer(story.last_id);
        CHECK(story.sent_after(1min).empty());
    }
}

TEST_CASE("offset_committer: who awaits a commit awaits what is in doubt, but not longer than the "
          "timeout") {
    committer_story story;
    story.mark(0, 10);
    story.clock_commit();
    CHECK(story.sent() == "0=10");
    auto const old = story.last_id;
    CHECK(story.sent_after(5s).empty());
    story.outcome();
    story.mark(0, 20);
    story.mark(1, 7);
    auto const waiter = story.call();
    CHECK(story.sent() == "1=7");
    story.answer_last();
    CHECK(story.sent().empty());
    CHECK_FALSE(waiter->done.happened());
    CHECK(story.committer.due() == story.now + 5s);
    SUBCASE("answered") {
        story.answer(old);
        CHECK(story.sent() == "0=20");
        story.answer_last();
        CHECK(story.sent().empty());
        REQUIRE(waiter->results.size() == 2);
        CHECK(waiter->results[0].offset == 20);
        CHECK(waiter->results[0].status == commit_status::committed);
    }
    SUBCASE("not answered") {
        CHECK(story.sent_after(5s).empty());
        REQUIRE(waiter->results.size() == 2);
        CHECK(waiter->results[0].error == kgroup::errc::commit_timed_out);
        CHECK(waiter->results[1].status == commit_status::committed);
        CHECK(story.outcome().error == kgroup::errc::commit_timed_out);
    }
    SUBCASE("lost") {
        story.lose(0);
        CHECK(story.sent().empty());
        REQUIRE(waiter->done.happened());
        CHECK(waiter->results.at(0).status == commit_status::lost);
    }
    SUBCASE("not while the last commit of a claim waits") {
        story.finish({1});
        CHECK(story.sent().empty());
        CHECK(story.finished());
        CHECK_FALSE(waiter->done.happened());
    }
}

TEST_CASE("offset_committer: the last commit is repeated while that may help") {
    committer_story story;
    story.mark(0, 10);
    story.finish({0, 1});
    CHECK(story.sent() == "0=10");
    SUBCASE("between two generations for as long as there is time") {
        for (int i = 0; i != 49; ++i) {
            story.answer_last(rebalancing);
            CHECK(story.sent().empty());
            CHECK(story.committer.due() == story.now + 100ms);
            CHECK(story.outcome().will_retry);
            CHECK(story.sent_after(100ms) == "0=10");
        }
        story.answer_last(rebalancing);
        CHECK(story.sent().empty());
        CHECK_FALSE(story.outcome().will_retry);
    }
    SUBCASE("four times in all else") {
        for (int i = 0; i != 3; ++i) {
            story.answer_last(loading);
            CHECK(story.sent().empty());
            CHECK(story.sent_after(100ms) == "0=10");
        }
        story.answer_last(loading);
        CHECK(story.sent().empty());
    }
    SUBCASE("not if it cannot") { story.answer_last(forbidden); }
    SUBCASE("not if it is committed") { story.answer_last(); }
    CHECK(story.sent_after(100ms).empty());
    CHECK(story.finished());
    CHECK_FALSE(story.finished());
    CHECK(story.sent_after(1min).empty());
}

TEST_CASE("offset_committer: nothing is sent for a partition that was given away") {
    committer_story story{3};
    for (int partition : {0, 1, 2}) {
        story.mark(partition, 10);
    }
    SUBCASE("not the last commit again") {
        story.finish({0, 1});
        CHECK(story.sent() == "0=10 1=10");
        story.answer_last(rebalancing);
        CHECK(story.sent().empty());
        SUBCASE("one of two") {
            story.lose(0);
            CHECK(story.sent_after(100ms) == "1=10");
            story.answer_last();
            CHECK(story.sent().empty());
        }
        SUBCASE("both: it is over at once") {
            story.lose(0);
            story.lose(1);
            CHECK(story.sent().empty());
        }
    }
    SUBCASE("nor is an answer to it awaited") {
        story.finish({0, 1});
        CHECK(story.sent() == "0=10 1=10");
        story.lose(0);
        CHECK(story.sent().empty());
        CHECK_FALSE(story.finished());
        story.lose(1);
        CHECK(story.sent().empty());
        CHECK(story.finished());
        story.answer_last(rebalancing);
        CHECK(story.sent_after(1min).empty());
        CHECK_FALSE(story.committer.take_outcome());
        return;
    }
    SUBCASE("nor the rest of a batch") {
        story.clock_commit();
        CHECK(story.sent() == "0=10 1=10 2=10");
        story.answer_last(forbidden);
        CHECK(story.sent() == "0=10");
        story.lose(1);
        story.lose(2);
        story.answer_last();
        CHECK(story.sent().empty());
        CHECK(story.committed() == "10 -1 -1");
        CHECK_FALSE(story.outcome().error);
        return;
    }
    SUBCASE("nor after a timeout") {
        story.clock_commit();
        CHECK(story.sent() == "0=10 1=10 2=10");
        CHECK(story.sent_after(5s).empty());
        story.finish({0, 1, 2});
        CHECK(story.sent().empty());
        for (int partition : {0, 1, 2}) {
            story.lose(partition);
        }
        story.answer_last();
        CHECK(story.sent().empty());
    }
    CHECK(story.finished());
    CHECK(story.sent_after(1min).empty());
}

TEST_CASE("offset_committer: the last commit waits for what is in doubt while there is time") {
    committer_story story;
    story.mark(0, 10);
    story.clock_commit();
    CHECK(story.sent() == "0=10");
    auto const old = story.last_id;
    CHECK(story.sent_after(5s).empty());
    story.outcome();
    story.mark(0, 20);
    story.mark(1, 7);
    story.finish({0, 1});
    CHECK(story.sent() == "1=7");
    story.answer_last();
    CHECK(story.sent_after(3999ms).empty());
    SUBCASE("answered in time") {
        story.answer(old);
        CHECK(story.sent() == "0=20");
        story.answer_last();
        CHECK(story.sent().empty());
        CHECK(story.finished());
    }
    SUBCASE("not answered: it is sent all the same, at the end") {
        CHECK(story.committer.due() == story.now + 1ms);
        CHECK(story.sent_after(1ms) == "0=20");
        auto const newest = story.last_id;
        SUBCASE("and answered, and so is the old one: what is committed is not known, so it is "
                "sent once more") {
            story.answer(newest);
            CHECK(story.sent().empty());
            CHECK_FALSE(story.finished()); // one is unanswered and there is time
            story.answer(old);
            CHECK(story.sent() == "0=20");
            story.answer_last();
            CHECK(story.sent().empty());
            CHECK(story.finished());
        }
        SUBCASE("and the old one is answered first") {
            story.answer(old);
            CHECK(story.sent().empty());
            story.answer(newest);
            CHECK(story.sent() == "0=20");
            story.answer_last();
            CHECK(story.sent().empty());
            CHECK(story.finished());
        }
        SUBCASE("and answered, but the old one is not") {
            story.answer(newest);
            CHECK(story.sent_after(999ms).empty());
            CHECK_FALSE(story.finished());
            CHECK(story.sent_after(1ms).empty());
            CHECK(story.finished());
            CHECK_FALSE(story.outcome().error);
        }
        SUBCASE("and not answered") {
            CHECK(story.sent_after(1s).empty());
            CHECK(story.finished());
            CHECK(story.outcome().error == kgroup::errc::commit_timed_out);
        }
    }
    SUBCASE("a clock that has leapt: it is sent all the same") {
        CHECK(story.sent_after(1min) == "0=20");
        CHECK_FALSE(story.finished());
        CHECK(story.sent().empty());
        CHECK(story.finished());
    }
    SUBCASE("lost meanwhile: nothing is sent") {
        story.lose(0);
        story.lose(1);
        CHECK(story.sent_after(1ms).empty());
        CHECK(story.finished());
    }
}

TEST_CASE("offset_committer: a partition is not given away while a commit of it is unanswered, "
          "also if nothing is to be committed") {
    bool const commits_at_end = false;
    committer_story story{2, commits_at_end};
    story.mark(0, 10);
    auto const waiter = story.call();
    CHECK(story.sent() == "0=10");
    SUBCASE("given up before") {
        CHECK(story.sent_after(5s).empty());
        story.mark(0, 20);
        story.finish({0, 1});
        CHECK(story.sent().empty());
        CHECK_FALSE(story.finished());
        SUBCASE("answered") {
            story.answer_last();
            CHECK(story.sent().empty());
        }
        SUBCASE("not in time") { CHECK(story.sent_after(5s).empty()); }
    }
    SUBCASE("under way") {
        story.mark(0, 20);
        story.finish({0, 1});
        CHECK(story.sent().empty());
        CHECK_FALSE(story.finished());
        story.answer_last();
        CHECK(story.sent().empty());
    }
    CHECK(story.finished());
    CHECK(story.sent_after(1min).empty());
}

TEST_CASE(
    "offset_committer: the last commit does not wait longer for another batch than it has time") {
    committer_story story{3};
    story.mark(0, 10);
    story.mark(1, 7);
    auto const waiter = story.call();
    CHECK(story.sent() == "0=10 1=7");
    auto const old = story.last_id;
    story.mark(0, 20);
    story.finish({0, 2}, 1s);
    CHECK(story.sent().empty());
    CHECK(story.committer.due() == story.now + 500ms);
    SUBCASE("its answer comes: the last one follows") {
        story.answer(old);
        CHECK(story.sent() == "0=20");
        story.answer_last();
    }
    SUBCASE("its answer does not come") {
        CHECK(story.sent_after(500ms) == "0=20");
        story.answer_last();
        CHECK(story.sent_after(499ms).empty());
        CHECK_FALSE(story.finished());
        story.now += 1ms;
    }
    CHECK(story.sent().empty());
    CHECK(story.finished());
    story.committer.fail_waiters(kgroup::errc::session_ended);
    CHECK(waiter->done.happened());
}

TEST_CASE("offset_committer: what is left of a batch makes room for the last commit, and follows") {
    committer_story story{3};
    for (int partition : {0, 1, 2}) {
        story.mark(partition, 10);
    }
    auto const waiter = story.call();
    CHECK(story.sent() == "0=10 1=10 2=10");
    story.answer_last(forbidden);
    CHECK(story.sent() == "0=10");
    story.finish({2});
    story.answer_last();
    CHECK(story.sent() == "2=10");
    story.answer_last();
    CHECK(story.sent().empty());
    CHECK(story.finished());
    CHECK(story.sent() == "1=10");
    CHECK_FALSE(waiter->done.happened());
    story.answer_last();
    CHECK(story.sent().empty());
    CHECK(waiter->results.size() == 2);
}

TEST_CASE("offset_committer: the last commit keeps away from a topic that is missing, and only "
          "while it is") {
    committer_story story;
    story.mark(0, 10);
    SUBCASE("before it") {
        story.claim(0).miss_topic(-1);
        story.finish({0});
        CHECK(story.sent().empty());
        CHECK(story.finished());
    }
    SUBCASE("between two tries") {
        story.finish({0});
        CHECK(story.sent() == "0=10");
        story.answer_last(rebalancing);
        CHECK(story.sent().empty());
        CHECK(story.outcome().will_retry);
        story.claim(0).miss_topic(-1);
        CHECK(story.sent_after(100ms).empty());
        CHECK(story.finished());
    }
    SUBCASE("found again") {
        story.claim(0).miss_topic(-1);
        story.claim(0).find_topic();
        story.finish({0});
        CHECK(story.sent() == "0=10");
        return;
    }
    auto const ended = story.outcome(); // not in silence
    CHECK(ended.where == topic_partition{"t", 0});
    CHECK(ended.error == make_error_code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART));
    CHECK_FALSE(ended.will_retry);
}

TEST_CASE("offset_committer: marks of a log that is no more are not committed, and that is told") {
    committer_story story{1};
    story.mark(0, 10);
    story.claim(0).void_above(9);
    auto const is_told = [&] {
        auto const ended = story.outcome();
        CHECK(ended.where == topic_partition{"t", 0});
        CHECK(ended.error == kgroup::errc::offset_out_of_range);
        CHECK_FALSE(ended.will_retry);
    };
    SUBCASE("at the end") {
        story.finish({0});
        CHECK(story.sent().empty());
        is_told();
        CHECK(story.finished());
    }
    SUBCASE("by a call") {
        auto const waiter = story.call();
        CHECK(story.sent().empty());
        is_told();
        REQUIRE(waiter->results.size() == 1);
        CHECK(waiter->results[0].error == kgroup::errc::offset_out_of_range);
        story.claim(0).void_above(10);
        static_cast<void>(story.call());
        CHECK(story.sent() == "0=10");
    }
}

TEST_CASE("offset_committer: starts are committed at once, and it is told when each was tried") {
    committer_story story{3};
    story.mark(0, 100);
    story.mark(1, 5);
    story.mark(2, 50);
    story.committer.commit_starts(story.now, story.claims({0, 2}));
    SUBCASE("committed") {
        CHECK(story.sent() == "0=100 2=50"); // the mark in 1 is no start
        CHECK(story.committer.take_started().empty());
        story.answer_last();
        CHECK(story.sent().empty());
        CHECK(story.committer.take_started() == story.claims({0, 2}));
        CHECK(story.sent_after(1min).empty());
    }
    SUBCASE("refused: it goes on, and is tried again") {
        CHECK(story.sent() == "0=100 2=50");
        story.answer_last(rebalancing);
        CHECK(story.sent().empty());
        CHECK(story.outcome().error == rebalancing);
        CHECK(story.committer.take_started() == story.claims({0, 2}));
        CHECK(story.committer.due() == story.now + 1s);
        CHECK(story.sent_after(1s) == "0=100 2=50");
        story.answer_last();
        CHECK(story.sent_after(1min).empty());
        CHECK(story.committer.take_started().empty());
    }
    SUBCASE("refused for good: it stays marked") {
        CHECK(story.sent() == "0=100 2=50");
        story.answer_last(make_error_code(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED));
        CHECK(story.sent_after(1min).empty());
        CHECK(story.committer.take_started() == story.claims({0, 2}));
        story.clock_commit();
        CHECK(story.sent() == "0=100 1=5 2=50");
    }
    SUBCASE("not answered") {
        CHECK(story.sent() == "0=100 2=50");
        CHECK(story.sent_after(4999ms).empty());
        CHECK(story.committer.take_started().empty());
        CHECK(story.sent_after(1ms).empty());
        CHECK(story.committer.take_started() == story.claims({0, 2}));
    }
    SUBCASE("one is given away meanwhile") {
        CHECK(story.sent() == "0=100 2=50");
        story.lose(0);
        story.answer_last(rebalancing);
        CHECK(story.sent().empty());
        CHECK(story.sent_after(1s) == "2=50");
    }
    SUBCASE("the last commit comes first, and has the start in it") {
        CHECK(story.sent() == "0=100 2=50");
        story.finish({0});
        story.answer_last(loading);
        CHECK(story.sent() == "0=100");
        story.answer_last();
        CHECK(story.sent().empty());
        CHECK(story.finished());
    }
}

TEST_CASE("offset_committer: a start in doubt is not awaited for longer than the timeout, and "
          "holds up nobody else") {
    committer_story story;
    story.mark(0, 10);
    story.clock_commit();
    CHECK(story.sent() == "0=10");
    CHECK(story.sent_after(5s).empty());
    story.claim(0).give_away();
    story.own(0);
    story.mark(0, 30);
    story.mark(1, 1);
    story.committer.commit_starts(story.now, story.claims({0}));
    CHECK(story.sent().empty());
    story.clock_commit();
    CHECK(story.sent() == "1=1");
    auto const old = story.last_id - 1;
    story.answer_last();
    SUBCASE("answered") {
        story.answer(old);
        CHECK(story.sent() == "0=30");
        story.answer_last();
        CHECK(story.sent().empty());
        CHECK(story.committer.take_started() == story.claims({0}));
    }
    SUBCASE("not answered") {
        CHECK(story.committer.due() == story.now + 5s);
        CHECK(story.sent_after(5s).empty());
        CHECK(story.committer.take_started() == story.claims({0}));
        story.answer(old, unknown_member);
        CHECK(story.sent() == "0=30");
    }
}

TEST_CASE(
    "offset_committer: a mark that was taken back is committed, below what was committed before") {
    committer_story story;
    story.own(0, 20);
    story.clock_commit();
    CHECK(story.sent().empty());
    CHECK(story.claim(0).tracker().reset(5, "again") == kgroup::mark_result::accepted);
    story.clock_commit();
    CHECK(story.sent() == "0=5'again'");
    story.answer_last();
    CHECK(story.committed() == "5 -1");
    auto& tracker = story.claim(0).tracker();
    CHECK(tracker.mark(4, tracker.epoch()) == kgroup::mark_result::ignored);
    story.clock_commit();
    CHECK(story.sent().empty());
}

TEST_CASE("offset_committer: acknowledged records are committed as far as they are without a gap") {
    committer_story story;
    auto& tracker = story.claim(0).tracker();
    auto const first = tracker.deliver(0, 2, 3);
    CHECK(tracker.ack(1, first + 1, tracker.epoch()) == kgroup::mark_result::accepted);
    story.finish({0});
    CHECK(story.sent().empty());
    CHECK(story.finished());
    story.own(0);
    auto& other = story.claim(0).tracker();
    auto const begin = other.deliver(0, 2, 3);
    CHECK(other.ack(1, begin + 1, other.epoch()) == kgroup::mark_result::accepted);
    CHECK(other.ack(0, begin, other.epoch()) == kgroup::mark_result::accepted);
    story.clock_commit();
    CHECK(story.sent() == "0=2");
    CHECK(story.sent_after(5s).empty());
    story.answer_last();
    CHECK(story.sent() == "0=2");
}

} // namespace

} // namespace offset_committer_tests
