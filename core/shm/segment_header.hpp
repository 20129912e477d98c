// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <shm/object/fields.hpp>
#include <shm/object/handshake.hpp>
#include <shm/region.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// What lies where in a segment: a line of its table, in the same form in shared memory and in a private copy.
struct alignas(8) segment_block {
    static constexpr std::size_t max_name_bytes = 47;  ///< of a name; a zero always follows

    std::array<char, max_name_bytes + 1> name{};  ///< zero-padded, so that equal names are equal bytes
    std::uint64_t kind = 0;                       ///< the magic of what lies there, as in segment_kind
    std::uint64_t offset = 0;                     ///< from the segment's start, a multiple of 64
    std::uint64_t size_bytes = 0;                 ///< from there on
    std::uint64_t count = 0;                      ///< of elements, of slots, of size classes
    std::uint64_t element_size = 0;               ///< in bytes, 0 if there is no such thing
    std::uint32_t element_alignment = 0;          ///< in bytes, 0 if there is no such thing
    std::uint32_t reserved = 0;                   ///< zero
    std::array<std::uint64_t, 4> unused{};        ///< zero

    /// The name without its padding. Of a copy that has been checked.
    [[nodiscard]] constexpr std::string_view text() const noexcept {
        return {name.data(), static_cast<std::size_t>(std::find(name.begin(), name.end(), '\0') - name.begin())};
    }

    /// Where they lie: a promise.
    static constexpr std::array<field, 9> fields() noexcept {
        using h = segment_block;
        return {{
            {"name", 0, offsetof(h, name), sizeof(h::name)},
            {"kind", 48, offsetof(h, kind), sizeof(h::kind)},
            {"offset", 56, offsetof(h, offset), sizeof(h::offset)},
            {"size_bytes", 64, offsetof(h, size_bytes), sizeof(h::size_bytes)},
            {"count", 72, offsetof(h, count), sizeof(h::count)},
            {"element_size", 80, offsetof(h, element_size), sizeof(h::element_size)},
            {"element_alignment", 88, offsetof(h, element_alignment), sizeof(h::element_alignment)},
            {"reserved", 92, offsetof(h, reserved), sizeof(h::reserved)},
            {"unused", 96, offsetof(h, unused), sizeof(h::unused)},
        }};
    }
};

/// The first 64 bytes of a segment. The lines of the table follow, then the peers, then the blocks.
template <atomics_layer Atomics = std_atomics>
struct segment_header : init_state {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    /// What the creator writes once, before `state` is ready.
    template <class T>
    using cell = typename Atomics::template cell<T>;

    static constexpr std::uint64_t magic_value = 0x316d6765736d6873;  ///< "shmsegm1" in memory, little-endian
    static constexpr std::uint32_t current_version = 1;               ///< of the layout, not of the library

    /// What its creator writes first.
    static auto& first_written(auto& header) noexcept { return header.magic; }

    alignas(cache_line_bytes) atomic<std::uint64_t> magic;  ///< magic_value
    cell<std::uint32_t> layout_version;                     ///< current_version
    atomic<std::uint32_t> state;                            ///< 0 nothing, 1 being initialised, 2 ready
    cell<std::uint64_t> layout_hash;                        ///< basic_segment::layout_hash()
    cell<std::uint64_t> size_bytes;                         ///< of the whole segment
    cell<std::uint32_t> block_count;                        ///< 1 to 255
    cell<std::uint32_t> peer_count;                         ///< 1 to 255: how many there may be at a time
    cell<std::uint64_t> pid_namespace;                      ///< in which the peers' ids are pids; 0 is anyone's
    cell<std::uint64_t> reserved[2];                        ///< zero

    /// Where they lie: a promise.
    static constexpr std::array<field, 9> fields() noexcept {
        using h = segment_header;
        return {{
            {"magic", 0, offsetof(h, magic), sizeof(h::magic)},
            {"layout_version", 8, offsetof(h, layout_version), sizeof(h::layout_version)},
            {"state", 12, offsetof(h, state), sizeof(h::state)},
            {"layout_hash", 16, offsetof(h, layout_hash), sizeof(h::layout_hash)},
            {"size_bytes", 24, offsetof(h, size_bytes), sizeof(h::size_bytes)},
            {"block_count", 32, offsetof(h, block_count), sizeof(h::block_count)},
            {"peer_count", 36, offsetof(h, peer_count), sizeof(h::peer_count)},
            {"pid_namespace", 40, offsetof(h, pid_namespace), sizeof(h::pid_namespace)},
            {"reserved", 48, offsetof(h, reserved), sizeof(h::reserved)},
        }};
    }
};

/// A place in the table of peers.
template <atomics_layer Atomics = std_atomics>
struct alignas(cache_line_bytes) segment_peer {
    /// A word that more than one peer may touch at a time.
    template <class T>
    using atomic = typename Atomics::template atomic<T>;

    atomic<std::uint64_t> claim;        ///< peer_id::word() of who is there, 0 when nobody
    atomic<std::uint64_t> reserved[7];  ///< zero

    /// Where they lie: a promise.
    static constexpr std::array<field, 2> fields() noexcept {
        using h = segment_peer;
        return {{
            {"claim", 0, offsetof(h, claim), sizeof(h::claim)},
            {"reserved", 8, offsetof(h, reserved), sizeof(h::reserved)},
        }};
    }
};

static_assert(sizeof(segment_block) == 128 && alignof(segment_block) == 8 &&
              lie_where_promised(segment_block::fields(), 128));
static_assert(sizeof(segment_header<>) == 64 && alignof(segment_header<>) == 64 &&
              lie_where_promised(segment_header<>::fields(), 64));
static_assert(sizeof(segment_peer<>) == 64 && alignof(segment_peer<>) == 64 &&
              lie_where_promised(segment_peer<>::fields(), 64));

}  // namespace v1
}  // namespace shm
