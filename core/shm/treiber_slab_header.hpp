// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include <shm/region.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// The first 128 bytes of a slab.
template <atomics_layer Atomics = std_atomics>
struct treiber_slab_header {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    /// What the creator writes once, before `state` is ready.
    template <class T>
    using cell = typename Atomics::template cell<T>;

    static constexpr std::uint64_t magic_value = 0x3162616c736d6873;  ///< "shmslab1" in memory, little-endian
    static constexpr std::uint32_t current_version = 1;               ///< of the layout, not of the library

    /// What `state` may say.
    enum : std::uint32_t { state_none = 0, state_initialising = 1, state_ready = 2 };

    alignas(cache_line_bytes) atomic<std::uint64_t> head;  ///<   0  index of the free slot on top, 24 bits; tag, 40
    alignas(cache_line_bytes) cell<std::uint64_t> magic;   ///<  64  magic_value
    cell<std::uint64_t> layout_hash;                       ///<  72  treiber_slab_raw::layout_hash()
    cell<std::uint64_t> slot_size;                         ///<  80  in bytes, a multiple of the alignment
    cell<std::uint32_t> slot_alignment;                    ///<  88  in bytes, a power of two
    cell<std::uint32_t> slot_count;                        ///<  92  1 to 2^24 - 1
    cell<std::uint32_t> member_count;                      ///<  96  1 to 255
    cell<std::uint32_t> layout_version;                    ///< 100  current_version
    atomic<std::uint32_t> state;                           ///< 104  0 nothing, 1 being initialised, 2 ready
    atomic<std::uint32_t> reported_corrupt;                ///< 108  1 when some member met nonsense
    cell<std::uint64_t> reserved[2];                       ///< 112  zero
};

/// An entry of the table of members: who holds it, and what its holder was doing when it died.
template <atomics_layer Atomics = std_atomics>
struct alignas(cache_line_bytes) treiber_slab_member {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    atomic<std::uint64_t> claim;              ///<  0  peer_id::word() of the holder, 0 when nobody
    atomic<std::uint64_t> taking;             ///<  8  slot_handle::word(): what it was about to take off the list
    atomic<std::uint64_t> giving;             ///< 16  slot_handle::word(): what it was about to put on the list
    atomic<std::uint32_t> incarnation;        ///< 24  of the holder
    atomic<std::uint32_t> reserved;           ///< 28  zero
    atomic<std::uint64_t> for_a_magazine[4];  ///< 32  zero
};

static_assert(sizeof(treiber_slab_header<>) == 128 && alignof(treiber_slab_header<>) == 64);
static_assert(offsetof(treiber_slab_header<>, head) == 0 && offsetof(treiber_slab_header<>, magic) == 64);
static_assert(offsetof(treiber_slab_header<>, layout_hash) == 72 && offsetof(treiber_slab_header<>, slot_size) == 80);
static_assert(offsetof(treiber_slab_header<>, slot_alignment) == 88);
static_assert(offsetof(treiber_slab_header<>, slot_count) == 92);
static_assert(offsetof(treiber_slab_header<>, member_count) == 96);
static_assert(offsetof(treiber_slab_header<>, layout_version) == 100 && offsetof(treiber_slab_header<>, state) == 104);
static_assert(offsetof(treiber_slab_header<>, reported_corrupt) == 108);
static_assert(offsetof(treiber_slab_header<>, reserved) == 112);
static_assert(sizeof(treiber_slab_member<>) == 64 && offsetof(treiber_slab_member<>, claim) == 0);
static_assert(offsetof(treiber_slab_member<>, taking) == 8 && offsetof(treiber_slab_member<>, giving) == 16);
static_assert(offsetof(treiber_slab_member<>, incarnation) == 24);
static_assert(offsetof(treiber_slab_member<>, for_a_magazine) == 32);

}  // namespace v1
}  // namespace shm
