// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/consumer_group.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/config/internal_topics.hpp>
#include <kgroup/message.hpp>
#include <kgroup/oauth_token.hpp>
#include <kgroup/testing/fake_cluster.hpp>
#include <kgroup/testing/fake_coordinator.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::testing {

/// The client of a member of a `fake_cluster`: a model of `kgroup::client`. Used through
/// `fake_group`.
class fake_client {
public:
    /// @throws std::system_error `errc::invalid_config`: as a real client does for what can be said
    /// without librdkafka, and when there is no `fake_cluster` of this name.
    explicit fake_client(config const& given)
        : connection_(std::make_shared<connection>(find_cluster(given))),
          internal_topics_(given.topics),
          topics_(given.topics),
          protocol_(given.protocol),
          initial_offset_(*given.initial_offset),
          initial_time_(given.initial_time),
          cooperative_(given.protocol == group_protocol::consumer ||
                       given.assignors.front() == assignor::cooperative_sticky),
          max_poll_interval_(interval_of(given)),
          rebalance_deadline_(detail::rebalance_deadline_of(given, max_poll_interval_)) {}
    fake_client(fake_client const&) = delete;
    fake_client& operator=(fake_client const&) = delete;
    ~fake_client() {
        if (connection_) {
            cluster().leave(this);
        }
    }

    void check_topics(std::vector<std::string> const& topics) const {
        detail::check_topics(topics, protocol_);
        internal_topics_.check(topics);
    }
    void subscribe(std::vector<std::string> topics) {
        topics_ = std::move(topics);
        if (started_) {
            cluster().subscribe(topics_);
        }
    }
    void start(std::function<void()> notify) {
        cluster().start(this, std::move(notify), cooperative_, initial_offset_, initial_time_,
                        topics_);
        started_ = true;
    }
    std::optional<detail::client_event> poll() { return cluster().poll(); }
    void look_up(std::uint64_t id, std::vector<topic_partition> const& partitions, bool lower,
                 std::chrono::milliseconds) {
        cluster().look_up(id, partitions, lower);
    }
    void find_in_logs(std::uint64_t id, std::vector<detail::log_place> const& places,
                      std::vector<std::string> const& topics, std::chrono::milliseconds) {
        cluster().find_in_logs(id, places, topics);
    }
    void assign(std::vector<detail::start_position> const& positions, bool cooperative) {
        cluster().assign(positions, cooperative);
    }
    void unassign(std::vector<topic_partition> const& partitions, bool cooperative) {
        cluster().unassign(partitions, cooperative);
    }
    std::shared_ptr<detail::record_source>
    open(std::shared_ptr<detail::partition_state> const& state) {
        return std::make_shared<source>(connection_, cluster().open(state));
    }
    void seek(std::vector<detail::start_position> const& positions) { cluster().seek(positions); }
    void commit(std::uint64_t id, std::vector<detail::offset_commit> const& offsets) {
        cluster().commit(id, offsets);
    }
    void offsets_for_times(std::uint64_t id, std::vector<topic_partition> const& partitions,
                           std::chrono::system_clock::time_point time, std::chrono::milliseconds) {
        cluster().offsets_for_times(id, partitions, time);
    }
    void find_ends(std::uint64_t id, std::vector<topic_partition> const& partitions,
                   std::chrono::milliseconds) {
        cluster().find_ends(id, partitions);
    }
    void ask_coordinator(std::uint64_t id, topic_partition const&, std::chrono::milliseconds) {
        cluster().ask_coordinator(id);
    }
    void listen(bool on) { cluster().listen(on); }
    std::string heard(std::optional<topic_partition> const& where) const {
        return connection_->cluster->heard(where);
    }
    std::error_code set_token(oauth_token const& token) { return cluster().set_token(token); }
    void close() { cluster().close(); }
    bool closed() const { return connection_->cluster->closed(); }
    bool shut_down(std::function<void()> done) {
        cluster().leave(this);
        connection_->on_end = std::move(done);
        std::weak_ptr const left{connection_};
        connection_.reset();
        return left.expired();
    }

    std::string member_id() const {
        return connection_ ? connection_->cluster->member_id() : std::string{};
    }
    std::int32_t generation_id() const {
        return connection_ ? connection_->cluster->generation_id() : -1;
    }
    std::chrono::milliseconds max_poll_interval() const noexcept { return max_poll_interval_; }
    std::chrono::milliseconds rebalance_deadline() const noexcept { return rebalance_deadline_; }
    std::size_t block_bytes() const noexcept { return 64 * 1024; }

private:
    // Held by the client and by everything that came from it; the last one ends it, as with
    // librdkafka's handle.
    struct connection {
        explicit connection(std::shared_ptr<fake_coordinator> coordinator)
            : cluster(std::move(coordinator)) {}
        connection(connection const&) = delete;
        connection& operator=(connection const&) = delete;
        ~connection() {
            if (on_end) {
                cluster->end(std::move(on_end));
            }
        }

        std::shared_ptr<fake_coordinator> cluster;
        std::function<void()> on_end;
    };

    class source final : public detail::record_source {
    public:
        source(std::shared_ptr<connection> through,
               std::shared_ptr<fake_coordinator::partition_queue> queue)
            : connection_(std::move(through)),
              queue_(std::move(queue)) {}
        ~source() override { close(); }

        void drain(detail::record_block& into, std::size_t byte_limit) noexcept override {
            auto const before = into.size();
            auto const next = cluster().drain(*queue_, into, byte_limit);
            if (into.size() != before) {
                next_offset_ = into[into.size() - 1].offset + 1;
            }
            go_on(next);
        }
        void look() noexcept override { go_on(cluster().look(*queue_)); }
        std::size_t waiting() const noexcept override { return cluster().waiting(*queue_); }
        void close() noexcept override { cluster().close_queue(*queue_); }
        void free_records(detail::record* first, std::size_t count) noexcept override {
            cluster().free_records(first, count);
        }
        std::int64_t timestamp(void* native) const noexcept override {
            using namespace std::chrono;
            auto const& time = static_cast<fake_cluster::record const*>(native)->timestamp;
            return time ? duration_cast<milliseconds>(time->time_since_epoch()).count() : -1;
        }
        void headers(void* native, header_sink const& sink) const override {
            for (auto const& header : static_cast<fake_cluster::record const*>(native)->headers) {
                sink(header.name, header.value);
            }
        }
        detail::watermarks known_watermarks() const noexcept override {
            return cluster().known_watermarks(queue_->where);
        }
        std::uint32_t seed() const override { // a test has the same backoffs each time
            return static_cast<std::uint32_t>(queue_->where.partition) + 1;
        }

    private:
        fake_coordinator& cluster() const noexcept { return *connection_->cluster; }

        void go_on(std::optional<std::int64_t> next) noexcept {
            auto const reader = next && *next > next_offset_ ? queue_->reader.lock() : nullptr;
            if (reader && *next > reader->position()) { // not where it starts
                reader->drained(next_offset_, *next);
                next_offset_ = *next;
            }
        }

        std::shared_ptr<connection> connection_;
        std::shared_ptr<fake_coordinator::partition_queue> queue_;
        std::int64_t next_offset_ = -1; // behind what was taken; -1: nothing was
    };

    static std::shared_ptr<fake_coordinator> find_cluster(config const& given) {
        detail::check(given);
        auto found = fake_cluster::find(given.brokers);
        if (!found) {
            detail::refuse_config("brokers: there is no fake_cluster '" + given.brokers + "'");
        }
        return found;
    }
    static std::chrono::milliseconds interval_of(config const& given) {
        auto const found = given.properties.find("max.poll.interval.ms");
        return std::chrono::milliseconds{
            found == given.properties.end() ? 300000 : std::stol(found->second)};
    }

    fake_coordinator& cluster() { return *connection_->cluster; }

    std::shared_ptr<connection> connection_;
    detail::internal_topics internal_topics_;
    std::vector<std::string> topics_;
    group_protocol protocol_;
    offset_reset initial_offset_;
    std::optional<std::chrono::system_clock::time_point> initial_time_;
    bool started_ = false;
    bool cooperative_;
    std::chrono::milliseconds max_poll_interval_;
    std::chrono::milliseconds rebalance_deadline_;
};

static_assert(detail::client<fake_client>);

/// A member of a `fake_cluster`: `basic_consumer_group`, with all that it does, over a script
/// instead of a broker.
using fake_group = basic_consumer_group<fake_client>;

} // namespace kgroup::testing

#ifndef KGROUP_SEPARATE_COMPILATION // then <kgroup/testing/src.hpp> has it
#include <kgroup/detail/group/group_driver.hpp>
#endif
