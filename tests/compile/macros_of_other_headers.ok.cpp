// SPDX-License-Identifier: MIT

// Macros that <windows.h> and other old headers define: whoever includes those before kgroup can
// use it all the same.

#include <asio.hpp>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <nlohmann/json.hpp>

#if __has_include(                                                                                 \
    <lz4frame.h>) && __has_include(<snappy.h>) && __has_include(<zlib.h>) && __has_include(<zstd.h>)
#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <climits>
#include <compare>
#include <concepts>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <optional>
#include <queue>
#include <random>
#include <ranges>
#include <regex.h>
#include <set>
#include <shared_mutex>
#include <span>
#include <sstream>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unistd.h>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>
#if __has_include(<prometheus/collectable.h>)
#include <prometheus/client_metric.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#endif

// <windows.h>, as it is without NOMINMAX
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
// <rpcndr.h>, <minwindef.h>, <combaseapi.h>, <winnt.h>, <wingdi.h>, <winerror.h>, <winuser.h>,
// <winbase.h>
#define small char
#define hyper __int64
#define near
#define far
#define pascal __stdcall
#define cdecl __cdecl
#define interface struct
#define IN
#define OUT
#define OPTIONAL
#define CONST const
#define VOID void
#define THIS
#define TRUE 1
#define FALSE 0
#define STRICT 1
#define CALLBACK __stdcall
#define DELETE (0x00010000L)
#define ERROR 0
#define NO_ERROR 0L
#define ABSOLUTE 1
#define RELATIVE 2
#define OPAQUE 2
#define TRANSPARENT 1
#define PASSTHROUGH 19
#define DIFFERENCE 11
#define Yield()
#define GetMessage GetMessageA
#define SendMessage SendMessageA
#define PostMessage PostMessageA
#define CreateEvent CreateEventA
#define ReportEvent ReportEventA
#define GetObject GetObjectA
#define CopyFile CopyFileA
#define DeleteFile DeleteFileA
// <winsock.h>
#define h_addr h_addr_list[0]
#define s_host S_un.S_un_b.s_b2
// <sys/sysmacros.h>, <X11/X.h>, <X11/Xlib.h>, and what compilers define themselves without
// -std=c++20
#undef major
#undef minor
#define major(device) gnu_dev_major(device)
#define minor(device) gnu_dev_minor(device)
#define None 0L
#define Bool int
#define Status int
#define Success 0
#define unix 1
#define linux 1

#include <kgroup/app.hpp>
#include <kgroup/dead_letters.hpp>
#include <kgroup/for_each.hpp>
#include <kgroup/for_each_batch.hpp>
#include <kgroup/kgroup.hpp>
#include <kgroup/producer.hpp>
#include <kgroup/testing/clock.hpp>
#include <kgroup/testing/embedded_cluster.hpp>
#include <kgroup/testing/fake_client.hpp>
#include <kgroup/timer.hpp>
#if __has_include(                                                                                 \
    <lz4frame.h>) && __has_include(<snappy.h>) && __has_include(<zlib.h>) && __has_include(<zstd.h>)
#include <kgroup/app/direct_consumer_app.hpp>
#include <kgroup/direct.hpp>
#endif
#if __has_include(<prometheus/collectable.h>)
#include <kgroup/prometheus.hpp>
#endif

#if !defined(min) || !defined(max) || !defined(small)
#error "a header has undefined a macro of the user's"
#endif
