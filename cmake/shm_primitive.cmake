# SPDX-License-Identifier: MIT OR Apache-2.0
# The proofs: what `cmake --build --target props` or `stress` builds, `ctest -L props` or `-L stress` runs.

if(NOT SHM_PROOFS STREQUAL none)
  add_custom_target(props)
  add_custom_target(stress)
  add_custom_target(primitives-stress)  # without those of the checker
endif()

# An executable of GoogleTest cases, each a test of its own with that label; those that qemu-user cannot run (docs/portability.md
# has the reasons) with label_not_under_qemu.
function(shm_test_executable name label)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "SOURCES;LIBRARIES;NOT_UNDER_QEMU")
  include(GoogleTest)
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE
    shm_primitives shm_tree shm_warnings GTest::gtest_main Threads::Threads ${arg_LIBRARIES})
  set(filter)
  if(arg_NOT_UNDER_QEMU)
    list(JOIN arg_NOT_UNDER_QEMU ":" filter)
    gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 600
      TEST_FILTER "${filter}" TEST_LIST ${name}_not_under_qemu
      PROPERTIES LABELS ${label}_not_under_qemu TIMEOUT ${SHM_TEST_TIMEOUT} ENVIRONMENT "RC_PARAMS=${SHM_RC_PARAMS}")
    string(PREPEND filter "-")
  endif()
  gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 600 TEST_FILTER "${filter}"
    PROPERTIES LABELS ${label} TIMEOUT ${SHM_TEST_TIMEOUT} ENVIRONMENT "RC_PARAMS=${SHM_RC_PARAMS}")
  add_dependencies(${label} ${name})
  set_property(GLOBAL APPEND PROPERTY SHM_TESTS ${name})
endfunction()

# shm_test(NAME [IN folder] [WRAP symbol...] [NOT_UNDER_QEMU suite.test...]): NAME.cpp of proptests/, or of that folder. Calls of a wrapped symbol, also those from the library, go to the
# test's __wrap_symbol, which can make a system call fail. What the standard library can check, it checks: the value of an
# empty optional, an element beyond a span, may look harmless otherwise.
function(shm_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" IN "WRAP;NOT_UNDER_QEMU")
  if(NOT arg_IN)
    set(arg_IN proptests)
  endif()
  if(NOT GTest_FOUND OR NOT rapidcheck_FOUND)
    return()
  endif()
  shm_test_executable(${name} props SOURCES ${PROJECT_SOURCE_DIR}/${arg_IN}/${name}.cpp LIBRARIES rapidcheck
    NOT_UNDER_QEMU ${arg_NOT_UNDER_QEMU})
  list(TRANSFORM arg_WRAP PREPEND LINKER:--wrap=)
  target_link_options(${name} PRIVATE ${arg_WRAP})
  target_compile_definitions(${name} PRIVATE SHM_SOURCE_DIR="${PROJECT_SOURCE_DIR}" _GLIBCXX_ASSERTIONS)
endfunction()

# shm_primitive(NAME [WRAP symbol...] [NOT_UNDER_QEMU suite.test...] [STANDS_ON name...]): a primitive and its three proofs, none of which may be missing.
# WRAP is for its properties. It is guarded by every NAME_..._props, and by the properties of what it stands on: what
# `make check NAME=x` runs. models/CMakeLists.txt reads the names from the property SHM_PRIMITIVES.
function(shm_primitive name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "WRAP;NOT_UNDER_QEMU;STANDS_ON")
  foreach(owed IN ITEMS core/shm/${name}.hpp models/${name}/model.cpp proptests/${name}_props.cpp
                        sanitizers/${name}_stress.cpp)
    if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${owed})
      message(FATAL_ERROR "shm_primitive(${name}): ${owed} is missing; docs/adding-a-primitive.md says what it holds")
    endif()
  endforeach()
  shm_test(${name}_props WRAP ${arg_WRAP} NOT_UNDER_QEMU ${arg_NOT_UNDER_QEMU})
  if(GTest_FOUND)
    shm_test_executable(${name}_stress stress SOURCES ${PROJECT_SOURCE_DIR}/sanitizers/${name}_stress.cpp)
    add_dependencies(primitives-stress ${name}_stress)
  endif()
  set_property(GLOBAL APPEND PROPERTY SHM_PRIMITIVES ${name})
  set_property(GLOBAL PROPERTY SHM_${name}_STANDS_ON ${arg_STANDS_ON})
endfunction()

# After the last shm_test: for each primitive the target x-guards, which builds what guards it, and the file x.guards, with
# the regular expression by which ctest knows it.
function(shm_guards)
  get_property(primitives GLOBAL PROPERTY SHM_PRIMITIVES)
  get_property(tests GLOBAL PROPERTY SHM_TESTS)
  foreach(name IN LISTS primitives)
    set(guards ${tests})
    list(FILTER guards INCLUDE REGEX "^${name}_(.*_)?(props|stress)$")
    get_property(foundations GLOBAL PROPERTY SHM_${name}_STANDS_ON)
    foreach(foundation IN LISTS foundations)
      if(NOT EXISTS ${PROJECT_SOURCE_DIR}/proptests/${foundation}_props.cpp)
        message(FATAL_ERROR "shm_primitive(${name}): STANDS_ON: expected proptests/${foundation}_props.cpp, found none")
      endif()
      list(APPEND guards ${foundation}_props)
    endforeach()
    if(tests)
      add_custom_target(${name}-guards)
      add_dependencies(${name}-guards ${guards})
      list(JOIN guards "|" guards)
      file(WRITE ${PROJECT_BINARY_DIR}/${name}.guards "^(${guards})\\.\n")
    endif()
  endforeach()
endfunction()
