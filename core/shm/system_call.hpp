// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <shm/atomics_layer.hpp>
#include <shm/fault.hpp>
#include <shm/region.hpp>
#include <shm/result.hpp>
#include <shm/unique_mapping.hpp>

// What this library's own .cpp files share. Nothing for a user.
namespace shm {
inline namespace v1 {

/// Makes a system call again for as long as a signal interrupts it.
template <class Call>
auto uninterrupted(Call call) noexcept {
    for (;;) {
        const auto outcome = call();
        if (outcome != -1 || errno != EINTR) return outcome;
    }
}

/// The fault of a system call that has just set errno.
inline fault refused(const char* call, int error = errno) noexcept {
    const bool denied = error == EACCES || error == EPERM;
    return {denied ? fault_kind::access_denied : fault_kind::system_call, 0, static_cast<std::uint64_t>(error), call};
}

/// What is left until the deadline, as ppoll wants it: nothing if it has passed. Compared first, because the difference
/// to a deadline far in the past would overflow.
inline timespec remaining(deadline until) noexcept {
    using namespace std::chrono;
    const auto now = steady_clock::now();
    const nanoseconds left = until > now ? nanoseconds{until - now} : 0ns;
    return {static_cast<time_t>(left / 1s), static_cast<long>((left % 1s).count())};
}

/// What a descriptor is of, in a word: the values of a fault of `socket_kind`.
struct descriptor_shape {
    std::uint32_t file_type = 0;  // S_IFSOCK; the rest only then
    std::uint16_t family = 0;
    std::uint8_t type = 0;
    bool connected = false;

    [[nodiscard]] constexpr std::uint64_t word() const noexcept {
        return std::uint64_t{file_type} | std::uint64_t{family} << 32 | std::uint64_t{type} << 48 |
               std::uint64_t{connected} << 56;
    }
    [[nodiscard]] static constexpr descriptor_shape from_word(std::uint64_t word) noexcept {
        return {static_cast<std::uint32_t>(word), static_cast<std::uint16_t>(word >> 32),
                static_cast<std::uint8_t>(word >> 48), (word >> 56) != 0};
    }
};

/// How long a mapping of the whole file is. A 64-bit process may have made more than a 32-bit one can map.
inline result<std::size_t> size_of(const struct stat& file) noexcept {
    if (file.st_size < 0 || !std::in_range<std::ptrdiff_t>(file.st_size))
        return fault{fault_kind::out_of_range, PTRDIFF_MAX, static_cast<std::uint64_t>(file.st_size), "file size"};
    return static_cast<std::size_t>(file.st_size);
}

/// Makes the file reach to `end`, with every byte from `begin` on backed by storage, so that no write to a mapping can
/// fail later. When it is refused the file may have grown part of the way.
inline result<void> reserve_storage(int fd, std::size_t begin, std::size_t end) noexcept {
    if (end > PTRDIFF_MAX) return fault{fault_kind::out_of_range, PTRDIFF_MAX, end};
    // Asked first, because the kernel sends a SIGXFSZ with its refusal.
    rlimit limit{};
    if (::getrlimit(RLIMIT_FSIZE, &limit) != 0) return refused("getrlimit");
    if (end > limit.rlim_cur) return fault{fault_kind::file_size_limit, end, limit.rlim_cur};
    // A signal makes tmpfs throw away what this call has reserved so far. In ever smaller steps it gets to the end even
    // if a timer ticks faster than the kernel can reserve the whole.
    constexpr std::size_t smallest_step = 4096;
    std::size_t step = end - begin;
    while (begin < end) {
        const std::size_t length = std::min(step, end - begin);
        const int error = ::posix_fallocate(fd, static_cast<off_t>(begin), static_cast<off_t>(length));
        if (error == 0)
            begin += length;
        else if (error == EINTR)
            step = std::max(step / 2, smallest_step);
        else
            return refused("posix_fallocate", error);
    }
    return {};
}

/// Maps the first `size_bytes` of a file, shared with whoever else maps it, but not with what this process forks: what a
/// child has is a copy of an end or of a member, and it must not get to move the position of the original.
inline result<unique_mapping> map_shared(int fd, std::size_t size_bytes, access allowed, core_dump dump) noexcept {
    const int protection = allowed == access::read_write ? PROT_READ | PROT_WRITE : PROT_READ;
    void* bytes = ::mmap(nullptr, size_bytes, protection, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED) return refused("mmap");
    unique_mapping mapping{bytes, size_bytes};
    if (::madvise(bytes, size_bytes, MADV_DONTFORK) != 0) return refused("madvise");
    if (dump == core_dump::exclude && ::madvise(bytes, size_bytes, MADV_DONTDUMP) != 0) return refused("madvise");
    return mapping;
}

}  // namespace v1
}  // namespace shm
