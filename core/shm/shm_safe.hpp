// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <type_traits>

#include <shm/region.hpp>

namespace shm {
inline namespace v1 {

/// Whether a T means the same in another process. Specialise it to `true` for a type that the rule is wrong about, or
/// to `false` for one that holds an address: the rule sees only T itself, not its members.
template <class T>
inline constexpr bool shm_safe =
    std::is_trivially_copyable_v<T> && std::is_copy_constructible_v<T> && !std::is_pointer_v<T> &&
    !std::is_member_pointer_v<T> && !std::is_reference_v<T> && !std::is_null_pointer_v<T>;

/// What may be placed in shared memory. A copy takes padding along, with whatever the sender's memory held there: where
/// that must not reach a peer, require std::has_unique_object_representations_v<T> (false for any floating point too).
template <class T>
concept shared_value = shm_safe<T> && alignof(T) <= cache_line_bytes && !std::is_const_v<T> && !std::is_volatile_v<T>;

}  // namespace v1
}  // namespace shm
