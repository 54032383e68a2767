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
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <span>
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
        for (
            auto const& [key, advice] :
            {std::pair{"brokers_address", " ('brokers' is its other name)"},
             {"consumer_group_id", " ('group_id' is its other name)"},
             {"topics", ""},
             {"initial_offset",
              R"(: "earliest", "latest" or "none" was expected (or 'consumer' with 'offset_initial'))"}}) {
            if (auto const name = find_field(key)->name; !names.contains(name)) {
                refuse(key, "is missing" + std::string{advice} + ", and KGROUP_" + upper(name) +
                                " is not set");
            }
        }
        if (!result.group.initial_offset) {
            refuse("consumer.offset_initial",
                   "is missing: -1 (newest) or -2 (oldest) was expected");
        }
        check_values(result.group);
        for (auto& [key, warning] : short_times_) {
            result.warnings.push_back(std::move(warning));
        }
        return result;
    }

private:
    using json = nlohmann::json;

    // How a variable of the environment writes a field: as it stands; as a list, with commas or as
    // JSON; as an object of JSON; as a number, a truth value or a name.
    enum class form { text, list, object, value };

    struct field {
        std::string_view key;
        std::string_view name; // in `config`, where some have two keys
        form variable;
        void (*read)(app_config_reader& self, app_config& result, std::string const& key,
                     json const& value);
    };

    static std::span<field const> fields() {
        using reader = app_config_reader;
        static constexpr field all[]{
            {"brokers_address", "brokers", form::list, read_brokers_address},
            {"brokers", "brokers", form::text, read_string<&config::brokers>},
            {"consumer_group_id", "group_id", form::text, read_string<&config::group_id>},
            {"group_id", "group_id", form::text, read_string<&config::group_id>},
            {"group_id_consistent", "group_id_consistent", form::value,
             [](reader& self, app_config& result, std::string const& key, json const& value) {
                 result.group_id_consistent = self.boolean(key, value);
             }},
            {"topics", "topics", form::list,
             [](reader& self, app_config& result, std::string const& key, json const& value) {
                 result.group.topics = self.strings(key, value);
             }},
            {"consumer", "initial_offset", form::object, read_consumer},
            {"initial_offset", "initial_offset", form::value,
             [](reader& self, app_config& result, std::string const& key, json const& value) {
                 result.group.initial_offset =
                     self.one_of<offset_reset>(key, value,
                                               {{"earliest", offset_reset::earliest},
                                                {"latest", offset_reset::latest},
                                                {"none", offset_reset::none}});
             }},
            {"initial_time", "initial_time", form::value,
             [](reader& self, app_config& result, std::string const& key, json const& value) {
                 result.group.initial_time = self.time_of_records(key, value);
             }},
            {"infer_new_partitions", "infer_new_partitions", form::value,
             read_boolean<&config::infer_new_partitions>},
            {"group_instance_id", "group_instance_id", form::text,
             read_string<&config::group_instance_id>},
            {"protocol", "protocol", form::value,
             [](reader& self, app_config& result, std::string const& key, json const& value) {
                 result.group.protocol =
                     self.one_of<group_protocol>(key, value,
                                                 {{"classic", group_protocol::classic},
                                                  {"consumer", group_protocol::consumer}});
             }},
            {"assignors", "assignors", form::list, read_assignors},
            {"auto_commit_interval", "auto_commit_interval", form::value,
             read_milliseconds<&config::auto_commit_interval>},
            {"commit_at_end", "commit_at_end", form::value, read_boolean<&config::commit_at_end>},
            {"rebalance_deadline", "rebalance_deadline", form::value,
             read_milliseconds<&config::rebalance_deadline>},
            {"commit_timeout", "commit_timeout", form::value,
             read_milliseconds<&config::commit_timeout>},
            {"close_timeout", "close_timeout", form::value,
             read_milliseconds<&config::close_timeout>},
            {"buffer_bytes", "buffer_bytes", form::value, read_size<&config::buffer_bytes>},
            {"expected_partitions", "expected_partitions", form::value,
             read_size<&config::expected_partitions>},
            {"on_claim_exit", "on_claim_exit", form::value,
             [](reader& self, app_config& result, std::string const& key, json const& value) {
                 result.group.on_claim_exit =
                     self.one_of<claim_exit>(key, value,
                                             {{"end_session", claim_exit::end_session},
                                              {"keep_others", claim_exit::keep_others}});
             }},
            {"properties", "properties", form::object, read_properties},
        };
        return all;
    }

    static field const* find_field(std::string_view key) {
        auto const all = fields();
        auto const found =
            std::find_if(all.begin(), all.end(), [&](field const& one) { return one.key == key; });
        return found == all.end() ? nullptr : &*found;
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
        auto const* const known = find_field(key);
        auto const [before, added] =
            names.try_emplace(known ? known->name : std::string_view{key}, key);
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
            auto const all = fields();
            auto const known = std::find_if(all.begin(), all.end(), [&](field const& one) {
                return upper(one.key) == name.substr(prefix.size());
            });
            if (known == all.end()) {
                if (!name.starts_with("KGROUP_TEST_")) { // the project's own
                    result.warnings.push_back("environment variable " + shown(name) +
                                              " names no field of the configuration");
                }
                continue;
            }
            variable_ = name;
            if (auto const [before, added] = used.try_emplace(known->name, name); !added) {
                refuse("", "it and " + before->second + " are two names of one field");
            }
            result.overrides.emplace_back(name);
            names.try_emplace(known->name, known->key);
            auto const value = as_json(*known, std::string{entry.substr(name.size() + 1)});
            known->read(*this, result, std::string{known->key}, value);
            variable_ = {};
        }
        overrides_ = result.overrides;
    }

    // As the file would have it.
    json as_json(field const& known, std::string const& text) const {
        if (text.empty()) {
            return json(text);
        }
        if (utf8_length(text) == 0 ||
            std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20; })) {
            refuse("", "a text in one line was expected");
        }
        auto const structured = text.front() == '[' || text.front() == '{';
        switch (known.variable) {
        case form::text:
            return json(text);
        case form::value: {
            auto const number =
                text.size() < 20 &&
                std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
            return number ? json(std::strtoull(text.c_str(), nullptr, 10))
                   : text == "true" || text == "false" ? json(text == "true")
                                                       : json(text);
        }
        case form::list:
            if (!structured) {
                json list = json::array();
                for (std::size_t begin = 0; begin <= text.size();) {
                    auto const end = (std::min)(text.find(',', begin), text.size());
                    list.push_back(text.substr(begin, end - begin));
                    begin = end + 1;
                }
                return list;
            }
            break;
        case form::object:
            if (!structured) {
                return json(text);
            }
            break;
        }
        if (auto const found = json_lines::of(text); found.flaw_line != 0) {
            refuse("", found.flaw);
        }
        return json::parse(text);
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
        auto const name = complaint.substr(0, complaint.find(':'));
        for (auto const& known : fields()) {
            if (known.name == name) {
                if (auto const found = lines_.find(std::string{known.key}); found != lines_.end()) {
                    refuse_at(found->second, complaint);
                }
            }
        }
        refuse_at(1, complaint);
    }

    // Fields.

    void read_field(app_config& result, std::string const& key, json const& value) {
        auto const* const known = find_field(key);
        if (!known) {
            refuse(key, "is not known" + advice_on(key));
        }
        known->read(*this, result, key, value);
    }

    template <std::string config::*Field>
    static void read_string(app_config_reader& self, app_config& result, std::string const& key,
                            json const& value) {
        result.group.*Field = self.string(key, value);
    }
    template <bool config::*Field>
    static void read_boolean(app_config_reader& self, app_config& result, std::string const& key,
                             json const& value) {
        result.group.*Field = self.boolean(key, value);
    }
    template <std::size_t config::*Field>
    static void read_size(app_config_reader& self, app_config& result, std::string const& key,
                          json const& value) {
        result.group.*Field = static_cast<std::size_t>(self.number(key, value));
    }
    template <auto Field>
    static void read_milliseconds(app_config_reader& self, app_config& result,
                                  std::string const& key, json const& value) {
        auto const time = self.milliseconds(key, value);
        result.group.*Field = time;
        self.note_short_time(key, time.count());
    }

    static void read_brokers_address(app_config_reader& self, app_config& result,
                                     std::string const& key, json const& value) {
        std::string brokers;
        for (auto const& broker : self.strings(key, value)) {
            brokers += (brokers.empty() ? "" : ",") + broker;
        }
        result.group.brokers = std::move(brokers);
    }

    static void read_assignors(app_config_reader& self, app_config& result, std::string const& key,
                               json const& value) {
        auto& assignors = result.group.assignors;
        assignors.clear();
        auto const names = self.strings(key, value);
        for (std::size_t i = 0; i != names.size(); ++i) {
            assignors.push_back(
                self.one_of<assignor>(key + "[" + std::to_string(i) + "]", value[i],
                                      {{"range", assignor::range},
                                       {"roundrobin", assignor::roundrobin},
                                       {"cooperative_sticky", assignor::cooperative_sticky}}));
        }
    }

    static void read_consumer(app_config_reader& self, app_config& result, std::string const& key,
                              json const& value) {
        if (!value.is_object()) {
            self.refuse(key, "an object was expected");
        }
        for (auto const& [name, offset] : value.items()) {
            auto const path = key + "." + name;
            if (name != "offset_initial") {
                self.refuse(path, "is not known: 'offset_initial' was expected");
            }
            auto const newest = offset.is_number_integer() && offset == -1;
            if (!newest && !(offset.is_number_integer() && offset == -2)) {
                self.refuse(path, "-1 (newest) or -2 (oldest) was expected");
            }
            result.group.initial_offset = newest ? offset_reset::latest : offset_reset::earliest;
        }
    }

    static void read_properties(app_config_reader& self, app_config& result, std::string const& key,
                                json const& value) {
        if (!value.is_object()) {
            self.refuse(key, "an object of librdkafka's properties was expected");
        }
        for (auto const& [name, property] : value.items()) {
            auto const path = key + "." + name;
            auto text =
                property.is_boolean()           ? (property.get<bool>() ? "true" : "false")
                : property.is_number_unsigned() ? std::to_string(property.get<std::uint64_t>())
                : property.is_number_integer()  ? std::to_string(property.get<std::int64_t>())
                                                : self.string(path, property);
            if (is_long_time(name)) {
                std::int64_t time = 0;
                auto const* const end = text.data() + text.size();
                auto const [read, error] = std::from_chars(text.data(), end, time);
                self.note_short_time(path, error == std::errc{} && read == end ? time : 0);
            }
            result.group.properties[name] = std::move(text);
        }
    }

    // What may be meant by a key that is not known.
    static std::string advice_on(std::string_view key) {
        constexpr std::pair<char const*, char const*> properties[]{
            {"bootstrap.servers", "brokers"},
            {"metadata.broker.list", "brokers"},
            {"group.id", "group_id"},
            {"group.instance.id", "group_instance_id"},
            {"group.protocol", "protocol"},
            {"auto.offset.reset", "initial_offset"},
            {"auto.commit.interval.ms", "auto_commit_interval"},
            {"partition.assignment.strategy", "assignors"}};
        auto const letters = letters_of(key);
        for (auto const& [property, name] : properties) {
            if (letters_of(property) == letters) {
                return ": '" + std::string{name} + "' is its name here";
            }
        }
        for (auto const& known : fields()) {
            if (is_near(letters_of(known.key), letters)) {
                return ": '" + std::string{known.key} + "' may be meant";
            }
        }
        return key.find('.') != key.npos
                   ? ": librdkafka's properties belong under 'properties'"
                   : ": settings of the service's own have to be named to the reader "
                     "(app_config_options::other_keys)";
    }

    // A name without what its ways of writing differ in: case, '_', '.', '-'.
    static std::string letters_of(std::string_view name) {
        auto result = upper(name);
        std::erase_if(result, [](char c) { return c == '_' || c == '.' || c == '-'; });
        return result;
    }

    // Whether two names differ in one letter at most.
    static bool is_near(std::string_view one, std::string_view other) {
        auto const shorter = (std::min)(one.size(), other.size());
        std::size_t same = 0; // at the beginning, and then at the end
        while (same != shorter && one[same] == other[same]) {
            ++same;
        }
        one.remove_prefix(same);
        other.remove_prefix(same);
        while (!one.empty() && !other.empty() && one.back() == other.back()) {
            one.remove_suffix(1);
            other.remove_suffix(1);
        }
        return one.size() <= 1 && other.size() <= 1;
    }

    // Properties of which nobody means some milliseconds; many of librdkafka's are small by nature.
    static bool is_long_time(std::string_view property) {
        constexpr std::array<std::string_view, 7> long_times{"session.timeout.ms",
                                                             "heartbeat.interval.ms",
                                                             "max.poll.interval.ms",
                                                             "socket.timeout.ms",
                                                             "socket.connection.setup.timeout.ms",
                                                             "topic.metadata.refresh.interval.ms",
                                                             "metadata.max.age.ms"};
        return std::find(long_times.begin(), long_times.end(), property) != long_times.end();
    }

    // So little that it was meant in seconds. One that comes later for the same key counts.
    void note_short_time(std::string const& key, std::int64_t milliseconds) {
        constexpr std::int64_t shortest = 100;
        short_times_.erase(key);
        if (milliseconds <= 0 || milliseconds >= shortest) {
            return; // 0 has a meaning of its own, or is refused
        }
        auto const line = lines_.find(key);
        auto const place =
            variable_.empty()
                ? source_ + ": line " + std::to_string(line == lines_.end() ? 1 : line->second)
                : "environment variable " + std::string{variable_};
        auto const number = std::to_string(milliseconds);
        short_times_[key] = shown(place + ": '" + key + "' is " + number + " milliseconds (" +
                                  number + " seconds are " + number + "000)");
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

    // Seconds would be a time in 1970, before all records.
    std::chrono::system_clock::time_point time_of_records(std::string const& key,
                                                          json const& value) const {
        if (!value.is_number_unsigned() || value.get<std::uint64_t>() < 100'000'000'000u ||
            value.get<std::uint64_t>() > 4'000'000'000'000u) {
            refuse(key, "a number of milliseconds was expected, counted from 1970: from "
                        "100000000000 (in 1973) to 4000000000000 (in 2096)");
        }
        return std::chrono::system_clock::time_point{} +
               std::chrono::milliseconds{value.get<std::int64_t>()};
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
    std::string_view variable_;                      // of the environment, that is read now
    std::vector<std::string> overrides_;             // all that were
    std::map<std::string, std::string> short_times_; // warnings, by key
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
/// since 1970, from 1973 on), enumerators by name, `properties` as an object. A time of less than
/// 100 ms where no one can mean it is a warning (`app_config::warnings`). What only librdkafka can
/// judge is judged when the group is made, and some of it, as a certificate's file, when it runs.
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
