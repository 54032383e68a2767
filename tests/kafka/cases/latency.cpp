// SPDX-License-Identifier: MIT

#include <kgroup/detail/rdkafka/handle.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kafka.hpp"
#include "member.hpp"

using namespace kgroup::tests;
using steady = std::chrono::steady_clock;

namespace {

/// When a record was appended is its value.
std::string now_as_value() {
    auto const now = steady::now().time_since_epoch().count();
    std::string value(sizeof now, '\0');
    std::memcpy(value.data(), &now, sizeof now);
    return value;
}

class delays {
public:
    void note(std::string_view value) {
        auto const now = steady::now().time_since_epoch().count();
        steady::rep appended = 0;
        std::memcpy(&appended, value.data(), sizeof appended);
        all_[static_cast<std::size_t>(count_)] = now - appended;
        ++count_; // who sees the number sees the delay
    }
    int count() const { return count_; }
    double median(int first, int last) const {
        std::vector<steady::rep> some(all_.begin() + first, all_.begin() + last);
        std::ranges::nth_element(some, some.begin() + some.size() / 2);
        return static_cast<double>(some[some.size() / 2]) / 1000;
    }

private:
    std::vector<steady::rep> all_ = std::vector<steady::rep>(100000);
    std::atomic<int> count_{0};
};

/// What kgroup is measured against: a loop around rd_kafka_consumer_poll on a thread of its own,
/// with kgroup's settings for fetching.
class bare_loop {
public:
    bare_loop(kafka const& brokers, std::string const& topic, delays& into) {
        kgroup::detail::rdkafka_conf conf{rd_kafka_conf_new()};
        char text[512];
        for (auto const& [name, value] : {std::pair{"bootstrap.servers", brokers.brokers()},
                                          {"group.id", unique("bare")},
                                          {"auto.offset.reset", std::string{"earliest"}},
                                          {"enable.auto.commit", std::string{"false"}},
                                          {"fetch.wait.max.ms", std::string{"50"}}}) {
            if (rd_kafka_conf_set(conf.get(), name, value.c_str(), text, sizeof text) !=
                RD_KAFKA_CONF_OK) {
                throw std::invalid_argument{text};
            }
        }
        consumer_ = rd_kafka_new(RD_KAFKA_CONSUMER, conf.release(), text, sizeof text);
        rd_kafka_poll_set_consumer(consumer_);
        auto const topics = kgroup::detail::make_partitions(1);
        rd_kafka_topic_partition_list_add(topics.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
        rd_kafka_subscribe(consumer_, topics.get());
        thread_ = std::thread{[this, &into] {
            while (!over_) {
                if (auto* const message = rd_kafka_consumer_poll(consumer_, 100)) {
                    if (!message->err) {
                        into.note({static_cast<char const*>(message->payload), message->len});
                    }
                    rd_kafka_message_destroy(message);
                }
            }
        }};
    }
    ~bare_loop() {
        over_ = true;
        thread_.join();
        rd_kafka_consumer_close(consumer_);
        rd_kafka_destroy(consumer_);
    }
    bare_loop(bare_loop const&) = delete;
    bare_loop& operator=(bare_loop const&) = delete;

private:
    rd_kafka_t* consumer_;
    std::atomic<bool> over_{false};
    std::thread thread_;
};

/// kgroup's median delay, compared with the bare loop's: each record is for one of them, in turn.
double ratio_of_delays(kafka& brokers) {
    // A topic each: of two that wait for the same record, one is answered first.
    auto const our_topic = brokers.create_topic();
    auto const their_topic = brokers.create_topic();
    delays ours;
    delays theirs;
    bare_loop const bare{brokers, their_topic, theirs};
    member one{brokers.member_of_new_group(our_topic),
               {.consume_claim = [&](auto&, auto& claim) -> asio::awaitable<void> {
                   while (auto const record = co_await claim.messages().async_receive()) {
                       ours.note(record->value());
                       claim.mark(*record);
                   }
               }}};
    int sent = 0;
    auto const send_at_rate = [&](int count) {
        auto next = steady::now();
        for (int i = 0; i != count; ++i, ++sent) {
            for (auto const& topic : {our_topic, their_topic}) {
                std::this_thread::sleep_until(next += std::chrono::milliseconds{5});
                brokers.send(topic, 0, now_as_value());
            }
        }
        brokers.flush();
        REQUIRE(eventually([&] { return ours.count() == sent && theirs.count() == sent; }));
    };
    send_at_rate(50); // until both have joined
    auto const first = sent;
    send_at_rate(300);
    CHECK(one.stats().wakeups_healed == 0);
    auto const our = ours.median(first, sent);
    auto const their = theirs.median(first, sent);
    MESSAGE("median delay, us: kgroup ", our, ", bare rd_kafka_consumer_poll ", their, ", ratio ",
            our / their);
    return our / their;
}

} // namespace

TEST_CASE("latency: at 100 records a second a record reaches the handler as soon as it would reach "
          "a bare poll loop") {
    if (sanitized) {
        return skip("a sanitizer changes what is measured");
    }
    kafka brokers;
    // What else the machine does, and where it puts their threads, hits one or the other: the best
    // of a few pairs tells what the path costs.
    double best = 1000;
    for (int pair = 0; pair != 8 && best > 1.1; ++pair) {
        best = std::min(best, ratio_of_delays(brokers));
    }
    CHECK(best <= 1.1);
}
