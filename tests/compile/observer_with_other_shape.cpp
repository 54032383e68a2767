// expect: kgroup: the observer's handled does not fit\. Write:
// void handled\(kgroup::handled_records const&\) noexcept
// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

#include <memory>

struct eager_observer {
    void delivered(kgroup::delivered_records const&) noexcept;
    void handled(int milliseconds) noexcept;
};

kgroup::any_observer const observer{std::make_shared<eager_observer>()};
