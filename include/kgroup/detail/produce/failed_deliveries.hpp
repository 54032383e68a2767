// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/produce/producer_events.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// Failures of records that nobody waits for, told together while they are alike: one event for a
/// run of the same partition and the same error.
class failed_deliveries {
public:
    /// A record was not delivered. What came before is told, unless this one is like it.
    void add(std::string_view topic, std::int32_t partition, std::error_code error,
             producer_events& told) {
        if (topic != topic_ || partition != partition_ || error != error_) {
            tell(told);
            topic_ = topic;
            partition_ = partition;
            error_ = error;
        }
        ++count_;
    }
    /// The run is over.
    void tell(producer_events& told) {
        if (auto const count = std::exchange(count_, 0)) {
            told.deliveries_failed({topic_, partition_}, error_, count);
        }
    }

private:
    std::string topic_;
    std::int32_t partition_ = -1;
    std::error_code error_;
    std::size_t count_ = 0;
};

} // namespace kgroup::detail
