// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/rdkafka/producer_handle.hpp>

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// A topic that does not exist has one error, whether the brokers have just said so or librdkafka
/// remembers it.
inline rd_kafka_resp_err_t delivery_error(rd_kafka_resp_err_t err) noexcept {
    return err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC : err;
}

/// One of librdkafka's producers. After a fatal error there is another.
struct native_producer {
    std::unique_ptr<producer_handle> handle;
    std::uint64_t number = 0;    // it is the so-manyth
    std::size_t outstanding = 0; // records that it has
    std::size_t bytes = 0;       // of their keys and values
    std::error_code cause;       // of its end
};

/// The producer that takes records, if there is one, and older ones, which only report the results
/// of theirs.
class native_producers {
public:
    std::shared_ptr<native_producer> const& current() const noexcept { return current_; }
    bool any_retiring() const noexcept { return !retiring_.empty(); }
    std::vector<std::shared_ptr<native_producer>> all() const {
        auto all = retiring_;
        if (current_) {
            all.push_back(current_);
        }
        return all;
    }

    void use(std::shared_ptr<native_producer> made) noexcept { current_ = std::move(made); }
    /// It takes no records any more.
    void retire_current(std::error_code cause) {
        retiring_.push_back(current_);
        current_.reset();
        retiring_.back()->cause = cause;
    }
    /// What is not settled yet fails for this cause.
    void give_up(std::error_code cause) noexcept {
        for (auto const& retiring : retiring_) { // purged already
            retiring->cause = cause;
        }
        if (current_) {
            current_->cause = cause;
            current_->handle->purge();
        }
    }
    /// Those that have nothing left to report.
    std::vector<std::shared_ptr<native_producer>> take_settled() {
        auto const settled =
            std::partition(retiring_.begin(), retiring_.end(),
                           [](auto const& retiring) { return retiring->outstanding != 0; });
        std::vector<std::shared_ptr<native_producer>> taken{settled, retiring_.end()};
        retiring_.erase(settled, retiring_.end());
        return taken;
    }

    std::size_t outstanding() const noexcept { return sum(&native_producer::outstanding); }
    std::size_t bytes() const noexcept { return sum(&native_producer::bytes); }

private:
    std::size_t sum(std::size_t native_producer::*count) const noexcept {
        auto sum = current_ ? (*current_).*count : 0;
        for (auto const& retiring : retiring_) {
            sum += (*retiring).*count;
        }
        return sum;
    }

    std::shared_ptr<native_producer> current_;
    std::vector<std::shared_ptr<native_producer>> retiring_;
};

} // namespace kgroup::detail
