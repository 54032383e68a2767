// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/topic_partition.hpp>

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// Which of the partitions that the group has given to this member are paused. A pause belongs to
/// the ownership, not to the claim: a partition that stays owned may have several claims, one after
/// another, when a session starts anew, and none in between.
///
/// Thread safety: safe. A pause is on record, and the gate of the claim closed, when the call
/// returns.
class paused_partitions {
public:
    /// These are owned now, beside what was.
    template <typename Partitions>
    void add(Partitions const& given) {
        std::lock_guard const lock{mutex_};
        for (auto const& where : given) {
            owned_.try_emplace(where);
        }
    }
    template <typename Partitions>
    void remove(Partitions const& taken) {
        std::lock_guard const lock{mutex_};
        for (auto const& where : taken) {
            owned_.erase(where);
        }
    }
    void remove_all() {
        std::lock_guard const lock{mutex_};
        owned_.clear();
    }

    /// A claim of the partition begins: what is paused closes its gate, from now on and if it is
    /// paused already.
    void attach(std::shared_ptr<partition_state> const& state) {
        std::lock_guard const lock{mutex_};
        if (auto const found = owned_.find(state->where()); found != owned_.end()) {
            found->second.claim = state;
            if (found->second.paused) {
                state->pause();
            }
        }
    }

    // What is not owned is passed over.

    void set(std::span<topic_partition const> partitions, bool paused) {
        claims touched; // let go behind the lock: a claim may end with it
        std::lock_guard const lock{mutex_};
        for (auto const& where : partitions) {
            if (auto const found = owned_.find(where); found != owned_.end()) {
                set(found->second, paused, touched);
            }
        }
    }
    void set(std::string_view topic, bool paused) {
        claims touched;
        std::lock_guard const lock{mutex_};
        auto entry = owned_.lower_bound({topic, (std::numeric_limits<std::int32_t>::min)()});
        for (; entry != owned_.end() && entry->first.topic == topic; ++entry) {
            set(entry->second, paused, touched);
        }
    }
    void set_all(bool paused) {
        claims touched;
        std::lock_guard const lock{mutex_};
        for (auto& [where, owned] : owned_) {
            set(owned, paused, touched);
        }
    }

private:
    struct ownership {
        bool paused = false;
        std::weak_ptr<partition_state> claim; // the newest
    };
    using claims = std::vector<std::shared_ptr<partition_state>>;

    static void set(ownership& owned, bool paused, claims& touched) {
        owned.paused = paused;
        if (auto state = owned.claim.lock()) {
            if (paused) {
                state->pause();
            } else {
                state->resume();
            }
            touched.push_back(std::move(state));
        }
    }

    std::mutex mutex_;
    std::map<topic_partition, ownership> owned_;
};

} // namespace kgroup::detail
