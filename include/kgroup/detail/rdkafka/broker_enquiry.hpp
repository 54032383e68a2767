// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/rdkafka/handle.hpp>

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

namespace kgroup::detail {

/// Finds out when a broker answers again. librdkafka reports the begin of an outage by itself, but
/// its end only to a caller that asks, and asking blocks. So a thread asks. It ends when a broker
/// has answered, or within a second after the answer is not needed any more.
class broker_enquiry {
public:
    /// `answered` is called on the thread, once, and must do nothing but post. Throws when there is
    /// no thread, or no memory for one.
    broker_enquiry(std::shared_ptr<rdkafka_handle> handle, std::function<void()> answered) {
        std::thread{[state = state_, handle = std::move(handle),
                     answered = std::move(answered)]() mutable {
            while (!state->over && !ask(handle->get())) {
                std::this_thread::sleep_for(std::chrono::milliseconds{100});
            }
            handle.reset(); // before the answer: who gets it may wait for the last of them
            if (!state->over) {
                state->answered = true;
                answered();
            }
        }}.detach();
    }
    broker_enquiry(broker_enquiry const&) = delete;
    broker_enquiry& operator=(broker_enquiry const&) = delete;
    ~broker_enquiry() { state_->over = true; }

    bool answered() const noexcept { return state_->answered; }

private:
    struct state {
        std::atomic<bool> over{false};
        std::atomic<bool> answered{false};
    };

    static bool ask(rd_kafka_t* handle) noexcept {
        constexpr int limit_ms = 1000;
        rd_kafka_metadata_t const* metadata = nullptr;
        if (rd_kafka_metadata(handle, 0, nullptr, &metadata, limit_ms) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            return false;
        }
        rd_kafka_metadata_destroy(metadata);
        return true;
    }

    std::shared_ptr<state> state_ = std::make_shared<state>();
};

} // namespace kgroup::detail
