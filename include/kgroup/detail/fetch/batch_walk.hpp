// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/batch_header.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kgroup::detail::fetch {

/// Goes from batch to batch through what an answer brought of a partition. Looks at headers only.
class batch_walk {
public:
    batch_walk() = default;
    /// @param high_watermark of the answer; below 0: unknown.
    batch_walk(std::string_view bytes, std::int64_t high_watermark) noexcept
        : left_(bytes),
          high_watermark_(high_watermark) {}

    /// The next batch. `nothing`: the end; a batch that is cut off there is left out. Anything but
    /// `whole` is given again by each further call.
    found_batch next() noexcept {
        auto found = find_batch(left_);
        switch (found.state) {
        case found_batch::kind::incomplete:
            if (first_) { // brokers send the first one whole, however large it is
                return damaged(found, damage::incomplete);
            }
            left_ = {};
            found.state = found_batch::kind::nothing;
            return found;
        case found_batch::kind::whole:
            break;
        default:
            return found;
        }
        // The checksum does not cover where a batch says that it stands.
        if (!first_ && found.header.base_offset < next_offset_) {
            return damaged(found, damage::offsets);
        }
        if (high_watermark_ >= 0 && found.header.base_offset >= high_watermark_) {
            return damaged(found, damage::beyond_end);
        }
        first_ = false;
        next_offset_ = found.header.next_offset();
        left_.remove_prefix(found.bytes.size());
        return found;
    }

private:
    static found_batch damaged(found_batch& found, damage wrong) noexcept {
        found.state = found_batch::kind::damaged;
        found.wrong = wrong;
        return found;
    }

    std::string_view left_;
    std::int64_t high_watermark_ = -1;
    std::int64_t next_offset_ = 0; // behind the batch before
    bool first_ = true;
};

/// What an answer brought of a partition, before anything of it is read.
struct batch_scan {
    std::int64_t next_offset = 0;   // where the next Fetch goes on
    std::int64_t first_offset = -1; // of the batch in which the position stands
    std::int32_t leader_epoch = -1; // of the last batch
    bool one_epoch = true;          // it is that of all of them
    std::size_t bytes = 0;          // of whole batches
    std::size_t batches = 0;
    /// `nothing`, or why nothing can be fetched behind the batches: `old_format`, `damaged`.
    found_batch::kind ended_by = found_batch::kind::nothing;
};

/// Where the next Fetch goes on is known so before the records are read, which may be much later.
/// If reading finds damage there is another fetch from that place.
///
/// @param position what was asked for.
inline batch_scan scan_batches(std::string_view bytes, std::int64_t position,
                               std::int64_t high_watermark) noexcept {
    batch_scan result;
    result.next_offset = position;
    batch_walk walk{bytes, high_watermark};
    for (;;) {
        auto const found = walk.next();
        if (found.state != found_batch::kind::whole) {
            result.ended_by = found.state;
            return result;
        }
        result.bytes += found.bytes.size();
        ++result.batches;
        if (found.header.next_offset() > result.next_offset) {
            if (result.first_offset < 0) {
                result.first_offset = found.header.base_offset;
            } else if (found.header.leader_epoch != result.leader_epoch) {
                result.one_epoch = false;
            }
            result.next_offset = found.header.next_offset();
            result.leader_epoch = found.header.leader_epoch;
        }
    }
}

} // namespace kgroup::detail::fetch
