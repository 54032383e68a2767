// SPDX-License-Identifier: MIT

#include <kgroup/detail/rdkafka/blocking_calls.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <future>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "support/failing_allocation.hpp"

namespace blocking_calls_tests {

namespace {

using kgroup::detail::blocking_calls;

TEST_CASE("blocking_calls: one after another, elsewhere, in order") {
    auto const calls = std::make_shared<blocking_calls>();
    std::vector<int> done; // one thread at a time
    std::promise<std::thread::id> last;
    for (int number = 0; number != 100; ++number) {
        calls->add([&done, number] { done.push_back(number); });
    }
    calls->add([&last] { last.set_value(std::this_thread::get_id()); });
    CHECK(last.get_future().get() != std::this_thread::get_id());
    REQUIRE(done.size() == 100);
    CHECK(done.front() == 0);
    CHECK(done.back() == 99);
}

TEST_CASE("blocking_calls: what has not begun is dropped, and later calls are made") {
    auto const calls = std::make_shared<blocking_calls>();
    std::promise<void> began;
    std::promise<void> go_on;
    std::promise<void> later;
    bool dropped = true;
    calls->add([&] {
        began.set_value();
        go_on.get_future().wait();
    });
    began.get_future().wait();
    calls->add([&] { dropped = false; });
    calls->drop_rest();
    calls->add([&] { later.set_value(); });
    go_on.set_value();
    later.get_future().wait();
    CHECK(dropped);
}

TEST_CASE("blocking_calls: one that there is no memory for is refused, and the others are made") {
    auto const calls = std::make_shared<blocking_calls>();
    auto refused = 0;
    auto failed = true;
    for (std::size_t which = 1; failed && which != 100; ++which) {
        std::array<int, 100> const large{}; // not kept in place
        std::promise<void> made;
        auto added = true;
        {
            kgroup::tests::failing_allocation const failing{which};
            try {
                calls->add([&made, large] { made.set_value(); });
            } catch (std::bad_alloc const&) {
                added = false;
                ++refused;
            }
            failed = failing.has_failed();
        }
        if (added) {
            made.get_future().wait();
        }
    }
    CHECK(refused > 0);
    CHECK_FALSE(failed);
    std::promise<void> last;
    calls->add([&last] { last.set_value(); });
    last.get_future().wait();
}

TEST_CASE("blocking_calls: it lives as long as a call of it") {
    auto calls = std::make_shared<blocking_calls>();
    std::promise<void> go_on;
    std::promise<void> done;
    calls->add([&, wait = go_on.get_future().share()] {
        wait.wait();
        done.set_value();
    });
    calls.reset();
    go_on.set_value();
    done.get_future().wait();
}

} // namespace

} // namespace blocking_calls_tests
