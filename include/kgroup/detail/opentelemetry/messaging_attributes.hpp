// SPDX-License-Identifier: MIT

#pragma once

#include <opentelemetry/common/attribute_value.h>
#include <opentelemetry/nostd/span.h>
#include <opentelemetry/nostd/string_view.h>

#include <array>
#include <cassert>
#include <cstddef>
#include <string_view>
#include <utility>

namespace kgroup::detail {

inline ::opentelemetry::nostd::string_view telemetry_text(std::string_view text) noexcept {
    return {text.data(), text.size()};
}

/// Attributes by the semantic conventions of OpenTelemetry, 1.44. It owns no text.
class messaging_attributes {
public:
    using value = ::opentelemetry::common::AttributeValue;
    using pair = std::pair<::opentelemetry::nostd::string_view, value>;

    /// @param operation its name.
    /// @param type of the operation, in the conventions' words; empty: they have none.
    explicit messaging_attributes(std::string_view operation, std::string_view type) noexcept {
        add_text("messaging.system", "kafka");
        add_text("messaging.operation.name", operation);
        add_text("messaging.operation.type", type);
    }

    /// Empty: left out.
    void add_text(std::string_view name, std::string_view text) noexcept {
        if (!text.empty()) {
            add(name, telemetry_text(text));
        }
    }
    void add(std::string_view name, value content) noexcept {
        assert(size_ != pairs_.size());
        pairs_[size_++] = {telemetry_text(name), content};
    }

    ::opentelemetry::nostd::span<pair const> get() const noexcept { return {pairs_.data(), size_}; }

private:
    std::array<pair, 14> pairs_{};
    std::size_t size_ = 0;
};

} // namespace kgroup::detail
