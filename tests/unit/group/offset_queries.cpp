// SPDX-License-Identifier: MIT

#include <kgroup/detail/group/offset_queries.hpp>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace offset_queries_tests {

namespace {

using kgroup::offset_for_time;
using kgroup::detail::client_times;
using kgroup::detail::offset_queries;

class caller {
public:
    std::shared_ptr<offset_queries::answer> answer = std::make_shared<offset_queries::answer>();
    std::optional<std::vector<offset_for_time>> results;
    std::string failure;

    explicit caller(asio::io_context& context) {
        asio::co_spawn(context, call(), asio::detached);
        context.poll();
    }

private:
    asio::awaitable<void> call() {
        auto const awaited = answer; // the frame may outlive the caller
        try {
            results = co_await awaited->wait();
        } catch (std::exception const& e) {
            failure = e.what();
        }
    }
};

client_times answer_of(std::uint64_t id, std::int64_t offset) {
    return {id, {{{"t", 0}, offset, {}}}};
}

TEST_CASE("offset_queries: each caller has the answer to its own request") {
    asio::io_context context;
    offset_queries queries;
    caller first{context};
    caller second{context};
    auto const first_id = queries.add(first.answer);
    auto const second_id = queries.add(second.answer);
    CHECK(first_id != second_id);
    auto answer = answer_of(second_id, 7);
    queries.give(answer);
    context.restart();
    context.poll();
    CHECK_FALSE(first.results);
    REQUIRE(second.results);
    CHECK(second.results->at(0).offset == 7);
    auto again = answer_of(second_id, 8); // nobody waits for it any more
    queries.give(again);
    CHECK_FALSE(first.answer->given());
}

TEST_CASE("offset_queries: a request that could not be sent fails its caller, the end all others") {
    asio::io_context context;
    offset_queries queries;
    caller first{context};
    caller second{context};
    queries.add(first.answer);
    queries.add(second.answer);
    queries.fail(first.answer, std::make_exception_ptr(std::runtime_error{"not sent"}));
    context.restart();
    context.poll();
    CHECK(first.failure == "not sent");
    CHECK(second.failure.empty());
    queries.fail_all(std::make_exception_ptr(std::runtime_error{"over"}));
    context.restart();
    context.poll();
    CHECK(second.failure == "over");
}

} // namespace

} // namespace offset_queries_tests
