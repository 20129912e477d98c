# SPDX-License-Identifier: MIT OR Apache-2.0
# Everything that is not the library: its proofs, examples and benchmarks. Nothing here runs when this is a subproject.

option(SHM_REQUIRE_PROOFS "Refuse to configure when a tool that a proof needs is missing" OFF)
set(SHM_RELACY_DIR "" CACHE PATH "The folder that contains relacy/, where it is not installed")

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
enable_testing()

add_library(shm_warnings INTERFACE)
target_compile_options(shm_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
target_link_libraries(shm_primitives PRIVATE $<BUILD_INTERFACE:shm_warnings>)

find_package(Threads REQUIRED)
find_package(GTest QUIET)
find_package(rapidcheck QUIET)
find_package(OpenSSL QUIET COMPONENTS Crypto)
find_package(benchmark QUIET)
find_path(SHM_RELACY_INCLUDE relacy/relacy.hpp HINTS ${SHM_RELACY_DIR})

# shm::model: a checker's layer behind the same names, for those who check protocols of their own.
if(SHM_RELACY_INCLUDE)
  add_library(shm_model INTERFACE)
  add_library(shm::model ALIAS shm_model)
  target_link_libraries(shm_model INTERFACE shm_primitives)
  target_include_directories(shm_model SYSTEM INTERFACE ${SHM_RELACY_INCLUDE})
endif()

function(shm_missing what consequence package)
  set(severity WARNING)
  if(SHM_REQUIRE_PROOFS)
    set(severity FATAL_ERROR)
  endif()
  message(${severity} "${what} not found: ${consequence}; ${package} (ci/deps.sh installs it on Debian and Ubuntu)")
endfunction()
if(NOT GTest_FOUND)
  shm_missing(GoogleTest "properties, models and stress tests are not built" "install libgtest-dev")
endif()
if(NOT rapidcheck_FOUND)
  shm_missing(RapidCheck "properties are not built" "install librapidcheck-dev")
endif()
if(NOT SHM_RELACY_INCLUDE)
  shm_missing(Relacy "models are not built" "set SHM_RELACY_DIR or install relacy-dev")
endif()
if(NOT OpenSSL_FOUND)
  shm_missing(OpenSSL "the example send_file is not built" "install libssl-dev")
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

foreach(folder IN ITEMS models examples bench)
  if(EXISTS ${PROJECT_SOURCE_DIR}/${folder}/CMakeLists.txt)
    add_subdirectory(${folder})
  endif()
endforeach()
