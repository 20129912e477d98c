// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include <shm/result.hpp>

namespace shm {
inline namespace v1 {

/// The line that two sides must not share. Our constant, never the compiler's: separately built processes must agree.
inline constexpr std::size_t cache_line_bytes = 64;

/// What a mapping allows.
enum class access : std::uint8_t { read_only, read_write };

/// A view of bytes that may be shared: where they start, how many, and whether they may be written. It owns nothing; it
/// is valid for as long as whatever made it (heap_region, mmap_region, memfd_region) and does not move.
class region {
public:
    /// No bytes.
    constexpr region() noexcept = default;

    /// Bytes of the caller's, which have to outlive every use of the region.
    constexpr region(void* bytes, std::size_t size_bytes, access allowed = access::read_write) noexcept
        : bytes_{static_cast<std::byte*>(bytes)}, size_bytes_{size_bytes}, access_{allowed} {}

    /// Where they start.
    [[nodiscard]] std::byte* data() const noexcept { return bytes_; }

    /// How many there are.
    [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }

    /// Whether they may be written.
    [[nodiscard]] bool writable() const noexcept { return access_ == access::read_write; }

    /// The bytes [offset, offset + size_bytes). Refuses `out_of_range`, overflow included.
    [[nodiscard]] result<region> subregion(std::size_t offset, std::size_t size_bytes) const noexcept {
        if (offset > size_bytes_) return fault{fault_kind::out_of_range, size_bytes_, offset};
        if (size_bytes > size_bytes_ - offset) return fault{fault_kind::out_of_range, size_bytes_ - offset, size_bytes};
        return region{bytes_ + offset, size_bytes, access_};
    }

    /// The address at `offset`; one past the last byte is allowed. Refuses `out_of_range`.
    [[nodiscard]] result<std::byte*> offset(std::size_t offset) const noexcept {
        if (offset > size_bytes_) return fault{fault_kind::out_of_range, size_bytes_, offset};
        return bytes_ + offset;
    }

    /// A T at `offset`. Refuses `out_of_range` and `misaligned`. Says nothing about what the bytes hold.
    template <class T>
    [[nodiscard]] result<T*> get(std::size_t offset = 0) const noexcept {
        const auto bytes = subregion(offset, sizeof(T));
        if (!bytes) return bytes.error();
        const auto past = reinterpret_cast<std::uintptr_t>(bytes->data()) % alignof(T);
        if (past != 0) return fault{fault_kind::misaligned, alignof(T), past};
        return reinterpret_cast<T*>(bytes->data());
    }

private:
    std::byte* bytes_ = nullptr;
    std::size_t size_bytes_ = 0;
    access access_ = access::read_only;
};

}  // namespace v1
}  // namespace shm
