# SPDX-License-Identifier: MIT

# A Meson project with kgroup among its subprojects, built and run: `meson`, `source` and `work` say with what and where,
# `has_direct` whether it uses kgroup-direct, too, `library` is what may be compiled apart.

file(REMOVE_RECURSE "${work}")
file(COPY "${source}/tests/package/meson_subproject/meson.build"
    "${source}/tests/package/meson_subproject/meson_options.txt" "${source}/tests/package/program.cpp"
    "${source}/tests/package/direct_program.cpp" DESTINATION "${work}")
file(MAKE_DIRECTORY "${work}/subprojects")
file(COPY "${source}/meson.build" "${source}/meson_options.txt" "${source}/include" "${source}/cmake"
    DESTINATION "${work}/subprojects/kgroup")

execute_process(COMMAND "${meson}" setup "-Dlibrary=${library}" "-Dhas_direct=${has_direct}" "${work}/build" "${work}" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${meson}" test -C "${work}/build" --print-errorlogs COMMAND_ERROR_IS_FATAL ANY)
