// expect: kgroup: the handler's consume_claim has other parameters or another result\. Write:
// asio::awaitable<void> consume_claim\(kgroup::session& session, kgroup::claim& claim\)
// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

struct hasty_handler {
    asio::awaitable<void> consume_claim(kgroup::claim&);
};

void use(kgroup::consumer_group& group, hasty_handler& handler) {
    group.async_run(handler, [](std::exception_ptr) {});
}
