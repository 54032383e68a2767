#pragma once

#include <kgroup/config.hpp>
#include <kgroup/detail/json_lines.hpp>
#include <kgroup/error.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kgroup {

/// What `consumer_app` is told.
struct app_config {
    /// The group's configuration.
    config group{};
    /// Whether all instances share the group, and with it the records. If not, each instance makes a group of its own by a random suffix
    /// to `config::group_id`, so that each sees every record; such a group is deleted when its instance ends in order.
    bool group_id_consistent = true;
};

namespace detail {

/// Reads an `app_config` out of JSON; every complaint names line and key, and says what was expected.
class app_config_reader {
public:
    app_config_reader(std::string_view text, std::string source) : text_(text), source_(std::move(source)) {}

    app_config read() {
        nlohmann::json document;
        try {
            document = nlohmann::json::parse(text_.begin(), text_.end());
        } catch (nlohmann::json::parse_error const& e) {
            auto const end = text_.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(e.byte, text_.size()));
            auto const line = 1 + std::count(text_.begin(), end, '\n');
            throw std::system_error{errc::invalid_config,
                                    source_ + ": line " + std::to_string(line) + ": not JSON (byte " + std::to_string(e.byte) + ")"};
        }
        lines_ = json_lines::of(text_);
        if (!document.is_object()) {
            refuse("", "an object was expected");
        }
        app_config result;
        for (auto const& [key, value] : document.items()) {
            read_field(result, key, value);
        }
        for (auto const* const required : {"brokers_address", "consumer_group_id", "topics", "consumer"}) {
            if (!document.contains(required) && !document.contains(other_name(required))) {
                refuse(required, "is missing");
            }
        }
        if (!result.group.initial_offset) {
            refuse("consumer.offset_initial", "is missing: -1 (newest) or -2 (oldest) was expected");
        }
        return result;
    }

private:
    using json = nlohmann::json;

    static std::string other_name(std::string_view required) {
        if (required == "brokers_address") {
            return "brokers";
        }
        if (required == "consumer_group_id") {
            return "group_id";
        }
        return required == "consumer" ? "initial_offset" : "";
    }

    [[noreturn]] void refuse(std::string const& key, std::string const& what) const {
        auto const found = lines_.find(key);
        throw std::system_error{errc::invalid_config, source_ + ": line " + std::to_string(found == lines_.end() ? 1 : found->second) +
                                                          ": " + (key.empty() ? "" : "'" + key + "' ") + what};
    }

    void read_field(app_config& to, std::string const& key, json const& value) const {
        auto& group = to.group;
        if (key == "brokers_address") {
            std::string brokers;
            for (auto const& each : strings(key, value)) {
                brokers += (brokers.empty() ? "" : ",") + each;
            }
            group.brokers = std::move(brokers);
        } else if (key == "brokers") {
            group.brokers = string(key, value);
        } else if (key == "consumer_group_id" || key == "group_id") {
            group.group_id = string(key, value);
        } else if (key == "group_id_consistent") {
            to.group_id_consistent = boolean(key, value);
        } else if (key == "topics") {
            group.topics = strings(key, value);
        } else if (key == "consumer") {
            read_consumer(group, key, value);
        } else if (key == "initial_offset") {
            group.initial_offset = one_of<offset_reset>(
                key, value, {{"earliest", offset_reset::earliest}, {"latest", offset_reset::latest}, {"none", offset_reset::none}});
        } else if (key == "initial_time") {
            group.initial_time = std::chrono::system_clock::time_point{} + milliseconds(key, value);
        } else if (key == "infer_new_partitions") {
            group.infer_new_partitions = boolean(key, value);
        } else if (key == "group_instance_id") {
            group.group_instance_id = string(key, value);
        } else if (key == "protocol") {
            group.protocol = one_of<group_protocol>(
                key, value, {{"classic", group_protocol::classic}, {"consumer", group_protocol::consumer}});
        } else if (key == "assignors") {
            group.assignors.clear();
            auto const names = strings(key, value);
            for (std::size_t i = 0; i != names.size(); ++i) {
                group.assignors.push_back(one_of<assignor>(
                    key + "[" + std::to_string(i) + "]", value[i],
                    {{"range", assignor::range}, {"roundrobin", assignor::roundrobin}, {"cooperative_sticky", assignor::cooperative_sticky}}));
            }
        } else if (key == "auto_commit_interval") {
            group.auto_commit_interval = milliseconds(key, value);
        } else if (key == "commit_at_end") {
            group.commit_at_end = boolean(key, value);
        } else if (key == "rebalance_deadline") {
            group.rebalance_deadline = milliseconds(key, value);
        } else if (key == "commit_timeout") {
            group.commit_timeout = milliseconds(key, value);
        } else if (key == "close_timeout") {
            group.close_timeout = milliseconds(key, value);
        } else if (key == "buffer_bytes") {
            group.buffer_bytes = static_cast<std::size_t>(number(key, value));
        } else if (key == "expected_partitions") {
            group.expected_partitions = static_cast<std::size_t>(number(key, value));
        } else if (key == "on_claim_exit") {
            group.on_claim_exit = one_of<claim_exit>(
                key, value, {{"end_session", claim_exit::end_session}, {"keep_others", claim_exit::keep_others}});
        } else if (key == "properties") {
            read_properties(group, key, value);
        } else {
            refuse(key, "is not known");
        }
    }

    void read_consumer(config& group, std::string const& key, json const& value) const {
        if (!value.is_object()) {
            refuse(key, "an object was expected");
        }
        for (auto const& [name, each] : value.items()) {
            auto const path = key + "." + name;
            if (name != "offset_initial") {
                refuse(path, "is not known");
            }
            auto const newest = each.is_number_integer() && each == -1;
            if (!newest && !(each.is_number_integer() && each == -2)) {
                refuse(path, "-1 (newest) or -2 (oldest) was expected");
            }
            group.initial_offset = newest ? offset_reset::latest : offset_reset::earliest;
        }
    }

    void read_properties(config& group, std::string const& key, json const& value) const {
        if (!value.is_object()) {
            refuse(key, "an object of librdkafka's properties was expected");
        }
        for (auto const& [name, each] : value.items()) {
            auto const path = key + "." + name;
            group.properties[name] = each.is_boolean()          ? (each.get<bool>() ? "true" : "false")
                                     : each.is_number_integer() ? std::to_string(each.get<std::int64_t>())
                                                                : string(path, each);
        }
    }

    std::string string(std::string const& key, json const& value) const {
        if (!value.is_string() || value.get_ref<std::string const&>().empty()) {
            refuse(key, "a string that is not empty was expected");
        }
        return value.get<std::string>();
    }

    std::vector<std::string> strings(std::string const& key, json const& value) const {
        if (!value.is_array() || value.empty()) {
            refuse(key, "a list of strings that is not empty was expected");
        }
        std::vector<std::string> result;
        for (auto const& each : value) {
            result.push_back(string(key + "[" + std::to_string(result.size()) + "]", each));
        }
        return result;
    }

    bool boolean(std::string const& key, json const& value) const {
        if (!value.is_boolean()) {
            refuse(key, "true or false was expected");
        }
        return value.get<bool>();
    }

    std::int64_t number(std::string const& key, json const& value) const {
        if (!value.is_number_unsigned() || value.get<std::uint64_t>() > (std::numeric_limits<std::int64_t>::max)()) {
            refuse(key, "a whole number from 0 on was expected");
        }
        return value.get<std::int64_t>();
    }

    std::chrono::milliseconds milliseconds(std::string const& key, json const& value) const {
        if (!value.is_number_unsigned() || value.get<std::uint64_t>() > 4'000'000'000'000u) {
            refuse(key, "a number of milliseconds was expected");
        }
        return std::chrono::milliseconds{value.get<std::int64_t>()};
    }

    template <typename T>
    T one_of(std::string const& key, json const& value, std::vector<std::pair<std::string_view, T>> const& known) const {
        std::string names;
        for (auto const& [name, meaning] : known) {
            if (value.is_string() && value.get_ref<std::string const&>() == name) {
                return meaning;
            }
            names += (names.empty() ? "\"" : ", \"") + std::string{name} + "\"";
        }
        refuse(key, "one of " + names + " was expected");
    }

    std::string_view text_;
    std::string source_;
    std::map<std::string, std::size_t> lines_;
};

} // namespace detail

/// Reads the configuration of an application from JSON:
///
///     {"brokers_address": ["127.0.0.1:9092"], "consumer_group_id": "billing", "group_id_consistent": true,
///      "topics": ["invoices"], "consumer": {"offset_initial": -2}}
///
/// `offset_initial`: -1, the newest; -2, the oldest. Any other field of `config` (but the functions) may stand beside these under its own
/// name: times in milliseconds (`initial_time`: since 1970), enumerators by name, `properties` as an object. Values that only librdkafka can judge are judged when the
/// group is made.
///
/// @param source how complaints call the text.
/// @throws std::system_error `errc::invalid_config`; `what()` names line, key, and what was expected, and shows no value.
inline app_config parse_app_config(std::string_view json, std::string source = "configuration") {
    return detail::app_config_reader{json, std::move(source)}.read();
}

/// The same from a file.
///
/// @throws std::system_error as `parse_app_config`, or with what kept the file from being read.
inline app_config load_app_config(std::string const& path) {
    std::ifstream file{path, std::ios::binary};
    std::ostringstream text;
    if (!file || !(text << file.rdbuf())) {
        throw std::system_error{errno != 0 ? errno : EIO, std::generic_category(), path};
    }
    return parse_app_config(text.str(), path);
}

} // namespace kgroup
