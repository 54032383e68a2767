#pragma once

/// What the other headers only declare in a program whose files define `KGROUP_SEPARATE_COMPILATION`: for one file of it.
#if defined(KGROUP_INLINE) && !defined(KGROUP_SEPARATE_COMPILATION)
#error "kgroup/src.hpp: KGROUP_SEPARATE_COMPILATION must be defined for every file of the program, before kgroup is included"
#endif
#ifndef KGROUP_SEPARATE_COMPILATION
#define KGROUP_SEPARATE_COMPILATION
#endif

#include <kgroup/config.hpp>
#include <kgroup/detail/group_run.hpp>
#include <kgroup/detail/membership.hpp>
#include <kgroup/detail/message_channel.ipp>
#include <kgroup/detail/partition_state.ipp>
#include <kgroup/detail/process/record_processor.ipp>
#include <kgroup/detail/rdkafka_client.hpp>
#include <kgroup/detail/rdkafka_group_deletion.ipp>
#include <kgroup/detail/session.ipp>

#include <asio/any_io_executor.hpp>

#include <memory>

template std::shared_ptr<kgroup::detail::membership>
kgroup::detail::make_membership<kgroup::detail::rdkafka_client>(asio::any_io_executor executor, kgroup::config given);
