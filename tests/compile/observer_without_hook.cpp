// expect: kgroup: the observer has no hook\. Write at least one of fetched
// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

#include <memory>

struct blind_observer {
    void handling(kgroup::handled_records const&) noexcept;
};

kgroup::any_observer const observer{std::make_shared<blind_observer>()};
