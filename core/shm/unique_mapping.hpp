// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace shm {
inline namespace v1 {

/// Whether the bytes go into a core dump.
enum class core_dump : std::uint8_t { include, exclude };

/// Owns a mapping and unmaps it, in the process that made it. A null address is none.
class unique_mapping {
public:
    /// Owns none.
    unique_mapping() noexcept = default;

    /// Takes a mapping of this process over.
    unique_mapping(void* bytes, std::size_t size_bytes) noexcept
        : bytes_{bytes}, size_bytes_{size_bytes}, process_{::getpid()} {}

    /// What was moved from owns none.
    unique_mapping(unique_mapping&& other) noexcept
        : bytes_{std::exchange(other.bytes_, nullptr)},
          size_bytes_{std::exchange(other.size_bytes_, 0)},
          process_{other.process_} {}

    /// Unmaps the one that was here.
    unique_mapping& operator=(unique_mapping&& other) noexcept {
        if (this != &other) {
            unmap();
            bytes_ = std::exchange(other.bytes_, nullptr);
            size_bytes_ = std::exchange(other.size_bytes_, 0);
            process_ = other.process_;
        }
        return *this;
    }
    ~unique_mapping() { unmap(); }

    [[nodiscard]] void* data() const noexcept { return bytes_; }                   ///< its address, or null
    [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }  ///< its length

    /// In which process it is.
    [[nodiscard]] pid_t process() const noexcept { return process_; }

    /// After an mremap: where the mapping is now, and how long.
    void moved_to(void* bytes, std::size_t size_bytes) noexcept {
        bytes_ = bytes;
        size_bytes_ = size_bytes;
    }

private:
    void unmap() noexcept {
        // In a forked child something of the child's own may lie at that address.
        if (bytes_ != nullptr && process_ == ::getpid()) ::munmap(bytes_, size_bytes_);
        bytes_ = nullptr;
    }
    void* bytes_ = nullptr;
    std::size_t size_bytes_ = 0;
    pid_t process_ = 0;
};

}  // namespace v1
}  // namespace shm
