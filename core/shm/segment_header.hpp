// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <shm/region.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// What lies where in a segment: a line of its table, in the same form in shared memory and in a private copy.
struct alignas(8) segment_block {
    static constexpr std::size_t max_name_bytes = 47;  ///< of a name; a zero always follows

    std::array<char, max_name_bytes + 1> name{};  ///<  0  zero-padded, so that equal names are equal bytes
    std::uint64_t kind = 0;                       ///< 48  the magic of what lies there, as in segment_kind
    std::uint64_t offset = 0;                     ///< 56  from the segment's start, a multiple of 64
    std::uint64_t size_bytes = 0;                 ///< 64  from there on
    std::uint64_t count = 0;                      ///< 72  of elements, of slots, of size classes
    std::uint64_t element_size = 0;               ///< 80  in bytes, 0 if there is no such thing
    std::uint32_t element_alignment = 0;          ///< 88  in bytes, likewise
    std::uint32_t reserved = 0;                   ///< 92  zero
    std::array<std::uint64_t, 4> unused{};        ///< 96  zero

    /// The name without its padding. Of a copy that has been checked.
    [[nodiscard]] constexpr std::string_view text() const noexcept {
        return {name.data(), static_cast<std::size_t>(std::find(name.begin(), name.end(), '\0') - name.begin())};
    }
};

/// The first 64 bytes of a segment. The lines of the table follow, then the peers, then the blocks.
template <atomics_layer Atomics = std_atomics>
struct segment_header {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    /// What the creator writes once, before `state` is ready.
    template <class T>
    using cell = typename Atomics::template cell<T>;

    static constexpr std::uint64_t magic_value = 0x316d6765736d6873;  ///< "shmsegm1" in memory, little-endian
    static constexpr std::uint32_t current_version = 1;               ///< of the layout, not of the library

    /// What `state` may say.
    enum : std::uint32_t { state_none = 0, state_initialising = 1, state_ready = 2 };

    alignas(cache_line_bytes) cell<std::uint64_t> magic;  ///<  0  magic_value
    cell<std::uint32_t> layout_version;                   ///<  8  current_version
    atomic<std::uint32_t> state;                          ///< 12  0 nothing, 1 being initialised, 2 ready
    cell<std::uint64_t> layout_hash;                      ///< 16  basic_segment::layout_hash()
    cell<std::uint64_t> size_bytes;                       ///< 24  of the whole segment
    cell<std::uint32_t> block_count;                      ///< 32  1 to 255
    cell<std::uint32_t> peer_count;                       ///< 36  1 to 255: how many there may be at a time
    cell<std::uint64_t> pid_namespace;                    ///< 40  in which the peers' ids are pids; 0 is anyone's
    cell<std::uint64_t> reserved[2];                      ///< 48  zero
};

/// A place in the table of peers.
template <atomics_layer Atomics = std_atomics>
struct alignas(cache_line_bytes) segment_peer {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    atomic<std::uint64_t> claim;        ///< 0  peer_id::word() of who is there, 0 when nobody
    atomic<std::uint64_t> reserved[7];  ///< 8  zero
};

static_assert(sizeof(segment_block) == 128 && alignof(segment_block) == 8);
static_assert(offsetof(segment_block, kind) == 48 && offsetof(segment_block, offset) == 56);
static_assert(offsetof(segment_block, size_bytes) == 64 && offsetof(segment_block, count) == 72);
static_assert(offsetof(segment_block, element_size) == 80 && offsetof(segment_block, element_alignment) == 88);
static_assert(offsetof(segment_block, reserved) == 92 && offsetof(segment_block, unused) == 96);
static_assert(sizeof(segment_header<>) == 64 && alignof(segment_header<>) == 64);
static_assert(offsetof(segment_header<>, magic) == 0 && offsetof(segment_header<>, layout_version) == 8);
static_assert(offsetof(segment_header<>, state) == 12 && offsetof(segment_header<>, layout_hash) == 16);
static_assert(offsetof(segment_header<>, size_bytes) == 24 && offsetof(segment_header<>, block_count) == 32);
static_assert(offsetof(segment_header<>, peer_count) == 36 && offsetof(segment_header<>, pid_namespace) == 40);
static_assert(offsetof(segment_header<>, reserved) == 48);
static_assert(sizeof(segment_peer<>) == 64 && offsetof(segment_peer<>, claim) == 0);

}  // namespace v1
}  // namespace shm
