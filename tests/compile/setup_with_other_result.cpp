// expect: kgroup: the handler's setup has other parameters or another result\. Write:
// asio::awaitable<void> setup\(kgroup::session& session\), or give it another name
// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

struct eager_handler {
    bool setup(kgroup::session&);
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&);
};

void use(kgroup::consumer_group& group) {
    group.async_consume(eager_handler{}, [](std::exception_ptr, kgroup::end_reason) {});
}
