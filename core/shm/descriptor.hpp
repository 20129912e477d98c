// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <shm/result.hpp>

namespace shm {
inline namespace v1 {

// What a program does with descriptors that it hands to another program. Each refusal carries the errno.

/// Lets the descriptor stay open in the program that this process becomes by exec. To be called in the forked child,
/// so that no other child that is started meanwhile inherits it.
[[nodiscard]] result<void> clear_cloexec(int fd) noexcept;

/// Closes this process's copy of a descriptor that a peer has been given: as long as it is open, the peer's end has not
/// ended. Whatever it says, the number is free afterwards.
[[nodiscard]] result<void> close_peer_fd(int fd) noexcept;

/// Reads and writes of it fail with EAGAIN instead of waiting, for everybody who shares the open file.
[[nodiscard]] result<void> set_nonblocking(int fd) noexcept;

/// Refuses `system_call` (EBADF) when no descriptor of that number is open.
[[nodiscard]] result<void> validate_fd(int fd) noexcept;

}  // namespace v1
}  // namespace shm
