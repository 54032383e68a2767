// expect: kgroup: the handler's cleanup has other parameters or another result\. Write:
// asio::awaitable<void> cleanup\(kgroup::session& session\), or give it another name
// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

struct tidy_handler {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&);
    void cleanup(kgroup::session&) noexcept;
};

void use(kgroup::consumer_group& group, tidy_handler& handler) {
    group.async_run(handler, [](std::exception_ptr) {});
}
