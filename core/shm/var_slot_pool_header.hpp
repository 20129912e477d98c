// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include <shm/pool_handle.hpp>
#include <shm/region.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// The first 256 bytes of a pool.
template <atomics_layer Atomics = std_atomics>
struct var_slot_pool_header {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    /// What the creator writes once, before `state` is ready.
    template <class T>
    using cell = typename Atomics::template cell<T>;

    static constexpr std::uint64_t magic_value = 0x316c6f6f706d6873;          ///< "shmpool1" in memory, little-endian
    static constexpr std::uint32_t current_version = 1;                       ///< of the layout, not of the library
    static constexpr std::uint32_t max_slabs = 1U << pool_handle::slab_bits;  ///< that a pool has, in the end

    /// What `state` may say.
    enum : std::uint32_t { state_none = 0, state_initialising = 1, state_ready = 2 };

    /// What the lowest bits of a slab's place may say; a place is a multiple of 64.
    enum : std::uint64_t { no_slab = 0, in_region = 1, in_annex = 2 };

    alignas(cache_line_bytes) cell<std::uint64_t> magic;   ///<   0  magic_value
    cell<std::uint64_t> layout_hash;                       ///<   8  var_slot_pool::layout_hash()
    cell<std::uint32_t> slot_alignment;                    ///<  16  in bytes, a power of two; of each slab
    cell<std::uint32_t> member_count;                      ///<  20  1 to 255; of each slab
    cell<std::uint32_t> layout_version;                    ///<  24  current_version
    atomic<std::uint32_t> state;                           ///<  28  0 nothing, 1 being initialised, 2 ready
    cell<std::uint64_t> reserved[4];                       ///<  32  zero
    alignas(cache_line_bytes) atomic<std::uint64_t> used;  ///< 64  bytes of the region that are given out, only more
    cell<std::uint64_t> also_reserved[7];                  ///< 72  zero
    alignas(
        cache_line_bytes) atomic<std::uint64_t> places[max_slabs];  ///< 128  of slabs: offset + in_region, or in_annex
};

/// The first 64 bytes of an annex: a region that holds one further slab of a pool.
template <atomics_layer Atomics = std_atomics>
struct alignas(cache_line_bytes) pool_annex_header {
    /// What the creator writes once, before the slab is in the pool's table.
    template <class T>
    using cell = typename Atomics::template cell<T>;

    static constexpr std::uint64_t magic_value = 0x3178656e6e617073;  ///< "spannex1" in memory, little-endian

    cell<std::uint64_t> magic;        ///<  0  magic_value
    cell<std::uint32_t> slab_number;  ///<  8  in the pool's table
    cell<std::uint32_t> reserved;     ///< 12  zero
    cell<std::uint64_t> unused[6];    ///< 16  zero
};

static_assert(sizeof(var_slot_pool_header<>) == 256 && alignof(var_slot_pool_header<>) == 64);
static_assert(offsetof(var_slot_pool_header<>, magic) == 0 && offsetof(var_slot_pool_header<>, layout_hash) == 8);
static_assert(offsetof(var_slot_pool_header<>, slot_alignment) == 16);
static_assert(offsetof(var_slot_pool_header<>, member_count) == 20);
static_assert(offsetof(var_slot_pool_header<>, layout_version) == 24 && offsetof(var_slot_pool_header<>, state) == 28);
static_assert(offsetof(var_slot_pool_header<>, used) == 64 && offsetof(var_slot_pool_header<>, places) == 128);
static_assert(sizeof(pool_annex_header<>) == 64 && offsetof(pool_annex_header<>, slab_number) == 8);

}  // namespace v1
}  // namespace shm
