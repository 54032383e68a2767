// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/api.hpp>
#include <kgroup/detail/fetch/api_versions.hpp>

namespace kgroup::detail::fetch {

/// What the connection to a broker can do, by the versions that both know.
struct broker_abilities {
    bool leader_epochs = true; // OffsetForLeaderEpoch
    bool diverging = true;     // Fetch from version 12 on tells itself where logs diverge
    bool topic_ids = true;     // Fetch from version 13 on asks by a topic's id, and not by its name
};

inline broker_abilities abilities_of(api_versions& versions) noexcept {
    auto const fetch = versions.use(api::fetch).value_or(0);
    return {.leader_epochs = versions.use(api::leader_epoch).has_value(),
            .diverging = fetch >= 12,
            .topic_ids = fetch >= 13};
}

} // namespace kgroup::detail::fetch
