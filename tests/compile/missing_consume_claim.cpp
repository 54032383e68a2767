// expect: kgroup: the handler has no consume_claim\. Write: asio::awaitable<void>
// consume_claim\(kgroup::session& session, kgroup::claim& claim\)
// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

#include <asio/io_context.hpp>

struct idle_handler {
    asio::awaitable<void> consume(kgroup::session&, kgroup::claim&);
};

void use(kgroup::consumer_group& group, idle_handler& handler) {
    group.async_run(handler, [](std::exception_ptr) {});
}
