// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/execution/blocking.hpp>
#include <asio/io_context.hpp>
#include <asio/strand.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/failing_allocation.hpp"
#include "support/scripted_group.hpp"

// What has to be told, and what must not happen, when there is no memory.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::event_kind;
using kgroup::session;
using kgroup::topic_partition;

TEST_CASE("without memory: what a handler threw is told, whichever allocation fails on the way") {
    std::size_t which = 1;
    for (bool failed = true; failed && which != 100; ++which) {
        CAPTURE(which);
        scripted_group group;
        bool told = false;
        std::optional<failing_allocation> failing;
        group.settings.on_event = [&](kgroup::event const& event) {
            if (event.kind == event_kind::handler_failed) {
                failing.reset();
                told = true;
            }
        };
        group.handler.on_claim = [&](session&, claim& claim) -> asio::awaitable<void> {
            auto const next = co_await claim.messages().async_receive();
            claim.mark(*next);
            failing.emplace(which); // from its throw on, to the telling
            throw std::runtime_error{"the handler's own"};
        };
        group.cluster.add_records(t0, "a");
        group.run();
        group.cluster.assign({t0});
        try {
            group.context.restart();
            group.context.poll();
        } catch (std::bad_alloc const&) {
            // Of Asio's own: what has been told so far is read at the next tick.
        }
        failed = failing_allocation::has_failed();
        failing.reset();
        group.settle();
        for (int i = 0; i != 60 && !group.outcome.completed; ++i) {
            group.advance(500ms);
        }
        CHECK(group.outcome.completed);
        CHECK((told || group.outcome.what() == "the handler's own"));
        CHECK(group.outcome.failure);
        CHECK(group.handler.claims_ended == 1);
        CHECK_FALSE(group.cluster.has_member());
    }
    CHECK(which > 3);
    CHECK(which != 100);
}

/// The fake's client, which asks for memory once a call, and is given the rest: as librdkafka it is
/// not what is tried here.
class frugal_client {
public:
    explicit frugal_client(kgroup::config const& given) : client_(given) {}
    frugal_client(frugal_client const&) = delete;
    frugal_client& operator=(frugal_client const&) = delete;

    void check_topics(std::vector<std::string> const& topics) const {
        client_.check_topics(topics);
    }
    void subscribe(std::vector<std::string> const& topics) {
        with_memory([&] { client_.subscribe(topics); });
    }
    void start(std::function<void()> const& notify) {
        with_memory([&] { client_.start(notify); });
    }
    std::optional<kgroup::detail::client_event> poll() {
        return with_memory([&] { return client_.poll(); });
    }
    void look_up(std::uint64_t id, std::vector<topic_partition> const& partitions, bool lower,
                 std::chrono::milliseconds limit) {
        with_memory([&] { client_.look_up(id, partitions, lower, limit); });
    }
    void find_in_logs(std::uint64_t id, std::vector<kgroup::detail::log_place> const& places,
                      std::vector<std::string> const& topics, std::chrono::milliseconds limit) {
        with_memory([&] { client_.find_in_logs(id, places, topics, limit); });
    }
    void assign(std::vector<kgroup::detail::start_position> const& to, bool cooperative) {
        with_memory([&] { client_.assign(to, cooperative); });
    }
    void unassign(std::vector<topic_partition> const& partitions, bool cooperative) {
        with_memory([&] { client_.unassign(partitions, cooperative); });
    }
    std::shared_ptr<kgroup::detail::record_source>
    open(std::shared_ptr<kgroup::detail::partition_state> const& state) {
        return with_memory([&] { return std::make_shared<source>(client_.open(state)); });
    }
    void seek(std::vector<kgroup::detail::start_position> const& to) {
        with_memory([&] { client_.seek(to); });
    }
    void commit(std::uint64_t id, std::vector<kgroup::detail::offset_commit> const& offsets) {
        with_memory([&] { client_.commit(id, offsets); });
    }
    void offsets_for_times(std::uint64_t id, std::vector<topic_partition> const& partitions,
                           std::chrono::system_clock::time_point time,
                           std::chrono::milliseconds limit) {
        with_memory([&] { client_.offsets_for_times(id, partitions, time, limit); });
    }
    void find_ends(std::uint64_t id, std::vector<topic_partition> const& partitions,
                   std::chrono::milliseconds limit) {
        with_memory([&] { client_.find_ends(id, partitions, limit); });
    }
    void ask_coordinator(std::uint64_t id, topic_partition const& about,
                         std::chrono::milliseconds limit) {
        with_memory([&] { client_.ask_coordinator(id, about, limit); });
    }
    std::error_code set_token(kgroup::oauth_token const& token) {
        return with_memory([&] { return client_.set_token(token); });
    }
    void listen(bool on) {
        with_memory([&] { client_.listen(on); });
    }
    std::string heard(std::optional<topic_partition> const& about) const {
        return with_memory([&] { return client_.heard(about); });
    }
    void close() {
        with_memory([&] { client_.close(); });
    }
    bool closed() const { return client_.closed(); }
    bool shut_down(std::function<void()> const& done) {
        return with_memory([&] { return client_.shut_down(done); });
    }
    std::string member_id() const { return client_.member_id(); }
    std::int32_t generation_id() const { return client_.generation_id(); }
    std::chrono::milliseconds max_poll_interval() const noexcept {
        return client_.max_poll_interval();
    }
    std::chrono::milliseconds rebalance_deadline() const noexcept {
        return client_.rebalance_deadline();
    }
    std::size_t block_bytes() const noexcept { return client_.block_bytes(); }

private:
    class source final : public kgroup::detail::record_source {
    public:
        explicit source(std::shared_ptr<kgroup::detail::record_source> inner)
            : source_(std::move(inner)) {}
        ~source() override {
            spared_allocations const spared;
            source_.reset();
        }

        void drain(kgroup::detail::record_block& into, std::size_t limit) noexcept override {
            spared_allocations const spared;
            source_->drain(into, limit);
        }
        void look() noexcept override {
            spared_allocations const spared;
            source_->look();
        }
        std::size_t waiting() const noexcept override { return source_->waiting(); }
        void close() noexcept override {
            spared_allocations const spared;
            source_->close();
        }
        kgroup::detail::watermarks known_watermarks() const noexcept override {
            spared_allocations const spared;
            return source_->known_watermarks();
        }
        void free_records(kgroup::detail::record* first, std::size_t count) noexcept override {
            spared_allocations const spared;
            source_->free_records(first, count);
        }
        std::int64_t timestamp(void* native) const noexcept override {
            return source_->timestamp(native);
        }
        void headers(void* native, header_sink const& sink) const override {
            source_->headers(native, sink);
        }

    private:
        std::shared_ptr<kgroup::detail::record_source> source_;
    };

    template <typename Call>
    static std::invoke_result_t<Call> with_memory(Call call) {
        ::operator delete(::operator new(1)); // fails before anything is done
        spared_allocations const spared;
        return call();
    }

    kgroup::testing::fake_client client_;
};

enum class phase { making, session, work, revocation, stop };
enum class handling { receive, records, batches };

/// What Asio 1.22 does not bear to be refused.
///
/// A strand: `strand_executor_service::create_implementation` takes one apart that has not been
/// filled in yet, when there is no memory for the block that counts its owners, which is asked for
/// directly behind it, or for a mutex that strands share.
///
/// An initiation: one that throws ends the process (`awaitable_frame_base::await_transform` calls
/// it from a function that must not). That of `co_spawn`, and the `dispatch` that it begins with
/// (`co_spawn_entry_point`), copy an `any_io_executor` and ask it for its properties. A strand over
/// another one, as hooks and `manual_reset_event::wait` have, has no room within it, and each
/// property is an allocation of its own (`any_executor_base::query_fn_non_void`).
class not_borne {
public:
    static void prepare(asio::io_context& context) {
        for (int i = 0; i != 5000; ++i) { // each takes one of 193 mutexes, by a hash
            static_cast<void>(asio::make_strand(context));
        }
        // It is the largest of what holding one asks for.
        auto const nested = asio::make_strand(asio::any_io_executor{asio::make_strand(context)});
        nested_strand = 0;
        failing_allocation const watched{1, [](std::size_t size, std::size_t) {
                                             nested_strand = (std::max)(nested_strand, size);
                                             return true;
                                         }};
        asio::any_io_executor const held{nested};
    }
    static bool is(std::size_t size, std::size_t before) {
        return before ==
                   sizeof(
                       asio::detail::strand_executor_service::implementation_type::element_type) ||
               size == nested_strand || size == sizeof(asio::execution::blocking_t);
    }

private:
    inline static std::size_t nested_strand = 0;
};

/// A run in which, in one phase, one allocation fails.
struct run_short_of_memory {
    phase where;
    std::size_t which;
    handling by = handling::receive;
    bool failed = false;  // there were so many
    bool refused = false; // by an exception out of the making
    std::optional<failing_allocation> failing{};
    std::map<topic_partition, std::int64_t> marked{};
    std::map<topic_partition, std::set<std::int64_t>> done{};
    kgroup::limit places{1};
    int handler_failures = 0;
    scripted_group script{};
    std::optional<kgroup::basic_consumer_group<frugal_client>> group{};

    template <typename Action>
    void in(phase now, Action action) {
        if (now == where) {
            failing.emplace(which, not_borne::is);
        }
        action();
        if (now == where) {
            failed = failing_allocation::has_failed();
            failing.reset();
        }
    }

    // What a handler of Asio's throws comes out of `poll`, and the next call goes on behind it.
    void settle() {
        for (bool all = false; !all;) {
            try {
                script.context.restart();
                script.context.poll();
                all = true;
            } catch (std::bad_alloc const&) {
            }
        }
    }
    void advance(std::chrono::nanoseconds how_far) {
        settle();
        {
            spared_allocations const spared;
            kgroup::detail::clock::lead +=
                std::chrono::duration_cast<kgroup::detail::clock::duration>(how_far).count();
            look_at_timers();
        }
        settle();
    }
    void look_at_timers() {
        kgroup::detail::timer look{script.context, (kgroup::detail::clock::time_point::min)()};
        bool looked = false;
        look.async_wait([&looked](std::error_code) { looked = true; });
        while (!looked) {
            script.context.restart();
            script.context.poll_one();
        }
    }

    // All up to the first that is not done may be committed.
    void note_done(kgroup::message const& taken) {
        spared_allocations const spared;
        topic_partition const partition{std::string{taken.topic()}, taken.partition()};
        done[partition].insert(taken.offset());
        while (done[partition].contains(marked[partition])) {
            ++marked[partition];
        }
    }
    // The first attempt at what is called "b" fails.
    static bool fails(kgroup::message const& taken, kgroup::attempt const& current) {
        return taken.value() == "b" && current.number() == 1;
    }
    asio::awaitable<void> process(claim& claim) {
        kgroup::for_each_options const options{
            .limit = &places, .retry = {.attempts = 5, .backoff = {.initial = 1ms, .max = 1ms}}};
        if (by == handling::records) {
            auto function = [this](kgroup::message const& taken, kgroup::attempt const& current) {
                if (fails(taken, current)) {
                    throw 1;
                }
                note_done(taken);
            };
            auto by_key = options;
            by_key.order = kgroup::order::by_key;
            co_await kgroup::for_each(claim, by_key, function);
        } else {
            auto function = [this](kgroup::message_batch const& batch,
                                   kgroup::attempt const& current) {
                for (std::size_t i = 0; i != batch.size(); ++i) {
                    if (fails(batch[i], current)) {
                        throw kgroup::failed_at{i, nullptr};
                    }
                    note_done(batch[i]);
                }
            };
            co_await kgroup::for_each_batch(claim, {.records = 2, .within = 10ms}, options,
                                            function);
        }
    }

    asio::awaitable<void> consume(session& current, claim& claim) {
        try {
            if (by != handling::receive) {
                co_return co_await process(claim);
            }
            while (auto const next = co_await claim.messages().async_receive()) {
                {
                    spared_allocations const spared;
                    auto& until = marked[{std::string{next->topic()}, next->partition()}];
                    until = (std::max)(until, next->offset() + 1);
                }
                claim.mark(*next);
                if (next->value() == "commit") {
                    co_await current.async_commit();
                }
            }
        } catch (std::exception const&) {
            ++handler_failures;
            throw;
        }
    }

    void run() {
        not_borne::prepare(script.context);
        script.settings.on_event = [this](kgroup::event const& told) {
            spared_allocations const spared;
            check_event(told);
            script.events.push_back(told);
        };
        script.handler.on_claim = [this](session& current, claim& claim) {
            return consume(current, claim);
        };
        in(phase::making, [&] {
            try {
                group.emplace(script.context, script.settings);
                group->async_run(script.handler, [this](std::exception_ptr e) {
                    script.outcome = {true, e};
                });
            } catch (std::bad_alloc const&) {
                refused = true;
                return;
            }
            settle();
        });
        if (refused) {
            return;
        }
        script.cluster.assign({t0, t1});
        in(phase::session, [&] { settle(); });
        script.cluster.add_records(t0, "a", "b", "commit");
        script.cluster.add_records(t1, "a", "b");
        in(phase::work, [&] {
            settle();
            advance(61s);
        });
        script.cluster.revoke();
        in(phase::revocation, [&] { settle(); });
        script.cluster.assign({t0, t1});
        settle();
        script.cluster.add_records(t0, "c");
        settle();
        in(phase::stop, [&] {
            group->stop();
            settle();
        });
        for (int i = 0; i != 200 && !script.outcome.completed; ++i) {
            advance(500ms);
        }
    }
};

bool is_lack_of_memory(std::exception_ptr const& e) {
    try {
        std::rethrow_exception(e);
    } catch (std::bad_alloc const&) {
        return true;
    } catch (std::system_error const& error) {
        return error.code() == std::errc::not_enough_memory;
    } catch (...) {
        return false;
    }
}

// Each allocation that fails ends the run with its error, or is made up for. Asio's own memory is
// not tried where it asks for it by `aligned_alloc` (frames of coroutines, operations): Asio 1.22
// ends the process when an initiation finds none
// (`awaitable_frame_base::await_transform` calls it from a function that must not throw).
TEST_CASE("without memory: a run ends with an error or goes on, whichever allocation fails") {
    auto where = phase::making;
    SUBCASE("making it, and its start") { where = phase::making; }
    SUBCASE("a session begins") { where = phase::session; }
    SUBCASE("records are received, marked and committed") { where = phase::work; }
    SUBCASE("the claims are revoked") { where = phase::revocation; }
    SUBCASE("it is stopped") { where = phase::stop; }
    for (auto const by : {handling::receive, handling::records, handling::batches}) {
        CAPTURE(static_cast<int>(by));
        std::size_t which = 1;
        for (bool failed = true; failed && which != 5000; ++which) {
            CAPTURE(which);
            run_short_of_memory tried{where, which, by};
            tried.run();
            failed = tried.failed;
            if (tried.refused) {
                CHECK_FALSE(tried.script.outcome.completed);
                continue;
            }
            auto const& outcome = tried.script.outcome;
            CHECK(outcome.completed);
            CHECK((!outcome.failure || is_lack_of_memory(outcome.failure)));
            CHECK((tried.handler_failures == 0 || outcome.failure));
            CHECK(tried.script.handler.claims == tried.script.handler.claims_ended);
            CHECK_FALSE(tried.script.cluster.has_member());
            for (auto const& partition : {t0, t1}) {
                auto const committed = tried.script.cluster.committed(partition);
                CHECK((committed ? *committed : 0) <= tried.marked[partition]);
                if (!outcome.failure) {
                    CHECK((committed ? *committed : 0) == tried.marked[partition]);
                }
            }
        }
        CHECK(which > 3);
        CHECK(which != 5000);
    }
}

} // namespace
