// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/consumer_group.hpp>

#ifdef KGROUP_SEPARATE_COMPILATION
#include <kgroup/detail/group/group_driver_base.hpp>

#include <asio/any_io_executor.hpp>

#include <memory>

namespace kgroup::detail {

namespace fetch {
class direct_client;
}

extern template std::shared_ptr<group_driver_base>
make_group_driver<fetch::direct_client>(asio::any_io_executor executor, config given);

} // namespace kgroup::detail
#else
#include <kgroup/detail/fetch/direct_client.hpp>
#include <kgroup/detail/group/group_driver.hpp>
#endif

namespace kgroup {

/// A member of a consumer group that fetches its records itself, on the executor that it is given,
/// and leaves the membership, commits and look-ups to librdkafka. To handlers it is the same as
/// `consumer_group`: the same promises, events, counters and state. docs/direct.md says what is
/// gained, and what to know.
///
/// *What differs.*
/// - Fetching, checksums and decompression run on the executor's threads, not on librdkafka's: the
///   first on a strand of its own, the others on the claim's strand, when it asks for records.
/// - Records are views into the broker's answer. A message that is kept pins the whole answer: up
///   to eight times as much as its partition's part of it. `message::copy` pins nothing.
/// - `config::buffer_bytes` bounds the answers of all partitions together; one batch of each claim
///   may come on top, decompressed. `config::expected_partitions` has no effect.
/// - kgroup opens connections of its own to each broker, in addition to librdkafka's, under the
///   same `client.id`.
/// - librdkafka's statistics and log show nothing of the fetching.
/// - Names of brokers are looked up on a thread of kgroup's: no look-up blocks the executor, or its
///   end.
///
/// *What is handed over.* Connections are plain ones: with TLS or SASL, and with some other
/// properties, librdkafka reads for the whole group. A claim is handed over while it runs when its
/// log holds records of a format before Kafka 0.11, or its broker cannot answer. Either is told
/// (`event_kind::handed_over`), and nothing is lost or repeated by it.
/// `group_stats::records_direct` and `records_handed_over` count what came by either way.
///
/// Needs the target `kgroup::direct`, which brings lz4, zstd, snappy and zlib, and pointers of 64
/// bits. A program that is compiled separately has `<kgroup/direct_src.hpp>` in one of its files.
using direct_consumer_group = basic_consumer_group<detail::fetch::direct_client>;

} // namespace kgroup
