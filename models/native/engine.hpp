// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// The engine that scenarios are compiled against: the machine itself. Real threads at full speed over the production
// layer, for a sanitizer to watch. It samples; it proves nothing.
#include <thread>

#include <shm/std_atomics.hpp>

namespace shm::model {

/// The production layer, but a thread that polls gives its core to the one it waits for.
struct engine_atomics : std_atomics {
    static void pause() noexcept { std::this_thread::yield(); }
};

/// Threads cannot be killed here; processes are, in sanitizers/.
template <class Body>
bool survives(Body body) {
    body();
    return true;
}

}  // namespace shm::model
