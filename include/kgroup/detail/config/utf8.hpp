// SPDX-License-Identifier: MIT

#pragma once

#include <cstddef>
#include <string_view>

namespace kgroup::detail {

/// How many bytes the first character of a text has; 0: none begins there, as UTF-8 has it (no
/// longer forms, no surrogates).
inline std::size_t utf8_length(std::string_view text) noexcept {
    auto const byte = [&](std::size_t index) {
        return index < text.size() ? static_cast<unsigned char>(text[index]) : 0u;
    };
    auto const follows = [&](std::size_t index) { return (byte(index) & 0xc0u) == 0x80u; };
    auto const first = byte(0);
    if (text.empty()) {
        return 0;
    }
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first <= 0xdf && follows(1)) {
        return 2;
    }
    if ((first & 0xf0u) == 0xe0u && follows(1) && follows(2)) {
        auto const longer = first == 0xe0 && byte(1) < 0xa0;
        auto const surrogate = first == 0xed && byte(1) > 0x9f;
        return longer || surrogate ? 0 : 3;
    }
    if (first >= 0xf0 && first <= 0xf4 && follows(1) && follows(2) && follows(3)) {
        auto const longer = first == 0xf0 && byte(1) < 0x90;
        auto const beyond = first == 0xf4 && byte(1) > 0x8f;
        return longer || beyond ? 0 : 4;
    }
    return 0;
}

} // namespace kgroup::detail
