// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include <shm/region.hpp>

/// Zeroed bytes, many more than the machine has: a page takes memory once it is written to, and gives it back here.
class sparse_bytes {
public:
    explicit sparse_bytes(std::size_t size_bytes) : size_bytes_{size_bytes} {
        void* const mapped =
            mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED) {
            std::perror("mmap");
            std::abort();
        }
        bytes_ = static_cast<std::byte*>(mapped);
    }
    sparse_bytes(const sparse_bytes&) = delete;
    sparse_bytes& operator=(const sparse_bytes&) = delete;
    ~sparse_bytes() { munmap(bytes_, size_bytes_); }

    [[nodiscard]] std::byte* data() const noexcept { return bytes_; }
    [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }
    [[nodiscard]] shm::region region() const noexcept { return {bytes_, size_bytes_}; }

private:
    std::byte* bytes_;
    std::size_t size_bytes_;
};
