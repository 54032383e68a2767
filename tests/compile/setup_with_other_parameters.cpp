// expect: kgroup: the handler's setup has other parameters or another result\. Write:
// asio::awaitable<void> setup\(kgroup::session& session\), or give it another name
// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

struct eager_handler {
    asio::awaitable<void> setup();
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&);
};

void use(kgroup::consumer_group& group, eager_handler& handler) {
    group.async_run(handler, [](std::exception_ptr) {});
}
