// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/config/config_check.hpp>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace kgroup::detail {

/// A reset of a position, out of the line of its log in which alone librdkafka tells it:
///
///     [thrd:main]: orders [0]: offset reset (at offset 5, broker 1) to END: fetch failed due to …:
///     Broker: Offset out of range
///
/// and since 2.1 `… (at offset 5 (leader epoch 2), broker 1) to cached BEGINNING offset offset 8
/// (leader epoch -1): …`. nullopt: it is another line, or tells of no offset that was read from
/// (the end of a log that could not be asked for).
class reset_line {
public:
    static std::optional<client_position_reset> read(std::string_view text) {
        constexpr std::string_view event{"]: offset reset (at "};
        constexpr std::string_view separator{") to "};
        auto const begin = text.find(event);
        auto const broker = begin == text.npos ? begin : text.find(", broker ", begin);
        auto const target = broker == text.npos ? broker : text.find(separator, broker);
        if (target == text.npos) {
            return std::nullopt;
        }
        auto where = partition(text.substr(0, begin));
        auto const from =
            number(place(text.substr(begin + event.size(), broker - begin - event.size())));
        auto const start = position(place(text.substr(target + separator.size())));
        if (!where || !from || !start) {
            return std::nullopt;
        }
        return client_position_reset{std::move(*where), *from, *start};
    }

private:
    // "orders [0", and whatever stands before
    static std::optional<topic_partition> partition(std::string_view text) {
        auto const bracket = text.rfind(" [");
        if (bracket == text.npos) {
            return std::nullopt;
        }
        auto const index = number(text.substr(bracket + 2));
        auto topic = text.substr(0, bracket);
        topic.remove_prefix(topic.rfind(' ') + 1); // from the beginning, if there is none
        if (!index || topic.empty() || !is_legal_name(topic)) {
            return std::nullopt;
        }
        return topic_partition{topic, static_cast<std::int32_t>(*index)};
    }

    // Without what older and newer versions write around it.
    static std::string_view place(std::string_view text) {
        for (std::string_view const prefix : {"cached BEGINNING offset ", "offset "}) {
            if (text.starts_with(prefix)) {
                text.remove_prefix(prefix.size());
            }
        }
        return text.substr(0, text.find_first_of(" :"));
    }

    static std::optional<std::int64_t> position(std::string_view text) {
        return text == "END"         ? std::optional<std::int64_t>{start_position::log_end}
               : text == "BEGINNING" ? std::optional<std::int64_t>{start_position::log_beginning}
                                     : number(text);
    }

    static std::optional<std::int64_t> number(std::string_view text) {
        std::int64_t value = 0;
        auto const [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
        return failed == std::errc{} && end == text.data() + text.size() && value >= 0
                   ? std::optional{value}
                   : std::nullopt;
    }
};

} // namespace kgroup::detail
