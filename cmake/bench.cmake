# The benchmark's C programs: `cmake --build ... --target bench`, into bench/ of the build folder. Peers whose
# compiler or library is not here are left out, and the harness names them as absent.

add_custom_target(bench)
set(LR_BENCH_DIR ${PROJECT_BINARY_DIR}/bench)

# lr_bench_program(name source): a program that follows the protocol of bench/peers/work.h
function(lr_bench_program name source)
  add_executable(bench_${name} EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/${source})
  set_target_properties(bench_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${LR_BENCH_DIR})
  target_compile_options(bench_${name} PRIVATE -O2 -Wall -Wextra -Werror)
  target_include_directories(bench_${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(bench_${name} PRIVATE Threads::Threads m)
  add_dependencies(bench bench_${name})
endfunction()

lr_bench_program(threads bench/peers/threads.c)
lr_bench_program(limit bench/peers/limit.c)
target_link_libraries(bench_limit PRIVATE lr_runtime PkgConfig::LUAJIT)

find_package(OpenMP COMPONENTS C)
if(OpenMP_C_FOUND)
  lr_bench_program(openmp bench/peers/openmp.c)
  target_link_libraries(bench_openmp PRIVATE OpenMP::OpenMP_C)
endif()

include(CheckLanguage)
check_language(CXX)
pkg_check_modules(TBB IMPORTED_TARGET tbb)
if(CMAKE_CXX_COMPILER AND TBB_FOUND)
  enable_language(CXX)
  lr_bench_program(tbb bench/peers/tbb.cpp)
  target_link_libraries(bench_tbb PRIVATE PkgConfig::TBB)
endif()

# The transport beside bare nng.
lr_bench_program(transport bench/transport.c)
target_compile_definitions(bench_transport PRIVATE _GNU_SOURCE=)
target_link_libraries(bench_transport PRIVATE lr_runtime)

# Bare nng, for the figures of a cluster.
lr_bench_program(nng bench/peers/nng.c)
target_compile_definitions(bench_nng PRIVATE _GNU_SOURCE=)
target_link_libraries(bench_nng PRIVATE ${LR_NNG})
