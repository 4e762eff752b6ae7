# The C tests: every *_test.c of tests/unit, tests/control and tests/transport is a program of its own and a ctest test.
#
# They link the libraries as archives, so that a test may bring its own form of a function: the linker then
# never looks at ours. tests/unit/assert_hook.c stands in for lr_assert_failed unless a test has its own.

pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
if(NOT CMOCKA_FOUND)
  message(STATUS "cmocka is not here: no unit tests")
  return()
endif()
enable_testing()

set(LR_FIXTURES_DIR ${PROJECT_BINARY_DIR}/fixtures)

file(GLOB LR_FIXTURES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/unit/fixtures/*.c)
set(LR_FIXTURE_TARGETS "")
foreach(source IN LISTS LR_FIXTURES)
  get_filename_component(name ${source} NAME_WE)
  luarun_add_kernel(${name} ${source})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${LR_FIXTURES_DIR})
  list(APPEND LR_FIXTURE_TARGETS ${name})
endforeach()

# What stands in where a test brings nothing of its own.
add_library(lr_test_support STATIC
  ${PROJECT_SOURCE_DIR}/tests/unit/assert_hook.c
  ${PROJECT_SOURCE_DIR}/cmake/embedded_none.c)
lr_compile(lr_test_support)
target_link_libraries(lr_test_support PUBLIC PkgConfig::CMOCKA)

function(lr_test_program target source folder)
  add_executable(${target} ${source})
  lr_compile(${target})
  target_include_directories(${target} PRIVATE
    ${PROJECT_SOURCE_DIR}/bindings/include ${LUAJIT_INCLUDE_DIRS})
  target_compile_definitions(${target} PRIVATE
    LR_TEST_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    LR_TEST_INCLUDE="${PROJECT_SOURCE_DIR}/bindings/include"
    LR_TEST_KERNELS_DIR="${LR_FIXTURES_DIR}"
    LR_TEST_INSTALL_KERNELS="${LR_INSTALL_KERNELS}")
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/${folder})
  # the hook first: an archive gives what is still wanted when it is read
  target_link_libraries(${target} PRIVATE
    -Wl,-u,lr_assert_failed -Wl,-u,lr_embedded_modules lr_test_support lr_bindings lr_runtime lr_sched
    PkgConfig::LUAJIT PkgConfig::CMOCKA)
  if(LR_FIXTURE_TARGETS)
    add_dependencies(${target} ${LR_FIXTURE_TARGETS})
  endif()
endfunction()

file(GLOB LR_UNIT_TESTS CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/tests/unit/*_test.c ${PROJECT_SOURCE_DIR}/tests/control/*_test.c
  ${PROJECT_SOURCE_DIR}/tests/transport/*_test.c)
foreach(source IN LISTS LR_UNIT_TESTS)
  get_filename_component(name ${source} NAME_WE)
  lr_test_program(${name} ${source} unit)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT 120)
endforeach()

# Fuzzed entry points: tests/fuzz/NAME_fuzz.c, with tests/fuzz/driver.c as their main (run by ./dev fuzz).
file(GLOB LR_FUZZERS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/fuzz/*_fuzz.c)
foreach(source IN LISTS LR_FUZZERS)
  get_filename_component(name ${source} NAME_WE)
  lr_test_program(${name} ${source} fuzz)
  if(EXISTS ${PROJECT_SOURCE_DIR}/tests/fuzz/driver.c)
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/driver.c)
  endif()
  add_test(NAME ${name} COMMAND ${name} --count 20000 WORKING_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
  set_tests_properties(${name} PROPERTIES TIMEOUT 120)
endforeach()

# The simulator: whole clusters of sched in virtual time. One of sched as it is, one of sched with faults planted in it.
file(GLOB LR_SIM_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/sim/*.c)
list(APPEND LR_SIM_SOURCES ${PROJECT_SOURCE_DIR}/runtime/allocator.c) # of the runtime nothing else
add_library(lr_sched_faults STATIC ${LR_SCHED_SOURCES})
add_executable(sim ${LR_SIM_SOURCES})
add_executable(sim_faults ${LR_SIM_SOURCES})
target_link_libraries(sim PRIVATE lr_sched)
target_link_libraries(sim_faults PRIVATE lr_sched_faults)
foreach(target IN ITEMS lr_sched_faults sim sim_faults)
  lr_compile(${target})
endforeach()
foreach(target IN ITEMS lr_sched_faults sim_faults)
  target_compile_definitions(${target} PRIVATE LR_FAULTS)
endforeach()
set_target_properties(sim sim_faults PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/sim)
