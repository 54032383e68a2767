// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/config/internal_topics.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/detail/rdkafka/properties.hpp>
#include <kgroup/error.hpp>

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstddef>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail {

/// A configuration in librdkafka's terms, checked as far as that goes without connecting.
struct rdkafka_settings {
    rdkafka_conf conf;
    std::optional<refill_notice> refill;
    std::chrono::milliseconds max_poll_interval{};
    std::chrono::milliseconds rebalance_deadline{};
    std::size_t block_bytes = 0; // how much a claim drains at a time
    int log_level = 0;           // what the user wants to see of librdkafka's log
    std::string debug; // the contexts of its debug log that the user wants to see, as librdkafka
                       // writes them
    int quiet_log_level = 0; // librdkafka's own, while nobody listens to what was added to these
    std::vector<std::string> warnings; // settings of the user's that are allowed and not safe
};

class rdkafka_settings_maker : private rdkafka_properties {
public:
    static rdkafka_settings make(config const& given) {
        check(given);
        rdkafka_settings_maker self{given};
        self.require_version();
        self.set_defaults();
        self.set_users();
        self.set_ours();
        self.set_log();
        self.hide_internal_topics();
        self.warn();
        self.set_fetch_limit();
        self.set_refill();
        self.check_times();
        self.made_.conf = self.take();
        return std::move(self.made_);
    }

private:
    using milliseconds = std::chrono::milliseconds;

    explicit rdkafka_settings_maker(config const& given)
        : rdkafka_properties(given.properties),
          given_(given) {
        // What one partition may cost. librdkafka counts the bytes of records and not what it keeps
        // beside each, some 450, so the queue is limited by number, too; and one fetch may come on
        // top of a full queue. A fetch must not fill the queue: the next one would be for the other
        // partitions only, and when nothing comes for these it lasts `fetch.wait.max.ms`.
        auto const share = given.buffer_bytes / given.expected_partitions;
        queue_kbytes_ = (std::min<std::size_t>)(share / 2 / 1024, INT_MAX / 1024);
        queue_records_ = std::clamp<std::size_t>(share / 800, 16, 100000);
        fetch_bytes_ = (std::min<std::size_t>)(share / 16, 1000000000);
        // What librdkafka's producers send in one batch: of batches larger than the limit, an
        // answer brings one partition's only.
        constexpr std::size_t usual_batch = 1 << 20;
        if (share / 8 >= usual_batch) {
            fetch_bytes_ = (std::max)(fetch_bytes_, usual_batch);
        }
        made_.block_bytes =
            std::clamp<std::size_t>(share / 8, 4096, 128 * 1024); // with what is kept beside each
    }

    void require_version() const {
        auto const needs = [](int version, char const* text) {
            if (rd_kafka_version() < version) {
                throw std::system_error{errc::unsupported_by_librdkafka,
                                        std::string{text} + ", and this is " +
                                            rd_kafka_version_str()};
            }
        };
        if (rd_kafka_version() >> 8 == 0x020100) {
            throw std::system_error{
                errc::unsupported_by_librdkafka,
                std::string{"librdkafka 2.1.0 does not count the polls of a queue, and evicts a "
                            "member that is idle; this is "} +
                    rd_kafka_version_str()};
        }
        if (given_.protocol == group_protocol::consumer) {
            needs(0x020c0000,
                  "protocol: group_protocol::consumer needs librdkafka 2.12 at run time");
        } else if (given_.assignors.front() == assignor::cooperative_sticky) {
            needs(0x020a0000, "assignors: cooperative_sticky needs librdkafka 2.10 at run time "
                              "(before, a commit during a "
                              "rebalance loses the assignment)");
        }
    }

    // What the user may choose otherwise.
    void set_defaults() {
        set("client.software.name", "kgroup", quietly);
        set("reconnect.backoff.max.ms", "1000",
            quietly); // with the default a 3 s outage can outlast the session
        set("fetch.queue.backoff.ms", "2",
            quietly); // 1 s as librdkafka has it; not to be set before 2.2: see refill_notice
        set("fetch.wait.max.ms", "50",
            quietly); // for so long a fetch for idle partitions keeps the others waiting
        set("queued.min.messages", std::to_string(queue_records_), quietly);
    }

    // What kgroup decides. A property that says the same is no contradiction.
    void set_ours() {
        set_brokers(given_.brokers);
        must("group.id", given_.group_id, "group_id");
        if (!given_.group_instance_id.empty()) {
            must("group.instance.id", given_.group_instance_id, "group_instance_id");
        } else {
            refuse_given("group.instance.id", "group_instance_id");
        }
        switch (*given_.initial_offset) {
        case offset_reset::earliest:
            must("auto.offset.reset", "earliest", "initial_offset");
            break;
        case offset_reset::latest:
            must("auto.offset.reset", "latest", "initial_offset");
            break;
        case offset_reset::none:
            must("auto.offset.reset", "error", "initial_offset");
            break;
        }
        if (given_.protocol == group_protocol::consumer) {
            must("group.protocol", "consumer", "protocol");
            refuse_given("partition.assignment.strategy",
                         "protocol (the broker divides the partitions)");
        } else {
            if (get("group.protocol") != "classic") {
                refuse_given("group.protocol", "protocol");
            }
            std::string names;
            for (auto const strategy : given_.assignors) {
                names += names.empty() ? "" : ",";
                names += strategy == assignor::range        ? "range"
                         : strategy == assignor::roundrobin ? "roundrobin"
                                                            : "cooperative-sticky";
            }
            must("partition.assignment.strategy", names, "assignors");
        }
        must("queued.max.messages.kbytes", std::to_string(queue_kbytes_), "buffer_bytes");
        must("fetch.message.max.bytes", std::to_string(fetch_bytes_), "buffer_bytes");
        refuse_given("max.partition.fetch.bytes", "buffer_bytes");
        constexpr auto marks = "how kgroup commits: it marks and commits by itself";
        must("enable.auto.commit", "false", marks);
        refuse_given("auto.commit.interval.ms", "auto_commit_interval");
        must("enable.auto.offset.store", "false", marks);
        must("enable.partition.eof", "false", "how kgroup reads");
        set_token_provider(given_.oauth_token_provider != nullptr);
        // Without this librdkafka answers rebalances by itself.
        rd_kafka_conf_set_events(conf(), RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_OFFSET_COMMIT |
                                             RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
    }

    // Some things librdkafka says in its log only, at the level of warnings.
    void set_log() {
        constexpr int warning = 4;
        constexpr int debug = 7;
        must("log.queue", "true", "how kgroup learns what happens");
        made_.debug = get("debug");
        made_.log_level = made_.debug.empty() ? static_cast<int>(std::stol(get("log_level")))
                                              : debug; // librdkafka's own rule
        made_.quiet_log_level = (std::max)(made_.log_level, warning);
        set("log_level", std::to_string(made_.quiet_log_level), !quietly);
        // Contexts are fixed at the start, the level is not: it is raised when there is something
        // to find out. They hold no secrets.
        set("debug", made_.debug.empty() ? "cgrp,topic" : "cgrp,topic," + made_.debug, !quietly);
    }

    void hide_internal_topics() {
        if (internal_topics{given_.topics}.hidden()) {
            auto const users = get("topic.blacklist");
            set("topic.blacklist", users.empty() ? "^__" : "^__," + users, !quietly);
        }
    }

    void warn() {
        if (get("check.crcs") == "true") {
            made_.warnings.push_back("properties: check.crcs: when a checksum is wrong librdkafka "
                                     "(2.0 to 2.16) reads on inside the batch, "
                                     "which may end the process by an assertion, or make it read "
                                     "on anywhere in the log; without it checksums "
                                     "are not looked at");
        }
    }

    void set_refill() {
        if (!get("fetch.queue.backoff.ms").empty()) {
            return;
        }
        auto const users = [this](char const* name) {
            auto const found = given_.properties.find(name);
            return found == given_.properties.end() ? std::string{} : found->second;
        };
        refill_notice notice{queue_kbytes_ * 1024 / 2,
                             static_cast<std::size_t>(std::stol(get("queued.min.messages"))) / 2,
                             users("sasl.username"), users("sasl.password")};
        // Kerberos and OAuth have none: they would be given some.
        if (get("security.protocol").starts_with("sasl") &&
            (notice.username.empty() || notice.password.empty())) {
            return;
        }
        made_.refill = std::move(notice);
    }

    // As librdkafka has it, an answer is no larger than one partition's queue: with many
    // partitions, many answers of a few.
    void set_fetch_limit() {
        if (!given_.properties.contains("fetch.max.bytes")) {
            auto const number = [this](char const* name) { return std::stol(get(name)); };
            auto const most =
                static_cast<long>(std::min<std::size_t>(given_.buffer_bytes / 4, 50 << 20));
            // librdkafka refuses what is not between these
            auto const allowed =
                (std::max)((std::min)(most, number("receive.message.max.bytes") - 512),
                           number("message.max.bytes"));
            set("fetch.max.bytes", std::to_string(allowed), !quietly);
        }
    }

    void check_times() {
        made_.max_poll_interval = milliseconds{std::stol(get("max.poll.interval.ms"))};
        made_.rebalance_deadline = rebalance_deadline_of(given_, made_.max_poll_interval);
    }

    config const& given_;
    rdkafka_settings made_;
    std::size_t queue_kbytes_;
    std::size_t queue_records_;
    std::size_t fetch_bytes_;
};

} // namespace kgroup::detail
