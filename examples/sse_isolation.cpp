// SPDX-License-Identifier: MIT

// Two groups read one topic, and neither moves the other.
//
// Five messages M1 … M5 are in partition 0 of a topic. GroupA reads M1 M2 M3, marks M3 and leaves;
// GroupB reads M1 M2, marks M2 and leaves. When they come back, each goes on where it has left off,
// and a third group still sees all five: what a group has read is an offset that belongs to (group,
// topic, partition), and reading takes nothing out of the log.
//
//     sse_isolation                                           on a Kafka embedded in this process
//     sse_isolation --brokers localhost:9092 --topic NAME     on another

#include <kgroup/kgroup.hpp>
#include <kgroup/testing/embedded_cluster.hpp>

#include <asio/thread_pool.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/kafka.hpp"

namespace {

constexpr std::int32_t story_partition = 0;
constexpr int partition_count = 5;
std::vector<std::string> const messages{"M1", "M2", "M3", "M4", "M5"};

enum class marking { nothing, last };

std::string joined(std::vector<std::string> const& words) {
    std::string all;
    for (auto const& word : words) {
        all += all.empty() ? word : " " + word;
    }
    return all;
}

/// The offset that a group has committed in the partition of the story.
std::string committed(examples::kafka const& kafka, std::string const& group,
                      std::string const& topic) {
    auto const offset = kafka.committed(group, topic, story_partition + 1).back();
    return offset ? std::to_string(*offset) : "none";
}

/// Reads so many messages, marks the last of them or nothing, and then keeps what it owns until it
/// is stopped.
class reader {
public:
    reader(std::size_t quota, marking marks) : quota_(quota), marks_(marks) {}

    asio::awaitable<void> setup(kgroup::session& session) {
        owner_.clear();
        for (auto const& where : session.claims()) {
            owner_[where.partition] = session.member_id();
        }
        co_return;
    }

    asio::awaitable<void> consume_claim(kgroup::session& session, kgroup::claim& claim) {
        while (values_.size() < quota_) {
            auto message = co_await claim.messages().async_receive();
            if (!message) {
                co_return;
            }
            values_.emplace_back(message->value());
            if (values_.size() == quota_) {
                if (marks_ == marking::last) {
                    claim.mark(*message); // and with it what came before
                }
                done_.set_value();
            }
        }
        co_await session.async_wait_stopping();
    }

    void fail(std::exception_ptr error) {
        if (values_.size() < quota_) {
            done_.set_exception(std::move(error));
        }
    }

    std::future<void> done() { return done_.get_future(); }
    std::vector<std::string> const& values() const { return values_; }
    std::map<std::int32_t, std::string> const& owner() const { return owner_; }

private:
    std::size_t quota_;
    marking marks_;
    std::promise<void> done_;
    std::vector<std::string> values_;
    std::map<std::int32_t, std::string> owner_;
};

/// One visit of a group: a member that joins when it is made, and leaves when it is told to.
class visit {
public:
    visit(asio::thread_pool& pool, std::string const& brokers, std::string const& topic,
          std::string name, std::size_t quota, marking marks)
        : name_(std::move(name)),
          handler_(quota, marks),
          done_(handler_.done()),
          group_(pool, {.brokers = brokers,
                        .group_id = name_,
                        .topics = {topic},
                        .initial_offset = kgroup::offset_reset::earliest,
                        .auto_commit_interval =
                            std::chrono::milliseconds{0}, // what is marked is committed on leaving
                        .properties = {{"client.id", name_}, {"session.timeout.ms", "6000"}}}) {
        group_.async_run(handler_, [this](std::exception_ptr error) {
            if (error) {
                handler_.fail(error);
                left_.set_exception(error);
            } else {
                left_.set_value();
            }
        });
    }
    visit(visit const&) = delete;
    visit& operator=(visit const&) = delete;
    ~visit() {
        group_.stop();
        if (gone_.valid()) {
            gone_.wait();
        }
    }

    /// Waits until it has read what it is to read.
    std::vector<std::string> const& read() {
        if (done_.wait_for(std::chrono::seconds{60}) == std::future_status::timeout) {
            throw std::runtime_error{
                name_ + " has not read what it should within a minute. Has it other members?"};
        }
        done_.get();
        return handler_.values();
    }

    /// The member of the group that owns a partition.
    std::string owner_of(std::size_t partition) const {
        auto const found = handler_.owner().find(static_cast<std::int32_t>(partition));
        return found == handler_.owner().end() ? "-" : found->second;
    }

    /// Ends when what is marked is committed and the group is left.
    void leave() {
        group_.stop();
        gone_.get();
    }

private:
    std::string name_;
    reader handler_;
    std::future<void> done_;
    std::promise<void> left_;
    std::future<void> gone_{left_.get_future()};
    kgroup::consumer_group group_;
};

/// What there is of the topic and of the groups at this moment; with a visit, a group has members.
void show(examples::kafka const& kafka, std::string const& topic, std::string const& title,
          std::vector<std::pair<std::string, visit const*>> const& groups) {
    auto const row = [](auto const& partition, auto const& leader, auto const& group,
                        auto const& committed, auto const& end, auto const& lag,
                        auto const& owner) {
        std::cout << std::left << std::setw(11) << partition << std::setw(8) << leader
                  << std::setw(8) << group << std::right << std::setw(9) << committed
                  << std::setw(9) << end << std::setw(5) << lag << "  " << owner << '\n';
    };
    auto const partitions = kafka.partitions(topic);
    std::cout << '\n' << title << ":\n";
    row("partition", "leader", "group", "committed", "log end", "lag", "owner");
    for (auto const& [group, members] : groups) {
        auto const committed = kafka.committed(group, topic, partitions.size());
        for (std::size_t i = 0; i != partitions.size(); ++i) {
            auto const offset = committed[i];
            row(i, partitions[i].leader, group, offset ? std::to_string(*offset) : "-",
                partitions[i].log_end,
                offset ? std::to_string(partitions[i].log_end - *offset) : "-",
                members ? members->owner_of(i) : "-");
        }
    }
    std::cout << std::endl;
}

void tell(examples::kafka& kafka, std::string const& brokers, std::string const& topic) {
    asio::thread_pool pool{1};
    auto const visit_of = [&](std::string const& group, std::size_t quota, marking marks) {
        return std::make_unique<visit>(pool, brokers, topic, group, quota, marks);
    };

    kafka.produce(topic, story_partition, messages);
    show(kafka, topic, "Nobody has read anything", {{"GroupA", nullptr}, {"GroupB", nullptr}});

    {
        auto const a = visit_of("GroupA", 3, marking::last);
        auto const values = a->read();
        show(kafka, topic, "GroupA has read " + joined(values),
             {{"GroupA", a.get()}, {"GroupB", nullptr}});
        a->leave();
        std::cout << "GroupA marked " << values.back() << ", committed offset "
                  << committed(kafka, "GroupA", topic) << std::endl;
    }
    {
        auto const b = visit_of("GroupB", 2, marking::last);
        auto const values = b->read();
        show(kafka, topic, "GroupB has read " + joined(values),
             {{"GroupA", nullptr}, {"GroupB", b.get()}});
        b->leave();
        std::cout << "GroupB marked " << values.back() << ", committed offset "
                  << committed(kafka, "GroupB", topic) << std::endl;
    }
    {
        auto const a = visit_of("GroupA", 1, marking::nothing);
        auto const b = visit_of("GroupB", 1, marking::nothing);
        auto const values_a = a->read();
        auto const values_b = b->read();
        show(kafka, topic, "Both groups are back", {{"GroupA", a.get()}, {"GroupB", b.get()}});
        std::cout << "GroupA resumes at " << values_a.front() << '\n'
                  << "GroupB resumes at " << values_b.front() << std::endl;
        a->leave();
        b->leave();
    }
    {
        auto const c = visit_of("GroupC", messages.size(), marking::last);
        auto const values = c->read();
        c->leave();
        show(kafka, topic, "GroupC, which came last, has read " + joined(values),
             {{"GroupA", nullptr}, {"GroupB", nullptr}, {"GroupC", nullptr}});
        std::cout << topic << '[' << story_partition << "] still holds " << joined(values)
                  << std::endl;
    }
}

} // namespace

int main(int argc, char** argv) try {
    std::string brokers;
    std::string topic = "SSEMsgTopic";
    CLI::App options{"Two groups read one topic, and neither moves the other."};
    options.add_option("--brokers", brokers,
                       "HOST:PORT,... of a Kafka; without it, one embedded in this process");
    options.add_option("--topic", topic, "a topic that is empty, or is not there and will be made")
        ->capture_default_str();
    try {
        options.parse(argc, argv);
    } catch (CLI::CallForHelp const& help) {
        return options.exit(help);
    } catch (CLI::ParseError const& error) {
        std::cerr << error.what()
                  << "\nusage: sse_isolation [--brokers HOST:PORT,...] [--topic NAME]\n";
        return 2;
    }

    std::optional<kgroup::testing::embedded_cluster> embedded;
    if (brokers.empty()) {
        brokers = embedded.emplace(3).brokers();
        std::cout
            << "On an embedded Kafka of three brokers; its groups take some seconds to form.\n";
    }
    examples::kafka kafka{brokers};
    if (embedded) {
        embedded->create_topic(topic, partition_count);
    } else if (kafka.partitions(topic).empty()) {
        kafka.create_topic(topic, partition_count);
    }
    auto const partitions = kafka.partitions(topic);
    if (std::any_of(partitions.begin(), partitions.end(),
                    [](auto const& partition) { return partition.log_end != 0; })) {
        throw std::runtime_error{
            "The topic " + topic +
            " holds messages, or has held some, and the story begins with an empty one. "
            "Choose another with --topic NAME"};
    }
    tell(kafka, brokers, topic);
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
