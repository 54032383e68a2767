// SPDX-License-Identifier: MIT

// A consumer that is told by a JSON file what to read, and shows over HTTP how it is: /metrics,
// /readyz, /healthz, /state, and a page at /.
//
//     health_server sse_push.json 8080

#include "support/health_server.hpp"

#include <kgroup/app.hpp>

#include <exception>
#include <iostream>
#include <optional>

struct counting_handler {
    asio::awaitable<void> consume_claim(kgroup::session&, kgroup::claim& claim) {
        while (auto message = co_await claim.messages().async_receive()) {
            claim.mark(*message);
        }
    }
};

int main(int argc, char** argv) try {
    auto const port = argc == 3 ? health_server::port_of(argv[2]) : std::nullopt;
    if (!port) {
        std::cerr << "usage: health_server FILE PORT\n";
        return 2;
    }
    kgroup::consumer_app app{kgroup::load_app_config(argv[1]), counting_handler{}};
    health_server const health{app, "127.0.0.1", *port};
    std::cout << "http://127.0.0.1:" << health.port() << std::endl;
    return app.run();
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
