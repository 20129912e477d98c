// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstdint>

#include <shm/slab/slab_geometry.hpp>

namespace shm {
inline namespace v1 {

/// A slab as one process sees it: where its header and its two tables lie, and how long they are. The lengths have been
/// checked and are private, so that no word of a peer's leads out of the tables.
template <slab_widths Widths, atomics_layer Atomics>
struct slab_view {
    using geometry = slab_geometry<Widths, Atomics>;  ///< how large everything is

    typename geometry::header* shared;  ///< in shared memory
    typename geometry::entry* members;  ///< the table of members
    typename geometry::meta* slots;     ///< what is kept of each slot
    std::uint32_t member_count;         ///< of `members`
    std::uint32_t slot_count;           ///< of `slots`

    /// In place of a slot's index.
    static constexpr std::uint32_t none = geometry::max_slots;

    /// The word `head` when that slot is on top.
    [[nodiscard]] static constexpr std::uint64_t head_of(std::uint32_t index, std::uint64_t tag) noexcept {
        return (tag & tag_mask) << slot_handle::index_bits | index;
    }

    /// The index of the slot on top, which may be `none`, or nonsense.
    [[nodiscard]] static constexpr std::uint32_t index_of(std::uint64_t head) noexcept { return head & none; }

    /// How many slots had been taken when `head` was written.
    [[nodiscard]] static constexpr std::uint64_t tag_of(std::uint64_t head) noexcept {
        return head >> slot_handle::index_bits;
    }

private:
    static constexpr std::uint64_t tag_mask = (std::uint64_t{1} << Widths.tag_bits) - 1;
};

}  // namespace v1
}  // namespace shm
