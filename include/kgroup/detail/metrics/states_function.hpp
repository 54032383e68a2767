// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/group_state.hpp>

#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Where an exporter has the states from.
using states_function = std::function<std::vector<group_state>()>;

/// Of a function that gives one state, or a vector of them.
template <typename States>
states_function make_states_function(States states) {
    using given = std::remove_cvref_t<std::invoke_result_t<States const&>>;
    if constexpr (std::is_same_v<given, group_state>) {
        return [states = std::move(states)] {
            std::vector<group_state> one;
            one.push_back(states());
            return one;
        };
    } else {
        static_assert(std::is_convertible_v<given, std::vector<group_state>>,
                      "kgroup: the function does not fit. Write: "
                      "[&] { return group.state(); }, or return a vector of such states");
        return states;
    }
}

} // namespace kgroup::detail
