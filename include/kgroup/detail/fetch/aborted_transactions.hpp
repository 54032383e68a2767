// SPDX-License-Identifier: MIT

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kgroup::detail::fetch {

/// A transaction that was aborted: its records begin at `first_offset` and end with the ABORT
/// marker of its producer.
struct aborted_transaction {
    std::int64_t producer = -1;
    std::int64_t first_offset = 0;
    friend bool operator==(aborted_transaction const&, aborted_transaction const&) = default;
};

/// Tells which batches of one answer belong to aborted transactions. To be asked about the batches
/// in the order of their offsets.
class aborted_transactions {
public:
    /// Those of an answer, in any order.
    ///
    /// @throws std::bad_alloc
    void reset(std::span<aborted_transaction const> listed) {
        waiting_.assign(listed.begin(), listed.end());
        // Brokers list them in the order in which they ended.
        std::sort(waiting_.begin(), waiting_.end(), [](auto const& left, auto const& right) {
            return left.first_offset < right.first_offset;
        });
        begun_ = 0;
    }

    /// Whether a transactional batch of this producer, which ends at `last_offset`, is aborted.
    bool contains(std::int64_t producer, std::int64_t last_offset) noexcept {
        begin_until(last_offset);
        auto const begun = waiting_.begin() + static_cast<std::ptrdiff_t>(begun_);
        return std::any_of(waiting_.begin(), begun, [producer](auto const& transaction) {
            return transaction.producer == producer;
        });
    }

    /// The ABORT marker of the producer, at this offset: its transaction is over.
    void end(std::int64_t producer, std::int64_t offset) noexcept {
        begin_until(offset);
        auto const begun = waiting_.begin() + static_cast<std::ptrdiff_t>(begun_);
        auto const left =
            std::remove_if(waiting_.begin(), begun, [producer](auto const& transaction) {
                return transaction.producer == producer;
            });
        begun_ = static_cast<std::size_t>(left - waiting_.begin());
        waiting_.erase(left, begun);
    }

private:
    void begin_until(std::int64_t offset) noexcept {
        while (begun_ != waiting_.size() && waiting_[begun_].first_offset <= offset) {
            ++begun_;
        }
    }

    std::vector<aborted_transaction> waiting_; // the first `begun_` have begun
    std::size_t begun_ = 0;
};

} // namespace kgroup::detail::fetch
