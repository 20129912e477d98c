// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <shm/slab/pool_geometry.hpp>

namespace shm {
inline namespace v1 {

/// The slabs of a pool that one process has attached to. They lie in the pool's region and in annexes; the pool's
/// header has a table of their places, which others add to at any time.
///
/// Promise    a slab that is added is seen whole, or not at all. The slabs keep their numbers
/// Progress   wait-free
/// Callers    one thread; `data`, `count` and `at` while no other thread calls anything else
/// Shape      none of its own: the words are var_slot_pool_header and pool_annex_header
/// Edges      [added]  a word of the table, from adding a slab to looking for more:  the slab is whole
/// Refuses    meet: `misaligned`, `out_of_range`, and what treiber_slab refuses. attach_annex: `too_small`,
///            `not_ready`, `magic`, `slab_number`, and what `meet` refuses. All: `wrong_process`
/// Crash      nothing is left behind: nothing is written
/// Trust      hostile: each place in the table is read once, checked, and private from then on
/// Source     none; a table of contents, as in any file format
template <slab_widths Widths, atomics_layer Atomics>
class pool_slabs {
    using enum std::memory_order;

public:
    using geometry = pool_geometry<Widths, Atomics>;        ///< where everything lies
    using header = typename geometry::header;               ///< what lies at the region's start
    using annex_header = typename geometry::annex_header;   ///< what lies at an annex's start
    using slab = typename geometry::slab;                   ///< the slots of one size
    static constexpr auto max_slabs = geometry::max_slabs;  ///< of a pool

    /// None yet, of the pool in `bytes`, whose header has been checked.
    pool_slabs(region bytes, header& shared, std::uint32_t slot_alignment, std::uint32_t member_count) noexcept
        : bytes_{bytes}, shared_{&shared}, slot_alignment_{slot_alignment}, member_count_{member_count} {}

    /// Attaches to the slabs that have been added since, up to the first whose bytes this process does not have: of one
    /// beyond the region it says `out_of_range` or `too_small`; one in an annex waits for `attach_annex`.
    [[nodiscard]] result<void> meet() noexcept {
        if (const auto here = bytes_.mapped_here(); !here) return here.error();
        while (count_ < max_slabs) {
            const std::uint64_t place = shared_->places[count_].load(acquire);  // [added]
            if (place == header::no_slab || place == header::in_annex) break;
            if (place % cache_line_bytes != header::in_region)
                return fault{fault_kind::misaligned, cache_line_bytes, place % cache_line_bytes, "place of a slab"};
            const std::uint64_t offset = place - header::in_region;
            const std::size_t last = bytes_.size_bytes() - sizeof(typename slab::header);  // the pool's is longer
            if (offset > last) return fault{fault_kind::out_of_range, last, offset, "place of a slab"};
            const auto begin = static_cast<std::size_t>(offset);
            const auto there = bytes_.subregion(begin, bytes_.size_bytes() - begin);
            if (const auto done = take_on(*there); !done) return done;
        }
        return {};
    }

    /// Takes note that the region has become longer at the same address, and meets the slabs there.
    [[nodiscard]] result<void> extend(region bytes) noexcept {
        assert(bytes.data() == bytes_.data() && bytes.size_bytes() >= bytes_.size_bytes());
        bytes_ = bytes;
        return meet();
    }

    /// Attaches to the next slab, which lies in `annex`, and meets those after it. `slab_number`: it is another one's
    /// annex.
    [[nodiscard]] result<void> attach_annex(region annex) noexcept {
        if (const auto refused = too_small(annex, geometry::slab_offset(sizeof(annex_header), slot_alignment_)))
            return *refused;
        if (const auto here = bytes_.mapped_here(); !here) return here.error();
        const auto found = annex.get<annex_header>();
        if (!found) return found.error();
        const annex_header& shared = **found;
        const std::uint64_t place = count_ < max_slabs ? shared_->places[count_].load(acquire)  // [added]
                                                       : header::no_slab;
        if (place != header::in_annex) return fault{fault_kind::not_ready, header::in_annex, place, "place of a slab"};
        if (const auto magic = shared.magic.read(); magic != annex_header::magic_value)
            return fault{fault_kind::magic, annex_header::magic_value, magic};
        if (const auto number = shared.slab_number.read(); number != count_)
            return fault{fault_kind::slab_number, count_, number};
        if (const auto done = take_on(geometry::slab_of(annex, slot_alignment_)); !done) return done;
        return meet();
    }

    /// The bytes of a slot; none when this process has attached to no such slot, and in a read-only region.
    [[nodiscard]] std::span<std::byte> data(pool_handle handle) const noexcept {
        if (handle.slab() >= count_) return {};
        return slabs_[handle.slab()]->data(handle.slot());
    }

    /// How many slabs this process has attached to; their numbers are below.
    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }

    /// One of them. Precondition: `number` is below count().
    [[nodiscard]] const slab& at(std::uint32_t number) const noexcept {
        assert(number < count_);
        return *slabs_[number];
    }

    /// The number of a slab, in order of the slots' size: by_size(0) has the smallest. Precondition: `rank` is below
    /// count().
    [[nodiscard]] std::uint32_t by_size(std::uint32_t rank) const noexcept {
        assert(rank < count_);
        return by_size_[rank];
    }

    /// The pool's header, in shared memory.
    [[nodiscard]] header& shared() const noexcept { return *shared_; }

    /// The pool's region, as long as this process knows it.
    [[nodiscard]] region bytes() const noexcept { return bytes_; }

    /// How the slots of each slab are aligned, in bytes.
    [[nodiscard]] std::uint32_t slot_alignment() const noexcept { return slot_alignment_; }

    /// The shape of a slab of that class in this pool.
    [[nodiscard]] slab_shape slab_shape_of(pool_class of) const noexcept {
        return geometry::slab_shape_of(of, slot_alignment_, member_count_);
    }

private:
    /// Attaches to the next slab, at the start of `bytes`.
    [[nodiscard]] result<void> take_on(region bytes) noexcept {
        const auto found = slab::attach(bytes);
        if (!found) return found.error();
        if (found->slot_count() > geometry::max_slots)
            return fault{fault_kind::count, geometry::max_slots, found->slot_count(), "slots"};
        slabs_[count_] = *found;
        std::uint32_t at = count_;
        for (; at > 0 && slabs_[by_size_[at - 1]]->slot_size() > found->slot_size(); --at)
            by_size_[at] = by_size_[at - 1];
        by_size_[at] = static_cast<std::uint8_t>(count_);
        ++count_;
        return {};
    }

    region bytes_;
    header* shared_;
    std::uint32_t slot_alignment_;
    std::uint32_t member_count_;
    std::uint32_t count_ = 0;                        // of the slabs attached to
    std::array<std::uint8_t, max_slabs> by_size_{};  // their numbers, smallest slots first
    std::array<std::optional<slab>, max_slabs> slabs_{};
};

}  // namespace v1
}  // namespace shm
