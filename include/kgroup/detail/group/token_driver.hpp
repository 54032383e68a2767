// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/asio/clock.hpp>
#include <kgroup/detail/client/client.hpp>
#include <kgroup/detail/client/token_schedule.hpp>
#include <kgroup/detail/group/group_parts.hpp>
#include <kgroup/detail/group/token_refresher.hpp>

namespace kgroup::detail {

/// Tokens: calls the provider when `token_refresher` wants it, and gives what it brings to the
/// client.
template <client Client>
class token_driver {
public:
    token_driver(group_parts& group, Client& client) noexcept : group_(group), client_(client) {}

    /// The client wants a token.
    void wanted() {
        if (group_.tokens.wanted()) {
            call_provider();
        }
    }
    void on_time(clock::time_point now) {
        if (auto const due = group_.tokens.due(); due && *due <= now) {
            call_provider();
        }
    }

private:
    void call_provider() {
        group_.tasks.start(
            group_.run.lock(),
            group_.tokens.begin(group_.executor, [this](token_task& call) { on_ended(call); }));
    }

    void on_ended(token_task const& call) {
        if (group_.tasks.end(call)) {
            return;
        }
        auto flaw = group_.tokens.end(call);
        if (!flaw) {
            if (auto const error = client_.set_token(call.token)) {
                flaw = refused_token(error);
            }
        }
        if (flaw) {
            auto const retry_in = group_.tokens.fail(clock::now());
            group_.reporter.authentication_failed(flaw->error, flaw->reason, retry_in);
        } else if (group_.tokens.succeed() && !group_.membership.refusal()) {
            group_.reporter.token_given();
        }
    }

    group_parts& group_;
    Client& client_;
};

} // namespace kgroup::detail
