// SPDX-License-Identifier: MIT

// A member of a consumer group: prints every record of a topic until it is interrupted.
//
//     minimal localhost:9092 greetings

#include <kgroup/kgroup.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <csignal>
#include <exception>
#include <iostream>

struct printer {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        while (auto message = co_await claim.messages().async_receive()) { // nullopt: it ended
            std::cout << message->topic() << '[' << message->partition() << "] " << message->value()
                      << std::endl;
            claim.mark(*message); // committed in the background, and when the claim ends
        }
    }
};

int main(int argc, char** argv) try {
    if (argc != 3) {
        std::cerr << "usage: minimal BROKERS TOPIC\n";
        return 2;
    }
    asio::io_context context;
    kgroup::consumer_group group{context,
                                 {.brokers = argv[1],
                                  .group_id = "printers",
                                  .topics = {argv[2]},
                                  .initial_offset = kgroup::offset_reset::earliest}};
    asio::signal_set signals{context, SIGINT, SIGTERM};
    signals.async_wait([&](std::error_code, int) { group.stop(); });

    std::exception_ptr failure;
    group.async_run(printer{}, [&](std::exception_ptr error) {
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
