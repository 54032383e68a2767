// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/mailbox.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <system_error>
#include <utility>

namespace kgroup::detail {

/// A coroutine of the user's, and what it may touch, for as long as it lives: a handler, a hook, or
/// a call of the token provider. When it has ended it is a letter to its group itself, so that its
/// end is told also when there is no memory for telling it.
class user_task : public mailbox::letter {
public:
    // Until it has ended, the coroutine's; then the group's.
    std::exception_ptr failure; // what it ended with
    std::size_t late_messages = 0;
    bool began = false;
    // Group's strand.
    bool cancelled = false;
    bool abandoned = false;

    /// Whether it has failed, and not only given way to its cancellation.
    bool failed() const { return failure && !(gives_way() && is_abort(failure)); }

    /// Where it runs, and is cancelled.
    virtual std::shared_ptr<auto_reset_event> const& place() const noexcept = 0;
    /// On the strand.
    virtual asio::awaitable<void> call() = 0;
    /// There, when that is over.
    virtual void leave() noexcept {}
    /// Terminal; it is told on its strand. Group's strand.
    void cancel() {
        cancelled = true;
        emit_terminal();
    }

protected:
    /// Whether it was asked to end, so that `operation_aborted` is no failure.
    virtual bool gives_way() const { return cancelled; }
    virtual void emit_terminal() = 0;

private:
    static bool is_abort(std::exception_ptr const& failure) {
        try {
            std::rethrow_exception(failure);
        } catch (std::system_error const& error) {
            return error.code() == asio::error::operation_aborted;
        } catch (...) {
            return false;
        }
    }
};

/// One that has a strand, and a way to be cancelled, of its own. `Task`: the type that derives.
template <typename Task>
class stranded_task : public user_task {
public:
    using end_handler = std::function<void(Task&)>;

    /// `on_end` is called on the group's strand.
    stranded_task(asio::any_io_executor const& executor, end_handler on_end)
        : place_(auto_reset_event::make(executor)),
          on_end_(std::move(on_end)) {}

    std::shared_ptr<auto_reset_event> const& place() const noexcept override { return place_; }
    void read() override { on_end_(static_cast<Task&>(*this)); }

    /// Tells what it could not be told when there was no memory.
    void remind() noexcept {
        if (place_->cancel_pending()) {
            place_->notify();
        }
    }

protected:
    void emit_terminal() override { place_->cancel(asio::cancellation_type::terminal); }

private:
    std::shared_ptr<auto_reset_event> place_;
    end_handler on_end_;
};

} // namespace kgroup::detail
