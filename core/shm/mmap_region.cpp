// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <shm/mmap_region.hpp>
#include <shm/system_call.hpp>

namespace shm {
inline namespace v1 {
namespace {

constexpr mode_t owner_only = 0600, owner_and_group = 0660;

result<std::string> absolute(const std::string& path) noexcept {
    std::error_code error;
    auto whole = std::filesystem::absolute(path, error);
    if (error) return refused("getcwd", error.value());
    return whole.string();
}

/// The type of what has that name, a symbolic link itself included; nothing if there is nothing.
std::optional<mode_t> file_type_at(const std::string& path) noexcept {
    struct stat found{};
    if (::lstat(path.c_str(), &found) != 0) return std::nullopt;
    return found.st_mode & S_IFMT;
}

fault not_regular(mode_t type) noexcept { return {fault_kind::not_a_regular_file, S_IFREG, type}; }

/// A new file without a name, in the folder where it will get one.
result<unique_fd> open_unnamed(const std::string& path) noexcept {
    const std::string folder = std::filesystem::path{path}.parent_path().string();
    unique_fd file{uninterrupted([&] { return ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, owner_only); })};
    if (!file) return refused("open");
    return file;
}

/// A new file under its name: for file systems that have no files without one.
result<unique_fd> open_named(const std::string& path) noexcept {
    constexpr int flags = O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC;
    unique_fd file{uninterrupted([&] { return ::open(path.c_str(), flags, owner_only); })};
    if (!file) return errno == EEXIST ? fault{fault_kind::exists, 0, 1} : refused("open");
    return file;
}

/// Why an existing file could not be opened.
fault not_opened(const std::string& path, int error) noexcept {
    if (error == ENOENT) return {fault_kind::gone, 0, 0};
    if (error == ELOOP || error == EISDIR || error == ENXIO) {
        if (const auto type = file_type_at(path); type && *type != S_IFREG) return not_regular(*type);
    }
    return refused("open", error);
}

/// Whether a file may be trusted to be one of ours: the user's, or the group's, into which only a member can give a file.
result<void> check(const struct stat& found, gid_t group) noexcept {
    if (!S_ISREG(found.st_mode)) return not_regular(found.st_mode & S_IFMT);
    if (group == no_group && found.st_uid != ::geteuid())
        return fault{fault_kind::foreign_owner, ::geteuid(), found.st_uid};
    if (group != no_group && found.st_gid != group) return fault{fault_kind::foreign_group, group, found.st_gid};
    constexpr mode_t all = 07777;
    const mode_t others_write = group == no_group ? S_IWGRP | S_IWOTH : S_IWOTH;
    if ((found.st_mode & others_write) != 0)
        return fault{fault_kind::permissions, found.st_mode & all & ~others_write, found.st_mode & all};
    if (found.st_size <= 0) return fault{fault_kind::file_size, 1, 0};
    return {};
}

}  // namespace

result<mmap_region> mmap_region::create(const std::string& path, std::size_t size_bytes, mmap_options chosen) noexcept {
    auto made = prepare(path, size_bytes, chosen);
    if (!made) return made;
    if (const auto named = made->publish(); !named) return named.error();
    return made;
}

result<mmap_region> mmap_region::prepare(const std::string& path, std::size_t size_bytes,
                                         mmap_options chosen) noexcept {
    if (size_bytes == 0) return fault{fault_kind::too_small, 1, 0};
    auto whole_path = absolute(path);
    if (!whole_path) return whole_path.error();
    if (file_type_at(*whole_path)) return fault{fault_kind::exists, 0, 1};  // known only later, but cheaper now

    members all{};
    all.path = *std::move(whole_path);
    all.chosen = chosen;
    auto file = open_unnamed(all.path);
    // EISDIR is what a kernel or a file system says that takes O_TMPFILE for an attempt to write to the folder.
    if (!file && (file.error().found == EOPNOTSUPP || file.error().found == EISDIR)) {
        file = open_named(all.path);
        all.name = naming::unfinished;
        all.owner = ::getpid();
    }
    if (!file) return file.error();
    all.file = *std::move(file);

    mmap_region made{std::move(all)};
    // The mode given to open is subject to the umask.
    // The group first: the mode must not let another one in.
    const int fd = made.all_.file.get();
    if (chosen.group != no_group && ::fchown(fd, static_cast<uid_t>(-1), chosen.group) != 0) return refused("fchown");
    if (::fchmod(fd, chosen.group == no_group ? owner_only : owner_and_group) != 0) return refused("fchmod");
    if (const auto reserved = reserve_storage(made.all_.file.get(), 0, size_bytes); !reserved) return reserved.error();
    if (const auto mapped = made.map(size_bytes); !mapped) return mapped.error();
    return made;
}

result<void> mmap_region::publish() noexcept {
    if (all_.name == naming::published) return {};
    if (all_.name == naming::unnamed) {
        const std::string unnamed = "/proc/self/fd/" + std::to_string(all_.file.get());
        if (::linkat(AT_FDCWD, unnamed.c_str(), AT_FDCWD, all_.path.c_str(), AT_SYMLINK_FOLLOW) != 0)
            return errno == EEXIST ? fault{fault_kind::exists, 0, 1} : refused("linkat");
    }
    all_.name = naming::published;
    own_name();
    return {};
}

result<mmap_region> mmap_region::attach(const std::string& path, access allowed, mmap_options chosen) noexcept {
    auto whole_path = absolute(path);
    if (!whole_path) return whole_path.error();

    members all{};
    all.path = *std::move(whole_path);
    all.allowed = allowed;
    all.chosen = chosen;
    all.name = naming::published;
    // O_NONBLOCK: the opening of a FIFO must not wait for somebody at its other end.
    constexpr int safely = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    all.file = unique_fd{uninterrupted([&] {
        return allowed == access::read_write ? ::open(all.path.c_str(), O_RDWR | safely)
                                             : ::open(all.path.c_str(), O_RDONLY | safely);
    })};
    if (!all.file) return not_opened(all.path, errno);
    struct stat found{};
    if (::fstat(all.file.get(), &found) != 0) return refused("fstat");
    if (const auto ours = check(found, chosen.group); !ours) return ours.error();
    const auto size_bytes = size_of(found);
    if (!size_bytes) return size_bytes.error();

    mmap_region made{std::move(all)};
    if (const auto mapped = made.map(*size_bytes); !mapped) return mapped.error();
    made.own_name();
    return made;
}

void mmap_region::take_ownership() noexcept {
    all_.chosen.cleanup = file_cleanup::automatic;
    if (all_.name == naming::published) own_name();
}

void mmap_region::release_ownership() noexcept {
    all_.chosen.cleanup = file_cleanup::manual;
    if (all_.name == naming::published) own_name();
}

void mmap_region::own_name() noexcept { all_.owner = all_.chosen.cleanup == file_cleanup::automatic ? ::getpid() : 0; }

result<bool> mmap_region::close_name() noexcept {
    if (!all_.file || all_.owner != ::getpid()) return false;
    struct stat ours{};
    if (::fstat(all_.file.get(), &ours) != 0) return refused("fstat");
    struct stat named{};
    if (::lstat(all_.path.c_str(), &named) != 0) {
        if (errno == ENOENT) return false;
        return refused("lstat");
    }
    if (named.st_dev != ours.st_dev || named.st_ino != ours.st_ino) return false;
    if (::unlink(all_.path.c_str()) != 0) return refused("unlink");
    return true;
}

result<region_change> mmap_region::resize(std::size_t size_bytes) noexcept {
    if (all_.allowed == access::read_only) return fault{fault_kind::access_denied, 1, 0, "resize"};
    if (const auto here = region().mapped_here(); !here) return here.error();
    if (size_bytes < all_.size_bytes) return fault{fault_kind::shrink_refused, all_.size_bytes, size_bytes};
    const auto found = file_size();
    if (!found) return found.error();
    const std::size_t longest = std::max(*found, size_bytes);
    const std::size_t most = all_.chosen.max_size_bytes;
    if (most != 0 && longest > most) return fault{fault_kind::out_of_range, most, longest, "new size"};
    if (const auto reserved = reserve_storage(all_.file.get(), *found, longest); !reserved) return reserved.error();
    return follow(longest);
}

result<region_change> mmap_region::check_and_remap() noexcept {
    if (const auto here = region().mapped_here(); !here) return here.error();
    const auto found = file_size();
    if (!found) return found.error();
    return follow(*found);
}

/// The file's size, which must not have become less than the region's.
result<std::size_t> mmap_region::file_size() const noexcept {
    struct stat found{};
    if (::fstat(all_.file.get(), &found) != 0) return refused("fstat");
    const auto size_bytes = size_of(found);
    if (size_bytes && *size_bytes < all_.size_bytes) return fault{fault_kind::file_size, all_.size_bytes, *size_bytes};
    return size_bytes;
}

result<void> mmap_region::map(std::size_t size_bytes) noexcept {
    const std::size_t most = all_.chosen.max_size_bytes;
    if (most != 0 && size_bytes > most) return fault{fault_kind::out_of_range, most, size_bytes, "region size"};
    auto bytes = map_shared(all_.file.get(), std::max(size_bytes, most), all_.allowed, all_.chosen.dump);
    if (!bytes) return bytes.error();
    all_.bytes = *std::move(bytes);
    all_.size_bytes = size_bytes;
    return {};
}

result<region_change> mmap_region::follow(std::size_t size_bytes) noexcept {
    if (size_bytes == all_.size_bytes) return region_change::unchanged;
    auto change = region_change::grown;
    if (size_bytes > all_.bytes.size_bytes()) {
        const std::size_t most = all_.chosen.max_size_bytes;
        if (most != 0) return fault{fault_kind::out_of_range, most, size_bytes, "new size"};
        void* bytes = ::mremap(all_.bytes.data(), all_.bytes.size_bytes(), size_bytes, MREMAP_MAYMOVE);
        if (bytes == MAP_FAILED) return refused("mremap");
        if (bytes != all_.bytes.data()) change = region_change::moved;
        all_.bytes.moved_to(bytes, size_bytes);
    }
    all_.size_bytes = size_bytes;
    return change;
}

}  // namespace v1
}  // namespace shm
