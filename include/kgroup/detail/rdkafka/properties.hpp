// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/rdkafka/handle.hpp>

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace kgroup::detail {

/// Whether a property's value must not be shown.
inline bool is_secret(std::string_view property) noexcept {
    constexpr std::array marks{std::string_view{"password"},      std::string_view{"secret"},
                               std::string_view{".pem"},          std::string_view{"jaas"},
                               std::string_view{"sasl.username"}, std::string_view{"oauthbearer"},
                               std::string_view{"ssl.key"},       std::string_view{"token"}};
    return std::any_of(marks.begin(), marks.end(), [&](std::string_view mark) {
        return property.find(mark) != std::string_view::npos;
    });
}

/// A configuration of librdkafka's in the making: properties that the user gave, and those that
/// kgroup decides.
class rdkafka_properties {
public:
    static constexpr bool quietly = true;

    /// `users`: outlives this.
    explicit rdkafka_properties(std::map<std::string, std::string> const& users)
        : users_(users),
          conf_(rd_kafka_conf_new()) {}

    rd_kafka_conf_t* conf() const noexcept { return conf_.get(); }
    rdkafka_conf take() noexcept { return std::move(conf_); }

    /// Throws `std::system_error`, which shows no secret.
    void set_users() {
        for (auto const& [name, value] : users_) {
            char text[512];
            switch (rd_kafka_conf_set(conf(), name.c_str(), value.c_str(), text, sizeof text)) {
            case RD_KAFKA_CONF_OK:
                break;
            case RD_KAFKA_CONF_UNKNOWN:
                refuse_config("properties: '" + name + "' is not a property of librdkafka " +
                              rd_kafka_version_str());
            case RD_KAFKA_CONF_INVALID:
                refuse_config("properties: " + (is_secret(name)
                                                    ? "the value of '" + name + "' is not valid"
                                                    : std::string{text}));
            }
        }
    }

    void set(char const* name, std::string const& value, bool optional) {
        char text[512];
        if (rd_kafka_conf_set(conf(), name, value.c_str(), text, sizeof text) != RD_KAFKA_CONF_OK &&
            !optional) {
            refuse_config(text);
        }
    }

    /// Refuses what the user gave, if it says something else.
    void must(std::string const& name, std::string const& value, std::string const& field) {
        auto const before = get(name.c_str());
        set(name.c_str(), value, !quietly);
        if (get(name.c_str()) != before) {
            refuse_given(name, field);
        }
    }

    /// A blank behind a name is part of it to librdkafka.
    static std::string without_blanks(std::string brokers) {
        std::erase(brokers, ' ');
        return brokers;
    }
    /// What the user gave as a property must be the same.
    void set_brokers(std::string const& brokers) {
        constexpr auto name = "bootstrap.servers";
        auto const list = without_blanks(brokers);
        if (without_blanks(get(name)) != list) {
            refuse_given(name, "brokers");
        }
        set(name, list, !quietly);
        refuse_given("metadata.broker.list", "brokers");
    }

    bool given(std::string const& name) const { return users_.contains(name); }
    void refuse_given(std::string const& name, std::string const& field) const {
        if (given(name)) {
            refuse_config("properties: '" + name + "' contradicts " + field);
        }
    }

    /// As librdkafka writes it; empty: unset, or not a property.
    std::string get(char const* name) const {
        std::size_t size = 0;
        if (rd_kafka_conf_get(conf(), name, nullptr, &size) != RD_KAFKA_CONF_OK) {
            return {};
        }
        std::string value(size, '\0');
        rd_kafka_conf_get(conf(), name, value.data(), &size);
        value.resize(value.find('\0'));
        return value;
    }

    /// `there`: whether tokens come from a provider of the user's.
    void set_token_provider(bool there) {
        auto const mechanism = get("sasl.mechanisms");
        if (!there) {
            if (mechanism == "OAUTHBEARER" && get("sasl.oauthbearer.method") != "oidc" &&
                get("enable.sasl.oauthbearer.unsecure.jwt") != "true") {
                refuse_config("properties: 'sasl.mechanism' OAUTHBEARER needs an "
                              "oauth_token_provider, or librdkafka's "
                              "'sasl.oauthbearer.method' oidc");
            }
            return;
        }
        constexpr auto field = "oauth_token_provider";
        must("sasl.mechanisms", "OAUTHBEARER", field);
        if (mechanism != "OAUTHBEARER") {
            refuse_given("sasl.mechanism", field);
        }
        if (get("sasl.oauthbearer.method") ==
            "oidc") { // not to be set where librdkafka was built without
            refuse_given("sasl.oauthbearer.method", field);
        }
        must("enable.sasl.oauthbearer.unsecure.jwt", "false", field);
        if (!get("security.protocol").starts_with("sasl")) {
            refuse_config("oauth_token_provider: needs the property 'security.protocol': sasl_ssl "
                          "(or sasl_plaintext, which shows the "
                          "tokens to the network)");
        }
    }

private:
    std::map<std::string, std::string> const& users_;
    rdkafka_conf conf_;
};

} // namespace kgroup::detail
