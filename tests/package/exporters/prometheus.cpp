// SPDX-License-Identifier: MIT

#include <kgroup/kgroup.hpp>
#include <kgroup/prometheus.hpp>

#include <asio/io_context.hpp>

#include <prometheus/exposer.h>

#include <cstdio>
#include <memory>

int main() {
    asio::io_context context;
    kgroup::consumer_group group{context,
                                 {
                                     .brokers = "127.0.0.1:1",
                                     .group_id = "outside",
                                     .topics = {"topic"},
                                     .initial_offset = kgroup::offset_reset::earliest,
                                 }};
    prometheus::Exposer exposer{"127.0.0.1:0"};
    auto const metrics =
        std::make_shared<kgroup::prometheus_collectable>([&] { return group.state(); });
    exposer.RegisterCollectable(metrics);
    std::printf("%zu families at port %d\n", metrics->Collect().size(),
                exposer.GetListeningPorts().front());
    return metrics->Collect().size() > 50 ? 0 : 1;
}
