// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/fetcher.hpp>
#include <kgroup/testing/clock.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "made_batch.hpp"
#include "support/reading_sink.hpp"
#include "support/scripted_broker.hpp"

namespace kgroup::tests {

/// A fetcher, and brokers that do what the test says, on one context and in kgroup's time.
class fetcher_scene {
public:
    explicit fetcher_scene(std::int32_t brokers = 1) : cluster(context, brokers) {
        settings.bootstrap_servers = cluster.bootstrap();
        settings.client_id = "scene";
        settings.reset = detail::fetch::reset_policy::earliest;
    }
    ~fetcher_scene() { end(); }
    fetcher_scene(fetcher_scene const&) = delete;
    fetcher_scene& operator=(fetcher_scene const&) = delete;

    /// Values are the offsets, with padding behind them.
    void append(std::string const& topic, std::size_t number, std::size_t count,
                std::size_t padding = 0) {
        auto& log = cluster.partition(topic, number);
        auto batch = plain_batch(log.end, count);
        batch.leader_epoch = log.leader_epoch;
        for (auto& record : batch.records) {
            *record.value += std::string(padding, ' ');
        }
        log.append(log.end, log.end + static_cast<std::int64_t>(count), batch.bytes());
        cluster.changed();
    }

    detail::fetch::fetcher& tested() {
        if (!fetcher_) {
            fetcher_ = std::make_shared<detail::fetch::fetcher>(
                context.get_executor(), settings,
                [this](detail::fetch::fetcher_notice told) { notices.push_back(std::move(told)); });
        }
        return *fetcher_;
    }
    reading_sink& start(std::string const& topic, std::int32_t number = 0, std::int64_t from = 0,
                        std::int32_t leader_epoch = -1) {
        auto& sink = sinks[{topic, number}];
        if (!sink) {
            sink = std::make_shared<reading_sink>();
            sink->on_trouble = [this, topic, number](auto const& got, std::int64_t at,
                                                     reading_sink::step found,
                                                     detail::fetch::damage wrong) {
                if (found == reading_sink::step::damaged) {
                    tested().on_damaged({topic, number}, got.ticket, got.generation, at, wrong);
                } else {
                    tested().on_old_format({topic, number}, got.ticket, got.generation, at);
                }
            };
        }
        tested().start({topic, number}, ++ticket, from, leader_epoch, sink);
        return *sink;
    }

    /// In kgroup's time, which goes on by itself, too.
    template <typename Condition>
    [[nodiscard]] bool until(Condition condition,
                             std::chrono::milliseconds limit = std::chrono::seconds{10}) {
        auto const end = detail::clock::now() + limit;
        while (!condition()) {
            if (!pass_step(end)) {
                return false;
            }
        }
        return true;
    }
    void pass(std::chrono::milliseconds time) {
        auto const end = detail::clock::now() + time;
        while (pass_step(end)) {
        }
    }
    /// Ends the fetcher, and looks whether nothing of it is left.
    void end() {
        if (!fetcher_) {
            return;
        }
        bool done = false;
        fetcher_->shut_down([&done] { done = true; });
        testing::run_ready(context);
        CHECK(done);
        std::weak_ptr<detail::fetch::fetcher> const left = fetcher_;
        fetcher_ = nullptr;
        CHECK(left.expired());
        for (auto& broker : cluster.brokers) {
            CHECK(broker.open_connections() == 0);
        }
    }

    /// Whether so many records of each partition came.
    bool all_have(std::size_t records) const {
        return std::all_of(sinks.begin(), sinks.end(),
                           [records](auto const& one) { return one.second->count() == records; });
    }
    std::size_t count(detail::fetch::fetch_event::kind type) const {
        std::size_t result = 0;
        for (auto const& [name, sink] : sinks) {
            result += static_cast<std::size_t>(
                std::count_if(sink->events.begin(), sink->events.end(),
                              [type](auto const& event) { return event.type == type; }));
        }
        return result;
    }
    std::size_t count(detail::fetch::fetcher_notice::kind type) const {
        return static_cast<std::size_t>(
            std::count_if(notices.begin(), notices.end(),
                          [type](auto const& notice) { return notice.type == type; }));
    }

    asio::io_context context;
    scripted_cluster cluster;
    detail::fetch::fetcher_settings settings;
    std::vector<detail::fetch::fetcher_notice> notices;
    std::map<topic_partition, std::shared_ptr<reading_sink>> sinks;
    std::uint64_t ticket = 0; // of the newest start

private:
    /// false: it is the end.
    bool pass_step(detail::clock::time_point end) {
        auto const now = detail::clock::now();
        if (now >= end) {
            return false;
        }
        testing::advance(context, (std::min)(end - now, detail::clock::duration{10'000'000}));
        // The kernel's own time for large answers: it hands on what does not fit at once.
        context.restart();
        context.run_one_for(std::chrono::microseconds{50});
        return true;
    }

    std::shared_ptr<detail::fetch::fetcher> fetcher_;
};

} // namespace kgroup::tests
