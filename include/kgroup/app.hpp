// SPDX-License-Identifier: MIT

#pragma once

/// The application layer: a configuration in JSON, `consumer_app`, and its state as JSON. It needs
/// nlohmann-json.
#include <kgroup/app/app_config.hpp>
#include <kgroup/app/consumer_app.hpp>
#include <kgroup/app/state_json.hpp>
