// SPDX-License-Identifier: MIT

#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>
#include <asio/ip/tcp.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace kgroup::detail::fetch {

/// The addresses of names. Each name is looked up on a thread of its own, at most one at a time a
/// name, for nobody knows how long that takes: neither the executor waits for it, nor who ends it,
/// nor the end of the executor's context, as it would for Asio's own resolver. A look-up that
/// nobody waits for any more touches nothing but what it owns. Numeric addresses need none.
///
/// *Thread safety.* One thread's.
class name_lookup {
public:
    struct result {
        std::error_code error;
        std::vector<asio::ip::address> addresses;
    };
    using resolve_function = std::function<result(std::string const&)>;

    /// @param wake is called on a thread of the look-up when `find` has something new.
    explicit name_lookup(std::function<void()> wake, resolve_function resolve = ask_system)
        : shared_(std::make_shared<shared>()),
          resolve_(std::move(resolve)) {
        shared_->wake = std::move(wake);
    }
    name_lookup(name_lookup const&) = delete;
    name_lookup& operator=(name_lookup const&) = delete;
    ~name_lookup() { end(); }

    /// nullopt: not known yet; to be asked again when `wake` was called. What was found is given
    /// once, for names move.
    ///
    /// @throws std::bad_alloc
    std::optional<result> find(std::string const& host) {
        std::error_code ec;
        auto const numeric = asio::ip::make_address(
            host.starts_with('[') && host.ends_with(']') ? host.substr(1, host.size() - 2) : host,
            ec);
        if (!ec) {
            return result{{}, {numeric}};
        }
        std::lock_guard const lock{shared_->mutex};
        auto const [place, added] = shared_->names.try_emplace(host);
        if (!added) {
            if (!place->second) {
                return std::nullopt;
            }
            auto found = std::move(place->second);
            shared_->names.erase(place);
            return found;
        }
        try {
            std::thread{[state = shared_, host, resolve = resolve_] {
                look_up(*state, host, resolve);
            }}.detach();
        } catch (std::system_error const& error) {
            shared_->names.erase(place);
            return result{error.code(), {}};
        } catch (...) {
            shared_->names.erase(place);
            throw;
        }
        return std::nullopt;
    }

    /// `wake` is not running and will not be called any more.
    void end() noexcept {
        std::lock_guard const lock{shared_->mutex};
        shared_->wake = nullptr;
    }

    /// By the system's resolver.
    static result ask_system(std::string const& host) {
        asio::io_context context;
        asio::ip::tcp::resolver resolver{context};
        result found;
        for (auto const& entry : resolver.resolve(host, "", found.error)) {
            auto const address = entry.endpoint().address();
            auto& all = found.addresses;
            if (std::find(all.begin(), all.end(), address) == all.end()) {
                all.push_back(address);
            }
        }
        return found;
    }

private:
    struct shared {
        std::mutex mutex;
        std::map<std::string, std::optional<result>> names; // empty: it is being looked up
        std::function<void()> wake;
    };

    static void look_up(shared& state, std::string const& host,
                        resolve_function const& resolve) noexcept {
        result found;
        try {
            found = resolve(host);
        } catch (std::system_error const& error) {
            found.error = error.code();
        } catch (...) {
            found.error = std::make_error_code(std::errc::not_enough_memory);
        }
        std::lock_guard const lock{state.mutex};
        auto const place = state.names.find(host);
        if (place != state.names.end()) {
            place->second = std::move(found);
        }
        if (state.wake) {
            state.wake();
        }
    }

    std::shared_ptr<shared> shared_;
    resolve_function resolve_;
};

} // namespace kgroup::detail::fetch
