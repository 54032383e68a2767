// SPDX-License-Identifier: MIT

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define KGROUP_CRC32C_TARGET __attribute__((target("sse4.2")))
#elif defined(__ARM_FEATURE_CRC32)
#define KGROUP_CRC32C_TARGET
#include <arm_acle.h>
#endif

namespace kgroup::detail::fetch {

/// For the byte that is so many bytes in front of the last one of a step.
using crc32c_tables_type = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr crc32c_tables_type make_crc32c_tables() noexcept {
    crc32c_tables_type made{};
    for (std::uint32_t byte = 0; byte != 256; ++byte) {
        auto crc = byte;
        for (int bit = 0; bit != 8; ++bit) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        }
        made[0][byte] = crc;
    }
    for (std::size_t byte = 0; byte != 256; ++byte) {
        for (std::size_t i = 1; i != made.size(); ++i) {
            made[i][byte] = made[i - 1][byte] >> 8 ^ made[0][made[i - 1][byte] & 0xff];
        }
    }
    return made;
}

inline constexpr crc32c_tables_type crc32c_tables = make_crc32c_tables();

/// CRC-32C (Castagnoli) by tables: eight bytes a step, on every machine.
class crc32c_by_table {
public:
    static std::uint32_t of(std::string_view bytes) noexcept {
        auto const& tables = crc32c_tables;
        auto crc = ~std::uint32_t{0};
        auto const* next = reinterpret_cast<unsigned char const*>(bytes.data());
        auto left = bytes.size();
        for (; left >= 8; left -= 8, next += 8) {
            crc ^= std::uint32_t{next[0]} | std::uint32_t{next[1]} << 8 |
                   std::uint32_t{next[2]} << 16 | std::uint32_t{next[3]} << 24;
            crc = tables[7][crc & 0xff] ^ tables[6][crc >> 8 & 0xff] ^ tables[5][crc >> 16 & 0xff] ^
                  tables[4][crc >> 24] ^ tables[3][next[4]] ^ tables[2][next[5]] ^
                  tables[1][next[6]] ^ tables[0][next[7]];
        }
        for (; left != 0; --left) {
            crc = crc >> 8 ^ tables[0][(crc ^ *next++) & 0xff];
        }
        return ~crc;
    }
};

#ifdef KGROUP_CRC32C_TARGET
/// What so many zero bytes make of a checksum: the checksum of two pieces is that of the first,
/// moved on by the second's length, xor that of the second, begun at zero.
class crc32c_shift {
public:
    /// @param zeros a power of two
    explicit constexpr crc32c_shift(std::size_t zeros) noexcept {
        std::array<std::uint32_t, 32> bits{}; // what becomes of each bit: by one zero bit at first
        bits[0] = 0x82f63b78u;
        for (std::size_t i = 1; i != bits.size(); ++i) {
            bits[i] = std::uint32_t{1} << (i - 1);
        }
        for (auto left = 8 * zeros; left != 1; left /= 2) { // by twice as many
            auto const before = bits;
            for (auto& bit : bits) {
                bit = product(before, bit);
            }
        }
        for (std::uint32_t byte = 0; byte != 256; ++byte) {
            for (std::size_t i = 0; i != tables_.size(); ++i) {
                tables_[i][byte] = product(bits, byte << (8 * i));
            }
        }
    }
    constexpr std::uint32_t operator()(std::uint32_t crc) const noexcept {
        return tables_[0][crc & 0xff] ^ tables_[1][crc >> 8 & 0xff] ^ tables_[2][crc >> 16 & 0xff] ^
               tables_[3][crc >> 24];
    }

private:
    static constexpr std::uint32_t product(std::array<std::uint32_t, 32> const& bits,
                                           std::uint32_t crc) noexcept {
        std::uint32_t result = 0;
        for (std::size_t i = 0; crc != 0; ++i, crc >>= 1) {
            result ^= crc & 1 ? bits[i] : 0;
        }
        return result;
    }

    std::array<std::array<std::uint32_t, 256>, 4> tables_{};
};

/// By the processor's own instruction; only where it is `available`. Three pieces at a time: each
/// step of one waits three cycles for the step before, and one can begin in every cycle. The next
/// three are fetched from memory meanwhile: the processor foresees no reader of three places.
class crc32c_by_instruction {
public:
    static bool available() noexcept {
#ifdef __ARM_FEATURE_CRC32
        return true;
#else
        static bool const found = __builtin_cpu_supports("sse4.2") != 0;
        return found;
#endif
    }
    KGROUP_CRC32C_TARGET static std::uint32_t of(std::string_view bytes) noexcept {
        auto const* next = bytes.data();
        auto left = bytes.size();
        auto crc = ~std::uint32_t{0};
        for (; left >= 3 * piece; left -= 3 * piece, next += 3 * piece) {
            std::uint32_t second = 0;
            std::uint32_t third = 0;
            for (std::size_t line = 0; line != piece; line += cache_line) {
                for (std::size_t ahead = 3; ahead != 6; ++ahead) {
                    __builtin_prefetch(next + ahead * piece + line);
                }
                for (std::size_t i = line; i != line + cache_line; i += 8) {
                    crc = step(crc, word_at(next + i));
                    second = step(second, word_at(next + piece + i));
                    third = step(third, word_at(next + 2 * piece + i));
                }
            }
            crc = over_piece(over_piece(crc) ^ second) ^ third;
        }
        for (; left >= 8; left -= 8, next += 8) {
            crc = step(crc, word_at(next));
        }
        for (; left != 0; --left) {
            crc = step(crc, static_cast<unsigned char>(*next++));
        }
        return ~crc;
    }

private:
    static constexpr std::size_t piece = 1024;
    static constexpr std::size_t cache_line = 64;
    static constexpr crc32c_shift over_piece{piece};

    static std::uint64_t word_at(char const* bytes) noexcept {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes, 8);
        return word;
    }
    KGROUP_CRC32C_TARGET static std::uint32_t step(std::uint32_t crc, std::uint64_t word) noexcept {
#if defined(__ARM_FEATURE_CRC32)
        return __crc32cd(crc, word);
#elif defined(__x86_64__)
        return static_cast<std::uint32_t>(__builtin_ia32_crc32di(crc, word));
#else
        crc = __builtin_ia32_crc32si(crc, static_cast<std::uint32_t>(word));
        return __builtin_ia32_crc32si(crc, static_cast<std::uint32_t>(word >> 32));
#endif
    }
    KGROUP_CRC32C_TARGET static std::uint32_t step(std::uint32_t crc, unsigned char byte) noexcept {
#ifdef __ARM_FEATURE_CRC32
        return __crc32cb(crc, byte);
#else
        return __builtin_ia32_crc32qi(crc, byte);
#endif
    }
};
#endif

/// CRC-32C (Castagnoli), which guards batches of records.
inline std::uint32_t crc32c(std::string_view bytes) noexcept {
#ifdef KGROUP_CRC32C_TARGET
    if (crc32c_by_instruction::available()) {
        return crc32c_by_instruction::of(bytes);
    }
#endif
    return crc32c_by_table::of(bytes);
}

} // namespace kgroup::detail::fetch

#undef KGROUP_CRC32C_TARGET
