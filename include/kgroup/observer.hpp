// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/topic_partition.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <set>
#include <system_error>
#include <type_traits>
#include <utility>

namespace kgroup {

class message;

/// A block of records has been taken from what the client has fetched of a partition.
struct fetched_records {
    topic_partition const& where;
    std::size_t records;
    std::size_t bytes; ///< keys and values
};

/// Records have been delivered to the handler, which has them next.
struct delivered_records {
    topic_partition const& where;
    std::int64_t first_offset;
    std::int64_t last_offset;
    std::size_t records;
};

/// An attempt of `for_each` or `for_each_batch` has ended.
struct handled_records {
    message const& first; ///< lives until the hook has returned
    std::size_t records;  ///< how many in a row from it on; 1, but in a batch
    std::chrono::nanoseconds duration;
    std::exception_ptr const& failure; ///< null: it has passed
    std::uint32_t attempts; ///< this one included; those that said `not_now` do not count
};

/// A commit has ended, one request or several that followed one another.
struct commit_observation {
    std::chrono::nanoseconds duration;
    std::error_code error;    ///< none: the broker has confirmed all of it
    std::uint64_t partitions; ///< confirmed
};

/// A rebalance has been answered.
struct rebalance_observation {
    enum class kind {
        assigned, ///< and its claims are about to start
        revoked,  ///< and its claims have ended in order
        lost,     ///< the group had given them away before
    };
    kind what;
    std::chrono::nanoseconds duration; ///< since it was heard of
    std::set<topic_partition> const& partitions;
};

namespace detail {

template <typename O>
concept fitting_fetched = requires(O& o, fetched_records const& told) {
    { o.fetched(told) }
    noexcept->std::same_as<void>;
};
template <typename O>
concept fitting_delivered = requires(O& o, delivered_records const& told) {
    { o.delivered(told) }
    noexcept->std::same_as<void>;
};
template <typename O>
concept fitting_handled = requires(O& o, handled_records const& told) {
    { o.handled(told) }
    noexcept->std::same_as<void>;
};
template <typename O>
concept fitting_committed = requires(O& o, commit_observation const& told) {
    { o.committed(told) }
    noexcept->std::same_as<void>;
};
template <typename O>
concept fitting_rebalance = requires(O& o, rebalance_observation const& told) {
    { o.rebalance(told) }
    noexcept->std::same_as<void>;
};

// As for handlers: a member's name is found whatever its shape by making it ambiguous.
struct has_fetched {
    int fetched;
};
struct has_delivered {
    int delivered;
};
struct has_handled {
    int handled;
};
struct has_committed {
    int committed;
};
struct has_rebalance {
    int rebalance;
};
template <typename O, typename Name>
struct observer_and : O, Name {};

template <typename O>
concept names_fetched = fitting_fetched<O> ||
    (!std::is_final_v<O> && !requires(observer_and<O, has_fetched> & o) { o.fetched; });
template <typename O>
concept names_delivered = fitting_delivered<O> ||
    (!std::is_final_v<O> && !requires(observer_and<O, has_delivered> & o) { o.delivered; });
template <typename O>
concept names_handled = fitting_handled<O> ||
    (!std::is_final_v<O> && !requires(observer_and<O, has_handled> & o) { o.handled; });
template <typename O>
concept names_committed = fitting_committed<O> ||
    (!std::is_final_v<O> && !requires(observer_and<O, has_committed> & o) { o.committed; });
template <typename O>
concept names_rebalance = fitting_rebalance<O> ||
    (!std::is_final_v<O> && !requires(observer_and<O, has_rebalance> & o) { o.rebalance; });

} // namespace detail

/// What watches a group at work: for metrics and spans of your own. Nothing to inherit: a class
/// with at least one of
///
///     void fetched(kgroup::fetched_records const&) noexcept;
///     void delivered(kgroup::delivered_records const&) noexcept;
///     void handled(kgroup::handled_records const&) noexcept;
///     void committed(kgroup::commit_observation const&) noexcept;
///     void rebalance(kgroup::rebalance_observation const&) noexcept;
///
/// given as `config::observer`. One of another shape is a compile error, not a hook that is never
/// called. (In a `final` class it is taken for absent.) A hook that is not there costs nothing.
///
/// Called on the group's executor, never on a thread of librdkafka's: `fetched`, `delivered` and
/// `handled` on the strand of their claim, so concurrently for several claims where the executor
/// has several threads; `committed` and `rebalance` on the group's strand. They stand in the way of
/// records, so they should do little; they cannot fail, so `noexcept`. What they are given lives
/// until they return.
template <typename O>
concept observer = (detail::fitting_fetched<O> || detail::fitting_delivered<O> ||
                    detail::fitting_handled<O> || detail::fitting_committed<O> ||
                    detail::fitting_rebalance<
                        O>)&&(!detail::names_fetched<O> ||
                              detail::fitting_fetched<
                                  O>)&&(!detail::names_delivered<O> ||
                                        detail::fitting_delivered<
                                            O>)&&(!detail::names_handled<O> ||
                                                  detail::fitting_handled<
                                                      O>)&&(!detail::names_committed<O> ||
                                                            detail::fitting_committed<
                                                                O>)&&(!detail::names_rebalance<O> ||
                                                                      detail::fitting_rebalance<O>);

namespace detail {

/// The same in sentences, for those whose observer does not fit.
template <typename O>
constexpr bool explain_observer() {
    static_assert(names_fetched<O> || names_delivered<O> || names_handled<O> ||
                      names_committed<O> || names_rebalance<O>,
                  "kgroup: the observer has no hook. Write at least one of fetched, delivered, "
                  "handled, committed, rebalance");
    static_assert(!names_fetched<O> || fitting_fetched<O>,
                  "kgroup: the observer's fetched does not fit. Write: "
                  "void fetched(kgroup::fetched_records const&) noexcept");
    static_assert(!names_delivered<O> || fitting_delivered<O>,
                  "kgroup: the observer's delivered does not fit. Write: "
                  "void delivered(kgroup::delivered_records const&) noexcept");
    static_assert(!names_handled<O> || fitting_handled<O>,
                  "kgroup: the observer's handled does not fit. Write: "
                  "void handled(kgroup::handled_records const&) noexcept");
    static_assert(!names_committed<O> || fitting_committed<O>,
                  "kgroup: the observer's committed does not fit. Write: "
                  "void committed(kgroup::commit_observation const&) noexcept");
    static_assert(!names_rebalance<O> || fitting_rebalance<O>,
                  "kgroup: the observer's rebalance does not fit. Write: "
                  "void rebalance(kgroup::rebalance_observation const&) noexcept");
    return true;
}

/// An observer behind a pointer, and which hooks it has.
class observer_binding {
public:
    struct hooks {
        bool fetched = false;
        bool delivered = false;
        bool handled = false;
    };

    explicit observer_binding(hooks present) noexcept : has(present) {}
    virtual ~observer_binding() = default;
    virtual void fetched(fetched_records const& told) noexcept = 0;
    virtual void delivered(delivered_records const& told) noexcept = 0;
    virtual void handled(handled_records const& told) noexcept = 0;
    virtual void committed(commit_observation const& told) noexcept = 0;
    virtual void rebalance(rebalance_observation const& told) noexcept = 0;

    hooks const has;
};

template <typename O>
class bound_observer final : public observer_binding {
public:
    explicit bound_observer(std::shared_ptr<O> to)
        : observer_binding({names_fetched<O>, names_delivered<O>, names_handled<O>}),
          to_(std::move(to)) {}

    void fetched([[maybe_unused]] fetched_records const& told) noexcept override {
        if constexpr (names_fetched<O>) {
            to_->fetched(told);
        }
    }
    void delivered([[maybe_unused]] delivered_records const& told) noexcept override {
        if constexpr (names_delivered<O>) {
            to_->delivered(told);
        }
    }
    void handled([[maybe_unused]] handled_records const& told) noexcept override {
        if constexpr (names_handled<O>) {
            to_->handled(told);
        }
    }
    void committed([[maybe_unused]] commit_observation const& told) noexcept override {
        if constexpr (names_committed<O>) {
            to_->committed(told);
        }
    }
    void rebalance([[maybe_unused]] rebalance_observation const& told) noexcept override {
        if constexpr (names_rebalance<O>) {
            to_->rebalance(told);
        }
    }

private:
    std::shared_ptr<O> to_;
};

struct observer_access;

} // namespace detail

/// Any observer, or none. Copies share it.
class any_observer {
public:
    any_observer() noexcept = default;
    /// @param given may be shared with others; null: none.
    template <typename O>
    any_observer(std::shared_ptr<O> given) {
        static_assert(detail::explain_observer<O>());
        if (given) {
            binding_ = std::make_shared<detail::bound_observer<O>>(std::move(given));
        }
    }

    explicit operator bool() const noexcept { return binding_ != nullptr; }

private:
    friend detail::observer_access;

    std::shared_ptr<detail::observer_binding> binding_;
};

namespace detail {

struct observer_access {
    static std::shared_ptr<observer_binding> take(any_observer& from) noexcept {
        return std::exchange(from.binding_, nullptr);
    }
};

/// What a claim tells its group's observer. Of one that has no hook it knows that much, and asks no
/// further. After the run there is none any more, whatever still holds the claim.
class observed_claim {
public:
    observed_claim() noexcept = default;
    explicit observed_claim(std::shared_ptr<observer_binding> const& by) noexcept
        : by_(by),
          has_(by ? by->has : observer_binding::hooks{}) {}

    bool hears_handled() const noexcept { return has_.handled; }

    void fetched(topic_partition const& where, std::size_t records,
                 std::size_t bytes) const noexcept {
        if (has_.fetched) [[unlikely]] {
            if (auto const by = by_.lock()) {
                by->fetched({where, records, bytes});
            }
        }
    }
    void delivered(topic_partition const& where, std::int64_t first, std::int64_t last,
                   std::size_t records) const noexcept {
        if (has_.delivered) [[unlikely]] {
            if (auto const by = by_.lock()) {
                by->delivered({where, first, last, records});
            }
        }
    }
    void handled(handled_records const& told) const noexcept {
        if (auto const by = by_.lock(); by && has_.handled) {
            by->handled(told);
        }
    }

private:
    std::weak_ptr<observer_binding> by_;
    observer_binding::hooks has_;
};

} // namespace detail

} // namespace kgroup
