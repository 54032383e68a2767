// SPDX-License-Identifier: MIT

#pragma once

#include <exception>
#include <string>
#include <system_error>
#include <typeinfo>

#if __has_include(<cxxabi.h>)
#include <cstdlib>
#include <cxxabi.h>
#include <memory>
#endif

namespace kgroup::detail {

inline std::string type_name(std::type_info const& type) {
#if __has_include(<cxxabi.h>)
    auto status = 0;
    std::unique_ptr<char, decltype(&std::free)> const name{
        abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), &std::free};
    if (name) {
        return name.get();
    }
#endif
    return type.name();
}

/// "kafka:29".
inline std::string error_type(std::error_code error) {
    return std::string{error.category().name()} + ":" + std::to_string(error.value());
}

/// What kind of error it was, in so few words that one may count by them: the code of a
/// std::system_error, the class of another exception.
///
/// @param failure not null.
inline std::string error_type(std::exception_ptr const& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (std::system_error const& e) {
        return error_type(e.code());
    } catch (std::exception const& e) {
        return type_name(typeid(e));
    } catch (...) {
        return "_OTHER"; // the name that the conventions have for it
    }
}

/// What it says of itself; empty: nothing.
inline std::string error_words(std::exception_ptr const& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (std::exception const& e) {
        return e.what();
    } catch (...) {
        return {};
    }
}

} // namespace kgroup::detail
