// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/byte_buffer.hpp>
#include <kgroup/detail/fetch/wire_reader.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <lz4frame.h>
#include <memory>
#include <snappy-c.h>
#include <string_view>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

namespace kgroup::detail::fetch {

/// How the records of a batch are compressed, by the protocol's numbers.
enum class codec : std::uint8_t { none = 0, gzip = 1, snappy = 2, lz4 = 3, zstd = 4 };

enum class decompress_result {
    ok,
    malformed,
    unknown_codec,
    too_large, // more than the limit
    no_memory,
};

/// Decompresses the records of batches. Keeps the libraries' states for the next batch.
///
/// *Thread safety.* None: one a thread, or a strand.
class decompressor {
public:
    decompressor() = default;
    decompressor(decompressor const&) = delete;
    decompressor& operator=(decompressor const&) = delete;
    ~decompressor() {
        if (gzip_begun_) {
            inflateEnd(&gzip_);
        }
    }

    /// @param limit at most so many bytes are made. Never are more than these allocated.
    /// @param into is emptied; its memory is used again. On failure it holds nothing of use.
    decompress_result operator()(codec kind, std::string_view compressed, std::size_t limit,
                                 byte_buffer& into) noexcept {
        into.clear();
        // zlib and snappy count in ints.
        limit = (std::min)(limit, std::size_t{(std::numeric_limits<std::int32_t>::max)()});
        if (compressed.size() > std::size_t{(std::numeric_limits<std::int32_t>::max)()}) {
            return decompress_result::too_large;
        }
        switch (kind) {
        case codec::none:
            break;
        case codec::gzip:
            return gzip(compressed, limit, into);
        case codec::snappy:
            return snappy(compressed, limit, into);
        case codec::lz4:
            return lz4(compressed, limit, into);
        case codec::zstd:
            return zstd(compressed, limit, into);
        }
        return decompress_result::unknown_codec;
    }

private:
    /// Makes room for more, so that each byte is moved a constant number of times. false: there is
    /// no memory.
    static bool make_room(std::size_t first, std::size_t limit, byte_buffer& into) noexcept {
        return into.reserve((std::min)((std::max)(first, 2 * into.size()), limit));
    }
    /// Room for what compresses four times, to begin with.
    static std::size_t first_room(std::string_view compressed) noexcept {
        return 4 * compressed.size() + 512;
    }
    /// The free part within the limit.
    static std::size_t room(byte_buffer const& into, std::size_t limit) noexcept {
        return (std::min)(into.capacity(), (std::max)(limit, into.size())) - into.size();
    }

    /// Of one member or several. What stands behind them is ignored, as Java's clients do.
    decompress_result gzip(std::string_view compressed, std::size_t limit,
                           byte_buffer& into) noexcept {
        if (!gzip_begun_) {
            if (inflateInit2(&gzip_, 16 + MAX_WBITS) != Z_OK) {
                return decompress_result::no_memory;
            }
            gzip_begun_ = true;
        } else {
            inflateReset(&gzip_);
        }
        gzip_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
        gzip_.avail_in = static_cast<uInt>(compressed.size());
        for (;;) {
            bool const full = room(into, limit) == 0;
            if (full && into.size() < limit) {
                if (!make_room(first_room(compressed), limit, into)) {
                    return decompress_result::no_memory;
                }
                continue;
            }
            // At the limit the end may still be to come: it needs a place that stays empty.
            Bytef beyond = 0;
            auto const offered = full ? std::size_t{1} : room(into, limit);
            gzip_.next_out = full ? &beyond : reinterpret_cast<Bytef*>(into.free_begin());
            gzip_.avail_out = static_cast<uInt>(offered);
            auto const status = inflate(&gzip_, Z_NO_FLUSH);
            auto const written = offered - gzip_.avail_out;
            if (full && written != 0) {
                return decompress_result::too_large;
            }
            if (!full) {
                into.grow(written);
            }
            if (status == Z_MEM_ERROR) {
                return decompress_result::no_memory;
            }
            if (status == Z_STREAM_END) {
                bool const another =
                    gzip_.avail_in >= 2 && gzip_.next_in[0] == 0x1f && gzip_.next_in[1] == 0x8b;
                if (!another) {
                    return decompress_result::ok;
                }
                inflateReset(&gzip_);
            } else if (status != Z_OK || (gzip_.avail_in == 0 && written == 0)) {
                return decompress_result::malformed; // or it ends too early
            }
        }
    }

    /// Raw, or in chunks as the Java library writes it ("xerial").
    static decompress_result snappy(std::string_view compressed, std::size_t limit,
                                    byte_buffer& into) noexcept {
        constexpr std::string_view magic{"\x82SNAPPY\0", 8};
        if (!compressed.starts_with(magic)) {
            return snappy_block(compressed, limit, into);
        }
        wire_reader reader{compressed};
        while (reader.remaining() != 0) {
            auto const size = reader.int32();
            if (size == static_cast<std::int32_t>(0x82534e41)) { // a header: its first four bytes.
                reader.view(12); // the rest of the magic, and two versions
            } else if (size < 0) {
                return decompress_result::malformed;
            } else if (auto const block = reader.view(static_cast<std::size_t>(size));
                       !reader.failed()) {
                if (auto const result = snappy_block(block, limit, into);
                    result != decompress_result::ok) {
                    return result;
                }
            }
            if (reader.failed()) {
                return decompress_result::malformed;
            }
        }
        return decompress_result::ok;
    }
    static decompress_result snappy_block(std::string_view compressed, std::size_t limit,
                                          byte_buffer& into) noexcept {
        std::size_t size = 0;
        if (snappy_uncompressed_length(compressed.data(), compressed.size(), &size) != SNAPPY_OK) {
            return decompress_result::malformed;
        }
        // Three bytes stand for 64 at most: what says more of itself is not believed.
        if (size / 32 > compressed.size()) {
            return decompress_result::malformed;
        }
        if (size > limit - into.size()) {
            return decompress_result::too_large;
        }
        if (!into.reserve((std::max)(into.size() + size, std::size_t{1}))) {
            return decompress_result::no_memory;
        }
        auto written = size;
        if (snappy_uncompress(compressed.data(), compressed.size(), into.free_begin(), &written) !=
            SNAPPY_OK) {
            return decompress_result::malformed;
        }
        into.grow(written);
        return decompress_result::ok;
    }

    decompress_result lz4(std::string_view compressed, std::size_t limit,
                          byte_buffer& into) noexcept {
        auto const result = lz4_frames(compressed, limit, into);
        if (result != decompress_result::ok) {
            // What is left of a frame that was not read to its end makes the next one damaged, too:
            // LZ4F_resetDecompressionContext keeps how much of it was to come.
            lz4_.reset();
        }
        return result;
    }
    /// Of one frame or several.
    decompress_result lz4_frames(std::string_view compressed, std::size_t limit,
                                 byte_buffer& into) noexcept {
        if (!lz4_) {
            LZ4F_dctx* made = nullptr;
            if (LZ4F_isError(LZ4F_createDecompressionContext(&made, LZ4F_VERSION))) {
                return decompress_result::no_memory;
            }
            lz4_.reset(made);
        }
        auto const* next = compressed.data();
        auto left = compressed.size();
        if (left == 0) {
            return decompress_result::malformed;
        }
        for (;;) {
            bool const full = room(into, limit) == 0;
            if (full && into.size() < limit) {
                if (!make_room(first_room(compressed), limit, into)) {
                    return decompress_result::no_memory;
                }
                continue;
            }
            char beyond = 0;
            auto written = full ? std::size_t{1} : room(into, limit);
            auto read = left;
            auto const status = LZ4F_decompress(lz4_.get(), full ? &beyond : into.free_begin(),
                                                &written, next, &read, nullptr);
            if (LZ4F_isError(status)) {
                std::string_view const name{LZ4F_getErrorName(status)};
                return name == "ERROR_allocation_failed" ? decompress_result::no_memory
                                                         : decompress_result::malformed;
            }
            if (full && written != 0) {
                return decompress_result::too_large;
            }
            if (!full) {
                into.grow(written);
            }
            next += read;
            left -= read;
            if (status == 0 && left == 0) {
                return decompress_result::ok;
            }
            if (read == 0 && written == 0) {
                return decompress_result::malformed; // it ends too early
            }
        }
    }

    /// Of one frame or several, with skippable ones. In one piece: so the window is the output, and
    /// no memory is needed beside it, however large a window the frame asks for.
    decompress_result zstd(std::string_view compressed, std::size_t limit,
                           byte_buffer& into) noexcept {
        if (!zstd_) {
            zstd_.reset(ZSTD_createDCtx());
            if (!zstd_) {
                return decompress_result::no_memory;
            }
        }
        auto wanted = first_room(compressed);
        // Frames of streams do not say their size. What the first one says is no more than a hint:
        // of several it is not the whole, and it may lie.
        auto const said = ZSTD_getFrameContentSize(compressed.data(), compressed.size());
        if (said != ZSTD_CONTENTSIZE_ERROR && said != ZSTD_CONTENTSIZE_UNKNOWN &&
            said <= compressed.size() * zstd_believable) {
            wanted = (std::max)(static_cast<std::size_t>(said), std::size_t{1});
        }
        for (;; wanted *= 2) {
            wanted = (std::min)(wanted, limit);
            if (!into.reserve((std::max)(wanted, std::size_t{1}))) {
                return decompress_result::no_memory;
            }
            auto const offered = room(into, limit);
            auto const size = ZSTD_decompressDCtx(zstd_.get(), into.free_begin(), offered,
                                                  compressed.data(), compressed.size());
            if (!ZSTD_isError(size)) {
                into.grow(size);
                return decompress_result::ok;
            }
            switch (ZSTD_getErrorCode(size)) {
            case ZSTD_error_dstSize_tooSmall:
                if (offered >= limit) {
                    return decompress_result::too_large;
                }
                wanted = (std::max)(wanted, offered);
                break;
            case ZSTD_error_memory_allocation:
                return decompress_result::no_memory;
            default:
                return decompress_result::malformed;
            }
        }
    }

    static constexpr std::size_t zstd_believable = 1024;

    struct lz4_deleter {
        void operator()(LZ4F_dctx* context) const noexcept {
            LZ4F_freeDecompressionContext(context);
        }
    };
    struct zstd_deleter {
        void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
    };

    z_stream gzip_{};
    bool gzip_begun_ = false;
    std::unique_ptr<LZ4F_dctx, lz4_deleter> lz4_;
    std::unique_ptr<ZSTD_DCtx, zstd_deleter> zstd_;
};

} // namespace kgroup::detail::fetch
