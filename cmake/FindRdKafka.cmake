# SPDX-License-Identifier: MIT

# Finds librdkafka and gives it the name RdKafka::rdkafka, which is the one its own CMake package uses.
#
# Looked for in this order: a target that exists already (RdKafka::rdkafka, or the plain rdkafka of librdkafka's own build when it
# is part of the same one), librdkafka's CMake package (vcpkg, Conan, a build from source), and last pkg-config and the
# ordinary search paths, because distributions ship rdkafka.pc only.
#
# Sets RdKafka_FOUND and RdKafka_VERSION.

include(FindPackageHandleStandardArgs)

function(kgroup_read_rdkafka_version header result)
    set(version "")
    if(EXISTS "${header}")
        file(STRINGS "${header}" line REGEX "^#define RD_KAFKA_VERSION[ \t]+0x[0-9a-fA-F]+")
        if(line MATCHES "0x([0-9a-fA-F][0-9a-fA-F])([0-9a-fA-F][0-9a-fA-F])([0-9a-fA-F][0-9a-fA-F])")
            math(EXPR major "0x${CMAKE_MATCH_1}")
            math(EXPR minor "0x${CMAKE_MATCH_2}")
            math(EXPR revision "0x${CMAKE_MATCH_3}")
            set(version "${major}.${minor}.${revision}")
        endif()
    endif()
    set(${result} "${version}" PARENT_SCOPE)
endfunction()

if(NOT TARGET RdKafka::rdkafka AND TARGET rdkafka)
    add_library(RdKafka::rdkafka ALIAS rdkafka)
endif()

set(RdKafka_origin "")
if(TARGET RdKafka::rdkafka)
    set(RdKafka_origin "the target RdKafka::rdkafka")
    get_target_property(RdKafka_source_dir RdKafka::rdkafka SOURCE_DIR)
    kgroup_read_rdkafka_version("${RdKafka_source_dir}/rdkafka.h" RdKafka_header_version)
    if(RdKafka_header_version)
        set(RdKafka_VERSION "${RdKafka_header_version}")
    endif()
else()
    find_package(RdKafka CONFIG QUIET GLOBAL)
    mark_as_advanced(RdKafka_DIR)
    if(TARGET RdKafka::rdkafka)
        set(RdKafka_origin "${RdKafka_DIR}")
    endif()
endif()

if(RdKafka_origin)
    # A target made elsewhere need not say its version; then its maker is believed.
    if(NOT RdKafka_VERSION)
        set(RdKafka_VERSION "${RdKafka_FIND_VERSION}")
    endif()
    find_package_handle_standard_args(RdKafka REQUIRED_VARS RdKafka_origin VERSION_VAR RdKafka_VERSION)
    return()
endif()

find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
    pkg_check_modules(RdKafka_PC QUIET rdkafka)
endif()
find_path(RdKafka_INCLUDE_DIR librdkafka/rdkafka.h HINTS ${RdKafka_PC_INCLUDE_DIRS})
find_library(RdKafka_LIBRARY rdkafka HINTS ${RdKafka_PC_LIBRARY_DIRS})
mark_as_advanced(RdKafka_INCLUDE_DIR RdKafka_LIBRARY)
kgroup_read_rdkafka_version("${RdKafka_INCLUDE_DIR}/librdkafka/rdkafka.h" RdKafka_VERSION)

find_package_handle_standard_args(RdKafka
    REQUIRED_VARS RdKafka_LIBRARY RdKafka_INCLUDE_DIR
    VERSION_VAR RdKafka_VERSION
    REASON_FAILURE_MESSAGE "Debian and Ubuntu: apt-get install librdkafka-dev")

if(RdKafka_FOUND)
    add_library(RdKafka::rdkafka UNKNOWN IMPORTED GLOBAL)
    set_target_properties(RdKafka::rdkafka PROPERTIES
        IMPORTED_LOCATION "${RdKafka_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${RdKafka_INCLUDE_DIR}")
endif()
