// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>

#include <shm/atomics_layer.hpp>
#include <shm/object/handshake.hpp>
#include <shm/result.hpp>

namespace shm {
inline namespace v1 {

/// What the header of a ring or of a bip buffer says of the slots behind it: written once by the creator, believed by
/// nobody who has not checked it. A header has these fields by these names, and two positions.
///
/// Promise    who attaches finds the description that he demands and all that the creator wrote before, or is refused
/// Progress   wait-free; `attach` may wait to its deadline
/// Callers    anyone, at any time; of two creators one is refused
/// Shape      none of its own: the fields are the header's
/// Edges      those of handshake
/// Refuses    create: `capacity`, `element_size`, and what handshake refuses. attach: what handshake refuses, then
///            `element_size`, `element_alignment`, `layout_hash`, `capacity`, `too_small`
/// Crash      a creator that dies leaves what attach refuses: `not_ready`
/// Trust      hostile: each field is read once and checked
/// Source     none
struct header_description {
    std::uint32_t max_capacity;     ///< in slots
    std::size_t element_size;       ///< in bytes
    std::size_t element_alignment;  ///< in bytes
    std::uint64_t layout_hash;      ///< hash_of the numbers on which separately built peers must agree

    /// FNV-1a over the numbers that make a layout.
    [[nodiscard]] static constexpr std::uint64_t hash_of(std::initializer_list<std::uint64_t> numbers) noexcept {
        std::uint64_t hash = 0xcbf29ce484222325;
        for (const std::uint64_t number : numbers)
            for (unsigned byte = 0; byte < 8; ++byte) hash = (hash ^ (number >> 8 * byte & 0xff)) * 0x100000001b3;
        return hash;
    }

    /// What `create` refuses, whatever the header.
    [[nodiscard]] constexpr std::optional<fault> wrong(std::size_t slots) const noexcept {
        if (!std::has_single_bit(slots) || slots > max_capacity)
            return fault{fault_kind::capacity, max_capacity, slots};
        if (element_size > std::numeric_limits<std::uint32_t>::max())
            return fault{fault_kind::element_size, std::numeric_limits<std::uint32_t>::max(), element_size};
        return std::nullopt;
    }

    /// Describes `slots` slots in the header, whose bytes must be zero, with both positions at `first_position`. Returns
    /// the capacity.
    template <atomics_layer Atomics, class Header, class Position>
    [[nodiscard]] result<std::uint32_t> create(Header& shared, std::size_t slots,
                                               Position first_position) const noexcept {
        using enum std::memory_order;
        if (const auto refused = wrong(slots)) return *refused;
        using object = handshake<Atomics, Header>;
        const auto capacity = static_cast<std::uint32_t>(slots);
        if (const auto refused = object::begin_creation(shared, capacity)) return *refused;
        shared.magic.store(Header::magic_value, relaxed);  // [ready] follows
        shared.layout_version.write(Header::current_version);
        shared.element_size.write(static_cast<std::uint32_t>(element_size));
        shared.element_alignment.write(static_cast<std::uint32_t>(element_alignment));
        shared.layout_hash.write(layout_hash);
        shared.published.store(first_position, relaxed);  // [ready] follows
        shared.consumed.store(first_position, relaxed);   // [ready] follows
        object::finish_creation(shared);
        return capacity;
    }

    /// Demands this description of the header, and a capacity of at most `slots`. Waits for its creator until `until`.
    /// Returns the capacity.
    template <atomics_layer Atomics, class Header>
    [[nodiscard]] result<std::uint32_t> attach(Header& shared, std::size_t slots, deadline until) const noexcept {
        using enum std::memory_order;
        using object = handshake<Atomics, Header>;
        if (const auto refused = object::expect_ready(shared, until)) return *refused;
        if (const auto f = object::differs(fault_kind::element_size, element_size, shared.element_size.read()))
            return *f;
        if (const auto f =
                object::differs(fault_kind::element_alignment, element_alignment, shared.element_alignment.read()))
            return *f;
        if (const auto f = object::differs(fault_kind::layout_hash, layout_hash, shared.layout_hash.read())) return *f;
        const std::uint32_t capacity = shared.capacity.load(relaxed);  // [ready] has ordered it
        if (!std::has_single_bit(capacity) || capacity > max_capacity)
            return fault{fault_kind::capacity, max_capacity, capacity};
        if (capacity > slots) return fault{fault_kind::too_small, capacity, slots, "slots"};
        return capacity;
    }
};

}  // namespace v1
}  // namespace shm
