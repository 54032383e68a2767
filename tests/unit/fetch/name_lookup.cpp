// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/name_lookup.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace name_lookup_tests {
namespace {

using kgroup::detail::fetch::name_lookup;
using namespace std::chrono_literals;

name_lookup::result found(std::string const& address) {
    return {{}, {asio::ip::make_address(address)}};
}

TEST_CASE("name_lookup: addresses need no look-up") {
    name_lookup names{nullptr, [](std::string const&) -> name_lookup::result {
                          FAIL("not to be asked");
                          return {};
                      }};
    for (std::string const host : {"127.0.0.1", "::1", "[::1]"}) {
        auto const result = names.find(host);
        REQUIRE(result);
        CHECK_FALSE(result->error);
        REQUIRE(result->addresses.size() == 1);
    }
}

TEST_CASE("name_lookup: a name is looked up once for all who ask, and again later") {
    std::promise<void> allowed;
    auto const may_go_on = allowed.get_future().share();
    std::promise<void> first_woken;
    std::atomic<int> wakes{0};
    std::atomic<int> asked{0};
    name_lookup names{[&] {
                          if (++wakes == 1) {
                              first_woken.set_value();
                          }
                      },
                      [&, may_go_on](std::string const&) {
                          ++asked;
                          may_go_on.wait();
                          return found("10.1.1.1");
                      }};
    CHECK_FALSE(names.find("broker"));
    CHECK_FALSE(names.find("broker"));
    allowed.set_value();
    first_woken.get_future().wait();
    auto const result = names.find("broker");
    REQUIRE(result);
    CHECK(result->addresses == found("10.1.1.1").addresses);
    CHECK(asked == 1);
    CHECK_FALSE(names.find("broker"));
    while (wakes != 2) {
        std::this_thread::yield();
    }
    CHECK(names.find("broker"));
    CHECK(asked == 2);
}

TEST_CASE("name_lookup: what goes wrong is an error of the name") {
    std::promise<void> woken;
    name_lookup names{[&] { woken.set_value(); },
                      [](std::string const&) -> name_lookup::result { throw std::bad_alloc{}; }};
    CHECK_FALSE(names.find("broker"));
    woken.get_future().wait();
    auto const result = names.find("broker");
    REQUIRE(result);
    CHECK(result->error == std::errc::not_enough_memory);
    CHECK(result->addresses.empty());
}

TEST_CASE("name_lookup: its end does not wait for a name, and nobody is woken behind it") {
    std::promise<void> allowed;
    auto const may_go_on = allowed.get_future().share();
    auto const over = std::make_shared<std::promise<void>>();
    bool woken = false;
    {
        name_lookup names{[&] { woken = true; },
                          [may_go_on, over](std::string const&) {
                              may_go_on.wait();
                              over->set_value();
                              return found("10.1.1.1");
                          }};
        CHECK_FALSE(names.find("broker"));
    }
    allowed.set_value();
    over->get_future().wait();
    CHECK_FALSE(woken);
}

} // namespace
} // namespace name_lookup_tests
