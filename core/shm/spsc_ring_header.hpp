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

/// The first 192 bytes of a ring. The three words at 0, 64 and 128 lie where the Rust crate `shm-primitives` has them.
template <class Position = std::uint64_t, atomics_layer Atomics = std_atomics>
struct spsc_ring_header : init_state {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    /// What the creator writes once, before `state` is ready.
    template <class T>
    using cell = typename Atomics::template cell<T>;

    static constexpr std::uint64_t magic_value = 0x31676e6972737073;  ///< "spsring1" in memory, little-endian
    static constexpr std::uint32_t current_version = 1;               ///< of the layout, not of the library

    /// What its creator writes first.
    static auto& first_written(auto& header) noexcept { return header.capacity; }

    /// The bits of `reported_corrupt`.
    enum : std::uint32_t { corrupt_by_producer = 1, corrupt_by_consumer = 2 };

    alignas(cache_line_bytes) atomic<Position> published;      ///< items ever published; the producer's to write
    alignas(cache_line_bytes) atomic<Position> consumed;       ///< items ever consumed; the consumer's to write
    alignas(cache_line_bytes) atomic<std::uint32_t> capacity;  ///< in items, a power of two
    atomic<std::uint32_t> state;                               ///< 0 nothing, 1 being initialised, 2 ready
    atomic<std::uint64_t> magic;                               ///< magic_value
    cell<std::uint32_t> layout_version;                        ///< current_version
    cell<std::uint32_t> element_size;                          ///< in bytes
    cell<std::uint32_t> element_alignment;                     ///< in bytes
    atomic<std::uint32_t> reported_corrupt;                    ///< bits of the ends that met nonsense
    cell<std::uint64_t> layout_hash;                           ///< spsc_ring_raw::layout_hash()
    atomic<std::uint64_t> producer_claim;                      ///< peer_id::word(), 0 when nobody
    atomic<std::uint64_t> consumer_claim;                      ///< peer_id::word(), 0 when nobody
    cell<std::uint64_t> reserved;                              ///< zero

    /// Where they lie: a promise.
    static constexpr std::array<field, 13> fields() noexcept {
        using h = spsc_ring_header;
        return {{
            {"published", 0, offsetof(h, published), sizeof(h::published)},
            {"consumed", 64, offsetof(h, consumed), sizeof(h::consumed)},
            {"capacity", 128, offsetof(h, capacity), sizeof(h::capacity)},
            {"state", 132, offsetof(h, state), sizeof(h::state)},
            {"magic", 136, offsetof(h, magic), sizeof(h::magic)},
            {"layout_version", 144, offsetof(h, layout_version), sizeof(h::layout_version)},
            {"element_size", 148, offsetof(h, element_size), sizeof(h::element_size)},
            {"element_alignment", 152, offsetof(h, element_alignment), sizeof(h::element_alignment)},
            {"reported_corrupt", 156, offsetof(h, reported_corrupt), sizeof(h::reported_corrupt)},
            {"layout_hash", 160, offsetof(h, layout_hash), sizeof(h::layout_hash)},
            {"producer_claim", 168, offsetof(h, producer_claim), sizeof(h::producer_claim)},
            {"consumer_claim", 176, offsetof(h, consumer_claim), sizeof(h::consumer_claim)},
            {"reserved", 184, offsetof(h, reserved), sizeof(h::reserved)},
        }};
    }
};

static_assert(sizeof(spsc_ring_header<>) == 192 && alignof(spsc_ring_header<>) == 64 &&
              lie_where_promised(spsc_ring_header<>::fields(), 192));

}  // namespace v1
}  // namespace shm
