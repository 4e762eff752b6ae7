# cmake --install: the program, the header, the Lua files and the C module for plain luajit, the examples'
# kernels, and what pkg-config and CMake need to build kernels.

include(CMakePackageConfigHelpers)

set(LR_LUA_DIR ${CMAKE_INSTALL_DATADIR}/lua/5.1)
set(LR_LUA_CDIR ${CMAKE_INSTALL_LIBDIR}/lua/5.1/luarun)
set(LR_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/luarun)

install(TARGETS luarun RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY bindings/include/luarun DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

install(FILES lua/luarun/init.lua DESTINATION ${LR_LUA_DIR} RENAME luarun.lua)
install(DIRECTORY lua/luarun DESTINATION ${LR_LUA_DIR}
  FILES_MATCHING PATTERN "*.lua" PATTERN "luarun/init.lua" EXCLUDE)
install(TARGETS luarun_core LIBRARY DESTINATION ${LR_LUA_CDIR})

if(LR_KERNEL_TARGETS)
  install(TARGETS ${LR_KERNEL_TARGETS} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/luarun/kernels)
endif()

# From its own folder to the prefix, so that what --prefix installs elsewhere is found there.
file(RELATIVE_PATH LR_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" LR_PC_PREFIX ${LR_PC_PREFIX})
configure_file(cmake/luarun.pc.in luarun.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/luarun.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(TARGETS luarun_kernel EXPORT luarunTargets)
set_target_properties(luarun_kernel PROPERTIES EXPORT_NAME kernel)
install(EXPORT luarunTargets NAMESPACE luarun:: DESTINATION ${LR_CMAKE_DIR})
configure_package_config_file(cmake/luarunConfig.cmake.in luarunConfig.cmake
  INSTALL_DESTINATION ${LR_CMAKE_DIR})
write_basic_package_version_file(luarunConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
    ${PROJECT_BINARY_DIR}/luarunConfig.cmake
    ${PROJECT_BINARY_DIR}/luarunConfigVersion.cmake
    cmake/luarun_add_kernel.cmake
  DESTINATION ${LR_CMAKE_DIR})

install(FILES docs/luarun.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 OPTIONAL)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
