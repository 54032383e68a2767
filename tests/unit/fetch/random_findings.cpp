// SPDX-License-Identifier: MIT

#include <kgroup/detail/fetch/fetched_source.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/message_channel.hpp>
#include <kgroup/topic_partition.hpp>

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "made_batch.hpp"
#include "support/failing_allocation.hpp"
#include "support/random_script.hpp"
#include "table_scene.hpp"

// A claim reads a partition whose answers are damaged now and then, whose broker has errors, whose
// leaders are elected without asking who has which records, and whose topic is made again. Whatever
// is found when, and wherever the fetching has got to by then: what was delivered is the log of the
// leader in the end, with no gap and nothing twice on the way.
namespace random_findings_tests {
namespace {

using namespace kgroup::detail;
using namespace kgroup::detail::fetch;
using namespace kgroup::tests;
using namespace std::chrono_literals;
using kgroup::topic_partition;

topic_partition const where{"orders", 0};

struct replica {
    struct batch {
        std::int64_t base;
        std::int64_t next;
        std::string bytes;
        std::vector<std::string> values;
    };
    std::vector<batch> batches;
    std::vector<std::pair<std::int32_t, std::int64_t>> epochs; // and where they begin

    std::int64_t end() const { return batches.empty() ? 0 : batches.back().next; }
    /// As brokers answer: the last epoch up to this one, and where the next one begins.
    std::pair<std::int32_t, std::int64_t> end_of(std::int32_t epoch) const {
        std::pair<std::int32_t, std::int64_t> result{-1, -1};
        for (std::size_t i = 0; i != epochs.size() && epochs[i].first <= epoch; ++i) {
            result = {epochs[i].first, i + 1 == epochs.size() ? end() : epochs[i + 1].second};
        }
        return result;
    }
};

struct observer final : claim_observer {
    std::size_t truncations = 0;
    std::size_t topics = 0; // made again
    std::vector<std::string> failures;

    std::size_t cuts() const { return truncations + topics; }

    void mark_refused(topic_partition const&, kgroup::mark_result) noexcept override {}
    void position_moved(topic_partition const&, std::int64_t, std::int64_t) noexcept override {}
    void mark_beyond_end(topic_partition const&, std::int64_t, std::int64_t) noexcept override {}
    void released_twice(topic_partition const&) noexcept override {}
    void report_of_claim(kgroup::event told) noexcept override {
        truncations += told.kind == kgroup::event_kind::log_truncated;
        topics += told.kind == kgroup::event_kind::topic_recreated;
    }
    void partition_failed(topic_partition const&, std::error_code error,
                          std::string_view text) noexcept override {
        if (error.category() != kgroup::kafka_category()) { // a broker's is asked again
            failures.emplace_back(text);
        }
    }
};

struct requests final : claim_requests {
    partition_orders& orders;
    std::set<std::int64_t> damaged; // where it was found
    std::size_t findings = 0;
    std::size_t resets = 0;

    explicit requests(partition_orders& to) : orders(to) {}
    std::size_t share() const noexcept override { return 1 << 20; }
    void want(std::uint64_t ticket, bool more) noexcept override {
        orders.want(where, ticket, more);
    }
    void on_damaged(std::uint64_t ticket, std::uint64_t generation, std::int64_t at,
                    damage wrong) noexcept override {
        ++findings;
        if (wrong != damage::no_memory) {
            damaged.insert(at);
        }
        orders.found(where, ticket, {generation, at, wrong});
    }
    void on_old_format(std::uint64_t, std::uint64_t, std::int64_t) noexcept override {}
    void on_position_reset(std::int64_t, std::int64_t) noexcept override { ++resets; }
    void hand_over(std::uint64_t, fetch_event const&) noexcept override {}
    void hold_still() noexcept override {}
};

/// There is no memory for some of what it takes.
struct forgetful_sink final : fetch_sink {
    std::shared_ptr<fetched_source> inner;
    random_script& random;
    bool calm = false;

    forgetful_sink(std::shared_ptr<fetched_source> to, random_script& chance)
        : inner(std::move(to)),
          random(chance) {}
    void take(fetched_records records) noexcept override {
        if (!calm && random.chance(8)) {
            failing_allocation const next{1};
            inner->take(std::move(records));
        } else {
            inner->take(std::move(records));
        }
    }
    void tell(std::uint64_t ticket, fetch_event const& event) noexcept override {
        inner->tell(ticket, event);
    }
    void started_at(std::uint64_t, std::int64_t) noexcept override {}
    bool begins_again(std::uint64_t ticket, std::uint64_t generation,
                      std::int64_t at) noexcept override {
        return inner->begins_again(ticket, generation, at);
    }
};

class script {
public:
    explicit script(std::uint32_t seed) : random_(seed) {
        abilities_.diverging = !random_.chance(4);
        for (auto& one : replicas_) {
            one.epochs = {{5, 0}};
        }
        source_->restart(1, 0, -1);
        state_->start(source_, 0);
        channel_.emplace(*state_, 1 << 16);
        table_.orders.start(where, {1, 0, -1, sink_});
        table_.carry_out();
        refresh();
    }
    ~script() {
        state_->end(kgroup::end_reason::stopped);
        channel_.reset();
        source_->close();
    }
    script(script const&) = delete;
    script& operator=(script const&) = delete;

    void run() {
        for (int i = 0; i != 400; ++i) {
            step();
        }
        sink_->calm = calm_ = true;
        append();
        for (int i = 0; i != 300 && !all_read(); ++i) {
            table_.now += 1s;
            refresh();
            ask();
            table_.carry_out();
            while (!pending_.empty()) {
                answer();
            }
            receive(1000);
        }
        CHECK(all_read());
        CHECK(requests_->resets == 0);
        CHECK(observer_->failures.empty());
    }
    std::size_t findings() const { return requests_->findings; }
    std::size_t truncations() const { return observer_->truncations; }
    std::size_t topics() const { return observer_->topics; }

private:
    replica& log() { return replicas_[static_cast<std::size_t>(leader_)]; }

    void step() {
        table_.now += std::chrono::milliseconds{random_.below(200)};
        switch (random_.below(12)) {
        case 0:
        case 1:
        case 2:
            return ask();
        case 3:
        case 4:
        case 5:
            return answer();
        case 6:
            return table_.carry_out();
        case 7:
            return refresh();
        case 8:
            return receive(random_.below(20));
        case 9:
            if (random_.chance(6)) {
                return random_.chance(8) ? make_topic_again() : elect();
            }
            [[fallthrough]];
        default:
            return append();
        }
    }

    void append() {
        auto made = plain_batch(log().end(), 1 + random_.below(4));
        made.leader_epoch = epoch_;
        replica::batch added{log().end(), 0, {}, {}};
        for (auto& record : made.records) {
            record.value = std::to_string(++last_value_);
            added.values.push_back(*record.value);
        }
        added.next = added.base + static_cast<std::int64_t>(made.records.size());
        added.bytes = made.bytes();
        log().batches.push_back(std::move(added));
    }
    void elect() {
        auto& other = replicas_[static_cast<std::size_t>(1 - leader_)];
        if (random_.chance(2)) {
            other = log();
        }
        leader_ = 1 - leader_;
        ++epoch_;
        log().epochs.emplace_back(epoch_, log().end());
    }
    void make_topic_again() {
        ++topic_[0];
        leader_ = static_cast<std::int32_t>(random_.below(2));
        epoch_ = 0;
        for (auto& one : replicas_) {
            one = {{}, {{0, 0}}};
        }
    }
    void refresh() {
        auto& partition = table_.at(where);
        table_.partitions.react(partition, partition.on_metadata(leader_, epoch_, topic_));
    }
    void ask() {
        for (auto const key : {api::fetch, api::list_offsets, api::leader_epoch}) {
            for (std::int32_t broker = 0; broker != 2; ++broker) {
                for (auto const& subject : table_.ask(key, broker, abilities_).subjects) {
                    pending_.push_back({subject.question, subject.partition->topic_id()});
                }
            }
        }
    }
    void answer() {
        if (pending_.empty()) {
            return;
        }
        auto const [question, topic] = pending_.front();
        pending_.erase(pending_.begin());
        auto& partition = table_.at(where);
        std::int16_t error = 0;
        if (question.request == api::fetch && topic != topic_) {
            error = 100;
        } else if (question.broker != leader_) {
            error = 6;
        } else if (question.current_leader_epoch != epoch_) {
            error = question.current_leader_epoch < epoch_ ? 74 : 75;
        } else if (!calm_ && random_.chance(12)) {
            return table_.partitions.react(partition,
                                           partition.on_lost(question.generation, table_.now));
        }
        switch (question.request) {
        case api::fetch:
            return answer_fetch(partition, question, error);
        case api::list_offsets:
            return table_.partitions.react(
                partition, partition.on_listed(
                               question.generation, error,
                               question.timestamp == partition_fetch::earliest ? 0 : log().end(),
                               epoch_, table_.now));
        default: {
            auto const end = log().end_of(question.leader_epoch);
            return table_.partitions.react(
                partition, partition.on_epoch_end(question.generation, error, end.first, end.second,
                                                  table_.now));
        }
        }
    }
    void answer_fetch(fetched_partition& partition, partition_question const& question,
                      std::int16_t error) {
        fetch_answer::partition part;
        part.error = error;
        std::string bytes;
        if (error == 0 && !calm_ && random_.chance(10) && refused_.insert(question.offset).second) {
            part.error = 2;
        } else if (error == 0) {
            auto const end = question.last_fetched_epoch < 0
                                 ? std::pair{std::int32_t{0}, log().end()}
                                 : log().end_of(question.last_fetched_epoch);
            bool const checked = abilities_.diverging && question.last_fetched_epoch >= 0;
            if (checked && end.first < 0) {
                part.error = 1;
            } else if (checked &&
                       (end.first < question.last_fetched_epoch || end.second < question.offset)) {
                part.diverging = {end.first, end.second};
            } else if (question.offset > log().end()) {
                part.error = 1;
            } else {
                bytes = bytes_from(question.offset);
            }
        }
        part.high_watermark = part.last_stable_offset = log().end();
        part.log_start = 0;
        auto const copy = table_.memory->copy(bytes);
        part.records = copy->view();
        fetch_answer const whole;
        table_.partitions.react(
            partition, partition.take(question, whole, part, part.records, copy, table_.now));
    }
    std::string bytes_from(std::int64_t offset) {
        std::string result;
        auto most = 1 + random_.below(5);
        for (auto const& batch : log().batches) {
            if (batch.next <= offset || most == 0) {
                continue;
            }
            --most;
            auto const known = requests_->damaged.lower_bound(batch.base);
            auto const may_be_damaged =
                known == requests_->damaged.end() || *known >= batch.next; // or it is for good
            result += batch.bytes;
            if (!calm_ && may_be_damaged && random_.chance(8)) {
                result.back() = static_cast<char>(result.back() ^ 1);
            }
        }
        return result;
    }

    void receive(std::size_t most) {
        for (; most != 0; --most) {
            auto const got = channel_->try_receive();
            if (!got) {
                return;
            }
            auto const at = static_cast<std::size_t>(got->offset());
            REQUIRE(at <= delivered_.size()); // no gap
            bool const cut = observer_->cuts() != seen_cuts_;
            REQUIRE((at == delivered_.size() || cut)); // and nothing twice
            seen_cuts_ = observer_->cuts();
            delivered_.resize(at);
            delivered_.emplace_back(got->value());
        }
    }
    bool all_read() {
        std::vector<std::string> expected;
        for (auto const& batch : log().batches) {
            expected.insert(expected.end(), batch.values.begin(), batch.values.end());
        }
        return delivered_ == expected;
    }

    random_script random_;
    bool calm_ = false;
    broker_abilities abilities_;
    replica replicas_[2];
    topic_uuid topic_{1};
    std::int32_t leader_ = 0;
    std::int32_t epoch_ = 5;
    std::size_t last_value_ = 0;
    std::set<std::int64_t> refused_;
    std::vector<std::pair<partition_question, topic_uuid>> pending_; // and of which topic
    std::vector<std::string> delivered_;
    std::size_t seen_cuts_ = 0;

    asio::io_context executor_;
    table_scene table_;
    std::shared_ptr<observer> observer_ = std::make_shared<observer>();
    std::shared_ptr<requests> requests_ = std::make_shared<requests>(table_.orders);
    std::shared_ptr<partition_state> state_ = std::make_shared<partition_state>(
        where, executor_.get_executor(), kgroup::tracked_offset{-1, {}}, observer_);
    std::shared_ptr<fetched_source> source_ = std::make_shared<fetched_source>(
        *state_, fetched_source::settings{isolation::read_committed, 1 << 20}, requests_);
    std::shared_ptr<forgetful_sink> sink_ = std::make_shared<forgetful_sink>(source_, random_);
    std::optional<kgroup::message_channel> channel_;
};

TEST_CASE("whatever is found when, a claim reads the leader's log, with no gap and nothing twice") {
    std::size_t findings = 0;
    std::size_t truncations = 0;
    std::size_t topics = 0;
    auto const count = count_of_scripts(300);
    for (std::uint32_t seed = 1; seed <= count; ++seed) {
        CAPTURE(seed);
        script one{seed};
        one.run();
        findings += one.findings();
        truncations += one.truncations();
        topics += one.topics();
    }
    CHECK(findings > count);
    CHECK(truncations > count / 10);
    CHECK(topics > count / 10);
}

} // namespace
} // namespace random_findings_tests
