# The program `luarun` and the C module luarun/core.so.
#
# Both are made of the same libraries. The program carries the Lua files in itself and links LuaJIT; the
# module carries none and takes LuaJIT's symbols from the luajit that loads it.

file(GLOB_RECURSE LR_LUA_FILES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lua/luarun/*.lua)
set(LR_EMBEDDED ${PROJECT_BINARY_DIR}/generated/embedded_modules.c)
add_custom_command(
  OUTPUT ${LR_EMBEDDED}
  COMMAND ${CMAKE_COMMAND} -D OUTPUT=${LR_EMBEDDED} -D ROOT=${PROJECT_SOURCE_DIR}/lua
    "-DFILES=${LR_LUA_FILES}" -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS ${LR_LUA_FILES} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
  COMMENT "Embedding the Lua files"
  VERBATIM)

add_executable(luarun ${LR_PROGRAM_SOURCES} ${LR_EMBEDDED})
lr_compile(luarun)
target_include_directories(luarun PRIVATE bindings/include)
target_compile_definitions(luarun PRIVATE _GNU_SOURCE=)
target_link_libraries(luarun PRIVATE lr_bindings PkgConfig::LUAJIT ${CMAKE_DL_LIBS})
# as needed: what only a cluster needs must not cost a script's start
target_link_options(luarun PRIVATE -rdynamic -Wl,--as-needed)

add_library(luarun_core MODULE ${PROJECT_SOURCE_DIR}/cmake/embedded_none.c)
lr_compile(luarun_core)
target_link_libraries(luarun_core PRIVATE
  -Wl,-u,luaopen_luarun_core lr_bindings
  -Wl,-z,nodelete # a thread of ours may outlive the state whose end closes the library
  -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/core.map)
set_target_properties(luarun_core PROPERTIES
  PREFIX "" OUTPUT_NAME core
  LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/core.map
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lua/luarun)
