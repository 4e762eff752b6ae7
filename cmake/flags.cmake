# How every C file of ours is compiled: lr_compile(target).
#
# Assertions (LR_ASSERT) stay on in release, so NDEBUG is never set.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_C_FLAGS_DEBUG "-Og -g3")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_SANITIZE "-O1 -g -fno-omit-frame-pointer -fno-optimize-sibling-calls")

set(LR_SANITIZE "" CACHE STRING "sanitizers to build with: 'address,undefined', 'thread' or nothing")
if(LR_SANITIZE)
  add_compile_options(-fsanitize=${LR_SANITIZE})
  add_link_options(-fsanitize=${LR_SANITIZE})
  if(LR_SANITIZE MATCHES undefined)
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()

function(lr_compile target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${target} PRIVATE LR_VERSION="${PROJECT_VERSION}")
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wswitch-enum -Wshadow -Wconversion -Wno-missing-field-initializers -Werror)
  # thread-locals are touched on the task path; the module is small enough for the static TLS block
  target_compile_options(${target} PRIVATE -ftls-model=initial-exec)
endfunction()
