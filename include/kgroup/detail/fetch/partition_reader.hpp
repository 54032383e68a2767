// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/aborted_transactions.hpp>
#include <kgroup/detail/fetch/batch_header.hpp>
#include <kgroup/detail/fetch/batch_walk.hpp>
#include <kgroup/detail/fetch/buffer_pool.hpp>
#include <kgroup/detail/fetch/byte_buffer.hpp>
#include <kgroup/detail/fetch/codecs.hpp>
#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/record_reader.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace kgroup::detail::fetch {

/// Reads what an answer brought of one partition: the records from the position on, which a
/// consumer may see, in their order. Nothing is believed before it was checked against the bytes
/// that are there.
///
/// *Thread safety.* None.
class partition_reader {
public:
    enum class step {
        batch,      // a batch begins; its records follow. What was decompressed for the batch
                    // before is gone, unless `take_decompressed` took it
        record,     // a record
        passed,     // a batch was passed over, or is over; the position stands behind it
        end,        // everything was read
        old_format, // from the position on, records are of an old format, not read here
        damaged,    // what stands at the position cannot be read: see `wrong`
    };
    enum class checksums : bool { ignored, checked };

    /// @param codecs outlives the reader, or the call of `use` with another.
    /// @param limit of the decompressed bytes of a batch.
    /// @param check `ignored` is for tests of what the checksum hides.
    explicit partition_reader(decompressor& codecs, std::size_t limit,
                              checksums check = checksums::checked) noexcept
        : codecs_(&codecs),
          limit_(limit),
          check_(check) {}
    /// `use` comes before the first `next`.
    explicit partition_reader(std::size_t limit) noexcept
        : codecs_(nullptr),
          limit_(limit),
          check_(checksums::checked) {}

    /// Decompresses with another one from now on.
    void use(decompressor& codecs) noexcept { codecs_ = &codecs; }

    /// Begins with another answer.
    ///
    /// @param bytes outlive the reading, and the records.
    /// @param position records below are left out.
    /// @param high_watermark of the answer; below 0: unknown.
    /// @param aborted as the answer lists them; of use with `read_committed`.
    /// @param buffers for what is decompressed; outlives the reading. Null: the reader's own is
    /// used again.
    /// @throws std::bad_alloc
    void start(std::string_view bytes, std::int64_t position, std::int64_t high_watermark,
               isolation level, std::span<aborted_transaction const> aborted,
               buffer_pool* buffers = nullptr) {
        aborted_.reset(level == isolation::read_committed ? aborted
                                                          : std::span<aborted_transaction const>{});
        walk_ = batch_walk{bytes, high_watermark};
        position_ = position;
        level_ = level;
        buffers_ = buffers;
        state_ = state::between;
        wrong_ = damage::none;
    }

    /// The next step: at most one batch is passed over by a call, so that the caller can bound what
    /// he does at once.
    ///
    /// @param into set by `step::record`.
    step next(decoded_record& into) noexcept {
        if (state_ == state::within) [[likely]] {
            return next_of_batch(into);
        }
        if (state_ == state::over) {
            return last_;
        }
        return next_batch();
    }

    /// Behind the last record that was given or batch that was passed over: where reading goes on,
    /// whatever ended it. After `damaged` it is the place that cannot be read.
    std::int64_t position() const noexcept { return position_; }
    damage wrong() const noexcept { return wrong_; }
    /// Of the batch that is being read.
    batch_header const& header() const noexcept { return header_; }

    /// Its records, as they are read.
    std::string_view records() const noexcept { return encoded_; }

    /// What was decompressed for this batch: the records point into it. Empty: they point into the
    /// answer.
    byte_buffer take_decompressed() noexcept { return std::exchange(decompressed_, byte_buffer{}); }

private:
    enum class state { between, within, over };

    step finish(step with) noexcept {
        state_ = state::over;
        last_ = with;
        return with;
    }
    step damaged(damage wrong) noexcept {
        drop_decompressed();
        wrong_ = wrong;
        return finish(step::damaged);
    }

    step next_of_batch(decoded_record& into) noexcept {
        for (;;) {
            switch (records_.next(into)) {
            case next_record::record:
                if (into.offset < position_) { // batches are sent whole
                    continue;
                }
                position_ = into.offset + 1;
                return step::record;
            case next_record::damaged:
                return damaged(records_.wrong());
            case next_record::end:
                state_ = state::between;
                return pass();
            }
        }
    }

    /// The batch is done with.
    step pass() noexcept {
        drop_decompressed();
        position_ = (std::max)(position_, header_.next_offset());
        return step::passed;
    }

    step next_batch() noexcept {
        auto const found = walk_.next();
        switch (found.state) {
        case found_batch::kind::nothing:
            return finish(step::end);
        case found_batch::kind::old_format:
            return finish(step::old_format);
        case found_batch::kind::incomplete:
        case found_batch::kind::damaged:
            return damaged(found.wrong);
        case found_batch::kind::whole:
            break;
        }
        if (check_ == checksums::checked && !found.checksum_fits()) {
            return damaged(damage::checksum);
        }
        header_ = found.header;
        if (header_.next_offset() <= position_) {
            return step::passed;
        }
        if (header_.control()) {
            return control_batch(found);
        }
        if (level_ == isolation::read_committed && header_.transactional() &&
            aborted_.contains(header_.producer, header_.last_offset())) {
            return pass();
        }
        if (auto const wrong = open(found); wrong != damage::none) {
            return damaged(wrong);
        }
        state_ = state::within;
        return step::batch;
    }

    /// Nobody keeps between batches what all may use.
    void drop_decompressed() noexcept {
        if (buffers_) {
            buffers_->give_back(take_decompressed());
        }
    }

    /// Makes the records of the batch readable.
    damage open(found_batch const& found) noexcept {
        auto records = found.records();
        decompressed_.clear();
        // What is empty is not compressed either, whatever the attributes say.
        if (header_.codec_number() != 0 && !(header_.count == 0 && records.empty())) {
            if (buffers_) {
                decompressed_ = buffers_->take(usual_size_ != 0 ? usual_size_ : 4 * records.size());
            }
            switch ((*codecs_)(static_cast<codec>(header_.codec_number()), records, limit_,
                               decompressed_)) {
            case decompress_result::ok:
                records = decompressed_.view();
                usual_size_ = records.size() + records.size() / 8; // the next one may be larger
                break;
            case decompress_result::malformed:
                return damage::compression;
            case decompress_result::unknown_codec:
                return damage::unknown_codec;
            case decompress_result::too_large:
                return damage::too_large;
            case decompress_result::no_memory:
                return damage::no_memory;
            }
        }
        encoded_ = records;
        records_ = record_reader{header_, records};
        return damage::none;
    }

    step control_batch(found_batch const& found) noexcept {
        if (auto const wrong = open(found); wrong != damage::none) {
            return damaged(wrong);
        }
        decoded_record marker;
        switch (records_.next(marker)) {
        case next_record::damaged:
            return damaged(records_.wrong());
        case next_record::end: // compacted away
            return pass();
        case next_record::record:
            break;
        }
        wire_reader key{marker.key.value_or(std::string_view{})};
        auto const version = key.int16();
        auto const type = key.int16();
        if (key.failed() || version < 0) {
            return damaged(damage::control);
        }
        constexpr std::int16_t abort = 0; // others, even unknown ones, need nothing
        if (type == abort) {
            aborted_.end(header_.producer, header_.last_offset());
        }
        return pass();
    }

    decompressor* codecs_;
    std::size_t limit_;
    checksums check_;
    isolation level_ = isolation::read_committed;
    state state_ = state::over;
    step last_ = step::end;
    damage wrong_ = damage::none;
    std::int64_t position_ = 0;
    batch_walk walk_;
    aborted_transactions aborted_;
    batch_header header_;
    buffer_pool* buffers_ = nullptr;
    byte_buffer decompressed_;
    std::size_t usual_size_ = 0; // of what is decompressed
    std::string_view encoded_;
    record_reader records_;
};

} // namespace kgroup::detail::fetch
