// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/fetch/claim_requests.hpp>
#include <kgroup/detail/fetch/direct_properties.hpp>
#include <kgroup/detail/fetch/direct_source.hpp>
#include <kgroup/detail/fetch/fetch_event_text.hpp>
#include <kgroup/detail/fetch/fetched_source.hpp>
#include <kgroup/detail/fetch/fetcher.hpp>
#include <kgroup/detail/fetch/fetcher_settings.hpp>
#include <kgroup/detail/rdkafka/client.hpp>
#include <kgroup/detail/rdkafka/event_inbox.hpp>
#include <kgroup/detail/rdkafka/settings.hpp>
#include <kgroup/detail/rdkafka/source.hpp>
#include <kgroup/event.hpp>
#include <kgroup/oauth_token.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/any_io_executor.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace kgroup::detail::fetch {

/// `client` whose records kgroup fetches itself. Everything else is librdkafka's: membership,
/// commits, look-ups. It holds the assignment and is kept from reading it: to it, each partition is
/// one whose start is not known yet. To hand a claim over is to tell it the start.
class direct_client {
public:
    explicit direct_client(config const& given)
        : direct_client(given, rdkafka_settings_maker::make(given)) {}
    direct_client(direct_client const&) = delete;
    direct_client& operator=(direct_client const&) = delete;
    ~direct_client() {
        shared_->inbox.stop();
        end_fetcher([] {});
    }

    /// Before `start`: where fetching takes place.
    void run_on(asio::any_io_executor executor) {
        if (reason_.empty()) {
            shared_->fetches =
                std::make_shared<fetcher>(std::move(executor), fetching_,
                                          [shared = std::weak_ptr{shared_}](fetcher_notice notice) {
                                              if (auto const to = shared.lock()) {
                                                  to->inbox.add(notice_of(std::move(notice)));
                                              }
                                          });
        }
    }
    void start(std::function<void()> notify) {
        shared_->inbox.begin(notify);
        if (!reason_.empty()) {
            shared_->inbox.add(client_notice{
                {event_kind::handed_over,
                 severity::warning,
                 std::nullopt,
                 {},
                 "librdkafka reads for this group, because of the property '" + reason_ + "'"}});
        }
        native_.start(std::move(notify));
    }

    std::optional<client_event> poll() {
        while (auto next = shared_->inbox.take()) {
            if (auto told = read(*next)) {
                return told;
            }
        }
        auto event = native_.poll();
        if (auto* const notice = event ? std::get_if<client_notice>(&*event) : nullptr;
            notice && notice->event.kind == event_kind::topic_missing) {
            for (auto& [where, end] : notice->log_ends) {
                if (auto const found = claims_.find(where); found != claims_.end()) {
                    end = found->second->source->known_watermarks().high;
                }
            }
        }
        return event;
    }

    void assign(std::vector<start_position> const& positions, bool cooperative) {
        if (!shared_->fetches) {
            return native_.assign(positions, cooperative);
        }
        if (!cooperative) { // it replaces the one before
            std::vector<topic_partition> gone;
            for (auto const& claim : claims_) {
                auto const& where = claim.first; // clang 14 captures no structured binding
                if (std::none_of(positions.begin(), positions.end(),
                                 [&](auto const& position) { return position.where == where; })) {
                    gone.push_back(where);
                }
            }
            stop(gone);
        }
        native_.assign(held(positions), cooperative);
        begin(positions);
    }
    void unassign(std::vector<topic_partition> const& partitions, bool cooperative) {
        if (cooperative) {
            stop(partitions);
        } else {
            stop_all();
        }
        native_.unassign(partitions, cooperative);
    }
    std::shared_ptr<record_source> open(std::shared_ptr<partition_state> const& state) {
        auto const& where = state->where();
        stop({where});
        auto claim = std::make_shared<owned_claim>(where, shared_);
        claim->prepare();
        auto native = native_.open(state);
        auto fetched = shared_->fetches
                           ? std::make_shared<fetched_source>(
                                 *state,
                                 fetched_source::settings{
                                     fetching_.level,
                                     static_cast<std::size_t>(fetching_.receive_message_max_bytes)},
                                 claim)
                           : nullptr;
        claim->source = std::make_shared<source>(std::move(fetched), std::move(native), claim,
                                                 shared_->counted);
        auto const& made = claims_[where] = std::move(claim);
        shared_->claims.store(claims_.size(), std::memory_order_relaxed);
        return made->source;
    }
    void seek(std::vector<start_position> const& to) {
        if (!shared_->fetches) {
            return native_.seek(to);
        }
        std::vector<start_position> native;
        std::vector<start_position> ours;
        for (auto const& position : to) {
            auto const found = claims_.find(position.where);
            auto const handed = found != claims_.end() && found->second->source->handed_over();
            (handed ? native : ours).push_back(position);
        }
        if (!native.empty()) {
            native_.seek(native);
        }
        begin(ours); // librdkafka holds them, since they were assigned
    }

    bool shut_down(std::function<void()> done) {
        shared_->inbox.stop();
        stop_all();
        if (!shared_->fetches) {
            return native_.shut_down(std::move(done));
        }
        auto const both = std::make_shared<both_ended>(std::move(done));
        if (!native_.shut_down([both] { both->ended(both->native); })) {
            both->ended(both->native); // somebody holds something of it, who is not waited for
        }
        end_fetcher([both] { both->ended(both->fetching); });
        return true;
    }

    /// Any thread.
    void count(group_stats& into) const noexcept {
        into.records_direct = shared_->counted->direct.load(std::memory_order_relaxed);
        into.records_handed_over = shared_->counted->handed_over.load(std::memory_order_relaxed);
    }
    /// Whether all claims share `buffer_bytes`, however many there are.
    bool shares_buffer() const noexcept { return reason_.empty(); }
    /// The property because of which librdkafka reads; empty: none.
    std::string const& handed_over_by() const noexcept { return reason_; }
    /// Null: librdkafka reads.
    fetcher_counters const* fetches() const noexcept {
        return shared_->fetches ? &shared_->fetches->counters() : nullptr;
    }

    // As it is.

    void check_topics(std::vector<std::string> const& topics) const {
        native_.check_topics(topics);
    }
    void subscribe(std::vector<std::string> topics) { native_.subscribe(std::move(topics)); }
    void look_up(std::uint64_t id, std::vector<topic_partition> const& partitions, bool lower,
                 std::chrono::milliseconds timeout) {
        native_.look_up(id, partitions, lower, timeout);
    }
    void find_in_logs(std::uint64_t id, std::vector<log_place> places,
                      std::vector<std::string> topics, std::chrono::milliseconds timeout) {
        native_.find_in_logs(id, std::move(places), std::move(topics), timeout);
    }
    void commit(std::uint64_t id, std::vector<offset_commit> const& offsets) {
        native_.commit(id, offsets);
    }
    void offsets_for_times(std::uint64_t id, std::vector<topic_partition> partitions,
                           std::chrono::system_clock::time_point time,
                           std::chrono::milliseconds timeout) {
        native_.offsets_for_times(id, std::move(partitions), time, timeout);
    }
    void find_ends(std::uint64_t id, std::vector<topic_partition> partitions,
                   std::chrono::milliseconds timeout) {
        native_.find_ends(id, std::move(partitions), timeout);
    }
    void ask_coordinator(std::uint64_t id, topic_partition about,
                         std::chrono::milliseconds timeout) {
        native_.ask_coordinator(id, std::move(about), timeout);
    }
    void listen(bool on) { native_.listen(on); }
    std::string heard(std::optional<topic_partition> const& where) const {
        return native_.heard(where);
    }
    std::error_code set_token(oauth_token const& token) { return native_.set_token(token); }
    void close() { native_.close(); }
    bool closed() const { return native_.closed(); }
    std::string member_id() const { return native_.member_id(); }
    std::int32_t generation_id() const { return native_.generation_id(); }
    std::chrono::milliseconds max_poll_interval() const noexcept {
        return native_.max_poll_interval();
    }
    std::chrono::milliseconds rebalance_deadline() const noexcept {
        return native_.rebalance_deadline();
    }
    std::size_t block_bytes() const noexcept { return native_.block_bytes(); }

protected:
    /// For tests, which have other brokers for the fetching than for the group.
    direct_client(config const& given, std::string fetch_from) : direct_client(given) {
        fetching_.bootstrap_servers = std::move(fetch_from);
    }

private:
    using source = direct_source<rdkafka_source>;
    struct owned_claim;

    // From other threads to `poll`.
    struct hand_over {
        std::weak_ptr<owned_claim const> claim;
        std::uint64_t ticket;
        fetch_event why;
    };
    struct hold_still {
        std::weak_ptr<owned_claim const> claim;
    };
    using letter = std::variant<client_event, hand_over, hold_still>;

    // What outlives the client, where a claim or the fetcher does.
    struct shared_parts {
        basic_event_inbox<letter> inbox;
        std::shared_ptr<fetcher> fetches;
        std::shared_ptr<records_by_way> counted = std::make_shared<records_by_way>();
        std::size_t buffer_bytes = 0;
        std::size_t most_at_once = 0; // that an answer brings of a partition, as a rule
        std::atomic<std::size_t> claims{0};
    };

    struct owned_claim final : claim_requests, std::enable_shared_from_this<owned_claim> {
        owned_claim(topic_partition partition, std::shared_ptr<shared_parts> parts)
            : where(std::move(partition)),
              shared(std::move(parts)) {}

        // Two answers: one is read while the next one comes.
        std::size_t share() const noexcept override {
            auto const claims =
                (std::max<std::size_t>)(shared->claims.load(std::memory_order_relaxed), 1);
            return (std::min)(shared->buffer_bytes / claims, 2 * shared->most_at_once);
        }
        void want(std::uint64_t source_ticket, bool more) noexcept override {
            shared->fetches->want(where, source_ticket, more);
        }
        void on_damaged(std::uint64_t source_ticket, std::uint64_t generation, std::int64_t at,
                        damage wrong) noexcept override {
            shared->fetches->on_damaged(where, source_ticket, generation, at, wrong);
        }
        void on_old_format(std::uint64_t source_ticket, std::uint64_t generation,
                           std::int64_t at) noexcept override {
            shared->fetches->on_old_format(where, source_ticket, generation, at);
        }
        void on_position_reset(std::int64_t from, std::int64_t to) noexcept override {
            tell([&] { return letter{client_event{client_position_reset{where, from, to}}}; });
        }
        void hand_over(std::uint64_t source_ticket, fetch_event const& why) noexcept override {
            if (auto ready = std::exchange(hand_over_letter, {}); !ready.empty()) {
                auto& order = std::get<direct_client::hand_over>(ready.front());
                order.ticket = source_ticket;
                order.why = why;
                shared->inbox.add(std::move(ready));
            }
        }
        void hold_still() noexcept override {
            tell([&] { return letter{direct_client::hold_still{weak_from_this()}}; });
        }

        /// What has to be told even if there is no memory: a claim that is not handed over stands
        /// still.
        void prepare() {
            hand_over_letter.push_back(
                direct_client::hand_over{weak_from_this(), 0, {fetch_event::kind::old_format}});
        }
        template <typename Make>
        void tell(Make make) noexcept {
            try {
                shared->inbox.add(make());
            } catch (std::bad_alloc const&) { // nobody can be told
            }
        }

        topic_partition const where;
        std::shared_ptr<shared_parts> const shared;
        std::shared_ptr<direct_client::source> source; // until the claim is over
        std::uint64_t ticket = 0;                      // 0: it is not read
        std::int64_t began_at = 0;                     // with this ticket
        prepared<letter> hand_over_letter;             // the claim's strand takes it
    };

    struct both_ended {
        explicit both_ended(std::function<void()> done) : tell(std::move(done)) {}
        void ended(bool& part) {
            std::unique_lock lock{mutex};
            part = true;
            auto const all = native && fetching;
            auto done = all ? std::exchange(tell, nullptr) : nullptr;
            lock.unlock();
            if (done) {
                done();
            }
        }
        std::mutex mutex;
        std::function<void()> tell;
        bool native = false;
        bool fetching = false;
    };

    direct_client(config const& given, rdkafka_settings settings)
        : native_(given),
          reason_(reason_to_hand_over(settings.conf.get(), given.properties)),
          fetching_(fetcher_settings_of(settings.conf.get(), given.buffer_bytes)) {
        shared_->buffer_bytes = given.buffer_bytes;
        shared_->most_at_once = static_cast<std::size_t>(fetching_.partition_max_bytes);
    }

    static std::vector<start_position> held(std::vector<start_position> positions) {
        for (auto& position : positions) {
            position.start = start_position::unknown;
        }
        return positions;
    }
    void begin(std::vector<start_position> const& positions) {
        for (auto const& position : positions) {
            auto const found = claims_.find(position.where);
            if (found == claims_.end() || position.start == start_position::unknown) {
                continue; // nobody reads it, or not yet
            }
            auto& claim = *found->second;
            claim.ticket = ++last_ticket_;
            claim.began_at = position.start;
            claim.source->fetched()->restart(claim.ticket, position.start, position.leader_epoch);
            shared_->fetches->start(position.where, claim.ticket, position.start,
                                    position.leader_epoch, claim.source->fetched());
        }
    }
    void stop(std::vector<topic_partition> const& partitions) noexcept {
        for (auto const& where : partitions) {
            if (auto const found = claims_.find(where); found != claims_.end()) {
                stop(*found->second);
                claims_.erase(found);
            }
        }
        shared_->claims.store(claims_.size(), std::memory_order_relaxed);
    }
    void stop_all() noexcept {
        for (auto const& [where, claim] : claims_) {
            stop(*claim);
        }
        claims_.clear();
        shared_->claims.store(0, std::memory_order_relaxed);
    }
    void stop(owned_claim& claim) noexcept {
        if (claim.ticket != 0) {
            shared_->fetches->stop(claim.where);
        }
        claim.source->close();
        claim.source = nullptr; // which holds the claim
    }
    void end_fetcher(std::function<void()> done) {
        if (!shared_->fetches || ended_) {
            return;
        }
        ended_ = true;
        shared_->fetches->shut_down(std::move(done));
    }

    std::optional<client_event> read(letter& received) {
        if (auto* const event = std::get_if<client_event>(&received)) {
            return std::move(*event);
        }
        if (auto* const order = std::get_if<hand_over>(&received)) {
            auto const claim = find(order->claim);
            if (!claim) {
                return std::nullopt;
            }
            // Of what was begun behind a newer seek nothing was taken.
            auto const from = order->ticket == claim->ticket ? order->why.from : claim->began_at;
            shared_->fetches->stop(claim->where);
            claim->ticket = 0;
            claim->source->hand_over();
            native_.seek({{claim->where, from, -1, {}}});
            return client_notice{{event_kind::handed_over,
                                  severity::warning,
                                  claim->where,
                                  {},
                                  "librdkafka reads on: " + to_text(order->why)}};
        }
        auto const claim = find(std::get<hold_still>(received).claim);
        if (!claim || claim->source->handed_over()) {
            return std::nullopt;
        }
        native_.seek({{claim->where, start_position::unknown, -1, {}}});
        return client_notice{{event_kind::client_error,
                              severity::warning,
                              claim->where,
                              {},
                              "librdkafka fetched although it was paused; it is paused again"}};
    }
    // Null: it is over.
    std::shared_ptr<owned_claim>
    find(std::weak_ptr<owned_claim const> const& named) const noexcept {
        auto const wanted = named.lock();
        auto const found = wanted ? claims_.find(wanted->where) : claims_.end();
        return found != claims_.end() && found->second == wanted ? found->second : nullptr;
    }

    static client_event notice_of(fetcher_notice notice) {
        using kind = fetcher_notice::kind;
        auto const level = notice.type == kind::frame_too_large || notice.type == kind::unsupported
                               ? severity::error
                               : severity::warning;
        auto text = notice.broker.empty() ? notice.text : notice.broker + ": " + notice.text;
        return client_notice{
            {event_kind::client_error, level, std::nullopt, notice.error, std::move(text)}};
    }

    rdkafka_client native_;
    std::string reason_;
    fetcher_settings fetching_;
    std::shared_ptr<shared_parts> shared_ = std::make_shared<shared_parts>();
    std::map<topic_partition, std::shared_ptr<owned_claim>> claims_;
    std::uint64_t last_ticket_ = 0;
    bool ended_ = false;
};

static_assert(client<direct_client>);

} // namespace kgroup::detail::fetch
