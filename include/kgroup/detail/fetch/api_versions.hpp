// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/message_frame.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kgroup::detail::fetch {

/// What a broker speaks. Asked once a connection, before anything else.
struct api_versions {
    /// 0, or a code of the broker's. With UNSUPPORTED_VERSION (35) the same is asked again in
    /// version 0, or in the highest that the answer names for itself.
    std::int16_t error = 0;
    std::int32_t throttle_ms = 0;
    version_range fetch;
    version_range list_offsets;
    version_range metadata;
    version_range leader_epoch;
    version_range itself;

    version_range* range_of(api key) noexcept {
        switch (key) {
        case api::fetch:
            return &fetch;
        case api::list_offsets:
            return &list_offsets;
        case api::metadata:
            return &metadata;
        case api::leader_epoch:
            return &leader_epoch;
        case api::api_versions:
            return &itself;
        }
        return nullptr;
    }
    /// The version to use with this broker. nullopt: there is none in common.
    std::optional<std::int16_t> use(api key) noexcept {
        return common_version(encoded_versions(key), *range_of(key));
    }
};

/// @param software_version of letters, digits, points and dashes: brokers refuse others.
inline void write_api_versions_request(std::string& into, std::int16_t version,
                                       std::int32_t correlation, std::string_view client_id,
                                       std::string_view software_version) {
    request_frame frame{into, api::api_versions, version, correlation, client_id};
    if (version >= 3) {
        frame.body().text("kgroup").text(software_version);
    }
    frame.finish();
}

inline read_result read_api_versions_answer(std::string_view bytes, std::int16_t version,
                                            std::int32_t correlation, api_versions& into) noexcept {
    into = {};
    answer_frame frame{bytes, api::api_versions, version, correlation};
    if (frame.result != read_result::ok) {
        return frame.result;
    }
    into.error = frame.body.int16();
    if (into.error == 35) { // a broker that does not know the version answers in its first
        wire_reader first{bytes.substr(bytes.size() - frame.body.remaining())};
        for (auto left = first.elements(6); left != 0; --left) {
            auto const key = first.int16();
            version_range const range{first.int16(), first.int16()};
            if (auto* const found = into.range_of(static_cast<api>(key))) {
                *found = range;
            }
        }
        if (first.failed()) { // as librdkafka's mock; the first version itself can be asked
            into = {};
            into.error = 35;
        }
        return read_result::ok;
    }
    for (auto left = frame.body.elements(6); left != 0; --left) {
        auto const key = frame.body.int16();
        auto const lowest = frame.body.int16();
        auto const highest = frame.body.int16();
        frame.body.end_structure();
        if (auto* const found = into.range_of(static_cast<api>(key))) {
            *found = {lowest, highest};
        }
    }
    if (version >= 1) {
        into.throttle_ms = frame.body.int32();
    }
    frame.body.end_structure();
    return frame.finish();
}

} // namespace kgroup::detail::fetch
