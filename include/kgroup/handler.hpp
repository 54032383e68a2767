// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/claim.hpp>
#include <kgroup/session.hpp>

#include <asio/awaitable.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace kgroup {

namespace detail {

template <typename H>
concept fitting_consume_claim = requires(H& h, session& s, claim& c) {
    { h.consume_claim(s, c) } -> std::same_as<asio::awaitable<void>>;
};

template <typename H>
concept fitting_setup = requires(H& h, session& s) {
    { h.setup(s) } -> std::same_as<asio::awaitable<void>>;
};

template <typename H>
concept fitting_cleanup = requires(H& h, session& s) {
    { h.cleanup(s) } -> std::same_as<asio::awaitable<void>>;
};

// A member's name is found whatever its shape by making it ambiguous: a hook that does not fit must
// not be taken for one that is not there.
struct has_consume_claim {
    int consume_claim;
};
struct has_setup {
    int setup;
};
struct has_cleanup {
    int cleanup;
};
template <typename H, typename Name>
struct name_probe : H, Name {};

template <typename H>
concept names_consume_claim = fitting_consume_claim<H> ||
    (!std::is_final_v<H> && !requires(name_probe<H, has_consume_claim> & h) { h.consume_claim; });
template <typename H>
concept names_setup = fitting_setup<H> ||
    (!std::is_final_v<H> && !requires(name_probe<H, has_setup> & h) { h.setup; });
template <typename H>
concept names_cleanup = fitting_cleanup<H> ||
    (!std::is_final_v<H> && !requires(name_probe<H, has_cleanup> & h) { h.cleanup; });

} // namespace detail

/// What consumes the claims of a session. Nothing to inherit: a class with
///
///     asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&);   // required
///     asio::awaitable<void> setup(kgroup::session&);                           // optional
///     asio::awaitable<void> cleanup(kgroup::session&);                         // optional
///
/// All three return `asio::awaitable<void>` because kgroup starts them on strands of its own, whose
/// executor type is `asio::any_io_executor`.
///
/// A `setup` or `cleanup` of another shape is a compile error, not a hook that is never called. (In
/// a `final` class kgroup cannot see it, and takes it for absent.)
///
/// | call | when | on | runs concurrently |
/// |---|---|---|---|
/// | `setup` | once a session, before any claim of it; `session::start_at` moves the starts | a strand of the session's | nothing of this session |
/// | `consume_claim` | once a claim: for each partition that is assigned, also later in the session | a strand of the claim's, over the group's executor | other claims, concurrently: protect state that they share on a multi-threaded executor |
/// | `cleanup` | once a session, after its claims' handlers have ended (or were abandoned), before the last commit | the session's strand | nothing of this session but abandoned handlers |
///
/// *`setup` takes its time.* Nothing of the session is read before it has ended, and it is not
/// cancelled for taking long. kgroup acknowledges the assignment after `setup`; until then
/// librdkafka reports no further rebalance. It should end well within `max.poll.interval.ms`: in a
/// rebalance the group waits for the member so long, and then goes on without it. After 30 seconds,
/// and each 30 more, there is an event (`event_kind::setup_stalled`).
///
/// *Endings.* `consume_claim` returns when its channel has ended (`async_receive` gives nullopt).
/// Returning earlier while the claim is live is an event, and ends the session or not as
/// `config::on_claim_exit` says. An exception from any of the three ends the session in order (the
/// other claims finish, what is marked is committed) and comes out of `async_run`; if `setup`
/// failed, `cleanup` still runs.
///
/// *Cancellation.* When partitions are revoked, or the group is stopped, the claim's coroutine is
/// cancelled with `asio::cancellation_type::total`, unless a receive gives it the end: a coroutine
/// sees that only if it says so (`asio::this_coro::reset_cancellation_state`), for instance to cut
/// a backoff short; one that catches the error resets that state before it awaits anything else.
/// When the deadline is over (`config::rebalance_deadline`), and at once when the claim is lost, it
/// is cancelled with `terminal`. What it awaits fails with `operation_aborted`, which is not taken
/// for a failure of the handler once its claim has ended. One that does not end even so is
/// abandoned: the group goes on, its marks are refused.
///
/// *Lifetime.* The session and the claim live until the coroutine's frame is gone. The handler: see
/// `basic_consumer_group::async_run`.
template <typename H>
concept handler = detail::fitting_consume_claim<H> &&
    (!detail::names_setup<H> || detail::fitting_setup<H>)&&(!detail::names_cleanup<H> ||
                                                            detail::fitting_cleanup<H>);

namespace detail {

/// The same in sentences, for those whose handler does not fit.
template <typename H>
constexpr bool explain_handler() {
    static_assert(
        names_consume_claim<H>,
        "kgroup: the handler has no consume_claim. Write: "
        "asio::awaitable<void> consume_claim(kgroup::session& session, kgroup::claim& claim)");
    static_assert(
        !names_consume_claim<H> || fitting_consume_claim<H>,
        "kgroup: the handler's consume_claim has other parameters or another result. Write: "
        "asio::awaitable<void> consume_claim(kgroup::session& session, kgroup::claim& claim)");
    static_assert(!names_setup<H> || fitting_setup<H>,
                  "kgroup: the handler's setup has other parameters or another result. Write: "
                  "asio::awaitable<void> setup(kgroup::session& session), or give it another name");
    static_assert(
        !names_cleanup<H> || fitting_cleanup<H>,
        "kgroup: the handler's cleanup has other parameters or another result. Write: "
        "asio::awaitable<void> cleanup(kgroup::session& session), or give it another name");
    return true;
}

/// A handler behind a pointer, so that all below is compiled once.
class handler_binding {
public:
    virtual ~handler_binding() = default;
    virtual asio::awaitable<void> setup(session& session) = 0;
    virtual asio::awaitable<void> consume_claim(session& session, claim& claim) = 0;
    virtual asio::awaitable<void> cleanup(session& session) = 0;
};

/// `Pointer`: a plain one to a handler that outlives the run, or a shared one.
template <typename H, typename Pointer>
class bound_handler final : public handler_binding {
public:
    explicit bound_handler(Pointer to) : to_(std::move(to)) {}

    asio::awaitable<void> setup(session& session) override {
        if constexpr (names_setup<H>) {
            return to_->setup(session);
        } else {
            return nothing();
        }
    }
    asio::awaitable<void> consume_claim(session& session, claim& claim) override {
        return to_->consume_claim(session, claim);
    }
    asio::awaitable<void> cleanup(session& session) override {
        if constexpr (names_cleanup<H>) {
            return to_->cleanup(session);
        } else {
            return nothing();
        }
    }

private:
    static asio::awaitable<void> nothing() { co_return; }

    Pointer to_;
};

} // namespace detail

} // namespace kgroup
