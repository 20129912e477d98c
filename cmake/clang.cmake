# SPDX-License-Identifier: MIT OR Apache-2.0
# The newest clang from 19 down to 16: the sanitizers' compiler.
find_program(CMAKE_CXX_COMPILER NAMES clang++-19 clang++-18 clang++-17 clang++-16 clang++)
if(NOT CMAKE_CXX_COMPILER)
  message(FATAL_ERROR "no clang++ found; ci/deps.sh installs it on Debian and Ubuntu")
endif()
