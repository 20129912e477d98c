// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Scenarios are compiled for the engine `explore`, and for Relacy as a second opinion.
#include <tuple>

#include <shm/explore_atomics.hpp>
#include <shm/relacy_atomics.hpp>

namespace shm::model {
using layers = std::tuple<explore_atomics, relacy_atomics>;
}  // namespace shm::model
