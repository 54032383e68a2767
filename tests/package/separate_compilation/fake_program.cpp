// SPDX-License-Identifier: MIT

// A group over the fake handles a record, with a library that another file compiles.

#include <kgroup/testing/clock.hpp>
#include <kgroup/testing/fake_client.hpp>

#include <asio/io_context.hpp>

#include <exception>

namespace {

struct counting_handler {
    int records = 0;

    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        while (auto const message = co_await claim.messages().async_receive()) {
            ++records;
            claim.mark(*message);
        }
    }
};

} // namespace

int main() {
    kgroup::testing::fake_cluster cluster;
    counting_handler handler;
    asio::io_context context;
    kgroup::testing::fake_group group{context,
                                      {.brokers = cluster.brokers(),
                                       .group_id = "g",
                                       .topics = {"t"},
                                       .initial_offset = kgroup::offset_reset::earliest}};
    cluster.add_records({"t", 0}, "x");
    bool completed = false;
    group.async_run(handler, [&](std::exception_ptr failure) { completed = !failure; });
    kgroup::testing::run_ready(context);
    cluster.assign({{"t", 0}});
    kgroup::testing::run_ready(context);
    group.stop();
    kgroup::testing::run_ready(context);
    return completed && handler.records == 1 && cluster.committed({"t", 0}) == 1 ? 0 : 1;
}
