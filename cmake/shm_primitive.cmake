# SPDX-License-Identifier: MIT OR Apache-2.0

# An executable of GoogleTest cases; `ctest -L label` selects them. A case that hangs is killed and fails.
function(_shm_test_executable name source label)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE shm_primitives shm_warnings GTest::gtest_main Threads::Threads ${ARGN})
  gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST PROPERTIES LABELS ${label} TIMEOUT 300)
endfunction()

# shm_test(NAME [WRAP symbol...]): proptests/NAME.cpp. Its __wrap_symbol replaces each wrapped symbol, in the library
# too, so that a system call can be made to fail.
function(shm_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" WRAP)
  if(NOT TARGET GTest::gtest_main OR NOT TARGET rapidcheck)
    return()
  endif()
  _shm_test_executable(${name} proptests/${name}.cpp props rapidcheck)
  list(TRANSFORM arg_WRAP PREPEND LINKER:--wrap=)
  target_link_options(${name} PRIVATE ${arg_WRAP})
endfunction()

# shm_stress(NAME): sanitizers/NAME.cpp.
function(shm_stress name)
  if(TARGET GTest::gtest_main)
    _shm_test_executable(${name} sanitizers/${name}.cpp stress)
  endif()
endfunction()

# shm_primitive(NAME): a primitive and its three proofs, none of which may be missing.
function(shm_primitive name)
  foreach(proof IN ITEMS core/shm/${name}.hpp models/${name}_model.cpp proptests/${name}_props.cpp
                         sanitizers/${name}_stress.cpp)
    if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${proof})
      message(FATAL_ERROR "shm_primitive(${name}): ${proof} is missing; docs/adding-a-primitive.md says what it owes")
    endif()
  endforeach()
  shm_test(${name}_props)
  shm_stress(${name}_stress)
  set_property(GLOBAL APPEND PROPERTY SHM_PRIMITIVES ${name})
endfunction()

if(GTest_FOUND)
  include(GoogleTest)
endif()
