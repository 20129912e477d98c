// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <shm/std_atomics.hpp>

/// In production `spinlock<>`; what is checked is this very code over another layer.
template <class Atomics = shm::std_atomics>
class spinlock {
public:
    void lock() {
        typename Atomics::retry_loop trying;
        for (bool taken = false; !taken_.compare_exchange_weak(taken, true, std::memory_order_acquire,
                                                               std::memory_order_relaxed);
             taken = false)
            trying.retry();
    }
    void unlock() { taken_.store(false, std::memory_order_release); }

private:
    typename Atomics::template atomic<bool> taken_{false};
};
