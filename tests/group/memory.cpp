#include "support/failing_allocation.hpp"
#include "support/scripted_group.hpp"

#include <cstddef>
#include <new>
#include <optional>
#include <stdexcept>

// What has to be told when there is no memory.

namespace {

using namespace kgroup::tests;
using kgroup::claim;
using kgroup::event_kind;
using kgroup::session;

TEST_CASE("without memory: what a handler threw is told, whichever allocation fails on the way") {
    std::size_t which = 1;
    for (bool failed = true; failed && which != 100; ++which) {
        CAPTURE(which);
        scripted_group group;
        bool told = false;
        std::optional<failing_allocation> failing;
        group.settings.on_event = [&](kgroup::event const& what) {
            if (what.kind == event_kind::handler_failed) {
                failing.reset();
                told = true;
            }
        };
        group.handler.on_claim = [&](session&, claim& of) -> asio::awaitable<void> {
            auto const next = co_await of.messages().async_receive();
            of.mark(*next);
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

} // namespace
