// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/codecs.hpp>
#include <kgroup/detail/fetch/wire_writer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kgroup::tests {

inline std::string gzip(std::string_view bytes) {
    z_stream stream{};
    if (deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        throw std::runtime_error{"deflateInit2"};
    }
    std::string result(deflateBound(&stream, static_cast<uLong>(bytes.size())), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    stream.next_out = reinterpret_cast<Bytef*>(result.data());
    stream.avail_out = static_cast<uInt>(result.size());
    auto const status = deflate(&stream, Z_FINISH);
    result.resize(stream.total_out);
    deflateEnd(&stream);
    if (status != Z_STREAM_END) {
        throw std::runtime_error{"deflate"};
    }
    return result;
}

inline std::string snappy_raw(std::string_view bytes) {
    std::string result(snappy_max_compressed_length(bytes.size()), '\0');
    auto size = result.size();
    snappy_compress(bytes.data(), bytes.size(), result.data(), &size);
    result.resize(size);
    return result;
}

/// As Java writes it, in chunks.
inline std::string snappy_chunks(std::string_view bytes, std::size_t chunk) {
    std::string result{"\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16};
    detail::fetch::wire_writer out{result};
    for (; !bytes.empty(); bytes.remove_prefix((std::min)(chunk, bytes.size()))) {
        auto const compressed = snappy_raw(bytes.substr(0, chunk));
        out.int32(static_cast<std::int32_t>(compressed.size())).raw(compressed);
    }
    return result;
}

struct lz4_options {
    bool linked = false;
    bool content_size = false;
    bool content_checksum = false;
    bool block_checksum = false;
    bool large_blocks = false;
};

inline std::string lz4_frame(std::string_view bytes, lz4_options options = {}) {
    LZ4F_preferences_t preferences{};
    preferences.frameInfo.blockMode = options.linked ? LZ4F_blockLinked : LZ4F_blockIndependent;
    preferences.frameInfo.contentSize = options.content_size ? bytes.size() : 0;
    preferences.frameInfo.contentChecksumFlag =
        options.content_checksum ? LZ4F_contentChecksumEnabled : LZ4F_noContentChecksum;
    preferences.frameInfo.blockChecksumFlag =
        options.block_checksum ? LZ4F_blockChecksumEnabled : LZ4F_noBlockChecksum;
    preferences.frameInfo.blockSizeID = options.large_blocks ? LZ4F_max1MB : LZ4F_max64KB;
    // In pieces: the call for a whole frame in one piece makes its blocks independent.
    LZ4F_cctx* context = nullptr;
    LZ4F_createCompressionContext(&context, LZ4F_VERSION);
    std::string result(LZ4F_compressBound(bytes.size(), &preferences) + 64, '\0');
    auto size = LZ4F_compressBegin(context, result.data(), result.size(), &preferences);
    for (auto left = bytes; !left.empty();) {
        auto const piece = left.substr(0, 40'000);
        result.resize(size + LZ4F_compressBound(piece.size(), &preferences) + 64);
        size += LZ4F_compressUpdate(context, result.data() + size, result.size() - size,
                                    piece.data(), piece.size(), nullptr);
        left.remove_prefix(piece.size());
    }
    result.resize(size + LZ4F_compressBound(0, &preferences) + 64);
    size += LZ4F_compressEnd(context, result.data() + size, result.size() - size, nullptr);
    LZ4F_freeCompressionContext(context);
    result.resize(size);
    return result;
}

/// With the size of the content in the frame.
inline std::string zstd_block(std::string_view bytes, int level = 3) {
    std::string result(ZSTD_compressBound(bytes.size()), '\0');
    result.resize(ZSTD_compress(result.data(), result.size(), bytes.data(), bytes.size(), level));
    return result;
}

/// Without, as Java's streams write it.
inline std::string zstd_stream(std::string_view bytes, int level = 3, int window_log = 0) {
    auto* const context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    if (window_log != 0) {
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    }
    std::string result(ZSTD_compressBound(bytes.size()) + 64, '\0');
    ZSTD_outBuffer out{result.data(), result.size(), 0};
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue);
    ZSTD_compressStream2(context, &out, &in, ZSTD_e_end);
    ZSTD_freeCCtx(context);
    result.resize(out.pos);
    return result;
}

inline std::string compressed(detail::fetch::codec how, std::string_view bytes) {
    using detail::fetch::codec;
    switch (how) {
    case codec::none:
        break;
    case codec::gzip:
        return gzip(bytes);
    case codec::snappy:
        return snappy_raw(bytes);
    case codec::lz4:
        return lz4_frame(bytes);
    case codec::zstd:
        return zstd_stream(bytes);
    }
    return std::string{bytes};
}

} // namespace kgroup::tests
