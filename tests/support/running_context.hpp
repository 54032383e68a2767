// SPDX-License-Identifier: MIT

#pragma once

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>

#include <thread>
#include <vector>

namespace kgroup::tests {

/// An io_context that four threads run.
class running_context {
public:
    running_context() : work_(asio::make_work_guard(context)) {
        for (int i = 0; i != 4; ++i) {
            threads_.emplace_back([this] { context.run(); });
        }
    }
    ~running_context() { work_.reset(); }

    asio::io_context context;

private:
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    std::vector<std::jthread> threads_;
};

} // namespace kgroup::tests
