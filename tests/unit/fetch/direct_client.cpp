// SPDX-License-Identifier: MIT

#include <kgroup/config.hpp>
#include <kgroup/detail/claim/partition_state.hpp>
#include <kgroup/detail/fetch/direct_client.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/event.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>

#include "support/failing_allocation.hpp"

namespace direct_client_tests {
namespace {

using namespace kgroup::detail;
using namespace kgroup::detail::fetch;
using kgroup::event_kind;
using kgroup::topic_partition;
using kgroup::detail::client_notice;
using kgroup::tests::failing_allocation;

/// A client whose broker does not answer, and a claim of t[0] that begins at offset 10. Nothing
/// runs but what a test calls.
struct fixture {
    fixture() {
        client->run_on(context.get_executor());
        client->start([] {});
        client->assign({{where, 10, 10, {}}}, false);
        source = std::static_pointer_cast<direct_source<rdkafka_source>>(client->open(state));
        client->seek({{where, 10, 10, {}}});
        state->start(source, 10);
    }
    ~fixture() {
        state->end(kgroup::end_reason::revoked);
        source = nullptr;
        state = nullptr;
        std::promise<void> ended;
        client->shut_down([&ended] { ended.set_value(); });
        context.run(); // the fetcher's end
        ended.get_future().wait();
    }

    /// What the fetcher does when it may not go on.
    void end_fetching(std::uint64_t ticket, fetch_event::kind why, std::int64_t from,
                      std::int16_t code = 0) {
        source->fetched()->tell(ticket, {.type = why, .from = from, .code = code});
    }
    void drain() { source->drain(state->take_block(16, 10), 1 << 20); }
    /// Those that tell who reads.
    std::optional<kgroup::event> told() {
        while (auto next = client->poll()) {
            auto* const notice = std::get_if<client_notice>(&*next);
            if (notice && notice->event.kind == event_kind::handed_over) {
                return notice->event;
            }
        }
        return std::nullopt;
    }

    asio::io_context context;
    topic_partition const where{"t", 0};
    std::optional<direct_client> client{
        kgroup::config{.brokers = "127.0.0.1:1",
                       .group_id = "group",
                       .topics = {"t"},
                       .initial_offset = kgroup::offset_reset::earliest}};
    std::shared_ptr<partition_state> state = std::make_shared<partition_state>(
        where, context.get_executor(), kgroup::tracked_offset{10, {}},
        std::weak_ptr<claim_observer>{});
    std::shared_ptr<direct_source<rdkafka_source>> source;
};

TEST_CASE("direct_client: a claim is handed over although there is no memory") {
    fixture of;
    of.end_fetching(1, fetch_event::kind::unsupported, 17, 76);
    CHECK_FALSE(of.told());
    auto& block = of.state->take_block(16, 10);
    {
        failing_allocation const next{1};
        of.source->drain(block, 1 << 20);
        CHECK_FALSE(failing_allocation::has_failed()); // it needs none
    }
    CHECK_FALSE(of.source->handed_over());
    auto const told = of.told();
    REQUIRE(told);
    CHECK(told->where == of.where);
    CHECK(told->text.find("UNSUPPORTED_COMPRESSION_TYPE") != std::string::npos);
    CHECK(of.source->handed_over());
    of.drain();
    CHECK_FALSE(of.told()); // once
}

TEST_CASE("direct_client: what was not handed over when its claim ended is not read") {
    fixture of;
    of.end_fetching(1, fetch_event::kind::old_format, 17);
    of.drain();
    of.client->unassign({of.where}, false);
    CHECK_FALSE(of.told());
}

} // namespace
} // namespace direct_client_tests
