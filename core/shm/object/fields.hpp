// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <span>

namespace shm {
inline namespace v1 {

/// One field of what lies in shared memory: a promise to separately built peers. Each header has a table of fields,
/// from which its asserts, the golden images, the names in traces and the tables of docs/layouts.md are made.
struct field {
    const char* name;        ///< the member's
    std::size_t offset;      ///< promised, in bytes from the header's first
    std::size_t lies_at;     ///< where the compiler has put the member
    std::size_t size_bytes;  ///< of the member
};

/// Whether each field lies where it was promised, behind the one before it, and all of them fit into `size_bytes`.
[[nodiscard]] constexpr bool lie_where_promised(std::span<const field> fields, std::size_t size_bytes) noexcept {
    std::size_t end = 0;
    for (const field& each : fields) {
        if (each.offset != each.lies_at || each.offset < end) return false;
        end = each.offset + each.size_bytes;
    }
    return end <= size_bytes;
}

}  // namespace v1
}  // namespace shm
