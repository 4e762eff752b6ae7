# The kernel libraries of the examples: examples/kernels/NAME.c becomes kernels/libNAME.so.
#
# luarun_add_kernel(name sources...) is also what the installed package offers (luarunConfig.cmake).

include(${PROJECT_SOURCE_DIR}/cmake/luarun_add_kernel.cmake)

add_library(luarun_kernel INTERFACE)
add_library(luarun::kernel ALIAS luarun_kernel)
target_include_directories(luarun_kernel INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/bindings/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

file(GLOB LR_KERNEL_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/kernels/*.c)
set(LR_KERNEL_TARGETS "")
foreach(source IN LISTS LR_KERNEL_SOURCES)
  get_filename_component(name ${source} NAME_WE)
  luarun_add_kernel(${name} ${source})
  target_compile_options(${name} PRIVATE -O3 -Wall -Wextra -Wno-maybe-uninitialized)
  set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${LR_KERNELS_DIR})
  list(APPEND LR_KERNEL_TARGETS ${name})
endforeach()

# What `./dev run` builds: no tests.
add_custom_target(program)
add_dependencies(program luarun luarun_core ${LR_KERNEL_TARGETS})
