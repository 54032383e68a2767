// expect: kgroup: the handler's consume_claim has other parameters or another result\. Write:
// asio::awaitable<void> consume_claim
// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

struct copying_handler {
    asio::awaitable<void> consume_claim(kgroup::session, kgroup::claim);
};

void use(kgroup::consumer_group& group, std::shared_ptr<copying_handler> handler) {
    group.async_run(handler, [](std::exception_ptr) {});
}
