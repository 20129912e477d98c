// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <unistd.h>

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <shm/object/handshake.hpp>
#include <shm/role.hpp>
#include <shm/slab/slab_view.hpp>
#include <shm/slab/slot_allocator.hpp>
#include <shm/slab/slot_recovery.hpp>

namespace shm {
inline namespace v1 {

/// Equal slots and a free list of them, for any number of threads of any number of processes. This is the coordination
/// alone, in indices; `treiber_slab` is the same with the slots' bytes, placed in a region: prefer it.
///
/// Promise    a slot belongs to one allocation at a time. The allocator sees everything done in the slot before it was
///            freed. A handle of an earlier allocation is refused. Slots come last in, first out
/// Progress   lock-free: some call succeeds; `contended` after Widths.attempts failed attempts in a row. reclaim needs
///            the list to hold still for a walk of it, at most twice for each entry; after Widths.walks failed attempts
///            it says that it is not complete
/// Callers    each member is used by one thread at a time; anyone may join, at any time
/// Shape      treiber_slab_header (128 bytes), the members (64 bytes each), the slots' slot_meta (16 bytes each)
/// Edges      [recycle], [off-list] and [joined] of slot_allocator, and [ready] of handshake: the header, the table and
///            the list are whole
/// Refuses    create: `count`, `capacity`, `element_size`, and what handshake refuses. attach: what handshake refuses,
///            then `layout_hash`, `count`, `capacity`, `element_size`, `too_small`. join: `peer_id`, `count`
/// Crash      wherever a member dies, each slot is on the list, or owned by that member, or named by `taking` or
///            `giving` of its entry: reclaim finds it. When a recoverer is killed, the next reclaim of the same dead
///            peer, or of the recoverer, finishes its work. Any number of recoverers may be at work at once
/// Trust      hostile peers: each index is checked before it is used, each walk and each loop is bounded, and nonsense
///            latches `corrupt` in the member that met it. A peer that may write the words can give one slot two
///            owners: the bytes of slots are as untrusted as the peers
/// Wraps      the tag counts allocations. When a thread pauses inside one allocation, exactly a multiple of 2^40 slots
///            are allocated meanwhile, and the same slot is on top again, the thread takes a wrong link. At 10 ns each,
///            that is a pause of three hours, met to the operation. A handle kept while its slot is allocated a
///            multiple of 2^40 - 1 times is taken for fresh, and an entry's holder for the 16,383rd before it
/// Source     Treiber's stack (1986) with a counted head (IBM System/370). Recovery by intent words written before the
///            compare-exchange is ours
template <slab_widths Widths = slab_widths{}, atomics_layer Atomics = std_atomics>
class treiber_slab_raw {
    using enum std::memory_order;
    static_assert(Widths.generation_bits >= 2 && Widths.generation_bits <= slot_handle::generation_bits);
    static_assert(Widths.tag_bits <= 40 && Widths.incarnation_bits >= 1 && Widths.incarnation_bits <= 14);
    static_assert(Widths.attempts >= 1 && Widths.walks >= 1);
    using geometry = slab_geometry<Widths, Atomics>;
    using view = slab_view<Widths, Atomics>;

public:
    using header = typename geometry::header;  ///< what lies in front
    using entry = typename geometry::entry;    ///< of the table of members
    using meta = typename geometry::meta;      ///< what is kept of each slot

    static constexpr std::uint32_t max_slots = geometry::max_slots;          ///< 2^24 - 1
    static constexpr std::uint32_t max_members = geometry::max_members;      ///< 255
    static constexpr std::uint32_t max_alignment = geometry::max_alignment;  ///< a page

    /// What separately built peers must agree on beyond the fields that the header spells out.
    [[nodiscard]] static constexpr std::uint64_t layout_hash() noexcept { return geometry::layout_hash(); }

    class member;

    /// Makes a slab over all of `slots`, all free, the first on top. The bytes must be zero. Of two creators, one is
    /// refused `already_created`. `slot_size` and `slot_alignment` are the caller's to keep.
    [[nodiscard]] static result<treiber_slab_raw> create(header& shared, std::span<entry> members,
                                                         std::span<meta> slots, std::uint64_t slot_size,
                                                         std::uint32_t slot_alignment) noexcept {
        if (slots.size() > max_slots) return fault{fault_kind::count, max_slots, slots.size(), "slots"};
        if (members.size() > max_members) return fault{fault_kind::count, max_members, members.size(), "members"};
        const slab_shape shape{static_cast<std::uint32_t>(slots.size()), slot_size, slot_alignment,
                               static_cast<std::uint32_t>(members.size())};
        if (const auto fault = geometry::wrong(shape)) return *fault;
        using object = handshake<Atomics, header>;
        if (const auto refused = object::begin_creation(shared, header::magic_value)) return *refused;
        shared.layout_hash.write(layout_hash());
        shared.slot_size.write(slot_size);
        shared.slot_alignment.write(slot_alignment);
        shared.slot_count.write(shape.slot_count);
        shared.member_count.write(shape.member_count);
        shared.layout_version.write(header::current_version);
        for (std::uint32_t i = 0; i < shape.slot_count; ++i)
            slots[i].init(i + 1 < shape.slot_count ? i + 1 : view::none);
        shared.head.store(view::head_of(0, 0), relaxed);  // [ready] follows
        object::finish_creation(shared);
        return treiber_slab_raw{shared, members, slots};
    }

    /// Attaches to the slab in `shared`, whose members and slots must fit into what is given. Waits for its creator
    /// until `until`; the default does not wait. Nothing of the header is believed before it has been checked, or read
    /// again after.
    [[nodiscard]] static result<treiber_slab_raw> attach(header& shared, std::span<entry> members,
                                                         std::span<meta> slots, deadline until = {}) noexcept {
        const auto shape = shape_of(shared, until);
        if (!shape) return shape.error();
        if (shape->member_count > members.size())
            return fault{fault_kind::too_small, shape->member_count, members.size(), "members"};
        if (shape->slot_count > slots.size())
            return fault{fault_kind::too_small, shape->slot_count, slots.size(), "slots"};
        return treiber_slab_raw{shared, members.first(shape->member_count), slots.first(shape->slot_count)};
    }

    /// The shape of the slab in `shared`, checked; waits and refuses as `attach` does.
    [[nodiscard]] static result<slab_shape> shape_of(const header& shared, deadline until = {}) noexcept {
        if (const auto refused = handshake<Atomics, header>::expect_ready(shared, until)) return *refused;
        if (const auto hash = shared.layout_hash.read(); hash != layout_hash())
            return fault{fault_kind::layout_hash, layout_hash(), hash};
        const slab_shape shape{shared.slot_count.read(), shared.slot_size.read(), shared.slot_alignment.read(),
                               shared.member_count.read()};
        if (const auto fault = geometry::wrong(shape)) return *fault;
        return shape;
    }

    /// Takes an entry of the table, which nobody may hold, for one thread. It is given up when the member is destroyed.
    [[nodiscard]] result<member> join(peer_id me) const noexcept {
        for (std::uint32_t i = 0; i < member_count(); ++i) {
            auto place = role<Atomics>::claim(view_.members[i].claim, me, "member");
            if (place) return member{view_, static_cast<std::uint8_t>(i), *std::move(place), me};
            if (place.error().what != fault_kind::busy) return place.error();
        }
        return fault{fault_kind::count, member_count(), std::uint64_t{member_count()} + 1, "members"};
    }

    /// How many slots there are.
    [[nodiscard]] std::uint32_t slot_count() const noexcept { return view_.slot_count; }

    /// How many members there can be.
    [[nodiscard]] std::uint32_t member_count() const noexcept { return view_.member_count; }

    /// How many slots are free; while the slab is in use, how many there were about now. Looks at every slot.
    [[nodiscard]] std::uint32_t free_count_approx() const noexcept {
        std::uint32_t free = 0;
        for (std::uint32_t i = 0; i < slot_count(); ++i) free += view_.slots[i].state() == slot_state::free ? 1 : 0;
        return free;
    }

    /// What is kept of a slot. Precondition: `index` is below slot_count().
    [[nodiscard]] meta& slot(std::uint32_t index) const noexcept {
        assert(index < slot_count());
        return view_.slots[index];
    }

    /// The header, in shared memory.
    [[nodiscard]] header& shared() const noexcept { return *view_.shared; }

private:
    template <slab_widths, atomics_layer>
    friend class treiber_slab;

    treiber_slab_raw(header& shared, std::span<entry> members, std::span<meta> slots) noexcept
        : view_{&shared, members.data(), slots.data(), static_cast<std::uint32_t>(members.size()),
                static_cast<std::uint32_t>(slots.size())} {}

    view view_;
};

/// Allocates and frees: one entry of the table. Move-only.
///
/// A handle may be freed by any member. An owner is there for `reclaim`, not for permission.
template <slab_widths Widths, atomics_layer Atomics>
class treiber_slab_raw<Widths, Atomics>::member {
public:
    /// A moved-from member reports `corrupt`; otherwise two live members would share an entry.
    member(member&& other) noexcept = default;

    /// A moved-from member reports `corrupt`. The member that was here leaves.
    member& operator=(member&& other) noexcept {
        if (this == &other) return *this;
        leave();
        own_ = std::move(other.own_);
        peer_ = other.peer_;
        role_ = std::move(other.role_);
        return *this;
    }

    /// Gives the entry up. If it still has slots allocated, the entry stays its own until a proof of death, so that
    /// they are found. What it has sent is its receivers' to free; what nobody can receive, `reclaim_in_flight` finds.
    ~member() { leave(); }

    /// Takes a free slot: a handle, `would_block`, `contended` or `corrupt`.
    [[nodiscard]] alloc_result try_alloc() noexcept { return own_.try_alloc(); }

    /// Says that an allocated slot has been sent: from now on `free` frees it, and `adopt` takes it on. A sender that
    /// cannot send it after all, because the queue is full, adopts it back.
    [[nodiscard]] result<void, slot_error> mark_in_flight(slot_handle handle) noexcept {
        return own_.transition(handle, slot_state::allocated, slot_state::in_flight, std::nullopt);
    }

    /// Takes on what another has sent: the slot is allocated, and this member's.
    [[nodiscard]] result<void, slot_error> adopt(slot_handle handle) noexcept {
        return own_.transition(handle, slot_state::in_flight, slot_state::allocated, owner());
    }

    /// Frees a slot that is in flight. After `contended` it may be called again with the same handle; other calls first
    /// finish this one.
    [[nodiscard]] result<void, free_error> free(slot_handle handle) noexcept {
        return own_.free(handle, slot_state::in_flight);
    }

    /// Frees a slot that is allocated. After `contended` it may be called again with the same handle; other calls first
    /// finish this one.
    [[nodiscard]] result<void, free_error> free_allocated(slot_handle handle) noexcept {
        return own_.free(handle, slot_state::allocated);
    }

    /// Frees all slots that a dead peer had allocated, was about to allocate or was freeing, in each entry that it
    /// held, and gives up those entries, so that others may have them. What it had sent stays in flight, and keeps its
    /// entry, unless `lost(slot_handle)` says that nobody can receive it any more. Not while the peer only sleeps: that
    /// is what the proof is for.
    template <class Lost>
    [[nodiscard]] result<reclaimed, slot_error> reclaim(const proof_of_death& dead, Lost lost) noexcept {
        if (const auto refused = refuses_copy()) return *refused;
        if (!own_.finish()) return own_.why_unfinished();
        return recovery{own_}.free_slots_of(dead, peer_, lost);
    }

    /// Reclaims what a dead peer held; what it had sent stays in flight.
    [[nodiscard]] result<reclaimed, slot_error> reclaim(const proof_of_death& dead) noexcept {
        return reclaim(dead, [](slot_handle) { return false; });
    }

    /// Frees each slot in flight, whoever sent it, alive, dead or gone, of which `lost(slot_handle)` says that nobody
    /// can receive it any more: of a queue that has been thrown away, say. A receiver that comes too late is refused.
    template <class Lost>
    [[nodiscard]] result<reclaimed, slot_error> reclaim_in_flight(Lost lost) noexcept {
        if (const auto refused = refuses_copy()) return *refused;
        if (!own_.finish()) return own_.why_unfinished();
        return recovery{own_}.free_in_flight(lost);
    }

    /// The owner of what this member allocates.
    [[nodiscard]] slot_owner owner() const noexcept { return own_.owner(); }

    /// Whether this member has ever met nonsense. Then each of its calls is refused.
    [[nodiscard]] bool corrupt() const noexcept { return own_.corrupt(); }

private:
    friend class treiber_slab_raw;
    using recovery = slot_recovery<Widths, Atomics>;

    member(const view& slab, std::uint8_t place, role<Atomics> claimed, peer_id peer) noexcept
        : own_{slab, place}, peer_{peer}, role_{std::move(claimed)} {}

    /// To a forked child, which has a mere copy of the member that joined.
    [[nodiscard]] std::optional<slot_error> refuses_copy() const noexcept {
        if (corrupt() || role_.held()) return std::nullopt;
        return slot_error{slot_error::kind::wrong_process, static_cast<std::uint64_t>(role_.process()),
                          static_cast<std::uint64_t>(::getpid())};
    }

    /// Before the role is given up.
    void leave() noexcept {
        if (!role_.held()) return;
        bool owns = !own_.finish();
        for (std::uint32_t i = 0; i < own_.slab().slot_count && !owns; ++i) {
            const slot_word is = own_.slab().slots[i].now();
            owns = is.owner == owner() && is.state == slot_state::allocated;
        }
        if (owns) role_.keep();
    }

    slot_allocator<Widths, Atomics> own_;
    peer_id peer_;
    role<Atomics> role_;  // none is held: moved from
};

}  // namespace v1
}  // namespace shm
