// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>

#include <shm/peer_id.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/role.hpp>
#include <shm/slab/slot_allocator.hpp>

namespace shm {
inline namespace v1 {

/// What a reclaim has done.
struct reclaimed {
    std::uint32_t returned = 0;   ///< slots of the dead that are free again by this call
    std::uint32_t in_flight = 0;  ///< slots that the dead had sent and nobody has received; they stay as they are
    bool complete = true;         ///< false: the list never held still for a walk; call again
};

/// One reclaim: finds the slots that the dead held, and puts them on the free list of a slab by means of the
/// recoverer's own allocator. A slot that the dead owned has its owner in its word. One that it was about to take or to
/// free is in nobody's name, and perhaps not on the list: its entry names it, and a walk of the list tells.
///
/// Promise    what the dead owned, was allocating or was freeing is on the list when the reclaim is complete. A slot
///            that is somebody else's by now stays so
/// Progress   lock-free, except that the list has to hold still for a walk of it, at most twice for each entry: after
///            Widths.walks failed attempts the reclaim is not complete
/// Callers    the recoverer's thread; any number of recoverers may be at work on the same dead
/// Shape      none of its own: the words are those of slab_view
/// Edges      [recycle], [off-list] and [joined] of slot_allocator
/// Refuses    `contended`, `corrupt`
/// Crash      a recoverer that dies is as any member that dies while it frees a slot: the next reclaim of either finds
///            it
/// Trust      hostile: each index is checked before it is used, each walk is as long as there are slots
/// Source     ours
template <slab_widths Widths, atomics_layer Atomics>
class slot_recovery {
    using enum std::memory_order;
    using allocator = slot_allocator<Widths, Atomics>;
    using view = typename allocator::view;

public:
    /// By the member whose allocator this is. It has put on the list all that it had freed.
    explicit slot_recovery(allocator& recoverer) noexcept : own_{recoverer}, slab_{recoverer.slab()} {}

    /// Frees all that `dead` held. `me` takes over its entries, only to give them up. `lost(slot_handle)` says whether
    /// a slot in flight is lost.
    template <class Lost>
    [[nodiscard]] result<reclaimed, slot_error> free_slots_of(const proof_of_death& dead, peer_id me,
                                                              Lost& lost) noexcept {
        for (std::uint32_t i = 0; i < slab_.member_count; ++i) {
            auto& of = slab_.members[i];
            const std::uint64_t holder = dead.peer().word();
            if (of.claim.load(relaxed) != holder) continue;  // whatever the dead has written is seen: by the proof
            const slot_owner owner{static_cast<std::uint8_t>(i),
                                   static_cast<std::uint16_t>(of.incarnation.load(acquire))};  // [joined]
            if (of.claim.load(relaxed) != holder) continue;  // [joined] shows the successor, if it was a successor's
            const std::uint32_t in_flight_before = done_.in_flight;
            bool clean = true;
            for (std::uint32_t slot = 0; slot < slab_.slot_count && !own_.half_done(); ++slot)
                clean = free_owned(slot, owner, lost) && clean;
            const auto taking = slot_handle::from_word(of.taking.load(relaxed));  // by the proof
            const auto giving = slot_handle::from_word(of.giving.load(relaxed));  // by the proof
            clean = clean && free_intended(taking, nullptr) && free_intended(giving, &owner);
            if (own_.corrupt()) return own_.why_unfinished();
            done_.complete = done_.complete && clean;
            if (own_.half_done()) return done_;                // contended: to be finished first
            if (clean && done_.in_flight == in_flight_before)  // given up as the role that is taken over here ends
                (void)role<Atomics>::take_over(of.claim, me, dead, "member");  // refused: somebody else was faster
        }
        return done_;
    }

    /// Frees each slot in flight that `lost(slot_handle)` says is lost, no matter which member sent it.
    template <class Lost>
    [[nodiscard]] result<reclaimed, slot_error> free_in_flight(Lost& lost) noexcept {
        for (std::uint32_t i = 0; i < slab_.slot_count; ++i) {
            const slot_word is = slab_.slots[i].now();
            if (is.state != slot_state::in_flight) continue;
            const slot_handle sent{i, is.generation};
            if (!lost(sent)) {
                ++done_.in_flight;
                continue;
            }
            const auto freed = own_.free(sent, slot_state::in_flight);
            if (freed)
                ++done_.returned;
            else if (freed.error().what == slot_error::kind::contended || own_.corrupt())
                return freed.error();
        }
        return done_;
    }

private:
    enum class whereabouts : std::uint8_t { on_the_list, off_the_list, unknown };

    /// A slot that the dead owned. False: not yet.
    template <class Lost>
    bool free_owned(std::uint32_t index, slot_owner owner, Lost& lost) noexcept {
        for (std::uint32_t tries = 0; tries < Widths.attempts; ++tries) {
            typename Atomics::retry_loop round;
            const slot_word is = slab_.slots[index].now();
            if (is.owner != owner || is.state == slot_state::free) return true;
            if (is.generation == 0) return own_.nonsense(index), false;
            if (is.state != slot_state::allocated && !lost(slot_handle{index, is.generation})) {
                ++done_.in_flight;
                return true;
            }
            if (recover(index, is, round)) return true;
            if (own_.half_done() || own_.corrupt()) return false;
            if (tries + 1 < Widths.attempts) round.retry();
        }
        return false;
    }

    /// A slot that the dead was about to take off the list, or, of `owner`, to put there. It is ours to put there when
    /// it is free, not on the list now, and still in the generation in which it was seen on the list or only the dead
    /// could have put it there. A live member that has just taken it off finds its word changed, and takes another.
    /// False: not yet.
    bool free_intended(slot_handle slot, const slot_owner* owner) noexcept {
        if (slot == slot_handle{} || slot.index() >= slab_.slot_count) return true;
        typename Atomics::retry_loop round;
        const slot_word is = slab_.slots[slot.index()].now();
        if (is.generation != slot.generation() || is.state != slot_state::free) return true;
        if (owner != nullptr && is.owner != *owner) return true;
        switch (look_for(slot.index())) {
            case whereabouts::on_the_list: return true;
            case whereabouts::unknown: return false;
            case whereabouts::off_the_list: break;
        }
        return recover(slot.index(), is, round) || (!own_.half_done() && !own_.corrupt());
    }

    /// Ends the allocation of a slot of the dead, and puts the slot on the list. False: not yet.
    bool recover(std::uint32_t index, slot_word is, typename Atomics::retry_loop& round) noexcept {
        const slot_handle ended{index, is.generation};
        round.prepare(own_.mine().giving, allocator::intent_to_give(ended));  // for who finds us dead
        std::uint64_t word = is.word();
        if (!slab_.slots[index].word.compare_exchange_strong(
                word, slot_word{allocator::meta::after(is.generation), own_.owner(), slot_state::free}.word(),
                release,   // [off-list]
                relaxed))  // looked at again
            return false;
        ++done_.returned;
        return own_.put(ended);
    }

    /// Walks the list, until it has held still meanwhile.
    [[nodiscard]] whereabouts look_for(std::uint32_t index) noexcept {
        for (std::uint32_t tries = 0; tries < Widths.walks; ++tries) {
            typename Atomics::retry_loop round;
            std::uint64_t head = slab_.shared->head.load(acquire);  // [recycle]
            std::uint32_t at = view::index_of(head);
            std::uint32_t steps = 0;
            for (; at != view::none && at != index && at < slab_.slot_count && steps < slab_.slot_count; ++steps)
                at = slab_.slots[at].next.load(relaxed);  // [recycle] has shown it, if the head has not changed
            // An exchange and not a load, which might not be the newest.
            if (slab_.shared->head.compare_exchange_strong(head, head, relaxed,  // the tag says it all
                                                           relaxed)) {           // looked at again
                if (at == index) return whereabouts::on_the_list;
                if (at == view::none) return whereabouts::off_the_list;
                own_.nonsense(at);  // out of range, or a circle
                return whereabouts::unknown;
            }
            if (tries + 1 < Widths.walks) round.retry();
        }
        return whereabouts::unknown;
    }

    allocator& own_;
    view slab_;
    reclaimed done_;
};

}  // namespace v1
}  // namespace shm
