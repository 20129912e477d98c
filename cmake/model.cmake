# SPDX-License-Identifier: MIT OR Apache-2.0
# shm::model: the checker `explore`, for this tree's models and for those who check protocols of their own. Boost.Context
# has its fibers; nothing else that is installed depends on Boost.
find_package(Boost QUIET CONFIG COMPONENTS context)
if(NOT TARGET Boost::context)
  message(WARNING "Boost.Context not found: the component model is not built; install libboost-context-dev "
    "(ci/deps.sh does, on Debian and Ubuntu), or set SHM_MODEL to OFF")
  return()
endif()

add_library(shm_model STATIC)
add_library(shm::model ALIAS shm_model)
target_sources(shm_model
  PUBLIC FILE_SET HEADERS BASE_DIRS models atomics FILES
    atomics/shm/checking.hpp
    atomics/shm/explore.hpp
    atomics/shm/explore_atomics.hpp
    models/shm/model/entry.hpp
    models/shm/model/host.hpp
    models/shm/model/scenario.hpp
    models/shm/model/verify.hpp
  PRIVATE
    models/explore/arena.cpp
    models/explore/engine.cpp
    models/explore/explorer.cpp
    models/explore/fiber.cpp
    models/explore/frontier.cpp
    models/explore/graph.cpp
    models/explore/layer.cpp
    models/explore/split.cpp
    models/explore/teller.cpp
    models/explore/token.cpp
    models/explore/words.cpp
    models/source_text.cpp
    models/trace.cpp
    models/verify.cpp)
target_link_libraries(shm_model PUBLIC shm_primitives PRIVATE Boost::context)
set_target_properties(shm_model PROPERTIES
  CXX_EXTENSIONS OFF
  POSITION_INDEPENDENT_CODE ON
  EXPORT_NAME model)
