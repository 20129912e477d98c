// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstdint>
#include <string>

namespace shm {
inline namespace v1 {

/// Why something was refused. One name for each reason; the sentence of each is in fault.cpp.
enum class fault_kind : std::uint8_t {
    // bytes
    misaligned,     ///< an address is no multiple of what it must be
    too_small,      ///< fewer bytes than needed
    out_of_range,   ///< an offset and a length reach past the end, or overflow
    access_denied,  ///< the mapping, the file or the kernel does not allow it
    // files and descriptors
    gone,                ///< no file of that name, or no such process any more
    exists,              ///< somebody has that name already
    not_a_regular_file,  ///< a symbolic link, FIFO, directory or device
    foreign_owner,       ///< the file belongs to another user
    foreign_group,       ///< the file belongs to another group
    permissions,         ///< others than the owner may write the file
    file_size,           ///< the file's size is not what the mapping needs
    shrink_refused,      ///< a region only grows
    file_size_limit,     ///< RLIMIT_FSIZE is below the size asked for
    seals,               ///< the descriptor's seals do not protect the mapping
    descriptors,         ///< another number of descriptors came than was wanted
    huge_pages,          ///< huge pages were required and there are none
    socket_kind,         ///< the descriptor is no socket of the kind needed
    argument,            ///< a command-line argument that does not say what it should
    system_call,         ///< anything else the kernel refused; `found` is its errno
    // what lies in a region
    not_ready,          ///< its creator has not finished (or died)
    already_created,    ///< somebody has created it there before
    foreign_header,     ///< something else lies there: a word of it is written, and its init state is none
    magic,              ///< these bytes are something else, or of another byte order
    layout_version,     ///< made by an incompatible version
    layout_hash,        ///< same version, other layout
    element_size,       ///< the elements have another size, in bytes
    element_alignment,  ///< the elements have another alignment, in bytes
    capacity,           ///< no power of two, or out of bounds
    count,              ///< fewer than one, or more than there may be
    positions,          ///< the two positions are further apart than the capacity
    watermark,          ///< a bip buffer's lap is said to end before where it is read, or after its last slot
    slab_number,        ///< these bytes are another slab of the pool
    contended,          ///< somebody else was faster; to be tried again
    // what lies in a segment
    no_block,     ///< no block of that name
    block_kind,   ///< the block of that name is something else
    block_name,   ///< no text of 1 to 47 characters, padded with zeros
    block_twice,  ///< two blocks of one name
    overlap,      ///< a block begins before the one in front of it ends
    // messages
    message_size,  ///< larger than any that the channel can hold, in bytes
    timed_out,     ///< what was waited for did not come before the deadline
    peer_dead,     ///< no process holds the other side any more
    corrupt,       ///< words that the peer writes have been nonsense
    // peers
    peer_id,        ///< no valid identity
    busy,           ///< another peer holds the role
    not_holder,     ///< the dead peer does not hold the role
    not_dead,       ///< the kernel says that this process lives
    wrong_process,  ///< it belongs to another process: a forked child has a mere copy
    pid_namespace,  ///< the ids of the peers there are pids of another namespace
};

/// What was refused, and both values. `subject` names the system call or the role where the kind alone does not.
struct fault {
    fault_kind what;                ///< the reason
    std::uint64_t expected;         ///< in the unit that the sentence names
    std::uint64_t found;            ///< likewise; the errno of a `system_call`
    const char* subject = nullptr;  ///< text that is never freed, or null

    /// One sentence that holds both values: "element size: expected 64 bytes, found 48".
    [[nodiscard]] std::string sentence() const;

    /// Prints the sentence on standard error and aborts.
    [[noreturn]] void die() const;

    /// The same reason and the same values; the subject does not count.
    friend bool operator==(const fault& a, const fault& b) noexcept {
        return a.what == b.what && a.expected == b.expected && a.found == b.found;
    }
};

}  // namespace v1
}  // namespace shm
