# SPDX-License-Identifier: MIT

# Finds the libraries that Kafka's records are compressed with, and gives them one name together:
# KafkaCodecs::KafkaCodecs.
#
# Each is looked for in this order: a target that exists already, a CMake package (vcpkg, Conan), and last the header and
# the library themselves, because distributions ship no package for some.
#
# Sets KafkaCodecs_FOUND.

include(FindPackageHandleStandardArgs)

set(KafkaCodecs_targets "")

# Sets `found` to the first of these targets that there is.
macro(find_kafka_codec_target)
    foreach(target IN ITEMS ${ARGN})
        if(NOT found AND TARGET ${target})
            set(found ${target})
        endif()
    endforeach()
endmacro()

# kafka_codec(NAME PACKAGE HEADER LIBRARIES... TARGETS names of the target)
function(kafka_codec name package header)
    cmake_parse_arguments(PARSE_ARGV 3 arg "" "" "LIBRARIES;TARGETS")
    set(found "")
    find_kafka_codec_target(${arg_TARGETS} KafkaCodecs::${name}) # the last is of an earlier call
    if(NOT found)
        find_package(${package} CONFIG QUIET GLOBAL)
        find_kafka_codec_target(${arg_TARGETS})
    endif()
    if(NOT found)
        find_path(KafkaCodecs_${name}_INCLUDE_DIR ${header})
        find_library(KafkaCodecs_${name}_LIBRARY NAMES ${arg_LIBRARIES})
        mark_as_advanced(KafkaCodecs_${name}_INCLUDE_DIR KafkaCodecs_${name}_LIBRARY)
        if(KafkaCodecs_${name}_INCLUDE_DIR AND KafkaCodecs_${name}_LIBRARY)
            set(found KafkaCodecs::${name})
            add_library(${found} UNKNOWN IMPORTED GLOBAL)
            set_target_properties(${found} PROPERTIES
                IMPORTED_LOCATION "${KafkaCodecs_${name}_LIBRARY}"
                INTERFACE_INCLUDE_DIRECTORIES "${KafkaCodecs_${name}_INCLUDE_DIR}")
        endif()
    endif()
    set(KafkaCodecs_${name} "${found}" PARENT_SCOPE)
    set(KafkaCodecs_targets ${KafkaCodecs_targets} ${found} PARENT_SCOPE)
endfunction()

kafka_codec(lz4 lz4 lz4frame.h LIBRARIES lz4 TARGETS lz4::lz4 LZ4::lz4 LZ4::lz4_shared LZ4::lz4_static)
kafka_codec(zstd zstd zstd.h LIBRARIES zstd TARGETS zstd::libzstd zstd::libzstd_shared zstd::libzstd_static)
kafka_codec(snappy Snappy snappy-c.h LIBRARIES snappy TARGETS Snappy::snappy)
kafka_codec(zlib ZLIB zlib.h LIBRARIES z zlib TARGETS ZLIB::ZLIB)

find_package_handle_standard_args(KafkaCodecs
    REQUIRED_VARS KafkaCodecs_lz4 KafkaCodecs_zstd KafkaCodecs_snappy KafkaCodecs_zlib
    REASON_FAILURE_MESSAGE "Debian and Ubuntu: apt-get install liblz4-dev libzstd-dev libsnappy-dev zlib1g-dev")

if(KafkaCodecs_FOUND AND NOT TARGET KafkaCodecs::KafkaCodecs)
    add_library(KafkaCodecs::KafkaCodecs INTERFACE IMPORTED GLOBAL)
    target_link_libraries(KafkaCodecs::KafkaCodecs INTERFACE ${KafkaCodecs_targets})
endif()
