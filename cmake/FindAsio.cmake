# SPDX-License-Identifier: MIT

# Finds standalone Asio and gives it the name asio::asio, which is the one vcpkg and Conan use.
#
# Looked for in this order: a target that exists already (asio::asio, or a plain asio of the same build), a CMake package
# (vcpkg, Conan), and last the header itself, because Asio's own releases and distributions ship nothing else.
#
# Sets Asio_FOUND and Asio_VERSION.

include(FindPackageHandleStandardArgs)

if(NOT TARGET asio::asio AND TARGET asio)
    add_library(asio::asio ALIAS asio)
endif()

set(Asio_origin "")
if(TARGET asio::asio)
    set(Asio_origin "the target asio::asio")
else()
    find_package(asio CONFIG QUIET GLOBAL)
    mark_as_advanced(asio_DIR)
    if(TARGET asio::asio)
        set(Asio_origin "${asio_DIR}")
        set(Asio_VERSION "${asio_VERSION}")
    endif()
endif()

if(Asio_origin)
    # A target made elsewhere need not say its version; then its maker is believed.
    if(NOT Asio_VERSION)
        set(Asio_VERSION "${Asio_FIND_VERSION}")
    endif()
    find_package_handle_standard_args(Asio REQUIRED_VARS Asio_origin VERSION_VAR Asio_VERSION)
    return()
endif()

find_path(Asio_INCLUDE_DIR asio/awaitable.hpp)
mark_as_advanced(Asio_INCLUDE_DIR)
if(EXISTS "${Asio_INCLUDE_DIR}/asio/version.hpp")
    file(STRINGS "${Asio_INCLUDE_DIR}/asio/version.hpp" Asio_version_line REGEX "^#define ASIO_VERSION [0-9]+")
    if(Asio_version_line MATCHES "ASIO_VERSION ([0-9]+)")
        # major * 100000 + minor * 100 + revision, as Asio's header says
        math(EXPR Asio_major "${CMAKE_MATCH_1} / 100000")
        math(EXPR Asio_minor "${CMAKE_MATCH_1} / 100 % 1000")
        math(EXPR Asio_revision "${CMAKE_MATCH_1} % 100")
        set(Asio_VERSION "${Asio_major}.${Asio_minor}.${Asio_revision}")
    endif()
endif()

find_package_handle_standard_args(Asio
    REQUIRED_VARS Asio_INCLUDE_DIR
    VERSION_VAR Asio_VERSION
    REASON_FAILURE_MESSAGE "Debian and Ubuntu: apt-get install libasio-dev")

if(Asio_FOUND)
    add_library(asio::asio INTERFACE IMPORTED GLOBAL)
    set_target_properties(asio::asio PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${Asio_INCLUDE_DIR}")
endif()
