// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// The engine that scenarios are compiled against: Relacy.
#include <csetjmp>

#include <shm/relacy_atomics.hpp>

namespace shm::model {

using engine_atomics = relacy_atomics;

/// Runs `body`, in which this thread may be killed before any of its atomic operations, without unwinding. Says whether
/// it survived.
template <class Body>
bool survives(Body body) {
    std::jmp_buf last_breath;
    if (setjmp(last_breath) != 0) return false;
    relacy::deathbed[relacy::this_thread()] = &last_breath;
    body();
    relacy::deathbed[relacy::this_thread()] = nullptr;
    return true;
}

}  // namespace shm::model
