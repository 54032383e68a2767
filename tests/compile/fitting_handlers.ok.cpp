// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

#include <memory>
#include <utility>

struct minimal_handler {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&);
};

struct full_handler {
    asio::awaitable<void> setup(kgroup::session&);
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&);
    asio::awaitable<void> cleanup(kgroup::session&);
};

struct inheriting_handler : full_handler {};

struct final_handler final {
    asio::awaitable<void> consume_claim(kgroup::session const&, kgroup::claim&) noexcept;
};

template <typename Work>
struct generic_handler {
    Work work;
    asio::awaitable<void> consume_claim(auto& session, auto& claim) {
        co_await work(session, claim);
    }
};

struct virtual_handler {
    virtual ~virtual_handler() = default;
    virtual asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&) = 0;
    virtual asio::awaitable<void> setup(kgroup::session&) = 0;
};

struct with_a_member_of_that_name {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim&);
    asio::awaitable<void> set_up();
    int clean_up = 0;
};

static_assert(kgroup::handler<minimal_handler>);
static_assert(kgroup::handler<full_handler>);
static_assert(kgroup::handler<inheriting_handler>);
static_assert(kgroup::handler<final_handler>);
static_assert(kgroup::handler<virtual_handler>);
static_assert(kgroup::handler<with_a_member_of_that_name>);

void use(kgroup::consumer_group& group, minimal_handler& minimal, virtual_handler& by_reference,
         std::shared_ptr<full_handler> shared) {
    auto const ended = [](std::exception_ptr) {};
    group.async_run(minimal, ended);
    group.async_run(by_reference, ended);
    group.async_run(shared, ended);
    group.async_run(std::move(shared), ended);
    group.async_run(final_handler{}, ended);
    group.async_run(generic_handler{[](kgroup::session&, kgroup::claim&) -> asio::awaitable<void> {
                        co_return;
                    }},
                    ended);
    group.async_consume(minimal, [](std::exception_ptr, kgroup::end_reason) {});
}

asio::awaitable<kgroup::end_reason> await(kgroup::consumer_group& group, minimal_handler& handler) {
    co_await group.async_run(handler);
    co_return co_await group.async_consume(handler);
}
