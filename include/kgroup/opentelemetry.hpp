// SPDX-License-Identifier: MIT

#pragma once

/// Metrics and spans for OpenTelemetry, over its API alone: opentelemetry-cpp 1.19 or newer. The
/// CMake target is `kgroup::opentelemetry`.
#include <kgroup/opentelemetry/operation_metrics.hpp>
#include <kgroup/opentelemetry/state_metrics.hpp>
#include <kgroup/opentelemetry/tracing.hpp>
