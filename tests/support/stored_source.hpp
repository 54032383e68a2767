// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/claim/record_writer.hpp>
#include <kgroup/message.hpp>
#include <kgroup/message_channel.hpp>
#include <kgroup/offset_tracker.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kgroup::tests {

/// A record of a `stored_source`.
struct stored {
    std::optional<std::string> key{};
    std::optional<std::string> value{};
    std::int64_t timestamp = -1;
    std::vector<owned_message::owned_header> headers{};
    bool malformed = false;
    int freed = 0;
};

/// A partition with these records in it, of which so many at a time are drained.
class stored_source final : public detail::record_source {
public:
    explicit stored_source(std::vector<stored>& records,
                           std::size_t at_a_time = detail::partition_state::largest_block)
        : records_(records),
          at_a_time_(at_a_time) {}

    void drain(detail::record_block& block, std::size_t) noexcept override {
        detail::record_block::writer into{block};
        while (next_ != records_.size() && !into.full() && into.size() != at_a_time_) {
            auto& record = records_[next_];
            auto const data = [](std::optional<std::string> const& from) {
                return from ? from->data() : nullptr;
            };
            auto const size = [](std::optional<std::string> const& from) {
                return from ? from->size() : 0;
            };
            into.append(&record, data(record.key), size(record.key), data(record.value),
                        size(record.value), static_cast<std::int64_t>(10 * next_));
            ++next_;
        }
    }
    std::size_t waiting() const noexcept override { return records_.size() - next_; }
    void close() noexcept override {}
    void free_records(detail::record* first, std::size_t count) noexcept override {
        for (std::size_t i = 0; i != count; ++i) {
            ++of(first[i].native).freed;
        }
    }
    std::int64_t timestamp(void* native) const noexcept override { return of(native).timestamp; }
    void headers(void* native, header_sink const& sink) const override {
        if (of(native).malformed) {
            throw std::runtime_error{"malformed"};
        }
        for (auto const& header : of(native).headers) {
            sink(header.name,
                 header.value ? std::optional{std::string_view{*header.value}} : std::nullopt);
        }
    }
    detail::watermarks known_watermarks() const noexcept override { return {}; }

private:
    static stored& of(void* native) noexcept { return *static_cast<stored*>(native); }

    std::vector<stored>& records_;
    std::size_t at_a_time_;
    std::size_t next_ = 0;
};

/// One partition, "orders" 3, with these records, and its channel.
struct stored_partition {
    explicit stored_partition(std::vector<stored> given)
        : records(std::move(given)),
          state(std::make_shared<detail::partition_state>(
              topic_partition{"orders", 3}, context.get_executor(), tracked_offset{},
              std::weak_ptr<detail::claim_observer>{})) {
        state->start(std::make_shared<stored_source>(records), 0);
        channel.emplace(*state, 1 << 20);
    }

    message take() {
        auto taken = channel->try_receive();
        REQUIRE(taken);
        return std::move(*taken);
    }

    asio::io_context context;
    std::vector<stored> records;
    std::shared_ptr<detail::partition_state> state;
    std::optional<message_channel> channel;
};

} // namespace kgroup::tests
