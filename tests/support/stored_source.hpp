// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/claim/record_writer.hpp>
#include <kgroup/message.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
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

} // namespace kgroup::tests
