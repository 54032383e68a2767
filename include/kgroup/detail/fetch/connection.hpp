// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/fetch/answer_memory.hpp>
#include <kgroup/detail/fetch/api_versions.hpp>
#include <kgroup/detail/fetch/broker_address.hpp>
#include <kgroup/detail/fetch/fetcher_settings.hpp>
#include <kgroup/detail/fetch/message_frame.hpp>
#include <kgroup/detail/fetch/name_lookup.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/socket_base.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup::detail::fetch {

/// One connection to a broker, from the look-up of its name to its end. It has no coroutine and no
/// timer: whoever owns it calls `advance` when the event was notified or `deadline` is over, and
/// gets the answers there. Only waits for the socket are under way, and those touch nothing but the
/// event.
///
/// *Thread safety.* One strand's.
class connection : public std::enable_shared_from_this<connection> {
public:
    /// A request that awaits its answer. Brokers answer in the order of the requests.
    struct expected {
        api key;
        std::int16_t version;
        std::int32_t correlation;
        time_point deadline;
    };
    /// Why it is closed.
    struct ending {
        fetcher_notice::kind type = fetcher_notice::kind::disconnected;
        std::error_code error;
        std::string_view text; // a literal
        bool was_ready = false;
    };

    /// @param names outlives the connection's last `advance`.
    connection(asio::any_io_executor const& executor, std::shared_ptr<auto_reset_event> event,
               fetcher_settings const& settings, broker_address address, time_point now)
        : settings_(settings),
          address_(std::move(address)),
          event_(std::move(event)),
          socket_(executor),
          stage_end_(now + settings.connection_setup_timeout) {}

    bool ready() const noexcept { return stage_ == stage::ready; }
    bool closed() const noexcept { return stage_ == stage::closed; }
    ending const& end() const noexcept { return ending_; }
    broker_address const& address() const noexcept { return address_; }
    /// What the broker speaks; once it is ready.
    api_versions& versions() noexcept { return versions_; }
    std::size_t outstanding() const noexcept { return expected_.size(); }
    /// Nothing of it is under way any more. It may only be so after `close`.
    bool at_rest() const noexcept {
        return !is_pending(connecting_) && !is_pending(reading_) && !is_pending(writing_);
    }
    /// When `advance` is to be called although nobody notified. nullopt: never.
    std::optional<time_point> deadline() const noexcept {
        switch (stage_) {
        case stage::resolving:
        case stage::connecting:
        case stage::asking_versions:
            return (std::min)(stage_end_, attempt_end_);
        case stage::ready:
            if (!expected_.empty()) {
                return expected_.front().deadline;
            }
            if (settings_.connections_max_idle.count() > 0) {
                return idle_since_ + settings_.connections_max_idle;
            }
            return std::nullopt;
        case stage::closed:
            break;
        }
        return std::nullopt;
    }

    std::int32_t next_correlation() noexcept {
        correlation_ = (correlation_ + 1) & 0x7fffffff;
        return correlation_;
    }
    /// Sends a request, when it is ready.
    ///
    /// @param frame by `next_correlation`.
    /// @param broker_waits how long the broker may wait before it answers.
    /// @throws std::bad_alloc; then the request was not sent.
    void send(std::string_view frame, api key, std::int16_t version, std::int32_t correlation,
              std::chrono::milliseconds broker_waits, time_point now) {
        if (closed()) {
            return;
        }
        out_.reserve(out_.size() + frame.size());
        expected_.push_back({key, version, correlation, now + broker_waits + answer_time()});
        out_ += frame;
        write();
    }
    /// The broker said that it answers nothing for so long.
    void delay(std::chrono::milliseconds time) noexcept {
        for (auto& awaited : expected_) {
            awaited.deadline += time;
        }
    }

    void close(fetcher_notice::kind type, std::error_code error, std::string_view text) noexcept {
        if (closed()) {
            return;
        }
        ending_ = {type, error, text, stage_ == stage::ready};
        stage_ = stage::closed;
        std::error_code ignored;
        socket_.close(ignored);
        answer_.reset();
    }

    /// Does what can be done now. Calls `on_answer(expected const&, std::shared_ptr<answer_bytes>)`
    /// for each answer; it may close the connection.
    ///
    /// @throws std::bad_alloc, and what `on_answer` throws; the connection is to be closed then.
    template <typename OnAnswer>
    void advance(time_point now, answer_memory& memory, name_lookup& names, OnAnswer on_answer) {
        if (stage_ == stage::resolving) {
            resolve(now, names);
        }
        if (stage_ == stage::connecting) {
            connect(now);
        }
        if (stage_ == stage::asking_versions || stage_ == stage::ready) {
            if (is_done(writing_)) {
                write();
            }
            if (!talks()) {
                return;
            }
            auto const limit = deadline();
            bool const late = limit && now >= *limit;
            if (late && expected_.empty()) {
                close(notice::disconnected, {}, "it was idle");
                return;
            }
            if (!is_pending(reading_) || late) {
                read(now, late, memory, on_answer);
            }
        }
    }

    std::chrono::milliseconds answer_time() const noexcept {
        return (std::min)(settings_.socket_timeout, std::chrono::milliseconds{10'000});
    }

private:
    enum class stage { resolving, connecting, asking_versions, ready, closed };

    /// An operation on the socket: its handler says only that it is over.
    struct operation {
        enum state : int { idle, pending, done };
        std::atomic<int> state{idle};
        std::error_code error; // written before `done`
    };
    static bool is_pending(operation const& step) noexcept {
        return step.state.load(std::memory_order_acquire) == operation::pending;
    }
    static bool is_done(operation const& step) noexcept {
        return step.state.load(std::memory_order_acquire) == operation::done;
    }
    auto handler(operation connection::*which) {
        (this->*which).state.store(operation::pending, std::memory_order_relaxed);
        return [self = shared_from_this(), which](std::error_code ec) {
            auto& ended = (*self).*which;
            ended.error = ec;
            auto const event = self->event_;
            ended.state.store(operation::done, std::memory_order_release);
            event->notify();
        };
    }
    template <typename Begin>
    void begin(operation connection::*which, Begin begin_operation) {
        try {
            begin_operation(handler(which));
        } catch (...) {
            (this->*which).state.store(operation::idle, std::memory_order_relaxed);
            throw;
        }
    }

    using notice = fetcher_notice::kind;

    bool talks() const noexcept {
        return stage_ == stage::asking_versions || stage_ == stage::ready;
    }
    /// The one at this address does not speak as it should. Before one has, the next address is
    /// tried: of several some may be of proxies that reach nobody.
    void fail(notice type, std::error_code error, std::string_view text) noexcept {
        if (stage_ != stage::asking_versions || next_endpoint_ == endpoints_.size()) {
            close(type, error, text);
            return;
        }
        std::error_code ignored;
        socket_.close(ignored);
        answer_.reset();
        head_size_ = 0;
        out_.clear();
        expected_.clear();
        last_error_ = error;
        attempt_end_ = (time_point::max)();
        stage_ = stage::connecting;
        event_->notify();
    }

    void resolve(time_point now, name_lookup& names) {
        auto found = names.find(address_.host);
        if (!found) {
            if (now >= stage_end_) {
                close(notice::unresolved, asio::error::timed_out, "looking up its name takes long");
            }
            return;
        }
        if (!found->error) {
            for (auto const& address : found->addresses) {
                if (settings_.address_family == fetcher_settings::family::any ||
                    address.is_v4() == (settings_.address_family == fetcher_settings::family::v4)) {
                    endpoints_.emplace_back(address, address_.port);
                }
            }
            if (endpoints_.empty()) {
                found->error = asio::error::host_not_found;
            }
        }
        if (found->error) {
            close(notice::unresolved, found->error, "its name has no address");
            return;
        }
        stage_ = stage::connecting;
    }

    // One address after the other; each has its share of the time that is left.
    void connect(time_point now) {
        if (is_pending(reading_) || is_pending(writing_)) {
            return; // of the address before
        }
        if (is_pending(connecting_)) {
            if (now >= attempt_end_) {
                std::error_code ignored;
                socket_.close(ignored); // which ends it
                last_error_ = asio::error::timed_out;
                attempt_end_ = (time_point::max)();
                abandoned_ = true;
            }
            return;
        }
        if (is_done(connecting_)) {
            connecting_.state.store(operation::idle, std::memory_order_relaxed);
            if (!connecting_.error && !abandoned_) {
                begin_talking(now);
                return;
            }
            if (!abandoned_) {
                last_error_ = connecting_.error;
            }
            abandoned_ = false;
        }
        if (next_endpoint_ == endpoints_.size()) {
            close(notice::unreachable, last_error_, "cannot connect");
            return;
        }
        auto const left = static_cast<int>(endpoints_.size() - next_endpoint_);
        attempt_end_ = now + (std::max)((stage_end_ - now) / left, time_point::duration{});
        auto const& endpoint = endpoints_[next_endpoint_++];
        open_socket(endpoint.protocol());
        begin(&connection::connecting_,
              [&](auto done) { socket_.async_connect(endpoint, std::move(done)); });
    }

    // Options are wishes: what fails here fails again, and is told, when it connects.
    void open_socket(asio::ip::tcp const& protocol) {
        std::error_code ignored;
        socket_.close(ignored);
        socket_.open(protocol, ignored);
        if (settings_.keepalive) {
            socket_.set_option(asio::socket_base::keep_alive{true}, ignored);
        }
        if (settings_.send_buffer_bytes > 0) {
            socket_.set_option(asio::socket_base::send_buffer_size{settings_.send_buffer_bytes},
                               ignored);
        }
        if (settings_.receive_buffer_bytes > 0) {
            socket_.set_option(
                asio::socket_base::receive_buffer_size{settings_.receive_buffer_bytes}, ignored);
        }
    }

    void begin_talking(time_point now) {
        std::error_code ec;
        socket_.set_option(asio::ip::tcp::no_delay{true}, ec);
        socket_.non_blocking(true, ec);
        if (ec) {
            close(notice::unreachable, ec, "cannot connect");
            return;
        }
        stage_ = stage::asking_versions;
        if (next_endpoint_ == endpoints_.size()) {
            attempt_end_ = (time_point::max)();
        }
        stage_end_ = (std::max)(stage_end_, now + std::chrono::milliseconds{1}); // for this stage
        ask_versions(3);
    }
    void ask_versions(std::int16_t version) {
        auto const correlation = next_correlation();
        std::string frame;
        write_api_versions_request(frame, version, correlation, settings_.client_id, "1");
        expected_.push_back({api::api_versions, version, correlation, stage_end_});
        out_ += frame;
        write();
    }
    void on_versions(expected const& question, std::string_view bytes) {
        auto const result =
            read_api_versions_answer(bytes, question.version, question.correlation, versions_);
        if (result != read_result::ok) {
            fail(notice::damaged_answer, {}, "its answer to ApiVersions cannot be read");
        } else if (versions_.error == 35 && question.version != 0) {
            ask_versions(0);
        } else if (versions_.error != 0) {
            fail(notice::unsupported, {}, "it does not say what it speaks");
        } else {
            stage_ = stage::ready;
        }
    }

    void write() {
        while (!out_.empty() && talks() && !is_pending(writing_)) {
            std::error_code ec;
            auto const written = socket_.write_some(asio::buffer(out_), ec);
            if (ec == asio::error::would_block || ec == asio::error::try_again) {
                begin(&connection::writing_, [&](auto done) {
                    socket_.async_wait(asio::socket_base::wait_write, std::move(done));
                });
            } else if (ec && ec != asio::error::interrupted) {
                fail(notice::disconnected, ec, "the connection ended");
            } else {
                out_.erase(0, written);
            }
        }
    }

    /// @param late the answer is overdue: it is too late, if nothing of it is there.
    template <typename OnAnswer>
    void read(time_point now, bool late, answer_memory& memory, OnAnswer& on_answer) {
        // Not for ever, so that others get their turn.
        for (int reads = 0; reads != 16; ++reads) {
            auto* const to = answer_ ? answer_->buffer().free_begin() : head_.data() + head_size_;
            auto const room =
                answer_ ? answer_size_ - answer_->buffer().size() : head_.size() - head_size_;
            std::error_code ec;
            auto const count = socket_.read_some(asio::buffer(to, room), ec);
            if (ec == asio::error::would_block || ec == asio::error::try_again) {
                if (late) {
                    fail(ready() ? notice::no_answer : notice::unreachable, asio::error::timed_out,
                         "it does not answer");
                    return;
                }
                wait_for_bytes();
                return;
            }
            if (ec == asio::error::interrupted) {
                continue;
            }
            if (ec) {
                fail(ready() ? notice::disconnected : notice::unreachable, ec,
                     "the connection ended");
                return;
            }
            if (answer_) {
                answer_->buffer().grow(count);
            } else {
                head_size_ += count;
            }
            heed(count, std::exchange(late, false), now);
            take_answers(now, memory, on_answer);
            if (!talks()) {
                return;
            }
            if (count != room) { // all that was there
                wait_for_bytes();
                return;
            }
        }
        event_->notify();
    }
    /// Who sends is alive, and gets more time for a large answer; but not one who sends so slowly
    /// that it would never be whole. An answer may also be late because the executor was busy.
    void heed(std::size_t count, bool late, time_point now) noexcept {
        constexpr std::size_t least_progress = std::size_t{64} << 10;
        progress_ += count;
        if (progress_ >= least_progress || (late && !std::exchange(spared_, true))) {
            prolong(now);
        }
    }
    void prolong(time_point now) noexcept {
        progress_ = 0;
        if (!expected_.empty()) {
            auto& limit = expected_.front().deadline;
            limit = (std::max)(limit, now + answer_time());
        }
    }
    void wait_for_bytes() {
        if (!is_pending(reading_)) {
            begin(&connection::reading_, [&](auto done) {
                socket_.async_wait(asio::socket_base::wait_read, std::move(done));
            });
        }
    }

    template <typename OnAnswer>
    void take_answers(time_point now, answer_memory& memory, OnAnswer& on_answer) {
        if (answer_ && !finish_answer(now, on_answer)) {
            return;
        }
        std::size_t begin = 0;
        while (talks() && !answer_ && head_size_ - begin >= 4) {
            std::string_view const head{head_.data() + begin, head_size_ - begin};
            if (expected_.empty()) {
                fail(notice::damaged_answer, {}, "it sends what nobody asked for");
                return;
            }
            // Not believed before it has spoken Kafka's protocol once.
            std::size_t const limit =
                ready() ? static_cast<std::size_t>(settings_.receive_message_max_bytes)
                        : std::size_t{64} << 10;
            auto const size = frame_size(head, limit);
            if (!size) {
                wire_reader length{head};
                auto const said = length.int32();
                bool const large = said > 0 && static_cast<std::size_t>(said) > limit;
                fail(large ? notice::frame_too_large : notice::damaged_answer, {},
                     !large    ? "its answer has an impossible length"
                     : ready() ? "its answer is larger than receive.message.max.bytes"
                               : "its first answer is too large to be one of Kafka's");
                return;
            }
            answer_ = memory.take(*size);
            if (!answer_) {
                close(notice::no_memory, std::make_error_code(std::errc::not_enough_memory),
                      "no memory for its answer");
                return;
            }
            answer_size_ = *size;
            auto const here = (std::min)(*size, head.size() - 4);
            std::memcpy(answer_->buffer().free_begin(), head.data() + 4, here);
            answer_->buffer().grow(here);
            begin += 4 + here;
            finish_answer(now, on_answer);
        }
        if (begin != 0 && talks()) {
            head_size_ -= begin;
            std::memmove(head_.data(), head_.data() + begin, head_size_);
        }
    }
    /// false: it is not whole yet.
    template <typename OnAnswer>
    bool finish_answer(time_point now, OnAnswer& on_answer) {
        if (answer_->buffer().size() != answer_size_) {
            return false;
        }
        auto const answer = std::exchange(answer_, nullptr);
        auto const question = expected_.front();
        wire_reader reader{answer->view()};
        if (reader.int32() != question.correlation) {
            fail(notice::damaged_answer, {}, "it answers another request");
            return true;
        }
        expected_.pop_front();
        idle_since_ = now;
        spared_ = false;
        prolong(now); // the next one has waited for this one
        if (question.key == api::api_versions) {
            on_versions(question, answer->view());
        } else {
            on_answer(question, answer);
        }
        return true;
    }

    fetcher_settings const& settings_;
    broker_address address_;
    std::shared_ptr<auto_reset_event> event_;
    asio::ip::tcp::socket socket_;
    stage stage_ = stage::resolving;
    time_point stage_end_;                         // until when it is to be ready
    time_point attempt_end_ = (time_point::max)(); // of one address
    std::vector<asio::ip::tcp::endpoint> endpoints_;
    std::size_t next_endpoint_ = 0;
    bool abandoned_ = false; // the attempt was too slow, and has not ended yet
    std::error_code last_error_;
    operation connecting_;
    operation reading_;
    operation writing_;
    api_versions versions_;
    std::int32_t correlation_ = 0;
    std::deque<expected> expected_;
    time_point idle_since_{};     // while nothing is expected
    std::string out_;             // not sent yet
    std::array<char, 4096> head_; // what was read and belongs to no answer yet
    std::size_t head_size_ = 0;
    std::shared_ptr<answer_bytes> answer_; // that is being read
    std::size_t answer_size_ = 0;
    std::size_t progress_ = 0; // bytes that came since the deadline was set
    bool spared_ = false;      // the answer was late, and was given more time for that
    ending ending_;
};

} // namespace kgroup::detail::fetch
