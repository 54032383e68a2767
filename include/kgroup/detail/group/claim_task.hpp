// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/claim.hpp>
#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/group/claim_watch.hpp>
#include <kgroup/detail/group/user_task.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/session.hpp>

#include <asio/awaitable.hpp>
#include <asio/cancellation_type.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

namespace kgroup::detail {

/// A call of `consume_claim`.
class claim_task final : public user_task {
public:
    using end_handler = std::function<void(claim_task&)>;

    /// `on_end` is called on the group's strand.
    claim_task(std::shared_ptr<handler_binding> handler, std::shared_ptr<kgroup::session> session,
               std::shared_ptr<partition_state> owned, std::size_t block_bytes, end_handler on_end)
        : state(owned),
          handler_(std::move(handler)),
          session_(std::move(session)),
          claim_(std::move(owned), block_bytes),
          on_end_(std::move(on_end)) {}

    std::shared_ptr<partition_state> const state;
    claim_watch watch{clock::now()}; // group's strand, like the next
    std::uint64_t delivered = 0;     // at the last tick

    std::shared_ptr<auto_reset_event> const& place() const noexcept override {
        return state->place();
    }
    asio::awaitable<void> call() override { return handler_->consume_claim(*session_, claim_); }
    void leave() noexcept override {
        claim_.messages().drop_rest();
        late_messages = state->records_held();
    }
    void read() override { on_end_(*this); }

protected:
    bool gives_way() const override { return cancelled || state->ended(); }
    void emit_terminal() override { state->cancel(asio::cancellation_type::terminal); }

private:
    std::shared_ptr<handler_binding> handler_;
    std::shared_ptr<kgroup::session> session_;
    kgroup::claim claim_;
    end_handler on_end_;
};

/// The claims whose handler runs.
using running_claims = std::map<topic_partition, std::shared_ptr<claim_task>>;

} // namespace kgroup::detail
