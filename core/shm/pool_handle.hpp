// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstdint>

#include <shm/shm_safe.hpp>
#include <shm/slot_handle.hpp>

namespace shm {
inline namespace v1 {

/// Names one allocation of one slot of a pool, in 64 bits that may be sent to another process: a slot_handle, of whose
/// index the upper bits are the number of the slab.
///
/// Shape  bits 0 to 19 the index in the slab, 20 to 23 the slab, 24 to 63 the generation. All zero is a handle of nothing
/// Trust  a handle is checked where it is used; any 64 bits may be tried
class pool_handle {
public:
    static constexpr unsigned slab_bits = 4;                                     ///< of its 64
    static constexpr unsigned index_bits = slot_handle::index_bits - slab_bits;  ///< likewise

    /// Of nothing.
    constexpr pool_handle() noexcept = default;

    /// Of that slab's slot; what does not fit is cut off.
    constexpr pool_handle(std::uint32_t slab, slot_handle slot) noexcept
        : joint_{slab << index_bits | (slot.index() & index_mask), slot.generation()} {}

    /// Which slab.
    [[nodiscard]] constexpr std::uint32_t slab() const noexcept { return joint_.index() >> index_bits; }

    /// What that slab calls it.
    [[nodiscard]] constexpr slot_handle slot() const noexcept {
        return {joint_.index() & index_mask, joint_.generation()};
    }

    /// As it travels.
    [[nodiscard]] constexpr std::uint64_t word() const noexcept { return joint_.word(); }

    /// What `word()` was called for.
    [[nodiscard]] static constexpr pool_handle from_word(std::uint64_t word) noexcept {
        pool_handle handle;
        handle.joint_ = slot_handle::from_word(word);
        return handle;
    }

    /// The same allocation.
    friend constexpr bool operator==(const pool_handle&, const pool_handle&) noexcept = default;

private:
    static constexpr std::uint32_t index_mask = (std::uint32_t{1} << index_bits) - 1;
    slot_handle joint_;
};
static_assert(sizeof(pool_handle) == 8 && shared_value<pool_handle>);

/// The handle of a new allocation in a pool, or why there is none.
using pool_alloc_result = basic_alloc_result<pool_handle>;

}  // namespace v1
}  // namespace shm
