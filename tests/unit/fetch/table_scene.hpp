// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/answer_memory.hpp>
#include <kgroup/detail/fetch/inquiry.hpp>
#include <kgroup/detail/fetch/known_brokers.hpp>
#include <kgroup/detail/fetch/metadata_schedule.hpp>
#include <kgroup/detail/fetch/partition_orders.hpp>
#include <kgroup/detail/fetch/partition_table.hpp>
#include <kgroup/topic_partition.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "support/reading_sink.hpp"

namespace kgroup::tests {

/// Partitions that are fetched, without brokers that answer, in the test's time.
struct table_scene {
    static constexpr auto never = (detail::fetch::time_point::max)();

    std::shared_ptr<detail::fetch::answer_memory> memory =
        std::make_shared<detail::fetch::answer_memory>(std::size_t{1} << 20);
    detail::fetch::metadata_schedule metadata{std::chrono::minutes{5}};
    detail::fetch::partition_table partitions{
        {.reset = detail::fetch::reset_policy::earliest}, memory, metadata};
    detail::fetch::known_brokers brokers{""};
    detail::fetch::partition_orders orders;
    std::map<topic_partition, std::shared_ptr<reading_sink>> sinks;
    std::uint64_t ticket = 0; // of the newest start
    detail::fetch::time_point now{std::chrono::hours{1}};

    /// The brokers 1 … `count`.
    void name_brokers(std::int32_t count) {
        std::vector<detail::fetch::metadata_answer::broker> told;
        for (std::int32_t id = 1; id <= count; ++id) {
            told.push_back({id, "host", 9092});
        }
        brokers.take(told, [](detail::fetch::known_broker&) {});
    }
    /// Begins to fetch; what is brought is kept.
    reading_sink& start(topic_partition const& name, std::int64_t from, std::int32_t epoch = -1) {
        auto& sink = sinks[name];
        sink = std::make_shared<reading_sink>();
        sink->keeps = true;
        orders.start(name, {++ticket, from, epoch, sink});
        carry_out();
        return *sink;
    }
    /// The same, of a partition whose leader is known.
    reading_sink& start_at(std::int32_t leader, topic_partition const& name, std::int64_t from,
                           std::int32_t epoch = -1) {
        auto& sink = start(name, from, epoch);
        at(name).on_metadata(leader, 5, id_of(name.topic));
        return sink;
    }
    void carry_out() {
        orders.take([&](auto& order) { partitions.carry_out(order, now); });
    }
    detail::fetch::fetched_partition& at(topic_partition const& name) {
        return *partitions.all().at(name);
    }
    /// An id for each name.
    static detail::fetch::topic_uuid id_of(std::string const& topic) {
        detail::fetch::topic_uuid result{};
        auto const size = (std::min)(topic.size(), result.size());
        std::copy_n(topic.begin(), size, result.begin());
        return result;
    }
    /// Asks the broker all that may be asked by the key.
    detail::fetch::inquiry ask(detail::fetch::api key, std::int32_t broker,
                               detail::fetch::broker_abilities abilities = {}) {
        std::vector<detail::fetch::fetch_turns::turn> taken;
        if (key == detail::fetch::api::fetch) {
            partitions.turns().take_fetches(broker, now, abilities, taken);
        } else {
            partitions.turns().take_others(key, broker, now, abilities, taken);
        }
        return detail::fetch::inquiry{key, taken};
    }
    detail::fetch::inquiry ask_with_promise(std::int32_t broker, std::size_t bytes) {
        auto asked = ask(detail::fetch::api::fetch, broker);
        memory->promise(bytes);
        asked.promised = bytes;
        return asked;
    }
    /// No request for metadata is due, until something wants it.
    void settle_metadata() {
        metadata.asked(now);
        metadata.answered(true);
    }
};

} // namespace kgroup::tests
