// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/detail/separate_compilation.hpp>
#include <kgroup/error.hpp>

#include <librdkafka/rdkafka.h>

#include <string>

namespace kgroup::detail {

KGROUP_INLINE std::string text_of_kafka_error(int code) {
    auto const native = static_cast<rd_kafka_resp_err_t>(code);
    return std::string{rd_kafka_err2str(native)} + " (" + rd_kafka_err2name(native) + ")";
}

} // namespace kgroup::detail
