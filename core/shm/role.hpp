// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <utility>

#include <shm/proof_of_death.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// A role that one peer at a time may hold, as a claim word in shared memory. Move-only; given up when destroyed.
///
/// Promise    whatever the previous holder did in the role is visible to the next one
/// Progress   wait-free where a compare-exchange is one instruction (x86, aarch64 with LSE); else lock-free
/// Callers    any number of peers, at any time
/// Shape      one 64-bit word: peer_id::word() of the holder, 0 when nobody holds it
/// Edges      [hand-over]  claim word, from giving up to claim:  all that the last holder read and wrote in the role
/// Refuses    claim: `peer_id`, `busy`. take_over: `peer_id`, `not_holder`
/// Fork       the role stays with the process that took it: a child's copy gives nothing up
/// Crash      the word keeps the dead peer's id until somebody takes over with a proof of its death
/// Trust      crash-prone peers. A hostile one can write the word and so let a second holder in or lock all out; what a
///            role guards stays memory-safe without it
/// Source     none; a lock word with an owner, never waited for
template <atomics_layer Atomics = std_atomics>
class role {
    using enum std::memory_order;

public:
    /// What lies in shared memory.
    using claim_word = typename Atomics::template atomic<std::uint64_t>;

    /// Takes the role if nobody holds it. `name` ("producer role") is the subject of a refusal.
    [[nodiscard]] static result<role> claim(claim_word& word, peer_id me, const char* name) noexcept {
        if (!me.valid()) return fault{fault_kind::peer_id, 1, me.id, name};
        std::uint64_t holder = 0;
        if (!word.compare_exchange_strong(holder, me.word(), acquire,  // [hand-over]
                                          relaxed))                    // only to say who holds it
            return fault{fault_kind::busy, 0, holder, name};
        return role{word, me};
    }

    /// Takes the role of a dead peer.
    [[nodiscard]] static result<role> take_over(claim_word& word, peer_id me, const proof_of_death& dead,
                                                const char* name) noexcept {
        if (!me.valid()) return fault{fault_kind::peer_id, 1, me.id, name};
        std::uint64_t holder = dead.peer().word();
        if (!word.compare_exchange_strong(holder, me.word(), relaxed,  // its whole life happens before the proof
                                          relaxed))                    // only to say who holds it
            return fault{fault_kind::not_holder, dead.peer().word(), holder, name};
        return role{word, me};
    }

    /// What was moved from holds nothing.
    role(role&& other) noexcept
        : word_{std::exchange(other.word_, nullptr)}, me_{other.me_}, process_{other.process_} {}

    /// Gives up the role that was here.
    role& operator=(role&& other) noexcept {
        if (this != &other) {
            give_up();
            word_ = std::exchange(other.word_, nullptr);
            me_ = other.me_;
            process_ = other.process_;
        }
        return *this;
    }
    ~role() { give_up(); }

    /// Whether it is held by this object in this process: not after it was moved from, or kept, and not in a forked child.
    [[nodiscard]] bool held() const noexcept { return word_ != nullptr && process_ == ::getpid(); }

    /// Who took it.
    [[nodiscard]] pid_t process() const noexcept { return process_; }

    /// Leaves the role held for good: until somebody takes it over with a proof of this peer's death.
    void keep() noexcept { word_ = nullptr; }

private:
    role(claim_word& word, peer_id me) noexcept : word_{&word}, me_{me}, process_{::getpid()} {}

    // Exchanged, not stored: a peer that was taken for dead must not throw out its successor.
    void give_up() noexcept {
        if (!held()) return;
        std::uint64_t holder = me_.word();
        word_->compare_exchange_strong(holder, 0, release,  // [hand-over]
                                       relaxed);            // no longer ours: nothing to give up
        word_ = nullptr;
    }

    claim_word* word_;
    peer_id me_;
    pid_t process_;  // that took the role
};

}  // namespace v1
}  // namespace shm
