// SPDX-License-Identifier: MIT

#pragma once

#include <kgroup/app/json_lines.hpp>
#include <kgroup/config.hpp>
#include <kgroup/detail/config/config_check.hpp>
#include <kgroup/detail/config/utf8.hpp>
#include <kgroup/error.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h> // environ
#include <utility>
#include <vector>

namespace kgroup {

/// What `consumer_app` is told.
struct app_config {
    /// The group's configuration.
    config group{};
    /// Whether all instances share the group, and with it the records. If not, each instance makes
    /// a group of its own by a random suffix to `config::group_id`, so that each sees every record;
    /// such a group is deleted when its instance ends in order.
    bool group_id_consistent = true;
    /// The environment variables that have overridden what was read, by name.
    std::vector<std::string> overrides{};
    /// What looks like a mistake and was passed over, in words; `consumer_app` reports each as
    /// `event_kind::unsafe_setting`.
    std::vector<std::string> warnings{};
};

/// How a configuration is read.
struct app_config_options {
    /// Keys of the outermost object that are a service's own settings: left alone, whatever stands
    /// there.
    std::vector<std::string> other_keys{};
    /// Whether environment variables override what is read.
    bool environment = true;
};

namespace detail {

/// Reads an `app_config` out of JSON; every complaint names line and key, and says what was
/// expected.
class app_config_reader {
public:
    app_config_reader(std::string_view text, std::string source, app_config_options options = {})
        : text_(text),
          source_(std::move(source)),
          options_(std::move(options)) {}

    app_config read() {
        check_text();
        auto found = json_lines::of(text_, options_.other_keys);
        lines_ = std::move(found.lines);
        if (found.flaw_line != 0) {
            refuse_at(found.flaw_line, found.flaw);
        }
        auto const document =
            json::parse(text_.begin(), text_.end()); // which has been read once, and is not deep
        if (!document.is_object()) {
            refuse("", "an object was expected");
        }
        app_config result;
        std::map<std::string_view, std::string> names; // of each field, that which was used
        for (auto const& [key, value] : document.items()) {
            if (std::find(options_.other_keys.begin(), options_.other_keys.end(), key) ==
                options_.other_keys.end()) {
                note_name(names, key);
                read_field(result, key, value);
            }
        }
        if (options_.environment) {
            read_environment(result, names);
        }
        for (auto const* const required :
             {"brokers_address", "consumer_group_id", "topics", "consumer"}) {
            if (!names.contains(field_of(required))) {
                refuse(required,
                       "is missing, and KGROUP_" + upper(field_of(required)) + " is not set");
            }
        }
        if (!result.group.initial_offset) {
            refuse("consumer.offset_initial",
                   "is missing: -1 (newest) or -2 (oldest) was expected");
        }
        check_values(result.group);
        return result;
    }

private:
    using json = nlohmann::json;

    static constexpr std::array fields{"brokers_address",
                                       "brokers",
                                       "consumer_group_id",
                                       "group_id",
                                       "group_id_consistent",
                                       "topics",
                                       "consumer",
                                       "initial_offset",
                                       "initial_time",
                                       "group_instance_id",
                                       "protocol",
                                       "assignors",
                                       "auto_commit_interval",
                                       "commit_at_end",
                                       "rebalance_deadline",
                                       "commit_timeout",
                                       "close_timeout",
                                       "buffer_bytes",
                                       "expected_partitions",
                                       "on_claim_exit",
                                       "properties"};

    // Some have two names.
    static std::string_view field_of(std::string_view key) {
        return key == "brokers_address"     ? "brokers"
               : key == "consumer_group_id" ? "group_id"
               : key == "consumer"          ? "initial_offset"
                                            : key;
    }

    void check_text() const {
        if (text_.find_first_not_of(" \t\r\n") == text_.npos) {
            refuse_at(1, "not JSON: it is empty");
        }
        if (text_.starts_with("\xef\xbb\xbf")) {
            refuse_at(1, "not JSON: a byte order mark stands before it");
        }
        std::size_t line = 1;
        for (std::size_t at = 0; at < text_.size();) {
            auto const length = utf8_length(text_.substr(at));
            if (length == 0) {
                refuse_at(line, "not JSON: it is not UTF-8 (byte " + std::to_string(at + 1) + ")");
            }
            line += text_[at] == '\n' ? 1u : 0u;
            at += length;
        }
    }

    void note_name(std::map<std::string_view, std::string>& names, std::string const& key) const {
        auto const [before, added] = names.try_emplace(field_of(key), key);
        if (!added) {
            auto const line = lines_.find(before->second);
            refuse(key, "and '" + before->second + "' on line " +
                            std::to_string(line == lines_.end() ? 1 : line->second) +
                            " are two names of one field");
        }
    }

    // The environment.

    static std::string upper(std::string_view name) {
        std::string result{name};
        std::transform(result.begin(), result.end(), result.begin(),
                       [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
        return result;
    }

    void read_environment(app_config& result, std::map<std::string_view, std::string>& names) {
        constexpr std::string_view prefix{"KGROUP_"};
        std::map<std::string_view, std::string> used;
        for (auto* const* variable = environ; variable && *variable; ++variable) {
            std::string_view const entry{*variable};
            auto const name = entry.substr(0, entry.find('='));
            if (!name.starts_with(prefix) || name.size() == entry.size()) {
                continue;
            }
            auto const key = std::find_if(fields.begin(), fields.end(), [&](char const* field) {
                return upper(field) == name.substr(prefix.size());
            });
            if (key == fields.end()) {
                if (!name.starts_with("KGROUP_TEST_")) { // the project's own
                    result.warnings.push_back("environment variable " + shown(name) +
                                              " names no field of the configuration");
                }
                continue;
            }
            variable_ = name;
            if (auto const [before, added] = used.try_emplace(field_of(*key), name); !added) {
                refuse("", "it and " + before->second + " are two names of one field");
            }
            result.overrides.emplace_back(name);
            names.try_emplace(field_of(*key), *key);
            auto const value = as_json(*key, std::string{entry.substr(name.size() + 1)});
            read_field(result, *key, value);
            variable_ = {};
        }
        overrides_ = result.overrides;
    }

    // As the file would have it.
    json as_json(std::string_view key, std::string const& text) const {
        if (utf8_length(text) == 0 ||
            std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20; })) {
            return text.empty() ? json(text) : not_text(key);
        }
        auto const structured = text.front() == '[' || text.front() == '{';
        if (key == "topics" || key == "assignors" || key == "brokers_address") {
            if (!structured) {
                json list = json::array();
                for (std::size_t begin = 0; begin <= text.size();) {
                    auto const end = (std::min)(text.find(',', begin), text.size());
                    list.push_back(text.substr(begin, end - begin));
                    begin = end + 1;
                }
                return list;
            }
        } else if (key == "properties" || key == "consumer") {
            if (!structured) {
                return json(text);
            }
        } else {
            auto const number =
                text.size() < 20 &&
                std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
            auto const wants_text = key == "brokers" || key == "group_id" ||
                                    key == "consumer_group_id" || key == "group_instance_id";
            if (wants_text) {
                return json(text);
            }
            return number ? json(std::strtoull(text.c_str(), nullptr, 10))
                   : text == "true" || text == "false" ? json(text == "true")
                                                       : json(text);
        }
        if (auto const found = json_lines::of(text); found.flaw_line != 0) {
            refuse("", found.flaw);
        }
        return json::parse(text);
    }
    [[noreturn]] json not_text(std::string_view) const {
        refuse("", "a text in one line was expected");
    }

    // Complaints.

    // What has been overridden may be what is wrong.
    std::string with_overrides(std::string complaint) const {
        for (auto const& name : overrides_) {
            complaint +=
                (&name == &overrides_.front() ? " (overridden by the environment: " : ", ") + name;
        }
        return shown(overrides_.empty() ? complaint : complaint + ")");
    }
    [[noreturn]] void refuse_at(std::size_t line, std::string const& complaint) const {
        throw std::system_error{
            errc::invalid_config,
            with_overrides(source_ + ": line " + std::to_string(line) + ": " + complaint)};
    }
    [[noreturn]] void refuse(std::string const& key, std::string const& complaint) const {
        if (!variable_.empty()) {
            throw std::system_error{
                errc::invalid_config,
                shown("environment variable " + std::string{variable_} + ": " + complaint)};
        }
        auto const found = lines_.find(key);
        refuse_at(found == lines_.end() ? 1 : found->second,
                  (key.empty() ? "" : "'" + key + "' ") + complaint);
    }

    // What a group would refuse, with the line.
    void check_values(config const& group) const {
        std::string complaint;
        try {
            check(group);
            return;
        } catch (std::system_error const& e) {
            complaint = e.what();
        }
        complaint = complaint.substr(
            0, complaint.rfind(": " + std::error_code{errc::invalid_config}.message()));
        auto const field = complaint.substr(0, complaint.find(':'));
        for (auto const* const key : fields) {
            if (field_of(key) == field) {
                if (auto const found = lines_.find(key); found != lines_.end()) {
                    refuse_at(found->second, complaint);
                }
            }
        }
        refuse_at(1, complaint);
    }

    // Fields.

    void read_field(app_config& result, std::string const& key, json const& value) const {
        auto& group = result.group;
        if (key == "brokers_address") {
            std::string brokers;
            for (auto const& broker : strings(key, value)) {
                brokers += (brokers.empty() ? "" : ",") + broker;
            }
            group.brokers = std::move(brokers);
        } else if (key == "brokers") {
            group.brokers = string(key, value);
        } else if (key == "consumer_group_id" || key == "group_id") {
            group.group_id = string(key, value);
        } else if (key == "group_id_consistent") {
            result.group_id_consistent = boolean(key, value);
        } else if (key == "topics") {
            group.topics = strings(key, value);
        } else if (key == "consumer") {
            read_consumer(group, key, value);
        } else if (key == "initial_offset") {
            group.initial_offset = one_of<offset_reset>(key, value,
                                                        {{"earliest", offset_reset::earliest},
                                                         {"latest", offset_reset::latest},
                                                         {"none", offset_reset::none}});
        } else if (key == "initial_time") {
            group.initial_time = std::chrono::system_clock::time_point{} + milliseconds(key, value);
        } else if (key == "infer_new_partitions") {
            group.infer_new_partitions = boolean(key, value);
        } else if (key == "group_instance_id") {
            group.group_instance_id = string(key, value);
        } else if (key == "protocol") {
            group.protocol = one_of<group_protocol>(
                key, value,
                {{"classic", group_protocol::classic}, {"consumer", group_protocol::consumer}});
        } else if (key == "assignors") {
            group.assignors.clear();
            auto const names = strings(key, value);
            for (std::size_t i = 0; i != names.size(); ++i) {
                group.assignors.push_back(
                    one_of<assignor>(key + "[" + std::to_string(i) + "]", value[i],
                                     {{"range", assignor::range},
                                      {"roundrobin", assignor::roundrobin},
                                      {"cooperative_sticky", assignor::cooperative_sticky}}));
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
            group.on_claim_exit = one_of<claim_exit>(key, value,
                                                     {{"end_session", claim_exit::end_session},
                                                      {"keep_others", claim_exit::keep_others}});
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
        for (auto const& [name, offset] : value.items()) {
            auto const path = key + "." + name;
            if (name != "offset_initial") {
                refuse(path, "is not known");
            }
            auto const newest = offset.is_number_integer() && offset == -1;
            if (!newest && !(offset.is_number_integer() && offset == -2)) {
                refuse(path, "-1 (newest) or -2 (oldest) was expected");
            }
            group.initial_offset = newest ? offset_reset::latest : offset_reset::earliest;
        }
    }

    void read_properties(config& group, std::string const& key, json const& value) const {
        if (!value.is_object()) {
            refuse(key, "an object of librdkafka's properties was expected");
        }
        for (auto const& [name, property] : value.items()) {
            auto const path = key + "." + name;
            group.properties[name] =
                property.is_boolean()           ? (property.get<bool>() ? "true" : "false")
                : property.is_number_unsigned() ? std::to_string(property.get<std::uint64_t>())
                : property.is_number_integer()  ? std::to_string(property.get<std::int64_t>())
                                                : string(path, property);
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
        for (auto const& element : value) {
            result.push_back(string(key + "[" + std::to_string(result.size()) + "]", element));
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
        if (!value.is_number_unsigned() ||
            value.get<std::uint64_t>() > (std::numeric_limits<std::int64_t>::max)()) {
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
    T one_of(std::string const& key, json const& value,
             std::vector<std::pair<std::string_view, T>> const& known) const {
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
    app_config_options options_;
    std::map<std::string, std::size_t> lines_;
    std::string_view variable_;          // of the environment, that is read now
    std::vector<std::string> overrides_; // all that were
};

} // namespace detail

/// Reads the configuration of an application from JSON:
///
///     {"brokers_address": ["127.0.0.1:9092"],
///      "consumer_group_id": "billing", "group_id_consistent": true,
///      "topics": ["invoices"], "consumer": {"offset_initial": -2}}
///
/// `offset_initial`: -1, the newest; -2, the oldest. Any other field of `config` (but the
/// functions) may stand beside these under its own name: times in milliseconds (`initial_time`:
/// since 1970), enumerators by name, `properties` as an object. What only librdkafka can judge is
/// judged when the group is made, and some of it, as a certificate's file, when it runs.
///
/// *A service's own settings* may stand in the same text under keys that `options.other_keys`
/// names; they are left to the service, whose lines `json_line_of` finds.
///
/// *Environment.* A variable `KGROUP_<FIELD>` overrides the field, or stands for one that is
/// missing: `KGROUP_BROKERS`, `KGROUP_GROUP_ID`, `KGROUP_TOPICS`, `KGROUP_INITIAL_OFFSET`,
/// `KGROUP_CLOSE_TIMEOUT`, …: every name that the text may have, in capitals. Lists are separated
/// by commas or written as JSON, `KGROUP_PROPERTIES` is a JSON object whose properties override one
/// by one. A refusal lists the variables that were in force, by name. One that names no field is a
/// warning (`app_config::warnings`).
///
/// @param source how complaints call the text.
/// @throws std::system_error `errc::invalid_config`; `what()` names line (or variable), key, and
/// what was expected, and shows no secret: also for a key that stands twice, two names of one
/// field, a NUL, a number out of range, what is not UTF-8 or begins with a byte order mark, and
/// more than 64 objects within each other.
inline app_config parse_app_config(std::string_view json, std::string source = "configuration",
                                   app_config_options options = {}) {
    return detail::app_config_reader{json, std::move(source), std::move(options)}.read();
}

/// On which line of a JSON text a key (`a.b`) or an element of a list (`a[0]`) stands: for a
/// service's complaints about its own settings. 0: nowhere.
inline std::size_t json_line_of(std::string_view json, std::string const& path) {
    auto const found = detail::json_lines::of(json).lines;
    auto const line = found.find(path);
    return line == found.end() ? 0 : line->second;
}

/// The same from a file.
///
/// @throws std::system_error as `parse_app_config`, or with what kept the file from being read:
/// also `std::errc::file_too_large` beyond 1 MiB.
inline app_config load_app_config(std::string const& path, app_config_options options = {}) {
    constexpr std::size_t largest = 1 << 20;
    auto const fail = [&](int error) {
        throw std::system_error{error != 0 ? error : EIO, std::generic_category(),
                                detail::shown(path)};
    };
    errno = 0;
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> const file{std::fopen(path.c_str(), "rb"),
                                                               std::fclose};
    if (!file) {
        fail(errno);
    }
    std::string text(largest + 1, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file.get()));
    if (std::ferror(file.get())) {
        fail(errno);
    }
    if (text.size() > largest) {
        fail(EFBIG);
    }
    return parse_app_config(text, path, std::move(options));
}

} // namespace kgroup
