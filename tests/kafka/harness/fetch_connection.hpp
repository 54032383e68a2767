// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/api_versions.hpp>
#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/leader_epoch_message.hpp>
#include <kgroup/detail/fetch/list_offsets_message.hpp>
#include <kgroup/detail/fetch/metadata_message.hpp>

#include <asio/buffer.hpp>
#include <asio/connect.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kgroup::tests {

/// Asks a broker, one request after the other, and waits for each answer.
class fetch_connection {
public:
    static constexpr std::string_view client_id = "kgroup-tests";

    explicit fetch_connection(std::string const& broker) {
        auto const colon = broker.rfind(':');
        asio::ip::tcp::resolver resolver{context_};
        asio::connect(socket_, resolver.resolve(broker.substr(0, colon), broker.substr(colon + 1)));
        using namespace detail::fetch;
        write_api_versions_request(request_, 3, ++correlation_, client_id, "1");
        check(read_api_versions_answer(exchange(), 3, correlation_, versions_));
    }

    detail::fetch::api_versions& versions() noexcept { return versions_; }

    /// The views in the answers are valid until the next request.
    detail::fetch::metadata_answer metadata(std::string_view topic, std::int16_t version) {
        detail::fetch::metadata_answer answer;
        detail::fetch::write_metadata_request(request_, version, ++correlation_, client_id,
                                              {&topic, 1});
        check(read_metadata_answer(exchange(), version, correlation_, answer));
        return answer;
    }
    detail::fetch::fetch_answer fetch(detail::fetch::fetch_request const& request,
                                      std::int16_t version) {
        detail::fetch::fetch_answer answer;
        write_fetch_request(request_, version, ++correlation_, client_id, request);
        check(read_fetch_answer(exchange(), version, correlation_, answer));
        return answer;
    }
    detail::fetch::list_offsets_answer
    list_offsets(detail::fetch::list_offsets_request const& request, std::int16_t version) {
        detail::fetch::list_offsets_answer answer;
        write_list_offsets_request(request_, version, ++correlation_, client_id, request);
        check(read_list_offsets_answer(exchange(), version, correlation_, answer));
        return answer;
    }
    detail::fetch::leader_epoch_answer
    leader_epoch(detail::fetch::leader_epoch_request const& request, std::int16_t version) {
        detail::fetch::leader_epoch_answer answer;
        write_leader_epoch_request(request_, version, ++correlation_, client_id, request);
        check(read_leader_epoch_answer(exchange(), version, correlation_, answer));
        return answer;
    }

private:
    static void check(detail::fetch::read_result result) {
        if (result != detail::fetch::read_result::ok) {
            throw std::runtime_error{"the broker's answer cannot be read"};
        }
    }
    std::string_view exchange() {
        asio::write(socket_, asio::buffer(request_));
        std::string size(4, '\0');
        asio::read(socket_, asio::buffer(size));
        answer_.resize(detail::fetch::frame_size(size, 200'000'000).value());
        asio::read(socket_, asio::buffer(answer_));
        return answer_;
    }

    asio::io_context context_;
    asio::ip::tcp::socket socket_{context_};
    std::int32_t correlation_ = 0;
    std::string request_;
    std::string answer_;
    detail::fetch::api_versions versions_;
};

} // namespace kgroup::tests
