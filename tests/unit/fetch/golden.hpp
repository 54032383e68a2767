// SPDX-License-Identifier: MIT

#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

#include "golden_bytes.hpp"

namespace kgroup::tests {

/// Bytes as Kafka's own classes write them, see GoldenBytes.java.
inline std::string golden(std::string_view name) {
    for (auto const& [found, hex] : golden_bytes) {
        if (found == name) {
            std::string result;
            for (std::size_t i = 0; i != hex.size(); i += 2) {
                result += static_cast<char>(std::stoi(std::string{hex.substr(i, 2)}, nullptr, 16));
            }
            return result;
        }
    }
    throw std::invalid_argument{"no golden bytes of this name: " + std::string{name}};
}

} // namespace kgroup::tests
