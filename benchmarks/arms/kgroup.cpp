// SPDX-License-Identifier: MIT

// kgroup as its README shows it. --mode record | batch | pool.
//
// record  async_receive and mark for each record, on an io_context run by the main thread.
// batch   async_receive_available, mark of the last one.
// pool    as record, on a thread_pool of two.
//
// KGROUP_ARM_DIRECT: the group fetches its records itself.
#include <kgroup/kgroup.hpp>
#ifdef KGROUP_ARM_DIRECT
#include <kgroup/direct.hpp>
#endif

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/redirect_error.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "arm.h"

namespace {

using namespace std::chrono_literals;

#ifdef KGROUP_ARM_DIRECT
using measured_group = kgroup::direct_consumer_group;
#else
using measured_group = kgroup::consumer_group;
#endif

constexpr std::size_t batch_size = 512;
constexpr std::int64_t publish_interval = 32;

// What one partition's handler has read. Only the handler writes the tally; the published count is
// for the watch.
struct alignas(64) slot {
    arm_tally tally;
    std::atomic<std::int64_t> published{0};

    void take(kgroup::message const& message, std::int32_t partition) {
        std::string_view const value = message.value();
        arm_take(&tally, value.data(), value.size(), partition, message.offset());
        if (tally.messages % publish_interval == 0 || tally.messages == tally.finish)
            published.store(tally.messages, std::memory_order_relaxed);
    }
};

class reader {
public:
    explicit reader(arm_options const& options)
        : slots_(static_cast<std::size_t>(options.partitions)) {
        for (slot& slot : slots_)
            slot.tally = arm_tally_for(&options, options.partitions);
    }

    asio::awaitable<void> setup(kgroup::session& session) {
        arm_print_assigned(session.claims().size());
        co_return;
    }

    std::int64_t published() const {
        std::int64_t total = 0;
        for (slot const& slot : slots_)
            total += slot.published.load(std::memory_order_relaxed);
        return total;
    }

    std::vector<arm_tally> tallies() const {
        std::vector<arm_tally> result;
        for (slot const& slot : slots_)
            result.push_back(slot.tally);
        return result;
    }

protected:
    slot& slot_of(kgroup::claim const& claim) {
        return slots_[static_cast<std::size_t>(claim.partition())];
    }

private:
    std::vector<slot> slots_;
};

struct record_reader : reader {
    using reader::reader;

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        slot& mine = slot_of(claim);
        while (auto message = co_await claim.messages().async_receive()) {
            mine.take(*message, claim.partition());
            claim.mark(*message);
        }
    }
};

struct batch_reader : reader {
    using reader::reader;

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        slot& mine = slot_of(claim);
        for (;;) {
            auto const batch = co_await claim.messages().async_receive_available(batch_size);
            if (batch.empty())
                co_return;
            for (kgroup::message const& message : batch)
                mine.take(message, claim.partition());
            claim.mark(batch.back());
        }
    }
};

kgroup::config config_from(arm_options const& options) {
    kgroup::config config;
    config.brokers = options.brokers;
    config.group_id = options.group;
    config.topics = {options.topic};
    config.initial_offset = kgroup::offset_reset::earliest;
    for (std::size_t index = 0; index < options.property_count; ++index) {
        std::string_view const name = options.properties[index].name;
        std::string const value = options.properties[index].value;
        if (name == "buffer_bytes")
            config.buffer_bytes = std::stoull(value);
        else if (name == "expected_partitions")
            config.expected_partitions = std::stoull(value);
        else
            config.properties[std::string{name}] = value;
    }
    return config;
}

// One member from its start to its end, on `executor`; what is beside the group runs on `beside`,
// one at a time.
template <typename Handler>
class run {
public:
    run(arm_options const& options, asio::any_io_executor executor, asio::any_io_executor beside)
        : options_(options),
          handler_(options),
          group_(executor, config_from(options)),
          signals_(beside, SIGTERM),
          timer_(beside) {
        signals_.async_wait([this](std::error_code error, int) {
            if (!error)
                group_.stop();
        });
        asio::co_spawn(beside, watch(), asio::detached);
        asio::co_spawn(beside, consume(), [](std::exception_ptr failure) {
            if (failure)
                std::rethrow_exception(failure);
        });
    }

    void report() const {
        std::vector<arm_tally> const tallies = handler_.tallies();
        std::string const client =
            std::string{"kgroup " KGROUP_VERSION_STRING ", librdkafka "} + rd_kafka_version_str();
        arm_print_result(client.c_str(), tallies.data(), tallies.size());
        arm_write_samples(&options_, tallies.data(), tallies.size());
    }

private:
    asio::awaitable<void> consume() {
        co_await group_.async_run(handler_);
        over_ = true;
        timer_.cancel();
        signals_.cancel();
    }

    // Stops the group once everything was read, and tells of progress each second.
    asio::awaitable<void> watch() {
        auto reported = std::chrono::steady_clock::now();
        while (!over_) {
            timer_.expires_after(5ms);
            std::error_code error;
            co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, error));
            std::int64_t const read = handler_.published();
            if (options_.messages > 0 && read >= options_.messages)
                group_.stop();
            if (auto const now = std::chrono::steady_clock::now(); now - reported >= 1s) {
                reported = now;
                arm_print_progress(read);
            }
        }
    }

    arm_options options_;
    Handler handler_;
    measured_group group_;
    asio::signal_set signals_;
    asio::steady_timer timer_;
    bool over_ = false;
};

template <typename Handler>
void run_on_one_thread(arm_options const& options) {
    asio::io_context context{1};
    run<Handler> member{options, context.get_executor(), context.get_executor()};
    context.run();
    member.report();
}

template <typename Handler>
void run_on_pool(arm_options const& options) {
    asio::thread_pool pool{2};
    run<Handler> member{options, pool.get_executor(), asio::make_strand(pool)};
    pool.join();
    member.report();
}

} // namespace

int main(int argc, char** argv) {
    arm_options const options = arm_parse(argc, argv);
    std::string_view const mode = options.mode;
    if (mode == "record")
        run_on_one_thread<record_reader>(options);
    else if (mode == "batch")
        run_on_one_thread<batch_reader>(options);
    else if (mode == "pool")
        run_on_pool<record_reader>(options);
    else
        arm_fail("unknown --mode", options.mode);
    return 0;
}
