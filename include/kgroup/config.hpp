// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/connection.hpp>
#include <kgroup/event.hpp>
#include <kgroup/oauth_token.hpp>
#include <kgroup/observer.hpp>

#include <asio/awaitable.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kgroup {

/// Where a claim starts when the group has no committed offset for its partition, or when the log
/// no longer holds the committed one. `none`: the run ends with an error instead.
enum class offset_reset { earliest, latest, none };

/// How the group divides its partitions: `classic`, on the members, by an `assignor`; `consumer`,
/// on the broker (KIP-848; brokers from 4.0, librdkafka from 2.12 at run time). A member that the
/// broker gives nothing has no session until it does; in a classic group it has one, without
/// claims.
enum class group_protocol { classic, consumer };

/// How the leader of a classic group divides the partitions. `cooperative_sticky` moves only those
/// that must move and needs librdkafka 2.10 at run time (before, a commit during a rebalance loses
/// the assignment: librdkafka #4059); it cannot be offered together with the other two. Partitions
/// that are added to a topic are divided when the leader hears of them, and librdkafka's leader
/// looks only at the topics that it reads itself: members of a classic group had better read the
/// same.
enum class assignor { range, roundrobin, cooperative_sticky };

/// What happens when a handler returns while its claim is live: `end_session`, the session ends in
/// order and a new one starts over the same assignment after a backoff; `keep_others`, the other
/// claims go on, and the one left behind is reported each minute.
enum class claim_exit { end_session, keep_others };

/// The configuration of a group. An aggregate: name the fields you need, in this order.
struct config {
    /// Brokers to start from, comma separated: `host:port,host:port`. Required. Without a port it
    /// is 9092; an address of IPv6 stands in brackets; `PLAINTEXT://`, `SSL://`, … may stand before
    /// it, and must be what `security.protocol` says. One that can never be reached is refused.
    std::string brokers{};
    /// The group's name. Offsets belong to it. Required.
    std::string group_id{};
    /// Topics by name, or by a regular expression that begins with `^`. At least one. An expression
    /// matches none of Kafka's internal topics (`__consumer_offsets`, …: names that begin with two
    /// underscores) unless it begins with `^__`; a group that names such a topic, or has such an
    /// expression, can have no other expression that might match them. Which of the two a group is
    /// does not change later (`subscribe`). Its language is POSIX's (extended), and with
    /// `group_protocol::consumer` RE2's, too: docs/errors.md.
    std::vector<std::string> topics{};
    /// Where to start without a committed offset. Required: librdkafka's default skips all that is
    /// in the log, Java's too, and neither is right for everyone. `latest` and `none` skip no
    /// record that was written while the group existed: a partition that was added later begins at
    /// its beginning (`infer_new_partitions`). With `latest` and `none`, and with `initial_time`, a
    /// start that was chosen without a committed offset counts as marked there, and is committed at
    /// once, also with an `auto_commit_interval` of 0: what comes before the first mark is not
    /// passed over when the partition changes hands or the process starts again. The claim's
    /// handler waits for that, for `commit_timeout` at most. (Only a group without `commit_at_end`
    /// and with an interval of 0 commits nothing by itself.)
    std::optional<offset_reset> initial_offset{};
    /// Where to start without a committed offset, if it is to be a time: each claim at its first
    /// record whose timestamp is not earlier, or at the end of the log if there is none.
    /// `initial_offset` then only says what happens when the log no longer holds a position.
    /// Timestamps are what producers or brokers wrote (`message.timestamp.type`); they need not be
    /// in order.
    std::optional<std::chrono::system_clock::time_point> initial_time{};
    /// Whether `latest` and `none` take a partition without a committed offset for one that was
    /// added later, and begin at its beginning, when the committed offsets say so: the partitions
    /// of its topic from 0 up to some index have one, and the partition is not among them. That
    /// errs where a partition never had one: its member died in the group's first second, or looked
    /// just after another had committed its first start; its offset was deleted by hand; or the
    /// group comes from a client that commits nothing for idle partitions. Then its log is handled
    /// from its beginning once, and nothing is lost. Off: only a partition that was added while
    /// this member ran begins there. Each such start is an `event_kind::start_chosen`.
    bool infer_new_partitions = true;
    /// Makes the member static (KIP-345): it may be away for as long as the session timeout and
    /// finds its partitions again. Unique in the group; letters, digits, `.`, `_`, `-`; 249
    /// characters at most. Empty: a dynamic member.
    std::string group_instance_id{};
    group_protocol protocol = group_protocol::classic;
    /// Offered to the group in this order; ignored by `group_protocol::consumer`.
    std::vector<assignor> assignors{assignor::range, assignor::roundrobin};
    /// How often marked offsets are committed; 0: never by the clock.
    std::chrono::milliseconds auto_commit_interval{1000};
    /// Whether what is marked is committed when a session or a claim ends; also when the interval
    /// is 0. Not in a topic that is missing by then: another under its name must not begin there.
    bool commit_at_end = true;
    /// How long handlers may take to finish what they hold when partitions are revoked; then they
    /// are cancelled and the group goes on without them. `cleanup` gets the remaining time, at
    /// least a quarter of the deadline. Unset: min(10 s, max.poll.interval.ms / 3). A value above
    /// max.poll.interval.ms / 2 is refused: the broker evicts a member that has not answered a
    /// rebalance for that interval.
    std::optional<std::chrono::milliseconds> rebalance_deadline{};
    /// How long a commit may take, retries included.
    std::chrono::milliseconds commit_timeout{5000};
    /// How long `async_run` may take to complete after `stop()`, or after a failure.
    ///
    /// Handlers, or `setup`, have all of it but a share, and are cancelled then: a quarter, or
    /// `commit_timeout` and a second if that is less, is kept for the last commit and for leaving
    /// the group. They have `rebalance_deadline` if that is longer and no more than nine tenths of
    /// it; and while a revocation waits for them, that at most, since the group waits, too. With
    /// the defaults that is 11.25 s; with 9 s, 6.75 s; with a minute, 54 s. `cleanup` has what they
    /// leave of it, and a quarter of what is left at least; each step behind it has a share of the
    /// rest. A revocation or a commit that is under way at the stop gets no more time than that
    /// either. A member that waits for an assignment, which it needs to leave in order, waits for
    /// half of it.
    std::chrono::milliseconds close_timeout{15000};
    /// Resident memory for records that wait in this member, in bytes, over all its claims. Sets
    /// librdkafka's queue *and* fetch limits.
    std::size_t buffer_bytes = 64 << 20;
    /// `buffer_bytes` is divided by it, because librdkafka's limits are per partition and fixed at
    /// the start. Owning more is reported (`event_kind::too_many_partitions`), and memory grows in
    /// proportion. With much less than 8 MiB a partition, a partition with a backlog is read in
    /// bursts while others have none: docs/performance.md.
    std::size_t expected_partitions = 8;
    claim_exit on_claim_exit = claim_exit::end_session;
    /// Any property of librdkafka by its own name (`security.protocol`, `session.timeout.ms`, …).
    /// One that is unknown, or that contradicts a field above or how kgroup works, is refused.
    /// `check.crcs` is off, as librdkafka has it: a wrong checksum is not seen, and with it on,
    /// librdkafka (2.0 to 2.16) may end the process at one. Turned on, it is an
    /// `event_kind::unsafe_setting` (docs/from-sarama.md).
    std::map<std::string, std::string> properties{};
    /// Where tokens come from, for brokers that demand SASL/OAUTHBEARER; needs `security.protocol`
    /// `sasl_ssl` or `sasl_plaintext` among the properties. Called on the group's executor, on a
    /// strand of its own, one call at a time: before the first connection, and when four fifths of
    /// a token's time are over. It fails when it throws or its token cannot be used. On failure it
    /// is called again with exponential backoff, 1 s to 30 s; each failure is an
    /// `event_kind::authentication_failed`. It is called until the group has been left; a call that
    /// is under way then is cancelled (terminal) and must end soon, as a handler must
    /// (`errc::handler_abandoned`). A copy of the function lives as long as a call of it. Unset:
    /// librdkafka's own ways, by properties.
    std::function<asio::awaitable<oauth_token>()> oauth_token_provider{};
    /// Called with each event, and with librdkafka's log, on the group's executor, one call at a
    /// time. It should return soon. An exception from it ends the run. Events that may repeat many
    /// times a second (a refused mark, a failed commit, librdkafka's errors and log, …) are
    /// reported once in ten seconds for the same kind, place and cause; `event::suppressed` counts
    /// the others. Unset: warnings, errors and librdkafka's log go to standard error, a line each
    /// (`kgroup::print`).
    std::function<void(event const&)> on_event{};
    /// An observer of records, commits and rebalances: `kgroup::observer`. A `std::shared_ptr` to
    /// it; kept until the run is over, or the group is gone.
    any_observer observer{};
};

/// Adds a connection, which others may share, to a group's configuration: its brokers, its
/// properties and its token provider. A property of the same name in `given` wins.
///
/// @param given has no `brokers` and no `oauth_token_provider`, or they count.
inline config connected(connection const& over, config given) {
    if (given.brokers.empty()) {
        given.brokers = over.brokers;
    }
    given.properties.insert(over.properties.begin(), over.properties.end());
    if (!given.oauth_token_provider) {
        given.oauth_token_provider = over.oauth_token_provider;
    }
    return given;
}

namespace detail {

/// The beginnings of the names of librdkafka's properties that concern the connection, for
/// consumers and producers alike.
inline constexpr std::array<std::string_view, 14> connection_properties{"security.",
                                                                        "sasl.",
                                                                        "enable.sasl.",
                                                                        "ssl.",
                                                                        "ssl_",
                                                                        "enable.ssl.",
                                                                        "https.ca.",
                                                                        "socket.",
                                                                        "broker.address.",
                                                                        "client.id",
                                                                        "client.dns.lookup",
                                                                        "reconnect.backoff.",
                                                                        "connections.max.idle.ms",
                                                                        "api.version."};

} // namespace detail

/// The connection in a group's configuration, for a producer that uses the same cluster: the
/// brokers, the token provider, and the properties that concern the connection (`security.…`,
/// `sasl.…`, `ssl.…`, `socket.…`, `client.id`, …). `connected` does the opposite.
inline connection connection_of(config const& given) {
    connection result{.brokers = given.brokers, .oauth_token_provider = given.oauth_token_provider};
    for (auto const& [name, value] : given.properties) {
        if (std::any_of(detail::connection_properties.begin(), detail::connection_properties.end(),
                        [&](std::string_view prefix) {
                            return std::string_view{name}.starts_with(prefix);
                        })) {
            result.properties.emplace(name, value);
        }
    }
    return result;
}

} // namespace kgroup
