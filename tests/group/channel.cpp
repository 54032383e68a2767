// SPDX-License-Identifier: MIT

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_future.hpp>

#include <array>
#include <functional>
#include <future>
#include <span>
#include <utility>
#include <variant>

#include "support/latch.hpp"
#include "support/scripted_group.hpp"

// Promises 7 and 12: how messages come out of a claim, and that none slips away.

namespace {

using namespace kgroup::tests;
using namespace asio::experimental::awaitable_operators;
using kgroup::claim;
using kgroup::event_kind;
using kgroup::message;
using kgroup::session;

TEST_CASE_FIXTURE(scripted_group, "async_receive_for: a message, the limit, or the end") {
    std::vector<std::string> seen;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (!claim.messages().ended()) {
            auto const next = co_await claim.messages().async_receive_for(5s);
            seen.push_back(next                       ? std::string{next->value()}
                           : claim.messages().ended() ? "end"
                                                      : "limit");
        }
    };
    run_over({t0});
    advance(4s);
    CHECK(seen.empty());
    advance(1s);
    CHECK(seen == lines{"limit"});
    cluster.add_records(t0, "a");
    settle();
    advance(5s);
    CHECK(seen == lines{"limit", "a", "limit"});
    stop();
    CHECK(seen == lines{"limit", "a", "limit", "end"});
}

TEST_CASE_FIXTURE(scripted_group,
                  "async_receive_for: a limit may be as long as one likes, or over already") {
    std::vector<std::string> seen;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        for (auto const limit : {-1h, 0h}) {
            CHECK_FALSE(co_await claim.messages().async_receive_for(limit));
        }
        while (auto const next =
                   co_await claim.messages().async_receive_for(std::chrono::nanoseconds::max())) {
            seen.push_back(std::string{next->value()});
        }
    };
    run_over({t0});
    advance(24h);
    cluster.add_records(t0, "a");
    settle();
    stop();
    CHECK(seen == lines{"a"});
}

TEST_CASE_FIXTURE(scripted_group, "async_wait beside a timer takes nothing, whoever wins") {
    std::vector<std::string> seen;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        kgroup::detail::timer limit{co_await asio::this_coro::executor};
        for (;;) {
            limit.expires_after(5s);
            auto const first =
                co_await (claim.messages().async_wait() || limit.async_wait(asio::use_awaitable));
            if (first.index() == 1) {
                seen.push_back("limit");
                continue;
            }
            if (claim.messages().ended()) {
                co_return;
            }
            auto const next = claim.messages().try_receive();
            REQUIRE(next);
            seen.push_back(std::string{next->value()});
        }
    };
    run_over({t0});
    advance(5s);
    cluster.add_records(t0, "a", "b");
    settle();
    CHECK(seen == lines{"limit", "a", "b"});
    // a record and the limit at once
    cluster.add_records(t0, "c");
    advance(5s);
    CHECK(seen.size() >= 4);
    CHECK(std::ranges::count(seen, "c") == 1);
    stop();
    CHECK(std::ranges::count(seen, "c") == 1);
}

TEST_CASE_FIXTURE(scripted_group,
                  "a batch is what is there, up to so many, and never empty before the end") {
    std::vector<std::size_t> sizes;
    std::size_t ended_with = 1;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        for (;;) {
            auto batch = co_await claim.messages().async_receive_available(10);
            if (batch.empty()) {
                ended_with = batch.size();
                co_return;
            }
            sizes.push_back(batch.size());
            for (auto const& message : batch) {
                handler.note(message);
            }
            claim.mark(batch.back());
        }
    };
    std::vector<fake_cluster::record> const many(25, fake_cluster::record{.value = "x"});
    cluster.add_records(t0, many);
    run_over({t0});
    CHECK(handler.received.size() == 25);
    CHECK(sizes.front() == 10);
    cluster.add_records(t0, "y");
    settle();
    CHECK(sizes.back() == 1);
    stop();
    CHECK(ended_with == 0);
    CHECK(cluster.committed(t0) == 26);
}

TEST_CASE_FIXTURE(scripted_group, "messages may be moved out of a batch and outlive it") {
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        std::optional<message> kept;
        {
            auto batch = co_await claim.messages().async_receive_available(3);
            CHECK(batch.size() == 3);
            kept = std::move(*std::next(batch.begin()));
            auto other = std::move(batch);
            CHECK(batch.empty());
            CHECK(other.size() == 3);
        }
        CHECK(kept->value() == "b");
        claim.mark(*kept);
        kept.reset();
        CHECK(cluster.records_held() == 0);
        CHECK((co_await claim.messages().async_receive_available(0)).empty());
    };
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    stop();
    CHECK(cluster.committed(t0) == 2);
}

TEST_CASE_FIXTURE(scripted_group, "try_receive never waits") {
    latch go_on{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        CHECK(claim.messages().try_receive()->value() == "a");
        CHECK_FALSE(claim.messages().try_receive());
        co_await go_on.wait();
        CHECK(claim.messages().try_receive()->value() == "b");
        co_await handler.mark_all(claim);
        CHECK_FALSE(claim.messages().try_receive());
    };
    cluster.add_records(t0, "a");
    run_over({t0});
    cluster.add_records(t0, "b");
    go_on.open();
    settle();
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a second receive is refused, and the first goes on") {
    std::vector<std::error_code> refused;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto& messages = claim.messages();
        auto first = messages.async_receive(asio::use_future);
        auto const refuse = [&](std::error_code e, auto&&...) { refused.push_back(e); };
        messages.async_receive(refuse);
        messages.async_receive_for(1s, refuse);
        messages.async_receive_available(1, refuse);
        messages.async_wait(refuse);
        co_await asio::post(asio::use_awaitable);
        CHECK(refused == std::vector<std::error_code>(4, kgroup::errc::receive_in_progress));
        cluster.add_records(t0, "a");
        co_await asio::post(asio::use_awaitable);
        co_await asio::post(asio::use_awaitable);
        co_await asio::post(asio::use_awaitable);
        REQUIRE(first.wait_for(0s) == std::future_status::ready);
        CHECK(first.get()->value() == "a");
        co_await handler.mark_all(claim);
    };
    run_over({t0});
    CHECK(refused.size() == 4);
    stop();
}

// Apart, because some versions of g++ take the callback's optional for uninitialized under a
// sanitizer.
asio::awaitable<void> receive_into(claim& claim, std::optional<message>& to, run_outcome& done) {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    try {
        to = co_await claim.messages().async_receive();
    } catch (...) {
        done.failure = std::current_exception();
    }
    done.completed = true;
}

TEST_CASE_FIXTURE(scripted_group, "cancelling a receive takes nothing") {
    constexpr std::array types{asio::cancellation_type::terminal, asio::cancellation_type::partial,
                               asio::cancellation_type::total};
    std::vector<std::string> seen;
    std::size_t cancelled = 0;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        for (std::size_t i = 0; i != 30; ++i) {
            asio::cancellation_signal signal;
            run_outcome done;
            std::optional<message> got;
            asio::co_spawn(co_await asio::this_coro::executor, receive_into(claim, got, done),
                           asio::bind_cancellation_slot(signal.slot(), asio::detached));
            for (std::size_t step = 0; step != i % 5; ++step) {
                co_await asio::post(asio::use_awaitable);
            }
            if (i < 10) { // the cancellation comes first
                signal.emit(types[i % types.size()]);
                for (std::size_t step = 0; step != i / 2; ++step) {
                    co_await asio::post(asio::use_awaitable);
                }
                cluster.add_records(t0, std::to_string(i));
            } else {
                cluster.add_records(t0, std::to_string(i));
                for (std::size_t step = 0; step != i / 5 - 2; ++step) {
                    co_await asio::post(asio::use_awaitable);
                }
                signal.emit(types[i % types.size()]);
            }
            while (!done.completed) {
                co_await asio::post(asio::use_awaitable);
            }
            if (done.failure) {
                CHECK(done.error() == asio::error::operation_aborted);
                ++cancelled;
                got = co_await claim.messages().async_receive();
            }
            seen.push_back(std::string{got->value()});
        }
        co_await handler.mark_all(claim);
    };
    run_over({t0});
    REQUIRE(seen.size() == 30);
    for (std::size_t i = 0; i != 30; ++i) {
        CHECK(seen[i] == std::to_string(i));
    }
    CHECK(cancelled > 3);
    CHECK(cancelled < 27);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "operations with a token are cancelled by any type") {
    constexpr std::array types{asio::cancellation_type::terminal, asio::cancellation_type::partial,
                               asio::cancellation_type::total};
    std::vector<std::error_code> errors;
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        auto const note = [&](std::error_code e, auto&&...) { errors.push_back(e); };
        auto& messages = claim.messages();
        for (auto const type : types) {
            asio::cancellation_signal signal;
            auto const cancel = [&]() -> asio::awaitable<void> {
                for (int i = 0; i != 5; ++i) { // until it waits
                    co_await asio::post(asio::use_awaitable);
                }
                auto const before = errors.size();
                signal.emit(type);
                while (errors.size() == before) {
                    co_await asio::post(asio::use_awaitable);
                }
            };
            messages.async_receive(asio::bind_cancellation_slot(signal.slot(), note));
            co_await cancel();
            messages.async_receive_for(1h, asio::bind_cancellation_slot(signal.slot(), note));
            co_await cancel();
            messages.async_receive_available(1, asio::bind_cancellation_slot(signal.slot(), note));
            co_await cancel();
            messages.async_wait(asio::bind_cancellation_slot(signal.slot(), note));
            co_await cancel();
            session.async_wait_stopping(asio::bind_cancellation_slot(signal.slot(), note));
            co_await cancel();
        }
        co_await messages.async_receive();
    };
    run_over({t0});
    CHECK(errors == std::vector<std::error_code>(15, asio::error::operation_aborted));
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "the end of a claim wakes whoever waits") {
    int ended = 0;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        switch (claim.partition()) {
        case 0:
            CHECK_FALSE(co_await claim.messages().async_receive());
            break;
        case 1:
            CHECK_FALSE(co_await claim.messages().async_receive_for(1h));
            break;
        case 2:
            co_await claim.messages().async_wait();
            break;
        default:
            CHECK((co_await claim.messages().async_receive_available(5)).empty());
            break;
        }
        CHECK(claim.messages().ended());
        CHECK_FALSE(claim.messages().try_receive());
        CHECK_FALSE(co_await claim.messages().async_receive());
        ++ended;
    };
    run_over({t0, t1, t2, {"t", 3}});
    cluster.revoke();
    settle();
    CHECK(ended == 4);
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "the end of a claim is the end also to those who listen to total cancellation, in every form") {
    lines seen;
    std::function<asio::awaitable<void>(kgroup::message_channel&)> receive;
    bool more_than_the_end = false;
    SUBCASE("async_receive") {
        receive = [&](auto& messages) -> asio::awaitable<void> {
            auto const next = co_await messages.async_receive();
            seen.push_back(next ? "a message" : "the end");
        };
    }
    SUBCASE("async_receive_for") {
        receive = [&](auto& messages) -> asio::awaitable<void> {
            auto const next = co_await messages.async_receive_for(1h);
            seen.push_back(next ? "a message" : "the end");
        };
    }
    SUBCASE("async_receive_available") {
        receive = [&](auto& messages) -> asio::awaitable<void> {
            auto const batch = co_await messages.async_receive_available(10);
            seen.push_back(batch.empty() ? "the end" : "messages");
        };
    }
    SUBCASE("async_wait") {
        receive = [&](auto& messages) -> asio::awaitable<void> {
            co_await messages.async_wait();
            seen.push_back("the end");
        };
    }
    SUBCASE("async_receive with a token") {
        receive = [&](auto& messages) -> asio::awaitable<void> {
            auto const next = co_await messages.async_receive(asio::use_awaitable);
            seen.push_back(next ? "a message" : "the end");
        };
    }
    SUBCASE("async_receive_available with a token") {
        receive = [&](auto& messages) -> asio::awaitable<void> {
            auto const batch = co_await messages.async_receive_available(10, asio::use_awaitable);
            seen.push_back(batch.empty() ? "the end" : "messages");
        };
    }
    SUBCASE("async_wait with a token") {
        receive = [&](auto& messages) -> asio::awaitable<void> {
            co_await messages.async_wait(asio::use_awaitable);
            seen.push_back("the end");
        };
    }
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        co_await receive(claim.messages());
        CHECK(claim.messages().ended());
        // It finishes what it holds: no cancellation comes behind the end.
        co_await asio::post(asio::use_awaitable);
        co_await asio::post(asio::use_awaitable);
        co_await receive(claim.messages());
        more_than_the_end = true;
    };
    run_over({t0});
    CHECK(seen.empty());
    cluster.revoke();
    settle();
    CHECK(seen == lines{"the end", "the end"});
    CHECK(std::exchange(more_than_the_end, false));
    cluster.assign({t0});
    settle();
    group->stop();
    settle();
    CHECK(seen == lines{"the end", "the end", "the end", "the end"});
    CHECK(more_than_the_end);
    CHECK(count(kgroup::event_kind::handler_failed) == 0);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "a receive that the handler itself cancels fails while the claim "
                                  "is live, and gives the end when it is not") {
    asio::cancellation_signal own;
    std::vector<std::error_code> seen;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        while (!claim.messages().ended()) {
            std::optional<message> next;
            try {
                next = co_await claim.messages().async_receive(
                    asio::bind_cancellation_slot(own.slot(), asio::use_awaitable));
                seen.push_back({});
            } catch (std::system_error const& e) {
                seen.push_back(e.code());
            }
            CHECK_FALSE(next);
        }
    };
    run_over({t0});
    own.emit(asio::cancellation_type::total);
    settle();
    CHECK(seen == std::vector<std::error_code>{asio::error::operation_aborted});
    group->pause_all(); // no record: what ends the second is the end, and the cancellation comes
                        // with it
    cluster.revoke();
    asio::post(context, [&] { own.emit(asio::cancellation_type::total); });
    settle();
    CHECK(seen == std::vector<std::error_code>{asio::error::operation_aborted, {}});
    stop();
}

TEST_CASE_FIXTURE(scripted_group,
                  "pause is a gate: nothing begun after it delivers, and nothing is lost") {
    std::array const only{t0};
    latch held{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            handler.note(*next);
            if (next->value() == "a") {
                co_await held.wait();
            }
            claim.mark(*next);
        }
    };
    cluster.add_records(t0, "a", "b", "c"); // b and c are at hand in the channel
    run_over({t0, t1});
    group->pause(only);
    held.open();
    cluster.add_records(t0, "d");
    cluster.add_records(t1, "e");
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[1]@0 e"});

    SUBCASE("resumed") {
        group->resume(only);
        settle();
        CHECK(handler.received ==
              lines{"t[0]@0 a", "t[1]@0 e", "t[0]@1 b", "t[0]@2 c", "t[0]@3 d"});
    }
    SUBCASE("resumed among all") {
        group->pause_all();
        cluster.add_records(t1, "f");
        settle();
        CHECK(handler.received.size() == 2);
        group->resume_all();
        settle();
        CHECK(handler.received.size() == 6);
    }
    SUBCASE("over a rebalance: a pause ends with the ownership") {
        cluster.revoke();
        settle();
        CHECK(cluster.committed(t0) == 1);
        cluster.assign({t0});
        settle();
        CHECK(handler.received ==
              lines{"t[0]@0 a", "t[1]@0 e", "t[0]@1 b", "t[0]@2 c", "t[0]@3 d"});
    }
    SUBCASE("try_receive, batches and waits are gated, too") {
        std::array const all{t0, t1, t2};
        group->pause(all); // also what is not owned
        cluster.revoke();
        settle();
        handler.received.clear();
        handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
            group->pause_all();
            CHECK_FALSE(claim.messages().try_receive());
            bool waited = false;
            CHECK_FALSE(co_await claim.messages().async_receive_for(0s));
            claim.messages().async_wait([&](std::error_code) { waited = true; });
            co_await asio::post(asio::use_awaitable);
            co_await asio::post(asio::use_awaitable);
            CHECK_FALSE(waited);
            group->resume_all();
            while (!waited) {
                co_await asio::post(asio::use_awaitable);
            }
            CHECK(claim.messages().try_receive()->value() == "b");
            co_await handler.mark_all(claim);
        };
        cluster.assign({t0});
        settle();
        CHECK(handler.received == lines{"t[0]@2 c", "t[0]@3 d"});
    }
    stop();
    CHECK(cluster.committed(t0) == (cluster.committed(t0) ? cluster.log_end(t0) : 0));
}

TEST_CASE_FIXTURE(scripted_group, "a handler that never waits lets the others run now and then") {
    // both claims have work at hand without end; neither may starve the other
    std::vector<std::int32_t> turns;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto const next = co_await claim.messages().async_receive()) {
            if (turns.empty() || turns.back() != claim.partition()) {
                turns.push_back(claim.partition());
            }
        }
    };
    std::vector<fake_cluster::record> const many(2000);
    cluster.add_records(t0, many);
    cluster.add_records(t1, many);
    run_over({t0, t1});
    CHECK(turns.size() >= 10);
    stop();
}

TEST_CASE_FIXTURE(scripted_group,
                  "messages held beyond the end of their handler do no harm, and are counted") {
    std::vector<message> kept;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        while (auto next = co_await claim.messages().async_receive()) {
            kept.push_back(std::move(*next));
        }
    };
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    cluster.revoke();
    settle();
    CHECK(group->stats().late_messages == 3);
    CHECK(count(event_kind::late_message) == 1);
    CHECK(last(event_kind::late_message).where == t0);
    SUBCASE("until the group has ended") {
        stop();
        CHECK(kept[1].value() == "b");
    }
    SUBCASE("until the group is gone") {
        stop();
        group.reset();
        CHECK(kept[2].copy().value == "c");
    }
    CHECK(cluster.records_held() == 3);
    kept.clear();
    CHECK(cluster.records_held() == 0);
    if (group && !outcome.completed) {
        stop();
    }
}

TEST_CASE_FIXTURE(scripted_group, "a record that is not acknowledged holds up the commit alone") {
    std::vector<message> held;
    held.reserve(70000);
    std::size_t received = 0;
    latch go_on{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        auto oldest = co_await claim.messages().async_receive();
        auto const second = co_await claim.messages().async_receive();
        claim.ack(*second);
        received = 2;
        asio::co_spawn(
            co_await asio::this_coro::executor,
            [&]() -> asio::awaitable<void> {
                co_await go_on.wait();
                claim.ack(*oldest);
                oldest.reset();
            },
            asio::detached);
        while (auto const next = co_await claim.messages().async_receive()) {
            ++received;
            claim.ack(*next);
        }
    };
    std::vector<fake_cluster::record> const many(70000);
    cluster.add_records(t0, many);
    run_over({t0});
    CHECK(received == 70000);
    advance(settings.auto_commit_interval);
    CHECK(cluster.committed(t0).value_or(0) == 0);
    go_on.open();
    settle();
    stop();
    CHECK(cluster.committed(t0) == 70000);
}

TEST_CASE_FIXTURE(scripted_group,
                  "65,536 records that are not acknowledged: the channel waits, and it is told") {
    std::vector<message> held;
    std::size_t received = 0;
    claim* owned = nullptr;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        owned = &claim;
        while (auto next = co_await claim.messages().async_receive()) {
            if (++received % 2 == 0) {
                claim.ack(*next);
            } else {
                held.push_back(std::move(*next));
            }
        }
        held.clear();
    };
    std::vector<fake_cluster::record> const many(140'000);
    cluster.add_records(t0, many);
    run_over({t0});
    CHECK(owned->undone() >= 65536);
    CHECK(owned->undone() < 65536 + 512);
    CHECK(owned->undone() == held.size());
    advance(35s);
    advance(35s);
    auto const& told = last(event_kind::claim_stalled);
    CHECK(told.text.find("65,536 delivered records") == 0);
    CHECK(told.text.find("at offset 0 ") != std::string::npos);
    auto const before = received;
    while (owned->undone() >= 65536) {
        owned->ack(held.back());
        held.pop_back();
    }
    settle();
    CHECK(received > before);
    stop();
}

TEST_CASE_FIXTURE(scripted_group, "the first of mark and ack fixes which it is") {
    handler.on_claim = [&](session& session, claim& claim) -> asio::awaitable<void> {
        auto const a = co_await claim.messages().async_receive();
        auto const b = co_await claim.messages().async_receive();
        if (claim.partition() == 0) {
            claim.mark(*a);
            claim.ack(*b);
        } else {
            claim.ack(*a);
            claim.ack(*a); // again: no effect
            claim.mark(*b);
            session.mark_message(*b);
            session.mark_offset(t1, 2);
        }
    };
    cluster.add_records(t0, "a", "b");
    cluster.add_records(t1, "c", "d");
    settings.on_claim_exit = kgroup::claim_exit::keep_others;
    run_over({t0, t1});
    CHECK(group->stats().marks_refused == 4);
    CHECK(count(event_kind::mark_refused) == 2);
    stop();
    CHECK(cluster.committed(t0) == 1);
    CHECK(cluster.committed(t1) == 1);
}

TEST_CASE_FIXTURE(scripted_group, "a message of another claim is refused") {
    std::optional<message> other;
    latch there{context};
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        if (claim.partition() == 0) {
            other = co_await claim.messages().async_receive();
            there.open();
        } else {
            co_await there.wait();
            claim.mark(*other);
            claim.ack(*other);
            claim.mark(*other, "text");
            other.reset();
        }
        co_await claim.messages().async_receive();
    };
    cluster.add_records(t0, "a");
    run_over({t0, t1});
    CHECK(group->stats().marks_refused == 3);
    stop();
    CHECK(cluster.committed(t0) == std::nullopt);
    CHECK(cluster.committed(t1) == std::nullopt);
}

TEST_CASE_FIXTURE(scripted_group, "offsets that go backward: the log was made anew") {
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    settle();
    cluster.make_anew(t0);
    cluster.add_records(t0, "d");
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b", "t[0]@2 c", "t[0]@0 d"});
    CHECK(count(event_kind::position_reset) == 1);
    stop();
    CHECK(cluster.committed(t0) == 1);
}

std::vector<std::int64_t> offsets_of(kgroup::message_batch const& batch) {
    std::vector<std::int64_t> offsets;
    for (auto const& message : batch) {
        offsets.push_back(message.offset());
    }
    return offsets;
}

TEST_CASE_FIXTURE(scripted_group, "a batch goes on across a gap, which is nothing unusual") {
    std::vector<std::vector<std::int64_t>> batches;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        for (;;) {
            auto const batch = co_await claim.messages().async_receive_available(100);
            if (batch.empty()) {
                break;
            }
            batches.push_back(offsets_of(batch));
            for (auto const& message : batch) {
                claim.ack(message);
            }
        }
    };
    cluster.add_records(t0, "a", "b");
    cluster.skip_offsets(t0, 3);
    cluster.add_records(t0, "c");
    run_over({t0});
    settle();
    CHECK(batches == std::vector<std::vector<std::int64_t>>{{0, 1, 5}});
    CHECK(count(event_kind::position_reset) == 0);
    stop();
    CHECK(cluster.committed(t0) == 6);
}

TEST_CASE_FIXTURE(scripted_group, "a batch ends where offsets go backward") {
    latch go_on{context};
    std::vector<std::vector<std::int64_t>> batches;
    handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
        co_await go_on.wait();
        for (;;) {
            auto const batch = co_await claim.messages().async_receive_available(100);
            if (batch.empty()) {
                break;
            }
            batches.push_back(offsets_of(batch));
            claim.mark(batch.back());
        }
    };
    cluster.add_records(t0, "a", "b", "c");
    run_over({t0});
    cluster.make_anew(t0);
    cluster.add_records(t0, "d", "e");
    go_on.open();
    settle();
    CHECK(batches == std::vector<std::vector<std::int64_t>>{{0, 1, 2}, {0, 1}});
    CHECK(count(event_kind::position_reset) == 1);
    stop();
    CHECK(cluster.committed(t0) == 2);
}

TEST_CASE_FIXTURE(scripted_group, "a topic is paused and resumed as a whole") {
    kgroup::topic_partition const other{"u", 0};
    run_over({t0, t1, other});
    group->pause(t0.topic);
    cluster.add_records(t0, "a");
    cluster.add_records(t1, "b");
    cluster.add_records(other, "c");
    settle();
    CHECK(handler.received == lines{"u[0]@0 c"});
    group->resume(t0.topic);
    settle();
    CHECK(handler.received.size() == 3);
    stop();
}

TEST_CASE_FIXTURE(
    scripted_group,
    "a log that was made anew while nobody read it, and is shorter than what was committed") {
    cluster.set_committed(t0, 10);
    cluster.add_records(t0, "a", "b");
    run_over({t0});
    settle();
    CHECK(handler.received == lines{"t[0]@0 a", "t[0]@1 b"});
    CHECK(count(event_kind::position_reset) == 1);
    stop();
    CHECK(cluster.committed(t0) == 2);
}

} // namespace
