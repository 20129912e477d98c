// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include <shm/region.hpp>

namespace shm {
inline namespace v1 {

/// The arithmetic of what lies behind a header: sizes, alignment, overflow. A layout is a chain of these,
///
///     end = end_of_array(aligned_up(sizeof(header), alignof(slot)), count, sizeof(slot));
///
/// and may be computed of numbers that nobody has checked: a step that would overflow is `beyond_any_region`, and so is
/// every step after it.
inline constexpr std::size_t beyond_any_region = std::numeric_limits<std::size_t>::max();

/// The first multiple of `alignment` that is not below `offset`. 0 asks for none.
[[nodiscard]] constexpr std::size_t aligned_up(std::size_t offset, std::size_t alignment) noexcept {
    const std::size_t past = alignment == 0 ? 0 : offset % alignment;
    if (past == 0) return offset;
    return offset > beyond_any_region - (alignment - past) ? beyond_any_region : offset + (alignment - past);
}

/// Where `count` elements of `size_bytes` each end that begin at `offset`.
[[nodiscard]] constexpr std::size_t end_of_array(std::size_t offset, std::uint64_t count,
                                                 std::uint64_t size_bytes) noexcept {
    if (count != 0 && size_bytes > (beyond_any_region - offset) / count) return beyond_any_region;
    return offset + static_cast<std::size_t>(count * size_bytes);
}

/// Refuses bytes that end before they are as many as `needed`.
[[nodiscard]] inline std::optional<fault> too_small(region bytes, std::size_t needed) noexcept {
    if (bytes.size_bytes() >= needed) return std::nullopt;
    return fault{fault_kind::too_small, needed, bytes.size_bytes()};
}

/// Refuses bytes that do not begin at a multiple of `alignment`.
[[nodiscard]] inline std::optional<fault> misaligned(region bytes, std::size_t alignment) noexcept {
    const auto past = reinterpret_cast<std::uintptr_t>(bytes.data()) % alignment;
    if (past == 0) return std::nullopt;
    return fault{fault_kind::misaligned, alignment, past};
}

/// The `count` elements at `offset`. Precondition: the bytes hold them, aligned.
template <class T>
[[nodiscard]] std::span<T> array_at(region bytes, std::size_t offset, std::size_t count) noexcept {
    return {reinterpret_cast<T*>(bytes.data() + offset), count};
}

}  // namespace v1
}  // namespace shm
