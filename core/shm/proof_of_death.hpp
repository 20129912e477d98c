// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <sys/types.h>

#include <cstdint>

#include <shm/atomics_layer.hpp>
#include <shm/peer_id.hpp>
#include <shm/result.hpp>
#include <shm/unique_fd.hpp>

namespace shm {
inline namespace v1 {

/// The calling process as a peer: its pid, and as incarnation the low 32 bits of its start time in clock ticks since
/// boot, so that a process that gets the same pid later is another peer. Peers must share one pid namespace.
/// Refuses `system_call` or `access_denied` when /proc cannot be read.
[[nodiscard]] result<peer_id> this_process() noexcept;

/// The calling process's pid namespace, as a number that no other one has as long as this one lasts: only where it is the
/// same do two processes mean the same by a pid. Refuses as this_process().
[[nodiscard]] result<std::uint64_t> this_pid_namespace() noexcept;

/// Who vouches for a death: the kernel in proof_of_death.cpp and channel.cpp; in a model, the scenario that stages it. A program that
/// specialises it otherwise forges proofs: it can, but not by accident.
template <class Who>
class death_witness;

/// Evidence that a peer is dead, without which nothing of its is taken over. Only the kernel's word makes one: waitpid
/// for a child, a pidfd for anybody; within a channel, whose peers are crash-prone, the end of its bell. A pid that answers no more, a timeout or a missed heartbeat never makes one.
///
/// Promise  whatever the dead peer wrote happens before everything done after the proof was obtained
/// Trust    it proves that the process behind this {pid, start time} has ended. A hostile peer may have written
///          somebody else's identity into shared memory; taking over on a wrong proof confuses the roles of that
///          region and stays memory-safe
class proof_of_death {
public:
    /// Who is dead.
    [[nodiscard]] peer_id peer() const noexcept { return peer_; }

private:
    template <class Who>
    friend class death_witness;
    explicit proof_of_death(peer_id peer) noexcept : peer_{peer} {}
    peer_id peer_;
};

/// How a child ended, and the proof of it.
struct child_exit {
    proof_of_death proof;  ///< for take-overs
    int status;            ///< as waitpid reports it: WIFEXITED, WTERMSIG, ...
};

/// Waits until the child ends, and reaps it. Blocks. Refuses `system_call` (ECHILD: no such child).
[[nodiscard]] result<child_exit> reap(pid_t child) noexcept;

/// Watches a process that need not be a child. Move-only; holds a pidfd (Linux 5.3).
class process_watch {
public:
    /// Refuses `gone` when that process does not exist, or its pid belongs to another incarnation by now: a watch has
    /// to be opened while the peer lives, or is at most a zombie. Refuses `peer_id`, `access_denied`, `system_call`.
    [[nodiscard]] static result<process_watch> open(peer_id peer) noexcept;

    /// Readable as soon as the process has ended: for the caller's own poll or epoll.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// Waits until the process has ended. Refuses `not_dead` at the deadline; interrupted waits go on.
    [[nodiscard]] result<proof_of_death> wait(deadline until = {}) const noexcept;

private:
    process_watch(unique_fd fd, peer_id peer) noexcept : fd_{std::move(fd)}, peer_{peer} {}
    unique_fd fd_;
    peer_id peer_;
};

}  // namespace v1
}  // namespace shm
