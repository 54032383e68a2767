// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/connection.hpp>
#include <kgroup/detail/fetch/metadata_message.hpp>
#include <kgroup/detail/fetch/wire_writer.hpp>
#include <kgroup/testing/clock.hpp>

#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/socket_base.hpp>
#include <asio/write.hpp>

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "support/scripted_broker.hpp"

namespace connection_tests {
namespace {

using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using namespace std::chrono_literals;
using kgroup::detail::auto_reset_event;
using notice = fetcher_notice::kind;
using after = scripted_fault::after;

time_point now() { return time_point{kgroup::detail::clock::now().time_since_epoch()}; }

struct scene {
    asio::io_context context;
    scripted_cluster cluster{context};
    fetcher_settings settings;
    std::shared_ptr<auto_reset_event> event = auto_reset_event::make(context.get_executor());
    std::shared_ptr<answer_memory> memory = std::make_shared<answer_memory>(std::size_t{1} << 20);
    std::vector<std::string> resolved; // addresses
    std::error_code resolve_error;
    name_lookup names{nullptr, [this](std::string const&) {
                          name_lookup::result result{resolve_error, {}};
                          for (auto const& address : resolved) {
                              result.addresses.push_back(asio::ip::make_address(address));
                          }
                          return result;
                      }};
    std::shared_ptr<connection> tested;
    std::vector<std::int32_t> answers; // their correlations

    ~scene() {
        if (tested) {
            tested->close(notice::disconnected, {}, "");
            kgroup::testing::run_ready(context);
            CHECK(tested->at_rest());
        }
    }
    void open(std::string const& host) {
        tested =
            std::make_shared<connection>(context.get_executor(), event, settings,
                                         broker_address{host, cluster.brokers[0].port()}, now());
    }
    void step() {
        tested->advance(now(), *memory, names, [&](auto const& question, auto const&) {
            answers.push_back(question.correlation);
        });
        kgroup::testing::run_ready(context);
    }
    template <typename Condition>
    bool until(Condition condition) {
        auto const limit = std::chrono::steady_clock::now() + 20s;
        while (!condition() && std::chrono::steady_clock::now() < limit) {
            step();
        }
        return condition();
    }
    std::int32_t ask() {
        std::string frame;
        auto const correlation = tested->next_correlation();
        std::string_view const topic = "t";
        write_metadata_request(frame, 9, correlation, "scene", {&topic, 1});
        tested->send(frame, api::metadata, 9, correlation, 0ms, now());
        return correlation;
    }
};

// What it says is not read here.
std::string large_answer(std::int32_t size, std::int32_t correlation) {
    std::string frame;
    wire_writer out{frame};
    out.int32(size);
    out.int32(correlation);
    frame.resize(static_cast<std::size_t>(size) + 4);
    return frame;
}

TEST_CASE("connection: each address of a name is tried, until one answers") {
    scene s;
    s.resolved = {"127.0.0.2", "127.0.0.3", "127.0.0.1"}; // where nobody listens, but the last
    s.open("broker");
    REQUIRE(s.until([&] { return s.tested->ready() || s.tested->closed(); }));
    CHECK(s.tested->ready());
    CHECK(s.tested->versions().use(api::fetch) == 13);
}

TEST_CASE("connection: an address that does not speak Kafka's protocol is passed over") {
    scene s;
    s.resolved = {"127.0.0.2", "127.0.0.1"};
    // A proxy that reaches nobody.
    asio::ip::tcp::acceptor proxy{
        s.context, {asio::ip::make_address("127.0.0.2"), s.cluster.brokers[0].port()}};
    asio::ip::tcp::socket peer{s.context};
    std::function<void()> speak = [] {};
    bool accepted = false;
    proxy.async_accept(peer, [&](std::error_code) {
        accepted = true;
        speak();
    });
    auto share_of_time = 0s;
    SUBCASE("it closes") {
        speak = [&] { peer.close(); };
    }
    SUBCASE("it sends what is no answer") {
        speak = [&] { asio::write(peer, asio::buffer("HTTP/1.1 400 Bad Request\r\n", 26)); };
    }
    SUBCASE("it sends a part of an answer, and closes") {
        speak = [&] {
            asio::write(peer, asio::buffer("\0\0\0\x20\0", 5));
            peer.shutdown(asio::socket_base::shutdown_send);
        };
    }
    SUBCASE("it is silent for its share of the time") { share_of_time = 15s; }
    s.open("broker");
    REQUIRE(s.until([&] { return accepted; }));
    s.step();
    kgroup::testing::advance(s.context, share_of_time);
    REQUIRE(s.until([&] { return s.tested->ready() || s.tested->closed(); }));
    CHECK(s.tested->ready());
    s.ask();
    REQUIRE(s.until([&] { return s.answers.size() == 1; }));
}

TEST_CASE("connection: a name without an address of the wanted family is an error") {
    scene s;
    s.settings.address_family = fetcher_settings::family::v6;
    s.resolved = {"127.0.0.1"};
    s.open("broker");
    REQUIRE(s.until([&] { return s.tested->closed(); }));
    CHECK(s.tested->end().type == notice::unresolved);
    s.settings.address_family = fetcher_settings::family::v4;
    s.resolved = {"::1", "127.0.0.1"};
    s.open("broker");
    REQUIRE(s.until([&] { return s.tested->ready(); }));
}

TEST_CASE("connection: a name that does not resolve is an error") {
    scene s;
    s.resolve_error = asio::error::host_not_found;
    s.open("broker");
    REQUIRE(s.until([&] { return s.tested->closed(); }));
    CHECK(s.tested->end().type == notice::unresolved);
    CHECK(s.tested->end().error == s.resolve_error);
}

TEST_CASE("connection: nobody listens") {
    scene s;
    s.cluster.brokers[0].go_down();
    s.open("127.0.0.1");
    REQUIRE(s.until([&] { return s.tested->closed(); }));
    CHECK(s.tested->end().type == notice::unreachable);
    CHECK(s.tested->end().error == asio::error::connection_refused);
    CHECK_FALSE(s.tested->end().was_ready);
}

/// The value of an option of the socket that is connected to `port`; -1: there is none.
int option_of_peer(std::uint16_t port, int option) {
    for (int descriptor = 3; descriptor != 1024; ++descriptor) {
        sockaddr_in peer{};
        socklen_t size = sizeof peer;
        if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
            peer.sin_family == AF_INET && ntohs(peer.sin_port) == port) {
            int value = -1;
            size = sizeof value;
            ::getsockopt(descriptor, SOL_SOCKET, option, &value, &size);
            return value;
        }
    }
    return -1;
}

TEST_CASE("connection: the socket has the options that are configured") {
    scene s;
    s.open("127.0.0.1");
    REQUIRE(s.until([&] { return s.tested->ready(); }));
    auto const port = s.cluster.brokers[0].port();
    auto const usual = option_of_peer(port, SO_RCVBUF);
    CHECK(option_of_peer(port, SO_KEEPALIVE) == 0);
    REQUIRE(usual > 0);
    s.tested->close(notice::disconnected, {}, "");
    kgroup::testing::run_ready(s.context);
    s.settings.keepalive = true;
    s.settings.send_buffer_bytes = 20'000;
    s.settings.receive_buffer_bytes = 30'000;
    s.open("127.0.0.1");
    REQUIRE(s.until([&] { return s.tested->ready(); }));
    CHECK(option_of_peer(port, SO_KEEPALIVE) != 0);
    // The system may give more, for what it needs itself.
    CHECK(option_of_peer(port, SO_SNDBUF) >= 20'000);
    CHECK(option_of_peer(port, SO_SNDBUF) <= 40'000);
    CHECK(option_of_peer(port, SO_RCVBUF) >= 30'000);
    CHECK(option_of_peer(port, SO_RCVBUF) <= 60'000);
    CHECK(option_of_peer(port, SO_RCVBUF) != usual);
}

TEST_CASE("connection: requests go out one behind the other, and answers belong to them") {
    scene s;
    s.open("127.0.0.1");
    REQUIRE(s.until([&] { return s.tested->ready(); }));
    std::vector<std::int32_t> asked;
    for (int i = 0; i != 100; ++i) {
        asked.push_back(s.ask());
    }
    CHECK(s.tested->outstanding() == 100);
    REQUIRE(s.until([&] { return s.answers.size() == 100; }));
    CHECK(s.answers == asked);
    CHECK(s.memory->used() == 0);
}

TEST_CASE("connection: one that is idle for longer than it may is closed") {
    scene s;
    std::chrono::milliseconds most{0};
    SUBCASE("there is no limit") {}
    SUBCASE("there is one") { most = 2s; }
    s.settings.connections_max_idle = most;
    s.open("127.0.0.1");
    REQUIRE(s.until([&] { return s.tested->ready(); }));
    for (int i = 0; i != 3; ++i) {
        kgroup::testing::advance(s.context, 1500ms);
        s.step();
        REQUIRE(s.tested->ready());
        auto const asked = s.answers.size();
        s.ask();
        REQUIRE(s.until([&] { return s.answers.size() > asked; }));
    }
    CHECK(s.tested->deadline().has_value() == (most > 0ms));
    kgroup::testing::advance(s.context, 2s);
    s.step();
    CHECK(s.tested->closed() == (most > 0ms));
    CHECK(s.tested->end().type == notice::disconnected);
    CHECK(s.tested->end().was_ready == (most > 0ms));
}

TEST_CASE("connection: a deadline fires only after a read that found nothing") {
    scene s;
    s.settings.socket_timeout = 1000ms;
    s.open("127.0.0.1");
    REQUIRE(s.until([&] { return s.tested->ready(); }));
    s.ask();
    kgroup::testing::run_ready(s.context); // the answer lies there
    REQUIRE(s.cluster.count(api::metadata) == 1);
    kgroup::testing::advance(s.context, 60s);
    s.step();
    CHECK(s.answers.size() == 1);
    CHECK_FALSE(s.tested->closed());
    s.cluster.on_request = [](auto const&) {
        return std::optional{scripted_fault{.then = after::silence}};
    };
    s.ask();
    s.step();
    kgroup::testing::advance(s.context, 900ms);
    s.step();
    CHECK_FALSE(s.tested->closed());
    kgroup::testing::advance(s.context, 200ms);
    s.step();
    REQUIRE(s.tested->closed());
    CHECK(s.tested->end().type == notice::no_answer);
    CHECK(s.tested->end().was_ready);
}

TEST_CASE("connection: an answer that comes slowly is waited for, one that trickles is given up") {
    struct outcome {
        bool answered;
        std::chrono::milliseconds after;
    };
    auto const ask = [](std::size_t bytes_a_second) {
        scene s; // answers are due after 10 s
        s.open("127.0.0.1");
        REQUIRE(s.until([&] { return s.tested->ready(); }));
        s.cluster.on_request = [&](auto const&) {
            return std::optional{scripted_fault{
                .sent_instead = large_answer(1'000'000, 2), .piece = bytes_a_second, .pause = 1s}};
        };
        s.ask();
        auto time = 0ms;
        while (s.answers.empty() && !s.tested->closed() && time < 1000s) {
            s.step();
            s.context.restart();
            s.context.run_one_for(200us); // the kernel's own time
            kgroup::testing::advance(s.context, 100ms);
            time += 100ms;
        }
        return outcome{!s.answers.empty(), time};
    };
    auto const slow = ask(30'000);
    CHECK(slow.answered);
    CHECK(slow.after >= 30s);
    auto const trickling = ask(100);
    CHECK_FALSE(trickling.answered);
    CHECK(trickling.after <= 25s);
}

TEST_CASE("connection: a broker that says nothing is given up after the time for the set-up") {
    scene s;
    s.settings.connection_setup_timeout = 2000ms;
    s.cluster.on_request = [](auto const&) {
        return std::optional{scripted_fault{.then = after::silence}};
    };
    s.open("127.0.0.1");
    REQUIRE(s.until([&] { return s.cluster.count(api::api_versions) == 1; }));
    kgroup::testing::advance(s.context, 1s);
    s.step();
    CHECK_FALSE(s.tested->closed());
    kgroup::testing::advance(s.context, 2s);
    s.step();
    REQUIRE(s.tested->closed());
    CHECK(s.tested->end().type == notice::unreachable);
}

TEST_CASE("connection: what nobody asked for ends it") {
    scene s;
    std::string twice; // ApiVersions, version 0, of no api
    for (int i = 0; i != 2; ++i) {
        wire_writer{twice}.int32(10).int32(1).int16(0).int32(0);
    }
    s.cluster.brokers[0].knows_only_first_versions = true;
    int asked = 0;
    s.cluster.on_request = [&](auto const&) -> std::optional<scripted_fault> {
        if (++asked == 2) { // in version 0
            auto answers = twice;
            answers[7] = answers[21] = 2; // its correlation
            return scripted_fault{.sent_instead = answers};
        }
        return std::nullopt;
    };
    s.open("127.0.0.1");
    REQUIRE(s.until([&] { return s.tested->closed(); }));
    CHECK(s.tested->end().type == notice::damaged_answer);
}

} // namespace
} // namespace connection_tests
