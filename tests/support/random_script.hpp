// SPDX-License-Identifier: MIT

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <iterator>
#include <random>
#include <string>

namespace kgroup::tests {

/// What a script of chance decides: the same in each run with the same seed.
class random_script {
public:
    explicit random_script(std::uint32_t seed) : random_(seed) {}

    std::size_t below(std::size_t end) { return random_() % end; }
    bool chance(std::size_t one_in) { return below(one_in) == 0; }
    template <typename T>
    T pick(std::initializer_list<T> from) {
        return *std::next(from.begin(), static_cast<std::ptrdiff_t>(below(from.size())));
    }

private:
    std::minstd_rand random_;
};

/// How many scripts are run: KGROUP_TEST_SCHEDULES, for a long run by hand.
inline std::uint32_t count_of_scripts(std::uint32_t in_general) {
    auto const* const given = std::getenv("KGROUP_TEST_SCHEDULES");
    return given ? static_cast<std::uint32_t>(std::stoul(given)) : in_general;
}

} // namespace kgroup::tests
