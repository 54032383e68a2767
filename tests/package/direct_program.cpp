// SPDX-License-Identifier: MIT

#include <kgroup/direct.hpp>

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
    kgroup::direct_consumer_group group{context, config};
    group.stop();
    std::printf("a member of %s that fetches by itself\n", config.group_id.c_str());
}
