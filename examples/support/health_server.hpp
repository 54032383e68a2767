// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/app.hpp>
#include <kgroup/health.hpp>
#include <kgroup/prometheus_text.hpp>

#include <atomic>
#include <charconv>
#include <cstdint>
#include <functional>
#include <httplib.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "state_page.hpp"

/// The state of an application over HTTP, on threads of its own: /metrics for Prometheus, /readyz
/// and /healthz for probes, /state as JSON, and a page that shows it. It goes before the
/// application.
class health_server {
public:
    /// The port that a command line names; nullopt: none.
    static std::optional<int> port_of(std::string_view word) {
        std::uint16_t port = 0;
        auto const end = word.data() + word.size();
        auto const read = std::from_chars(word.data(), end, port);
        return read.ec == std::errc{} && read.ptr == end ? std::optional<int>{port} : std::nullopt;
    }

    /// @param port 0: any that is free.
    template <typename App>
    health_server(App const& app, std::string const& host, int port)
        : state_([&app] { return app.state(); }) {
        server_.Get("/", [](httplib::Request const&, httplib::Response& response) {
            response.set_content(state_page, "text/html; charset=utf-8");
        });
        server_.Get("/metrics",
                    [this](httplib::Request const& request, httplib::Response& response) {
                        metrics(request, response);
                    });
        server_.Get("/readyz", [this](httplib::Request const&, httplib::Response& response) {
            answer(kgroup::readiness(state_()), response);
        });
        server_.Get("/healthz", [this](httplib::Request const&, httplib::Response& response) {
            answer(kgroup::liveness(state_()), response);
        });
        server_.Get("/state", [this](httplib::Request const&, httplib::Response& response) {
            auto const state = state_();
            nlohmann::json json = state;
            json["readiness"] = kgroup::readiness(state);
            json["liveness"] = kgroup::liveness(state);
            send(json, response);
        });
        port_ = port == 0                          ? server_.bind_to_any_port(host)
                : server_.bind_to_port(host, port) ? port
                                                   : -1;
        if (port_ < 0) {
            throw std::runtime_error{"cannot listen on " + host + ":" + std::to_string(port)};
        }
        thread_ = std::thread{[this] {
            server_.listen_after_bind();
            ended_ = true;
        }};
    }
    ~health_server() {
        while (!server_.is_running() && !ended_) { // it may not have begun to listen
            std::this_thread::yield();
        }
        server_.stop();
        thread_.join();
    }

    int port() const { return port_; }

private:
    void metrics(httplib::Request const& request, httplib::Response& response) const {
        auto const accepted = request.get_header_value("Accept");
        auto const format = accepted.find("application/openmetrics-text") != accepted.npos
                                ? kgroup::exposition_format::openmetrics
                                : kgroup::exposition_format::prometheus;
        response.set_content(kgroup::prometheus_text(state_(), format),
                             std::string{content_type(format)});
    }
    static void answer(kgroup::health const& health, httplib::Response& response) {
        response.status = health.ok ? 200 : 503;
        send(health, response);
    }
    static void send(nlohmann::json const& json, httplib::Response& response) {
        auto const text = json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
        response.set_content(text, "application/json");
    }

    std::function<kgroup::group_state()> state_;
    httplib::Server server_;
    int port_ = -1;
    std::atomic<bool> ended_{false};
    std::thread thread_;
};
