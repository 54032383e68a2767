// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/fetch/answer_memory.hpp>
#include <kgroup/detail/fetch/batch_header.hpp>
#include <kgroup/detail/fetch/broker_abilities.hpp>
#include <kgroup/detail/fetch/broker_address.hpp>
#include <kgroup/detail/fetch/connection.hpp>
#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/fetch_turns.hpp>
#include <kgroup/detail/fetch/fetched_partition.hpp>
#include <kgroup/detail/fetch/fetched_records.hpp>
#include <kgroup/detail/fetch/fetcher_settings.hpp>
#include <kgroup/detail/fetch/inquiry.hpp>
#include <kgroup/detail/fetch/leader_epoch_message.hpp>
#include <kgroup/detail/fetch/list_offsets_message.hpp>
#include <kgroup/detail/fetch/memory_shares.hpp>
#include <kgroup/detail/fetch/metadata_message.hpp>
#include <kgroup/detail/fetch/metadata_schedule.hpp>
#include <kgroup/detail/fetch/name_lookup.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>
#include <kgroup/detail/fetch/partition_orders.hpp>
#include <kgroup/detail/fetch/reconnect_delay.hpp>
#include <kgroup/detail/fetch/request_writer.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail::fetch {

/// What the fetcher did. Any thread may look.
struct fetcher_counters {
    std::atomic<std::uint64_t> fetches{0};
    std::atomic<std::uint64_t> other_requests{0}; // metadata, offsets, epochs
    std::atomic<std::uint64_t> metadata_requests{0};
    std::atomic<std::uint64_t> answers{0};
    std::atomic<std::uint64_t> bytes{0};       // of answers
    std::atomic<std::uint64_t> connections{0}; // begun so far
};

/// Fetches what claims read: it knows who leads, holds the connections, asks in turn, and hands the
/// answers to the claims' sinks. It runs on a strand over the executor.
///
/// One coroutine does all of it, whenever something may have changed: it takes what came, and asks
/// what can be asked. Sockets, look-ups, other threads and released memory only wake it.
///
/// A broker has up to three connections. One poll at a time is under way on each of the first two:
/// the second is for partitions that become ready while the first one's poll waits for others. The
/// third is for what must not wait behind a poll.
///
/// *Thread safety.* Any thread may call; what is asked is carried out on the strand.
class fetcher : public std::enable_shared_from_this<fetcher> {
public:
    /// @param notice is called on the strand.
    fetcher(asio::any_io_executor executor, fetcher_settings settings,
            std::function<void(fetcher_notice)> notice)
        : executor_(std::move(executor)),
          settings_(std::move(settings)),
          notice_(std::move(notice)),
          event_(auto_reset_event::make(executor_)),
          memory_(std::make_shared<answer_memory>(settings_.buffer_bytes)),
          shares_(settings_.buffer_bytes, static_cast<std::size_t>(settings_.partition_max_bytes),
                  static_cast<std::size_t>(
                      (std::min)(settings_.fetch_max_bytes, settings_.receive_message_max_bytes))),
          names_([event = event_] { event->notify(); }),
          metadata_(settings_.metadata_refresh_interval),
          requests_(settings_) {
        memory_->on_release([event = event_] { event->notify(); });
        for (auto& address : parse_bootstrap_servers(settings_.bootstrap_servers)) {
            bootstrap_.emplace_back().address = std::move(address);
        }
    }
    fetcher(fetcher const&) = delete;
    fetcher& operator=(fetcher const&) = delete;
    ~fetcher() { memory_->forget_wake(); }

    /// Begins to fetch, or goes on elsewhere (a seek): the newer ticket counts.
    ///
    /// @param from an offset, or `partition_fetch::earliest` or `latest`.
    /// @param leader_epoch of the record before, as it was committed; -1: unknown.
    /// @throws std::bad_alloc
    void start(topic_partition const& partition, std::uint64_t ticket, std::int64_t from,
               std::int32_t leader_epoch, std::shared_ptr<fetch_sink> sink) {
        begin_running();
        orders_.start(partition, {ticket, from, leader_epoch, std::move(sink)});
        wake();
    }
    /// Ends the fetching. The sink is called no more once that was carried out, and released.
    void stop(topic_partition const& partition) noexcept {
        orders_.stop(partition);
        wake();
    }
    /// Whether the claim has room for more; it has at its start.
    void want(topic_partition const& partition, std::uint64_t ticket, bool more) noexcept {
        orders_.want(partition, ticket, more);
        wake();
    }

    /// The reader got to what only it understands.
    ///
    /// @param generation of the `fetched_records`.
    /// @param at `partition_reader::position`.
    void on_damaged(topic_partition const& partition, std::uint64_t ticket,
                    std::uint64_t generation, std::int64_t at, damage wrong) noexcept {
        orders_.found(partition, ticket, {generation, at, wrong});
        wake();
    }
    void on_old_format(topic_partition const& partition, std::uint64_t ticket,
                       std::uint64_t generation, std::int64_t at) noexcept {
        orders_.found(partition, ticket, {generation, at, damage::none});
        wake();
    }

    /// Ends everything. `done` is called, on the strand, when nothing of it runs any more. What was
    /// fetched lives as long as somebody keeps it.
    ///
    /// @throws std::bad_alloc
    void shut_down(std::function<void()> done) {
        begin_running();
        {
            std::lock_guard const lock{mutex_};
            if (ended_) {
                event_->run(std::move(done));
                return;
            }
            done_ = std::move(done);
        }
        ending_.store(true, std::memory_order_release);
        wake();
    }

    fetcher_counters const& counters() const noexcept { return counters_; }
    /// Bytes that are promised to requests, or held.
    std::size_t memory_used() const noexcept { return memory_->used(); }

private:
    using milliseconds = std::chrono::milliseconds;
    using notice_kind = fetcher_notice::kind;
    static constexpr std::int16_t unsupported_version = 35; // as a broker would answer

    struct lane {
        std::shared_ptr<connection> link;
        std::deque<inquiry> under_way; // in the order of the answers
    };

    /// A broker, or an address that stands for whoever answers there.
    struct broker {
        std::int32_t id = -1; // -1: one of the configuration
        broker_address address;
        std::array<lane, 3> lanes; // two for polls
        int failures = 0;          // since one was of use
        time_point not_before{};   // no connection
        time_point quiet_until{};  // it throttles
        time_point no_poll_before{};
        bool told = false; // that it is not reached
        broker_abilities abilities;
        bool gone = false;  // metadata does not name it any more
        bool polls = false; // it is to be asked to fetch,
        bool other = false; // or something else

        lane& control() noexcept { return lanes[2]; }
        /// Whether it failed, and is not tried again yet.
        bool away(time_point at) const noexcept {
            return failures != 0 && at < not_before &&
                   std::none_of(lanes.begin(), lanes.end(),
                                [](lane const& one) { return one.link != nullptr; });
        }
    };

    // ---- Running

    void wake() noexcept {
        std::lock_guard const lock{mutex_};
        if (running_) {
            event_->notify();
        }
    }
    void begin_running() {
        std::lock_guard const lock{mutex_};
        if (running_ || ended_) {
            return;
        }
        asio::co_spawn(event_->strand(), run(shared_from_this()), asio::detached);
        running_ = true;
    }

    static time_point now() noexcept { return time_point{clock::now().time_since_epoch()}; }

    static asio::awaitable<void> run(std::shared_ptr<fetcher> self) {
        for (;;) {
            auto until = self->turn();
            if (!until) {
                break;
            }
            try {
                co_await self->event_->wait(clock::time_point{until->time_since_epoch()});
            } catch (std::system_error const&) { // no memory to wait: notifications still come
            } catch (std::bad_alloc const&) {
            }
        }
        self->finish();
    }

    /// Does what can be done.
    ///
    /// @return until when to wait for a notification. nullopt: it is over.
    std::optional<time_point> turn() noexcept {
        auto const at = now();
        if (ending_.load(std::memory_order_acquire)) {
            return end();
        }
        // Now and then without a reason, for a notification needs memory.
        auto const latest = at + std::chrono::seconds{1};
        try {
            carry_out_orders(at);
            receive(at);
            drop_gone_brokers(at);
            ask(at);
            return (std::min)(latest, (std::max)(next_time(at), at));
        } catch (std::exception const&) { // what was under way is lost, or asked again
            return at + milliseconds{100};
        }
    }

    std::optional<time_point> end() noexcept {
        bool rests = true;
        for_each_broker([&](broker& one) {
            for (auto& way : one.lanes) {
                if (way.link) {
                    way.link->close(notice_kind::disconnected, {}, "");
                    rests = rests && way.link->at_rest();
                }
            }
        });
        for (auto const& link : closing_) {
            rests = rests && link->at_rest();
        }
        if (rests) {
            return std::nullopt;
        }
        return now() + milliseconds{100};
    }
    void finish() {
        std::function<void()> done;
        {
            std::lock_guard const lock{mutex_};
            running_ = false;
            ended_ = true;
            done = std::exchange(done_, nullptr);
        }
        names_.end();
        memory_->forget_wake();
        brokers_.clear();
        bootstrap_.clear();
        closing_.clear();
        for (auto const& [name, one] : partitions_) {
            turns_.remove(*one);
        }
        partitions_.clear();
        orders_.clear();
        if (done) {
            done();
        }
    }

    template <typename Do>
    void for_each_broker(Do act) {
        for (auto& one : bootstrap_) {
            act(one);
        }
        for (auto& [id, one] : brokers_) {
            act(one);
        }
    }

    // ---- What others ask

    void carry_out_orders(time_point at) {
        orders_.take([&](partition_orders::order& order) {
            auto const place = partitions_.find(*order.partition);
            auto found = place == partitions_.end() ? nullptr : place->second;
            if (order.stop && found) {
                drop(found);
                found = nullptr;
            }
            if (order.start) {
                begin(found, *order.partition, *order.start);
            }
            if (!found) {
                return;
            }
            found->claim_wants(order.more);
            if (order.found) {
                auto const& [generation, position, wrong] = *order.found;
                react(*found, wrong == damage::none
                                  ? found->on_old_format(generation, position)
                                  : found->on_damaged(generation, position, wrong, at));
            }
        });
    }
    void drop(std::shared_ptr<fetched_partition> const& dropped) noexcept {
        dropped->end();
        turns_.remove(*dropped);
        partitions_.erase(dropped->name());
    }
    void begin(std::shared_ptr<fetched_partition>& found, topic_partition const& name,
               partition_orders::begin& start) {
        if (!found) {
            auto added = std::make_shared<fetched_partition>(
                name, fetch_settings{.reset = settings_.reset}, memory_);
            partitions_.emplace(name, added);
            try {
                turns_.add(*added);
            } catch (...) {
                partitions_.erase(name);
                throw;
            }
            found = std::move(added);
            metadata_.want();
        }
        found->begin(start.ticket, start.from, start.leader_epoch, std::move(start.sink));
        if (found->leader() < 0) {
            metadata_.want();
        }
    }

    void react(fetched_partition& partition, fetch_reaction const& reaction) noexcept {
        if (reaction.refresh) {
            metadata_.want();
        }
        if (reaction.event) {
            partition.tell(*reaction.event);
        }
    }
    void notify_of(notice_kind type, broker_address const& address, std::error_code error,
                   std::string_view text) noexcept {
        try {
            if (notice_) {
                notice_({type, to_string(address), error, std::string{text}});
            }
        } catch (std::exception const&) { // no memory to tell
        }
    }

    // ---- Connections

    /// Opens one, unless there is one or it is too early.
    bool open(broker& to, lane& way, time_point at) {
        if (way.link) {
            return way.link->ready();
        }
        if (at >= to.not_before) {
            way.link = std::make_shared<connection>(executor_, event_, settings_, to.address, at);
            counters_.connections.fetch_add(1, std::memory_order_relaxed);
            event_->notify(); // for its first step
        }
        return false;
    }

    void receive(time_point at) {
        for_each_broker([&](broker& one) {
            for (auto& way : one.lanes) {
                receive(one, way, at);
            }
        });
        std::erase_if(closing_, [](auto const& link) { return link->at_rest(); });
    }
    void receive(broker& from, lane& way, time_point at) {
        if (!way.link) {
            return;
        }
        auto const link = way.link;
        bool const was_ready = link->ready();
        closing_.reserve(closing_.size() + 1);
        try {
            link->advance(at, *memory_, names_,
                          [&](connection::expected const& question,
                              std::shared_ptr<answer_bytes> const& answer) {
                              on_answer(from, way, question, answer, at);
                          });
        } catch (std::exception const&) {
            link->close(notice_kind::no_memory, std::make_error_code(std::errc::not_enough_memory),
                        "no memory");
        }
        if (link->ready() && !was_ready) {
            from.abilities = abilities_of(link->versions());
        }
        if (way.link && link->closed()) { // it was left, if its answer says that the broker moved
            on_closed(from, way, at);
        }
    }
    void on_closed(broker& from, lane& way, time_point at) noexcept {
        auto const link = std::exchange(way.link, nullptr);
        if (!link->at_rest()) {
            closing_.push_back(link); // there is room
        }
        auto const& end = link->end();
        bool const idle = way.under_way.empty();
        if (&way == &from.control()) {
            metadata_next_ = {}; // the next one is tried at once
        }
        auto lost = std::exchange(way.under_way, {});
        if (end.type == notice_kind::frame_too_large && !idle) {
            lose_too_large(lost.front(), at);
        }
        for (auto& asked : lost) {
            lose(asked, at);
        }
        from.not_before =
            at + reconnect_delay(settings_.reconnect_backoff, settings_.reconnect_backoff_max,
                                 from.failures, static_cast<std::uint32_t>(random_()));
        from.failures = (std::min)(from.failures + 1, 30);
        if (end.was_ready && idle && end.type == notice_kind::disconnected) {
            return; // brokers close what is idle
        }
        metadata_.want();
        if (from.id >= 0) {
            for (auto const& [name, one] : partitions_) {
                if (one->target(at) == from.id) {
                    react(*one, one->on_target_away(at));
                }
            }
        }
        if (!std::exchange(from.told, true)) {
            notify_of(end.type, from.address, end.error, end.text);
        }
    }
    void lose_too_large(inquiry& asked, time_point at) noexcept {
        if (asked.key == api::fetch) {
            for (auto const& [partition, question] : asked.subjects) {
                react(*partition, partition->on_too_large(question.generation, at));
            }
            memory_->take_back(std::exchange(asked.promised, 0));
            asked.subjects.clear();
        }
    }
    /// No answer comes.
    void lose(inquiry& asked, time_point at) noexcept {
        memory_->take_back(std::exchange(asked.promised, 0));
        if (asked.key == api::metadata) {
            metadata_.lost();
        }
        for (auto const& subject : asked.subjects) {
            lose(subject, at);
        }
        asked.subjects.clear();
    }
    void lose(inquiry::subject const& subject, time_point at) noexcept {
        react(*subject.partition, subject.partition->on_lost(subject.question.generation, at));
    }
    /// The answer is an error, and nothing else.
    void refuse(inquiry const& asked, std::int16_t code, time_point at) noexcept {
        for (auto const& [partition, question] : asked.subjects) {
            react(*partition, partition->on_refused(question, code, at));
        }
    }

    // ---- Answers

    void on_answer(broker& from, lane& way, connection::expected const& question,
                   std::shared_ptr<answer_bytes> const& answer, time_point at) {
        counters_.answers.fetch_add(1, std::memory_order_relaxed);
        counters_.bytes.fetch_add(answer->view().size(), std::memory_order_relaxed);
        auto asked = std::move(way.under_way.front());
        way.under_way.pop_front();
        bool read = false;
        try {
            switch (question.key) {
            case api::fetch:
                read = on_fetched(from, way, asked, question, answer, at);
                break;
            case api::list_offsets:
                read = on_listed(from, way, asked, question, answer->view(), at);
                break;
            case api::leader_epoch:
                read = on_epochs(from, way, asked, question, answer->view(), at);
                break;
            case api::metadata:
                read = on_metadata(from, way, question, answer->view(), at);
                break;
            case api::api_versions:
                break;
            }
        } catch (std::exception const&) {
            lose(asked, at);
            throw;
        }
        if (!read) {
            lose(asked, at);
            way.link->close(notice_kind::damaged_answer, {}, "its answer cannot be read");
            return;
        }
        from.failures = 0;
        from.told = false;
        if (from.id < 0 && !brokers_.empty()) { // those that it named are asked from here on
            way.link->close(notice_kind::disconnected, {}, "");
        }
    }
    void throttle(broker& from, lane& way, std::int32_t time, time_point at) noexcept {
        if (time > 0) {
            from.quiet_until = (std::max)(from.quiet_until, at + milliseconds{time});
            way.link->delay(milliseconds{time});
        }
    }

    /// The first batch of an answer comes whole, however large it is.
    void tell_of_budget(broker const& from, std::size_t came, std::size_t promised) noexcept {
        auto const used = memory_->used() - (std::min)(promised, memory_->used());
        bool const over = came > promised && used > memory_->limit();
        if (over && !told_of_budget_) {
            notify_of(notice_kind::over_budget, from.address, {},
                      "a batch is larger than what is left of buffer_bytes");
        }
        told_of_budget_ = over || (told_of_budget_ && used > memory_->limit());
    }
    bool on_fetched(broker& from, lane& way, inquiry& asked, connection::expected const& question,
                    std::shared_ptr<answer_bytes> const& bytes, time_point at) {
        if (read_fetch_answer(bytes->view(), question.version, question.correlation, fetched_) !=
            read_result::ok) {
            return false;
        }
        tell_of_budget(from, bytes->counted(), asked.promised);
        memory_->take_back(std::exchange(asked.promised, 0));
        throttle(from, way, fetched_.throttle_ms, at);
        if (fetched_.error != 0) {
            refuse(asked, fetched_.error, at);
            return true;
        }
        auto const parts = std::count_if(fetched_.partitions.begin(), fetched_.partitions.end(),
                                         [](auto const& part) { return !part.records.empty(); });
        bool news = false;
        auto const take = [&](inquiry::subject const& subject, auto const& part) {
            news = news || !part.records.empty() || part.error != 0 || part.diverging ||
                   part.preferred_replica >= 0;
            try {
                take_records(subject, part, bytes,
                             asked.scarce ? parts > 1 : part.records.size() < bytes->counted() / 8,
                             at);
            } catch (std::bad_alloc const&) {
                lose(subject, at);
            }
        };
        take_parts(from, asked, fetched_.partitions, at, take);
        if (!news && at + milliseconds{5} < asked.ends) { // it does not wait: do not spin
            from.no_poll_before = (std::min)(asked.ends, at + milliseconds{50});
        }
        return true;
    }
    /// What there is to be had of memory comes first: what partition_fetch was told, is told.
    void take_records(inquiry::subject const& subject, fetch_answer::partition const& part,
                      std::shared_ptr<answer_bytes> bytes, bool copied, time_point at) {
        auto batches = part.records;
        if (copied && !batches.empty()) {
            bytes = memory_->copy(batches);
            if (!bytes) {
                throw std::bad_alloc{};
            }
            batches = bytes->view();
        }
        auto& partition = *subject.partition;
        auto const reaction =
            partition.take(subject.question, fetched_, part, batches, std::move(bytes), at);
        if (reaction.take) {
            turns_.served(partition);
        }
        react(partition, reaction);
    }

    bool on_listed(broker& from, lane& way, inquiry& asked, connection::expected const& question,
                   std::string_view bytes, time_point at) {
        if (read_list_offsets_answer(bytes, question.version, question.correlation, listed_) !=
            read_result::ok) {
            return false;
        }
        throttle(from, way, listed_.throttle_ms, at);
        auto const take = [&](inquiry::subject const& subject, auto const& part) {
            auto& partition = *subject.partition;
            auto const generation = subject.question.generation;
            react(partition,
                  partition.on_listed(generation, part.error, part.offset, part.leader_epoch, at));
            partition.tell_start(generation);
        };
        take_parts(from, asked, listed_.partitions, at, take);
        return true;
    }
    bool on_epochs(broker& from, lane& way, inquiry& asked, connection::expected const& question,
                   std::string_view bytes, time_point at) {
        if (read_leader_epoch_answer(bytes, question.version, question.correlation, epochs_) !=
            read_result::ok) {
            return false;
        }
        throttle(from, way, epochs_.throttle_ms, at);
        auto const take = [&](inquiry::subject const& subject, auto const& part) {
            auto& partition = *subject.partition;
            react(partition, partition.on_epoch_end(subject.question.generation, part.error,
                                                    part.leader_epoch, part.end_offset, at));
        };
        take_parts(from, asked, epochs_.partitions, at, take);
        return true;
    }
    /// Calls `act(subject, part)` for each part of an answer that was asked for. What has none is
    /// lost.
    template <typename Parts, typename Act>
    void take_parts(broker const& from, inquiry& asked, Parts const& parts, time_point at,
                    Act act) {
        for (auto const& part : parts) {
            if (auto const* const subject = asked.take(part)) {
                act(*subject, part);
            } else {
                notify_of(notice_kind::damaged_answer, from.address, {},
                          "it answers about a partition that it was not asked about");
            }
        }
        asked.for_each_unanswered([&](auto const& subject) { lose(subject, at); });
    }

    bool on_metadata(broker& from, lane& way, connection::expected const& question,
                     std::string_view bytes, time_point at) {
        if (read_metadata_answer(bytes, question.version, question.correlation, cluster_) !=
            read_result::ok) {
            return false;
        }
        throttle(from, way, cluster_.throttle_ms, at);
        metadata_next_ = {};
        take_brokers(at);
        bool const newest = !metadata_.wanted();
        std::size_t found = 0;
        bool complete = true;
        for (auto const& topic : cluster_.topics) {
            for (auto const& part : cluster_.partitions_of(topic)) {
                auto const place = partitions_.find(topic_partition{topic.name, part.number});
                if (place == partitions_.end()) {
                    continue;
                }
                ++found;
                auto& one = *place->second;
                auto const error = topic.error != 0 ? topic.error : part.error;
                one.tell_metadata_error(error);
                // With some errors there is a leader nevertheless.
                auto const leader = brokers_.contains(part.leader) ? part.leader : -1;
                auto const reaction = one.on_metadata(leader, part.leader_epoch, topic.id, newest);
                complete = complete && !reaction.refresh;
                react(one, reaction);
            }
            if (topic.error != 0 && topic.count == 0) {
                for (auto const& [name, one] : partitions_) {
                    if (name.topic == topic.name) {
                        one->tell_metadata_error(topic.error);
                    }
                }
            }
        }
        metadata_.answered(complete && found >= partitions_.size());
        return true;
    }
    void take_brokers(time_point at) {
        if (!cluster_.brokers.empty()) {
            for (auto& [id, one] : brokers_) {
                one.gone = true;
            }
        }
        for (auto const& told : cluster_.brokers) {
            if (told.id < 0 || told.port <= 0 || told.port > 65535 || told.host.empty()) {
                continue;
            }
            broker_address address{std::string{told.host}, static_cast<std::uint16_t>(told.port)};
            auto const [place, added] = brokers_.try_emplace(told.id);
            place->second.gone = false;
            if (added) {
                place->second.id = told.id;
                place->second.address = std::move(address);
            } else if (place->second.address != address) {
                for (auto& way : place->second.lanes) {
                    leave(place->second, way, at);
                }
                place->second.address = std::move(address);
                place->second.failures = 0;
                place->second.not_before = {};
            }
        }
    }
    /// Behind the answers: one of them may be of such a broker.
    void drop_gone_brokers(time_point at) {
        for (auto place = brokers_.begin(); place != brokers_.end();) {
            auto& one = place->second;
            if (!one.gone) {
                ++place;
                continue;
            }
            one.told = true; // it is no trouble
            for (auto& way : one.lanes) {
                leave(one, way, at);
            }
            place = brokers_.erase(place);
        }
    }
    /// Closes a connection that is not needed any more.
    void leave(broker& owner, lane& way, time_point at) {
        if (way.link) {
            closing_.reserve(closing_.size() + 1);
            way.link->close(notice_kind::disconnected, {}, "it moved");
            on_closed(owner, way, at);
        }
    }

    // ---- Questions

    void ask(time_point at) {
        auto const scarce = prepare_partitions(at);
        for (auto& [id, one] : brokers_) {
            if (at < one.quiet_until) {
                continue;
            }
            if (one.other && open(one, one.control(), at)) {
                ask_others(api::list_offsets, id, one, at);
                ask_others(api::leader_epoch, id, one, at);
            }
            if (one.polls) {
                poll(id, one, scarce, at);
            }
        }
        if (at >= metadata_.due() && !partitions_.empty()) {
            ask_metadata(at);
        }
    }

    /// Finds out which partitions may be fetched, and which brokers have to be asked.
    ///
    /// @return whether memory is scarce.
    bool prepare_partitions(time_point at) {
        for (auto& [id, one] : brokers_) {
            one.polls = one.other = false;
        }
        bool const scarce = shares_.scarce(memory_->used());
        bool refused = false;
        memory_->await_release();
        for (auto const& [name, one] : partitions_) {
            bool const room = shares_.room(one->held(), partitions_.size(), scarce);
            one->want(one->claim_wants() && room);
            refused = refused || (one->claim_wants() && !room);
            auto const target = one->target(at);
            if (target < 0 || !one->ready(at)) {
                if (one->running() && target < 0) {
                    metadata_.want();
                }
                continue;
            }
            auto const found = brokers_.find(target);
            if (found == brokers_.end()) {
                metadata_.want();
                react(*one, one->on_target_away(at));
                continue;
            }
            if (target != one->leader() && found->second.away(at)) {
                react(*one, one->on_target_away(at)); // the leader has it, too
                continue;
            }
            if (auto const question = one->next(at, found->second.abilities)) {
                (question->request == api::fetch ? found->second.polls : found->second.other) =
                    true;
            }
        }
        if (!refused) {
            memory_->forget_release();
        }
        return scarce;
    }

    /// The version to ask with; nullopt, and what asks has heard of it.
    std::optional<std::int16_t> version_of(broker& to, lane& way, api key) {
        auto const version = way.link->versions().use(key);
        if (!version) {
            notify_of(notice_kind::unsupported, to.address, {},
                      "no version of a request is known to the broker and here");
        }
        return version;
    }

    void poll(std::int32_t id, broker& to, bool scarce, time_point at) {
        if (at < to.no_poll_before) {
            return;
        }
        // A partition that is ready is asked about at once; unless a poll is about to end, with
        // whose partitions it can share a request.
        auto* free = static_cast<lane*>(nullptr);
        std::optional<time_point> other_ends;
        for (std::size_t i = 0; i != 2; ++i) {
            auto& way = to.lanes[i];
            if (!way.under_way.empty()) {
                other_ends = way.under_way.front().ends;
            } else if (!free) {
                free = &way;
            }
        }
        if (!free || (other_ends && *other_ends - at < milliseconds{10} &&
                      at - *other_ends < milliseconds{10})) {
            return;
        }
        if (!open(to, *free, at)) {
            return;
        }
        auto const abilities = abilities_of(free->link->versions());
        to.abilities = abilities;
        turns_.take_fetches(id, at, abilities, taken_);
        if (taken_.empty()) {
            return;
        }
        auto wait = settings_.fetch_wait_max;
        if (other_ends) { // the last one that is free
            wait = turns_.max_wait(id, at, wait);
            if (*other_ends > at) {
                wait = (std::min)(wait, std::chrono::ceil<milliseconds>(*other_ends - at));
            }
        }
        send_fetch(to, *free, scarce, wait, at);
    }

    /// Asks about what was taken; if that fails, it is lost.
    void send_fetch(broker& to, lane& way, bool scarce, milliseconds wait, time_point at) {
        auto asked = remember(api::fetch, at);
        try {
            auto const newest = version_of(to, way, api::fetch);
            if (!newest) {
                refuse(asked, unsupported_version, at);
                return;
            }
            auto const limits = shares_.of_request(asked.subjects.size(), partitions_.size(),
                                                   memory_->used(), scarce);
            asked.scarce = scarce;
            asked.ends = at + wait;
            asked.promised = limits.total;
            memory_->promise(asked.promised);
            auto const version = request_writer::fetch_version(*newest, asked);
            auto const correlation = way.link->next_correlation();
            auto const frame = requests_.fetch(asked, version, correlation, wait, limits);
            send(way, std::move(asked), frame, version, correlation, wait, at);
            counters_.fetches.fetch_add(1, std::memory_order_relaxed);
        } catch (...) {
            lose(asked, at);
            throw;
        }
    }
    void send(lane& way, inquiry&& asked, std::string_view frame, std::int16_t version,
              std::int32_t correlation, milliseconds wait, time_point at) {
        auto const key = asked.key;
        way.under_way.push_back(std::move(asked));
        try {
            way.link->send(frame, key, version, correlation, wait, at);
        } catch (...) {
            way.link->close(notice_kind::no_memory,
                            std::make_error_code(std::errc::not_enough_memory), "no memory");
        }
        if (way.link->closed()) {
            event_->notify();
        }
    }
    /// What is asked about what was taken; if there is no memory for it, that is lost.
    inquiry remember(api key, time_point at) {
        try {
            return inquiry{key, taken_};
        } catch (...) {
            for (auto const& turn : taken_) {
                turn.partition->on_lost(turn.question.generation, at);
            }
            throw;
        }
    }

    void ask_others(api key, std::int32_t id, broker& to, time_point at) {
        auto& way = to.control();
        if (!way.link || !way.link->ready()) {
            return;
        }
        turns_.take_others(key, id, at, to.abilities, taken_);
        if (taken_.empty()) {
            return;
        }
        auto asked = remember(key, at);
        try {
            auto const version = version_of(to, way, key);
            if (!version) {
                refuse(asked, unsupported_version, at);
                return;
            }
            asked.ends = at;
            auto const correlation = way.link->next_correlation();
            auto const frame = key == api::list_offsets
                                   ? requests_.list_offsets(asked, *version, correlation)
                                   : requests_.leader_epochs(asked, *version, correlation);
            send(way, std::move(asked), frame, *version, correlation, milliseconds{0}, at);
            counters_.other_requests.fetch_add(1, std::memory_order_relaxed);
        } catch (...) {
            lose(asked, at);
            throw;
        }
    }

    /// Any broker that is known will do, one that is connected first; else who is named in the
    /// configuration. Who does not answer within a second is not waited for.
    void ask_metadata(time_point at) {
        auto const candidates = brokers_.size() + bootstrap_.size();
        if (candidates == 0) {
            return;
        }
        auto const candidate = [&](std::size_t index) -> broker& {
            index %= candidates;
            if (index < brokers_.size()) {
                return std::next(brokers_.begin(), static_cast<std::ptrdiff_t>(index))->second;
            }
            return bootstrap_[index - brokers_.size()];
        };
        for (std::size_t i = 0; i != candidates; ++i) {
            auto& one = candidate(metadata_from_ + i);
            auto& way = one.control();
            if (way.link && way.link->ready() && at >= one.quiet_until) {
                metadata_from_ = (metadata_from_ + i) % candidates;
                send_metadata(one, way, at);
                return;
            }
        }
        if (at < metadata_next_) {
            return; // for who was asked last
        }
        for (std::size_t i = 1; i <= candidates; ++i) {
            auto& one = candidate(metadata_from_ + i);
            if (!one.control().link && at >= one.not_before) {
                metadata_from_ = (metadata_from_ + i) % candidates;
                metadata_next_ = at + std::chrono::seconds{1};
                open(one, one.control(), at);
                return;
            }
        }
    }
    void send_metadata(broker& to, lane& way, time_point at) {
        auto const version = version_of(to, way, api::metadata);
        metadata_.asked(at);
        if (!version) {
            metadata_.lost();
            return;
        }
        auto const correlation = way.link->next_correlation();
        try {
            auto const frame = requests_.metadata(partitions_, *version, correlation);
            send(way, inquiry{api::metadata}, frame, *version, correlation, milliseconds{0}, at);
        } catch (...) {
            metadata_.lost();
            throw;
        }
        counters_.other_requests.fetch_add(1, std::memory_order_relaxed);
        counters_.metadata_requests.fetch_add(1, std::memory_order_relaxed);
    }

    // ---- Time

    /// When something is to be done although nothing happens.
    time_point next_time(time_point at) {
        auto result = (time_point::max)();
        auto const consider = [&](time_point time) {
            if (time > at) {
                result = (std::min)(result, time);
            }
        };
        if (auto const held_back = turns_.next_time(at)) {
            consider(*held_back);
        }
        consider(metadata_.due());
        consider(metadata_next_);
        for_each_broker([&](broker& one) {
            for (auto& way : one.lanes) {
                if (way.link) {
                    if (auto const limit = way.link->deadline()) {
                        result = (std::min)(result, *limit);
                    }
                }
                if (one.polls && !way.under_way.empty()) {
                    consider(way.under_way.front().ends + milliseconds{10});
                }
            }
            consider(one.not_before);
            consider(one.quiet_until);
            consider(one.no_poll_before);
        });
        return result;
    }

    asio::any_io_executor executor_;
    fetcher_settings settings_;
    std::function<void(fetcher_notice)> notice_;
    fetcher_counters counters_;
    std::shared_ptr<auto_reset_event> event_;
    std::shared_ptr<answer_memory> memory_;
    memory_shares shares_;
    partition_orders orders_;
    std::mutex mutex_;
    bool running_ = false;
    bool ended_ = false;
    std::function<void()> done_;
    std::atomic<bool> ending_{false};

    // On the strand.
    name_lookup names_;
    metadata_schedule metadata_;
    std::size_t metadata_from_ = 0; // the candidate that was asked last
    time_point metadata_next_{};    // when the next one is tried
    fetched_partitions partitions_;
    fetch_turns turns_;
    std::map<std::int32_t, broker> brokers_;
    std::deque<broker> bootstrap_;
    std::vector<std::shared_ptr<connection>> closing_; // of which something is still under way
    bool told_of_budget_ = false;
    // Members that lost the same broker do not come back at the same time.
    std::minstd_rand random_{static_cast<std::uint32_t>(clock::now().time_since_epoch().count() ^
                                                        reinterpret_cast<std::uintptr_t>(this))};

    // Used again and again.
    request_writer requests_;
    std::vector<fetch_turns::turn> taken_;
    fetch_answer fetched_;
    list_offsets_answer listed_;
    leader_epoch_answer epochs_;
    metadata_answer cluster_;
};

} // namespace kgroup::detail::fetch
