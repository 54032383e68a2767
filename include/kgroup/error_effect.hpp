// SPDX-License-Identifier: MIT

#pragma once

namespace kgroup {

/// What an error means to a run of a group, and to an application around it (docs/errors.md).
enum class error_effect {
    heals,            ///< told, and tried again; the run goes on
    ends_run,         ///< the run ends when librdkafka calls it fatal; another run may succeed
    ends_application, ///< the run ends, whatever the source of the error; repetition does not help
};

} // namespace kgroup
