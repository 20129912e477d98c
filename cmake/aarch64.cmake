# SPDX-License-Identifier: MIT OR Apache-2.0
# Cross-built for aarch64 and run under qemu-user: proves layout and function, no memory ordering.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)

# The target's GoogleTest and RapidCheck. The C++ library is the compiler's own.
set(sysroot ${CMAKE_CURRENT_LIST_DIR}/../build/sysroot/arm64)
if(NOT EXISTS ${sysroot}/usr)
  message(FATAL_ERROR "expected GoogleTest and RapidCheck for arm64 in build/sysroot, found none: ci/sysroot.sh arm64")
endif()
set(CMAKE_FIND_ROOT_PATH ${sysroot} /usr/aarch64-linux-gnu)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
