// SPDX-License-Identifier: MIT

// What a consumer written for sarama looks like in kgroup (docs/from-sarama.md): a handler that
// retries each message until it is pushed or its claim has ended, and stops on signals.
//
//     from_sarama BROKERS GROUP TOPIC

#include <kgroup/kgroup.hpp>

#include <asio/experimental/awaitable_operators.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <string_view>

struct handler {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        while (auto message = co_await claim.messages().async_receive()) {
            bool const pushed = co_await push(claim, message->value());
            if (!pushed) {
                co_return; // the claim has ended, and this message was not pushed: not marked
            }
            claim.mark(*message);
        }
    }

    // Tries until it succeeds or the claim has ended.
    static asio::awaitable<bool> push(kgroup::claim& claim, std::string_view value) {
        using namespace asio::experimental::awaitable_operators;
        asio::steady_timer pause{co_await asio::this_coro::executor};
        while (!send(value)) {
            pause.expires_after(std::chrono::milliseconds{200});
            co_await (pause.async_wait(asio::use_awaitable) || claim.async_wait_ended());
            if (claim.messages().ended()) {
                co_return false;
            }
        }
        co_return true;
    }

    static bool send(std::string_view value) {
        return static_cast<bool>(std::cout << value << '\n');
    }
};

int main(int argc, char** argv) try {
    if (argc != 4) {
        std::cerr << "usage: from_sarama BROKERS GROUP TOPIC\n";
        return 2;
    }
    asio::io_context context;
    kgroup::consumer_group group{context,
                                 {.brokers = argv[1],
                                  .group_id = argv[2],
                                  .topics = {argv[3]},
                                  .initial_offset = kgroup::offset_reset::earliest}};
    asio::signal_set signals{context, SIGINT, SIGTERM};
    signals.async_wait([&](std::error_code, int) { group.stop(); });

    handler prints;
    std::exception_ptr failure;
    group.async_run(prints, [&](std::exception_ptr error) {
        failure = error;
        signals.cancel();
    });
    context.run();
    if (failure) {
        std::rethrow_exception(failure);
    }
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
