// SPDX-License-Identifier: MIT

#include <kgroup/config.hpp>

// Naming only what is needed is free of warnings.
kgroup::config const least{.brokers = "localhost:9092",
                           .group_id = "group",
                           .topics = {"topic"},
                           .initial_offset = kgroup::offset_reset::earliest};
kgroup::config const more{.brokers = "localhost:9092",
                          .group_id = "group",
                          .topics = {"topic"},
                          .initial_offset = kgroup::offset_reset::latest,
                          .commit_at_end = false,
                          .properties = {{"client.id", "me"}}};
