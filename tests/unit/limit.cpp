// SPDX-License-Identifier: MIT

#include <kgroup/limit.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <memory>
#include <stdexcept>

namespace limit_tests {

namespace {

struct waiter final : kgroup::detail::limit_waiter {
    explicit waiter(std::size_t places) : held(places) {}

    void place_granted() noexcept override { ++held; }
    std::size_t places() const noexcept override { return held; }

    std::size_t held;
};

} // namespace

TEST_CASE("limit: without a place it is refused") {
    CHECK_THROWS_AS(kgroup::limit{0}, std::invalid_argument);
}

TEST_CASE("limit: so many have a place, and what becomes free goes to who waits, in turn") {
    kgroup::limit places{2};
    auto const first = std::make_shared<waiter>(std::size_t{0});
    auto const second = std::make_shared<waiter>(std::size_t{0});
    CHECK(places.take(first));
    CHECK(places.take(first));
    CHECK_FALSE(places.take(first));
    CHECK_FALSE(places.take(second));
    places.give_back();
    CHECK(first->held == 1);
    places.give_back();
    CHECK(second->held == 1);
    places.give_back();
    CHECK(places.take(second)); // nobody waits
}

TEST_CASE("limit: who has more to do keeps its place, unless one who waits has fewer") {
    kgroup::limit places{4};
    for (auto taken = 0; taken != 4; ++taken) {
        CHECK(places.take(nullptr));
    }
    CHECK(places.keep(4));
    auto const as_many = std::make_shared<waiter>(std::size_t{2});
    auto const fewer = std::make_shared<waiter>(std::size_t{1});
    CHECK_FALSE(places.take(as_many));
    CHECK_FALSE(places.take(fewer));
    auto kept = 0;
    while (kept != 3 && places.keep(2)) { // each is looked at in turn
        ++kept;
    }
    CHECK(kept < 2);
    CHECK(fewer->held == 2);
    CHECK(as_many->held == 2);
    CHECK(places.keep(2)); // now they are even
    CHECK_FALSE(places.keep(3));
    CHECK(as_many->held == 3);
}

TEST_CASE("limit: who has withdrawn, or is gone, is granted nothing") {
    kgroup::limit places{1};
    CHECK(places.take(nullptr));
    auto const withdrawn = std::make_shared<waiter>(std::size_t{0});
    auto gone = std::make_shared<waiter>(std::size_t{0});
    CHECK_FALSE(places.take(withdrawn));
    CHECK_FALSE(places.take(gone));
    places.withdraw(*withdrawn);
    gone.reset();
    CHECK(places.keep(1));
    CHECK(places.keep(1));
    places.give_back();
    CHECK(withdrawn->held == 0);
    CHECK(places.take(withdrawn));
}

/// Gives its place back when it goes, as what was cut off in the middle does.
struct cut_off final : kgroup::detail::limit_waiter {
    explicit cut_off(kgroup::limit& under) : limit_(under) {}
    ~cut_off() override {
        if (held) {
            limit_.give_back();
        }
    }
    void place_granted() noexcept override {
        held = true;
        owner.reset(); // it goes in the same moment
    }
    std::size_t places() const noexcept override { return 0; }

    kgroup::limit& limit_;
    std::shared_ptr<cut_off> owner;
    bool held = false;
};

TEST_CASE("limit: one who goes while it is granted a place gives it back") {
    for (auto const keeps : {false, true}) {
        kgroup::limit places{1};
        CHECK(places.take(nullptr));
        auto waiting = std::make_shared<cut_off>(places);
        CHECK_FALSE(places.take(waiting));
        waiting->owner = waiting;
        waiting.reset();
        if (keeps) {
            CHECK_FALSE(places.keep(1));
        } else {
            places.give_back();
        }
        CHECK(places.take(nullptr));
    }
}

} // namespace limit_tests
