// SPDX-License-Identifier: MIT

#include <kgroup/detail/asio/mailbox.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <vector>

namespace {

using numbers = std::vector<int>;
using kgroup::detail::mailbox;

struct number final : mailbox::letter {
    number(int given, numbers& reader) : value(given), by(reader) {}
    void read() override { by.push_back(value); }
    int value;
    numbers& by;
};

void read_all(mailbox& from) {
    while (auto const letter = from.take()) {
        letter->read();
    }
}

} // namespace

TEST_CASE("mailbox: letters are read in order, once, also those that come between") {
    mailbox box;
    numbers read;
    CHECK_FALSE(box.take());
    CHECK(box.add(std::make_shared<number>(1, read)));
    CHECK(box.add(std::make_shared<number>(2, read)));
    box.take()->read();
    CHECK(box.add(std::make_shared<number>(3, read)));
    read_all(box);
    CHECK(box.add(std::make_shared<number>(4, read)));
    read_all(box);
    CHECK(read == numbers{1, 2, 3, 4});
}

TEST_CASE("mailbox: when it is closed nothing is added, and what was is still read") {
    mailbox box;
    numbers read;
    CHECK(box.add(std::make_shared<number>(1, read)));
    box.close();
    auto const late = std::make_shared<number>(2, read);
    CHECK_FALSE(box.add(late));
    CHECK(late.use_count() == 1);
    read_all(box);
    CHECK(read == numbers{1});
}

TEST_CASE("mailbox: what nobody has read goes with it, however much it is") {
    numbers read;
    std::weak_ptr<number> left;
    {
        mailbox box;
        for (int i = 0; i != 1000000; ++i) {
            auto const added = std::make_shared<number>(i, read);
            left = added;
            box.add(added);
        }
    }
    CHECK(left.expired());
}
