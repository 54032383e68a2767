// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/batch_header.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>

#include <cstddef>
#include <cstdint>

namespace kgroup::detail::fetch {

/// What the source of a claim asks of those that made it. Every call: any thread, and under the
/// source's lock: nothing of the source's is called from there.
class claim_requests {
public:
    virtual ~claim_requests() = default;

    /// How many bytes may wait in the claim.
    virtual std::size_t share() const noexcept = 0;
    /// Whether there is room for more.
    virtual void want(std::uint64_t ticket, bool more) noexcept = 0;
    /// What the reader got to; see `fetcher`.
    virtual void on_damaged(std::uint64_t ticket, std::uint64_t generation, std::int64_t at,
                            damage wrong) noexcept = 0;
    virtual void on_old_format(std::uint64_t ticket, std::uint64_t generation,
                               std::int64_t at) noexcept = 0;
    /// The log did not hold `from`: reading goes on at `to`.
    virtual void on_position_reset(std::int64_t from, std::int64_t to) noexcept = 0;
    /// All up to `why.from`, an offset or an end of the log, was taken: librdkafka is to read from
    /// there on. Nothing comes of the source any more. Asked once.
    virtual void hand_over(std::uint64_t ticket, fetch_event const& why) noexcept = 0;
    /// librdkafka has fetched, though it was held still.
    virtual void hold_still() noexcept = 0;
};

} // namespace kgroup::detail::fetch
