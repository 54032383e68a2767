// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/fetch/answer_memory.hpp>
#include <kgroup/detail/fetch/answer_reader.hpp>
#include <kgroup/detail/fetch/api.hpp>
#include <kgroup/detail/fetch/broker_abilities.hpp>
#include <kgroup/detail/fetch/broker_address.hpp>
#include <kgroup/detail/fetch/broker_connections.hpp>
#include <kgroup/detail/fetch/connection.hpp>
#include <kgroup/detail/fetch/fetcher_counters.hpp>
#include <kgroup/detail/fetch/fetcher_settings.hpp>
#include <kgroup/detail/fetch/inquiry.hpp>
#include <kgroup/detail/fetch/inquiry_planner.hpp>
#include <kgroup/detail/fetch/known_broker.hpp>
#include <kgroup/detail/fetch/known_brokers.hpp>
#include <kgroup/detail/fetch/metadata_candidates.hpp>
#include <kgroup/detail/fetch/metadata_schedule.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>
#include <kgroup/detail/fetch/partition_orders.hpp>
#include <kgroup/detail/fetch/partition_table.hpp>
#include <kgroup/detail/fetch/request_writer.hpp>

#include <asio/any_io_executor.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace kgroup::detail::fetch {

/// Stands between the parts, which decide, and the connections to brokers: carries out orders,
/// sends what `inquiry_planner` says, and hands the answers to `answer_reader`.
///
/// *Thread safety.* One strand's, but for `counters` and `memory_used`.
class fetch_driver {
public:
    /// @param event is notified when `turn` may have something to do.
    /// @param notice is called by `turn`.
    fetch_driver(asio::any_io_executor executor, std::shared_ptr<auto_reset_event> event,
                 fetcher_settings settings, std::function<void(fetcher_notice)> notice)
        : event_(std::move(event)),
          settings_(std::move(settings)),
          notice_(std::move(notice)),
          memory_(std::make_shared<answer_memory>(settings_.buffer_bytes)),
          metadata_(settings_.metadata_refresh_interval),
          partitions_(settings_of_partition(settings_), memory_, metadata_),
          planner_(settings_, memory_, partitions_, metadata_),
          requests_(settings_),
          answers_(memory_, partitions_),
          connections_(std::move(executor), event_, settings_, memory_),
          brokers_(settings_.bootstrap_servers) {
        memory_->on_release([wakes = event_] { wakes->notify(); });
    }
    fetch_driver(fetch_driver const&) = delete;
    fetch_driver& operator=(fetch_driver const&) = delete;
    ~fetch_driver() { memory_->forget_wake(); }

    fetcher_counters const& counters() const noexcept { return counters_; }
    /// Bytes that are promised to requests, or held.
    std::size_t memory_used() const noexcept { return memory_->used(); }

    /// Does what can be done.
    ///
    /// @return when something is to be done although nothing happens.
    /// @throws std::bad_alloc; what was under way is lost, or asked again.
    time_point turn(partition_orders& orders, time_point now) {
        orders.take([&](partition_orders::order& order) { partitions_.carry_out(order, now); });
        receive(now);
        brokers_.drop_gone([&](known_broker& gone) {
            gone.pauses.tell_nothing(); // it is no trouble
            leave(gone, now);
        });
        ask(now);
        return next_time(now);
    }
    /// Closes all connections.
    ///
    /// @return whether nothing of them is under way any more.
    bool close() noexcept { return connections_.close(brokers_); }
    /// Forgets all. What was fetched lives as long as somebody keeps it.
    void clear() noexcept {
        memory_->forget_wake();
        connections_.clear();
        brokers_.clear();
        partitions_.clear();
    }

private:
    using notice_kind = fetcher_notice::kind;
    using milliseconds = std::chrono::milliseconds;
    static constexpr std::int16_t unsupported_version = 35; // as a broker would answer

    void notify_of(notice_kind type, known_broker const& broker, std::error_code error,
                   std::string_view text) noexcept {
        notify_of(type, &broker, error, text);
    }
    /// @param broker null: it concerns none.
    void notify_of(notice_kind type, known_broker const* broker, std::error_code error,
                   std::string_view text) noexcept {
        try {
            if (notice_) {
                notice_({type, broker ? to_string(broker->address) : std::string{}, error,
                         std::string{text}});
            }
        } catch (std::exception const&) { // no memory to tell
        }
    }

    // ---- Connections

    /// @return whether a request may be sent.
    bool open(known_broker const& to, broker_lane& lane, time_point now) {
        if (connections_.open(to, lane, now)) {
            counters_.on_connection();
        }
        return connections_.ready(lane);
    }
    void receive(time_point now) {
        brokers_.for_each([&](known_broker& broker) {
            for (auto& lane : broker.lanes) {
                auto const take = [&](connection::expected const& question,
                                      std::shared_ptr<answer_bytes> const& answer) {
                    on_answer(broker, lane, question, answer, now);
                };
                if (auto const end = connections_.advance(broker, lane, now, take)) {
                    on_ended(broker, lane, *end, now);
                }
            }
        });
        connections_.forget_ended();
    }
    void leave(known_broker& broker, time_point now) {
        for (auto& lane : broker.lanes) {
            if (auto const end = connections_.leave(lane)) {
                on_ended(broker, lane, *end, now);
            }
        }
    }
    void on_ended(known_broker& broker, broker_lane& lane, connection::ending const& end,
                  time_point now) noexcept {
        bool const idle = lane.under_way.empty();
        if (&lane == &broker.control()) {
            candidates_.on_settled();
        }
        if (end.type == notice_kind::frame_too_large && !idle) {
            partitions_.lose_too_large(lane.under_way.front(), now);
            lane.under_way.pop_front();
        }
        for (auto& asked : lane.under_way) {
            partitions_.lose(asked, now);
        }
        lane.under_way.clear();
        broker.pauses.on_closed(settings_.reconnect_backoff, settings_.reconnect_backoff_max,
                                static_cast<std::uint32_t>(random_()), now);
        if (end.was_ready && idle && end.type == notice_kind::disconnected) {
            return; // brokers close what is idle
        }
        metadata_.want();
        if (broker.id >= 0) {
            partitions_.on_away(broker.id, now);
        }
        if (broker.pauses.tell_failure()) {
            notify_of(end.type, broker, end.error, end.text);
        }
    }

    // ---- Answers

    void on_answer(known_broker& from, broker_lane& lane, connection::expected const& question,
                   std::shared_ptr<answer_bytes> const& bytes, time_point now) {
        counters_.on_answer(bytes->view().size());
        auto const link = lane.link;
        auto asked = std::move(lane.under_way.front());
        lane.under_way.pop_front();
        try {
            auto const answer =
                answers_.take(asked, question.version, question.correlation, bytes, now);
            if (!answer.read) {
                partitions_.lose(asked, now);
                link->close(notice_kind::damaged_answer, {}, "its answer cannot be read");
                return;
            }
            on_outcome(from, *link, asked, answer, now);
            if (asked.key == api::metadata) {
                on_metadata(now);
            }
        } catch (std::exception const&) {
            partitions_.lose(asked, now);
            throw;
        }
        from.pauses.on_answer();
        // Those that it named are asked from here on.
        if (from.id < 0 && !brokers_.named().empty()) {
            link->close(notice_kind::disconnected, {}, "");
        }
    }
    void on_outcome(known_broker& from, connection& link, inquiry const& asked,
                    answer_reader::outcome const& answer, time_point now) noexcept {
        if (answer.throttle > milliseconds{0}) {
            from.pauses.on_throttled(answer.throttle, now);
            link.delay(answer.throttle);
        }
        if (answer.empty_poll) {
            from.pauses.on_empty_poll(asked.ends, now);
        }
        if (answer.over_budget) {
            notify_of(notice_kind::over_budget, from, {},
                      "a batch is larger than what is left of buffer_bytes");
        }
        if (asked.key == api::fetch ? from.pauses.tell_strays(answer.strays != 0)
                                    : answer.strays != 0) {
            notify_of(notice_kind::damaged_answer, from, {},
                      "it answers about a partition that it was not asked about");
        }
    }
    void on_metadata(time_point now) {
        auto const& answer = answers_.cluster();
        candidates_.on_settled();
        brokers_.take(answer.brokers, [&](known_broker& moved) { leave(moved, now); });
        partitions_.on_metadata(answer, brokers_);
    }

    // ---- Questions

    void ask(time_point now) {
        planner_.prepare(brokers_, now);
        if (auto const* const text = planner_.take_over_budget()) {
            notify_of(notice_kind::over_budget, nullptr, {}, text);
        }
        for (auto& [id, broker] : brokers_.named()) {
            if (!broker.pauses.may_ask(now)) {
                continue;
            }
            if (broker.has_others && open(broker, broker.control(), now)) {
                ask_others(api::list_offsets, broker, now);
                ask_others(api::leader_epoch, broker, now);
            }
            if (broker.has_fetches && poll(broker, now)) {
                poll(broker, now); // about those beside it
            }
        }
        if (now >= metadata_.due() && !partitions_.empty()) {
            ask_metadata(now);
        }
    }
    /// @return whether it is about one partition alone.
    bool poll(known_broker& to, time_point now) {
        auto const place = to.place_for_poll(now);
        if (!place || !open(to, place->lane, now)) {
            return false;
        }
        to.abilities = abilities_of(place->lane.link->versions());
        auto asked = planner_.poll(to, place->other_ends, now);
        if (!asked) {
            return false;
        }
        auto const alone = asked->subjects.front().question.alone;
        send(to, place->lane, *std::move(asked), now);
        return alone;
    }
    void ask_others(api key, known_broker& to, time_point now) {
        if (!connections_.ready(to.control())) { // the request before ended it
            return;
        }
        if (auto asked = planner_.others(key, to, now)) {
            send(to, to.control(), *std::move(asked), now);
        }
    }
    void ask_metadata(time_point now) {
        auto const ready = [](known_broker const& broker) {
            return broker_connections::ready(broker.control());
        };
        auto const candidate = candidates_.next(brokers_, metadata_.wants_another(now), now, ready);
        if (!candidate) {
            return;
        }
        auto& to = candidate->to;
        if (!candidate->ready) {
            open(to, to.control(), now);
            return;
        }
        metadata_.asked(now);
        send(to, to.control(), inquiry{api::metadata}, now);
    }
    /// If it throws, what is asked is lost.
    void send(known_broker& to, broker_lane& lane, inquiry asked, time_point now) {
        auto const key = asked.key;
        auto& link = *lane.link;
        try {
            auto const newest = link.versions().use(key);
            if (!newest) {
                if (to.pauses.tell_unsupported()) {
                    notify_of(notice_kind::unsupported, to, {},
                              "no version of a request is known to the broker and here");
                }
                partitions_.refuse(asked, unsupported_version, now);
                return;
            }
            auto const correlation = link.next_correlation();
            auto const [frame, version] =
                requests_.write(asked, partitions_.all(), *newest, correlation);
            auto const wait = asked.wait;
            lane.under_way.push_back(std::move(asked));
            try {
                link.send(frame, key, version, correlation, wait, now);
            } catch (...) {
                link.close(notice_kind::no_memory,
                           std::make_error_code(std::errc::not_enough_memory), "no memory");
            }
        } catch (...) {
            partitions_.lose(asked, now);
            throw;
        }
        if (link.closed()) {
            event_->notify();
        }
        counters_.on_request(key);
    }

    // ---- Time

    time_point next_time(time_point now) {
        auto result = (std::min)(future(metadata_.due(), now), future(candidates_.next_try(), now));
        auto const consider = [&](std::optional<time_point> time) {
            if (time) {
                result = (std::min)(result, *time);
            }
        };
        consider(partitions_.turns().next_time(now));
        brokers_.for_each([&](known_broker& broker) {
            consider(broker.next_time(now));
            for (auto& lane : broker.lanes) {
                if (lane.link) {
                    consider(lane.link->deadline());
                }
            }
        });
        return result;
    }
    static time_point future(time_point time, time_point now) noexcept {
        return time > now ? time : (time_point::max)();
    }

    std::shared_ptr<auto_reset_event> event_;
    fetcher_settings settings_;
    std::function<void(fetcher_notice)> notice_;
    fetcher_counters counters_;
    std::shared_ptr<answer_memory> memory_;
    metadata_schedule metadata_;
    partition_table partitions_;
    inquiry_planner planner_;
    request_writer requests_;
    answer_reader answers_;
    broker_connections connections_;
    known_brokers brokers_;
    metadata_candidates candidates_;
    // Members that lost the same broker do not come back at the same time.
    std::minstd_rand random_{static_cast<std::uint32_t>(clock::now().time_since_epoch().count() ^
                                                        reinterpret_cast<std::uintptr_t>(this))};
};

} // namespace kgroup::detail::fetch
