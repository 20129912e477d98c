// SPDX-License-Identifier: MIT OR Apache-2.0
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <shm/segment.hpp>

#include "tools/shm_inspect/snapshot.hpp"

namespace inspect {
namespace {

using shm::fault;
using shm::fault_kind;
using header = shm::segment::header;

fault refused(const char* call) noexcept {
    return {fault_kind::system_call, 0, static_cast<std::uint64_t>(errno), call};
}

/// How many of the bytes there are; fewer at the end of the file.
shm::result<std::size_t> copy(int fd, std::byte* to, std::size_t offset, std::size_t size_bytes) noexcept {
    std::size_t done = 0;
    while (done < size_bytes) {
        const auto count = ::pread(fd, to + done, size_bytes - done, static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return refused("pread");
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    return done;
}

}  // namespace

bool is_segment(int fd) noexcept {
    std::uint64_t magic = 0;
    const auto got = copy(fd, reinterpret_cast<std::byte*>(&magic), 0, sizeof magic);
    return got && *got == sizeof magic && magic == header::magic_value;
}

shm::result<snapshot> snapshot::take(int fd) noexcept {
    struct stat file{};
    if (::fstat(fd, &file) != 0) return refused("fstat");
    if (!S_ISREG(file.st_mode)) return fault{fault_kind::not_a_regular_file, S_IFREG, file.st_mode & S_IFMT};
    alignas(header) std::byte first[sizeof(header)]{};
    const auto got = copy(fd, first, 0, sizeof first);
    if (!got) return got.error();
    const auto file_size = static_cast<std::uint64_t>(file.st_size);
    if (*got < sizeof first) return fault{fault_kind::file_size, sizeof first, *got};
    const auto& seen = reinterpret_cast<const header&>(first);
    if (const auto magic = seen.magic.load(std::memory_order::relaxed); magic != header::magic_value)
        return fault{fault_kind::magic, header::magic_value, magic};

    // As much as the segment says it has, if there is as much; what is too large for the file is refused when it is attached to.
    const std::uint64_t size_bytes = std::clamp<std::uint64_t>(seen.size_bytes.read(), sizeof first, file_size);
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* const mapped = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (mapped == MAP_FAILED) return refused("mmap");
    snapshot made{fd, {mapped, size_bytes}, file_size};
    constexpr std::size_t most = shm::segment::tables_size(shm::segment::max_blocks, shm::segment::max_peers);
    if (const auto tables = made.fetch(0, std::min<std::size_t>(most, size_bytes)); !tables) return tables.error();
    return made;
}

shm::result<void> snapshot::fetch(std::size_t offset, std::size_t size_bytes) const noexcept {
    const auto into = bytes().subregion(offset, size_bytes);
    if (!into) return into.error();
    const auto got = copy(fd_, into->data(), offset, size_bytes);
    if (!got) return got.error();
    if (*got == size_bytes) return {};
    struct stat file{};
    if (::fstat(fd_, &file) != 0) return refused("fstat");
    return fault{fault_kind::file_size, offset + size_bytes, static_cast<std::uint64_t>(file.st_size)};
}

}  // namespace inspect
