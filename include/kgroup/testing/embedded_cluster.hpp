// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/rdkafka/error.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>
#include <kgroup/error.hpp>
#include <kgroup/message.hpp>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::testing {

/// A Kafka cluster inside the process, for tests and for trying things out: librdkafka's mock
/// cluster.
///
///     kgroup::testing::embedded_cluster cluster;
///     cluster.create_topic("orders", 3);
///     cluster.produce("orders", 0, "first", "second");
///     kgroup::consumer_group group{context, {.brokers = cluster.brokers(),
///                                            .group_id = "billing",
///                                            .topics = {"orders"}, …}};
///     …
///     assert(cluster.committed("billing", "orders", 0) == 2);
///
/// Its brokers listen on 127.0.0.1, on ports of their own; members of groups connect to them as to
/// any other, from this process or another. Brokers have the ids 1, 2, …
///
/// *What it does as Kafka does:* topics with partitions and leaders, records with keys, headers and
/// timestamps, fetches, groups of the classic protocol with any assignor, committed offsets, each
/// group on its own.
///
/// *What it does otherwise.* It proves that a program works with Kafka's protocol; what depends on
/// the following needs a real broker.
/// - The first member of a group waits 3 seconds for others; every later rebalance takes the
///   session timeout less one second, also when everyone is there. `session.timeout.ms` must be
///   more than 3000, or a member never joins: 4000 is as quick as it gets. Wait for conditions,
///   with a bound of some 20 seconds, and not for a number of rebalances: a rebalance may take a
///   second round.
/// - While a member joins, heartbeats do not keep its session alive; what is to be finished on
///   revocation must take less than the session timeout.
/// - When one member joins, commits of the others are answered with REBALANCE_IN_PROGRESS, where a
///   broker still takes them: then records are handled again that would not be.
/// - The members of one group must name the same assignor first: otherwise the mock ends the
///   process.
/// - A partition keeps 5 MiB or 100,000 messages; older ones are dropped.
/// - A topic that a client asks for is created with 4 partitions, unless the client has set
///   `allow.auto.create.topics=false`, as consumers do by default.
/// - Transactions, compaction, static membership, authentication, quotas and the administration of
///   topics are not there, and the consumer protocol (KIP-848) only with a newer librdkafka.
/// - What members have committed and produced lives in memory, and only as long as the cluster.
///
/// *Errors.* Each operation throws `std::system_error` (category `kafka_category`) when the cluster
/// refuses it or does not answer within 10 seconds, as when the broker it needs is down.
///
/// *Thread safety.* Safe from any thread, construction and destruction aside.
///
/// *Lifetime.* It may be destroyed before or after the groups that use it. Destruction ends its
/// thread and closes its connections, in some milliseconds and whatever state it is in; to its
/// members that is an outage of all brokers.
class embedded_cluster {
public:
    /// A record to produce. What is not set is null, which is not the same as empty.
    struct record {
        std::optional<std::string> key{};
        std::optional<std::string> value{};
        std::vector<owned_message::owned_header> headers{};
        std::optional<std::chrono::system_clock::time_point>
            timestamp{}; ///< unset: the moment of producing it
    };

    /// The requests that can be made to fail.
    enum class request : std::int16_t {
        produce = 0,
        fetch = 1,
        list_offsets = 2,
        metadata = 3,
        offset_commit = 8,
        offset_fetch = 9,
        find_coordinator = 10,
        join_group = 11,
        heartbeat = 12,
        leave_group = 13,
        sync_group = 14,
    };

    /// In place of a broker's id: each of them.
    static constexpr std::int32_t all_brokers = -1;

    /// Starts a cluster of so many brokers, 1 at least.
    ///
    /// @throws std::system_error when it cannot be started.
    explicit embedded_cluster(int brokers = 1)
        : handle_(start(brokers)),
          cluster_(rd_kafka_handle_mock_cluster(handle_.get())),
          size_(brokers) {}

    embedded_cluster(embedded_cluster const&) = delete;
    embedded_cluster& operator=(embedded_cluster const&) = delete;

    /// Where it listens: what `config::brokers` takes.
    std::string brokers() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }

    /// Makes a topic with so many partitions. They are led by the brokers in turn: partition 0 by
    /// 1, the next by 2, …
    ///
    /// @throws std::system_error also when there is such a topic: TOPIC_ALREADY_EXISTS.
    void create_topic(std::string const& topic, std::int32_t partitions) {
        check(rd_kafka_mock_topic_create(cluster_, topic.c_str(), partitions, size_));
        for (std::int32_t partition = 0; partition != partitions; ++partition) {
            move_leader(topic, partition, partition % size_ + 1);
        }
    }

    /// Appends records to a partition in this order and returns when the broker has them.
    ///
    /// @return the offset of the first. Nobody else producing there, the others follow without a
    /// gap; -1: there were none.
    /// @throws std::system_error for the first that was not written. Those before it were; those
    /// behind it may have been.
    std::int64_t produce(std::string const& topic, std::int32_t partition,
                         std::span<record const> records) {
        delivery awaited;
        try {
            for (auto const& content : records) {
                send(topic, partition, content, awaited);
            }
        } catch (...) {
            wait_for(awaited);
            throw;
        }
        wait_for(awaited);
        check(awaited.error);
        return records.empty() ? -1 : awaited.first_offset;
    }

    /// The same for records given one by one; a string stands for a record that has only a value.
    template <typename... Records>
    requires((std::same_as<Records, record> ||
              std::convertible_to<Records const&, std::string_view>)&&...) std::int64_t
        produce(std::string const& topic, std::int32_t partition, Records const&... records) {
        std::array<record, sizeof...(Records)> const all{as_record(records)...};
        return produce(topic, partition, std::span<record const>{all});
    }

    /// The offset that the group has committed in this partition: the next one to read. nullopt:
    /// none.
    ///
    /// It asks the coordinator as a member would (requests `find_coordinator`, `offset_fetch`).
    std::optional<std::int64_t> committed(std::string const& group, std::string const& topic,
                                          std::int32_t partition) const {
        // Not by librdkafka's admin interface, which (2.0 to 2.16) ends the process when the
        // coordinator comes back to a request that has timed out.
        auto conf = silent_conf();
        set(conf, "bootstrap.servers", brokers());
        set(conf, "group.id", group);
        auto const member = make(RD_KAFKA_CONSUMER, std::move(conf)); // which joins nothing
        auto const asked = where(topic, partition, RD_KAFKA_OFFSET_INVALID);
        check(rd_kafka_committed(member.get(), asked.get(), limit_ms));
        auto const& found = asked->elems[0];
        check(found.err);
        return found.offset < 0 ? std::nullopt : std::optional{found.offset};
    }

    /// The offset that the next record produced to this partition will have (requests
    /// `list_offsets`).
    std::int64_t log_end(std::string const& topic, std::int32_t partition) const {
        // rd_kafka_query_watermark_offsets does not keep to its limit while the leader is down.
        auto const asked = where(topic, partition, RD_KAFKA_OFFSET_END);
        check(rd_kafka_offsets_for_times(handle_.get(), asked.get(), limit_ms));
        check(asked->elems[0].err);
        return asked->elems[0].offset;
    }

    /// Takes a broker down: its connections are closed and new ones refused. What it holds stays.
    /// No effect on one that is down.
    void take_down(std::int32_t broker = all_brokers) {
        check(rd_kafka_mock_broker_set_down(cluster_, broker));
    }

    /// Brings a broker back, on the same port. No effect on one that is up.
    void bring_up(std::int32_t broker = all_brokers) {
        check(rd_kafka_mock_broker_set_up(cluster_, broker));
    }

    /// From now on answers go out so long after their request; 0 ms as in the beginning.
    void set_round_trip_time(std::chrono::milliseconds time, std::int32_t broker = all_brokers) {
        check(rd_kafka_mock_broker_set_rtt(cluster_, broker, in_milliseconds(time)));
    }

    /// The next `times` requests of this kind to this broker, from any client, are not carried out,
    /// but answered with this error; `RD_KAFKA_RESP_ERR__TRANSPORT`: the connection is closed. More
    /// errors may be queued behind. The cluster's own operations make requests too, and are not
    /// spared.
    void fail(request kind, rd_kafka_resp_err_t error, std::size_t times = 1,
              std::int32_t broker = all_brokers) {
        if (broker != all_brokers) {
            for (; times != 0; --times) {
                check(rd_kafka_mock_broker_push_request_error_rtts(
                    cluster_, broker, static_cast<std::int16_t>(kind), std::size_t{1}, error, 0));
            }
            return;
        }
        std::vector<rd_kafka_resp_err_t> const errors(times, error);
        rd_kafka_mock_push_request_errors_array(cluster_, static_cast<std::int16_t>(kind),
                                                errors.size(), errors.data());
    }

    /// Forgets the errors that `fail` has queued for this kind and all brokers, and that have not
    /// been answered yet.
    void stop_failing(request kind) {
        rd_kafka_mock_clear_request_errors(cluster_, static_cast<std::int16_t>(kind));
    }

    /// The next request of this kind to this broker is carried out and answered so much later, as
    /// are all that come after it on the same connection.
    void delay(std::int32_t broker, request kind, std::chrono::milliseconds time) {
        check(rd_kafka_mock_broker_push_request_error_rtts(
            cluster_, broker, static_cast<std::int16_t>(kind), std::size_t{1},
            RD_KAFKA_RESP_ERR_NO_ERROR, in_milliseconds(time)));
    }

    /// The topic (made, if there is none) is answered with this error wherever somebody asks about
    /// it, as one that nobody may read (TOPIC_AUTHORIZATION_FAILED) or that does not exist
    /// (UNKNOWN_TOPIC_OR_PART); NO_ERROR ends that.
    void fail_topic(std::string const& topic, rd_kafka_resp_err_t error) {
        rd_kafka_mock_topic_set_error(cluster_, topic.c_str(), error);
    }

    /// Makes this broker the leader of a partition.
    void move_leader(std::string const& topic, std::int32_t partition, std::int32_t broker) {
        check(rd_kafka_mock_partition_set_leader(cluster_, topic.c_str(), partition, broker));
    }

    /// Makes this broker the coordinator of a group.
    void move_coordinator(std::string const& group, std::int32_t broker) {
        check(rd_kafka_mock_coordinator_set(cluster_, "group", group.c_str(), broker));
    }

private:
    using handle = std::unique_ptr<rd_kafka_t, detail::rdkafka_deleter<rd_kafka_destroy>>;
    static constexpr int limit_ms = 10000;
    static constexpr int turn_ms =
        10; // for how long another thread may have polled what this one waits for

    // The records of one call of `produce`. Reports come on whatever thread polls, which need not
    // be the one that waits.
    struct delivery {
        std::size_t sent = 0;
        std::mutex mutex;
        std::size_t reported = 0;
        rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
        std::int64_t first_offset = -1;
    };

    static handle start(int brokers) {
        check(brokers < 1 ? RD_KAFKA_RESP_ERR__INVALID_ARG : RD_KAFKA_RESP_ERR_NO_ERROR);
        auto conf = silent_conf();
        set(conf, "test.mock.num.brokers", std::to_string(brokers));
        set(conf, "linger.ms", "0");
        set(conf, "max.in.flight.requests.per.connection",
            "1"); // or a batch that is retried comes after the next one
        set(conf, "message.timeout.ms", std::to_string(limit_ms));
        rd_kafka_conf_set_dr_msg_cb(
            conf.get(), [](rd_kafka_t*, rd_kafka_message_t const* message, void*) {
                auto& awaited = *static_cast<delivery*>(message->_private);
                std::lock_guard const lock{awaited.mutex};
                if (awaited.error == RD_KAFKA_RESP_ERR_NO_ERROR) {
                    awaited.error = message->err;
                }
                if (awaited.first_offset < 0 || message->offset < awaited.first_offset) {
                    awaited.first_offset = message->offset;
                }
                ++awaited.reported;
            });
        return make(RD_KAFKA_PRODUCER, std::move(conf));
    }

    static detail::rdkafka_conf silent_conf() {
        detail::rdkafka_conf conf{rd_kafka_conf_new()};
        rd_kafka_conf_set_log_cb(conf.get(), nullptr); // an outage that a test has made is no news
        set(conf, "reconnect.backoff.max.ms", "100");
        return conf;
    }

    static void set(detail::rdkafka_conf& conf, char const* name, std::string const& value) {
        char text[512];
        if (rd_kafka_conf_set(conf.get(), name, value.c_str(), text, sizeof text) !=
            RD_KAFKA_CONF_OK) {
            throw std::system_error{make_error_code(RD_KAFKA_RESP_ERR__INVALID_ARG), text};
        }
    }

    static handle make(rd_kafka_type_t type, detail::rdkafka_conf conf) {
        char text[512];
        handle made{rd_kafka_new(type, conf.get(), text, sizeof text)};
        if (!made) {
            throw std::system_error{make_error_code(rd_kafka_last_error()), text};
        }
        static_cast<void>(conf.release()); // the handle has taken it
        return made;
    }

    void send(std::string const& topic, std::int32_t partition, record const& content,
              delivery& awaited) {
        std::vector<rd_kafka_vu_t> fields;
        auto const add = [&](rd_kafka_vtype_t type) -> auto& {
            auto& added = fields.emplace_back();
            added.vtype = type;
            return added.u;
        };
        add(RD_KAFKA_VTYPE_TOPIC).cstr = topic.c_str();
        add(RD_KAFKA_VTYPE_PARTITION).i32 = partition;
        add(RD_KAFKA_VTYPE_OPAQUE).ptr = &awaited;
        add(RD_KAFKA_VTYPE_MSGFLAGS).i = RD_KAFKA_MSG_F_COPY;
        add(RD_KAFKA_VTYPE_KEY).mem = bytes<decltype(rd_kafka_vu_t{}.u.mem)>(content.key);
        add(RD_KAFKA_VTYPE_VALUE).mem = bytes<decltype(rd_kafka_vu_t{}.u.mem)>(content.value);
        for (auto const& header : content.headers) {
            auto const [data, size] = bytes<decltype(rd_kafka_vu_t{}.u.mem)>(header.value);
            add(RD_KAFKA_VTYPE_HEADER).header = {header.name.c_str(), data,
                                                 static_cast<ssize_t>(size)};
        }
        if (content.timestamp) {
            auto const since = std::chrono::floor<std::chrono::milliseconds>(
                content.timestamp->time_since_epoch());
            add(RD_KAFKA_VTYPE_TIMESTAMP).i64 = since.count();
        }
        for (;;) {
            detail::rdkafka_error const error{
                rd_kafka_produceva(handle_.get(), fields.data(), fields.size())};
            if (!error) {
                ++awaited.sent;
                return;
            }
            if (rd_kafka_error_code(error.get()) != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
                throw std::system_error{make_error_code(rd_kafka_error_code(error.get())),
                                        rd_kafka_error_string(error.get())};
            }
            rd_kafka_poll(handle_.get(), turn_ms);
        }
    }

    // Bounded by `message.timeout.ms`: every record is reported by then.
    void wait_for(delivery& awaited) {
        for (;;) {
            {
                std::lock_guard const lock{awaited.mutex};
                if (awaited.reported == awaited.sent) {
                    return;
                }
            }
            rd_kafka_poll(handle_.get(), turn_ms);
        }
    }

    template <typename Bytes>
    static Bytes bytes(std::optional<std::string> const& text) {
        return text ? Bytes{const_cast<char*>(text->data()), text->size()} : Bytes{nullptr, 0};
    }

    template <typename Record>
    static record as_record(Record const& content) {
        if constexpr (std::same_as<Record, record>) {
            return content;
        } else {
            return {.value = std::string{std::string_view{content}}};
        }
    }

    static detail::rdkafka_partitions where(std::string const& topic, std::int32_t partition,
                                            std::int64_t offset) {
        auto list = detail::make_partitions(1);
        rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition)->offset = offset;
        return list;
    }

    static int in_milliseconds(std::chrono::milliseconds time) {
        return static_cast<int>(time.count());
    }

    static void check(rd_kafka_resp_err_t error) {
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            throw std::system_error{make_error_code(error)};
        }
    }

    handle handle_; // a producer, which owns the cluster and asks it on behalf of the tests
    rd_kafka_mock_cluster_t* cluster_;
    std::int32_t size_;
};

} // namespace kgroup::testing
