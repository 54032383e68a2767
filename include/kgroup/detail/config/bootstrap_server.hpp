// SPDX-License-Identifier: MIT

#pragma once

#include <asio/ip/address_v6.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// A broker to start from, as librdkafka reads it: `[protocol://]host[:port]`. An address of IPv6
/// needs brackets if a port follows it. No host is this machine; behind a protocol, a path is
/// passed over.
///
/// librdkafka goes on with what cannot be read, and may connect elsewhere: what it takes for a port
/// is what `atoi` makes of it, modulo 65536, and behind a protocol that it does not know it reads
/// no further.
struct bootstrap_server {
    std::string_view protocol{}; // as it was written; empty: none was
    std::string_view host{};     // a name or an address, without brackets
    std::uint16_t port = 9092;
    std::string flaw{}; // why it can never be reached, in words; empty: nothing is known
};

/// Whether two texts are the same but for the case of ASCII's letters.
inline bool is_same_word(std::string_view one, std::string_view other) noexcept {
    auto const lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                      [&](char a, char b) { return lower(a) == lower(b); });
}

class bootstrap_server_reader {
public:
    /// @param text one of the list, without the blanks around it; outlives the answer.
    /// @throws std::bad_alloc
    static bootstrap_server read(std::string_view text) {
        bootstrap_server_reader self;
        self.read_all(text);
        return std::move(self.found_);
    }

private:
    void read_all(std::string_view text) {
        if (auto const end = text.find("://"); end != text.npos) {
            found_.protocol = text.substr(0, end);
            check_protocol();
            text.remove_prefix(end + 3);
            text = text.substr(0, text.find('/'));
        }
        if (text.find('@') != text.npos) {
            fail("holds a '@': a user's name and password are properties ('sasl.username', "
                 "'sasl.password')");
        } else if (text.starts_with('[')) {
            read_in_brackets(text);
        } else if (auto const colon = text.find(':');
                   colon != text.npos && colon != text.rfind(':')) {
            found_.host = text; // librdkafka looks for no port there
            if (!is_ipv6(text)) {
                fail("has several colons and is no address of IPv6, which stands in brackets if a "
                     "port follows (brokers are separated by commas)");
            }
        } else {
            found_.host = text.substr(0, colon);
            if (colon != text.npos) {
                read_port(text.substr(colon + 1));
            }
            if (found_.host.empty()) {
                found_.host = "localhost";
            }
            check_name();
        }
    }

    void check_protocol() {
        constexpr std::array<std::string_view, 4> known{"PLAINTEXT", "SSL", "SASL_PLAINTEXT",
                                                        "SASL_SSL"};
        if (std::none_of(known.begin(), known.end(), [&](std::string_view protocol) {
                return is_same_word(protocol, found_.protocol);
            })) {
            fail("begins with no protocol of Kafka's: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL "
                 "(it can be left out)");
        }
    }

    void read_in_brackets(std::string_view text) {
        auto const end = text.find(']');
        if (end == text.npos) {
            return fail("has no ']'");
        }
        found_.host = text.substr(1, end - 1);
        auto const rest = text.substr(end + 1);
        if (rest.starts_with(':')) {
            read_port(rest.substr(1));
        } else if (!rest.empty()) {
            fail("has something else than ':' behind the ']'");
        }
        if (found_.host.empty()) {
            fail("has no address between the brackets");
        } else if (found_.host.find(':') == text.npos) {
            check_name();
        } else if (!is_ipv6(found_.host)) {
            fail("has no address of IPv6 between the brackets");
        }
    }

    void read_port(std::string_view text) {
        auto const* const end = text.data() + text.size();
        auto const [read, error] = std::from_chars(text.data(), end, found_.port);
        if (text.empty()) {
            fail("has no port behind the ':'");
        } else if (error == std::errc::invalid_argument || read != end) {
            fail("has a port that is no number");
        } else if (error != std::errc{} || found_.port == 0) {
            fail("has a port that is not between 1 and 65535");
        }
    }

    void check_name() {
        constexpr std::size_t longest = 253;
        if (found_.host.size() > longest) {
            fail("has a name of more than 253 bytes");
        } else if (auto const odd =
                       std::find_if_not(found_.host.begin(), found_.host.end(), is_of_name);
                   odd != found_.host.end()) {
            fail(std::string{"has a '"} + *odd + "' in the name of the host");
        } else if (is_wrong_ipv4(found_.host)) {
            fail("has no address of IPv4: four numbers up to 255");
        }
    }

    // What is beyond ASCII is left to the resolver.
    static bool is_of_name(char c) noexcept {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.' || static_cast<unsigned char>(c) >= 0x80;
    }

    // Fewer than four numbers are a way to write one, too: `127.1`.
    static bool is_wrong_ipv4(std::string_view host) noexcept {
        if (host.find_first_not_of("0123456789.") != host.npos) {
            return false;
        }
        std::size_t numbers = 0;
        bool has_empty = false;
        bool has_large = false;
        for (std::size_t begin = 0; begin <= host.size(); ++numbers) {
            auto const end = (std::min)(host.find('.', begin), host.size());
            auto const digits = host.substr(begin, end - begin);
            unsigned value = 0;
            auto const error =
                std::from_chars(digits.data(), digits.data() + digits.size(), value).ec;
            has_empty = has_empty || digits.empty();
            has_large = has_large || value > 255 || error == std::errc::result_out_of_range;
            begin = end + 1;
        }
        return has_empty || numbers > 4 || (numbers == 4 && has_large);
    }

    static bool is_ipv6(std::string_view host) {
        std::error_code ec;
        asio::ip::make_address_v6(std::string{host}, ec);
        return !ec;
    }

    // The first one counts.
    void fail(std::string words) {
        if (found_.flaw.empty()) {
            found_.flaw = std::move(words);
        }
    }

    bootstrap_server found_;
};

} // namespace kgroup::detail
