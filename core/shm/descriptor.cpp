// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include <shm/descriptor.hpp>
#include <shm/system_call.hpp>

namespace shm {
inline namespace v1 {

result<void> clear_cloexec(int fd) noexcept {
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags < 0 || ::fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC) != 0) return refused("fcntl");
    return {};
}

result<void> close_peer_fd(int fd) noexcept {
    // Not tried again: Linux has closed it even when a signal came, and the number may be somebody else's by now.
    if (::close(fd) != 0 && errno != EINTR) return refused("close");
    return {};
}

result<void> set_nonblocking(int fd) noexcept {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return refused("fcntl");
    return {};
}

result<void> validate_fd(int fd) noexcept {
    if (::fcntl(fd, F_GETFD) < 0) return refused("fcntl");
    return {};
}

}  // namespace v1
}  // namespace shm
