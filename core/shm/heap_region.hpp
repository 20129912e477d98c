// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include <shm/region.hpp>

namespace shm {
inline namespace v1 {

/// Zeroed bytes of this process alone: for threads, for tests, and for trying a primitive out.
///
/// Promise    the bytes are zero, aligned to 64, and stay where they are until the heap_region is destroyed or assigned
///            to; a move hands them on without moving them
/// Progress   `create` may block in the allocator; the rest is wait-free
/// Callers    create: anyone. The object itself: one thread at a time; the bytes are as safe as what is placed in them
/// Shape      `size_bytes` bytes, as asked for
/// Edges      none
/// Refuses    create: `too_small` (0 bytes), `system_call` (ENOMEM)
/// Crash      the bytes end with the process
/// Trust      trusted: nobody else can reach them
/// Source     none
class heap_region {
public:
    /// Allocates `size_bytes` zeroed bytes.
    [[nodiscard]] static result<heap_region> create(std::size_t size_bytes) noexcept {
        if (size_bytes == 0) return fault{fault_kind::too_small, 1, 0};
        const fault no_memory{fault_kind::system_call, 0, ENOMEM, "aligned_alloc"};
        if (size_bytes > PTRDIFF_MAX - cache_line_bytes) return no_memory;
        const std::size_t whole_lines = (size_bytes + cache_line_bytes - 1) / cache_line_bytes * cache_line_bytes;
        bytes_pointer bytes{std::aligned_alloc(cache_line_bytes, whole_lines)};
        if (!bytes) return no_memory;
        std::memset(bytes.get(), 0, whole_lines);
        return heap_region{std::move(bytes), size_bytes};
    }

    /// The bytes; none after a move from this.
    [[nodiscard]] shm::region region() const noexcept { return {bytes_.get(), bytes_ ? size_bytes_ : 0}; }

private:
    struct free_bytes {
        void operator()(void* bytes) const noexcept { std::free(bytes); }
    };
    using bytes_pointer = std::unique_ptr<void, free_bytes>;

    heap_region(bytes_pointer bytes, std::size_t size_bytes) noexcept
        : bytes_{std::move(bytes)}, size_bytes_{size_bytes} {}

    bytes_pointer bytes_;
    std::size_t size_bytes_;
};

}  // namespace v1
}  // namespace shm
