// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/broker_address.hpp>
#include <kgroup/detail/fetch/known_broker.hpp>
#include <kgroup/detail/fetch/metadata_message.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace kgroup::detail::fetch {

/// Which brokers there are: those that metadata names, and the addresses of the configuration.
class known_brokers {
public:
    /// @param bootstrap_servers see `parse_bootstrap_servers`.
    /// @throws std::bad_alloc
    explicit known_brokers(std::string_view bootstrap_servers) {
        for (auto& address : parse_bootstrap_servers(bootstrap_servers)) {
            bootstrap_.emplace_back().address = std::move(address);
        }
    }

    /// Those that metadata names, by id. A broker stays where it is until it is dropped.
    std::map<std::int32_t, known_broker>& named() noexcept { return named_; }
    /// Of those that metadata names. Null: it names no such one.
    known_broker* find(std::int32_t id) noexcept {
        auto const found = named_.find(id);
        return found == named_.end() ? nullptr : &found->second;
    }

    /// Whether metadata names it, as it said last.
    bool contains(std::int32_t id) const noexcept {
        auto const found = named_.find(id);
        return found != named_.end() && !found->second.gone;
    }

    /// All: first those that metadata names.
    std::size_t size() const noexcept { return named_.size() + bootstrap_.size(); }
    known_broker& at(std::size_t index) noexcept {
        return index < named_.size()
                   ? std::next(named_.begin(), static_cast<std::ptrdiff_t>(index))->second
                   : bootstrap_[index - named_.size()];
    }
    template <typename Act>
    void for_each(Act act) {
        for (auto& one : bootstrap_) {
            act(one);
        }
        for (auto& [id, one] : named_) {
            act(one);
        }
    }

    /// Takes those that metadata names. One that it does not name any more is gone, and stays until
    /// `drop_gone`, for the answer may be its own.
    ///
    /// @param leave `leave(known_broker&)` ends what is under way to a broker that has moved; it
    /// has its old address still.
    /// @throws std::bad_alloc
    template <typename Leave>
    void take(std::span<metadata_answer::broker const> told, Leave leave) {
        if (!told.empty()) {
            for (auto& [id, one] : named_) {
                one.gone = true;
            }
        }
        for (auto const& entry : told) {
            if (entry.id < 0 || entry.port <= 0 || entry.port > 65535 || entry.host.empty()) {
                continue;
            }
            broker_address address{std::string{entry.host}, static_cast<std::uint16_t>(entry.port)};
            auto const [place, added] = named_.try_emplace(entry.id);
            auto& one = place->second;
            one.gone = false;
            if (added) {
                one.id = entry.id;
                one.address = std::move(address);
            } else if (one.address != address) {
                leave(one);
                one.address = std::move(address);
                one.pauses.on_moved();
            }
        }
    }
    /// @param leave as that of `take`.
    template <typename Leave>
    void drop_gone(Leave leave) {
        for (auto place = named_.begin(); place != named_.end();) {
            if (place->second.gone) {
                leave(place->second);
                place = named_.erase(place);
            } else {
                ++place;
            }
        }
    }
    void clear() noexcept {
        named_.clear();
        bootstrap_.clear();
    }

private:
    std::map<std::int32_t, known_broker> named_;
    std::deque<known_broker> bootstrap_;
};

} // namespace kgroup::detail::fetch
