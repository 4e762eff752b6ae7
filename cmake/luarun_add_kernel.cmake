# luarun_add_kernel(name sources...): builds lib<name>.so, a library that `lr.kernels "name"` opens.
#
# It sees <luarun/kernel.h> and links nothing; add libraries with target_link_libraries(name ...).

function(luarun_add_kernel name)
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE luarun::kernel)
  set_target_properties(${name} PROPERTIES
    PREFIX lib
    SUFFIX .so
    C_STANDARD 11
    POSITION_INDEPENDENT_CODE ON)
endfunction()
