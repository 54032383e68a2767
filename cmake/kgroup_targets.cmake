# SPDX-License-Identifier: MIT

# The targets kgroup::kgroup and, where what they need is there, kgroup::app (nlohmann-json), kgroup::direct (the
# compression libraries), kgroup::prometheus (prometheus-cpp) and kgroup::opentelemetry (opentelemetry-cpp): the same names as
# in the installed package.

list(PREPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")
find_package(RdKafka 2.0.2 REQUIRED MODULE)
find_package(Asio 1.22.1 REQUIRED MODULE)
find_package(KafkaCodecs QUIET MODULE)
list(POP_FRONT CMAKE_MODULE_PATH)
find_package(Threads REQUIRED)
if(NOT TARGET nlohmann_json::nlohmann_json)
    find_package(nlohmann_json 3.11 QUIET GLOBAL)
endif()
# These look for much that they need themselves, and leave cached variables behind: a project that includes kgroup and wants
# them finds them first.
if(PROJECT_IS_TOP_LEVEL)
    find_package(prometheus-cpp QUIET)
    find_package(opentelemetry-cpp QUIET)
endif()

set(kgroup_include_dir "${PROJECT_SOURCE_DIR}/include")
file(GLOB_RECURSE kgroup_headers CONFIGURE_DEPENDS "${kgroup_include_dir}/kgroup/*.hpp" "${kgroup_include_dir}/kgroup/*.ipp")
# The application layer is a target of its own, because it needs nlohmann-json.
file(GLOB kgroup_app_headers CONFIGURE_DEPENDS "${kgroup_include_dir}/kgroup/app.hpp" "${kgroup_include_dir}/kgroup/app/*.hpp")
# So is what reads records without librdkafka, because it needs the libraries that they are compressed with.
file(GLOB kgroup_direct_headers CONFIGURE_DEPENDS "${kgroup_include_dir}/kgroup/direct.hpp" "${kgroup_include_dir}/kgroup/direct_src.hpp"
    "${kgroup_include_dir}/kgroup/app/direct_consumer_app.hpp" "${kgroup_include_dir}/kgroup/detail/fetch/*.hpp")
list(REMOVE_ITEM kgroup_app_headers ${kgroup_direct_headers})
# And what gives its metrics and spans to a library for these.
set(kgroup_prometheus_headers "${kgroup_include_dir}/kgroup/prometheus.hpp")
file(GLOB kgroup_opentelemetry_headers CONFIGURE_DEPENDS "${kgroup_include_dir}/kgroup/opentelemetry.hpp"
    "${kgroup_include_dir}/kgroup/opentelemetry/*.hpp" "${kgroup_include_dir}/kgroup/detail/opentelemetry/*.hpp")
list(REMOVE_ITEM kgroup_headers ${kgroup_app_headers} ${kgroup_direct_headers} ${kgroup_prometheus_headers}
    ${kgroup_opentelemetry_headers})

add_library(kgroup INTERFACE)
add_library(kgroup::kgroup ALIAS kgroup)
target_sources(kgroup INTERFACE FILE_SET HEADERS BASE_DIRS "${kgroup_include_dir}" FILES ${kgroup_headers})
target_compile_features(kgroup INTERFACE cxx_std_20)
target_compile_definitions(kgroup INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)

# The installed package names the libraries and finds them again; here they are whatever the finders met.
target_link_libraries(kgroup INTERFACE
    "$<BUILD_INTERFACE:RdKafka::rdkafka>" "$<INSTALL_INTERFACE:RdKafka::rdkafka>"
    "$<BUILD_INTERFACE:asio::asio>" "$<INSTALL_INTERFACE:asio::asio>"
    Threads::Threads)

# Warnings in the libraries' headers are not the user's. Imported targets are system headers by themselves; targets of the
# same build are not, and librdkafka built there keeps rdkafka.h outside the folder it is included from once installed.
get_target_property(kgroup_asio_imported asio::asio IMPORTED)
if(NOT kgroup_asio_imported)
    target_include_directories(kgroup SYSTEM INTERFACE
        "$<BUILD_INTERFACE:$<TARGET_PROPERTY:asio::asio,INTERFACE_INCLUDE_DIRECTORIES>>")
endif()
get_target_property(kgroup_rdkafka_source_dir RdKafka::rdkafka SOURCE_DIR)
if(EXISTS "${kgroup_rdkafka_source_dir}/rdkafka.h")
    set(kgroup_rdkafka_include_dir "${CMAKE_CURRENT_BINARY_DIR}/rdkafka_include")
    file(MAKE_DIRECTORY "${kgroup_rdkafka_include_dir}/librdkafka")
    foreach(header rdkafka.h rdkafka_mock.h)
        file(CREATE_LINK "${kgroup_rdkafka_source_dir}/${header}" "${kgroup_rdkafka_include_dir}/librdkafka/${header}"
            COPY_ON_ERROR SYMBOLIC)
    endforeach()
    target_include_directories(kgroup SYSTEM INTERFACE "$<BUILD_INTERFACE:${kgroup_rdkafka_include_dir}>")
endif()

add_library(kgroup_app INTERFACE)
set_target_properties(kgroup_app PROPERTIES EXPORT_NAME app)
target_sources(kgroup_app INTERFACE FILE_SET HEADERS BASE_DIRS "${kgroup_include_dir}" FILES ${kgroup_app_headers})
target_link_libraries(kgroup_app INTERFACE kgroup)
if(TARGET nlohmann_json::nlohmann_json)
    add_library(kgroup::app ALIAS kgroup_app)
    target_link_libraries(kgroup_app INTERFACE
        "$<BUILD_INTERFACE:nlohmann_json::nlohmann_json>" "$<INSTALL_INTERFACE:nlohmann_json::nlohmann_json>")
else()
    message(STATUS "nlohmann-json not found: no target kgroup::app")
endif()

add_library(kgroup_direct INTERFACE)
set_target_properties(kgroup_direct PROPERTIES EXPORT_NAME direct)
target_sources(kgroup_direct INTERFACE FILE_SET HEADERS BASE_DIRS "${kgroup_include_dir}" FILES ${kgroup_direct_headers})
target_link_libraries(kgroup_direct INTERFACE kgroup)
if(KafkaCodecs_FOUND)
    add_library(kgroup::direct ALIAS kgroup_direct)
    target_link_libraries(kgroup_direct INTERFACE KafkaCodecs::KafkaCodecs)
else()
    message(STATUS "lz4, zstd, snappy or zlib not found: no target kgroup::direct")
endif()

set(parts prometheus opentelemetry)
set(libraries prometheus-cpp::core opentelemetry-cpp::api)
foreach(part library IN ZIP_LISTS parts libraries)
    add_library(kgroup_${part} INTERFACE)
    set_target_properties(kgroup_${part} PROPERTIES EXPORT_NAME ${part})
    target_sources(kgroup_${part} INTERFACE FILE_SET HEADERS BASE_DIRS "${kgroup_include_dir}" FILES ${kgroup_${part}_headers})
    target_link_libraries(kgroup_${part} INTERFACE kgroup)
    if(TARGET ${library})
        add_library(kgroup::${part} ALIAS kgroup_${part})
        target_link_libraries(kgroup_${part} INTERFACE "$<BUILD_INTERFACE:${library}>" "$<INSTALL_INTERFACE:${library}>")
    else()
        message(STATUS "${part}-cpp not found: no target kgroup::${part}")
    endif()
endforeach()
