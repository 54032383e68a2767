// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/codecs.hpp>
#include <kgroup/detail/fetch/fetched_records.hpp>
#include <kgroup/detail/fetch/partition_reader.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace kgroup::tests {

/// A claim that reads at once what the fetcher brings, or keeps it. Looked at when the fetcher
/// does not run, or from its executor; `count` by any thread.
class reading_sink final : public detail::fetch::fetch_sink {
public:
    struct read_record {
        std::int64_t offset = 0;
        std::string value;
    };
    using step = detail::fetch::partition_reader::step;

    bool keeps = false;       // what it gets, unread
    bool counts_only = false; // and does not copy records
    bool keeps_read = false;  // as who keeps the messages: the memory of what was read stays
    std::function<void(reading_sink&)> on_change; // behind each call
    std::function<void(detail::fetch::fetched_records const&, std::int64_t, step,
                       detail::fetch::damage)>
        on_trouble; // the reader ended early, at this position

    std::vector<detail::fetch::fetched_records> kept;
    std::vector<std::shared_ptr<void const>> memory; // of what was read
    std::vector<read_record> records;
    std::vector<detail::fetch::fetch_event> events;
    std::vector<std::int64_t> starts;
    bool done = false;  // for who watches
    bool awaits = true; // what it found is to be acted upon
    std::size_t takes = 0;
    std::size_t disorder = 0; // records not above those before, within a ticket
    std::int64_t position = -1;
    std::int64_t high_watermark = -1;
    std::uint64_t ticket = 0;

    std::size_t count() const noexcept { return count_.load(std::memory_order_acquire); }

    void take(detail::fetch::fetched_records got) noexcept override {
        ++takes;
        high_watermark = got.high_watermark;
        if (!got.bytes.empty()) {
            if (keeps) {
                kept.push_back(std::move(got));
            } else {
                read(got);
                if (keeps_read) {
                    memory.push_back(std::move(got.keep));
                }
            }
        }
        changed();
    }
    void tell(std::uint64_t number, detail::fetch::fetch_event const& event) noexcept override {
        ticket = number;
        if (event.type == detail::fetch::fetch_event::kind::truncated ||
            event.type == detail::fetch::fetch_event::kind::topic_recreated) {
            last_ = -1;
        }
        events.push_back(event);
        changed();
    }
    void started_at(std::uint64_t number, std::int64_t offset) noexcept override {
        ticket = number;
        starts.push_back(offset);
        changed();
    }
    bool begins_again(std::uint64_t, std::uint64_t, std::int64_t) noexcept override {
        return awaits;
    }
    /// Those that were kept.
    void read_kept() {
        for (auto const& got : std::exchange(kept, {})) {
            read(got);
        }
    }

private:
    void read(detail::fetch::fetched_records const& got) {
        if (std::exchange(ticket, got.ticket) != got.ticket) {
            last_ = -1;
        }
        reader_.start(got.bytes, got.position, got.high_watermark,
                      detail::fetch::isolation::read_committed, got.aborted);
        detail::fetch::decoded_record record;
        std::size_t found = 0;
        for (;;) {
            auto const now_at = reader_.next(record);
            if (now_at == step::record) {
                ++found;
                disorder += record.offset <= last_;
                last_ = record.offset;
                if (!counts_only) {
                    records.push_back({record.offset, std::string{record.value.value_or("")}});
                }
            } else if (now_at == step::end) {
                break;
            } else if (now_at == step::damaged || now_at == step::old_format) {
                if (on_trouble) {
                    on_trouble(got, reader_.position(), now_at, reader_.wrong());
                }
                break;
            }
        }
        position = reader_.position();
        count_.fetch_add(found, std::memory_order_release);
    }
    void changed() {
        if (on_change) {
            on_change(*this);
        }
    }

    detail::fetch::decompressor codecs_;
    detail::fetch::partition_reader reader_{codecs_, 100'000'000};
    std::atomic<std::size_t> count_{0};
    std::int64_t last_ = -1;
};

} // namespace kgroup::tests
