// SPDX-License-Identifier: MIT

#pragma once

#include <exception>
#include <stdexcept>
#include <string>

namespace kgroup {

/// What a failed attempt means for its record.
enum class failure_class {
    retry,   ///< The same record may succeed later. The attempt counts.
    give_up, ///< No repetition helps: the record is given up at once.
    not_now, ///< What the function depends on is away. The attempt does not count.
};

/// Thrown by the function of `for_each`: no repetition helps, the record is given up at once.
class permanent_failure : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Thrown by the function of `for_each`: what it depends on is away for all records. The attempt
/// does not count, and the claim starts nothing new until one attempt has passed.
class not_now : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The classification of `for_each` where nothing else is given: `permanent_failure` is `give_up`,
/// `not_now` is `not_now`, everything else is `retry`. A classification of your own may handle some
/// exceptions and call this one for the rest.
///
/// @param failure not null.
inline failure_class classify_failure(std::exception_ptr const& failure) noexcept {
    try {
        std::rethrow_exception(failure);
    } catch (permanent_failure const&) {
        return failure_class::give_up;
    } catch (not_now const&) {
        return failure_class::not_now;
    } catch (...) {
        return failure_class::retry;
    }
}

} // namespace kgroup
