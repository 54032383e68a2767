// SPDX-License-Identifier: MIT

// Watches a consumer group from outside, whatever client its members use: members, assignment,
// committed offsets, ends of the logs, lag, rates, and how long a backlog still takes.
//
//     examples/run watch --brokers HOST:PORT --group NAME [--once] [--json]

#include <kgroup/app/state_json.hpp>

#include <CLI/CLI.hpp>
#include <librdkafka/rdkafka.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;

template <auto Destroy>
struct deleter {
    void operator()(auto* owned) const noexcept { Destroy(owned); }
};
using client_handle = std::unique_ptr<rd_kafka_t, deleter<rd_kafka_destroy>>;
using partition_list = std::unique_ptr<rd_kafka_topic_partition_list_t,
                                       deleter<rd_kafka_topic_partition_list_destroy>>;
using place = std::pair<std::string, std::int32_t>;

constexpr int timeout_ms = 10'000;

void check(rd_kafka_resp_err_t error, std::string const& doing) {
    if (error) {
        throw std::runtime_error{doing + ": " + rd_kafka_err2str(error)};
    }
}

/// So much a second, over some seconds: commits come in steps.
class smooth_rate {
public:
    void see(double more, double seconds) {
        auto const current = more / seconds;
        value_ = known_ ? value_ + (current - value_) * (1 - std::exp(-seconds / 5)) : current;
        known_ = true;
    }
    double value() const { return value_; }

private:
    double value_ = 0;
    bool known_ = false;
};

struct member_row {
    std::string id;
    std::string client;
    std::string host;
    std::vector<place> partitions;
};

struct partition_row {
    std::string member; // empty: nobody has it
    std::int64_t committed = -1;
    std::int64_t log_end = -1;
    std::int64_t lag = -1;
    smooth_rate rate; // of what is committed
};

struct view {
    std::chrono::system_clock::time_point at{};
    std::string state;
    std::string assignor;
    std::vector<member_row> members;
    std::string members_hidden; // why they cannot be seen; empty: they are all there
    std::map<place, partition_row> partitions;

    std::int64_t lag() const {
        std::int64_t sum = 0;
        for (auto const& [where, row] : partitions) {
            sum += (std::max<std::int64_t>)(row.lag, 0);
        }
        return sum;
    }
    double rate() const {
        double sum = 0;
        for (auto const& [where, row] : partitions) {
            sum += row.rate.value();
        }
        return sum;
    }
};

/// Asks the brokers. It names the group without joining it, so it disturbs nobody.
class group_watch {
public:
    group_watch(std::string const& brokers, std::string group) : group_(std::move(group)) {
        auto* const conf = rd_kafka_conf_new();
        char text[512];
        for (auto const& [name, value] :
             {std::pair<char const*, std::string>{"bootstrap.servers", brokers},
              {"group.id", group_},
              {"client.id", "kgroup-watch"},
              {"log_level", "0"}}) {
            if (rd_kafka_conf_set(conf, name, value.c_str(), text, sizeof text)) {
                rd_kafka_conf_destroy(conf);
                throw std::runtime_error{text};
            }
        }
        client_.reset(rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text));
        if (!client_) {
            rd_kafka_conf_destroy(conf);
            throw std::runtime_error{text};
        }
    }

    view look() {
        view now;
        describe(now);
        if (known_.empty()) { // a group without members has its offsets still
            known_ = all_partitions();
        }
        for (auto const& member : now.members) {
            for (auto const& where : member.partitions) {
                known_.insert(where);
                now.partitions[where].member = member.id;
            }
        }
        read_offsets(now);
        look_for_hidden_members(now);
        now.at = std::chrono::system_clock::now();
        auto const seconds = std::chrono::duration<double>(now.at - before_.at).count();
        for (auto& [where, row] : now.partitions) {
            row.lag = row.log_end < 0 || row.committed < 0
                          ? -1
                          : (std::max<std::int64_t>)(row.log_end - row.committed, 0);
            if (auto const found = before_.partitions.find(where);
                found != before_.partitions.end() && found->second.committed >= 0) {
                row.rate = found->second.rate;
                row.rate.see(
                    (std::max)(static_cast<double>(row.committed - found->second.committed), 0.0),
                    seconds);
            }
        }
        before_ = now;
        return now;
    }

private:
    void describe(view& now) {
        std::unique_ptr<rd_kafka_queue_t, deleter<rd_kafka_queue_destroy>> const queue{
            rd_kafka_queue_new(client_.get())};
        std::unique_ptr<rd_kafka_AdminOptions_t, deleter<rd_kafka_AdminOptions_destroy>> const
            options{
                rd_kafka_AdminOptions_new(client_.get(), RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS)};
        char text[256];
        rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout_ms, text, sizeof text);
        char const* names[] = {group_.c_str()};
        rd_kafka_DescribeConsumerGroups(client_.get(), names, 1, options.get(), queue.get());
        std::unique_ptr<rd_kafka_event_t, deleter<rd_kafka_event_destroy>> const event{
            rd_kafka_queue_poll(queue.get(), timeout_ms + 5000)};
        if (!event) {
            throw std::runtime_error{"describing the group: no answer"};
        }
        check(rd_kafka_event_error(event.get()), "describing the group");
        std::size_t count = 0;
        auto const* const* const groups = rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(event.get()), &count);
        if (count == 0) {
            return;
        }
        auto const& group = *groups[0];
        if (auto const* const error = rd_kafka_ConsumerGroupDescription_error(&group)) {
            now.state = rd_kafka_error_string(error);
            return;
        }
        now.state =
            rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupDescription_state(&group));
        if (auto const* const name = rd_kafka_ConsumerGroupDescription_partition_assignor(&group)) {
            now.assignor = name;
        }
        for (std::size_t i = 0; i != rd_kafka_ConsumerGroupDescription_member_count(&group); ++i) {
            auto const* const member = rd_kafka_ConsumerGroupDescription_member(&group, i);
            auto& row = now.members.emplace_back();
            row.id = rd_kafka_MemberDescription_consumer_id(member);
            row.client = rd_kafka_MemberDescription_client_id(member);
            row.host = rd_kafka_MemberDescription_host(member);
            auto const* const assignment = rd_kafka_MemberDescription_assignment(member);
            auto const* const owned =
                assignment ? rd_kafka_MemberAssignment_partitions(assignment) : nullptr;
            for (int at = 0; owned && at != owned->cnt; ++at) {
                row.partitions.emplace_back(owned->elems[at].topic, owned->elems[at].partition);
            }
        }
        std::ranges::sort(now.members, {}, &member_row::id);
    }

    // A group of the new protocol is dead to the request that librdkafka has for the old one. One
    // that is dead indeed has no offsets.
    static void look_for_hidden_members(view& now) {
        constexpr int describes_new_protocol = 0x020a0000;
        auto const commits = [](auto const& row) { return row.second.committed >= 0; };
        if (now.state == "Dead" && rd_kafka_version() < describes_new_protocol &&
            std::ranges::any_of(now.partitions, commits)) {
            now.state = "state not known";
            now.members_hidden =
                std::string{"its protocol is the new one (KIP-848), and librdkafka "} +
                rd_kafka_version_str() + " cannot ask who its members are; 2.10 and newer can";
        }
    }

    std::set<place> all_partitions() {
        struct rd_kafka_metadata const* found = nullptr;
        check(rd_kafka_metadata(client_.get(), 1, nullptr, &found, timeout_ms), "topics");
        std::unique_ptr<struct rd_kafka_metadata const, deleter<rd_kafka_metadata_destroy>> const
            metadata{found};
        std::set<place> all;
        for (int topic = 0; topic != metadata->topic_cnt; ++topic) {
            auto const& seen = metadata->topics[topic];
            for (int i = 0; i != seen.partition_cnt; ++i) {
                all.emplace(seen.topic, seen.partitions[i].id);
            }
        }
        return all;
    }

    void read_offsets(view& now) {
        partition_list const asked{
            rd_kafka_topic_partition_list_new(static_cast<int>(known_.size()))};
        for (auto const& [topic, partition] : known_) {
            rd_kafka_topic_partition_list_add(asked.get(), topic.c_str(), partition);
        }
        check(rd_kafka_committed(client_.get(), asked.get(), timeout_ms), "committed offsets");
        partition_list const ends{rd_kafka_topic_partition_list_new(asked->cnt)};
        for (int i = 0; i != asked->cnt; ++i) {
            auto const& answer = asked->elems[i];
            place const where{answer.topic, answer.partition};
            if (answer.offset < 0 && !now.partitions.contains(where)) {
                known_.erase(where); // it is not this group's
                continue;
            }
            now.partitions[where].committed = answer.offset < 0 ? -1 : answer.offset;
            rd_kafka_topic_partition_list_add(ends.get(), answer.topic, answer.partition)->offset =
                RD_KAFKA_OFFSET_END;
        }
        if (ends->cnt == 0) {
            return;
        }
        check(rd_kafka_offsets_for_times(client_.get(), ends.get(), timeout_ms),
              "ends of the logs");
        for (int i = 0; i != ends->cnt; ++i) {
            auto const& answer = ends->elems[i];
            if (!answer.err && answer.offset >= 0) {
                now.partitions[{answer.topic, answer.partition}].log_end = answer.offset;
            }
        }
    }

    std::string group_;
    client_handle client_;
    std::set<place> known_;
    view before_;
};

/// How a backlog drains: from the most that was seen of it.
class drain_progress {
public:
    void see(view const& now) {
        auto const lag = now.lag();
        if (lag == 0 || lag > most_) {
            most_ = lag;
        }
        if (last_lag_ >= 0) {
            speed_.see(static_cast<double>(last_lag_ - lag),
                       std::chrono::duration<double>(now.at - last_at_).count());
        }
        last_lag_ = lag;
        last_at_ = now.at;
    }
    double done() const {
        return most_ == 0 ? 1 : 1 - static_cast<double>(last_lag_) / static_cast<double>(most_);
    }
    /// nullopt: it does not drain.
    std::optional<std::chrono::seconds> left() const {
        if (last_lag_ == 0) {
            return 0s;
        }
        if (speed_.value() < 0.5) {
            return std::nullopt;
        }
        return std::chrono::seconds{
            static_cast<std::int64_t>(static_cast<double>(last_lag_) / speed_.value() + 0.5)};
    }

private:
    std::int64_t most_ = 0;
    std::int64_t last_lag_ = -1;
    smooth_rate speed_; // records, less what comes
    std::chrono::system_clock::time_point last_at_{};
};

nlohmann::json json_of(view const& now, std::string const& group) {
    auto const offset = [](std::int64_t known) {
        return known < 0 ? nlohmann::json{} : nlohmann::json(known);
    };
    nlohmann::json members; // null: they cannot be seen
    if (now.members_hidden.empty()) {
        members = nlohmann::json::array();
    }
    for (auto const& member : now.members) {
        members.push_back({{"id", member.id},
                           {"client", member.client},
                           {"host", member.host},
                           {"partitions", member.partitions.size()}});
    }
    auto partitions = nlohmann::json::array();
    for (auto const& [where, row] : now.partitions) {
        partitions.push_back({{"topic", where.first},
                              {"partition", where.second},
                              {"member", row.member},
                              {"committed", offset(row.committed)},
                              {"log_end", offset(row.log_end)},
                              {"lag", offset(row.lag)},
                              {"rate", row.rate.value()}});
    }
    return {{"group", group},
            {"state", now.state},
            {"assignor", now.assignor},
            {"members", members},
            {"partitions", partitions},
            {"lag", now.lag()},
            {"rate", now.rate()},
            {"at", kgroup::detail::json_time(now.at)},
            {"librdkafka", rd_kafka_version_str()},
            {"members_hidden", now.members_hidden}};
}

std::string text_of(view const& now, std::string const& group, drain_progress const& progress) {
    std::ostringstream out;
    out << "group " << group << "   " << (now.state.empty() ? "unknown" : now.state);
    if (!now.assignor.empty()) {
        out << ", " << now.assignor;
    }
    out << "   "
        << (now.members_hidden.empty() ? std::to_string(now.members.size()) + " members"
                                       : "members not known")
        << ", " << now.partitions.size() << " partitions, lag " << now.lag() << ", "
        << std::llround(now.rate()) << " records/s committed\n";
    if (now.lag() != 0) {
        constexpr int width = 50;
        auto const full = static_cast<int>(progress.done() * width);
        out << '[' << std::string(static_cast<std::size_t>(full), '#')
            << std::string(static_cast<std::size_t>(width - full), '.') << "] "
            << std::lround(progress.done() * 100) << " %, ";
        if (auto const left = progress.left()) {
            out << left->count() / 60 << " min " << left->count() % 60 << " s left\n";
        } else {
            out << "does not drain\n";
        }
    }
    out << "\n  topic[partition]                   committed      log end          lag  records/s  "
           "member\n";
    for (auto const& [where, row] : now.partitions) {
        auto const offset = [](std::int64_t known) {
            return known < 0 ? std::string{"-"} : std::to_string(known);
        };
        out << "  " << std::left << std::setw(32)
            << where.first + "[" + std::to_string(where.second) + "]" << std::right << std::setw(13)
            << offset(row.committed) << std::setw(13) << offset(row.log_end) << std::setw(13)
            << offset(row.lag) << std::setw(11) << std::llround(row.rate.value()) << "  "
            << (!row.member.empty()          ? row.member
                : now.members_hidden.empty() ? "-"
                                             : "?")
            << '\n';
    }
    out << '\n';
    if (!now.members_hidden.empty()) {
        out << "  The members are not shown: " << now.members_hidden << ".\n";
    }
    for (auto const& member : now.members) {
        out << "  " << member.id << "  " << member.host << "  " << member.partitions.size()
            << " partitions\n";
    }
    return out.str();
}

} // namespace

int main(int argc, char** argv) try {
    std::string brokers;
    std::string group;
    auto once = false;
    auto json = false;
    CLI::App options{"Watches a consumer group, whatever client its members use."};
    options.add_option("--brokers", brokers, "HOST:PORT,...")->required();
    options.add_option("--group", group, "the group's name")->required();
    options.add_flag("--once", once, "look once, and end");
    options.add_flag("--json", json, "a line of JSON a look");
    try {
        options.parse(argc, argv);
    } catch (CLI::CallForHelp const& help) {
        return options.exit(help);
    } catch (CLI::ParseError const& error) {
        std::cerr << error.what()
                  << "\nusage: watch --brokers HOST:PORT,... --group NAME [--once] [--json]\n";
        return 2;
    }

    group_watch watch{brokers, group};
    drain_progress progress;
    for (;;) {
        auto const now = watch.look();
        progress.see(now);
        if (json) {
            std::cout << json_of(now, group)
                             .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                      << std::endl;
        } else {
            std::cout << (once ? "" : "\x1b[H\x1b[J") << text_of(now, group, progress)
                      << std::flush;
        }
        if (once) {
            return 0;
        }
        std::this_thread::sleep_for(1s);
    }
} catch (std::exception const& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
