// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <shm/slab/pool_slabs.hpp>

namespace shm {
inline namespace v1 {

/// var_slot_pool::member: allocates and frees in a pool, by an entry in each slab. Move-only.
///
/// A handle may be freed by any member. An owner is there for `reclaim`, not for permission. Each operation on a handle
/// returns what treiber_slab_raw's does, or `no_such_slab`: of a slab that does not exist, or that this member cannot
/// join, for the reason that `meet` says.
///
/// Promise    try_alloc takes a slot of the smallest size that fits and is free. A slot belongs to one allocation at a
///            time, and the allocator sees everything done in the slot before it was freed
/// Progress   lock-free: `contended` after as many failed attempts as a slab makes
/// Callers    one thread at a time
/// Shape      none of its own: an entry in the table of members of each slab
/// Edges      those of pool_slabs and of treiber_slab_raw
/// Refuses    what treiber_slab_raw refuses, and `no_such_slab`
/// Crash      reclaim finds in each slab what the dead had there
/// Trust      hostile: nonsense in a slab latches `corrupt` for that slab alone
/// Source     none
template <slab_widths Widths, atomics_layer Atomics>
class pool_member {
    using enum std::memory_order;
    using slabs = pool_slabs<Widths, Atomics>;
    using header = typename slabs::header;
    using slab_member = typename slabs::slab::member;
    static constexpr auto max_slabs = slabs::max_slabs;

public:
    /// Takes a slot of at least `bytes` bytes, of the smallest size that has one free: a handle; `too_large` when no
    /// slab that this member has joined has such slots; `would_block`, `contended` or `corrupt`.
    [[nodiscard]] pool_alloc_result try_alloc(std::size_t bytes) noexcept {
        pool_alloc_result taken = take(bytes);
        while (!taken && taken.status() != alloc_status::corrupt) {
            const std::uint32_t before = joined_;
            (void)meet();  // what it cannot join is not there
            if (joined_ == before) break;
            taken = take(bytes);
        }
        return taken;
    }

    /// Says that an allocated slot has been sent: from now on `free` frees it, and `adopt` takes it on.
    [[nodiscard]] result<void, slot_error> mark_in_flight(pool_handle handle) noexcept {
        return in_slab(handle, &slab_member::mark_in_flight);
    }

    /// Takes on what another has sent: the slot is allocated, and this member's.
    [[nodiscard]] result<void, slot_error> adopt(pool_handle handle) noexcept {
        return in_slab(handle, &slab_member::adopt);
    }

    /// Frees a slot that is in flight. After `contended` it may be called again with the same handle; other calls for
    /// this slab first finish this one.
    [[nodiscard]] result<void, free_error> free(pool_handle handle) noexcept {
        return in_slab(handle, &slab_member::free);
    }

    /// Frees a slot that is allocated. After `contended` it may be called again with the same handle; other calls for
    /// this slab first finish this one.
    [[nodiscard]] result<void, free_error> free_allocated(pool_handle handle) noexcept {
        return in_slab(handle, &slab_member::free_allocated);
    }

    /// The bytes of the slot that a handle names, as var_slot_pool::data.
    [[nodiscard]] std::span<std::byte> data(pool_handle handle) const noexcept { return slabs_.data(handle); }

    /// Frees what a dead peer had in any slab, as the slab's reclaim does; `lost` is asked with a pool_handle. It is
    /// not complete while there is a slab that this member cannot join. An error is the first slab's that has one; the
    /// others have been seen to.
    template <class Lost>
    [[nodiscard]] result<reclaimed, slot_error> reclaim(const proof_of_death& dead, Lost lost) noexcept {
        return in_each_slab([&](slab_member& there, std::uint32_t number) {
            return there.reclaim(dead, [&](slot_handle slot) { return lost(pool_handle{number, slot}); });
        });
    }

    /// Reclaims what a dead peer held; what it had sent stays in flight.
    [[nodiscard]] result<reclaimed, slot_error> reclaim(const proof_of_death& dead) noexcept {
        return reclaim(dead, [](pool_handle) { return false; });
    }

    /// Frees each slot in flight of which `lost(pool_handle)` says that nobody can receive it any more, as the slab's
    /// reclaim_in_flight does. It is not complete while there is a slab that this member cannot join.
    template <class Lost>
    [[nodiscard]] result<reclaimed, slot_error> reclaim_in_flight(Lost lost) noexcept {
        return in_each_slab([&](slab_member& there, std::uint32_t number) {
            return there.reclaim_in_flight([&](slot_handle slot) { return lost(pool_handle{number, slot}); });
        });
    }

    /// Joins the slabs that have been added since; operations that need one do it themselves. Says what keeps it from
    /// one.
    [[nodiscard]] result<void> meet() noexcept { return join_after(slabs_.meet()); }

    /// Takes note that the region has become longer at the same address, and joins the slabs there.
    [[nodiscard]] result<void> extend(region bytes) noexcept { return join_after(slabs_.extend(bytes)); }

    /// Joins the next slab, which lies in `annex`, and those after it. The annex has to outlive the member, as the
    /// region has.
    [[nodiscard]] result<void> attach_annex(region annex) noexcept { return join_after(slabs_.attach_annex(annex)); }

    /// How many slabs this member has joined; their numbers are below.
    [[nodiscard]] std::uint32_t slab_count() const noexcept { return joined_; }

    /// Whether this member has ever met nonsense in a slab. Where a slot of that slab's would be next, it allocates no
    /// more.
    [[nodiscard]] bool corrupt() const noexcept {
        for (std::uint32_t number = 0; number < joined_; ++number)
            if (members_[number]->corrupt()) return true;
        return false;
    }

private:
    template <slab_widths, atomics_layer>
    friend class var_slot_pool;

    pool_member(const slabs& known, peer_id me) noexcept : slabs_{known}, peer_{me} {}

    /// Whether the table names a slab that is not joined.
    [[nodiscard]] bool more() const noexcept {
        return joined_ < max_slabs &&
               slabs_.shared().places[joined_].load(relaxed) != header::no_slab;  // nothing of it is used
    }

    [[nodiscard]] result<void> join_after(result<void> met) noexcept {
        for (; joined_ < slabs_.count(); ++joined_) {
            auto joined = slabs_.at(joined_).join(peer_);
            if (!joined) return joined.error();
            members_[joined_].emplace(*std::move(joined));
        }
        return met;
    }

    [[nodiscard]] pool_alloc_result take(std::size_t bytes) noexcept {
        alloc_status why = alloc_status::too_large;
        for (std::uint32_t at = 0; at < slabs_.count(); ++at) {
            const std::uint32_t number = slabs_.by_size(at);
            if (number >= joined_ || slabs_.at(number).slot_size() < bytes) continue;
            const alloc_result taken = members_[number]->try_alloc();
            if (taken) return pool_handle{number, *taken};
            if (taken.status() == alloc_status::corrupt) return alloc_status::corrupt;
            if (why != alloc_status::contended) why = taken.status();
        }
        return why;
    }

    /// What a reclaim has done in all slabs; its first error, when all have been seen to.
    template <class Reclaim>
    [[nodiscard]] result<reclaimed, slot_error> in_each_slab(Reclaim reclaim) noexcept {
        if (const auto here = slabs_.bytes().mapped_here(); !here)
            return slot_error{slot_error::kind::wrong_process, here.error().expected, here.error().found};
        reclaimed all;
        all.complete = meet().has_value() && !more();
        std::optional<slot_error> refused;
        for (std::uint32_t number = 0; number < joined_; ++number) {
            const result<reclaimed, slot_error> done = reclaim(*members_[number], number);
            if (!done) {
                if (!refused) refused = done.error();
                continue;
            }
            all.returned += done->returned;
            all.in_flight += done->in_flight;
            all.complete = all.complete && done->complete;
        }
        if (refused) return *refused;
        return all;
    }

    template <class Operation>
    [[nodiscard]] result<void, slot_error> in_slab(pool_handle handle, Operation operation) noexcept {
        if (handle.slab() >= joined_) (void)meet();  // what it cannot join is not there
        if (handle.slab() >= joined_) return slot_error{slot_error::kind::no_such_slab, joined_, handle.slab()};
        return ((*members_[handle.slab()]).*operation)(handle.slot());
    }

    slabs slabs_;
    peer_id peer_;
    std::uint32_t joined_ = 0;  // the slabs below that number
    std::array<std::optional<slab_member>, max_slabs> members_{};
};

}  // namespace v1
}  // namespace shm
