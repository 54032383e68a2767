// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/claim.hpp>
#include <kgroup/detail/process/options_check.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/for_each_options.hpp>
#include <kgroup/session.hpp>

#include <asio/awaitable.hpp>

#include <type_traits>
#include <utility>

namespace kgroup {

/// A whole handler that calls a function for each record of each claim: see `for_each`.
///
///     kgroup::consumer_app{config, kgroup::each({.order = kgroup::order::by_key}, book)}.run();
///
/// *Thread safety.* The function is called for several claims at the same time where the group's
/// executor has several threads.
template <typename F>
class each {
public:
    /// @param options for each claim.
    /// @param function moved in; see `for_each` for its shape.
    /// @throws std::invalid_argument names the option that cannot be meant.
    each(for_each_options options, F function) : options_(options), function_(std::move(function)) {
        detail::check(options_);
    }

    /// What a group calls: `for_each` over the claim.
    ///
    /// @throws what `for_each` throws.
    asio::awaitable<void> consume_claim(session&, claim& claim) {
        return for_each(claim, options_, function_);
    }

private:
    for_each_options options_;
    F function_;
};

} // namespace kgroup
