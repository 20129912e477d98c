// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <shm/header_description.hpp>
#include <shm/object/arrays.hpp>
#include <shm/treiber_slab.hpp>
#include <shm/var_slot_pool_header.hpp>

namespace shm {
inline namespace v1 {

/// Slots of one size.
struct pool_class {
    std::uint32_t slot_count = 0;  ///< 1 to 2^20 - 1
    std::uint64_t slot_size = 0;   ///< in bytes; rounded up to a multiple of the pool's alignment
};

/// What a pool is made of.
struct pool_shape {
    std::span<const pool_class> classes;  ///< 1 to 16, in any order, one slab each
    std::uint32_t slot_alignment = 64;    ///< in bytes, a power of two up to 4096
    std::uint32_t member_count = 16;      ///< 1 to 255: threads, of all processes together, that allocate and give back
};

/// Which shapes a pool can have, how many bytes one needs, and where its slabs lie in them: behind its header, one
/// after the other, each aligned as its slots are, and at least to a cache line. An annex holds one slab, behind a
/// header of its own.
template <slab_widths Widths, atomics_layer Atomics>
struct pool_geometry {
    using header = var_slot_pool_header<Atomics>;     ///< what lies at the region's start
    using annex_header = pool_annex_header<Atomics>;  ///< what lies at an annex's start
    using slab = treiber_slab<Widths, Atomics>;       ///< the slots of one size

    static constexpr std::uint32_t max_slabs = header::max_slabs;                    ///< of a pool
    static constexpr std::uint32_t max_slots = (1U << pool_handle::index_bits) - 1;  ///< of a slab

    /// What separately built peers must agree on beyond the fields that the headers spell out.
    [[nodiscard]] static constexpr std::uint64_t layout_hash() noexcept {
        return header_description::hash_of({header::current_version, sizeof(header), sizeof(annex_header), max_slabs,
                                            pool_handle::index_bits, treiber_slab_raw<Widths, Atomics>::layout_hash()});
    }

    /// The shape of a slab of that class.
    [[nodiscard]] static constexpr slab_shape slab_shape_of(pool_class of, std::uint32_t slot_alignment,
                                                            std::uint32_t member_count) noexcept {
        return {of.slot_count, of.slot_size, slot_alignment, member_count};
    }

    /// What is wrong with the shape of a slab.
    [[nodiscard]] static constexpr std::optional<fault> wrong(slab_shape shape) noexcept {
        if (shape.slot_count > max_slots) return fault{fault_kind::count, max_slots, shape.slot_count, "slots"};
        return slab::wrong(shape);
    }

    /// What is wrong with the shape of a pool.
    [[nodiscard]] static constexpr std::optional<fault> wrong(pool_shape shape) noexcept {
        if (shape.classes.empty() || shape.classes.size() > max_slabs)
            return fault{fault_kind::count, max_slabs, shape.classes.size(), "slabs"};
        for (const pool_class& of : shape.classes)
            if (const auto refused = wrong(slab_shape_of(of, shape.slot_alignment, shape.member_count))) return refused;
        return std::nullopt;
    }

    /// Where a slab lies that follows what ends at `end`.
    [[nodiscard]] static constexpr std::size_t slab_offset(std::size_t end, std::uint32_t slot_alignment) noexcept {
        return aligned_up(end, std::max<std::size_t>(slot_alignment, cache_line_bytes));
    }

    /// Where a slab of that shape ends that follows what ends at `end`.
    [[nodiscard]] static constexpr std::size_t end_of_slab(std::size_t end, slab_shape shape) noexcept {
        return end_of_array(slab_offset(end, shape.slot_alignment), 1, slab::required_size(shape));
    }

    /// The bytes that a pool of that shape needs; `beyond_any_region` when none could hold it.
    [[nodiscard]] static constexpr std::size_t required_size(pool_shape shape) noexcept {
        std::size_t end = sizeof(header);
        for (const pool_class& of : shape.classes)
            end = end_of_slab(end, slab_shape_of(of, shape.slot_alignment, shape.member_count));
        return end;
    }

    /// The pool's header at the start of `bytes`, which has to be aligned as the slots are.
    [[nodiscard]] static result<header*> header_in(region bytes, std::uint32_t slot_alignment) noexcept {
        if (const auto refused = misaligned(bytes, slot_alignment)) return *refused;
        return bytes.get<header>();
    }

    /// The bytes of the slab in an annex, which has been found long enough for its header.
    [[nodiscard]] static region slab_of(region annex, std::uint32_t slot_alignment) noexcept {
        const std::size_t offset = slab_offset(sizeof(annex_header), slot_alignment);
        return *annex.subregion(offset, annex.size_bytes() - offset);
    }
};

}  // namespace v1
}  // namespace shm
