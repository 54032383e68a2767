# SPDX-License-Identifier: MIT

# Asio decides how it allocates by a macro of libstdc++, which is there only if a standard header came before the first of
# Asio's. Two files of a program that see it differently free what the other allocated in another way; so kgroup's
# headers, whichever comes first, have to include a standard one before they include Asio.

include("${usage}")
separate_arguments(flags NATIVE_COMMAND "${flags}")
list(REMOVE_ITEM includes ${implicit_includes})
list(TRANSFORM includes PREPEND -I)
list(TRANSFORM definitions PREPEND -D)

file(GLOB headers RELATIVE "${include_dir}" "${include_dir}/kgroup/*.hpp" "${include_dir}/kgroup/testing/*.hpp")
list(FILTER headers EXCLUDE REGEX "/(app(_[a-z]+)?|opentelemetry|prometheus)\\.hpp$") # their libraries may be missing
set(wrong "")
foreach(header IN LISTS headers)
    execute_process(
        COMMAND "${compiler}" ${flags} ${standard} ${definitions} ${includes} -E -dM -x c++ "${include_dir}/${header}"
        OUTPUT_VARIABLE macros ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY)
    if(macros MATCHES "#define ASIO_DETAIL_CONFIG_HPP" AND macros MATCHES "#define _GLIBCXX_HAVE_ALIGNED_ALLOC"
            AND NOT macros MATCHES "#define ASIO_HAS_STD_ALIGNED_ALLOC")
        string(APPEND wrong "  ${header}\n")
    endif()
endforeach()
if(wrong)
    message(FATAL_ERROR "These headers include Asio before any standard header:\n${wrong}")
endif()
