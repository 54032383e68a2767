# SPDX-License-Identifier: MIT

# Compiles `source` as a user of the library would; the file with the command line's parts is `usage`.

include("${usage}")
separate_arguments(flags NATIVE_COMMAND "${flags}")
list(REMOVE_ITEM includes ${implicit_includes})
list(TRANSFORM includes PREPEND -I)
list(TRANSFORM definitions PREPEND -D)
set(command "${compiler}" ${flags} ${standard} ${definitions} ${includes} -fsyntax-only)

set(without_bodies -DKGROUP_SEPARATE_COMPILATION -DASIO_SEPARATE_COMPILATION)
if(apart)
    list(APPEND command ${without_bodies})
endif()

set(ENV{LC_ALL} C)
if(source MATCHES "\\.(hpp|ipp)$") # a header, alone
    set(source -include "${source}" -x c++ /dev/null)
endif()
if(source MATCHES "\\.(ok\\.cpp|hpp|ipp)")
    execute_process(COMMAND ${command} -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror ${source}
        RESULT_VARIABLE result ERROR_VARIABLE output)
    if(NOT result EQUAL 0)
        message(FATAL_ERROR "It should have compiled:\n${output}")
    endif()
    return()
endif()

file(STRINGS "${source}" first_line LIMIT_COUNT 1)
if(NOT first_line MATCHES "^// expect: (.+)$")
    message(FATAL_ERROR "The first line has to be `// expect: REGEX`")
endif()
set(sentence "${CMAKE_MATCH_1}")

# What it says does not depend on where the bodies of functions are, and without them it says so sooner.
execute_process(COMMAND ${command} ${without_bodies} "${source}" RESULT_VARIABLE result ERROR_VARIABLE output)
if(result EQUAL 0)
    message(FATAL_ERROR "It should not have compiled. Expected: ${sentence}")
endif()
string(REGEX MATCH "error: [^\n]*" first_error "${output}")
if(NOT first_error MATCHES "${sentence}")
    message(FATAL_ERROR "The first error has to say: ${sentence}\nThe compiler said:\n${output}")
endif()
