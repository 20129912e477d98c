# SPDX-License-Identifier: MIT OR Apache-2.0
# The proofs: what `cmake --build --target props` or `stress` builds, `ctest -L props` or `-L stress` runs.

if(NOT SHM_PROOFS STREQUAL none)
  add_custom_target(props)
  add_custom_target(stress)
endif()

# An executable of GoogleTest cases, each a test of its own with that label. One that hangs is killed, and fails.
function(shm_test_executable name label)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "SOURCES;LIBRARIES")
  include(GoogleTest)
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE
    shm_primitives shm_warnings GTest::gtest_main Threads::Threads ${arg_LIBRARIES})
  gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST PROPERTIES
    LABELS ${label} TIMEOUT 300
    ENVIRONMENT RC_PARAMS=max_success=1000)  # RapidCheck's own 100 cases have been too few to meet a bug
  add_dependencies(${label} ${name})
endfunction()

# shm_test(NAME [WRAP symbol...]): proptests/NAME.cpp. Calls of a wrapped symbol, also those from the library, go to the
# test's __wrap_symbol, which can make a system call fail. What the standard library can check, it checks: the value of an
# empty optional, an element beyond a span, may look harmless otherwise.
function(shm_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" WRAP)
  if(NOT GTest_FOUND OR NOT rapidcheck_FOUND)
    return()
  endif()
  shm_test_executable(${name} props SOURCES ${PROJECT_SOURCE_DIR}/proptests/${name}.cpp LIBRARIES rapidcheck)
  list(TRANSFORM arg_WRAP PREPEND LINKER:--wrap=)
  target_link_options(${name} PRIVATE ${arg_WRAP})
  target_compile_definitions(${name} PRIVATE SHM_SOURCE_DIR="${PROJECT_SOURCE_DIR}" _GLIBCXX_ASSERTIONS)
endfunction()


# shm_primitive(NAME [WRAP symbol...]): a primitive and its three proofs, none of which may be missing. WRAP is for its
# properties. models/CMakeLists.txt reads the names from the property SHM_PRIMITIVES.
function(shm_primitive name)
  foreach(owed IN ITEMS core/shm/${name}.hpp models/${name}_model.cpp proptests/${name}_props.cpp
                        sanitizers/${name}_stress.cpp)
    if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${owed})
      message(FATAL_ERROR "shm_primitive(${name}): ${owed} is missing; docs/adding-a-primitive.md says what it holds")
    endif()
  endforeach()
  shm_test(${name}_props ${ARGN})
  if(GTest_FOUND)
    shm_test_executable(${name}_stress stress SOURCES ${PROJECT_SOURCE_DIR}/sanitizers/${name}_stress.cpp)
  endif()
  set_property(GLOBAL APPEND PROPERTY SHM_PRIMITIVES ${name})
endfunction()
