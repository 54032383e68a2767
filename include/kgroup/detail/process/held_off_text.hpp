// SPDX-License-Identifier: MIT

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace kgroup::detail {

/// The words of `processing_held`. `reason`: those of the exception that said `not_now`.
inline std::string held_off_text(std::int64_t offset, std::string_view reason) {
    auto text = "nothing new starts until an attempt has passed: the function said not_now at "
                "offset " +
                std::to_string(offset);
    return reason.empty() ? text : text.append(": ").append(reason);
}

} // namespace kgroup::detail
