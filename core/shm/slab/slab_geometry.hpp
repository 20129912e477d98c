// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include <shm/header_description.hpp>
#include <shm/object/arrays.hpp>
#include <shm/slot_meta.hpp>
#include <shm/treiber_slab_header.hpp>

namespace shm {
inline namespace v1 {

/// What a slab is made of.
struct slab_shape {
    std::uint32_t slot_count = 0;       ///< 1 to 2^24 - 1
    std::uint64_t slot_size = 0;        ///< in bytes; rounded up to a multiple of the alignment
    std::uint32_t slot_alignment = 64;  ///< in bytes, a power of two up to 4096
    std::uint32_t member_count = 16;    ///< 1 to 255: threads, of all processes together, that allocate and give back
};

/// Which shapes a slab can have, how many bytes one needs, and where its parts lie in them: the header, the table of
/// members, the slots' slot_meta, and, aligned as asked, the slots' bytes.
template <slab_widths Widths, atomics_layer Atomics>
struct slab_geometry {
    using header = treiber_slab_header<Atomics>;  ///< what lies in front
    using entry = treiber_slab_member<Atomics>;   ///< of the table of members
    using meta = slot_meta<Widths, Atomics>;      ///< what is kept of each slot

    static constexpr std::uint32_t max_slots =
        (std::uint32_t{1} << slot_handle::index_bits) - 1;  ///< one index is none
    static constexpr std::uint32_t max_members = 255;       ///< an entry is 8 bits
    static constexpr std::uint32_t max_alignment = 4096;    ///< a page

    /// What separately built peers must agree on beyond the fields that the header spells out.
    [[nodiscard]] static constexpr std::uint64_t layout_hash() noexcept {
        return header_description::hash_of({header::current_version, sizeof(header), sizeof(entry), sizeof(meta),
                                            slot_handle::index_bits, Widths.generation_bits, Widths.tag_bits,
                                            Widths.incarnation_bits});
    }

    /// What is wrong with a shape whose slot size has been rounded.
    [[nodiscard]] static constexpr std::optional<fault> wrong(slab_shape shape) noexcept {
        if (shape.slot_count == 0 || shape.slot_count > max_slots)
            return fault{fault_kind::count, max_slots, shape.slot_count, "slots"};
        if (shape.member_count == 0 || shape.member_count > max_members)
            return fault{fault_kind::count, max_members, shape.member_count, "members"};
        if (!std::has_single_bit(shape.slot_alignment) || shape.slot_alignment > max_alignment)
            return fault{fault_kind::capacity, max_alignment, shape.slot_alignment, "slot alignment"};
        if (shape.slot_size == 0 || shape.slot_size % shape.slot_alignment != 0)
            return fault{fault_kind::element_size,
                         shape.slot_size / shape.slot_alignment * shape.slot_alignment + shape.slot_alignment,
                         shape.slot_size, "slot size"};
        return std::nullopt;
    }

    /// The shape with its slot size rounded up to the alignment. A size that cannot be is rounded down: no region holds
    /// it.
    [[nodiscard]] static constexpr slab_shape rounded(slab_shape shape) noexcept {
        if (shape.slot_alignment == 0) return shape;
        const std::uint64_t past = shape.slot_size % shape.slot_alignment;
        if (past == 0) return shape;
        shape.slot_size -= past;
        if (shape.slot_size <= std::numeric_limits<std::uint64_t>::max() - shape.slot_alignment)  // else too_small
            shape.slot_size += shape.slot_alignment;
        return shape;
    }

    /// Where the table of members lies.
    static constexpr std::size_t members_offset = sizeof(header);

    /// Where what is kept of the slots lies.
    [[nodiscard]] static constexpr std::size_t slots_offset(slab_shape shape) noexcept {
        return end_of_array(members_offset, shape.member_count, sizeof(entry));
    }

    /// Where the slots' bytes lie.
    [[nodiscard]] static constexpr std::size_t data_offset(slab_shape shape) noexcept {
        return aligned_up(end_of_array(slots_offset(shape), shape.slot_count, sizeof(meta)), shape.slot_alignment);
    }

    /// The bytes that a slab of that shape needs; `beyond_any_region` when none could hold it.
    [[nodiscard]] static constexpr std::size_t required_size(slab_shape shape) noexcept {
        const std::uint64_t slot_size = rounded(shape).slot_size;
        if (slot_size < shape.slot_size) return beyond_any_region;
        return end_of_array(data_offset(shape), shape.slot_count, slot_size);
    }
};

}  // namespace v1
}  // namespace shm
