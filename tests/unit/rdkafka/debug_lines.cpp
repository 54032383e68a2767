// SPDX-License-Identifier: MIT

#include <kgroup/detail/rdkafka/debug_lines.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <string>

namespace debug_lines_tests {

using kgroup::topic_partition;
using kgroup::detail::debug_lines;
using kgroup::detail::share_name;

namespace {

topic_partition const orders0{"orders", 0};

} // namespace

TEST_CASE("debug_lines: of the membership, the newest of each facility that sounds like trouble, "
          "in their order") {
    debug_lines lines;
    CHECK(lines.about(std::nullopt).empty());
    lines.add("JOINGROUP", "[thrd:main]: JoinGroup response: Broker: Coordinator load in progress",
              true);
    lines.add("HEARTBEAT", "[thrd:main]: Heartbeat for group \"g\"", true);
    lines.add("CGRPCOORD", "[thrd:main]: FindCoordinator response error: COORDINATOR_NOT_AVAILABLE",
              true);
    lines.add("CGRPCOORD", "[thrd:main]: FindCoordinator response error: NOT_COORDINATOR", true);
    lines.add("OFFSET", "[thrd:main]: orders [0]: no current leader", false);
    CHECK(lines.about(std::nullopt) ==
          "JOINGROUP: JoinGroup response: Broker: Coordinator load in progress | "
          "CGRPCOORD: FindCoordinator response error: NOT_COORDINATOR");
    lines.clear();
    CHECK(lines.about(std::nullopt).empty());
}

TEST_CASE("debug_lines: of a partition, what names it and no other") {
    debug_lines lines;
    lines.add("OFFSET", "[thrd:main]: orders [0]: no current leader", false);
    lines.add("METADATA", "[thrd:main]:   Topic orders partition 0 Leader -1", false);
    lines.add("BROKERUA", "[thrd:main]: my.orders [0]: broker unavailable: fetch", false);
    lines.add("BROKERUA", "[thrd:main]: orders [1]: broker unavailable: fetch", false);
    lines.add("METADATA", "[thrd:main]:   Topic orders partition 01 Leader -1", false);
    lines.add("METADATA", "[thrd:main]:   Topic my.orders partition 0 Leader -1", false);
    CHECK(lines.about(orders0) ==
          "OFFSET: orders [0]: no current leader | METADATA:   Topic orders partition 0 Leader -1");
    CHECK(lines.about(topic_partition{"orders", 1}) ==
          "BROKERUA: orders [1]: broker unavailable: fetch");
    CHECK(lines.about(topic_partition{"orders", 2}).empty());
}

TEST_CASE("debug_lines: they are few and short, however many and long they come") {
    debug_lines lines;
    for (int i = 0; i != 5000; ++i) {
        lines.add("FACILITY" + std::to_string(i), "error " + std::string(999, 'a') + "\xc3\xa9",
                  true);
    }
    auto const longest = debug_lines::lines_shown * (debug_lines::longest_line + 20);
    CHECK(lines.about(std::nullopt).size() <= longest);
    CHECK(lines.about(std::nullopt).find("FACILITY4997: error") == 0);
    CHECK(lines.about(std::nullopt).ends_with("aaa..."));
    for (std::size_t ascii = 220; ascii != 240; ++ascii) { // no character is cut in two
        debug_lines cut;
        cut.add("F", "error" + std::string(ascii, 'a') + "\xc3\xa9\xc3\xa9\xc3\xa9", true);
        auto const text = cut.about(std::nullopt);
        auto const last =
            static_cast<unsigned char>(text.ends_with("...") ? text[text.size() - 4] : text.back());
        CHECK((last == 'a' || last == 0xa9));
    }
}

TEST_CASE("debug_lines: contexts are compared name by name") {
    CHECK(share_name("topic,metadata", "cgrp,topic"));
    CHECK(share_name("cgrp", "cgrp"));
    CHECK_FALSE(share_name("cgrp", "cgrps,xcgrp"));
    CHECK_FALSE(share_name("", "cgrp"));
    CHECK_FALSE(share_name("cgrp", ""));
    CHECK_FALSE(share_name("", ""));
}

} // namespace debug_lines_tests
