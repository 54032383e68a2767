// SPDX-License-Identifier: MIT

#pragma once

/// What the other headers only declare in a program whose files define
/// `KGROUP_SEPARATE_COMPILATION`: for one file of it.
#if defined(KGROUP_INLINE) && !defined(KGROUP_SEPARATE_COMPILATION)
#error                                                                                             \
    "kgroup/src.hpp: KGROUP_SEPARATE_COMPILATION must be defined for every file of the program, before kgroup is included"
#endif
#ifndef KGROUP_SEPARATE_COMPILATION
#define KGROUP_SEPARATE_COMPILATION
#endif

#include <kgroup/config.hpp>
#include <kgroup/detail/claim/message_channel.ipp>
#include <kgroup/detail/claim/partition_state.ipp>
#include <kgroup/detail/group/group_driver.hpp>
#include <kgroup/detail/group/group_driver_base.hpp>
#include <kgroup/detail/group/session.ipp>
#include <kgroup/detail/process/batch_processor.ipp>
#include <kgroup/detail/process/record_processor.ipp>
#include <kgroup/detail/produce/dead_letter.ipp>
#include <kgroup/detail/produce/producer_engine.ipp>
#include <kgroup/detail/produce/producer_engine_client.ipp>
#include <kgroup/detail/produce/producer_engine_rounds.ipp>
#include <kgroup/detail/rdkafka/client.hpp>
#include <kgroup/detail/rdkafka/error.ipp>
#include <kgroup/detail/rdkafka/group_deletion.ipp>

#include <asio/any_io_executor.hpp>

#include <memory>

template std::shared_ptr<kgroup::detail::group_driver_base>
kgroup::detail::make_group_driver<kgroup::detail::rdkafka_client>(asio::any_io_executor executor,
                                                                  kgroup::config given);
