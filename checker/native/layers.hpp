// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Scenarios are compiled for the machine itself: real threads at full speed over the production layer, for a sanitizer to
// watch. That samples; it proves nothing.
#include <tuple>

#include <shm/std_atomics.hpp>

namespace shm::model {
using layers = std::tuple<std_atomics>;
}  // namespace shm::model
