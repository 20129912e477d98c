// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include <shm/object/fields.hpp>
#include <shm/object/handshake.hpp>
#include <shm/region.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// The first 128 bytes of a slab.
template <atomics_layer Atomics = std_atomics>
struct treiber_slab_header : init_state {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    /// What the creator writes once, before `state` is ready.
    template <class T>
    using cell = typename Atomics::template cell<T>;

    static constexpr std::uint64_t magic_value = 0x3162616c736d6873;  ///< "shmslab1" in memory, little-endian
    static constexpr std::uint32_t current_version = 1;               ///< of the layout, not of the library

    /// What its creator writes first.
    static auto& first_written(auto& header) noexcept { return header.magic; }

    alignas(cache_line_bytes) atomic<std::uint64_t> head;   ///< index of the free slot on top, 24 bits; tag, 40
    alignas(cache_line_bytes) atomic<std::uint64_t> magic;  ///< magic_value
    cell<std::uint64_t> layout_hash;                        ///< treiber_slab_raw::layout_hash()
    cell<std::uint64_t> slot_size;                          ///< in bytes, a multiple of the alignment
    cell<std::uint32_t> slot_alignment;                     ///< in bytes, a power of two
    cell<std::uint32_t> slot_count;                         ///< 1 to 2^24 - 1
    cell<std::uint32_t> member_count;                       ///< 1 to 255
    cell<std::uint32_t> layout_version;                     ///< current_version
    atomic<std::uint32_t> state;                            ///< 0 nothing, 1 being initialised, 2 ready
    atomic<std::uint32_t> reported_corrupt;                 ///< 1 when some member met nonsense
    cell<std::uint64_t> reserved[2];                        ///< zero

    /// Where they lie: a promise.
    static constexpr std::array<field, 11> fields() noexcept {
        using h = treiber_slab_header;
        return {{
            {"head", 0, offsetof(h, head), sizeof(h::head)},
            {"magic", 64, offsetof(h, magic), sizeof(h::magic)},
            {"layout_hash", 72, offsetof(h, layout_hash), sizeof(h::layout_hash)},
            {"slot_size", 80, offsetof(h, slot_size), sizeof(h::slot_size)},
            {"slot_alignment", 88, offsetof(h, slot_alignment), sizeof(h::slot_alignment)},
            {"slot_count", 92, offsetof(h, slot_count), sizeof(h::slot_count)},
            {"member_count", 96, offsetof(h, member_count), sizeof(h::member_count)},
            {"layout_version", 100, offsetof(h, layout_version), sizeof(h::layout_version)},
            {"state", 104, offsetof(h, state), sizeof(h::state)},
            {"reported_corrupt", 108, offsetof(h, reported_corrupt), sizeof(h::reported_corrupt)},
            {"reserved", 112, offsetof(h, reserved), sizeof(h::reserved)},
        }};
    }
};

/// An entry of the table of members: who holds it, and what its holder was doing when it died.
template <atomics_layer Atomics = std_atomics>
struct alignas(cache_line_bytes) treiber_slab_member {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    atomic<std::uint64_t> claim;              ///< peer_id::word() of the holder, 0 when nobody
    atomic<std::uint64_t> taking;             ///< slot_handle::word(): what it was about to take off the list
    atomic<std::uint64_t> giving;             ///< slot_handle::word(): what it was about to put on the list
    atomic<std::uint32_t> incarnation;        ///< of the holder
    atomic<std::uint32_t> reserved;           ///< zero
    atomic<std::uint64_t> for_a_magazine[4];  ///< zero

    /// Where they lie: a promise.
    static constexpr std::array<field, 6> fields() noexcept {
        using h = treiber_slab_member;
        return {{
            {"claim", 0, offsetof(h, claim), sizeof(h::claim)},
            {"taking", 8, offsetof(h, taking), sizeof(h::taking)},
            {"giving", 16, offsetof(h, giving), sizeof(h::giving)},
            {"incarnation", 24, offsetof(h, incarnation), sizeof(h::incarnation)},
            {"reserved", 28, offsetof(h, reserved), sizeof(h::reserved)},
            {"for_a_magazine", 32, offsetof(h, for_a_magazine), sizeof(h::for_a_magazine)},
        }};
    }
};

static_assert(sizeof(treiber_slab_header<>) == 128 && alignof(treiber_slab_header<>) == 64 &&
              lie_where_promised(treiber_slab_header<>::fields(), 128));
static_assert(sizeof(treiber_slab_member<>) == 64 && alignof(treiber_slab_member<>) == 64 &&
              lie_where_promised(treiber_slab_member<>::fields(), 64));

}  // namespace v1
}  // namespace shm
