// SPDX-License-Identifier: MIT

#pragma once

/// All that a consuming service needs, in reading order. Apart from it stand what some services
/// add: for_each.hpp and for_each_batch.hpp, producer.hpp and dead_letters.hpp, direct.hpp,
/// app/consumer_app.hpp, testing/.

#include <kgroup/claim.hpp>
#include <kgroup/config.hpp>
#include <kgroup/consumer_group.hpp>
#include <kgroup/duration_histogram.hpp>
#include <kgroup/end_reason.hpp>
#include <kgroup/error.hpp>
#include <kgroup/event.hpp>
#include <kgroup/group_state.hpp>
#include <kgroup/handler.hpp>
#include <kgroup/health.hpp>
#include <kgroup/kafka_errc.hpp>
#include <kgroup/message.hpp>
#include <kgroup/message_channel.hpp>
#include <kgroup/oauth_token.hpp>
#include <kgroup/observer.hpp>
#include <kgroup/offset_for_time.hpp>
#include <kgroup/offset_tracker.hpp>
#include <kgroup/print.hpp>
#include <kgroup/prometheus_text.hpp>
#include <kgroup/session.hpp>
#include <kgroup/timer.hpp>
#include <kgroup/topic_partition.hpp>
#include <kgroup/trace_context.hpp>
#include <kgroup/version.hpp>
