#pragma once

/// The application layer: a configuration in JSON, and `consumer_app`. It needs nlohmann-json.
#include <kgroup/app/app_config.hpp>
#include <kgroup/app/consumer_app.hpp>
