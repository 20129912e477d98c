// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include <shm/region.hpp>
#include <shm/unique_fd.hpp>
#include <shm/unique_mapping.hpp>

namespace shm {
inline namespace v1 {

/// Whether to use huge pages. `try_`: if there are enough; huge_pages_used() says what happened. `require`: refused at
/// creation if there are not, never a signal later.
enum class huge_pages : std::uint8_t { none, try_, require };

/// How a memfd_region is made.
struct memfd_options {
    const char* name = "shm";             ///< shown in /proc/PID/maps; at most 249 characters
    huge_pages pages = huge_pages::none;  ///< whether to use huge pages
    core_dump dump = core_dump::include;  ///< whether the bytes go into a core dump of this process
};

/// Anonymous bytes that are shared by handing on a descriptor: by inheritance or over a Unix socket. The default choice.
///
///     auto bytes = shm::memfd_region::create(size).value();
///     shm::send_descriptors(connection, {{bytes.fd()}}).value();  // there: attach to what receive_descriptors has received
///
/// Promise    zeroed bytes, storage reserved for each, whose number nobody can change any more
/// Progress   create and attach make system calls and may block; the rest is wait-free
/// Callers    create, attach: anyone. The object itself: one thread at a time, but for the observers, which any thread
///            may call
/// Shape      the bytes and nothing else; as many as were asked for, with huge pages rounded up to whole ones for
///            everybody but the creator
/// Edges      none: what is placed in the bytes brings its own
/// Refuses    create: `too_small` (0 bytes), `out_of_range` (more than all memory and swap; to ask for more than is
///            free is not refused: the kernel kills processes to make room), `file_size_limit`, `huge_pages`.
///            attach: `not_a_regular_file`, `seals`, `file_size` (0), `out_of_range` (more than a 32-bit process can
///            map). Both: `access_denied`, `system_call` (ENOSYS: no memfd in this kernel; what to use instead is the
///            caller's decision)
/// Fork       a child inherits the descriptor and not the mapping: it attaches anew, to a duplicate of the descriptor
/// Crash      nothing remains: the bytes end with the last process that holds the descriptor or a mapping
/// Trust      hostile: the seals are checked before the mapping, so a peer can write the bytes but not take them away.
///            Two things a hostile creator still can do to those who attach: leave the storage unreserved, and with
///            huge pages punch holes; then a SIGBUS is possible when memory runs out
/// Source     none; memfd_create(2), fcntl(2)
class memfd_region {
public:
    /// Makes `size_bytes` zeroed, sealed bytes and maps them.
    [[nodiscard]] static result<memfd_region> create(std::size_t size_bytes, memfd_options = {}) noexcept;

    /// Maps what another process made. Takes the descriptor over, and closes it when refusing.
    [[nodiscard]] static result<memfd_region> attach(unique_fd memory, access allowed = access::read_write,
                                                     core_dump = core_dump::include) noexcept;

    /// The bytes; none after a move from this.
    [[nodiscard]] shm::region region() const noexcept {
        return {bytes_.data(), bytes_.data() != nullptr ? size_bytes_ : 0, allowed_, bytes_.process()};
    }

    /// To be handed on. It is close-on-exec.
    [[nodiscard]] int fd() const noexcept { return memory_.get(); }

    /// Whether the bytes lie in huge pages.
    [[nodiscard]] bool huge_pages_used() const noexcept { return huge_; }

private:
    memfd_region(unique_fd memory, unique_mapping bytes, std::size_t size_bytes, access allowed, bool huge) noexcept
        : memory_{std::move(memory)},
          bytes_{std::move(bytes)},
          size_bytes_{size_bytes},
          allowed_{allowed},
          huge_{huge} {}

    [[nodiscard]] static result<memfd_region> make(std::size_t size_bytes, const memfd_options& chosen,
                                                   bool huge) noexcept;

    unique_fd memory_;
    unique_mapping bytes_;
    std::size_t size_bytes_;
    access allowed_;
    bool huge_;
};

}  // namespace v1
}  // namespace shm
