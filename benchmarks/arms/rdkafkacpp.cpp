// SPDX-License-Identifier: MIT

// librdkafka's own C++ interface: the blocking consume() loop its documentation shows. --mode is
// not used.
#include <librdkafka/rdkafkacpp.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "arm.h"

namespace {

constexpr int idle_wait_ms = 100;
constexpr int clock_interval = 1024;

class member : public RdKafka::RebalanceCb {
public:
    explicit member(arm_options const& options)
        : options_(options),
          tally_(arm_tally_for(&options, 1)),
          next_offsets_(static_cast<std::size_t>(options.partitions), -1),
          last_commit_(std::chrono::steady_clock::now()) {
        std::unique_ptr<RdKafka::Conf> const conf(
            RdKafka::Conf::create(RdKafka::Conf::CONF_GLOBAL));
        set(*conf, "bootstrap.servers", options.brokers);
        set(*conf, "group.id", options.group);
        set(*conf, "auto.offset.reset", "earliest");
        set(*conf, "enable.auto.commit", "false");
        set(*conf, "enable.auto.offset.store", "false");
        for (std::size_t index = 0; index < options.property_count; ++index)
            set(*conf, options.properties[index].name, options.properties[index].value);
        std::string error;
        if (conf->set("rebalance_cb", static_cast<RdKafka::RebalanceCb*>(this), error) !=
            RdKafka::Conf::CONF_OK)
            arm_fail("rebalance_cb", error.c_str());
        consumer_.reset(RdKafka::KafkaConsumer::create(conf.get(), error));
        if (!consumer_)
            arm_fail("KafkaConsumer::create", error.c_str());
    }

    void run() {
        consumer_->subscribe({options_.topic});
        while (!finished()) {
            std::unique_ptr<RdKafka::Message> const message(consumer_->consume(idle_wait_ms));
            if (message->err() == RdKafka::ERR_NO_ERROR)
                take(*message);
            else if (message->err() == RdKafka::ERR__TIMED_OUT)
                commit_when_due();
            else
                std::fprintf(stderr, "consume: %s\n", message->errstr().c_str());
        }
        consumer_->close();
        std::string const client = "librdkafka++ " + RdKafka::version_str();
        arm_print_result(client.c_str(), &tally_, 1);
        arm_write_samples(&options_, &tally_, 1);
    }

    void rebalance_cb(RdKafka::KafkaConsumer* consumer, RdKafka::ErrorCode error,
                      std::vector<RdKafka::TopicPartition*>& partitions) override {
        if (error == RdKafka::ERR__ASSIGN_PARTITIONS) {
            consumer->assign(partitions);
            arm_print_assigned(partitions.size());
            return;
        }
        commit_marks(true);
        consumer->unassign();
    }

private:
    static void set(RdKafka::Conf& conf, std::string const& name, std::string const& value) {
        std::string error;
        if (conf.set(name, value, error) != RdKafka::Conf::CONF_OK)
            arm_fail(name.c_str(), error.c_str());
    }

    bool finished() const {
        return arm_interrupted != 0 ||
               (options_.messages > 0 && tally_.messages >= options_.messages);
    }

    void take(RdKafka::Message const& message) {
        arm_take(&tally_, message.payload(), message.len(), message.partition(), message.offset());
        next_offsets_[static_cast<std::size_t>(message.partition())] = message.offset() + 1;
        if (tally_.messages % clock_interval == 0)
            commit_when_due();
    }

    void commit_when_due() {
        auto const now = std::chrono::steady_clock::now();
        if (now - last_commit_ < std::chrono::seconds(1))
            return;
        last_commit_ = now;
        commit_marks(false);
        arm_print_progress(tally_.messages);
    }

    void commit_marks(bool wait) {
        std::vector<std::unique_ptr<RdKafka::TopicPartition>> owned;
        std::vector<RdKafka::TopicPartition*> offsets;
        for (std::size_t partition = 0; partition < next_offsets_.size(); ++partition) {
            if (next_offsets_[partition] < 0)
                continue;
            owned.emplace_back(RdKafka::TopicPartition::create(
                options_.topic, static_cast<int>(partition), next_offsets_[partition]));
            offsets.push_back(owned.back().get());
            next_offsets_[partition] = -1;
        }
        if (offsets.empty())
            return;
        RdKafka::ErrorCode const error =
            wait ? consumer_->commitSync(offsets) : consumer_->commitAsync(offsets);
        if (error != RdKafka::ERR_NO_ERROR)
            std::fprintf(stderr, "commit: %s\n", RdKafka::err2str(error).c_str());
    }

    arm_options options_;
    arm_tally tally_;
    std::vector<std::int64_t> next_offsets_;
    std::chrono::steady_clock::time_point last_commit_;
    std::unique_ptr<RdKafka::KafkaConsumer> consumer_;
};

} // namespace

int main(int argc, char** argv) {
    arm_options const options = arm_parse(argc, argv);
    std::signal(SIGTERM, arm_on_signal);
    member(options).run();
    return 0;
}
