# Benchmarks in C: bench/NAME.c that need our libraries. They are built with the rest and run by hand, from bench/ of
# the build's folder.

add_executable(bench_transport ${PROJECT_SOURCE_DIR}/bench/transport.c)
lr_compile(bench_transport)
target_compile_definitions(bench_transport PRIVATE _GNU_SOURCE=)
target_link_libraries(bench_transport PRIVATE lr_runtime)
set_target_properties(bench_transport PROPERTIES
  OUTPUT_NAME transport RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
