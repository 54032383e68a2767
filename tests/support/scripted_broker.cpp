// SPDX-License-Identifier: MIT

#include "support/scripted_broker.hpp"

#include <kgroup/detail/fetch/wire_reader.hpp>
#include <kgroup/detail/fetch/wire_writer.hpp>

#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/error.hpp>
#include <asio/read.hpp>
#include <asio/redirect_error.hpp>
#include <asio/socket_base.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace kgroup::tests {

using namespace detail::fetch;
using namespace std::chrono_literals;

namespace {

scripted_request parse(std::string_view frame) {
    scripted_request result;
    wire_reader head{frame};
    result.key = static_cast<api>(head.int16());
    result.version = head.int16();
    result.correlation = head.int32();
    result.client_id = std::string{head.nullable_text().value_or("")};
    auto const format = encoding_of(result.key, result.version);
    wire_reader body{frame.substr(frame.size() - head.remaining()), format};
    body.end_structure();
    auto const partitions = [&](auto read_topic, auto read_partition) {
        for (auto topics = body.elements(1); topics != 0 && !body.failed(); --topics) {
            scripted_request::partition partition;
            read_topic(partition);
            for (auto left = body.elements(1); left != 0 && !body.failed(); --left) {
                auto& one = result.partitions.emplace_back(partition);
                one.number = body.int32();
                read_partition(one);
                body.end_structure();
            }
            body.end_structure();
        }
    };
    auto const by_name = [&](scripted_request::partition& partition) {
        partition.topic = body.text();
    };
    switch (result.key) {
    case api::api_versions:
        break;
    case api::metadata:
        for (auto topics = body.elements(1); topics != 0 && !body.failed(); --topics) {
            if (result.version >= 10) {
                body.uuid();
            }
            result.topics.emplace_back(body.text());
            body.end_structure();
        }
        result.makes_topics = result.version < 4 || body.boolean();
        break;
    case api::list_offsets:
        body.int32();
        if (result.version >= 2) {
            result.isolation = body.int8();
        }
        partitions(by_name, [&](auto& one) {
            if (result.version >= 4) {
                one.current_leader_epoch = body.int32();
            }
            one.offset = body.int64();
        });
        break;
    case api::leader_epoch:
        if (result.version >= 3) {
            body.int32();
        }
        partitions(by_name, [&](auto& one) {
            one.current_leader_epoch = body.int32();
            one.offset = body.int32();
        });
        break;
    case api::fetch:
        body.int32();
        result.max_wait = std::chrono::milliseconds{body.int32()};
        result.min_bytes = body.int32();
        result.max_bytes = body.int32();
        result.isolation = body.int8();
        body.int32();
        body.int32();
        partitions(
            [&](auto& question) {
                if (result.version >= 13) {
                    question.id = body.uuid();
                } else {
                    question.topic = body.text();
                }
            },
            [&](auto& one) {
                one.current_leader_epoch = body.int32();
                one.offset = body.int64();
                if (result.version >= 12) {
                    one.last_fetched_epoch = body.int32();
                }
                body.int64();
                one.max_bytes = body.int32();
            });
        body.elements(1);
        if (result.version >= 11) {
            result.rack = body.text();
        }
        break;
    }
    if (body.failed()) {
        throw std::runtime_error{"a request that cannot be read"};
    }
    return result;
}

std::string frame_of(scripted_request const& request, std::string const& body,
                     std::int32_t correlation_shift, encoding format) {
    std::string result;
    wire_writer out{result};
    bool const tagged = format == encoding::compact && request.key != api::api_versions;
    out.int32(static_cast<std::int32_t>(body.size() + 4 + (tagged ? 1 : 0)));
    out.int32(request.correlation + correlation_shift);
    if (tagged) {
        out.int8(0);
    }
    out.raw(body);
    return result;
}

/// Topic by topic, in the order of the request.
template <typename Parts, typename WriteTopic, typename WritePart>
void write_parts(wire_writer& out, Parts const& parts, WriteTopic write_topic,
                 WritePart write_part) {
    std::vector<std::pair<std::size_t, std::size_t>> groups; // where each begins and ends
    for (std::size_t i = 0; i != parts.size(); ++i) {
        if (i != 0 && parts[i].topic == parts[i - 1].topic && parts[i].id == parts[i - 1].id) {
            groups.back().second = i + 1;
        } else {
            groups.emplace_back(i, i + 1);
        }
    }
    out.elements(groups.size());
    for (auto const& [first, last] : groups) {
        write_topic(parts[first]);
        out.elements(last - first);
        for (auto i = first; i != last; ++i) {
            write_part(parts[i]);
            out.end_structure();
        }
        out.end_structure();
    }
}

} // namespace

void scripted_partition::append(std::int64_t base_offset, std::int64_t next_offset,
                                std::string bytes) {
    batches.push_back({base_offset, next_offset, std::move(bytes)});
    end = next_offset;
}

scripted_cluster::scripted_cluster(asio::io_context& on, std::int32_t count) : context(on) {
    for (std::int32_t id = 0; id != count; ++id) {
        brokers.emplace_back(*this, id);
    }
}

scripted_cluster::~scripted_cluster() {
    for (auto& broker : brokers) {
        broker.go_down();
    }
    context.restart();
    context.poll();
}

scripted_topic& scripted_cluster::make_topic(std::string const& name, std::size_t partitions) {
    auto& topic = topics[name];
    topic = {};
    static unsigned made = 0;
    ++made;
    topic.id[0] = static_cast<unsigned char>(made >> 8 | 0x80);
    topic.id[15] = static_cast<unsigned char>(made);
    topic.partitions.resize(partitions);
    for (std::size_t i = 0; i != partitions; ++i) {
        topic.partitions[i].leader = static_cast<std::int32_t>(i % brokers.size());
    }
    return topic;
}

void scripted_cluster::changed() {
    for (auto& broker : brokers) {
        for (auto const& peer : broker.peers_) {
            peer->wait.cancel();
        }
    }
}

std::string scripted_cluster::bootstrap(std::int32_t broker) const {
    return "127.0.0.1:" + std::to_string(brokers.at(static_cast<std::size_t>(broker)).port());
}

std::size_t scripted_cluster::count(api key) const {
    return static_cast<std::size_t>(
        std::count_if(seen.begin(), seen.end(), [key](auto const& one) { return one.key == key; }));
}

std::vector<scripted_request> scripted_cluster::requests(api key) const {
    std::vector<scripted_request> result;
    std::copy_if(seen.begin(), seen.end(), std::back_inserter(result),
                 [key](auto const& one) { return one.key == key; });
    return result;
}

scripted_broker::scripted_broker(scripted_cluster& cluster, std::int32_t id)
    : cluster_(cluster),
      id_(id) {
    for (auto const key :
         {api::fetch, api::list_offsets, api::metadata, api::api_versions, api::leader_epoch}) {
        versions[key] = encoded_versions(key);
        versions[key].highest = static_cast<std::int16_t>(versions[key].highest + 1);
    }
    listen();
}

void scripted_broker::listen() {
    using asio::ip::tcp;
    acceptor_ = std::make_shared<tcp::acceptor>(
        cluster_.context, tcp::endpoint{asio::ip::address_v4::loopback(), port_});
    port_ = acceptor_->local_endpoint().port();
    accept();
}

void scripted_broker::accept() {
    auto const with = std::make_shared<peer>(cluster_.context);
    acceptor_->async_accept(with->socket, [this, with, acceptor = acceptor_](std::error_code ec) {
        if (ec || acceptor != acceptor_) {
            return;
        }
        with->number = made_++;
        peers_.push_back(with);
        asio::co_spawn(cluster_.context, serve(with), asio::detached);
        accept();
    });
}

void scripted_broker::go_down() {
    if (auto const acceptor = std::exchange(acceptor_, nullptr)) {
        std::error_code ignored;
        acceptor->close(ignored);
    }
    cut_connections();
}

void scripted_broker::come_up() {
    if (!acceptor_) {
        listen();
    }
}

void scripted_broker::cut_connections() {
    for (auto const& with : std::exchange(peers_, {})) {
        std::error_code ignored;
        with->ended = true;
        with->socket.close(ignored);
        with->wait.cancel();
    }
}

std::size_t scripted_broker::open_connections() const {
    std::size_t result = 0;
    for (auto const& with : peers_) {
        if (with->ended) {
            continue;
        }
        std::error_code ec;
        with->socket.non_blocking(true, ec);
        for (char bytes[1000]; !ec;) { // requests that were not read yet
            with->socket.read_some(asio::buffer(bytes), ec);
        }
        result += ec == asio::error::would_block;
    }
    return result;
}

asio::awaitable<void> scripted_broker::serve(std::shared_ptr<peer> with) {
    std::string frame;
    try {
        while (!with->ended) {
            frame.resize(4);
            co_await asio::async_read(with->socket, asio::buffer(frame), asio::use_awaitable);
            wire_reader length{frame};
            frame.resize(static_cast<std::size_t>(length.int32()));
            co_await asio::async_read(with->socket, asio::buffer(frame), asio::use_awaitable);
            auto request = parse(frame);
            request.broker = id_;
            request.connection = with->number;
            cluster_.seen.push_back(request);
            co_await answer(*with, std::move(request));
        }
    } catch (std::system_error const&) { // the other side, or the test, closed it
    }
    with->ended = true;
    std::error_code ignored;
    with->socket.close(ignored);
}

asio::awaitable<void> scripted_broker::answer(peer& with, scripted_request request) {
    std::optional<scripted_fault> scripted;
    if (cluster_.on_request) {
        scripted = cluster_.on_request(request);
    }
    auto const fault = scripted.value_or(scripted_fault{});
    auto const wait_until = [&](detail::clock::time_point until) -> asio::awaitable<void> {
        std::error_code ignored;
        with.wait.expires_at(until);
        co_await with.wait.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    };
    auto const delayed_until = detail::clock::now() + fault.delay;
    while (fault.delay > 0ms && detail::clock::now() < delayed_until && !with.ended) {
        co_await wait_until(delayed_until);
    }
    auto version = request.version;
    std::string body;
    switch (request.key) {
    case api::api_versions:
        if (knows_only_first_versions) {
            version = 0;
        }
        body = versions_body(request, version, fault.throttle_ms);
        break;
    case api::metadata:
        body = metadata_body(request, fault.throttle_ms);
        break;
    case api::list_offsets:
        body = offsets_body(request, fault.throttle_ms);
        break;
    case api::leader_epoch:
        body = epochs_body(request, fault.throttle_ms);
        break;
    case api::fetch: {
        auto const limit = detail::clock::now() + request.max_wait;
        auto parts = fetch(request);
        auto const has_news = [&] {
            return std::any_of(parts.begin(), parts.end(), [](auto const& part) {
                return part.error != 0 || part.diverging || !part.records.empty();
            });
        };
        while (!fault.at_once && !fault.parts && !fault.sent_instead && !has_news() &&
               detail::clock::now() < limit && !with.ended) {
            co_await wait_until(limit);
            parts = fetch(request);
        }
        if (fault.parts) {
            fault.parts(parts);
        }
        body = fetch_body(version, parts, fault.throttle_ms);
        break;
    }
    }
    if (with.ended) {
        co_return;
    }
    using after = scripted_fault::after;
    auto frame =
        frame_of(request, body, fault.correlation_shift, encoding_of(request.key, version));
    if (fault.sent_instead) {
        frame = *fault.sent_instead;
    }
    frame.resize((std::min)(frame.size(), fault.only_first));
    for (std::size_t sent = 0; sent < frame.size() && fault.then != after::silence;) {
        auto const piece = std::string_view{frame}.substr(sent, fault.piece);
        co_await asio::async_write(with.socket, asio::buffer(piece), asio::use_awaitable);
        sent += piece.size();
        for (auto const end = detail::clock::now() + fault.pause;
             fault.pause > 0ms && detail::clock::now() < end && !with.ended;) {
            co_await wait_until(end);
        }
        if (with.ended) {
            co_return;
        }
    }
    switch (fault.then) {
    case after::go_on:
        break;
    case after::close:
        with.ended = true;
        break;
    case after::half_close:
        with.socket.shutdown(asio::socket_base::shutdown_send);
        break;
    case after::silence:
        while (!with.ended) {
            co_await wait_until((detail::clock::time_point::max)());
        }
        break;
    }
}

std::string scripted_broker::versions_body(scripted_request const& request, std::int16_t version,
                                           std::int32_t throttle) const {
    std::string body;
    wire_writer out{body, encoding_of(api::api_versions, version)};
    out.int16(version != request.version ? std::int16_t{35} : std::int16_t{0});
    out.elements(versions.size());
    for (auto const& [key, range] : versions) {
        out.int16(static_cast<std::int16_t>(key)).int16(range.lowest).int16(range.highest);
        out.end_structure();
    }
    if (version >= 1) {
        out.int32(throttle);
    }
    out.end_structure();
    return body;
}

std::string scripted_broker::metadata_body(scripted_request const& request,
                                           std::int32_t throttle) const {
    std::string body;
    auto const version = request.version;
    wire_writer out{body, encoding_of(api::metadata, version)};
    auto const no_numbers = [&] { out.elements(0); };
    if (version >= 3) {
        out.int32(throttle);
    }
    auto const& brokers = cluster_.brokers;
    auto const named_here =
        std::count_if(brokers.begin(), brokers.end(), [](auto const& one) { return one.listed; });
    out.elements(static_cast<std::size_t>(named_here) + cluster_.also_named.size());
    for (auto const& named : cluster_.also_named) {
        out.int32(named.id).text(named.host).int32(named.port);
        out.nullable_text(std::nullopt).end_structure();
    }
    for (auto const& broker : brokers) {
        if (!broker.listed) {
            continue;
        }
        out.int32(broker.id()).text(cluster_.advertised_host).int32(broker.port());
        out.nullable_text(std::nullopt).end_structure();
    }
    if (version >= 2) {
        out.nullable_text("scripted");
    }
    out.int32(0);
    out.elements(request.topics.size());
    for (auto const& name : request.topics) {
        auto const found = cluster_.topics.find(name);
        bool const known = found != cluster_.topics.end();
        out.int16(known ? found->second.error : std::int16_t{3}).text(name);
        if (version >= 10) {
            out.uuid(known ? found->second.id : topic_uuid{});
        }
        out.boolean(false);
        auto const count = known ? found->second.partitions.size() : 0;
        out.elements(count);
        for (std::size_t i = 0; i != count; ++i) {
            auto const& one = found->second.partitions[i];
            out.int16(one.metadata_error).int32(static_cast<std::int32_t>(i)).int32(one.leader);
            if (version >= 7) {
                out.int32(one.leader_epoch);
            }
            no_numbers();
            no_numbers();
            if (version >= 5) {
                no_numbers();
            }
            out.end_structure();
        }
        if (version >= 8) {
            out.int32(0);
        }
        out.end_structure();
    }
    if (version >= 8 && version <= 10) {
        out.int32(0);
    }
    out.end_structure();
    return body;
}

scripted_topic const* scripted_broker::find(scripted_request::partition const& asked,
                                            std::string& name) const {
    for (auto const& [known, topic] : cluster_.topics) {
        bool const same = asked.topic.empty() ? topic.id == asked.id : known == asked.topic;
        if (same && asked.number >= 0 &&
            static_cast<std::size_t>(asked.number) < topic.partitions.size()) {
            name = known;
            return &topic;
        }
    }
    return nullptr;
}

namespace {

/// Who leads, and by which epoch, is checked as a broker does.
std::int16_t leader_error(scripted_partition const& partition, std::int32_t broker,
                          std::int32_t epoch) {
    if (partition.leader != broker) {
        return 6;
    }
    if (epoch >= 0 && epoch != partition.leader_epoch) {
        return epoch < partition.leader_epoch ? 74 : 75;
    }
    return 0;
}

} // namespace

scripted_broker::led_partition
scripted_broker::find_led(scripted_request::partition const& asked) const {
    std::string name;
    auto const* const topic = find(asked, name);
    if (!topic) {
        return {3, nullptr};
    }
    auto const& one = topic->partitions[static_cast<std::size_t>(asked.number)];
    auto const error = leader_error(one, id_, asked.current_leader_epoch);
    return {error, error == 0 ? &one : nullptr};
}

std::string scripted_broker::offsets_body(scripted_request const& request,
                                          std::int32_t throttle) const {
    std::string body;
    wire_writer out{body, encoding_of(api::list_offsets, request.version)};
    if (request.version >= 2) {
        out.int32(throttle);
    }
    write_parts(
        out, request.partitions, [&](auto const& part) { out.text(part.topic); },
        [&](auto const& part) {
            auto const [error, led] = find_led(part);
            std::int64_t offset = -1;
            std::int32_t epoch = -1;
            if (led) {
                offset = part.offset == -2 ? led->log_start : led->end;
                epoch = led->leader_epoch;
            }
            out.int32(part.number).int16(error).int64(-1).int64(offset);
            if (request.version >= 4) {
                out.int32(epoch);
            }
        });
    out.end_structure();
    return body;
}

std::string scripted_broker::epochs_body(scripted_request const& request,
                                         std::int32_t throttle) const {
    std::string body;
    wire_writer out{body, encoding_of(api::leader_epoch, request.version)};
    out.int32(throttle);
    write_parts(
        out, request.partitions, [&](auto const& part) { out.text(part.topic); },
        [&](auto const& part) {
            auto const [error, led] = find_led(part);
            std::int32_t epoch = -1;
            std::int64_t end = -1;
            if (led) {
                if (part.offset >= led->leader_epoch) {
                    epoch = led->leader_epoch;
                    end = led->end;
                } else if (auto after =
                               led->epoch_ends.upper_bound(static_cast<std::int32_t>(part.offset));
                           after != led->epoch_ends.begin()) {
                    --after;
                    epoch = after->first;
                    end = after->second;
                }
            }
            out.int16(error).int32(part.number).int32(epoch).int64(end);
        });
    out.end_structure();
    return body;
}

std::vector<scripted_part> scripted_broker::fetch(scripted_request const& request) const {
    std::vector<scripted_part> result;
    auto left = request.max_bytes;
    for (auto const& asked : request.partitions) {
        auto& part = result.emplace_back();
        part.topic = asked.topic;
        part.id = asked.id;
        part.number = asked.number;
        std::string name;
        auto const* const topic = find(asked, name);
        if (!topic) {
            part.error = asked.topic.empty() ? std::int16_t{100} : std::int16_t{3};
            continue;
        }
        auto const& one = topic->partitions[static_cast<std::size_t>(asked.number)];
        part.error =
            one.error != 0 ? one.error : leader_error(one, id_, asked.current_leader_epoch);
        if (part.error != 0) {
            continue;
        }
        part.high_watermark = part.last_stable_offset = one.end;
        part.log_start = one.log_start;
        if (asked.last_fetched_epoch >= 0 && asked.last_fetched_epoch < one.leader_epoch) {
            auto const known = one.epoch_ends.find(asked.last_fetched_epoch);
            if (known != one.epoch_ends.end() && known->second < asked.offset) {
                part.diverging = {known->first, known->second};
                continue;
            }
        }
        if (asked.offset < one.log_start || asked.offset > one.end) {
            part.error = 1;
            part.high_watermark = part.last_stable_offset = part.log_start = -1;
            continue;
        }
        part.aborted = one.aborted;
        std::int32_t brought = 0;
        for (auto const& batch : one.batches) {
            if (batch.next_offset <= asked.offset || batch.base_offset < one.log_start) {
                continue;
            }
            auto const size = static_cast<std::int32_t>(batch.bytes.size());
            bool const first_of_all = left == request.max_bytes;
            auto const room = (std::min)(left, asked.max_bytes - brought);
            if (size > room && !(first_of_all && brought == 0)) {
                // A broker sends the part that fits, too.
                if (brought != 0 && room > 0) {
                    part.records.append(batch.bytes, 0, static_cast<std::size_t>(room));
                    left -= room;
                }
                break;
            }
            part.records += batch.bytes;
            brought += size;
            left = (std::max)(left - size, 0);
        }
    }
    return result;
}

std::string scripted_broker::fetch_body(std::int16_t version,
                                        std::vector<scripted_part> const& parts,
                                        std::int32_t throttle) {
    std::string body;
    wire_writer out{body, encoding_of(api::fetch, version)};
    bool const compact = encoding_of(api::fetch, version) == encoding::compact;
    out.int32(throttle).int16(0).int32(0);
    auto const part_body = [&](scripted_part const& part) {
        out.int32(part.number).int16(part.error);
        out.int64(part.high_watermark).int64(part.last_stable_offset).int64(part.log_start);
        out.elements(part.aborted.size());
        for (auto const& transaction : part.aborted) {
            out.int64(transaction.producer).int64(transaction.first_offset).end_structure();
        }
        if (version >= 11) {
            out.int32(part.preferred_replica);
        }
        out.nullable_bytes(part.records);
    };
    // Tagged fields: written by hand, because `end_structure` writes none.
    auto const groups_of = [&](auto write_topic) {
        std::vector<std::pair<std::size_t, std::size_t>> groups;
        for (std::size_t i = 0; i != parts.size(); ++i) {
            if (i != 0 && parts[i].topic == parts[i - 1].topic && parts[i].id == parts[i - 1].id) {
                groups.back().second = i + 1;
            } else {
                groups.emplace_back(i, i + 1);
            }
        }
        out.elements(groups.size());
        for (auto const& [first, last] : groups) {
            write_topic(parts[first]);
            out.elements(last - first);
            for (auto i = first; i != last; ++i) {
                part_body(parts[i]);
                if (!compact) {
                    continue;
                }
                std::uint64_t const tags =
                    (parts[i].diverging ? 1u : 0u) + (parts[i].current_leader ? 1u : 0u);
                out.unsigned_varint(tags);
                if (parts[i].diverging) {
                    out.unsigned_varint(0).unsigned_varint(13);
                    out.int32(parts[i].diverging->epoch).int64(parts[i].diverging->end_offset);
                    out.int8(0);
                }
                if (parts[i].current_leader) {
                    out.unsigned_varint(1).unsigned_varint(9);
                    out.int32(parts[i].current_leader->id).int32(parts[i].current_leader->epoch);
                    out.int8(0);
                }
            }
            out.end_structure();
        }
    };
    groups_of([&](scripted_part const& part) {
        if (version >= 13) {
            out.uuid(part.id);
        } else {
            out.text(part.topic);
        }
    });
    out.end_structure();
    return body;
}

} // namespace kgroup::tests
