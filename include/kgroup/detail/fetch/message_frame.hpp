// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/api.hpp>
#include <kgroup/detail/fetch/wire_reader.hpp>
#include <kgroup/detail/fetch/wire_writer.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kgroup::detail::fetch {

/// How reading an answer ended.
enum class read_result {
    ok,
    malformed,         // it ends too early, or holds what no value of its type is
    wrong_correlation, // it answers another request
};

/// One request in a frame. Writes the length and the header, then `body` the rest; the length is
/// set by `finish`.
class request_frame {
public:
    /// @param into is emptied; its memory is used again.
    request_frame(std::string& into, api key, std::int16_t version, std::int32_t correlation,
                  std::string_view client_id)
        : into_(into),
          body_(into, encoding_of(key, version)) {
        into.clear();
        // The client's id is of the classic encoding in every header.
        wire_writer head{into};
        head.int32(0).int16(static_cast<std::int16_t>(key)).int16(version);
        head.int32(correlation).text(client_id);
        body_.end_structure();
    }
    request_frame(request_frame const&) = delete;
    request_frame& operator=(request_frame const&) = delete;

    wire_writer& body() noexcept { return body_; }

    /// Ends the request.
    void finish() {
        body_.end_structure();
        auto const size = into_.size() - 4;
        if (size > static_cast<std::size_t>((std::numeric_limits<std::int32_t>::max)())) {
            throw std::length_error{"a request too long for Kafka's protocol"};
        }
        std::string length;
        wire_writer{length}.int32(static_cast<std::int32_t>(size));
        into_.replace(0, 4, length);
    }

private:
    std::string& into_;
    wire_writer body_;
};

/// What the four bytes in front of an answer say.
///
/// @return nullopt: no answer has this length, or it is above `limit`. The connection is to be
/// closed: where the next answer begins is unknown.
inline std::optional<std::size_t> frame_size(std::string_view four_bytes,
                                             std::size_t limit) noexcept {
    wire_reader reader{four_bytes};
    auto const size = reader.int32();
    if (reader.failed() || size < 4 || static_cast<std::size_t>(size) > limit) {
        return std::nullopt;
    }
    return static_cast<std::size_t>(size);
}

/// Reads the header of an answer; then it reads the body.
struct answer_frame {
    wire_reader body;
    read_result result;

    /// @param frame what follows the length.
    answer_frame(std::string_view frame, api key, std::int16_t version,
                 std::int32_t correlation) noexcept
        : body(frame, encoding_of(key, version)),
          result(read_result::ok) {
        auto const found = body.int32();
        if (key != api::api_versions) { // its header never has tagged fields: who asks may not
            body.end_structure();       // know yet what the broker speaks
        }
        if (body.failed()) {
            result = read_result::malformed;
        } else if (found != correlation) {
            result = read_result::wrong_correlation;
        }
    }

    /// How reading ended, when the body was read.
    read_result finish() noexcept {
        if (result == read_result::ok && body.failed()) {
            result = read_result::malformed;
        }
        return result;
    }
};

} // namespace kgroup::detail::fetch
