// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/event.hpp>
#include <kgroup/oauth_token.hpp>
#include <kgroup/testing/fake_coordinator.hpp>
#include <kgroup/topic_partition.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::testing {

/// A cluster that does what a test says: the other side of a `fake_group`. No thread, no socket, no
/// time of its own.
///
///     asio::io_context context;
///     kgroup::testing::fake_cluster cluster;
///     kgroup::testing::fake_group group{context, {.brokers = cluster.brokers(),
///                                                 .group_id = "billing",
///                                                 .topics = {"orders"}, …}};
///     group.async_run(handler, asio::detached);
///     cluster.add_records({"orders", 0}, "first", "second");
///     cluster.assign({{"orders", 0}});
///     kgroup::testing::run_ready(context); // the handler has had both, and waits for the next
///     cluster.revoke();
///     kgroup::testing::run_ready(context); // it has finished; what it marked is committed
///     assert(cluster.committed({"orders", 0}) == 2);
///
/// It plays one group to one member at a time: the fake group that was made with its `brokers()`
/// and runs. One that runs afterwards is the next member, and finds what the one before has
/// committed. There is no other member, and nobody who decides who gets what: the script does. What
/// is scripted while there is no member waits for the next one.
///
/// *What it does as librdkafka does.* Rebalances reach the member one after another and count when
/// it answers; while one is unanswered, no record is handed over from any partition, and what was
/// fetched is fetched again. Records of a partition that is given back vanish from its queue. A
/// member is only woken when a queue that was empty is not empty any more. Whether rebalances are
/// eager or cooperative follows from the member's configuration. A member that closes has
/// everything revoked first.
///
/// *What it does otherwise.* Nothing takes time, and nothing times out on this side; partitions
/// need not be made; everybody is allowed everything; a fetch has no limits. Of
/// `config::properties` only `max.poll.interval.ms` is looked at.
///
/// *Thread safety.* Safe from any thread, construction and destruction aside.
///
/// *Lifetime.* It may be destroyed before or after the groups that use it, and before their
/// messages.
class fake_cluster {
public:
    /// A record in a log: `key`, `value`, `headers`, `timestamp`. What is not set is null, which is
    /// not the same as empty.
    using record = fake_coordinator::record;

    /// What a member asks for and the script can refuse, or leave unanswered: `look_up` (of
    /// committed offsets), `commit`, `offsets_for_times`, `token` (that it be taken: `fail` only),
    /// `close` (leaving the group), `shut_down` (ending the client), and what its own watches ask:
    /// `find_ends` (of the logs of claims to which nothing comes), `ask_coordinator` (whether it is
    /// there). Leaving and ending cannot be refused.
    using request = fake_coordinator::request;

    /// A cluster without records and without a member, under a name of its own (`brokers`).
    fake_cluster() : coordinator_(std::make_shared<fake_coordinator>()) {
        auto& all = known();
        std::lock_guard const lock{all.mutex};
        brokers_ = "fake-cluster-" + std::to_string(++all.last);
        all.coordinators.emplace(brokers_, coordinator_);
    }
    ~fake_cluster() {
        auto& all = known();
        std::lock_guard const lock{all.mutex};
        all.coordinators.erase(brokers_);
    }
    fake_cluster(fake_cluster const&) = delete;
    fake_cluster& operator=(fake_cluster const&) = delete;

    /// Where it is found: what `config::brokers` takes.
    std::string const& brokers() const noexcept { return brokers_; }

    // Logs.

    /// Appends records to a partition in this order; a string stands for a record that has only a
    /// value.
    ///
    /// @return the offset of the first; -1: there were none.
    template <typename... Records>
    requires((std::same_as<Records, record> ||
              std::convertible_to<Records const&, std::string_view>)&&...) std::int64_t
        add_records(topic_partition const& where, Records const&... records) {
        std::array<record, sizeof...(Records)> const all{as_record(records)...};
        return coordinator_->add(where, all);
    }
    /// The same for a range of records.
    std::int64_t add_records(topic_partition const& where, std::span<record const> records) {
        return coordinator_->add(where, records);
    }

    /// Leaves out so many offsets, as compaction does: the next record that is added comes behind
    /// the gap.
    void skip_offsets(topic_partition const& where, std::int64_t count) {
        coordinator_->skip(where, count);
    }

    /// Takes so many offsets for what is in a log and is not delivered: control records, and
    /// transactions that were aborted. The position of a claim goes on behind them when it comes to
    /// them. (Behind what `skip_offsets` leaves out it goes with the next record.)
    void add_control_records(topic_partition const& where, std::int64_t count) {
        coordinator_->add_control(where, count);
    }

    /// Empties the log and lets it begin at 0 again, as when a topic was deleted and created again.
    /// A position behind the end of the log is reset as `config::initial_offset` says; with `none`,
    /// the run ends with `errc::offset_out_of_range`.
    void make_anew(topic_partition const& where) { coordinator_->make_anew(where); }

    /// The offset that the next record will have.
    std::int64_t log_end(topic_partition const& where) const {
        return coordinator_->log_end(where);
    }

    // Committed offsets.

    /// Sets what the group has committed: the offset of the next record to read, and its metadata.
    void set_committed(topic_partition const& where, std::int64_t next,
                       std::string_view metadata = {}) {
        coordinator_->set_committed(where, next, metadata);
    }
    /// The offset that the group has committed: the next one to read. nullopt: none.
    std::optional<std::int64_t> committed(topic_partition const& where) const {
        auto const found = coordinator_->committed(where);
        return found ? std::optional{found->offset} : std::nullopt;
    }
    /// The metadata of that commit; empty: none.
    std::string committed_metadata(topic_partition const& where) const {
        auto const found = coordinator_->committed(where);
        return found ? found->metadata : std::string{};
    }

    // The membership. Each of these is an event for the member, behind those that it has not seen
    // yet.

    /// The group knows the member, and has nothing for it yet: `session::member_id` is not empty
    /// from now on, and it has a generation. The first `assign` does that, too.
    void join() { coordinator_->join(); }

    /// Assigns partitions: to an eager member all that it is to have, to a cooperative one what
    /// comes to the rest. It reads as the next generation.
    void assign(std::vector<topic_partition> const& partitions) {
        coordinator_->assign({partitions.begin(), partitions.end()});
    }

    /// Takes everything back that was assigned, in order: what is marked can be committed.
    void revoke() { coordinator_->revoke(std::nullopt, false); }
    /// Takes some partitions back from a cooperative member.
    ///
    /// @throws std::logic_error for an eager member, which can only lose everything at once.
    void revoke(std::vector<topic_partition> const& partitions) {
        coordinator_->revoke(detail::partition_set{partitions.begin(), partitions.end()}, false);
    }

    /// Tells the member that everything it had is somebody else's already, as after a session
    /// timeout.
    void lose() { coordinator_->revoke(std::nullopt, true); }
    /// The same for some partitions of a cooperative member.
    ///
    /// @throws std::logic_error for an eager member, which can only lose everything at once.
    void lose(std::vector<topic_partition> const& partitions) {
        coordinator_->revoke(detail::partition_set{partitions.begin(), partitions.end()}, true);
    }

    /// Ends the membership for good, as when the member is fenced: the run fails with this error.
    /// What was assigned is gone without a rebalance.
    void expel(std::error_code error, std::string_view text) { coordinator_->expel(error, text); }

    /// Asks the member for a token (`config::oauth_token_provider`), as librdkafka does before the
    /// first connection and when four fifths of a token's time are over.
    void want_token() { coordinator_->want_token(); }

    /// Any other event, as librdkafka reports it: an outage, a missing topic, a line of its log.
    ///
    /// After an outage (`brokers_unreachable`) the brokers do not answer when the member asks
    /// whether they are there, until the script lets them do something (records that reach the
    /// member, a rebalance that is not a loss) or says `end_outage`. A topic that is missing
    /// (`topic_missing`) has no ends of logs until records are added to it.
    void report(event event) { coordinator_->report(std::move(event)); }
    /// The brokers answer again when they are asked.
    void end_outage() { coordinator_->end_outage(); }

    /// What the client's debug log says of a partition, or (nullopt) of the membership, while the
    /// member listens to it to find out why something makes no progress.
    void set_debug_log(std::optional<topic_partition> const& where, std::string_view text) {
        coordinator_->set_debug_log(where, text);
    }
    /// Whether it listens now.
    bool listening() const { return coordinator_->listening(); }

    /// From now on what is added to this partition is in its log and does not come, as when fetches
    /// are refused.
    void withhold(topic_partition const& where) { coordinator_->withhold(where, true); }
    /// It comes, and so does what was withheld.
    void hand_over(topic_partition const& where) { coordinator_->withhold(where, false); }

    /// Puts an error into the queue of a partition that is read, in the place of a record: it
    /// cannot be read. With an error that ends the run (`is_fatal`: `errc::record_unreadable`, …)
    /// nothing behind it is delivered, as long as the claim lasts.
    void fail_partition(topic_partition const& where, std::error_code error,
                        std::string_view text) {
        coordinator_->fail_partition(where, error, text);
    }

    /// The next so many wake-ups of this partition's reader do not come.
    void drop_wake_ups(topic_partition const& where, std::size_t times = 1) {
        coordinator_->drop_wake_ups(where, times);
    }

    // Faults.

    /// The next so many requests of this kind are refused as a whole, and have no effect.
    ///
    /// @throws std::logic_error for a kind that cannot be refused.
    void fail(request kind, std::error_code error, std::size_t times = 1) {
        coordinator_->fail(kind, error, times);
    }

    /// In the next so many commits of this partition, it is refused and the others are not. The
    /// answer says the error of the others, too, as librdkafka has it; who wants to know commits
    /// them one by one.
    void fail_commits_of(topic_partition const& where, std::error_code error,
                         std::size_t times = 1) {
        coordinator_->fail_commits_of(where, error, times);
    }

    /// In the next so many look-ups of this partition's committed offset, it is refused and the
    /// others are not: as with UNSTABLE_OFFSET_COMMIT, while a transaction that commits it is open.
    void fail_look_ups_of(topic_partition const& where, std::error_code error,
                          std::size_t times = 1) {
        coordinator_->fail_look_ups_of(where, error, times);
    }

    /// The next so many times that a member asks where this partition's log begins or ends, it is
    /// refused and the others are not: as with LEADER_NOT_AVAILABLE, while its leader is away.
    /// Members ask so for partitions without a committed offset.
    void fail_logs_of(topic_partition const& where, std::error_code error, std::size_t times = 1) {
        coordinator_->fail_logs_of(where, error, times);
    }

    /// Requests of this kind are not answered, and have no effect, until `release`.
    void hold(request kind) { coordinator_->hold(kind); }
    /// The same for the next so many requests of this kind only: those that follow are answered at
    /// once, so that what is released comes late and takes effect behind them, as a request does
    /// that librdkafka repeats.
    void hold_next(request kind, std::size_t times = 1) { coordinator_->hold_next(kind, times); }
    /// Carries out and answers what was held, in order; later requests of this kind are answered at
    /// once again.
    void release(request kind) { coordinator_->release(kind); }

    // What the member did.

    /// What was said between the cluster and its members, a line each, in the order in which the
    /// members saw and said it:
    ///
    /// | line | meaning |
    /// |---|---|
    /// | `> assigned t[0] t[1]`, `> added t[2]` | an eager, a cooperative assignment has reached the member |
    /// | `> revoked t[0]`, `> removed t[0]`, `> lost t[0]` | so has an eager, a cooperative revocation, a loss |
    /// | `> expelled` | the membership is over |
    /// | `look up t[0]` | the member asks for committed offsets |
    /// | `> offsets`, `> no offsets` | the answer has reached it: found, or not of all (refused; none is committed, with `offset_reset::none`) |
    /// | `assign t[0]@5`, `add t[2]@0` | it answers an assignment and reads from there; `@later`: when it says so by a `seek` |
    /// | `unassign t[0]`, `remove t[0]` | it answers a revocation |
    /// | `seek t[0]@5` | it reads on from there |
    /// | `commit t[0]=7 t[1]=2 "text"` | it commits |
    /// | `> committed`, `> not committed` | the answer has reached it: all of it, or not all |
    /// | `subscribe t u` | it changes what it subscribes to |
    /// | `offsets for times t[0]`, `> offsets for times` | it asks for offsets by time; the answer has reached it |
    /// | `> token wanted`, `token` | it is asked for a token; it gives one, which is taken or refused |
    /// | `close`, `> closed` | it leaves the group; it has left it |
    /// | `shut down` | it is no more |
    std::vector<std::string> trace() const { return coordinator_->trace(); }

    /// Forgets the trace so far.
    void clear_trace() { coordinator_->clear_trace(); }

    /// Where a member broke the rules of `kgroup::client`, in words: it answered a rebalance that
    /// was not there or that a newer one had overtaken, freed a record twice, read on in a
    /// partition that it does not have. Empty: it did not.
    std::vector<std::string> complaints() const { return coordinator_->complaints(); }

    /// The partitions that the member has taken, by its answers.
    std::set<topic_partition> assigned() const { return coordinator_->assigned(); }
    /// What the member subscribes to. Who is to have which partition is the script's to say all the
    /// same.
    std::vector<std::string> topics() const { return coordinator_->topics(); }
    /// The token that the member gave last and that was taken.
    std::optional<oauth_token> token() const { return coordinator_->token(); }
    /// Whether there is a member.
    bool has_member() const { return coordinator_->has_member(); }
    /// How often members have asked for events.
    std::uint64_t polls() const { return coordinator_->polls(); }
    /// How many records are in the member's queue of this partition: fetched, and not taken out.
    std::size_t fetched(topic_partition const& where) const { return coordinator_->fetched(where); }
    /// How often members have asked for the ends of logs: not in the trace, since their own watches
    /// do that.
    std::uint64_t end_requests() const { return coordinator_->end_requests(); }
    /// How often members have asked whether the coordinator is there: not in the trace either.
    std::uint64_t coordinator_requests() const { return coordinator_->coordinator_requests(); }
    /// How many records members have taken out of queues.
    std::uint64_t records_taken() const { return coordinator_->records_taken(); }
    /// How many of those are not freed: each is freed once, when its message and those that came
    /// with it are gone.
    std::size_t records_held() const { return coordinator_->records_held(); }

private:
    friend class fake_client;

    // Where groups find their cluster.
    struct directory {
        std::mutex mutex;
        std::uint64_t last = 0;
        std::map<std::string, std::weak_ptr<fake_coordinator>, std::less<>> coordinators;
    };
    static directory& known() {
        static directory all;
        return all;
    }
    static std::shared_ptr<fake_coordinator> find(std::string const& brokers) {
        auto& all = known();
        std::lock_guard const lock{all.mutex};
        auto const found = all.coordinators.find(brokers);
        return found == all.coordinators.end() ? nullptr : found->second.lock();
    }

    template <typename Record>
    static record as_record(Record const& content) {
        if constexpr (std::same_as<Record, record>) {
            return content;
        } else {
            return {.value = std::string{std::string_view{content}}};
        }
    }

    std::string brokers_;
    std::shared_ptr<fake_coordinator> coordinator_;
};

} // namespace kgroup::testing
