// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/aborted_transactions.hpp>
#include <kgroup/detail/fetch/answer_memory.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace kgroup::detail::fetch {

/// What an answer brought of one partition.
struct fetched_records {
    std::uint64_t ticket = 0;         // of the `start` that it belongs to
    std::uint64_t generation = 0;     // to be handed back when the reader finds something
    std::shared_ptr<void const> keep; // the bytes live, and count as memory, as long as this
    unread_bytes unread;              // until they were read
    std::shared_ptr<partition_memory> memory; // where what is decompressed counts
    std::string_view bytes;         // the partition's batches; empty: only what follows is news
    std::int64_t position = 0;      // where reading begins
    std::int64_t next_offset = 0;   // where the next fetch goes on
    std::int32_t leader_epoch = -1; // of the leader that was asked; -1: not known
    std::int64_t high_watermark = -1;
    std::int64_t last_stable_offset = -1;
    std::int64_t log_start = -1;
    std::vector<aborted_transaction> aborted;
};

/// A claim's side of the fetching of its partition. All is called on the fetcher's strand, in
/// order, with the ticket of the `start` that counts there.
class fetch_sink {
public:
    fetch_sink() = default;
    fetch_sink(fetch_sink const&) = delete;
    fetch_sink& operator=(fetch_sink const&) = delete;
    virtual ~fetch_sink() = default;

    virtual void take(fetched_records records) noexcept = 0;
    /// After `truncated` and `topic_recreated` what was taken and not read yet is void.
    virtual void tell(std::uint64_t ticket, fetch_event const& event) noexcept = 0;
    /// Where the end of the log was that the start named.
    virtual void started_at(std::uint64_t ticket, std::int64_t offset) noexcept = 0;
    /// What was found in a generation is acted upon now: what is taken and told from here on begins
    /// at `at`, where it was found.
    ///
    /// @return false: it counts no more, and is not to be acted upon.
    virtual bool begins_again(std::uint64_t /*ticket*/, std::uint64_t /*generation*/,
                              std::int64_t /*at*/) noexcept {
        return true;
    }
};

} // namespace kgroup::detail::fetch
