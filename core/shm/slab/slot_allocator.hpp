// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

#include <shm/slab/slab_view.hpp>
#include <shm/slot_meta.hpp>

namespace shm {
inline namespace v1 {

/// One member's allocations: takes slots off the free list of a slab, and puts them back. Before it takes or frees a
/// slot, it says in its entry of the table which one: slot_recovery reads that when the member is dead.
///
///     head -> slot 2 -> slot 0 -> none          the links are slot_meta::next
///
///     try_alloc                                 free
///     top = head, below = its link              entry.giving = the slot, in its next generation
///     entry.taking = top                        word = free, in its next generation
///     head = below, tag + 1                     link = head
///     word = allocated by this member           head = the slot
///
/// Promise    a slot belongs to one allocation at a time. The allocator sees everything done in the slot before it was
///            freed
/// Progress   lock-free: some call succeeds; `contended` after Widths.attempts failed attempts in a row
/// Callers    one thread
/// Shape      none of its own: the words are those of slab_view
/// Edges      [recycle]   head, from freeing to allocating:        all use of the slot is over, and its link is written
///            [off-list]  a slot's word, from the member that took the slot off the list, by way of all changes of the
///                        word, to a member that meets it in a generation of which the head that it has read knows
///                        nothing: the head has changed
///            [joined]    incarnation, from a new holder of an entry to a recoverer of its predecessor: the entry is no
///                        longer the dead one's
/// Refuses    what slot_meta::try_transition refuses; `corrupt` forever after it has met nonsense
/// Crash      each slot is in the list, or allocated, or named by this member's `taking` or `giving`
/// Trust      hostile: each index is checked before it is used, and every loop is bounded
/// Source     Treiber's stack (1986) with a counted head (IBM System/370). The intent words are ours
template <slab_widths Widths, atomics_layer Atomics>
class slot_allocator {
    using enum std::memory_order;
    using errors = slot_error::kind;

public:
    using view = slab_view<Widths, Atomics>;       ///< of the slab
    using entry = typename view::geometry::entry;  ///< of the table of members
    using meta = typename view::geometry::meta;    ///< what is kept of each slot

    /// Of a member that has just claimed that entry, as its next incarnation.
    slot_allocator(const view& slab, std::uint8_t place) noexcept : slab_{slab}, me_{place, 0} {
        const std::uint32_t before = mine().incarnation.load(relaxed);  // handed over with the role
        me_.incarnation = static_cast<std::uint16_t>((before + 1) & ((1U << Widths.incarnation_bits) - 1));
        if (me_.incarnation == 0) me_.incarnation = 1;
        mine().incarnation.store(me_.incarnation, release);  // [joined]
    }

    /// A moved-from allocator reports `corrupt`; otherwise there would be two of one entry.
    slot_allocator(slot_allocator&& other) noexcept
        : slab_{other.slab_},
          me_{other.me_},
          unfinished_{std::exchange(other.unfinished_, {})},
          corrupt_{std::exchange(other.corrupt_, true)},
          nonsense_at_{other.nonsense_at_} {}

    /// A moved-from allocator reports `corrupt`.
    slot_allocator& operator=(slot_allocator&& other) noexcept {
        slab_ = other.slab_;
        me_ = other.me_;
        unfinished_ = std::exchange(other.unfinished_, {});
        corrupt_ = std::exchange(other.corrupt_, true);
        nonsense_at_ = other.nonsense_at_;
        return *this;
    }

    ~slot_allocator() = default;

    /// Takes a free slot: a handle, `would_block`, `contended` or `corrupt`.
    [[nodiscard]] alloc_result try_alloc() noexcept {
        if (!finish()) return corrupt_ ? alloc_status::corrupt : alloc_status::contended;
        for (std::uint32_t tries = 0; tries < Widths.attempts; ++tries) {
            typename Atomics::retry_loop round;
            std::uint64_t head = slab_.shared->head.load(acquire);  // [recycle]
            const std::uint32_t top = view::index_of(head);
            if (top == view::none) return alloc_status::would_block;
            if (top >= slab_.slot_count) return nonsense(top);
            meta& slot = slab_.slots[top];
            std::uint64_t word = slot.word.load(acquire);  // [off-list]
            const std::uint32_t below =
                slot.next.load(relaxed);                     // written before the slot was on top, or head has changed
            if (slab_.shared->head.load(relaxed) != head) {  // [off-list] shows a change that the word tells of
                if (tries + 1 < Widths.attempts) round.retry();
                continue;
            }
            const auto is = slot_word::from_word(word);
            if (is.state != slot_state::free || is.generation == 0) return nonsense(top);
            if (below != view::none && below >= slab_.slot_count) return nonsense(below);

            // The slot has been seen on the list in this generation: a recoverer that finds it off the list and still
            // free knows that we took it off.
            round.prepare(mine().taking, slot_handle{top, is.generation}.word());  // for who finds us dead
            if (!slab_.shared->head.compare_exchange_strong(head, view::head_of(below, view::tag_of(head) + 1),
                                                            relaxed,     // the load has acquired
                                                            relaxed)) {  // looked at again
                if (tries + 1 < Widths.attempts) round.retry();
                continue;
            }
            if (slot.word.compare_exchange_strong(word, slot_word{is.generation, me_, slot_state::allocated}.word(),
                                                  release,   // [off-list], [allocated]
                                                  relaxed))  // a reclaim has taken it: another
                return slot_handle{top, is.generation};
        }
        return alloc_status::contended;
    }

    /// Changes the state of the slot from `from` to `to`, and its owner to `owner` if there is one.
    [[nodiscard]] result<void, slot_error> transition(slot_handle handle, slot_state from, slot_state to,
                                                      std::optional<slot_owner> owner) noexcept {
        if (corrupt_) return why_unfinished();
        if (handle.index() >= slab_.slot_count)
            return slot_error{errors::invalid_index, slab_.slot_count, handle.index()};
        return slab_.slots[handle.index()].try_transition(handle.generation(), from, to, owner);
    }

    /// Frees a slot that is in the state `from`. `contended`: it is freed, and not yet on the list; the next call puts
    /// it there.
    [[nodiscard]] result<void, free_error> free(slot_handle handle, slot_state from) noexcept {
        const bool half_done = unfinished_ == handle && handle != slot_handle{};
        if (!finish()) return why_unfinished();
        if (half_done) return {};
        typename Atomics::retry_loop intent;
        intent.prepare(mine().giving, intent_to_give(handle));  // for who finds us dead
        if (auto changed = transition(handle, from, slot_state::free, me_); !changed) return changed;
        if (!put(handle)) return why_unfinished();
        return {};
    }

    /// Puts a slot on the list whose allocation `ended` this member has just ended. False: `contended` or `corrupt`.
    bool put(slot_handle ended) noexcept {
        unfinished_ = ended;
        return finish();
    }

    /// Puts the slot on the list that we have freed and not yet put there, if there is one. False: `contended` or
    /// `corrupt`.
    bool finish() noexcept {
        if (corrupt_) return false;
        if (unfinished_ == slot_handle{}) return true;
        const std::uint32_t index = unfinished_.index();
        for (std::uint32_t tries = 0; tries < Widths.attempts; ++tries) {
            typename Atomics::retry_loop round;
            std::uint64_t head = slab_.shared->head.load(relaxed);  // nothing of the slot below is used
            const std::uint32_t top = view::index_of(head);
            if (top != view::none && top >= slab_.slot_count) return nonsense(top), false;
            round.prepare(slab_.slots[index].next, top);  // [recycle] follows
            if (slab_.shared->head.compare_exchange_strong(head, view::head_of(index, view::tag_of(head)),
                                                           release,     // [recycle]
                                                           relaxed)) {  // looked at again
                unfinished_ = {};
                mine().giving.store(0, relaxed);  // it is on the list: nobody need look for it when we are dead
                return true;
            }
            if (tries + 1 < Widths.attempts) round.retry();
        }
        return false;
    }

    /// Intent word: tells a recoverer that we end this allocation and put the slot on the list.
    [[nodiscard]] static std::uint64_t intent_to_give(slot_handle handle) noexcept {
        return slot_handle{handle.index(), meta::after(handle.generation())}.word();
    }

    /// Latches `corrupt`, for a word that no member of ours writes.
    alloc_status nonsense(std::uint32_t at) noexcept {
        corrupt_ = true;
        nonsense_at_ = at;
        slab_.shared->reported_corrupt.store(1, relaxed);  // for people to read
        return alloc_status::corrupt;
    }

    /// Whether this member has ever met nonsense.
    [[nodiscard]] bool corrupt() const noexcept { return corrupt_; }

    /// Whether there is a slot that has been freed and is not on the list yet.
    [[nodiscard]] bool half_done() const noexcept { return unfinished_ != slot_handle{}; }

    /// Why `finish` has returned false.
    [[nodiscard]] slot_error why_unfinished() const noexcept {
        if (corrupt_) return {errors::corrupt, slab_.slot_count, nonsense_at_};
        return {errors::contended, Widths.attempts, 0};
    }

    /// The owner of what this member allocates.
    [[nodiscard]] slot_owner owner() const noexcept { return me_; }

    /// The slab.
    [[nodiscard]] const view& slab() const noexcept { return slab_; }

    /// This member's entry of the table.
    [[nodiscard]] entry& mine() const noexcept { return slab_.members[me_.entry]; }

private:
    view slab_;
    slot_owner me_;
    slot_handle unfinished_;  // freed, and not yet on the list
    bool corrupt_ = false;
    std::uint32_t nonsense_at_ = view::none;  // to say where it was
};

}  // namespace v1
}  // namespace shm
