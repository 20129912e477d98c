// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <shm/doorbell.hpp>
#include <shm/system_call.hpp>

namespace shm {
inline namespace v1 {
namespace {

constexpr descriptor_shape needed{S_IFSOCK, AF_UNIX, SOCK_SEQPACKET, true};

// The last one: a peer that has shut down its half will never ring again.
constexpr short bell_or_end = POLLIN | POLLRDHUP;
bool hung_up(short events) noexcept { return (events & (POLLHUP | POLLRDHUP)) != 0; }

/// One integer of a socket's options.
result<int> option(int socket, int name) noexcept {
    int value = 0;
    socklen_t length = sizeof value;
    if (::getsockopt(socket, SOL_SOCKET, name, &value, &length) != 0) return refused("getsockopt");
    return value;
}

result<descriptor_shape> shape_of(int fd) noexcept {
    struct stat file{};
    if (::fstat(fd, &file) != 0) return refused("fstat");
    descriptor_shape found{file.st_mode & S_IFMT};
    if (found.file_type != S_IFSOCK) return found;
    const auto family = option(fd, SO_DOMAIN);
    if (!family) return family.error();
    const auto type = option(fd, SO_TYPE);
    if (!type) return type.error();
    found.family = static_cast<std::uint16_t>(*family);
    found.type = static_cast<std::uint8_t>(*type);
    sockaddr_un name{};
    socklen_t length = sizeof name;
    // A peer that has gone still has a name: to be its heir is not wrong.
    found.connected = ::getpeername(fd, reinterpret_cast<sockaddr*>(&name), &length) == 0;
    if (!found.connected && errno != ENOTCONN) return refused("getpeername");
    return found;
}

/// What poll has to say of it now.
result<short> state_of(int fd) noexcept {
    pollfd socket{fd, bell_or_end, 0};
    const timespec at_once{};
    if (uninterrupted([&] { return ::ppoll(&socket, 1, &at_once, nullptr); }) < 0) return refused("ppoll");
    return socket.revents;
}

/// Whether an error of send or recv says that the other end is closed. With bells in it that nobody has read it is
/// ECONNRESET, once.
bool says_gone(int error) noexcept { return error == EPIPE || error == ECONNRESET; }

}  // namespace

doorbell::doorbell(unique_fd fd) noexcept : fd_{std::move(fd)}, process_{::getpid()} {}

result<std::pair<doorbell, doorbell_handle>> doorbell::create_pair() noexcept {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return refused("socketpair");
    return std::pair{doorbell{unique_fd{ends[0]}}, doorbell_handle::from_raw_fd(ends[1])};
}

result<doorbell> doorbell::from_handle(doorbell_handle handle) noexcept {
    unique_fd fd = std::move(handle).release();
    const auto found = shape_of(fd.get());
    if (!found) return found.error();
    if (found->word() != needed.word()) return fault{fault_kind::socket_kind, needed.word(), found->word()};
    if (::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) return refused("fcntl");
    return doorbell{std::move(fd)};
}

result<doorbell> doorbell::from_raw_fd(int fd) noexcept { return from_handle(doorbell_handle::from_raw_fd(fd)); }

result<void> doorbell::usable() const noexcept {
    if (!fd_) return refused("doorbell", EBADF);  // moved from; poll would wait for it for ever
    if (const pid_t here = ::getpid(); here != process_)
        return fault{fault_kind::wrong_process, static_cast<std::uint64_t>(process_), static_cast<std::uint64_t>(here),
                     "doorbell"};
    return {};
}

result<signal_result> doorbell::signal() noexcept {
    if (const auto ours = usable(); !ours) return ours.error();
    const char bell = 1;
    const auto sent = uninterrupted([&] { return ::send(fd_.get(), &bell, sizeof bell, MSG_DONTWAIT | MSG_NOSIGNAL); });
    if (sent >= 0) return signal_result::sent;
    if (errno == EAGAIN) return signal_result::buffer_full;
    if (says_gone(errno)) return signal_result::peer_dead;
    return refused("send");
}

result<wait_result> doorbell::wait(deadline until) noexcept {
    if (const auto ours = usable(); !ours) return ours.error();
    for (;;) {
        pollfd socket{fd_.get(), bell_or_end, 0};
        const int ready = uninterrupted([&] {
            const timespec left = remaining(until);
            return ::ppoll(&socket, 1, &left, nullptr);
        });
        if (ready < 0) return refused("ppoll");
        if (hung_up(socket.revents)) return wait_result::peer_dead;
        if (ready == 0) return wait_result::timed_out;
        const auto taken = drain();
        if (!taken) return taken.error();
        if (*taken != 0) return wait_result::rung;  // else somebody was faster, or the peer has died meanwhile
    }
}

result<std::size_t> doorbell::drain() noexcept {
    if (const auto ours = usable(); !ours) return ours.error();
    for (std::size_t taken = 0;; ++taken) {
        if (taken == most_drained) return taken;
        char bell = 0;
        const auto length = uninterrupted([&] { return ::recv(fd_.get(), &bell, sizeof bell, MSG_DONTWAIT); });
        if (length > 0) continue;
        if (length < 0) {
            if (errno == EAGAIN || says_gone(errno)) return taken;
            return refused("recv");
        }
        // An empty packet looks like the end of file.
        const auto state = state_of(fd_.get());
        if (!state) return state.error();
        if (hung_up(*state)) return taken;
    }
}

result<void> doorbell::accept() noexcept {
    if (const auto ours = usable(); !ours) return ours.error();
    if (is_peer_dead()) return refused("doorbell peer", EPIPE);
    return {};
}

result<std::size_t> doorbell::pending_bytes() const noexcept {
    int count = 0;
    if (::ioctl(fd_.get(), FIONREAD, &count) != 0) return refused("ioctl");
    return static_cast<std::size_t>(count);
}

bool doorbell::is_peer_dead() const noexcept {
    if (!fd_) return false;
    const auto state = state_of(fd_.get());
    return state && hung_up(*state);
}

}  // namespace v1
}  // namespace shm
