// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/timer.hpp>
#include <kgroup/detail/fetch/aborted_transactions.hpp>
#include <kgroup/detail/fetch/api.hpp>
#include <kgroup/detail/fetch/fetch_message.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup::tests {

/// What a scripted broker was asked.
struct scripted_request {
    struct partition {
        std::string topic; // empty: by its id
        detail::fetch::topic_uuid id{};
        std::int32_t number = -1;
        std::int32_t current_leader_epoch = -1;
        std::int64_t offset = -1; // list_offsets: the timestamp. leader_epoch: the epoch
        std::int32_t last_fetched_epoch = -1;
        std::int32_t max_bytes = 0;
    };
    std::int32_t broker = -1;
    std::size_t connection = 0; // of the broker, from 0 on
    detail::fetch::api key = detail::fetch::api::api_versions;
    std::int16_t version = 0;
    std::int32_t correlation = 0;
    std::string client_id;
    std::vector<std::string> topics; // metadata
    bool makes_topics = false;       // metadata
    std::chrono::milliseconds max_wait{0};
    std::int32_t min_bytes = 0;
    std::int32_t max_bytes = 0;
    std::int8_t isolation = -1;
    std::string rack;
    std::vector<partition> partitions;
};

/// A part of a Fetch's answer.
struct scripted_part {
    std::string topic;
    detail::fetch::topic_uuid id{};
    std::int32_t number = -1;
    std::int16_t error = 0;
    std::int64_t high_watermark = -1;
    std::int64_t last_stable_offset = -1;
    std::int64_t log_start = -1;
    std::vector<detail::fetch::aborted_transaction> aborted;
    std::optional<detail::fetch::fetch_answer::epoch_end> diverging;
    std::optional<detail::fetch::fetch_answer::leader> current_leader;
    std::int32_t preferred_replica = -1;
    std::string records;
};

/// How a broker differs from a right one, for one request.
struct scripted_fault {
    std::chrono::milliseconds delay{0}; // before anything is sent
    std::int32_t throttle_ms = 0;
    std::int32_t correlation_shift = 0;
    std::optional<std::string> sent_instead{};                // of the frame, its length included
    std::function<void(std::vector<scripted_part>&)> parts{}; // changes what a Fetch brings
    std::size_t only_first = (std::numeric_limits<std::size_t>::max)(); // bytes of the frame
    std::size_t piece = (std::numeric_limits<std::size_t>::max)();      // bytes sent at a time
    std::chrono::milliseconds pause{0};                                 // behind each piece
    bool at_once = false; // a Fetch that waits for nothing
    enum class after { go_on, close, half_close, silence } then = after::go_on;
};

struct scripted_partition {
    struct batch {
        std::int64_t base_offset = 0;
        std::int64_t next_offset = 0;
        std::string bytes;
    };
    std::int32_t leader = 0;
    std::int32_t leader_epoch = 0;
    std::int16_t error = 0; // of Fetch, always
    std::int16_t metadata_error = 0;
    std::int64_t log_start = 0;
    std::int64_t end = 0;
    std::vector<detail::fetch::aborted_transaction> aborted;
    std::vector<batch> batches;
    std::map<std::int32_t, std::int64_t> epoch_ends; // those before the present one

    /// Appends a batch of `made_batch`.
    void append(std::int64_t base_offset, std::int64_t next_offset, std::string bytes);
};
struct scripted_topic {
    detail::fetch::topic_uuid id{};
    std::int16_t error = 0;
    std::vector<scripted_partition> partitions;
};

class scripted_broker;

/// Brokers on 127.0.0.1 that do what a test says, all on its context, by kgroup's clock: topics are
/// kept in memory, Fetch, ListOffsets, OffsetForLeaderEpoch, Metadata and ApiVersions are answered
/// as a Kafka does, unless a test has it otherwise.
class scripted_cluster {
public:
    explicit scripted_cluster(asio::io_context& context, std::int32_t brokers = 1);
    ~scripted_cluster();
    scripted_cluster(scripted_cluster const&) = delete;
    scripted_cluster& operator=(scripted_cluster const&) = delete;

    scripted_topic& make_topic(std::string const& name, std::size_t partitions);
    scripted_partition& partition(std::string const& topic, std::size_t number) {
        return topics.at(topic).partitions.at(number);
    }
    /// Polls that wait look again.
    void changed();

    std::string bootstrap(std::int32_t broker = 0) const;
    std::size_t count(detail::fetch::api key) const;
    std::vector<scripted_request> requests(detail::fetch::api key) const;

    asio::io_context& context;
    std::map<std::string, scripted_topic> topics;
    std::deque<scripted_broker> brokers;
    std::vector<scripted_request> seen;
    /// Asked for each request; nullopt: as a right broker.
    std::function<std::optional<scripted_fault>(scripted_request const&)> on_request;
    std::string advertised_host = "127.0.0.1";
    struct named_broker {
        std::int32_t id;
        std::string host;
        std::int32_t port;
    };
    std::vector<named_broker> also_named; // by metadata, whoever that is
};

class scripted_broker {
public:
    scripted_broker(scripted_cluster& cluster, std::int32_t id);

    /// Ends all its connections, and refuses others.
    void go_down();
    void come_up();
    void cut_connections();

    std::int32_t id() const noexcept { return id_; }
    std::uint16_t port() const noexcept { return port_; }
    std::size_t connections() const noexcept { return made_; } // so far
    /// Those that the other side has not closed. Drops requests that were not read yet.
    std::size_t open_connections() const;

    std::map<detail::fetch::api, detail::fetch::version_range> versions;
    bool knows_only_first_versions = false; // answers 35 to ApiVersions above 0
    bool listed = true;                     // metadata names it

private:
    friend class scripted_cluster;
    struct peer {
        explicit peer(asio::io_context& context) : socket(context), wait(context) {}
        asio::ip::tcp::socket socket;
        detail::timer wait;
        std::size_t number = 0;
        bool ended = false;
    };

    void listen();
    void accept();
    asio::awaitable<void> serve(std::shared_ptr<peer> with);
    asio::awaitable<void> answer(peer& with, scripted_request request);
    std::string versions_body(scripted_request const& request, std::int16_t version,
                              std::int32_t throttle) const;
    std::string metadata_body(scripted_request const& request, std::int32_t throttle) const;
    std::string offsets_body(scripted_request const& request, std::int32_t throttle) const;
    std::string epochs_body(scripted_request const& request, std::int32_t throttle) const;
    std::vector<scripted_part> fetch(scripted_request const& request) const;
    static std::string fetch_body(std::int16_t version, std::vector<scripted_part> const& parts,
                                  std::int32_t throttle);
    scripted_topic const* find(scripted_request::partition const& asked, std::string& name) const;
    /// Null, and why: this broker does not answer for it.
    struct led_partition {
        std::int16_t error;
        scripted_partition const* partition;
    };
    led_partition find_led(scripted_request::partition const& asked) const;

    scripted_cluster& cluster_;
    std::int32_t id_;
    std::uint16_t port_ = 0;
    std::shared_ptr<asio::ip::tcp::acceptor> acceptor_;
    std::vector<std::shared_ptr<peer>> peers_;
    std::size_t made_ = 0;
};

} // namespace kgroup::tests
