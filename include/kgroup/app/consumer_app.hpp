// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/app/app_config.hpp>
#include <kgroup/consumer_group.hpp>
#include <kgroup/detail/asio/backoff.hpp>
#include <kgroup/detail/asio/manual_reset_event.hpp>
#include <kgroup/detail/asio/scope_exit.hpp>
#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/events/event_line.hpp>
#include <kgroup/detail/rdkafka/group_deletion.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/group_state.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/oauth_token.hpp>
#include <kgroup/print.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/strand.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace kgroup {

namespace detail {

/// Whether groups over this client are there on brokers, and are to be deleted there.
template <typename Client>
inline constexpr bool makes_groups = std::is_same_v<Client, rdkafka_client>;

} // namespace detail

/// A whole program around one handler: signals, restarts, and a group for each instance when every
/// instance needs all messages.
///
///     int main() {
///         return kgroup::consumer_app{kgroup::load_app_config("push.json"), push_handler{}}.run();
///     }
///
/// SIGINT and SIGTERM stop it in order: handlers finish what they hold, what is marked is
/// committed, the group is left. After the first of them they have their default effect again: a
/// second one ends the process at once.
///
/// A run that ends with an error is begun again after a backoff: 3 s, doubled each time up to a
/// minute, ± 20 %, and 3 s again after a run of more than a minute. It is reported as
/// `event_kind::run_restarted`. An error that another run cannot repair ends the application
/// (`error_effect::ends_application`: docs/errors.md).
///
/// The handler is made by the application, or moved into it. One that can neither be copied nor
/// moved is made in place:
///
///     kgroup::consumer_app<push_handler>{kgroup::load_app_config("push.json"),
///                                        std::in_place, arguments of its constructor…}
///
/// With `app_config::group_id_consistent` false, the group's id gets a random suffix of eight
/// characters, the same for all runs of this object. The group is deleted when the application
/// ends; one of a process that was killed goes when its offsets expire (`offsets.retention.minutes`
/// of the brokers).
///
/// `Client` is the seam to Kafka, as for `basic_consumer_group`; with `testing::fake_client` an
/// application runs over a script, where there are no groups to delete.
///
/// *Thread safety.* `stop`, `stats`, `state`, `pause`, `resume`, `pause_all`, `resume_all` and
/// `subscribe`: safe from any thread, also from handlers and from `on_event`. *Lifetime.* It
/// outlives `async_run`.
template <typename Handler, typename Client = detail::rdkafka_client>
class consumer_app {
    static_assert(std::is_class_v<Handler> && std::is_same_v<Handler, std::remove_cv_t<Handler>>,
                  "kgroup: consumer_app owns its handler: give it the handler itself, not a "
                  "pointer, a reference or something const");

public:
    /// Moves or copies the handler; it is shared by all runs.
    ///
    /// @throws std::system_error as `consumer_group`: the configuration is judged here.
    template <typename Given = Handler>
    requires std::is_same_v<std::remove_cvref_t<Given>, Handler> consumer_app(app_config given,
                                                                              Given&& handler)
        : consumer_app(std::move(given), own(std::forward<Given>(handler))) {}

    /// Makes the handler in place.
    ///
    /// @throws std::system_error as above, and what the handler's constructor throws.
    template <typename... Arguments>
    consumer_app(app_config given, std::in_place_t, Arguments&&... arguments)
        : consumer_app(std::move(given), make(std::forward<Arguments>(arguments)...)) {}

    consumer_app(consumer_app const&) = delete;
    consumer_app& operator=(consumer_app const&) = delete;

    /// The handler, which all runs share.
    Handler& handler() noexcept { return *handler_; }

    /// The group's id, with its suffix if it has one.
    std::string const& group_id() const noexcept { return config_.group_id; }

    /// Runs on a context and a thread of its own, this one, until it is stopped or can go on no
    /// longer.
    ///
    /// @return 0: it was stopped; 1: it ended with an error, whose reason was written to standard
    /// error.
    int run() {
        asio::io_context context{1};
        std::exception_ptr failure;
        asio::co_spawn(context, async_run(), [&](std::exception_ptr e) { failure = std::move(e); });
        context.run();
        if (!failure) {
            return 0;
        }
        try {
            std::rethrow_exception(failure);
        } catch (std::exception const& e) {
            std::fprintf(stderr, "kgroup %s: %s\n", detail::shown(config_.group_id).c_str(),
                         detail::one_line(e.what()).c_str());
        } catch (...) {
            std::fprintf(stderr, "kgroup %s: an exception of unknown type\n",
                         detail::shown(config_.group_id).c_str());
        }
        return 1;
    }

    /// Does the same on the executor of the coroutine that awaits it. To be called once.
    ///
    /// Completion signature: an `asio::awaitable<void>`; there is no form with a completion token.
    /// Errors: the failure of a run that another run cannot repair
    /// (`error_effect::ends_application`: docs/errors.md) or that came after `stop`, and what
    /// `config::on_event` throws between two runs.
    /// Cancellation: terminal; stops it in order, then fails with `asio::error::operation_aborted`.
    /// Lifetime: the application outlives the operation.
    asio::awaitable<void> async_run() {
        auto const strand = asio::make_strand(co_await asio::this_coro::executor);
        co_await asio::co_spawn(strand, runs(strand), asio::use_awaitable);
    }

    /// Ends it in order. Any thread, any time; returns at once. Sticky.
    void stop() noexcept {
        std::lock_guard const lock{mutex_}; // throughout: the context may be gone as soon as the
                                            // run has seen the end of this
        stopped_ = true;
        stopping_.set();
        if (group_) {
            group_->stop();
        }
    }

    /// Of the group that runs now; between two runs, of the last. Counters begin at 0 with each
    /// run.
    group_stats stats() const {
        std::lock_guard const lock{mutex_};
        return group_ ? group_->stats() : last_stats_;
    }

    /// As `consumer_group::state`, of the group that runs now. Between two runs it is
    /// `group_phase::backing_off`, with an `event_kind::run_restarted` among the conditions that
    /// says why. Any thread.
    ///
    /// @throws std::bad_alloc.
    group_state state() const {
        std::lock_guard const lock{mutex_};
        if (group_) {
            return group_->state();
        }
        auto state = last_state_;
        state.at = state.looked_at = std::chrono::system_clock::now();
        return state;
    }

    /// As that of `consumer_group`, of the group that runs now. A pause lasts as long as the claim
    /// is owned, so between two runs it does nothing.
    void pause(std::span<topic_partition const> partitions) {
        with_group([&](group& running) { running.pause(partitions); });
    }
    /// The same for partitions that are written where it is called.
    void pause(std::initializer_list<topic_partition> partitions) {
        pause(std::span{partitions.begin(), partitions.size()});
    }
    /// The same for the partitions of a topic that are owned now.
    void pause(std::string_view topic) {
        with_group([&](group& running) { running.pause(topic); });
    }
    /// The same for everything that is owned now.
    void pause_all() {
        with_group([](group& running) { running.pause_all(); });
    }
    /// As that of `consumer_group`, of the group that runs now; between two runs it does nothing.
    void resume(std::span<topic_partition const> partitions) {
        with_group([&](group& running) { running.resume(partitions); });
    }
    /// The same for partitions that are written where it is called.
    void resume(std::initializer_list<topic_partition> partitions) {
        resume(std::span{partitions.begin(), partitions.size()});
    }
    /// The same for the partitions of a topic that are owned now.
    void resume(std::string_view topic) {
        with_group([&](group& running) { running.resume(topic); });
    }
    /// The same for everything that is owned now.
    void resume_all() {
        with_group([](group& running) { running.resume_all(); });
    }

    /// Subscribes to other topics, as `consumer_group::subscribe`; the next runs begin with them,
    /// too. Between two runs: from the next one on.
    ///
    /// @throws std::system_error `errc::invalid_config`: they are refused, and nothing has changed.
    void subscribe(std::vector<std::string> topics) {
        std::lock_guard const lock{mutex_};
        if (group_) {
            group_->subscribe(topics);
        } else {
            detail::check_topics(topics, config_.protocol);
        }
        config_.topics = std::move(topics);
    }

private:
    using group = basic_consumer_group<Client>;

    template <typename Given>
    static std::shared_ptr<Handler> own(Given&& handler) {
        static_assert(std::is_constructible_v<Handler, Given>,
                      "kgroup: the handler can neither be copied nor moved into consumer_app (or "
                      "it needs std::move). Make it in place: "
                      "consumer_app<Handler>{config, std::in_place, arguments...}");
        return make(std::forward<Given>(handler));
    }

    template <typename... Arguments>
    static std::shared_ptr<Handler> make(Arguments&&... arguments) {
        if constexpr (std::is_class_v<Handler>) {
            if constexpr (std::is_constructible_v<Handler, Arguments...>) {
                return std::make_shared<Handler>(std::forward<Arguments>(arguments)...);
            } else if constexpr (requires { Handler{std::declval<Arguments>()...}; }) {
                return std::shared_ptr<Handler>{
                    new Handler{std::forward<Arguments>(arguments)...}}; // an aggregate
            } else {
                static_assert(!sizeof...(Arguments) && sizeof...(Arguments),
                              "kgroup: the handler cannot be made of these arguments (or it can "
                              "neither be copied nor moved: consumer_app<Handler>"
                              "{config, std::in_place, arguments...})");
            }
        }
    }

    consumer_app(app_config given, std::shared_ptr<Handler> handler)
        : config_(std::move(given.group)),
          handler_(std::move(handler)),
          warnings_(std::move(given.warnings)) {
        if constexpr (std::is_class_v<Handler>) {
            static_assert(detail::explain_handler<Handler>());
        }
        if (!given.group_id_consistent) {
            config_.group_id += "-" + random_suffix();
            own_group_ = true;
        }
        if (config_.oauth_token_provider) {
            config_.oauth_token_provider = [last = last_token_,
                                            ask = std::move(config_.oauth_token_provider)] {
                return remember(last, ask);
            };
        }
        asio::io_context unused;
        group const judge{unused, config_};
        last_state_ = judge.state();
    }

    /// Under the lock, as `stop`: the context may be gone as soon as the run has seen the end of
    /// this.
    template <typename Action>
    void with_group(Action action) {
        std::lock_guard const lock{mutex_};
        if (group_) {
            action(*group_);
        }
    }

    // The last token of the provider's: what deletes the group.
    class remembered_token {
    public:
        void set(oauth_token token) {
            std::lock_guard const lock{mutex_};
            token_ = std::move(token);
        }
        std::optional<oauth_token> get() const {
            std::lock_guard const lock{mutex_};
            return token_;
        }

    private:
        mutable std::mutex mutex_;
        std::optional<oauth_token> token_;
    };
    static asio::awaitable<oauth_token>
    remember(std::shared_ptr<remembered_token> last,
             std::function<asio::awaitable<oauth_token>()> ask) {
        auto token = co_await ask();
        last->set(token);
        co_return token;
    }

    static constexpr auto first_backoff = std::chrono::seconds{3};
    static constexpr auto longest_backoff = std::chrono::seconds{60};

    asio::awaitable<void> runs(asio::strand<asio::any_io_executor> strand) {
        // A signal may be on its way here when this ends.
        auto const listening = std::make_shared<bool>(true);
        auto const signals = std::make_shared<asio::signal_set>(strand, SIGINT, SIGTERM);
        signals->async_wait([this, signals, listening](std::error_code ec, int) {
            if (!ec && *listening) {
                std::error_code ignored;
                signals->clear(ignored); // the next one is the system's
                stop();
            }
        });
        detail::scope_exit const silent{[&signals, &listening] {
            *listening = false;
            std::error_code ignored;
            signals->cancel(ignored);
        }};
        for (auto const& warning : warnings_) {
            report({event_kind::unsafe_setting, severity::warning, std::nullopt, {}, warning});
        }
        detail::backoff backoff{first_backoff, longest_backoff};
        std::exception_ptr end;
        while (!stopped_) {
            auto const began = detail::clock::now();
            auto const failure = co_await one_run(strand);
            if (!failure || stopped_ || is_final(failure)) {
                end = failure;
                break;
            }
            if (detail::clock::now() - began > std::chrono::minutes{1}) {
                backoff.reset();
            }
            auto const pause = jittered(backoff.next());
            auto const [words, error] = detail::describe_exception(failure);
            auto const why = detail::words_beside(error, words);
            auto const told = (why.empty() ? "the run has failed" : why) +
                              "; the next run begins in " + std::to_string(pause.count()) + " ms";
            back_off(error, told);
            report({event_kind::run_restarted, severity::warning, std::nullopt, error, told});
            try {
                co_await stopping_.wait(detail::clock::now() + pause);
            } catch (...) { // cancelled
                end = std::current_exception();
                break;
            }
        }
        { std::lock_guard const through{mutex_}; } // with `stop`, whoever is in it
        if constexpr (detail::makes_groups<Client>) {
            if (own_group_) {
                co_await asio::this_coro::reset_cancellation_state(
                    asio::disable_cancellation()); // also after a cancellation
                co_await delete_own_group();
            }
        }
        if (end) {
            std::rethrow_exception(end);
        }
    }

    asio::awaitable<std::exception_ptr> one_run(asio::strand<asio::any_io_executor> strand) {
        std::shared_ptr<group> running;
        {
            std::lock_guard const lock{mutex_};
            running = std::make_shared<group>(strand.get_inner_executor(), config_);
            group_ = running;
            if (stopped_) {
                running->stop();
            }
        }
        std::exception_ptr failure;
        try {
            co_await running->async_run(handler_);
        } catch (...) {
            failure = std::current_exception();
        }
        std::lock_guard const lock{mutex_};
        last_stats_ = running->stats();
        last_state_ = running->state();
        group_.reset(); // it must not outlive the context
        co_return failure;
    }

    // For `state`, until the next run begins.
    void back_off(std::error_code why, std::string const& words) {
        std::lock_guard const lock{mutex_};
        last_state_.phase = group_phase::backing_off;
        last_state_.phase_since = std::chrono::system_clock::now();
        last_state_.conditions = {{event_kind::run_restarted, std::nullopt, why,
                                   last_state_.phase_since, detail::one_line(words)}};
    }

    // Through a blocking call, so on a thread of its own. Its end is waited for: the process may
    // end after that.
    asio::awaitable<void> delete_own_group() {
        auto const done = std::make_shared<detail::manual_reset_event>();
        auto const result = std::make_shared<std::error_code>();
        try {
            auto group_config = config_;
            group_config.on_event = nullptr; // nothing of the user's is held there
            group_config.oauth_token_provider = nullptr;
            std::thread{[done, result, token = last_token_->get(),
                         group_config = std::move(group_config)] {
                try {
                    *result =
                        detail::delete_group(group_config, token, std::chrono::milliseconds{5000});
                } catch (...) { // out of memory
                    *result = std::make_error_code(std::errc::not_enough_memory);
                }
                done->set();
            }}.detach();
            // It looks now and then: the thread may have had no memory to tell.
            for (auto deleted = false; !deleted;) {
                deleted = co_await done->wait(detail::clock::now() + std::chrono::seconds{1});
            }
            if (*result) {
                not_deleted(*result);
            }
        } catch (std::exception const& e) {
            not_deleted({}, e.what());
        }
    }

    void not_deleted(std::error_code ec, std::string const& why = {}) const {
        report({event_kind::client_error, severity::warning, std::nullopt, ec,
                "the group was not deleted, and goes when its offsets expire" +
                    (why.empty() ? why : ": " + why)});
    }

    static bool is_final(std::exception_ptr const& failure) {
        try {
            std::rethrow_exception(failure);
        } catch (std::system_error const& e) {
            return effect_of(e.code()) == error_effect::ends_application ||
                   e.code() == asio::error::operation_aborted;
        } catch (...) {
            return false;
        }
    }

    std::chrono::milliseconds jittered(std::chrono::milliseconds around) {
        std::uniform_int_distribution<std::chrono::milliseconds::rep> spread{
            around.count() * 4 / 5, around.count() * 6 / 5};
        return std::chrono::milliseconds{spread(random_)};
    }

    std::string random_suffix() {
        constexpr std::string_view letters{"abcdefghijklmnopqrstuvwxyz0123456789"};
        std::uniform_int_distribution<std::size_t> pick{0, letters.size() - 1};
        std::string suffix;
        for (int i = 0; i != 8; ++i) {
            suffix += letters[pick(random_)];
        }
        return suffix;
    }

    void report(event event) const {
        event.text = detail::one_line(detail::words_beside(event.error, std::move(event.text)));
        if (config_.on_event) {
            config_.on_event(event);
        } else {
            print(event, config_.group_id);
        }
    }

    config config_; // its topics under the mutex
    std::shared_ptr<Handler> handler_;
    std::shared_ptr<remembered_token> const last_token_ = std::make_shared<remembered_token>();
    bool own_group_ = false;
    std::mt19937_64 random_{std::random_device{}()};
    std::atomic<bool> stopped_{false};
    detail::manual_reset_event stopping_;
    mutable std::mutex mutex_;
    std::shared_ptr<group> group_; // under the mutex, like the next
    group_stats last_stats_{};
    group_state last_state_{};
    std::vector<std::string> const warnings_;
};

template <typename Handler>
consumer_app(app_config, Handler&&) -> consumer_app<std::remove_cvref_t<Handler>>;

} // namespace kgroup
