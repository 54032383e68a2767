// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/claim/record_writer.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/client/rebalance.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/error.hpp>
#include <kgroup/message.hpp>
#include <kgroup/oauth_token.hpp>
#include <kgroup/topic_partition.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace kgroup::testing {

/// What a `fake_cluster` and the clients that belong to it share: logs, offsets, the one member,
/// what is said between them. For those two; a test talks to the `fake_cluster`.
class fake_coordinator {
public:
    /// A record in a log. What is not set is null, which is not the same as empty.
    struct record {
        std::optional<std::string> key{};
        std::optional<std::string> value{};
        std::vector<owned_message::owned_header> headers{};
        std::optional<std::chrono::system_clock::time_point> timestamp{}; ///< unset: it has none
    };

    /// What a member asks for and the script can refuse, or leave unanswered.
    enum class request {
        look_up, ///< for committed offsets
        commit,
        close,     ///< to leave the group; cannot be refused
        shut_down, ///< to end the client; cannot be refused
        offsets_for_times,
        token,           ///< to be taken, for SASL/OAUTHBEARER; cannot be held
        find_ends,       ///< of logs, when nothing comes
        ask_coordinator, ///< whether it is there
    };

    /// The queue of a partition for one claim. Under the coordinator's mutex.
    struct partition_queue {
        struct entry {
            enum class kind { record, control, error, outdated } type;
            std::int64_t offset = 0;
            fake_coordinator::record content{};
            std::error_code error{};
            std::string text{};
        };
        topic_partition where;
        std::weak_ptr<detail::partition_state> reader;
        std::deque<entry> entries{};
        bool closed = false;
    };

    // Script: see fake_cluster.

    std::int64_t add(topic_partition const& where, std::span<record const> records) {
        change const now{*this};
        missing_topics_.erase(where.topic);
        auto& partition_log = logs_[where];
        auto const first = partition_log.end;
        for (auto const& content : records) {
            partition_log.records.emplace(partition_log.end++, content);
        }
        fetch(where);
        return records.empty() ? -1 : first;
    }

    void skip(topic_partition const& where, std::int64_t count) {
        std::lock_guard const lock{mutex_};
        logs_[where].end += count;
    }

    void add_control(topic_partition const& where, std::int64_t count) {
        change const now{*this};
        auto& partition_log = logs_[where];
        partition_log.end += count;
        partition_log.controls.insert(partition_log.end - 1);
        fetch(where);
    }

    void make_anew(topic_partition const& where) {
        change const now{*this};
        logs_[where] = {};
        fetch(where);
    }

    std::int64_t log_end(topic_partition const& where) const {
        std::lock_guard const lock{mutex_};
        return end_of(where);
    }

    void set_committed(topic_partition const& where, std::int64_t next, std::string_view metadata) {
        std::lock_guard const lock{mutex_};
        committed_.insert_or_assign(where,
                                    detail::offset_commit{where, next, std::string{metadata}});
    }
    std::optional<detail::offset_commit> committed(topic_partition const& where) const {
        std::lock_guard const lock{mutex_};
        auto const found = committed_.find(where);
        return found == committed_.end() ? std::nullopt : std::optional{found->second};
    }

    void join() {
        change const now{*this};
        script([this] {
            become_known();
            generation_ = (std::max)(generation_, 1);
        });
    }
    void assign(detail::partition_set partitions) {
        change const now{*this};
        script([this, partitions = std::move(partitions)]() mutable {
            become_known();
            ++generation_;
            if (!cooperative_) {
                granted_.clear();
            }
            granted_.insert(partitions.begin(), partitions.end());
            rebalance({true, std::move(partitions), false});
        });
    }
    /// nullopt: all.
    void revoke(std::optional<detail::partition_set> partitions, bool lost) {
        change const now{*this};
        if (partitions && client_ && !cooperative_) {
            throw std::logic_error{
                "fake_cluster: an eager member can only lose everything at once"};
        }
        script([this, partitions = std::move(partitions), lost] {
            auto taken = cooperative_ && partitions ? *partitions : granted_;
            for (auto const& partition : taken) {
                granted_.erase(partition);
            }
            rebalance({false, std::move(taken), lost});
        });
    }

    void expel(std::error_code error, std::string_view text) {
        change const now{*this};
        script([this, error, text = std::string{text}] {
            expelled_ = true;
            unassign_all();
            granted_.clear();
            push(detail::client_fatal{error, text});
        });
    }

    void want_token() {
        change const now{*this};
        script([this] { push(detail::client_token_wanted{}); });
    }
    std::optional<oauth_token> token() const {
        std::lock_guard const lock{mutex_};
        return token_;
    }
    std::vector<std::string> topics() const {
        std::lock_guard const lock{mutex_};
        return topics_;
    }

    void report(event event) {
        change const now{*this};
        script([this, event = std::move(event)] {
            away_ = away_ || event.kind == event_kind::brokers_unreachable;
            detail::client_notice notice{event};
            if (event.kind == event_kind::topic_missing && event.where) {
                missing_topics_.insert(event.where->topic);
                for (auto const& partition : positions_) {
                    if (partition.first.topic == event.where->topic) {
                        notice.log_ends.emplace(partition.first, end_of(partition.first));
                    }
                }
            }
            push(std::move(notice));
        });
    }
    void end_outage() {
        change const now{*this};
        away_ = false;
    }

    void withhold(topic_partition const& where, bool on) {
        change const now{*this};
        if (on) {
            withheld_.insert(where);
        } else {
            withheld_.erase(where);
            fetch(where);
        }
    }
    std::uint64_t end_requests() const {
        std::lock_guard const lock{mutex_};
        return end_requests_;
    }
    std::uint64_t coordinator_requests() const {
        std::lock_guard const lock{mutex_};
        return coordinator_requests_;
    }

    void fail_partition(topic_partition const& where, std::error_code error,
                        std::string_view text) {
        change const now{*this};
        script([this, where, error, text = std::string{text}] {
            if (auto const found = queues_.find(where); found != queues_.end()) {
                put(*found->second, {partition_queue::entry::kind::error, 0, {}, error, text});
            }
        });
    }

    void drop_wake_ups(topic_partition const& where, std::size_t times) {
        std::lock_guard const lock{mutex_};
        wake_ups_to_drop_[where] += times;
    }

    void fail(request kind, std::error_code error, std::size_t times) {
        if (kind == request::close || kind == request::shut_down) {
            throw std::logic_error{"fake_cluster: leaving cannot be refused"};
        }
        std::lock_guard const lock{mutex_};
        auto& errors = faults_[index(kind)];
        errors.insert(errors.end(), times, error);
    }

    void fail_commits_of(topic_partition const& where, std::error_code error, std::size_t times) {
        std::lock_guard const lock{mutex_};
        auto& errors = commit_faults_[where];
        errors.insert(errors.end(), times, error);
    }

    void fail_look_ups_of(topic_partition const& where, std::error_code error, std::size_t times) {
        std::lock_guard const lock{mutex_};
        auto& errors = look_up_faults_[where];
        errors.insert(errors.end(), times, error);
    }
    void fail_logs_of(topic_partition const& where, std::error_code error, std::size_t times) {
        std::lock_guard const lock{mutex_};
        auto& errors = log_faults_[where];
        errors.insert(errors.end(), times, error);
    }

    void hold(request kind) {
        if (kind == request::token) {
            throw std::logic_error{"fake_cluster: a token is taken or refused at once"};
        }
        std::lock_guard const lock{mutex_};
        holds_[index(kind)] = true;
    }

    void hold_next(request kind, std::size_t times) {
        if (kind == request::token) {
            throw std::logic_error{"fake_cluster: a token is taken or refused at once"};
        }
        std::lock_guard const lock{mutex_};
        holds_next_[index(kind)] += times;
    }

    void release(request kind) {
        change const now{*this};
        holds_[index(kind)] = false;
        holds_next_[index(kind)] = 0;
        for (auto const& action : std::exchange(held_[index(kind)], {})) {
            action();
        }
    }

    std::vector<std::string> trace() const {
        std::lock_guard const lock{mutex_};
        return trace_;
    }
    void clear_trace() {
        std::lock_guard const lock{mutex_};
        trace_.clear();
    }
    std::vector<std::string> complaints() const {
        std::lock_guard const lock{mutex_};
        return complaints_;
    }
    std::set<topic_partition> assigned() const {
        std::lock_guard const lock{mutex_};
        return assigned_partitions();
    }
    bool has_member() const {
        std::lock_guard const lock{mutex_};
        return client_ != nullptr;
    }
    std::uint64_t polls() const {
        std::lock_guard const lock{mutex_};
        return polls_;
    }
    std::size_t fetched(topic_partition const& where) const {
        std::lock_guard const lock{mutex_};
        auto const found = queues_.find(where);
        if (found == queues_.end()) {
            return 0;
        }
        return static_cast<std::size_t>(std::ranges::count(found->second->entries,
                                                           partition_queue::entry::kind::record,
                                                           &partition_queue::entry::type));
    }
    std::uint64_t records_taken() const {
        std::lock_guard const lock{mutex_};
        return records_taken_;
    }
    std::size_t records_held() const {
        std::lock_guard const lock{mutex_};
        return lent_.size();
    }

    // The member's client: see kgroup::client.

    void start(void const* client, std::function<void()> notify, bool cooperative,
               offset_reset initial_offset,
               std::optional<std::chrono::system_clock::time_point> initial_time,
               std::vector<std::string> topics) {
        change const now{*this};
        if (client_) {
            throw std::logic_error{
                "fake_cluster: a member is there already, and it plays one at a time"};
        }
        client_ = client;
        notify_ = std::move(notify);
        cooperative_ = cooperative;
        initial_offset_ = initial_offset;
        initial_time_ = initial_time;
        topics_ = std::move(topics);
        for (auto const& line : std::exchange(script_, {})) {
            line();
        }
    }

    std::optional<detail::client_event> poll() {
        std::lock_guard const lock{mutex_};
        ++polls_;
        if (events_.empty()) {
            return std::nullopt;
        }
        auto const first = std::move(events_.front());
        events_.pop_front();
        if (auto const* const arrived = std::get_if<membership_change>(&first)) {
            return see(*arrived);
        }
        auto const& other = std::get<detail::client_event>(first);
        note(other);
        return other;
    }

    void look_up(std::uint64_t id, std::vector<topic_partition> const& partitions, bool lower) {
        change const now{*this};
        note("look up" + list(partitions));
        carry_out(request::look_up,
                  [this, id, partitions, lower] { push(find_offsets(id, partitions, lower)); });
    }

    void find_in_logs(std::uint64_t id, std::vector<detail::log_place> const& places,
                      std::vector<std::string> const& topics) {
        change const now{*this};
        detail::client_log_offsets found{id, {}, {}};
        for (auto const& place : places) {
            if (auto const error = next_of(log_faults_[place.where])) {
                found.offsets.push_back({place.where, -1, *error});
            } else {
                found.offsets.push_back({place.where, find_in_log(place), {}});
            }
        }
        for (auto const& topic : topics) {
            found.partition_counts.emplace(topic, partition_count(topic));
        }
        push(std::move(found));
    }

    void assign(std::vector<detail::start_position> const& positions, bool cooperative) {
        change const now{*this};
        std::string line = cooperative ? "add" : "assign";
        detail::partition_set partitions;
        for (auto const& start : positions) {
            line += " " + detail::to_string(start.where) + "@" + text_of(start.start);
            partitions.insert(start.where);
        }
        note(std::move(line));
        if (!accept_assignment(partitions, cooperative)) {
            return;
        }
        if (!cooperative) {
            unassign_all();
        }
        for (auto const& start : positions) {
            place(start);
            to_fetch_.insert(start.where);
        }
        go_on();
    }

    void unassign(std::vector<topic_partition> const& partitions, bool cooperative) {
        change const now{*this};
        note(cooperative ? "remove" + list(partitions) : "unassign" + list(assigned_partitions()));
        if (!accept_revocation({partitions.begin(), partitions.end()}, cooperative)) {
            return;
        }
        if (cooperative) {
            for (auto const& partition : partitions) {
                outdate(partition);
                positions_.erase(partition);
            }
        } else {
            unassign_all();
        }
        go_on();
    }

    std::shared_ptr<partition_queue> open(std::shared_ptr<detail::partition_state> const& reader) {
        change const now{*this};
        auto queue = std::make_shared<partition_queue>(partition_queue{reader->where(), reader});
        if (auto const before = std::exchange(queues_[reader->where()], queue)) {
            close(*before);
        }
        fetch(reader->where());
        return queue;
    }

    void seek(std::vector<detail::start_position> const& positions) {
        change const now{*this};
        for (auto const& start : positions) {
            note("seek " + detail::to_string(start.where) + "@" + text_of(start.start));
            if (!positions_.contains(start.where)) {
                complain("a seek in " + detail::to_string(start.where) + ", which is not assigned");
                continue;
            }
            outdate(start.where);
            place(start);
            fetch(start.where);
        }
    }

    void commit(std::uint64_t id, std::vector<detail::offset_commit> const& offsets) {
        change const now{*this};
        std::string line = "commit";
        for (auto const& commit : offsets) {
            line += " " + detail::to_string(commit.where) + "=" + std::to_string(commit.offset);
            if (!commit.metadata.empty()) {
                line += " \"" + commit.metadata + "\"";
            }
        }
        note(std::move(line));
        carry_out(request::commit, [this, id, offsets] { push(store_offsets(id, offsets)); });
    }

    void subscribe(std::vector<std::string> topics) {
        change const now{*this};
        std::string line = "subscribe";
        for (auto const& topic : topics) {
            line += " " + topic;
        }
        note(std::move(line));
        topics_ = std::move(topics);
    }

    void offsets_for_times(std::uint64_t id, std::vector<topic_partition> const& partitions,
                           std::chrono::system_clock::time_point time) {
        change const now{*this};
        note("offsets for times" + list(partitions));
        carry_out(request::offsets_for_times, [this, id, partitions, time] {
            detail::client_times found{id, {}};
            auto const error = next_fault(request::offsets_for_times).value_or(std::error_code{});
            for (auto const& partition : partitions) {
                found.results.push_back(
                    {partition, error ? std::nullopt : first_since(partition, time), error});
            }
            push(std::move(found));
        });
    }

    void find_ends(std::uint64_t id, std::vector<topic_partition> const& partitions) {
        change const now{*this};
        ++end_requests_;
        carry_out(request::find_ends, [this, id, partitions] {
            detail::client_ends found{id, {}};
            auto const refused = next_fault(request::find_ends).value_or(unreachable());
            for (auto const& where : partitions) {
                auto const missing = missing_topics_.contains(where.topic);
                auto const error =
                    missing ? make_error_code(kafka_errc::unknown_topic_or_partition) : refused;
                found.ends.push_back(
                    {where, error ? std::nullopt : std::optional{end_of(where)}, error});
            }
            push(std::move(found));
        });
    }

    void ask_coordinator(std::uint64_t id) {
        change const now{*this};
        ++coordinator_requests_;
        carry_out(request::ask_coordinator, [this, id] {
            auto const error = next_fault(request::ask_coordinator).value_or(unreachable());
            push(detail::client_coordinator{id, error, !away_});
        });
    }

    void listen(bool on) {
        std::lock_guard const lock{mutex_};
        listening_ = on;
    }
    bool listening() const {
        std::lock_guard const lock{mutex_};
        return listening_;
    }
    std::string heard(std::optional<topic_partition> const& where) const {
        std::lock_guard const lock{mutex_};
        auto const found = debug_log_.find(where);
        return listening_ && found != debug_log_.end() ? found->second : std::string{};
    }
    void set_debug_log(std::optional<topic_partition> const& where, std::string_view text) {
        std::lock_guard const lock{mutex_};
        debug_log_[where] = text;
    }

    std::error_code set_token(oauth_token const& token) {
        std::lock_guard const lock{mutex_};
        note("token");
        if (auto const error = next_fault(request::token)) {
            return *error;
        }
        token_ = token;
        return {};
    }

    void close() {
        change const now{*this};
        note("close");
        carry_out(request::close, [this] {
            closing_ = true;
            go_on();
        });
    }
    bool closed() const {
        std::lock_guard const lock{mutex_};
        return closed_;
    }

    /// The client is no more, whether it was closed or not.
    void leave(void const* client) {
        change const now{*this};
        if (client_ != client) {
            return;
        }
        note("shut down");
        client_ = nullptr;
        later_.push_back([notify = std::exchange(notify_, nullptr)] {
        }); // what it holds is let go outside the lock
        for (auto const& [where, queue] : queues_) {
            close(*queue);
        }
        queues_.clear();
        events_.clear();
        positions_.clear();
        ahead_.clear();
        to_fetch_.clear();
        granted_.clear();
        unanswered_.reset();
        arriving_ = 0;
        token_.reset();
        topics_.clear();
        for (auto const kind :
             {request::look_up, request::commit, request::close, request::offsets_for_times,
              request::find_ends, request::ask_coordinator}) {
            held_[index(kind)].clear();
        }
        member_id_.clear();
        generation_ = -1;
        closing_ = closed_ = expelled_ = away_ = false;
    }

    /// Runs `done`, now or when the script releases it.
    void end(std::function<void()> done) {
        change const now{*this};
        carry_out(request::shut_down, [this, done = std::move(done)] { later_.push_back(done); });
    }

    std::string member_id() const {
        std::lock_guard const lock{mutex_};
        return member_id_;
    }
    std::int32_t generation_id() const {
        std::lock_guard const lock{mutex_};
        return generation_;
    }

    // A claim's queue: see detail::record_source.

    /// Where reading goes on; nullopt: something is left.
    std::optional<std::int64_t> drain(partition_queue& queue, detail::record_block& block,
                                      std::size_t byte_limit) {
        change const now{*this};
        detail::record_block::writer into{block};
        while (!queue.entries.empty() && !into.full() && into.bytes() < byte_limit) {
            auto first = std::move(queue.entries.front());
            queue.entries.pop_front();
            switch (first.type) {
            case partition_queue::entry::kind::outdated:
                break;
            case partition_queue::entry::kind::control:
                consumed(queue.where, first.offset);
                break;
            case partition_queue::entry::kind::error:
                if (effect_of(first.error) == error_effect::ends_application) {
                    close(queue); // nothing behind it is delivered
                }
                later_.push_back(
                    [reader = queue.reader.lock(), ec = first.error, text = std::move(first.text)] {
                        if (reader) {
                            reader->fail(ec, text);
                        }
                    });
                break;
            case partition_queue::entry::kind::record:
                // Its own copy of the bytes, so that a use after the free is one.
                auto lent = std::make_unique<record const>(std::move(first.content));
                into.append(
                    const_cast<record*>(lent.get()), lent->key ? lent->key->data() : nullptr,
                    lent->key ? lent->key->size() : 0, lent->value ? lent->value->data() : nullptr,
                    lent->value ? lent->value->size() : 0, first.offset);
                consumed(queue.where, first.offset);
                ++records_taken_;
                lent_.emplace(lent.get(), std::move(lent));
                break;
            }
        }
        return position_behind(queue);
    }

    /// Takes away what would not be delivered, up to the first record. Where reading goes on;
    /// nullopt: something is left.
    std::optional<std::int64_t> look(partition_queue& queue) {
        using kind = partition_queue::entry::kind;
        std::lock_guard const lock{mutex_};
        while (!queue.entries.empty() && (queue.entries.front().type == kind::control ||
                                          queue.entries.front().type == kind::outdated)) {
            if (queue.entries.front().type == kind::control) {
                consumed(queue.where, queue.entries.front().offset);
            }
            queue.entries.pop_front();
        }
        return position_behind(queue);
    }

    std::size_t waiting(partition_queue const& queue) const {
        std::lock_guard const lock{mutex_};
        return queue.entries.size();
    }

    void close_queue(partition_queue& queue) {
        std::lock_guard const lock{mutex_};
        close(queue);
    }

    void free_records(detail::record const* first, std::size_t count) {
        std::lock_guard const lock{mutex_};
        for (std::size_t i = 0; i != count; ++i) {
            if (lent_.erase(first[i].native) == 0) {
                complain("a record was freed that was not taken, or was freed before");
            }
        }
    }

    detail::watermarks known_watermarks(topic_partition const& where) const {
        std::lock_guard const lock{mutex_};
        if (!positions_.contains(where)) {
            return {};
        }
        return {begin_of(where), end_of(where)};
    }

private:
    struct membership_change {
        bool assignment;
        detail::partition_set partitions;
        bool lost;
    };
    struct log {
        std::map<std::int64_t, record> records{};
        std::set<std::int64_t>
            controls{}; // behind which reading goes on, though nothing is delivered
        std::int64_t end = 0;
    };
    struct position {
        std::int64_t fetch = 0;    // next to be fetched
        std::int64_t consumed = 0; // next to be taken out of the queue
        bool held_back = false;    // until it is said where it begins
    };

    // A change under the lock. What may run other people's code, or end the last hold of it, is
    // done behind it.
    class change {
    public:
        explicit change(fake_coordinator& owner) : owner_(owner), lock_(owner.mutex_) {}
        change(change const&) = delete;
        change& operator=(change const&) = delete;
        ~change() {
            auto const woken = std::exchange(owner_.woken_, {});
            auto const later = std::exchange(owner_.later_, {});
            lock_.unlock();
            for (auto const& action : later) {
                action();
            }
        }

    private:
        fake_coordinator& owner_;
        std::unique_lock<std::mutex> lock_;
    };

    static std::size_t index(request kind) noexcept { return static_cast<std::size_t>(kind); }

    // Now, or when there is a member.
    void script(std::function<void()> line) {
        if (client_) {
            line();
        } else {
            script_.push_back(std::move(line));
        }
    }

    // Now, or when it is released.
    void carry_out(request kind, std::function<void()> action) {
        auto& next = holds_next_[index(kind)];
        if (holds_[index(kind)] || next != 0) {
            next -= next != 0 ? 1 : 0;
            held_[index(kind)].push_back(std::move(action));
        } else {
            action();
        }
    }

    // Membership.

    void become_known() {
        if (member_id_.empty()) {
            member_id_ = "fake-member-" + std::to_string(++members_);
        }
    }

    void rebalance(membership_change membership) {
        away_ = away_ && membership.lost;
        // Nothing is handed over from here on, and what was fetched is fetched again after the
        // answer.
        for (auto const& partition : std::exchange(ahead_, {})) {
            if (auto const found = positions_.find(partition); found != positions_.end()) {
                outdate(partition);
                found->second.fetch = found->second.consumed;
                to_fetch_.insert(partition);
            }
        }
        ++arriving_;
        push(std::move(membership));
    }
    bool rebalancing() const noexcept { return arriving_ != 0 || unanswered_; }

    detail::client_event see(membership_change const& membership) {
        --arriving_;
        unanswered_ = membership;
        auto const* const how = membership.assignment ? (cooperative_ ? "added" : "assigned")
                                : membership.lost     ? "lost"
                                : cooperative_        ? "removed"
                                                      : "revoked";
        note(std::string{"> "} + how + list(membership.partitions));
        if (membership.assignment) {
            return detail::client_rebalance{
                detail::partitions_assigned{membership.partitions, cooperative_}};
        }
        return detail::client_rebalance{
            detail::partitions_revoked{membership.partitions, cooperative_, membership.lost}};
    }

    // Eager answers are wholes and must fit the newest rebalance. Cooperative ones are differences,
    // and may make up for what was overtaken; what does not fit what is assigned is refused.
    bool accept_assignment(detail::partition_set const& partitions, bool cooperative) {
        auto const to_assignment = unanswered_ && unanswered_->assignment;
        if (cooperative != cooperative_) {
            complain("an answer of the other protocol");
        } else if (!cooperative && (!to_assignment || partitions != unanswered_->partitions)) {
            complain("an assignment that does not answer the newest rebalance:" + list(partitions));
        } else if (cooperative && std::ranges::any_of(partitions, [this](auto const& partition) {
                       return positions_.contains(partition);
                   })) {
            complain("an assignment of what is assigned already:" + list(partitions));
            return false;
        }
        if (!cooperative || to_assignment) {
            unanswered_.reset();
        }
        return true;
    }
    bool accept_revocation(detail::partition_set const& partitions, bool cooperative) {
        auto const to_revocation = unanswered_ && !unanswered_->assignment;
        if (cooperative != cooperative_) {
            complain("an answer of the other protocol");
        } else if (!cooperative && !to_revocation) {
            complain("a revocation that does not answer the newest rebalance:" + list(partitions));
        } else if (cooperative && !std::ranges::all_of(partitions, [this](auto const& partition) {
                       return positions_.contains(partition);
                   })) {
            complain("a revocation of what is not assigned:" + list(partitions));
            return false;
        }
        if (!cooperative || to_revocation) {
            unanswered_.reset();
        }
        return true;
    }

    // What waited for an answer.
    void go_on() {
        if (rebalancing()) {
            return;
        }
        for (auto const& partition : std::exchange(to_fetch_, {})) {
            fetch(partition);
        }
        if (!closing_ || closed_) {
            return;
        }
        if (!expelled_ && !positions_.empty()) {
            granted_.clear();
            return rebalance({false, assigned_partitions(), false});
        }
        closed_ = true;
        note("> closed");
        wake_member();
    }

    detail::partition_set assigned_partitions() const {
        detail::partition_set all;
        for (auto const& [where, state] : positions_) {
            all.insert(where);
        }
        return all;
    }

    void unassign_all() {
        for (auto const& [where, state] : positions_) {
            outdate(where);
        }
        positions_.clear();
    }

    // Events for the member.

    using member_event = std::variant<membership_change, detail::client_event>;

    template <typename Event>
    void push(Event event) {
        if constexpr (std::same_as<Event, membership_change>) {
            events_.push_back(std::move(event));
        } else {
            events_.push_back(detail::client_event{std::move(event)});
        }
        if (events_.size() == 1) {
            wake_member();
        }
    }

    void wake_member() {
        if (notify_) {
            later_.push_back(notify_);
        }
    }

    // Offsets.

    std::optional<std::error_code> next_fault(request kind) {
        return next_of(faults_[index(kind)]);
    }
    static std::optional<std::error_code> next_of(std::deque<std::error_code>& errors) {
        if (errors.empty()) {
            return std::nullopt;
        }
        auto const first = errors.front();
        errors.pop_front();
        return first;
    }

    detail::client_event find_offsets(std::uint64_t id,
                                      std::vector<topic_partition> const& partitions, bool lower) {
        if (auto const error = next_fault(request::look_up)) {
            return detail::client_offsets{id, *error, {}, {}};
        }
        detail::client_offsets found{id, {}, {}, {}};
        std::map<std::string, std::int32_t> highest;
        for (auto const& where : partitions) {
            auto const error = next_of(look_up_faults_[where]).value_or(std::error_code{});
            found.offsets.push_back(error ? detail::committed_offset{where, -1, {}, error}
                                          : committed_of(where));
            auto& last = highest.try_emplace(where.topic, where.partition).first->second;
            last = (std::max)(last, where.partition);
        }
        detail::partition_set const asked{partitions.begin(), partitions.end()};
        for (auto const& [topic, last] : lower ? highest : std::map<std::string, std::int32_t>{}) {
            for (topic_partition where{topic, 0}; where.partition < last; ++where.partition) {
                if (!asked.contains(where)) {
                    found.lower.push_back(committed_of(where));
                }
            }
        }
        return found;
    }
    detail::committed_offset committed_of(topic_partition const& where) const {
        auto const found = committed_.find(where);
        return found == committed_.end()
                   ? detail::committed_offset{where}
                   : detail::committed_offset{
                         where, found->second.offset, found->second.metadata, {}};
    }

    std::int64_t find_in_log(detail::log_place const& place) const {
        using namespace std::chrono;
        if (place.at >= 0) {
            return first_since(place.where, system_clock::time_point{} + milliseconds{place.at})
                .value_or(-1);
        }
        return resolve(place.where, place.at);
    }
    // Partitions need not be made: there are as many as were heard of.
    std::int32_t partition_count(std::string const& topic) const {
        std::int32_t count = 0;
        auto const consider = [&](topic_partition const& where) {
            if (where.topic == topic) {
                count = (std::max)(count, where.partition + 1);
            }
        };
        for (auto const& [where, content] : logs_) {
            consider(where);
        }
        for (auto const& [where, commit] : committed_) {
            consider(where);
        }
        for (auto const& where : granted_) {
            consider(where);
        }
        return count;
    }

    detail::client_event store_offsets(std::uint64_t id,
                                       std::vector<detail::offset_commit> const& offsets) {
        detail::client_commit answer{id, {}, {}};
        if (expelled_) {
            answer.error = make_error_code(kafka_errc::local_fatal);
        } else if (auto const error = next_fault(request::commit)) {
            answer.error = *error;
        }
        std::error_code refused;
        for (auto const& commit : offsets) {
            auto error = answer.error;
            if (!error) {
                error = next_of(commit_faults_[commit.where]).value_or(std::error_code{});
                refused = error ? error : refused;
            }
            if (!error) {
                committed_.insert_or_assign(commit.where, commit);
            }
            answer.results.push_back({commit.where, error});
        }
        for (auto& result : answer.results) {
            result.error = result.error ? result.error : refused;
        }
        return answer;
    }

    std::error_code unreachable() const {
        return away_ ? make_error_code(kafka_errc::local_transport) : std::error_code{};
    }

    // Records.

    std::int64_t begin_of(topic_partition const& where) const {
        auto const found = logs_.find(where);
        return found == logs_.end() || found->second.records.empty()
                   ? end_of(where)
                   : found->second.records.begin()->first;
    }
    std::int64_t end_of(topic_partition const& where) const {
        auto const found = logs_.find(where);
        return found == logs_.end() ? 0 : found->second.end;
    }
    std::optional<std::int64_t> first_since(topic_partition const& where,
                                            std::chrono::system_clock::time_point time) const {
        if (auto const found = logs_.find(where); found != logs_.end()) {
            for (auto const& [offset, content] : found->second.records) {
                if (content.timestamp && *content.timestamp >= time) {
                    return offset;
                }
            }
        }
        return std::nullopt;
    }
    void place(detail::start_position const& at) {
        auto const start =
            resolve(at.where, (std::max)(at.start, detail::start_position::log_beginning));
        positions_[at.where] = {start, start, at.start == detail::start_position::unknown};
    }
    std::int64_t resolve(topic_partition const& where, std::int64_t start) const {
        return start == detail::start_position::log_end         ? end_of(where)
               : start == detail::start_position::log_beginning ? begin_of(where)
                                                                : start;
    }

    // Everything that is in the log goes into the queue; what limits a real fetch shows nowhere
    // else.
    void fetch(topic_partition const& where) {
        auto const at = positions_.find(where);
        auto const queue = queues_.find(where);
        if (at == positions_.end() || at->second.held_back || queue == queues_.end() ||
            queue->second->closed || withheld_.contains(where)) {
            return;
        }
        if (rebalancing()) {
            to_fetch_.insert(where);
            return;
        }
        auto& next = at->second.fetch;
        if (next > end_of(where)) {
            if (initial_offset_ == offset_reset::none) {
                next = end_of(where);
                put(*queue->second, {partition_queue::entry::kind::error,
                                     0,
                                     {},
                                     errc::offset_out_of_range,
                                     "offset out of range"});
                return;
            }
            auto const from = std::exchange(
                next, initial_offset_ == offset_reset::latest ? end_of(where) : begin_of(where));
            at->second.consumed = next;
            push(detail::client_position_reset{where, from, next});
        }
        auto const& partition_log = logs_[where];
        away_ = away_ && partition_log.records.lower_bound(next) ==
                             partition_log.records.end(); // who hands over records is there
        auto control = partition_log.controls.lower_bound(next);
        auto const put_controls = [&](std::int64_t before) {
            for (; control != partition_log.controls.end() && *control < before; ++control) {
                put(*queue->second, {partition_queue::entry::kind::control, *control, {}, {}, {}});
            }
        };
        for (auto entry = partition_log.records.lower_bound(next);
             entry != partition_log.records.end(); ++entry) {
            put_controls(entry->first);
            put(*queue->second,
                {partition_queue::entry::kind::record, entry->first, entry->second, {}, {}});
        }
        put_controls(partition_log.end);
        next = end_of(where);
    }

    std::optional<std::int64_t> position_behind(partition_queue const& queue) {
        auto const at = positions_.find(queue.where);
        if (at == positions_.end() || !queue.entries.empty()) {
            return std::nullopt;
        }
        if (at->second.fetch == at->second.consumed) {
            ahead_.erase(queue.where);
        }
        return queue.closed ? std::nullopt : std::optional{at->second.consumed};
    }

    void consumed(topic_partition const& where, std::int64_t offset) {
        if (auto const found = positions_.find(where); found != positions_.end()) {
            found->second.consumed = offset + 1;
        }
    }

    void put(partition_queue& queue, partition_queue::entry entry) {
        if (queue.closed) {
            return;
        }
        queue.entries.push_back(std::move(entry));
        ahead_.insert(queue.where);
        if (queue.entries.size() != 1) {
            return; // only a queue that was empty wakes
        }
        if (auto& drop = wake_ups_to_drop_[queue.where]; drop != 0) {
            --drop;
            return;
        }
        if (auto reader = queue.reader.lock()) {
            reader->notify(); // under the lock: none comes after the queue was closed
            woken_.push_back(std::move(reader));
        }
    }

    // What is in the queue must not be read any more, but still fills it until it is taken out.
    void outdate(topic_partition const& where) {
        if (auto const found = queues_.find(where); found != queues_.end()) {
            for (auto& entry : found->second->entries) {
                entry.type = partition_queue::entry::kind::outdated;
            }
        }
    }

    static void close(partition_queue& queue) {
        queue.closed = true;
        queue.entries.clear();
    }

    // The trace.

    void note(std::string line) { trace_.push_back(std::move(line)); }
    void note(detail::client_event const& event) {
        if (auto const* const offsets = std::get_if<detail::client_offsets>(&event)) {
            auto const fails = initial_offset_ == offset_reset::none && !initial_time_;
            auto const lacks = [&](detail::committed_offset const& offset) {
                return offset.error || (fails && offset.offset < 0);
            };
            note(offsets->error || std::ranges::any_of(offsets->offsets, lacks) ? "> no offsets"
                                                                                : "> offsets");
        } else if (auto const* const commit = std::get_if<detail::client_commit>(&event)) {
            auto const all =
                !commit->error && std::ranges::none_of(commit->results, [](auto const& result) {
                    return bool{result.error};
                });
            note(all ? "> committed" : "> not committed");
        } else if (std::holds_alternative<detail::client_times>(event)) {
            note("> offsets for times");
        } else if (std::holds_alternative<detail::client_token_wanted>(event)) {
            note("> token wanted");
        } else if (std::holds_alternative<detail::client_fatal>(event)) {
            note("> expelled");
        }
    }
    void complain(std::string complaint) { complaints_.push_back(std::move(complaint)); }

    static std::string text_of(std::int64_t start) {
        return start == detail::start_position::log_end         ? "end"
               : start == detail::start_position::log_beginning ? "beginning"
               : start == detail::start_position::unknown       ? "later"
                                                                : std::to_string(start);
    }
    template <typename Partitions>
    static std::string list(Partitions const& partitions) {
        std::string text;
        for (auto const& partition : partitions) {
            text += " " + detail::to_string(partition);
        }
        return text;
    }

    mutable std::mutex mutex_; // of everything

    std::map<topic_partition, log> logs_;
    std::map<topic_partition, detail::offset_commit> committed_;
    std::map<void const*, std::unique_ptr<record const>> lent_; // taken and not freed
    std::uint64_t records_taken_ = 0;

    std::deque<std::function<void()>> script_; // for the next member
    static constexpr std::size_t request_kinds = 8;
    std::array<std::deque<std::error_code>, request_kinds> faults_;
    std::map<topic_partition, std::deque<std::error_code>> commit_faults_;
    std::map<topic_partition, std::deque<std::error_code>> look_up_faults_;
    std::map<topic_partition, std::deque<std::error_code>> log_faults_;
    std::map<topic_partition, std::size_t> wake_ups_to_drop_;
    std::array<bool, request_kinds> holds_{};
    std::array<std::size_t, request_kinds> holds_next_{};
    std::array<std::vector<std::function<void()>>, request_kinds> held_;

    void const* client_ = nullptr; // the member's; null: there is none
    std::function<void()> notify_;
    bool cooperative_ = false;
    offset_reset initial_offset_ = offset_reset::earliest;
    std::optional<std::chrono::system_clock::time_point> initial_time_;
    std::vector<std::string> topics_;
    std::optional<oauth_token> token_;
    int members_ = 0;
    std::string member_id_;
    std::int32_t generation_ = -1;
    std::deque<member_event> events_; // the member's queue
    std::map<topic_partition, std::shared_ptr<partition_queue>> queues_;
    detail::partition_set granted_;                 // what the group thinks that the member has
    std::map<topic_partition, position> positions_; // what the member has assigned to itself
    std::set<topic_partition>
        ahead_; // of these: something is, or was, fetched that is not consumed
    std::set<topic_partition> to_fetch_;          // when nothing is unanswered
    std::optional<membership_change> unanswered_; // the newest that it has seen
    int arriving_ = 0;                            // those that it has not seen
    bool listening_ = false;                      // the member, to the debug log
    std::map<std::optional<topic_partition>, std::string> debug_log_; // what it says of each
    bool away_ = false;                    // the brokers, until something of them is seen
    detail::partition_set withheld_;       // what is added is not handed over
    std::set<std::string> missing_topics_; // until records are added to them
    std::uint64_t end_requests_ = 0;
    std::uint64_t coordinator_requests_ = 0;
    bool closing_ = false;
    bool closed_ = false;
    bool expelled_ = false;

    std::uint64_t polls_ = 0;
    std::vector<std::string> trace_;
    std::vector<std::string> complaints_;

    std::vector<std::shared_ptr<detail::partition_state>> woken_; // in this change
    std::vector<std::function<void()>> later_;                    // behind this change
};

} // namespace kgroup::testing
