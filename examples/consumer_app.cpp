// SPDX-License-Identifier: MIT

// A consumer that is told by a JSON file what to read, and prints it: topic[partition]@offset key
// value.
//
//     consumer_app sse_push.json

#include <kgroup/app.hpp>

#include <cstdio>
#include <exception>
#include <iostream>

struct printer {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        while (auto message = co_await claim.messages().async_receive()) {
            std::cout << message->topic() << '[' << message->partition() << "]@"
                      << message->offset() << ' ' << message->key() << ' ' << message->value()
                      << std::endl;
            claim.mark(*message);
        }
    }
};

int main(int argc, char** argv) try {
    if (argc != 2) {
        std::cerr << "usage: consumer_app FILE\n";
        return 2;
    }
    return kgroup::consumer_app{kgroup::load_app_config(argv[1]), printer{}}.run();
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
