// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/fetch_event_text.hpp>

#include <doctest/doctest.h>

namespace fetch_event_text_tests {
namespace {

using namespace kgroup::detail::fetch;
using kind = fetch_event::kind;

TEST_CASE("fetch_event_text: places and reasons are named") {
    CHECK(to_text({.type = kind::record_unreadable, .from = 7, .wrong = damage::too_large}) ==
          "offset 7 cannot be read, and nothing behind it is: records are too large "
          "(receive.message.max.bytes)");
    CHECK(to_text({.type = kind::truncated, .from = 9, .to = 5}) ==
          "records from offset 5 on were replaced by others; reading had got to offset 9");
    CHECK(to_text({.type = kind::unsupported, .from = 9, .code = 35}) ==
          "the broker answers UNSUPPORTED_VERSION");
    CHECK(to_text({.type = kind::old_format, .from = 12}) ==
          "from offset 12 on records are in a format before Kafka 0.11");
}

} // namespace
} // namespace fetch_event_text_tests
