// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <sys/types.h>
#include <unistd.h>

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
/// is valid for as long as whatever made it (heap_region, mmap_region, memfd_region) and does not move. What an mmap_region or
/// a memfd_region has mapped is not there in a forked child: a primitive attaches to no copy of its view.
class region {
public:
    /// No bytes.
    constexpr region() noexcept = default;

    /// Bytes of the caller's, which have to outlive every use of the region.
    constexpr region(void* bytes, std::size_t size_bytes, access allowed = access::read_write) noexcept
        : region{bytes, size_bytes, allowed, 0} {}

    /// Bytes that are mapped in that process alone, and in none that it forks. 0 stands for any.
    constexpr region(void* bytes, std::size_t size_bytes, access allowed, pid_t process) noexcept
        : bytes_{static_cast<std::byte*>(bytes)}, size_bytes_{size_bytes}, access_{allowed}, process_{process} {}

    /// Where they start.
    [[nodiscard]] std::byte* data() const noexcept { return bytes_; }

    /// How many there are.
    [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }

    /// Whether they may be written.
    [[nodiscard]] bool writable() const noexcept { return access_ == access::read_write; }

    /// Whether the bytes are there in the calling process. Refuses `wrong_process` in a forked child, which has to attach to
    /// them anew.
    [[nodiscard]] result<void> mapped_here() const noexcept {
        if (process_ == 0) return {};
        const pid_t here = ::getpid();
        if (here == process_) return {};
        return fault{fault_kind::wrong_process, static_cast<std::uint64_t>(process_), static_cast<std::uint64_t>(here),
                     "user of a mapping"};
    }

    /// The bytes [offset, offset + size_bytes). Refuses `out_of_range`, overflow included.
    [[nodiscard]] result<region> subregion(std::size_t offset, std::size_t size_bytes) const noexcept {
        if (offset > size_bytes_) return fault{fault_kind::out_of_range, size_bytes_, offset};
        if (size_bytes > size_bytes_ - offset) return fault{fault_kind::out_of_range, size_bytes_ - offset, size_bytes};
        return region{bytes_ + offset, size_bytes, access_, process_};
    }

    /// The address at `offset`; one past the last byte is allowed. Refuses `out_of_range`.
    [[nodiscard]] result<std::byte*> offset(std::size_t offset) const noexcept {
        if (offset > size_bytes_) return fault{fault_kind::out_of_range, size_bytes_, offset};
        return bytes_ + offset;
    }

    /// A T at `offset`. Refuses `wrong_process`, `out_of_range` and `misaligned`. Says nothing about what the bytes hold.
    template <class T>
    [[nodiscard]] result<T*> get(std::size_t offset = 0) const noexcept {
        if (const auto here = mapped_here(); !here) return here.error();
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
    pid_t process_ = 0;  // where it is mapped
};

}  // namespace v1
}  // namespace shm
