// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/fetch/answer_memory.hpp>
#include <kgroup/detail/fetch/broker_abilities.hpp>
#include <kgroup/detail/fetch/connection.hpp>
#include <kgroup/detail/fetch/fetcher_settings.hpp>
#include <kgroup/detail/fetch/known_broker.hpp>
#include <kgroup/detail/fetch/known_brokers.hpp>
#include <kgroup/detail/fetch/name_lookup.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>

#include <asio/any_io_executor.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail::fetch {

/// Makes, advances and ends the connections of brokers' lanes. One that ended stays here until
/// nothing of it is under way any more.
///
/// *Thread safety.* One strand's.
class broker_connections {
public:
    /// @param event is notified when `advance` may have something to do.
    /// @param settings outlives it.
    broker_connections(asio::any_io_executor executor, std::shared_ptr<auto_reset_event> event,
                       fetcher_settings const& settings, std::shared_ptr<answer_memory> memory)
        : executor_(std::move(executor)),
          event_(std::move(event)),
          settings_(settings),
          memory_(std::move(memory)),
          names_([wakes = event_] { wakes->notify(); }) {}

    /// Whether a request may be sent.
    static bool ready(broker_lane const& lane) noexcept { return lane.link && lane.link->ready(); }

    /// Begins a connection, unless there is one or it is too early.
    ///
    /// @throws std::bad_alloc
    bool open(known_broker const& to, broker_lane& lane, time_point now) {
        if (lane.link || !to.pauses.may_connect(now)) {
            return false;
        }
        lane.link = std::make_shared<connection>(executor_, event_, settings_, to.address, now);
        event_->notify(); // for its first step
        return true;
    }

    /// Does what can be done now, and learns what the broker can do. Calls `on_answer` as
    /// `connection::advance` does; it may leave the lane.
    ///
    /// @return why the connection ended; nullopt: it did not, or was left.
    /// @throws std::bad_alloc
    template <typename OnAnswer>
    std::optional<connection::ending> advance(known_broker& from, broker_lane& lane, time_point now,
                                              OnAnswer on_answer) {
        auto const link = lane.link;
        if (!link) {
            return std::nullopt;
        }
        bool const was_ready = link->ready();
        closing_.reserve(closing_.size() + 1);
        try {
            link->advance(now, *memory_, names_, std::move(on_answer));
        } catch (std::exception const&) {
            link->close(fetcher_notice::kind::no_memory,
                        std::make_error_code(std::errc::not_enough_memory), "no memory");
        }
        if (link->ready() && !was_ready) {
            from.abilities = abilities_of(link->versions());
            std::chrono::milliseconds const throttle{link->versions().throttle_ms};
            if (throttle.count() > 0) {
                from.pauses.on_throttled(throttle, now);
            }
        }
        if (!lane.link || !link->closed()) {
            return std::nullopt;
        }
        return take_ended(lane);
    }
    /// Ends a connection that is not needed any more.
    ///
    /// @return nullopt: there was none.
    /// @throws std::bad_alloc
    std::optional<connection::ending> leave(broker_lane& lane) {
        if (!lane.link) {
            return std::nullopt;
        }
        closing_.reserve(closing_.size() + 1);
        lane.link->close(fetcher_notice::kind::disconnected, {}, "it moved");
        return take_ended(lane);
    }
    /// Forgets those that ended, and of which nothing is under way any more.
    void forget_ended() noexcept {
        std::erase_if(closing_, [](auto const& link) { return link->at_rest(); });
    }

    /// Ends all.
    ///
    /// @return whether nothing of them is under way any more.
    bool close(known_brokers& brokers) noexcept {
        bool rests = true;
        brokers.for_each([&](known_broker& broker) {
            for (auto& lane : broker.lanes) {
                if (lane.link) {
                    lane.link->close(fetcher_notice::kind::disconnected, {}, "");
                    rests = rests && lane.link->at_rest();
                }
            }
        });
        return rests && std::all_of(closing_.begin(), closing_.end(),
                                    [](auto const& link) { return link->at_rest(); });
    }
    /// The event is not notified any more.
    void clear() noexcept {
        names_.end();
        closing_.clear();
    }

private:
    connection::ending take_ended(broker_lane& lane) noexcept {
        auto const link = std::exchange(lane.link, nullptr);
        if (!link->at_rest()) {
            closing_.push_back(link); // there is room
        }
        return link->end();
    }

    asio::any_io_executor executor_;
    std::shared_ptr<auto_reset_event> event_;
    fetcher_settings const& settings_;
    std::shared_ptr<answer_memory> memory_;
    name_lookup names_;
    std::vector<std::shared_ptr<connection>> closing_; // of which something is still under way
};

} // namespace kgroup::detail::fetch
