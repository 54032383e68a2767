// SPDX-License-Identifier: MIT

// kgroup's producer as its documentation shows it: async_enqueue for each record, async_flush at
// the end, on an io_context run by the main thread.
#include <kgroup/producer.hpp>
#include <kgroup/version.hpp>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <librdkafka/rdkafka.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "arm.h"

namespace {

kgroup::producer_config config_from(arm_options const& options) {
    kgroup::producer_config config{.connection = {.brokers = options.brokers}};
    for (std::size_t index = 0; index < options.property_count; ++index) {
        std::string_view const name = options.properties[index].name;
        if (name == "buffer_bytes")
            config.buffer_bytes = std::stoull(options.properties[index].value);
        else
            config.properties[std::string{name}] = options.properties[index].value;
    }
    return config;
}

asio::awaitable<void> produce(kgroup::producer& out, arm_options const& options, arm_tally& tally) {
    std::unique_ptr<char, decltype(&std::free)> const value{arm_value_of(&options), &std::free};
    tally.first_ns = wall_clock_ns();
    for (std::int64_t number = 0; number < options.messages; ++number) {
        arm_number_value(value.get(), number);
        co_await out.async_enqueue(
            {.topic = options.topic,
             .value = std::string_view{value.get(), options.value_size},
             .partition = static_cast<std::int32_t>(number % options.partitions)});
    }
    co_await out.async_flush();
    tally.last_ns = wall_clock_ns();
    tally.messages = static_cast<std::int64_t>(out.stats().acknowledged);
    tally.bytes = tally.messages * static_cast<std::int64_t>(options.value_size);
}

} // namespace

int main(int argc, char** argv) {
    arm_options const options = arm_parse(argc, argv);
    arm_tally tally = arm_tally_for(&options, 1);
    asio::io_context context{1};
    kgroup::producer out{context, config_from(options)};
    arm_print_assigned(static_cast<std::size_t>(options.partitions));
    asio::co_spawn(context, produce(out, options, tally), [](std::exception_ptr failure) {
        if (failure)
            std::rethrow_exception(failure);
    });
    context.run();
    std::string const client =
        std::string{"kgroup " KGROUP_VERSION_STRING ", librdkafka "} + rd_kafka_version_str();
    arm_print_result(client.c_str(), &tally, 1);
    return 0;
}
