# SPDX-License-Identifier: MIT

# Headers, CMake package (with the finders it needs) and pkg-config files. Nothing here depends on the architecture.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(KGROUP_INSTALL_CMAKEDIR "${CMAKE_INSTALL_DATADIR}/cmake/kgroup" CACHE STRING "Where the CMake package is installed")
set(KGROUP_INSTALL_PKGCONFIGDIR "${CMAKE_INSTALL_DATADIR}/pkgconfig" CACHE STRING "Where kgroup.pc and kgroup-direct.pc are installed")
mark_as_advanced(KGROUP_INSTALL_CMAKEDIR KGROUP_INSTALL_PKGCONFIGDIR)

install(TARGETS kgroup EXPORT kgroup-targets FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT kgroup-targets NAMESPACE kgroup:: DESTINATION "${KGROUP_INSTALL_CMAKEDIR}")
foreach(part IN ITEMS app direct prometheus opentelemetry)
    install(TARGETS kgroup_${part} EXPORT kgroup-${part}-targets FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
    install(EXPORT kgroup-${part}-targets NAMESPACE kgroup:: DESTINATION "${KGROUP_INSTALL_CMAKEDIR}")
endforeach()

configure_package_config_file(cmake/kgroup-config.cmake.in "${CMAKE_CURRENT_BINARY_DIR}/cmake/kgroup-config.cmake"
    INSTALL_DESTINATION "${KGROUP_INSTALL_CMAKEDIR}"
    NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/cmake/kgroup-config-version.cmake"
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
    "${CMAKE_CURRENT_BINARY_DIR}/cmake/kgroup-config.cmake"
    "${CMAKE_CURRENT_BINARY_DIR}/cmake/kgroup-config-version.cmake"
    cmake/FindRdKafka.cmake
    cmake/FindAsio.cmake
    cmake/FindKafkaCodecs.cmake
    DESTINATION "${KGROUP_INSTALL_CMAKEDIR}")

# The files say where they are, so that an installed tree may be moved.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX
    BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}/${KGROUP_INSTALL_PKGCONFIGDIR}" OUTPUT_VARIABLE kgroup_prefix_from_pkgconfigdir)
set(prefix "\${pcfiledir}/${kgroup_prefix_from_pkgconfigdir}")
cmake_path(APPEND includedir "\${prefix}" "${CMAKE_INSTALL_INCLUDEDIR}")
set(version "${PROJECT_VERSION}")
set(description "${PROJECT_DESCRIPTION}")
foreach(name IN ITEMS kgroup kgroup-direct)
    configure_file(cmake/${name}.pc.in "${CMAKE_CURRENT_BINARY_DIR}/cmake/${name}.pc" @ONLY)
    install(FILES "${CMAKE_CURRENT_BINARY_DIR}/cmake/${name}.pc" DESTINATION "${KGROUP_INSTALL_PKGCONFIGDIR}")
endforeach()
