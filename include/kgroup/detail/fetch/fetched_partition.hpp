// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/detail/fetch/answer_memory.hpp>
#include <kgroup/detail/fetch/batch_walk.hpp>
#include <kgroup/detail/fetch/fetch_errors.hpp>
#include <kgroup/detail/fetch/fetch_message.hpp>
#include <kgroup/detail/fetch/fetched_records.hpp>
#include <kgroup/detail/fetch/partition_fetch.hpp>
#include <kgroup/topic_partition.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

namespace kgroup::detail::fetch {

/// A partition that is fetched for a claim: its answers become what the claim's sink is given, and
/// is told.
class fetched_partition final : public partition_fetch,
                                public std::enable_shared_from_this<fetched_partition> {
public:
    /// @param all the memory for answers, of which the partition's is a part.
    /// @throws std::bad_alloc
    fetched_partition(topic_partition const& name, fetch_settings const& settings,
                      std::shared_ptr<answer_memory> const& all)
        : partition_fetch(settings),
          name_(name),
          memory_(std::make_shared<partition_memory>(all)) {}

    topic_partition const& name() const noexcept { return name_; }
    /// Bytes of its records that live.
    std::size_t held() const noexcept { return memory_->held(); }
    /// Whether the claim has read all of them: what is held then is in its messages.
    bool all_read() const noexcept { return memory_->unread() == 0; }

    /// Begins for a claim, or goes on elsewhere; see `fetcher::start`.
    void begin(std::uint64_t ticket, std::int64_t from, std::int32_t leader_epoch,
               std::shared_ptr<fetch_sink> sink) noexcept {
        ticket_ = ticket;
        sink_ = std::move(sink);
        finds_start_ = from < 0;
        told_error_ = 0;
        told_watermarks_ = {-1, -1, -1};
        start(from, leader_epoch);
    }
    /// Stops. The sink is called no more, and released.
    void end() noexcept {
        stop();
        sink_ = nullptr;
    }

    /// Whether the claim has room for more, as it said last.
    bool claim_wants() const noexcept { return claim_wants_; }
    void claim_wants(bool more) noexcept { claim_wants_ = more; }

    /// What followed from an answer.
    void tell(fetch_event const& event) noexcept {
        if (!sink_) {
            return;
        }
        if (event.type == fetch_event::kind::topic_recreated) {
            finds_start_ = true;
        }
        sink_->tell(ticket_, event);
    }
    /// An error of metadata is told once while it lasts.
    ///
    /// @param code 0: there is none any more.
    void tell_metadata_error(std::int16_t code) noexcept {
        if (!running() || told_error_ == code) {
            return;
        }
        told_error_ = code;
        if (code != 0 && rule_of(code).tell) {
            tell({.type = fetch_event::kind::broker_error, .from = position(), .code = code});
        }
    }
    /// Where the end of the log was that the start named, once it is found.
    ///
    /// @param answered the generation of the question that was answered.
    void tell_start(std::uint64_t answered) noexcept {
        if (!finds_start_ || position() < 0 || answered != generation()) {
            return;
        }
        finds_start_ = false;
        if (sink_) {
            sink_->started_at(ticket_, position());
        }
    }

    /// The answer to a fetch. Its records are the sink's, if they count; watermarks are so, too,
    /// when they changed.
    ///
    /// @param answer to which `part` belongs.
    /// @param batches the part's records, within `bytes`.
    /// @throws std::bad_alloc; then nothing was taken, and the question is outstanding as before.
    fetch_reaction take(partition_question const& question, fetch_answer const& answer,
                        fetch_answer::partition const& part, std::string_view batches,
                        std::shared_ptr<answer_bytes> bytes, time_point now) {
        fetched_records records;
        if (!batches.empty()) {
            records.keep =
                std::make_shared<held_records>(memory_, std::move(bytes), batches.size());
            records.unread = unread_bytes{memory_, batches.size()};
            records.memory = memory_;
            auto const aborted = answer.aborted_of(part);
            records.aborted.assign(aborted.begin(), aborted.end());
        }
        auto const scan = scan_batches(batches, question.offset, part.high_watermark);
        auto const reaction = on_fetched(question.generation, part, scan, now);
        if (!sink_ || question.generation != generation()) {
            return reaction;
        }
        std::array const watermarks{high_watermark(), last_stable_offset(), log_start()};
        if (!reaction.take) {
            records.keep = nullptr;
            records.unread = {};
            records.aborted.clear();
            batches = {};
        }
        if (reaction.take || watermarks != told_watermarks_) {
            told_watermarks_ = watermarks;
            records.ticket = ticket_;
            records.generation = question.generation;
            records.bytes = batches;
            records.position = question.offset;
            records.leader_epoch = question.current_leader_epoch;
            records.next_offset = reaction.take ? scan.next_offset : question.offset;
            records.high_watermark = watermarks[0];
            records.last_stable_offset = watermarks[1];
            records.log_start = watermarks[2];
            sink_->take(std::move(records));
        }
        return reaction;
    }

    /// What the sink found when it read, if that still counts there. It may have been fetched long
    /// ago: whatever was fetched and told since is void to the sink.
    ///
    /// @param wrong none: an old format.
    fetch_reaction on_found(std::uint64_t generation, std::int64_t at, damage wrong,
                            time_point now) noexcept {
        if (!counts(generation) || !sink_ || !sink_->begins_again(ticket_, generation, at)) {
            return {};
        }
        return wrong == damage::none ? on_old_format(generation, at)
                                     : on_damaged(generation, at, wrong, now);
    }

    /// The request as a whole was answered with an error.
    ///
    /// @param code not 0.
    fetch_reaction on_refused(partition_question const& question, std::int16_t code,
                              time_point now) noexcept {
        switch (question.request) {
        case api::fetch: {
            fetch_answer::partition refused;
            refused.error = code;
            return on_fetched(question.generation, refused, {}, now);
        }
        case api::list_offsets:
            return on_listed(question.generation, code, -1, -1, now);
        case api::leader_epoch:
            return on_epoch_end(question.generation, code, -1, -1, now);
        case api::metadata:
        case api::api_versions:
            break; // asked about no partition
        }
        return {};
    }

private:
    topic_partition name_;
    std::shared_ptr<partition_memory> memory_;
    std::uint64_t ticket_ = 0;
    std::shared_ptr<fetch_sink> sink_;
    bool claim_wants_ = true;
    bool finds_start_ = false;
    std::int16_t told_error_ = 0; // of metadata, while it lasts
    std::array<std::int64_t, 3> told_watermarks_{-1, -1, -1};
};

using fetched_partitions = std::map<topic_partition, std::shared_ptr<fetched_partition>>;

} // namespace kgroup::detail::fetch
