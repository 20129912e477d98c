// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include <shm/region.hpp>

/// Zeroed bytes that end where an inaccessible page begins, with another one in front of them: whoever reaches past
/// either end is killed at once. Only what is left over from whole pages and lines can be touched unharmed; it holds a
/// pattern that `untouched` looks for.
class guarded_bytes {
public:
    explicit guarded_bytes(std::size_t size_bytes)
        : page_{static_cast<std::size_t>(sysconf(_SC_PAGESIZE))},
          pages_bytes_{(lines(size_bytes) + page_ - 1) / page_ * page_},
          size_bytes_{size_bytes} {
        void* const mapped =
            mmap(nullptr, pages_bytes_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED) give_up("mmap");
        pages_ = static_cast<std::byte*>(mapped) + page_;
        if (mprotect(pages_, pages_bytes_, PROT_READ | PROT_WRITE) != 0) give_up("mprotect");
        bytes_ = pages_ + (pages_bytes_ - lines(size_bytes));
        std::fill(pages_, bytes_, pattern);
        std::fill(bytes_ + size_bytes_, pages_ + pages_bytes_, pattern);
    }
    guarded_bytes(const guarded_bytes&) = delete;
    guarded_bytes& operator=(const guarded_bytes&) = delete;
    ~guarded_bytes() { munmap(pages_ - page_, pages_bytes_ + 2 * page_); }

    [[nodiscard]] std::byte* data() const noexcept { return bytes_; }
    [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }
    [[nodiscard]] shm::region region() const noexcept { return {bytes_, size_bytes_}; }

    [[nodiscard]] bool untouched() const noexcept {
        const auto still = [](std::byte left_over) { return left_over == pattern; };
        return std::all_of(pages_, bytes_, still) && std::all_of(bytes_ + size_bytes_, pages_ + pages_bytes_, still);
    }

private:
    static constexpr std::byte pattern{0xa5};

    static std::size_t lines(std::size_t size_bytes) noexcept {
        return (size_bytes + shm::cache_line_bytes - 1) / shm::cache_line_bytes * shm::cache_line_bytes;
    }
    [[noreturn]] static void give_up(const char* what) {
        std::perror(what);
        std::abort();
    }

    std::size_t page_;
    std::size_t pages_bytes_;
    std::size_t size_bytes_;
    std::byte* pages_;
    std::byte* bytes_;
};
