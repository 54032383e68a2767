// SPDX-License-Identifier: MIT

#include <kgroup/detail/claim/claim_figures.hpp>

#include <doctest/doctest.h>

#include <chrono>

using namespace std::chrono_literals;

namespace claim_figures_tests {

TEST_CASE("claim_figures: a histogram that is written is read as the plain one") {
    kgroup::detail::written_histogram written;
    kgroup::duration_histogram plain;
    for (auto const length : {0ns, 99'999ns, 2'500'000ns, 2'500'001ns, 900'000'000'000ns}) {
        written.add(length);
        plain.add(length);
    }
    written.add(7ms, 3);
    for (int times = 0; times != 3; ++times) {
        plain.add(7ms);
    }
    auto const read = written.read();
    CHECK(read.counts == plain.counts);
    CHECK(read.sum == plain.sum);
    CHECK(read.count() == 8);
}

} // namespace claim_figures_tests
