// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstdint>

namespace shm {
inline namespace v1 {

/// Who holds a role: an id, and the incarnation that tells it from everybody who had the same id before. No two peers
/// of a region may ever have been the same {id, incarnation}; `this_process()` (proof_of_death.hpp) makes one that the
/// kernel can vouch for. The id 0 is nobody.
struct peer_id {
    std::uint32_t id = 0;           ///< 0 is nobody
    std::uint32_t incarnation = 0;  ///< tells it from earlier and later holders of the id

    /// As it stands in shared memory.
    [[nodiscard]] constexpr std::uint64_t word() const noexcept { return std::uint64_t{incarnation} << 32 | id; }

    /// Who `word()` was called for.
    [[nodiscard]] static constexpr peer_id from_word(std::uint64_t word) noexcept {
        return {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32)};
    }

    /// Whether it is somebody.
    [[nodiscard]] constexpr bool valid() const noexcept { return id != 0; }

    /// The same id and the same incarnation.
    friend constexpr bool operator==(const peer_id&, const peer_id&) noexcept = default;
};

}  // namespace v1
}  // namespace shm
