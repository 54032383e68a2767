// SPDX-License-Identifier: MIT

#include <kgroup/for_each.hpp>
#include <kgroup/kgroup.hpp>
#include <kgroup/opentelemetry.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <cstdio>
#include <exception>
#include <memory>

namespace {

asio::awaitable<void> book(kgroup::message const&) { co_return; }

struct traced_handler {
    kgroup::tracing tracing{{.group_id = "outside"}};

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        auto traced = kgroup::traced(tracing, book);
        co_await kgroup::for_each(claim, {.order = kgroup::order::by_key}, traced);
    }
};

struct tracing_handler {
    kgroup::tracing tracing{{.group_id = "outside"}};

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        while (auto const next = co_await claim.messages().async_receive()) {
            kgroup::process_span span{tracing, *next};
            co_await book(*next);
            claim.mark(*next);
        }
    }
};

static_assert(kgroup::handler<traced_handler> && kgroup::handler<tracing_handler>);

} // namespace

int main() {
    asio::io_context context;
    kgroup::config given{
        .brokers = "127.0.0.1:1",
        .group_id = "outside",
        .topics = {"topic"},
        .initial_offset = kgroup::offset_reset::earliest,
    };
    given.observer = std::make_shared<kgroup::operation_metrics>(given.group_id);
    kgroup::consumer_group group{context, given};
    kgroup::state_metrics const metrics{[&] { return group.state(); }};
    traced_handler handler;
    group.stop();
    auto ended = false;
    group.async_run(handler, [&](std::exception_ptr failure) { ended = !failure; });
    context.run();
    std::printf("a member of %s, %s\n", given.group_id.c_str(), ended ? "ended" : "failed");
    return ended ? 0 : 1;
}
