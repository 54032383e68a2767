// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/group/event_reporter.hpp>
#include <kgroup/detail/group/group_counters.hpp>
#include <kgroup/detail/group/group_mail.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/topic_partition.hpp>

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// What claims have to tell, whatever thread they are on: it reaches the group by its mail.
class claim_reports final : public claim_observer {
public:
    using failure_handler =
        std::function<void(topic_partition const&, std::error_code, std::string const&)>;

    /// `on_partition_failed` is called on the group's strand.
    claim_reports(group_mail& mail, group_counters& counters, event_reporter& reporter,
                  failure_handler on_partition_failed)
        : mail_(mail),
          counters_(counters),
          reporter_(reporter),
          on_partition_failed_(std::move(on_partition_failed)) {}

    void mark_refused(topic_partition const& partition, mark_result reason) noexcept override {
        counters_.add(&group_stats::marks_refused);
        tell([&] {
            return [this, partition, reason] { reporter_.mark_refused(partition, reason); };
        });
    }

    void partition_failed(topic_partition const& partition, std::error_code error,
                          std::string_view text) noexcept override {
        auto const told = tell([&] {
            return [this, partition, error, words = std::string{text}] {
                on_partition_failed_(partition, error, words);
            };
        });
        if (!told && is_fatal(error)) {
            std::lock_guard const lock{mutex_};
            untold_failure_ = error;
        }
    }

    void mark_beyond_end(topic_partition const& partition, std::int64_t next,
                         std::int64_t end) noexcept override {
        tell([&] {
            return
                [this, partition, next, end] { reporter_.mark_beyond_end(partition, next, end); };
        });
    }

    void released_twice(topic_partition const& partition) noexcept override {
        tell([&] { return [this, partition] { reporter_.message_released_twice(partition); }; });
    }

    void report_of_claim(event told) noexcept override {
        tell([&] {
            return [this, told = std::move(told)]() mutable { reporter_.forward(std::move(told)); };
        });
    }

    void position_moved(topic_partition const& partition, std::int64_t from,
                        std::int64_t to) noexcept override {
        tell([&] {
            return [this, partition, from, to] { moves_.push_back({partition, from, to}); };
        });
    }

    // Group's strand.

    /// Positions that turned out to be others than the next, since the last call.
    std::vector<client_position_reset> take_moves() noexcept { return std::exchange(moves_, {}); }
    /// A partition's fatal error for whose telling there was no memory.
    std::error_code take_untold_failure() noexcept {
        std::lock_guard const lock{mutex_};
        return std::exchange(untold_failure_, {});
    }

private:
    /// `make` makes what the group's loop is to do. false: there is no memory for it, which is
    /// counted.
    template <typename Make>
    bool tell(Make make) noexcept {
        try {
            mail_.tell(make());
            return true;
        } catch (...) {
            counters_.add(&group_stats::events_dropped);
            return false;
        }
    }

    group_mail& mail_;
    group_counters& counters_;
    event_reporter& reporter_;
    failure_handler on_partition_failed_;
    std::vector<client_position_reset> moves_; // group's strand
    std::mutex mutex_;
    std::error_code untold_failure_;
};

} // namespace kgroup::detail
