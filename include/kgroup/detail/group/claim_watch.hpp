// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/group/outage_watch.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// What is to be seen of a claim at a moment.
struct claim_look {
    bool open = true;   // not paused
    bool waits = false; // the handler waits, for records or acknowledgements
    bool waits_for_acks = false;
    std::size_t queued = 0;     // read before `delivered`
    std::int64_t position = -1; // the next offset to deliver
    std::uint64_t delivered = 0;
    std::int64_t first_undone = -1; // the offset of the first record that is not done, or before it
};

/// What the broker says of a claim's log, and what the fetcher knows of it.
struct log_end_look {
    std::error_code error;
    std::int64_t end = -1; // for this member: under read_committed before an open transaction
    std::int64_t low = -1; // -1: not known
    std::int64_t high_watermark = -1;
};

/// The watch over one claim: that the handler takes what waits, and that what the log holds comes.
class claim_watch {
public:
    static constexpr auto stalls_after = std::chrono::seconds{30};
    static constexpr auto ask_after = std::chrono::seconds{5};
    static constexpr auto tell_after = std::chrono::seconds{10};
    static constexpr auto tell_again_after = std::chrono::minutes{1};

    struct findings {
        bool wake_up_missed = false;
        bool stalled = false; // also repeated
        bool resumed = false;
        bool nothing_comes = false; // also repeated; `reason()` says why
        bool records_come = false;
        bool recovered = false; // from an error of the partition
        bool arrived = false;   // records, after `outage_began`
    };

    explicit claim_watch(clock::time_point now) noexcept : progress_(now), quiet_since_(now) {}

    /// Once in a while. `may_tell`: false while something larger is the reason that nothing comes.
    findings look(claim_look const& at, clock::time_point now, bool may_tell) {
        findings found;
        watch_handler(at, now, found);
        watch_log(at, now, may_tell, found);
        delivered_ = at.delivered;
        return found;
    }

    /// The partition was said not to be readable. `leader_knows`: its leader would say so too when
    /// it is asked for the log's end.
    void failed(claim_look const& at, clock::time_point now, bool leader_knows) {
        failed_at_ = now;
        leader_knows_ = leader_knows;
        since_failure_.emplace(new_arrivals_from(at));
    }
    void outage_began(claim_look const& at) { since_outage_.emplace(new_arrivals_from(at)); }

    /// Whether the end of the log is to be asked for.
    bool wants_log_end(claim_look const& at, clock::time_point now) const noexcept {
        return at.open && drained(at) && now - quiet_since_ >= ask_after;
    }
    /// It is, now.
    void log_end_asked() noexcept { asked_ = true; }
    /// Whether it has been, since something came last: who has not does not wait for the others.
    bool asked() const noexcept { return asked_; }
    /// Whether `nothing_comes` is near, and its reason is to be looked for.
    bool tells_soon(clock::time_point now) const noexcept {
        return suspected_since_ && (!nothing_comes_ || now - told_ >= tell_again_after - ask_after);
    }

    /// The answer to that. Returns what it ends.
    findings log_end(log_end_look const& log, claim_look const& at, clock::time_point now) {
        findings found;
        auto text = reason_of(log, at);
        if (text.empty()) {
            suspected_since_.reset();
            found.records_come = std::exchange(nothing_comes_, false);
            if (since_failure_ && leader_knows_ && now - failed_at_ >= tell_after) {
                since_failure_.reset();
                found.recovered = true;
            }
        } else if (!suspected_since_) {
            suspected_since_ = now;
        }
        reason_ = std::move(text);
        return found;
    }

    /// Why nothing comes, in words.
    std::string const& reason() const noexcept { return reason_; }
    clock::time_point quiet_since() const noexcept { return quiet_since_; }

private:
    void watch_handler(claim_look const& at, clock::time_point now, findings& found) {
        if (at.delivered != delivered_ || at.queued == 0 || !at.open) {
            progress_ = now;
            woken_late_ = false;
            found.resumed = std::exchange(stalled_, false);
        } else if (at.waits && !at.waits_for_acks) {
            // Twice in a row: a record that has just come is on its way.
            found.wake_up_missed = std::exchange(woken_late_, true);
        } else if (now - progress_ >= stalls_after) {
            progress_ = now;
            found.stalled = stalled_ = true;
        }
    }

    static bool drained(claim_look const& at) noexcept {
        return at.waits && !at.waits_for_acks && at.queued == 0;
    }
    static new_arrivals new_arrivals_from(claim_look const& at) noexcept {
        return {at.delivered, at.queued, drained(at) ? 0 : partition_state::largest_block};
    }

    void watch_log(claim_look const& at, clock::time_point now, bool may_tell, findings& found) {
        auto const arrived = [&at](std::optional<new_arrivals>& since) {
            if (!since || !since->seen(at.queued, drained(at), at.delivered)) {
                return false;
            }
            since.reset();
            return true;
        };
        found.arrived = arrived(since_outage_);
        found.recovered = arrived(since_failure_);
        if (at.delivered != delivered_ || at.queued != 0 || !at.open) {
            quiet_since_ = now;
            asked_ = false;
            suspected_since_.reset();
            found.records_come = std::exchange(nothing_comes_, false);
            return;
        }
        // What has just been written may be on its way.
        constexpr auto on_its_way = std::chrono::seconds{2};
        if (!may_tell || !suspected_since_ || now - *suspected_since_ < on_its_way ||
            now - quiet_since_ < tell_after || (nothing_comes_ && now - told_ < tell_again_after)) {
            return;
        }
        told_ = now;
        found.nothing_comes = nothing_comes_ = true;
    }

    // Empty: there is nothing to come.
    static std::string reason_of(log_end_look const& log, claim_look const& at) {
        auto const position = (std::max)({at.position, log.low, std::int64_t{0}});
        auto const offset = std::to_string(position);
        if (log.error) {
            return "the partition's leader has not said whether there are records from offset " +
                   offset + " on: " + log.error.message();
        }
        if (log.end > position) {
            return "the log goes up to offset " + std::to_string(log.end) +
                   " and nothing comes from " + offset +
                   " on, though the leader answers; a damaged record is a possible reason, or "
                   "fetches that are refused";
        }
        if (log.high_watermark > position) {
            return "a transaction is open: it holds back what is written from offset " + offset +
                   " to " + std::to_string(log.high_watermark);
        }
        return {};
    }

    std::uint64_t delivered_ = 0; // at the last look

    clock::time_point progress_; // of the handler
    bool woken_late_ = false;    // records waited at the last look, and so did the handler
    bool stalled_ = false;

    clock::time_point quiet_since_;                    // nothing has come since then
    bool asked_ = false;                               // since then
    std::optional<clock::time_point> suspected_since_; // there is something to come
    std::string reason_;
    bool nothing_comes_ = false; // and it is told
    clock::time_point told_{};

    clock::time_point failed_at_{};
    bool leader_knows_ = false;
    std::optional<new_arrivals> since_failure_;
    std::optional<new_arrivals> since_outage_;
};

} // namespace kgroup::detail
