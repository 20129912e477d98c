// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <shm/memfd_region.hpp>
#include <shm/system_call.hpp>

namespace shm {
inline namespace v1 {
namespace {

// With F_SEAL_SEAL nobody can add a seal that takes our own right to write.
constexpr int needed_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

/// What the machine has in all. To reserve more of it does not fail: the kernel kills processes until it fits.
std::size_t all_memory() noexcept {
    struct sysinfo machine{};
    if (::sysinfo(&machine) != 0) return PTRDIFF_MAX;
    const std::uint64_t units = std::uint64_t{machine.totalram} + machine.totalswap;
    return static_cast<std::size_t>(std::min<std::uint64_t>(units * machine.mem_unit, PTRDIFF_MAX));
}

}  // namespace

result<memfd_region> memfd_region::create(std::size_t size_bytes, memfd_options chosen) noexcept {
    if (size_bytes == 0) return fault{fault_kind::too_small, 1, 0};
    if (const std::size_t most = all_memory(); size_bytes > most)
        return fault{fault_kind::out_of_range, most, size_bytes, "region size"};
    if (chosen.pages != huge_pages::none) {
        auto made = make(size_bytes, chosen, true);
        if (made) return made;
        const fault& why = made.error();
        if (chosen.pages == huge_pages::require) {
            const bool from_kernel = why.what == fault_kind::system_call || why.what == fault_kind::access_denied;
            return from_kernel ? fault{fault_kind::huge_pages, size_bytes, why.found} : why;
        }
    }
    return make(size_bytes, chosen, false);
}

result<memfd_region> memfd_region::make(std::size_t size_bytes, const memfd_options& chosen, bool huge) noexcept {
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB : 0U);
    unique_fd memory{uninterrupted([&] { return ::memfd_create(chosen.name, flags); })};
    if (!memory) return refused("memfd_create");
    std::size_t whole_pages = size_bytes;
    if (huge) {
        struct stat found{};
        if (::fstat(memory.get(), &found) != 0) return refused("fstat");
        const auto page = static_cast<std::size_t>(found.st_blksize);
        whole_pages = (size_bytes + page - 1) / page * page;
    }
    if (const auto reserved = reserve_storage(memory.get(), 0, whole_pages); !reserved) return reserved.error();
    if (::fcntl(memory.get(), F_ADD_SEALS, needed_seals) != 0) return refused("fcntl");
    auto bytes = map_shared(memory.get(), whole_pages, access::read_write, chosen.dump);
    if (!bytes) return bytes.error();
    return memfd_region{std::move(memory), *std::move(bytes), size_bytes, access::read_write, huge};
}

result<memfd_region> memfd_region::attach(unique_fd memory, access allowed, core_dump dump) noexcept {
    // Before the size is asked, which can then change no more. EINVAL: it cannot be sealed, so it is no memory file.
    const int answer = ::fcntl(memory.get(), F_GET_SEALS);
    if (answer < 0 && errno != EINVAL) return refused("fcntl");
    const int seals = answer < 0 ? 0 : answer;
    struct stat found{};
    if (::fstat(memory.get(), &found) != 0) return refused("fstat");
    if (!S_ISREG(found.st_mode)) return fault{fault_kind::not_a_regular_file, S_IFREG, found.st_mode & S_IFMT};
    if ((seals & needed_seals) != needed_seals)
        return fault{fault_kind::seals, needed_seals, static_cast<std::uint64_t>(seals)};
    const auto size_bytes = size_of(found);
    if (!size_bytes) return size_bytes.error();
    if (*size_bytes == 0) return fault{fault_kind::file_size, 1, 0};
    struct statfs where{};
    if (uninterrupted([&] { return ::fstatfs(memory.get(), &where); }) != 0) return refused("fstatfs");
    auto bytes = map_shared(memory.get(), *size_bytes, allowed, dump);
    if (!bytes) return bytes.error();
    const bool huge = static_cast<std::uint32_t>(where.f_type) == HUGETLBFS_MAGIC;
    return memfd_region{std::move(memory), *std::move(bytes), *size_bytes, allowed, huge};
}

}  // namespace v1
}  // namespace shm
