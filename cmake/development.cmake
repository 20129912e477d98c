# SPDX-License-Identifier: MIT OR Apache-2.0
# Everything that is not the library: proofs, examples, benchmarks. None of it is there when this is a subproject.

set(SHM_PROOFS auto CACHE STRING "Proofs to build: none, those whose tools are installed (auto), or all (required)")
set_property(CACHE SHM_PROOFS PROPERTY STRINGS none auto required)
set(SHM_RELACY_DIR "" CACHE PATH "The folder that contains relacy/, where it is not installed")

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(shm_warnings INTERFACE)
target_compile_options(shm_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
target_link_libraries(shm_primitives PRIVATE $<BUILD_INTERFACE:shm_warnings>)
set_target_properties(shm_primitives PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)  # each compiles alone

find_package(Threads REQUIRED)

function(shm_missing what consequence remedy)
  set(severity WARNING)
  if(SHM_PROOFS STREQUAL required)
    set(severity FATAL_ERROR)
  endif()
  message(${severity} "${what} not found: ${consequence}; ${remedy} (ci/deps.sh does, on Debian and Ubuntu)")
endfunction()

add_subdirectory(examples)
if(EXISTS ${PROJECT_SOURCE_DIR}/bench/CMakeLists.txt)
  add_subdirectory(bench)
endif()
if(SHM_PROOFS STREQUAL none)
  return()
endif()

enable_testing()
find_package(GTest QUIET)
if(NOT GTest_FOUND)
  shm_missing(GoogleTest "properties, models and stress tests are not built" "install libgtest-dev")
endif()
find_package(rapidcheck QUIET)
if(NOT rapidcheck_FOUND)
  shm_missing(RapidCheck "properties are not built" "install librapidcheck-dev")
endif()
find_path(SHM_RELACY_INCLUDE relacy/relacy.hpp HINTS ${SHM_RELACY_DIR})
if(NOT SHM_RELACY_INCLUDE)
  shm_missing(Relacy "models are not built" "set SHM_RELACY_DIR or install relacy-dev")
endif()

# shm::model: the checkers' layers behind the same names, for those who check protocols of their own as well.
add_library(shm_model INTERFACE)
add_library(shm::model ALIAS shm_model)
target_link_libraries(shm_model INTERFACE shm_primitives)
if(SHM_RELACY_INCLUDE)
  target_include_directories(shm_model SYSTEM INTERFACE ${SHM_RELACY_INCLUDE})
endif()

include(cmake/shm_primitive.cmake)

# Until all three proofs of each are there: whatever there is.
file(GLOB found RELATIVE ${PROJECT_SOURCE_DIR}/proptests CONFIGURE_DEPENDS proptests/*.cpp)
foreach(name IN LISTS found)
  string(REPLACE .cpp "" name ${name})
  shm_test(${name})
endforeach()
file(GLOB found RELATIVE ${PROJECT_SOURCE_DIR}/sanitizers CONFIGURE_DEPENDS sanitizers/*_stress.cpp)
foreach(name IN LISTS found)
  string(REPLACE .cpp "" name ${name})
  shm_stress(${name})
endforeach()

# Not part of `all`: under another name than model-check's own preset they are seldom wanted, and take long to compile.
if(EXISTS ${PROJECT_SOURCE_DIR}/models/CMakeLists.txt AND GTest_FOUND AND SHM_RELACY_INCLUDE)
  add_subdirectory(models EXCLUDE_FROM_ALL)
endif()
