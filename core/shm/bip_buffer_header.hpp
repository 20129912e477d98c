// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include <shm/region.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// The first 192 bytes of a bip buffer: a line that the producer writes, one that the consumer writes, and one that is
/// written once.
template <class Position = std::uint64_t, atomics_layer Atomics = std_atomics>
struct bip_buffer_header {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    /// Plain data that an edge orders.
    template <class T>
    using cell = typename Atomics::template cell<T>;

    static constexpr std::uint64_t magic_value = 0x3166756270696273;  ///< "sbipbuf1" in memory, little-endian
    static constexpr std::uint32_t current_version = 1;               ///< of the layout, not of the library

    /// What `state` may say.
    enum : std::uint32_t { state_none = 0, state_initialising = 1, state_ready = 2 };

    /// The bits of `reported_corrupt`.
    enum : std::uint32_t { corrupt_by_producer = 1, corrupt_by_consumer = 2 };

    alignas(cache_line_bytes) atomic<Position> published;  ///<   0  where the producer is; its own to write
    alignas(8) cell<std::uint32_t> watermark;              ///<   8  slots of the lap that it has left; its own to write
    alignas(cache_line_bytes) atomic<Position> consumed;   ///<  64  where the consumer is; its own to write
    alignas(cache_line_bytes) cell<std::uint32_t> capacity;  ///< 128  in slots, a power of two
    atomic<std::uint32_t> state;                             ///< 132  0 nothing, 1 being initialised, 2 ready
    cell<std::uint64_t> magic;                               ///< 136  magic_value
    cell<std::uint32_t> layout_version;                      ///< 144  current_version
    cell<std::uint32_t> element_size;                        ///< 148  in bytes
    cell<std::uint32_t> element_alignment;                   ///< 152  in bytes
    atomic<std::uint32_t> reported_corrupt;                  ///< 156  bits of the ends that met nonsense
    cell<std::uint64_t> layout_hash;                         ///< 160  bip_buffer_raw::layout_hash()
    atomic<std::uint64_t> producer_claim;                    ///< 168  peer_id::word(), 0 when nobody
    atomic<std::uint64_t> consumer_claim;                    ///< 176  likewise
    cell<std::uint64_t> reserved;                            ///< 184  zero
};

static_assert(sizeof(bip_buffer_header<>) == 192 && alignof(bip_buffer_header<>) == 64);
static_assert(offsetof(bip_buffer_header<>, published) == 0 && offsetof(bip_buffer_header<>, watermark) == 8);
static_assert(offsetof(bip_buffer_header<>, consumed) == 64 && offsetof(bip_buffer_header<>, capacity) == 128);
static_assert(offsetof(bip_buffer_header<>, state) == 132 && offsetof(bip_buffer_header<>, magic) == 136);
static_assert(offsetof(bip_buffer_header<>, layout_version) == 144);
static_assert(offsetof(bip_buffer_header<>, element_size) == 148);
static_assert(offsetof(bip_buffer_header<>, element_alignment) == 152);
static_assert(offsetof(bip_buffer_header<>, reported_corrupt) == 156);
static_assert(offsetof(bip_buffer_header<>, layout_hash) == 160);
static_assert(offsetof(bip_buffer_header<>, producer_claim) == 168);
static_assert(offsetof(bip_buffer_header<>, consumer_claim) == 176);
static_assert(offsetof(bip_buffer_header<>, reserved) == 184);

}  // namespace v1
}  // namespace shm
