// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <shm/region.hpp>
#include <shm/unique_fd.hpp>
#include <shm/unique_mapping.hpp>

namespace shm {
inline namespace v1 {

/// Who removes a file's name: nobody but the user, or the process that published it (or took ownership), at the end.
enum class file_cleanup : std::uint8_t { manual, automatic };

/// What became of a region's bytes. `grown`: more of them at the same address; earlier views stay valid and stay
/// shorter. `moved`: earlier views point to nothing; take new ones.
enum class [[nodiscard]] region_change : std::uint8_t { unchanged, grown, moved };

/// Nobody but one user.
inline constexpr gid_t no_group = static_cast<gid_t>(-1);

/// How an mmap_region is made or attached to.
struct mmap_options {
    file_cleanup cleanup = file_cleanup::manual;  ///< who removes the file's name
    std::size_t max_size_bytes = 0;       ///< address space set aside, within which the region grows and never moves
    core_dump dump = core_dump::include;  ///< whether the bytes go into a core dump of this process
    gid_t group = no_group;  ///< whose members, of whatever user, may make, read and write the file as well: mode 0660
};

/// Bytes shared through a named file, for peers that have nothing in common but a path. Where a descriptor can be
/// handed over prefer memfd_region, whose bytes nobody can take away.
///
///     auto bytes = shm::mmap_region::prepare("/dev/shm/prices", size).value();
///     auto ring = shm::spsc_ring<price>::create(bytes.region(), capacity).value();
///     bytes.publish().value();
///
/// Promise    a file that was made here appears under its name complete: sized, with storage for every byte and, where
///            `prepare` and `publish` are used, with what was placed in it. No existing file is touched
/// Progress   all but the observers make system calls and may block in the file system
/// Callers    create, prepare, attach: anyone. The object itself: one thread at a time, but for region(), size_bytes()
///            and path(), which any thread may call while no other call is running
/// Shape      the file holds the bytes and nothing else, mode 0600, or 0660 with a group. The region is as long as was asked
///            for
/// Edges      none: what is placed in the bytes brings its own
/// Refuses    create, prepare: `too_small` (0 bytes), `out_of_range` (above max_size_bytes), `exists`,
///            `file_size_limit`. attach: `gone`, `not_a_regular_file`, `foreign_owner`, `foreign_group`, `permissions`,
///            `file_size` (0),
///            `out_of_range`. resize: `access_denied` (read-only), `shrink_refused`, `out_of_range`,
///            `file_size_limit`, `file_size` (the file has shrunk), `wrong_process`; so check_and_remap, the last two. All: `access_denied`, `system_call`
/// Fork       a child inherits neither the mapping nor the name's ownership: it attaches anew
/// Crash      killed before `publish`: nothing remains, save on a file system without O_TMPFILE (NFS, FAT): there the
///            unfinished file remains under its name, and what was to be placed in it is `not_ready`. Killed after it:
///            the file remains. Killed in `resize`: the file may be longer than its creator's region, which harms nobody
/// Trust      crash-prone peers of the same user, or of the same group if one is given: nobody else could ever open the file.
///            With a group any of its members may have made it; in a folder whose files take the folder's group (set-group-ID),
///            anybody who may make files there. Whoever may write it
///            may also truncate it under the mapping: touching bytes past its end is then a SIGBUS, which only a sealed
///            memfd_region excludes; so does a full disk on a sparse file that was made by something else
/// Source     none; open(2) and the LMDB habit of mapping the whole of the maximum size at once
class mmap_region {
public:
    /// Makes a file and publishes it at once, zeroed: prepare and publish.
    [[nodiscard]] static result<mmap_region> create(const std::string& path, std::size_t size_bytes,
                                                    mmap_options = {}) noexcept;

    /// Makes a file that has no name yet.
    [[nodiscard]] static result<mmap_region> prepare(const std::string& path, std::size_t size_bytes,
                                                     mmap_options = {}) noexcept;

    /// Gives a prepared file its name. Refuses `exists`; of several that publish under one name one succeeds. Of a
    /// region that is published already it does nothing.
    result<void> publish() noexcept;

    /// Maps a file that somebody has published. With `automatic`, this process removes the name.
    [[nodiscard]] static result<mmap_region> attach(const std::string& path, access allowed = access::read_write,
                                                    mmap_options = {}) noexcept;

    /// Moving hands on the mapping and the ownership of the name; what was moved from has no bytes.
    mmap_region(mmap_region&&) noexcept = default;

    /// Lets go of the region that was here, as at its end.
    mmap_region& operator=(mmap_region&& other) noexcept {
        if (this != &other) {
            close_name_quietly();
            all_ = std::move(other.all_);
        }
        return *this;
    }
    ~mmap_region() { close_name_quietly(); }

    /// The bytes. Views taken before a `moved` are invalid.
    [[nodiscard]] shm::region region() const noexcept {
        return {all_.bytes.data(), size_bytes(), all_.allowed, all_.bytes.process()};
    }

    /// How many bytes may be touched; 0 after a move from this.
    [[nodiscard]] std::size_t size_bytes() const noexcept { return all_.bytes.data() != nullptr ? all_.size_bytes : 0; }

    /// The file's name, made absolute, so that a later chdir changes nothing.
    [[nodiscard]] const std::string& path() const noexcept { return all_.path; }

    /// Makes this process the one that removes the name. Ownership is not inherited by a fork.
    void take_ownership() noexcept;

    /// Leaves the name to others.
    void release_ownership() noexcept;

    /// Removes the name, now that everyone has attached: mappings live on, and a new attach is `gone`. Does it only if
    /// this process owns the name, and the name is still that of our file; says whether it did.
    result<bool> close_name() noexcept;

    /// Makes the file at least that long, and the region as long as the file.
    result<region_change> resize(std::size_t size_bytes) noexcept;

    /// Makes the region as long as the file, which a peer may have resized.
    result<region_change> check_and_remap() noexcept;

private:
    enum class naming : std::uint8_t { unnamed, unfinished, published };

    struct members {
        unique_fd file;
        unique_mapping
            bytes;  // whole pages, and all of max_size_bytes; beyond the file's end they are not to be touched
        std::size_t size_bytes = 0;
        access allowed = access::read_write;
        std::string path;
        mmap_options chosen;
        naming name = naming::unnamed;
        pid_t owner = 0;  // removes the name; 0 is nobody
    };

    explicit mmap_region(members all) noexcept : all_{std::move(all)} {}

    [[nodiscard]] result<void> map(std::size_t size_bytes) noexcept;
    [[nodiscard]] result<region_change> follow(std::size_t size_bytes) noexcept;
    [[nodiscard]] result<std::size_t> file_size() const noexcept;
    void own_name() noexcept;
    void close_name_quietly() noexcept { static_cast<void>(close_name()); }

    members all_;
};

}  // namespace v1
}  // namespace shm
