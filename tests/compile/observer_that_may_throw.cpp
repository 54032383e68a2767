// expect: kgroup: the observer's committed does not fit\. Write:
// void committed\(kgroup::commit_observation const&\) noexcept
// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

#include <memory>

struct throwing_observer {
    void committed(kgroup::commit_observation const&);
};

kgroup::any_observer const observer{std::make_shared<throwing_observer>()};
