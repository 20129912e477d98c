// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

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

namespace {

/// Room for as many descriptors as the kernel passes, and for what else a peer can make it add: credentials.
union control_room {
    cmsghdr aligned;
    char bytes[CMSG_SPACE(max_descriptors * sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
};

}  // namespace

result<void> send_descriptors(int socket, std::span<const int> descriptors) noexcept {
    if (descriptors.empty() || descriptors.size() > max_descriptors)
        return fault{fault_kind::count, max_descriptors, descriptors.size(), "descriptors"};
    char byte = 0;  // descriptors do not travel alone
    iovec data{&byte, 1};
    control_room control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
    if (uninterrupted([&] { return ::sendmsg(socket, &message, MSG_NOSIGNAL); }) < 0) return refused("sendmsg");
    return {};
}

result<void> receive_descriptors(int socket, std::span<unique_fd> into) noexcept {
    if (into.empty() || into.size() > max_descriptors)
        return fault{fault_kind::count, max_descriptors, into.size(), "descriptors"};
    char byte = 0;
    iovec data{&byte, 1};
    control_room control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    const auto got = uninterrupted([&] { return ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC); });
    if (got < 0) return refused("recvmsg");

    // All of them are ours from here on, so each has an owner before anything is decided.
    unique_fd received[max_descriptors];
    std::size_t count = 0;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t bytes = part->cmsg_len - CMSG_LEN(0);
        for (std::size_t at = 0; at + sizeof(int) <= bytes && count < max_descriptors; at += sizeof(int)) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(part) + at, sizeof fd);
            received[count++] = unique_fd{fd};
        }
    }
    if (got == 0 && count == 0) return refused("recvmsg", ECONNRESET);
    if ((message.msg_flags & MSG_CTRUNC) != 0)
        return refused("recvmsg", EMFILE);  // there was room: they could not be had
    if (count != into.size()) return fault{fault_kind::descriptors, into.size(), count};
    for (std::size_t i = 0; i < count; ++i) into[i] = std::move(received[i]);
    return {};
}

}  // namespace v1
}  // namespace shm
