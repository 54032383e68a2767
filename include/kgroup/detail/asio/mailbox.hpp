// SPDX-License-Identifier: MIT

#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace kgroup::detail {

/// What somebody is told from anywhere, kept in order until he looks. Adding to it needs no memory:
/// a letter is a link of the list.
class mailbox {
public:
    class letter {
    public:
        virtual ~letter() = default;
        virtual void read() = 0;

    private:
        friend class mailbox;
        std::shared_ptr<letter> next_;
    };

    mailbox() = default;
    mailbox(mailbox const&) = delete;
    mailbox& operator=(mailbox const&) = delete;
    ~mailbox() { // without the lock, which a process that was forked may never get
        while (pop()) {
        }
    }

    /// Each letter once. false: nobody looks any more. Any thread.
    bool add(std::shared_ptr<letter> added) noexcept {
        std::lock_guard const lock{mutex_};
        if (closed_) {
            return false;
        }
        auto* const last = added.get();
        (last_ ? last_->next_ : first_) = std::move(added);
        last_ = last;
        return true;
    }

    /// The oldest one; null: there is none.
    std::shared_ptr<letter> take() noexcept {
        std::lock_guard const lock{mutex_};
        return pop();
    }

    /// What was added may still be taken.
    void close() noexcept {
        std::lock_guard const lock{mutex_};
        closed_ = true;
    }

private:
    std::shared_ptr<letter> pop() noexcept {
        auto popped = std::move(first_);
        if (popped) {
            first_ = std::move(popped->next_);
        }
        if (!first_) {
            last_ = nullptr;
        }
        return popped;
    }

    std::mutex mutex_;
    std::shared_ptr<letter> first_;
    letter* last_ = nullptr;
    bool closed_ = false;
};

} // namespace kgroup::detail
