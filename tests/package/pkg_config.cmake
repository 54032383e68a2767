# SPDX-License-Identifier: MIT

# No build system: the compiler with what pkg-config says. `compiler`, `prefix`, `pkg_config`, `source` and `work` say with what,
# `has_direct` whether kgroup-direct is used, too, `library` is what may be compiled apart.

file(REMOVE_RECURSE "${work}")
file(MAKE_DIRECTORY "${work}")
set(ENV{PKG_CONFIG_PATH} "${prefix}/share/pkgconfig")

function(build_and_run program package)
    execute_process(COMMAND "${pkg_config}" --cflags --libs "${package} >= 0.1"
        OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    separate_arguments(flags NATIVE_COMMAND "${flags}")
    execute_process(COMMAND "${compiler}" -std=c++20 "${source}/${program}.cpp" -o "${work}/${program}"
        ${ARGN} ${flags} COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND "${work}/${program}" COMMAND_ERROR_IS_FATAL ANY)
endfunction()

if(library)
    set(apart -DKGROUP_SEPARATE_COMPILATION "${library}")
endif()
build_and_run(program kgroup ${apart})
if(has_direct)
    build_and_run(direct_program kgroup-direct)
endif()
