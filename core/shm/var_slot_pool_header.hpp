// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include <shm/object/fields.hpp>
#include <shm/object/handshake.hpp>
#include <shm/pool_handle.hpp>
#include <shm/region.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// The first 256 bytes of a pool.
template <atomics_layer Atomics = std_atomics>
struct var_slot_pool_header : init_state {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    /// What the creator writes once, before `state` is ready.
    template <class T>
    using cell = typename Atomics::template cell<T>;

    static constexpr std::uint64_t magic_value = 0x316c6f6f706d6873;          ///< "shmpool1" in memory, little-endian
    static constexpr std::uint32_t current_version = 1;                       ///< of the layout, not of the library
    static constexpr std::uint32_t max_slabs = 1U << pool_handle::slab_bits;  ///< that a pool has, in the end

    /// What its creator writes first.
    static auto& first_written(auto& header) noexcept { return header.magic; }

    /// What the lowest bits of a slab's place may say; a place is a multiple of 64.
    enum : std::uint64_t { no_slab = 0, in_region = 1, in_annex = 2 };

    alignas(cache_line_bytes) atomic<std::uint64_t> magic;  ///< magic_value
    cell<std::uint64_t> layout_hash;                        ///< var_slot_pool::layout_hash()
    cell<std::uint32_t> slot_alignment;                     ///< in bytes, a power of two; of each slab
    cell<std::uint32_t> member_count;                       ///< 1 to 255; of each slab
    cell<std::uint32_t> layout_version;                     ///< current_version
    atomic<std::uint32_t> state;                            ///< 0 nothing, 1 being initialised, 2 ready
    cell<std::uint64_t> reserved[4];                        ///< zero
    alignas(cache_line_bytes) atomic<std::uint64_t> used;   ///< bytes of the region that are given out, only more
    cell<std::uint64_t> also_reserved[7];                   ///< zero
    alignas(cache_line_bytes) atomic<std::uint64_t> places[max_slabs];  ///< of slabs: offset + in_region, or in_annex

    /// Where they lie: a promise.
    static constexpr std::array<field, 10> fields() noexcept {
        using h = var_slot_pool_header;
        return {{
            {"magic", 0, offsetof(h, magic), sizeof(h::magic)},
            {"layout_hash", 8, offsetof(h, layout_hash), sizeof(h::layout_hash)},
            {"slot_alignment", 16, offsetof(h, slot_alignment), sizeof(h::slot_alignment)},
            {"member_count", 20, offsetof(h, member_count), sizeof(h::member_count)},
            {"layout_version", 24, offsetof(h, layout_version), sizeof(h::layout_version)},
            {"state", 28, offsetof(h, state), sizeof(h::state)},
            {"reserved", 32, offsetof(h, reserved), sizeof(h::reserved)},
            {"used", 64, offsetof(h, used), sizeof(h::used)},
            {"also_reserved", 72, offsetof(h, also_reserved), sizeof(h::also_reserved)},
            {"places", 128, offsetof(h, places), sizeof(h::places)},
        }};
    }
};

/// The first 64 bytes of an annex: a region that holds one further slab of a pool.
template <atomics_layer Atomics = std_atomics>
struct alignas(cache_line_bytes) pool_annex_header {
    /// What the creator writes once, before the slab is in the pool's table.
    template <class T>
    using cell = typename Atomics::template cell<T>;

    static constexpr std::uint64_t magic_value = 0x3178656e6e617073;  ///< "spannex1" in memory, little-endian

    cell<std::uint64_t> magic;        ///< magic_value
    cell<std::uint32_t> slab_number;  ///< in the pool's table
    cell<std::uint32_t> reserved;     ///< zero
    cell<std::uint64_t> unused[6];    ///< zero

    /// Where they lie: a promise.
    static constexpr std::array<field, 4> fields() noexcept {
        using h = pool_annex_header;
        return {{
            {"magic", 0, offsetof(h, magic), sizeof(h::magic)},
            {"slab_number", 8, offsetof(h, slab_number), sizeof(h::slab_number)},
            {"reserved", 12, offsetof(h, reserved), sizeof(h::reserved)},
            {"unused", 16, offsetof(h, unused), sizeof(h::unused)},
        }};
    }
};

static_assert(sizeof(var_slot_pool_header<>) == 256 && alignof(var_slot_pool_header<>) == 64 &&
              lie_where_promised(var_slot_pool_header<>::fields(), 256));
static_assert(sizeof(pool_annex_header<>) == 64 && alignof(pool_annex_header<>) == 64 &&
              lie_where_promised(pool_annex_header<>::fields(), 64));

}  // namespace v1
}  // namespace shm
