// SPDX-License-Identifier: MIT

#pragma once

#include <cstddef>
#include <exception>
#include <utility>

namespace kgroup {

/// Thrown by the function of `for_each_batch`: which record of the batch has failed. Those before
/// it are done: they are marked, and do not come again. It and those behind it are tried again, in
/// order, or it alone is given up.
///
/// So throw it only when what stands before the record is stored. After a transaction that was
/// rolled back nothing is: let the exception itself out then.
///
///     throw kgroup::failed_at{index, std::current_exception()};
class failed_at : public std::exception {
public:
    /// @param index in the batch that the function was given. One that is not in it says nothing:
    ///     then no record is done.
    /// @param cause what it failed with, which is classified and comes out when the record is given
    ///     up; null: this exception itself.
    failed_at(std::size_t index, std::exception_ptr cause) noexcept
        : index_(index),
          cause_(std::move(cause)) {}

    /// The index that it was made with.
    std::size_t index() const noexcept { return index_; }
    /// The cause that it was made with; null: none.
    std::exception_ptr const& cause() const noexcept { return cause_; }
    /// A sentence for logs. The cause says more.
    char const* what() const noexcept override { return "a record of the batch has failed"; }

private:
    std::size_t index_;
    std::exception_ptr cause_;
};

} // namespace kgroup
