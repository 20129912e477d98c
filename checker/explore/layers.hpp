// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Scenarios are compiled for the engine `explore` alone.
#include <tuple>

#include <shm/explore_atomics.hpp>

namespace shm::model {
using layers = std::tuple<explore_atomics>;
}  // namespace shm::model
