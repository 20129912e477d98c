# SPDX-License-Identifier: MIT OR Apache-2.0
# How every target is compiled that comes after this: so it comes before the first.

set(SHM_SANITIZERS "" CACHE STRING "What -fsanitize is told: thread, or address,undefined")
set_property(CACHE SHM_SANITIZERS PROPERTY STRINGS "" thread address,undefined)
if(SHM_SANITIZERS)
  add_compile_options(-fsanitize=${SHM_SANITIZERS} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${SHM_SANITIZERS})
endif()

option(SHM_COVERAGE "Count which lines are executed" OFF)
if(SHM_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
