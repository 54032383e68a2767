// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

#include <memory>

struct one_hook {
    void fetched(kgroup::fetched_records const&) noexcept;
};

struct all_hooks : one_hook {
    void delivered(kgroup::delivered_records const&) noexcept;
    void handled(kgroup::handled_records const&) noexcept;
    void committed(kgroup::commit_observation const&) noexcept;
    void rebalance(kgroup::rebalance_observation const&) noexcept;
};

struct generic_observer {
    void handled(auto const&) noexcept;
};

struct final_observer final {
    void committed(kgroup::commit_observation const&) noexcept;
};

static_assert(kgroup::observer<one_hook>);
static_assert(kgroup::observer<all_hooks>);
static_assert(kgroup::observer<generic_observer>);
static_assert(kgroup::observer<final_observer>);
static_assert(!kgroup::observer<int>);

void use(std::shared_ptr<all_hooks> all) {
    kgroup::config given{.brokers = "b", .observer = all};
    given.observer = std::make_shared<final_observer>();
    given.observer = {};
}
