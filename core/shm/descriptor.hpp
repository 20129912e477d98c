// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <span>

#include <shm/result.hpp>
#include <shm/unique_fd.hpp>

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

/// So many descriptors go in one message: the kernel takes no more.
inline constexpr std::size_t max_descriptors = 253;

/// Sends descriptors to the peer of a connected Unix socket, of any type but datagrams to several, in one message of one
/// byte. The peer gets copies: these stay open, and are the caller's. Waits as the socket does. Refuses `count`,
/// `access_denied`, `system_call` (EPIPE: the peer is gone, without a signal; EAGAIN; EBADF: one is not open).
///
///     auto bytes = shm::memfd_region::create(size).value();
///     shm::send_descriptors(connection, {{bytes.fd()}}).value();
///
/// and there:
///
///     std::array<shm::unique_fd, 1> received;
///     shm::receive_descriptors(connection, received).value();
///     auto bytes = shm::memfd_region::attach(std::move(received[0])).value();
///
/// Whoever is to be sent more: `{{bytes.fd(), bell.fd()}}`.
[[nodiscard]] result<void> send_descriptors(int socket, std::span<const int> descriptors) noexcept;

/// Receives exactly `into.size()` descriptors, sent in one message, which are close-on-exec. Waits as the socket does. When it
/// refuses, all that came is closed: `descriptors` (another number was sent), `count`, `access_denied`, `system_call`
/// (EMFILE: this process may not have them all; ECONNRESET: the peer has closed its end; EAGAIN). What a descriptor refers to
/// is still to be checked: memfd_region::attach does.
[[nodiscard]] result<void> receive_descriptors(int socket, std::span<unique_fd> into) noexcept;

}  // namespace v1
}  // namespace shm
