// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>

#include <asio/io_context.hpp>

#include <cstdio>

int main() {
    asio::io_context context;
    kgroup::config const config{
        .brokers = "127.0.0.1:1",
        .group_id = "outside",
        .topics = {"topic"},
        .initial_offset = kgroup::offset_reset::earliest,
    };
    kgroup::consumer_group group{context, config};
    group.stop();
    std::printf("a member of %s\n", config.group_id.c_str());
}
