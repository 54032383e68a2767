// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/auto_reset_event.hpp>
#include <kgroup/detail/asio/mailbox.hpp>

#include <memory>
#include <utility>

namespace kgroup::detail {

/// What a group is told from anywhere: kept in order until its loop reads it, and the loop is
/// woken.
///
/// Thread safety: safe, but `take`, which is the loop's.
class group_mail {
public:
    explicit group_mail(std::shared_ptr<auto_reset_event> loop) : loop_(std::move(loop)) {}

    /// false: the run is over, and nobody reads it.
    bool send(std::shared_ptr<mailbox::letter> letter) noexcept {
        auto const added = letters_.add(std::move(letter));
        if (added) {
            loop_->notify();
        }
        return added;
    }
    /// Has the loop call `action`. What that refers to lives as long as this.
    template <typename Action>
    bool tell(Action action) {
        return send(std::make_shared<told_action<Action>>(std::move(action)));
    }

    /// The oldest letter; null: there is none.
    std::shared_ptr<mailbox::letter> take() noexcept { return letters_.take(); }
    /// What was sent may still be taken.
    void close() noexcept { letters_.close(); }

private:
    template <typename Action>
    class told_action final : public mailbox::letter {
    public:
        explicit told_action(Action action) : action_(std::move(action)) {}
        void read() override { action_(); }

    private:
        Action action_;
    };

    std::shared_ptr<auto_reset_event> loop_;
    mailbox letters_;
};

} // namespace kgroup::detail
