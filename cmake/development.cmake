# SPDX-License-Identifier: MIT OR Apache-2.0
# What proofs, examples and benchmarks need. None of it is looked for when this is a subproject.

set(proofs auto)
if(DEFINED BUILD_TESTING AND NOT BUILD_TESTING)  # the name that packagers know it by
  set(proofs none)
endif()
set(SHM_PROOFS ${proofs} CACHE STRING "Proofs to build: none, those whose tools are installed (auto), or all (required)")
set_property(CACHE SHM_PROOFS PROPERTY STRINGS none auto required)
if(NOT SHM_PROOFS MATCHES "^(none|auto|required)$")
  message(FATAL_ERROR "SHM_PROOFS: expected none, auto or required, found \"${SHM_PROOFS}\"")
endif()
if(BUILD_SHARED_LIBS)  # tests take the place of the library's system calls, which they can only in a static one
  if(SHM_PROOFS STREQUAL required)
    message(FATAL_ERROR "SHM_PROOFS: expected none with BUILD_SHARED_LIBS, found required; proofs need a static library")
  endif()
  set(SHM_PROOFS none)
endif()
set(SHM_RELACY_DIR "" CACHE PATH "The folder that contains relacy/, where it is not installed")

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(shm_warnings INTERFACE)
target_compile_options(shm_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
target_link_libraries(shm_primitives PRIVATE $<BUILD_INTERFACE:shm_warnings>)
if(TARGET shm_model)
  target_link_libraries(shm_model PRIVATE $<BUILD_INTERFACE:shm_warnings>)
endif()
set_target_properties(shm_atomics shm_primitives PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)  # each compiles alone

# Files of the tree that are not installed are included by their paths in it: "testkit/guarded_bytes.hpp".
add_library(shm_tree INTERFACE)
target_include_directories(shm_tree INTERFACE ${PROJECT_SOURCE_DIR})

# For ci/coverage.py: what a process has counted is kept, however it ends itself.
if(SHM_COVERAGE)
  add_library(coverage_kept OBJECT ci/coverage_kept.cpp)
  link_libraries(coverage_kept)
  add_link_options(LINKER:--wrap=_exit,--wrap=abort,--wrap=raise)
endif()

find_package(Threads REQUIRED)
find_package(OpenSSL QUIET COMPONENTS Crypto)
find_package(CLI11 QUIET)

# shm_missing(CONSEQUENCE REMEDY NAME FOUND [NAME FOUND]...): says which of the tools were not found, if any.
function(shm_missing consequence remedy)
  set(missing)
  while(ARGN)
    list(POP_FRONT ARGN name found)
    if(NOT found)
      list(APPEND missing ${name})
    endif()
  endwhile()
  if(missing)
    list(JOIN missing ", " missing)
    set(severity WARNING)
    if(SHM_PROOFS STREQUAL required)
      set(severity FATAL_ERROR)
    endif()
    message(${severity} "${missing} not found: ${consequence}; ${remedy} (ci/deps.sh does, on Debian and Ubuntu)")
  endif()
endfunction()

shm_missing("the examples send_file and messages are not built" "install libssl-dev and libcli11-dev"
  OpenSSL "${OpenSSL_FOUND}" CLI11 "${CLI11_FOUND}")

# What watches tests, and ctest's own limit in seconds: of one that nothing watches.
set(SHM_WATCHED)
set(SHM_TEST_TIMEOUT 300)
if(NOT SHM_PROOFS STREQUAL none)
  enable_testing()
  # RapidCheck's own 100 cases have been too few to meet a bug.
  set(SHM_RC_PARAMS max_success=1000 CACHE STRING "What RapidCheck is told: how many cases, and the seed")
  # A test that hangs is ended, whatever the machine is busy with; ctest's own limits would be in wall time.
  find_program(SHM_PYTHON python3 HINTS /usr/bin)
  set(SHM_TEST_CPU_SECONDS 600 CACHE STRING "How much CPU time a test may use")
  if(SHM_PYTHON)
    set(SHM_WATCHED ${SHM_PYTHON} -IS ${PROJECT_SOURCE_DIR}/ci/watched.py --cpu ${SHM_TEST_CPU_SECONDS})
    set(CMAKE_CROSSCOMPILING_EMULATOR ${SHM_WATCHED} ${CMAKE_CROSSCOMPILING_EMULATOR})  # of every test that is a target
    set(SHM_TEST_TIMEOUT 86400)
  endif()
  find_package(GTest QUIET)
  find_package(rapidcheck QUIET)
  find_package(fmt QUIET)
  find_package(nlohmann_json QUIET)
  if(SHM_RELACY_DIR)  # that one and no other
    set(SHM_RELACY_INCLUDE ${SHM_RELACY_DIR})
    if(NOT EXISTS ${SHM_RELACY_DIR}/relacy/relacy.hpp)
      message(FATAL_ERROR "SHM_RELACY_DIR: expected a folder that holds relacy/relacy.hpp, found ${SHM_RELACY_DIR}")
    endif()
  else()
    find_path(SHM_RELACY_INCLUDE relacy/relacy.hpp)
  endif()

  shm_missing("properties, models and stress tests are not built" "install libgtest-dev" GoogleTest "${GTest_FOUND}")
  shm_missing("properties are not built" "install librapidcheck-dev" RapidCheck "${rapidcheck_FOUND}")
  shm_missing("models are not built" "set SHM_RELACY_DIR or install relacy-dev" Relacy "${SHM_RELACY_INCLUDE}")
  shm_missing("models are not built"
    "install libboost-context-dev, libcli11-dev, libfmt-dev, nlohmann-json3-dev and libssl-dev"
    Boost.Context "${Boost_context_FOUND}" CLI11 "${CLI11_FOUND}" fmt "${fmt_FOUND}" nlohmann-json "${nlohmann_json_FOUND}" OpenSSL "${OpenSSL_FOUND}")
endif()
