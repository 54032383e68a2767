// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/claim/record_block.hpp>
#include <kgroup/detail/fetch/claim_requests.hpp>
#include <kgroup/detail/fetch/fetched_source.hpp>
#include <kgroup/detail/fetch/kept_batches.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

namespace kgroup::detail::fetch {

/// How many records claims took, by the way that these came. Any thread.
struct records_by_way {
    std::atomic<std::uint64_t> direct{0};
    std::atomic<std::uint64_t> handed_over{0};
};

/// A claim's records: those that kgroup fetches, up to where librdkafka has to go on, and
/// librdkafka's from there on. A block may have both: each record tells by its `native` whose it
/// is.
///
/// @tparam Native librdkafka's source: a `record_source` whose `drop_waiting()` tells how many
/// records that were, and whose natives are pointers to objects.
template <typename Native>
class direct_source final : public record_source {
public:
    /// @param fetched null: everything comes from librdkafka.
    direct_source(std::shared_ptr<fetched_source> fetched, std::shared_ptr<Native> native,
                  std::shared_ptr<claim_requests> requests,
                  std::shared_ptr<records_by_way> counted) noexcept
        : fetched_(std::move(fetched)),
          native_(std::move(native)),
          requests_(std::move(requests)),
          counted_(std::move(counted)),
          handed_over_(!fetched_) {}

    /// Null: there is none.
    std::shared_ptr<fetched_source> const& fetched() const noexcept { return fetched_; }
    /// What was fetched is read, or void: from now on librdkafka is asked. Any thread.
    void hand_over() noexcept {
        std::lock_guard const lock{handing_over_};
        handed_over_.store(true, std::memory_order_release);
    }
    bool handed_over() const noexcept { return handed_over_.load(std::memory_order_acquire); }

    void drain(record_block& into, std::size_t byte_limit) noexcept override {
        auto const before = into.size();
        if (!handed_over() && native_->waiting() != 0) {
            drop_native();
        }
        if (handed_over()) {
            native_->drain(into, byte_limit);
            counted_->handed_over.fetch_add(into.size() - before, std::memory_order_relaxed);
            return;
        }
        fetched_->drain(into, byte_limit);
        counted_->direct.fetch_add(into.size() - before, std::memory_order_relaxed);
    }
    void look() noexcept override {
        if (handed_over()) {
            native_->look();
        } else {
            fetched_->look();
        }
    }
    std::size_t waiting() const noexcept override {
        return handed_over() ? native_->waiting() : fetched_->waiting();
    }
    void close() noexcept override {
        native_->close();
        if (fetched_) {
            fetched_->close();
        }
    }
    watermarks known_watermarks() const noexcept override {
        auto const native = handed_over() ? native_->known_watermarks() : watermarks{};
        return native.high < 0 && fetched_ ? fetched_->known_watermarks() : native;
    }
    // Of the records that librdkafka reads it is not known.
    std::int32_t leader_epoch_before(std::int64_t next) const noexcept override {
        return handed_over() ? -1 : fetched_->leader_epoch_before(next);
    }

    void free_records(record* first, std::size_t count) noexcept override {
        for (std::size_t i = 0; i != count;) {
            auto const direct = record_place::is_one(first[i].native);
            auto const begin = i;
            do {
                ++i;
            } while (i != count && record_place::is_one(first[i].native) == direct);
            owner(direct).free_records(first + begin, i - begin);
        }
    }
    std::int64_t timestamp(void* native) const noexcept override {
        return owner(record_place::is_one(native)).timestamp(native);
    }
    void headers(void* native, header_sink const& sink) const override {
        owner(record_place::is_one(native)).headers(native, sink);
    }

private:
    /// What librdkafka reads although it is held. What waits may have come behind a hand-over.
    void drop_native() noexcept {
        std::lock_guard const lock{handing_over_};
        if (!handed_over() && native_->drop_waiting() != 0) { // not only notices
            requests_->hold_still();
        }
    }
    record_owner& owner(bool direct) const noexcept {
        return direct ? static_cast<record_owner&>(*fetched_) : *native_;
    }

    std::shared_ptr<fetched_source> const fetched_;
    std::shared_ptr<Native> const native_;
    std::shared_ptr<claim_requests> const requests_;
    std::shared_ptr<records_by_way> const counted_;
    std::mutex handing_over_; // it does not happen while librdkafka's records are dropped
    std::atomic<bool> handed_over_;
};

} // namespace kgroup::detail::fetch
