# The three libraries. Each sees only what design allows it to see: the folders it may include from are its
# include directories, and tests/layers_test.sh looks at the symbols.

file(GLOB LR_SCHED_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/sched/*.c)
add_library(lr_sched STATIC ${LR_SCHED_SOURCES})
lr_compile(lr_sched)

file(GLOB LR_RUNTIME_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/runtime/*.c)
add_library(lr_runtime STATIC ${LR_RUNTIME_SOURCES})
lr_compile(lr_runtime)
target_include_directories(lr_runtime PRIVATE bindings/include)
target_compile_definitions(lr_runtime PRIVATE
  _GNU_SOURCE=
  LR_SOURCE_INCLUDE="${PROJECT_SOURCE_DIR}/bindings/include"
  LR_INSTALL_INCLUDE="${LR_INSTALL_INCLUDE}"
  LR_PROGRAM_TO_KERNELS="${LR_PROGRAM_TO_KERNELS}"
  LR_INSTALL_KERNELS="${LR_INSTALL_KERNELS}")
target_link_libraries(lr_runtime PUBLIC
  lr_sched PkgConfig::HIREDIS ${LR_NNG} ${LR_MBEDCRYPTO} Threads::Threads ${CMAKE_DL_LIBS} m)

file(GLOB LR_BINDINGS_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bindings/*.c)
set(LR_PROGRAM_SOURCES ${PROJECT_SOURCE_DIR}/bindings/main.c ${PROJECT_SOURCE_DIR}/bindings/cli.c
  ${PROJECT_SOURCE_DIR}/bindings/interrupt.c ${PROJECT_SOURCE_DIR}/bindings/commands.c
  ${PROJECT_SOURCE_DIR}/bindings/console.c ${PROJECT_SOURCE_DIR}/bindings/lineedit.c)
list(REMOVE_ITEM LR_BINDINGS_SOURCES ${LR_PROGRAM_SOURCES})
add_library(lr_bindings STATIC ${LR_BINDINGS_SOURCES})
lr_compile(lr_bindings)
target_compile_definitions(lr_bindings PRIVATE _GNU_SOURCE=)
target_include_directories(lr_bindings PRIVATE bindings/include ${LUAJIT_INCLUDE_DIRS})
target_link_libraries(lr_bindings PUBLIC lr_runtime)
