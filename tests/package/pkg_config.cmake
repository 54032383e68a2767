# No build system: the compiler with what pkg-config says. `compiler`, `prefix`, `pkg_config`, `source` and `work` say with what.

file(REMOVE_RECURSE "${work}")
file(MAKE_DIRECTORY "${work}")
set(ENV{PKG_CONFIG_PATH} "${prefix}/share/pkgconfig")
execute_process(COMMAND "${pkg_config}" --cflags --libs "kgroup >= 0.1"
    OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags NATIVE_COMMAND "${flags}")
execute_process(COMMAND "${compiler}" -std=c++20 "${source}" -o "${work}/program" ${flags} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${work}/program" COMMAND_ERROR_IS_FATAL ANY)
