// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>

#include <shm/doorbell.hpp>

#include "checker/driver/scenario.hpp"

namespace shm::model {

/// What the kernel keeps for one end: whether a bell is pending there, and whether the other end is closed.
enum : std::uint32_t { pending = 1, closed = 2 };

template <class A>
using line = typename A::template atomic<std::uint32_t>;

/// One end of a bell. What the kernel does is modelled as weakly as can be: a bell carries nothing that its ringer has
/// written.
template <class A>
struct modelled_bell {
    using enum std::memory_order;
    line<A>* own;
    line<A>* of_peer;
    unsigned* refusals;  // how many signals are still to be refused

    result<signal_result> signal() {
        if (*refusals != 0) {
            --*refusals;
            return fault{fault_kind::system_call, 0, 12};
        }
        if ((own->load(relaxed) & closed) != 0) return signal_result::peer_dead;
        return (of_peer->fetch_or(pending, relaxed) & pending) != 0 ? signal_result::buffer_full : signal_result::sent;
    }
    result<wait_result> wait(deadline until) {
        const auto look_once = until == deadline::max() ? until : deadline{};
        const auto found = A::await_until(*own, relaxed, [](std::uint32_t bits) { return bits != 0; }, look_once);
        if (!found) return wait_result::timed_out;
        if ((*found & closed) != 0) {
            (void)own->load(acquire);  // the end of a process comes after all that it did
            return wait_result::peer_dead;
        }
        own->fetch_and(~pending, relaxed);
        return wait_result::rung;
    }
    /// What the kernel does when the process of this end has ended.
    void close() { of_peer->fetch_or(closed, release); }
};

/// Until the bell rings, or in the other form one look at it: there is a deadline then, which passes.
template <form Form>
constexpr deadline until = Form == form::waits ? deadline::max() : deadline{std::chrono::nanoseconds{1}};

}  // namespace shm::model
