// SPDX-License-Identifier: MIT

#pragma once

namespace kgroup {

/// In which order `for_each` works on the records of one claim. Claims are independent: the same
/// key in two partitions is not ordered.
///
/// The promise of `by_key`: within one ownership a key's attempts never overlap and ascend; over a
/// rebalance a key may step back, to its first undone record at most, and never jumps over one.
/// After a loss, or behind an abandoned frame, the next owner may begin while the old attempt still
/// runs; for this case the function can have a fencing token (`attempt::generation`, and the
/// offset).
enum class order {
    by_partition, ///< one record after another
    by_key,       ///< records of one key one after another, different keys side by side
    unordered,    ///< all records side by side
};

} // namespace kgroup
