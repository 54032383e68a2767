# SPDX-License-Identifier: MIT

# The program of every outside project, with the warnings a strict user has, and what kgroup must have left alone.
# `KGROUP_LIBRARY` is what may be compiled apart, if that has been done; `program_source` is a program of the project's own.

foreach(target kgroup_unit_tests kgroup_test_support sse_isolation)
    if(TARGET ${target})
        message(FATAL_ERROR "kgroup built its own ${target} as part of an outside project")
    endif()
endforeach()
if(CMAKE_CXX_STANDARD OR CMAKE_CXX_COMPILER_LAUNCHER OR CMAKE_MODULE_PATH)
    message(FATAL_ERROR "kgroup left its settings behind in an outside project")
endif()

if(NOT program_source)
    set(program_source "${CMAKE_CURRENT_LIST_DIR}/program.cpp")
endif()
add_executable(program ${program_source})
target_compile_options(program PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)
if(KGROUP_LIBRARY)
    target_compile_definitions(program PRIVATE KGROUP_SEPARATE_COMPILATION)
    target_link_libraries(program PRIVATE "${KGROUP_LIBRARY}")
endif()
target_link_libraries(program PRIVATE kgroup::kgroup)
