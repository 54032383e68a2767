// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/error.hpp>

#include <librdkafka/rdkafka.h>

#include <system_error>

namespace kgroup {

/// Wraps a code of librdkafka, which may be 0.
inline std::error_code make_error_code(rd_kafka_resp_err_t value) noexcept {
    return {static_cast<int>(value), kafka_category()};
}

} // namespace kgroup
