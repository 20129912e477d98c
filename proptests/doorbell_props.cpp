// SPDX-License-Identifier: MIT OR Apache-2.0
// shm_test(doorbell_props WRAP fcntl fstat getpeername getsockopt ioctl ppoll recv send socketpair)
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <rapidcheck.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <shm/doorbell.hpp>
#include <shm/system_call.hpp>

#include "testkit/child_process.hpp"
#include "testkit/failing_call.hpp"
#include "testkit/nothing_left.hpp"
#include "testkit/process_state.hpp"

namespace {

failing_call failing_fcntl, failing_fstat, failing_getpeername, failing_getsockopt, failing_ioctl, failing_ppoll,
    failing_recv, failing_send, failing_socketpair;
bool bells_without_end = false;
int flags_of_last_send = 0;

}  // namespace

// The linker sends each call of f to __wrap_f, and knows the f of the C library as __real_f.
int real_fcntl(int fd, int command, long argument) asm("__real_fcntl");
int wrapped_fcntl(int fd, int command, long argument) asm("__wrap_fcntl");
int wrapped_fcntl(int fd, int command, long argument) {
    return failing_fcntl.fails() ? -1 : real_fcntl(fd, command, argument);
}
int real_fstat(int fd, struct stat* file) asm("__real_fstat");
int wrapped_fstat(int fd, struct stat* file) asm("__wrap_fstat");
int wrapped_fstat(int fd, struct stat* file) { return failing_fstat.fails() ? -1 : real_fstat(fd, file); }
int real_getpeername(int fd, sockaddr* name, socklen_t* length) asm("__real_getpeername");
int wrapped_getpeername(int fd, sockaddr* name, socklen_t* length) asm("__wrap_getpeername");
int wrapped_getpeername(int fd, sockaddr* name, socklen_t* length) {
    return failing_getpeername.fails() ? -1 : real_getpeername(fd, name, length);
}
int real_getsockopt(int fd, int level, int option, void* value, socklen_t* length) asm("__real_getsockopt");
int wrapped_getsockopt(int fd, int level, int option, void* value, socklen_t* length) asm("__wrap_getsockopt");
int wrapped_getsockopt(int fd, int level, int option, void* value, socklen_t* length) {
    return failing_getsockopt.fails() ? -1 : real_getsockopt(fd, level, option, value, length);
}
int real_ioctl(int fd, unsigned long request, void* argument) asm("__real_ioctl");
int wrapped_ioctl(int fd, unsigned long request, void* argument) asm("__wrap_ioctl");
int wrapped_ioctl(int fd, unsigned long request, void* argument) {
    return failing_ioctl.fails() ? -1 : real_ioctl(fd, request, argument);
}
int real_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) asm("__real_ppoll");
int wrapped_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) asm("__wrap_ppoll");
int wrapped_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
    return failing_ppoll.fails() ? -1 : real_ppoll(fds, count, timeout, mask);
}
ssize_t real_recv(int fd, void* bytes, std::size_t size, int flags) asm("__real_recv");
ssize_t wrapped_recv(int fd, void* bytes, std::size_t size, int flags) asm("__wrap_recv");
ssize_t wrapped_recv(int fd, void* bytes, std::size_t size, int flags) {
    if (bells_without_end) return 1;
    return failing_recv.fails() ? -1 : real_recv(fd, bytes, size, flags);
}
ssize_t real_send(int fd, const void* bytes, std::size_t size, int flags) asm("__real_send");
ssize_t wrapped_send(int fd, const void* bytes, std::size_t size, int flags) asm("__wrap_send");
ssize_t wrapped_send(int fd, const void* bytes, std::size_t size, int flags) {
    flags_of_last_send = flags;
    return failing_send.fails() ? -1 : real_send(fd, bytes, size, flags);
}
int real_socketpair(int family, int type, int protocol, int* ends) asm("__real_socketpair");
int wrapped_socketpair(int family, int type, int protocol, int* ends) asm("__wrap_socketpair");
int wrapped_socketpair(int family, int type, int protocol, int* ends) {
    return failing_socketpair.fails() ? -1 : real_socketpair(family, type, protocol, ends);
}

namespace {

using namespace std::chrono_literals;
const bool all_is_given_up = nothing_left::by_any_test();

using shm::deadline;
using shm::descriptor_shape;
using shm::doorbell;
using shm::doorbell_handle;
using shm::fault;
using shm::fault_kind;
using shm::signal_result;
using shm::wait_result;

constexpr descriptor_shape needed{S_IFSOCK, AF_UNIX, SOCK_SEQPACKET, true};

fault system_call(int error) { return {fault_kind::system_call, 0, static_cast<std::uint64_t>(error)}; }
fault no_permission(int error) { return {fault_kind::access_denied, 0, static_cast<std::uint64_t>(error)}; }
fault not_needed(descriptor_shape found) { return {fault_kind::socket_kind, needed.word(), found.word()}; }

/// A thing with two ends, one here and one there.
struct two_ends {
    two_ends() : two_ends{doorbell::create_pair().value()} {}
    explicit two_ends(std::pair<doorbell, doorbell_handle> made)
        : here{std::move(made.first)}, there{doorbell::from_handle(std::move(made.second)).value()} {}
    doorbell here;
    std::optional<doorbell> there;
};

class a_doorbell : public testing::Test, protected two_ends {};

TEST_F(a_doorbell, is_a_pair_of_connected_close_on_exec_sockets) {
    for (const int fd : {here.fd(), there->fd()}) {
        int type = 0;
        socklen_t length = sizeof type;
        ASSERT_EQ(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length), 0);
        EXPECT_EQ(type, SOCK_SEQPACKET);
        EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    }
    EXPECT_TRUE(here.accept() && there->accept());
}

TEST_F(a_doorbell, rings_at_the_other_end_and_not_at_its_own) {
    EXPECT_EQ(there->signal().value(), signal_result::sent);
    EXPECT_EQ(there->wait().value(), wait_result::timed_out);
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::rung);
    EXPECT_EQ(here.wait().value(), wait_result::timed_out);
    EXPECT_EQ(here.signal().value(), signal_result::sent);
    EXPECT_EQ(there->wait(deadline::max()).value(), wait_result::rung);
}

// The reference: a number of bells on each side.
TEST_F(a_doorbell, does_whatever_is_called_what_two_numbers_would) {
    EXPECT_TRUE(rc::check([&] {
        std::array<std::size_t, 2> bells{};
        (void)here.drain().value();
        (void)there->drain().value();
        const auto calls = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 8));
        for (const int call : calls) {
            const std::size_t side = call % 2 == 0 ? 0 : 1;
            doorbell& bell = side == 0 ? here : *there;
            switch (call / 2) {
                case 0:
                    RC_ASSERT(bell.signal().value() == signal_result::sent);
                    ++bells[1 - side];
                    break;
                case 1: RC_ASSERT(bell.drain().value() == std::exchange(bells[side], 0)); break;
                case 2: {
                    const auto expected = bells[side] != 0 ? wait_result::rung : wait_result::timed_out;
                    RC_ASSERT(bell.wait().value() == expected);
                    bells[side] = 0;
                    break;
                }
                default: RC_ASSERT(bell.pending_bytes().value() == bells[side]);
            }
            RC_ASSERT(!bell.is_peer_dead());
        }
    }));
}

TEST_F(a_doorbell, that_is_full_is_a_bell_that_is_pending) {
    std::size_t sent = 0;
    while (here.signal().value() == signal_result::sent) ++sent;
    EXPECT_GT(sent, 0u);
    EXPECT_EQ(here.signal().value(), signal_result::buffer_full);
    EXPECT_EQ(there->pending_bytes().value(), sent);
    EXPECT_EQ(there->wait(deadline::max()).value(), wait_result::rung);
    EXPECT_EQ(there->wait().value(), wait_result::timed_out) << "all that were pending are taken";
    EXPECT_EQ(here.signal().value(), signal_result::sent);
}

TEST_F(a_doorbell, takes_so_many_bells_at_a_time_and_no_more) {
    bells_without_end = true;
    EXPECT_EQ(here.drain().value(), doorbell::most_drained);
    bells_without_end = false;
    EXPECT_EQ(here.drain().value(), 0u);
}

TEST_F(a_doorbell, keeps_its_deadline) {
    const auto start = deadline::clock::now();
    EXPECT_EQ(here.wait(start + 20ms).value(), wait_result::timed_out);
    EXPECT_GE(deadline::clock::now() - start, 20ms) << "given up early";
    for (const auto passed : {start, deadline{}, deadline::min()})
        EXPECT_EQ(here.wait(passed).value(), wait_result::timed_out);
}

TEST_F(a_doorbell, wakes_who_is_asleep) {
    std::thread ringer{[&] { EXPECT_EQ(there->signal().value(), signal_result::sent); }};
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::rung);
    ringer.join();
}

TEST_F(a_doorbell, takes_an_empty_packet_for_a_bell_and_not_for_the_end) {
    for (int packets = 0; packets < 3; ++packets) ASSERT_EQ(send(there->fd(), "", 0, 0), 0);
    EXPECT_EQ(here.drain().value(), 3u);
    ASSERT_EQ(send(there->fd(), "", 0, 0), 0);
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::rung);
    EXPECT_EQ(here.wait().value(), wait_result::timed_out);
    EXPECT_FALSE(here.is_peer_dead());
    ASSERT_EQ(send(there->fd(), "", 0, 0), 0);
    there.reset();
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::peer_dead);
    EXPECT_LE(here.drain().value(), 1u);
}

TEST_F(a_doorbell, takes_a_long_packet_for_one_bell) {
    const std::string text(100, 'x');
    ASSERT_EQ(send(there->fd(), text.data(), text.size(), 0), 100);
    EXPECT_EQ(here.drain().value(), 1u);
}

TEST_F(a_doorbell, takes_no_descriptors_from_a_hostile_peer) {
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = here.fd();
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    const auto before = open_descriptors();
    ASSERT_EQ(sendmsg(there->fd(), &message, 0), 1);
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::rung);
    EXPECT_EQ(open_descriptors(), before);
}

TEST_F(a_doorbell, tells_of_the_other_ends_end_for_ever_and_raises_no_signal) {
    EXPECT_EQ(there->signal().value(), signal_result::sent);
    there.reset();
    EXPECT_TRUE(here.is_peer_dead());
    for (int twice = 0; twice < 2; ++twice) {
        EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::peer_dead);
        EXPECT_EQ(here.signal().value(), signal_result::peer_dead);
        EXPECT_EQ(here.drain().value(), twice == 0 ? 1u : 0u) << "its last bell";
    }
    EXPECT_NE(flags_of_last_send & MSG_NOSIGNAL, 0) << "Linux sends none for such sockets, but POSIX allows it";
    EXPECT_EQ(here.accept().error(), system_call(EPIPE));
}

// Linux then says ECONNRESET, once, to whoever asks first.
TEST(who_asks_first, after_an_end_with_unread_bells_is_told_like_all_others) {
    for (const int first : {0, 1, 2}) {
        two_ends ends;
        ASSERT_EQ(ends.here.signal().value(), signal_result::sent);
        ends.there.reset();
        if (first == 0) (void)ends.here.signal().value();
        if (first == 1) (void)ends.here.drain().value();
        for (int twice = 0; twice < 2; ++twice) {
            EXPECT_EQ(ends.here.wait(deadline::max()).value(), wait_result::peer_dead);
            EXPECT_EQ(ends.here.drain().value(), 0u);
            EXPECT_EQ(ends.here.signal().value(), signal_result::peer_dead);
        }
    }
}

// The end may come between the poll and what is read: ECONNRESET is no bell.
TEST_F(a_doorbell, that_is_reset_while_it_is_read_waits_on) {
    ASSERT_EQ(there->signal().value(), signal_result::sent);
    failing_recv.fail(ECONNRESET);
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::rung);
    EXPECT_EQ(here.drain().value(), 0u) << "what rang is taken";
    EXPECT_TRUE(failing_recv.all_failed());
}

TEST_F(a_doorbell, whose_peer_has_shut_down_its_half_is_told_that_no_bell_will_come) {
    ASSERT_EQ(shutdown(there->fd(), SHUT_WR), 0);
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::peer_dead);
    EXPECT_EQ(here.drain().value(), 0u);
}

TEST_F(a_doorbell, fits_into_an_epoll_loop) {
    const shm::unique_fd loop{epoll_create1(EPOLL_CLOEXEC)};
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    ASSERT_EQ(epoll_ctl(loop.get(), EPOLL_CTL_ADD, here.fd(), &wanted), 0);
    epoll_event event{};
    EXPECT_EQ(epoll_wait(loop.get(), &event, 1, 0), 0);
    (void)there->signal().value();
    ASSERT_EQ(epoll_wait(loop.get(), &event, 1, -1), 1);
    EXPECT_EQ(event.events & (EPOLLIN | EPOLLHUP), static_cast<std::uint32_t>(EPOLLIN));
    EXPECT_EQ(here.drain().value(), 1u);
    EXPECT_EQ(epoll_wait(loop.get(), &event, 1, 0), 0);
    there.reset();
    ASSERT_EQ(epoll_wait(loop.get(), &event, 1, -1), 1);
    EXPECT_NE(event.events & EPOLLHUP, 0u);
}

TEST_F(a_doorbell, that_was_moved_from_is_refused_and_not_waited_for) {
    const doorbell other = std::move(here);
    EXPECT_EQ(here.signal().error(), system_call(EBADF));  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(here.wait(deadline::max()).error(), system_call(EBADF));
    EXPECT_EQ(here.drain().error(), system_call(EBADF));
    EXPECT_EQ(here.accept().error(), system_call(EBADF));
    EXPECT_EQ(here.pending_bytes().error(), system_call(EBADF));
    EXPECT_FALSE(here.is_peer_dead());
    EXPECT_EQ(there->signal().value(), signal_result::sent);
}

TEST_F(a_doorbell, whose_descriptor_was_closed_behind_its_back_knows_of_no_death) {
    const int fd = here.fd();
    const int kept = dup(fd);
    close(fd);
    EXPECT_EQ(here.wait(deadline::max()).error(), system_call(EBADF));
    EXPECT_EQ(here.signal().error(), system_call(EBADF));
    EXPECT_FALSE(here.is_peer_dead());
    ASSERT_EQ(dup2(kept, fd), fd);
    close(kept);
}

// Processes.

/// A child that holds both ends, as it was forked with them, and only lives.
child_process living_child() {
    return child_process([]() -> int {
        for (;;) pause();
    });
}

TEST_F(a_doorbell, ends_with_a_killed_process_that_has_not_read_its_bells) {
    const child_process child = living_child();
    there.reset();
    EXPECT_FALSE(here.is_peer_dead());
    for (int bells = 0; bells < 3; ++bells) EXPECT_EQ(here.signal().value(), signal_result::sent);
    std::thread killer{[&] { child.kill(); }};
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::peer_dead);
    killer.join();
    EXPECT_EQ(here.signal().value(), signal_result::peer_dead);
}

TEST_F(a_doorbell, does_not_end_while_any_process_holds_the_other_end) {
    child_process one = living_child(), another = living_child();
    EXPECT_EQ(here.wait().value(), wait_result::timed_out);
    there.reset();
    one = {};
    EXPECT_EQ(here.wait().value(), wait_result::timed_out);
    EXPECT_EQ(here.signal().value(), signal_result::sent);
    another = {};
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::peer_dead);
}

TEST_F(a_doorbell, takes_a_stopped_process_for_a_living_one) {
    const child_process child = living_child();
    there.reset();
    child.stop();
    EXPECT_EQ(here.wait(deadline::clock::now() + 1ms).value(), wait_result::timed_out);
    EXPECT_FALSE(here.is_peer_dead());
    while (here.signal().value() == signal_result::sent) {
    }
    EXPECT_EQ(here.signal().value(), signal_result::buffer_full);
}

TEST_F(a_doorbell, is_refused_to_a_forked_child_and_its_bells_stay_the_parents) {
    (void)there->signal().value();
    child_process child([&] {
        const fault wrong{fault_kind::wrong_process, static_cast<std::uint64_t>(getppid()),
                          static_cast<std::uint64_t>(getpid())};
        const auto refuses = [&](const auto& outcome) { return !outcome && outcome.error() == wrong; };
        const bool all = refuses(here.wait(deadline::max())) && refuses(here.drain()) && refuses(here.signal()) &&
                         refuses(here.accept());
        return all ? 0 : 1;
    });
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_EQ(here.drain().value(), 1u);
    EXPECT_EQ(there->drain().value(), 0u);
}

TEST(a_forked_child, has_the_end_that_it_was_given) {
    auto [here, handle] = doorbell::create_pair().value();
    child_process child([given = &handle] {
        auto mine = doorbell::from_handle(std::move(*given)).value();
        if (mine.wait(deadline::max()).value() != wait_result::rung) return 1;
        return mine.signal().value() == signal_result::sent ? 0 : 2;
    });
    {
        const auto given_away = std::move(handle);
    }
    EXPECT_EQ(here.signal().value(), signal_result::sent);
    // The answer, unless its sender has ended meanwhile: then that is told first.
    EXPECT_TRUE(here.wait(deadline::max()).value() == wait_result::rung || here.drain().value() == 1);
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::peer_dead);
}

/// What this program does when it is started with a handle and the number of a descriptor that it must not have.
int be_the_peer(const char* handle, const char* not_inherited) {
    auto given = doorbell_handle::from_arg(handle);
    if (!given) return 10;
    auto bell = doorbell::from_handle(*std::move(given));
    if (!bell) return 11;
    if (fcntl(bell->fd(), F_GETFD) != FD_CLOEXEC) return 12;
    if (shm::validate_fd(std::atoi(not_inherited))) return 13;
    if (bell->wait(deadline::max()).value() != wait_result::rung) return 14;
    return bell->signal().value() == signal_result::sent ? 0 : 15;
}

TEST(another_program, makes_its_end_of_an_argument) {
    auto [here, handle] = doorbell::create_pair().value();
    const std::string number = handle.to_arg();
    const std::string not_inherited = std::to_string(here.fd());
    child_process child([fd = handle.as_raw_fd(), &number, &not_inherited] {
        if (!shm::clear_cloexec(fd)) return 1;
        execl("/proc/self/exe", "peer", doorbell_handle::arg_name, number.c_str(), not_inherited.c_str(), nullptr);
        return 2;
    });
    shm::close_peer_fd(std::move(handle).release().release_fd()).value();
    EXPECT_EQ(here.signal().value(), signal_result::sent);
    EXPECT_TRUE(here.wait(deadline::max()).value() == wait_result::rung || here.drain().value() == 1);
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::peer_dead);
}

// It rings as fast as it can until it is killed: each wait ends, and the deadline of a loop of them is kept.
TEST_F(a_doorbell, is_not_held_by_a_peer_that_never_stops_ringing) {
    child_process child([&] {
        auto mine = doorbell::from_raw_fd(dup(there->fd())).value();
        for (;;) (void)mine.signal().value();
        return 0;
    });
    there.reset();
    const auto until = deadline::clock::now() + 100ms;
    std::size_t bells = 0;
    while (deadline::clock::now() < until) {
        ASSERT_EQ(here.wait(deadline::max()).value(), wait_result::rung);
        const auto more = here.drain().value();
        ASSERT_LE(more, doorbell::most_drained);
        bells += 1 + more;
    }
    EXPECT_GT(bells, 0u);
    child.kill();
    auto last = wait_result::rung;  // what it rang before its end comes first
    while (last == wait_result::rung) last = here.wait(deadline::max()).value();
    EXPECT_EQ(last, wait_result::peer_dead);
}

// Handles.

TEST(a_handle, travels_as_the_number_of_its_descriptor) {
    EXPECT_STREQ(doorbell_handle::arg_name, "--doorbell-fd");
    auto [here, handle] = doorbell::create_pair().value();
    const int fd = handle.as_raw_fd();
    EXPECT_EQ(handle.to_arg(), std::to_string(fd));
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    (void)std::move(handle).release().release_fd();
    auto again = doorbell_handle::from_arg(std::to_string(fd)).value();
    EXPECT_EQ(again.as_raw_fd(), fd);
    auto there = doorbell::from_handle(std::move(again)).value();
    EXPECT_EQ(there.signal().value(), signal_result::sent);
    EXPECT_EQ(here.wait(deadline::max()).value(), wait_result::rung);
}

TEST(a_handle, closes_its_descriptor) {
    const auto before = open_descriptors();
    {
        const auto ends = doorbell::create_pair().value();
    }
    {
        const auto handle = doorbell_handle::from_raw_fd(dup(0));
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST(a_handle, says_where_an_argument_is_no_number) {
    const auto wrong = [](std::uint64_t character, char byte) {
        return fault{fault_kind::argument, INT_MAX, character << 8 | static_cast<unsigned char>(byte)};
    };
    EXPECT_EQ(doorbell_handle::from_arg("").error(), wrong(1, '\0'));
    EXPECT_EQ(doorbell_handle::from_arg("-1").error(), wrong(1, '-'));
    EXPECT_EQ(doorbell_handle::from_arg(" 7").error(), wrong(1, ' '));
    EXPECT_EQ(doorbell_handle::from_arg("7x").error(), wrong(2, 'x'));
    EXPECT_EQ(doorbell_handle::from_arg("2147483648").error(), wrong(10, '8'));
    EXPECT_EQ(doorbell_handle::from_arg("99999999999999999999").error(), wrong(10, '9'));
    EXPECT_EQ(doorbell_handle::from_arg("2147483647").error(), system_call(EBADF));
    EXPECT_EQ(doorbell_handle::from_arg("7x").error().sentence(),
              "--doorbell-fd: expected a number from 0 to 2147483647, found 'x' at character 2");
}

TEST(a_handle, of_any_text_is_one_that_is_open_or_refused) {
    EXPECT_TRUE(rc::check([](const std::string& text) {
        const auto before = open_descriptors();
        auto handle = doorbell_handle::from_arg(text);
        if (handle) {
            RC_ASSERT(std::all_of(text.begin(), text.end(), [](char each) { return each >= '0' && each <= '9'; }));
            RC_ASSERT(std::stoi(text) == std::move(*handle).release().release_fd());
        } else {
            RC_ASSERT(handle.error().what == fault_kind::argument || handle.error() == system_call(EBADF));
        }
        RC_ASSERT(open_descriptors() == before);
    }));
}

/// What is refused is closed.
void refuses(int fd, const fault& expected) {
    const auto before = open_descriptors();
    EXPECT_EQ(doorbell::from_raw_fd(fd).error(), expected);
    EXPECT_EQ(open_descriptors(), before - 1);
}

TEST(what_is_no_doorbell, is_refused_by_what_it_is_and_closed) {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe(ends.data()), 0);
    refuses(ends[0], not_needed({S_IFIFO}));
    close(ends[1]);
    refuses(open("/dev/null", O_RDWR | O_CLOEXEC), not_needed({S_IFCHR}));
    refuses(open("/", O_RDONLY | O_CLOEXEC), not_needed({S_IFDIR}));
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
        ASSERT_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()), 0);
        refuses(ends[0], not_needed({S_IFSOCK, AF_UNIX, static_cast<std::uint8_t>(type), true}));
        close(ends[1]);
    }
    refuses(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), not_needed({S_IFSOCK, AF_UNIX, SOCK_SEQPACKET, false}));
    refuses(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), not_needed({S_IFSOCK, AF_INET, SOCK_STREAM, false}));
    const int listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un any{AF_UNIX, {}};
    ASSERT_EQ(bind(listening, reinterpret_cast<sockaddr*>(&any), sizeof any.sun_family), 0);
    ASSERT_EQ(listen(listening, 1), 0);
    refuses(listening, not_needed({S_IFSOCK, AF_UNIX, SOCK_SEQPACKET, false}));
    for (const int none : {-1, INT_MIN, INT_MAX}) EXPECT_EQ(doorbell::from_raw_fd(none).error(), system_call(EBADF));
}

TEST(what_is_no_doorbell, does_not_include_the_end_of_a_pair_whose_other_end_has_gone) {
    auto ends = doorbell::create_pair().value();
    {
        const doorbell gone = std::move(ends.first);
    }
    auto bell = doorbell::from_handle(std::move(ends.second)).value();
    EXPECT_EQ(bell.wait(deadline::max()).value(), wait_result::peer_dead);
}

// System calls that fail.

TEST(a_failing_system_call, is_reported_and_leaves_nothing) {
    const auto before = open_descriptors();
    for (const int error : {EMFILE, ENFILE, ENOMEM}) {
        failing_socketpair.fail(error);
        const fault refused = doorbell::create_pair().error();
        EXPECT_EQ(refused, system_call(error));
        EXPECT_STREQ(refused.subject, "socketpair");
    }
    const auto taking_over = [](failing_call& call, int error, int spared = 0) {
        auto ends = doorbell::create_pair().value();
        call.fail(error, 1, spared);
        EXPECT_EQ(doorbell::from_handle(std::move(ends.second)).error(), system_call(error));
        EXPECT_TRUE(call.all_failed());
        EXPECT_TRUE(ends.first.is_peer_dead()) << "what was refused is closed";
    };
    taking_over(failing_fstat, ENOMEM);
    taking_over(failing_getsockopt, ENOBUFS);
    taking_over(failing_getsockopt, ENOBUFS, 1);
    taking_over(failing_getpeername, ENOBUFS);
    taking_over(failing_fcntl, ENOMEM);
    EXPECT_EQ(open_descriptors(), before);
}

TEST_F(a_doorbell, a_failing_system_call_is_no_death) {
    for (const int error : {ENOBUFS, ENOMEM}) {
        failing_send.fail(error);
        EXPECT_EQ(here.signal().error(), system_call(error));
    }
    failing_send.fail(EPERM);
    EXPECT_EQ(here.signal().error(), no_permission(EPERM));
    failing_ppoll.fail(ENOMEM);
    EXPECT_EQ(here.wait(deadline::max()).error(), system_call(ENOMEM));
    failing_ppoll.fail(ENOMEM);
    EXPECT_FALSE(here.is_peer_dead());
    failing_ioctl.fail(ENOMEM);
    EXPECT_EQ(here.pending_bytes().error(), system_call(ENOMEM));
    failing_recv.fail(ENOMEM);
    EXPECT_EQ(here.drain().error(), system_call(ENOMEM));
    (void)there->signal().value();
    failing_recv.fail(ENOMEM);
    EXPECT_EQ(here.wait(deadline::max()).error(), system_call(ENOMEM));
    EXPECT_EQ(here.drain().value(), 1u) << "the bell is still there";
    ASSERT_EQ(send(there->fd(), "", 0, 0), 0);
    failing_ppoll.fail(ENOMEM);
    EXPECT_EQ(here.drain().error(), system_call(ENOMEM));
    EXPECT_EQ(here.signal().value(), signal_result::sent);
}

TEST_F(a_doorbell, interrupted_calls_go_on) {
    failing_send.fail(EINTR, 5);
    EXPECT_EQ(here.signal().value(), signal_result::sent);
    failing_ppoll.fail(EINTR, 5);
    failing_recv.fail(EINTR, 5);
    EXPECT_EQ(there->wait(deadline::max()).value(), wait_result::rung);
    failing_recv.fail(EINTR, 5);
    EXPECT_EQ(there->drain().value(), 0u);
    failing_ppoll.fail(EINTR, 5);
    EXPECT_FALSE(there->is_peer_dead());
    failing_ppoll.fail(EINTR, 5);
    EXPECT_EQ(there->wait().value(), wait_result::timed_out);
    EXPECT_TRUE(failing_send.all_failed() && failing_recv.all_failed() && failing_ppoll.all_failed());
}

// Signals that come all the time neither end a wait early nor keep it from ending.
TEST_F(a_doorbell, keeps_its_deadline_under_a_storm_of_signals) {
    child_process child([&] {
        auto mine = doorbell::from_raw_fd(dup(here.fd())).value();
        static volatile std::sig_atomic_t ticks = 0;
        struct sigaction count{};
        count.sa_handler = [](int) {
            ticks = ticks + 1;
            if (ticks == 10'000) _exit(4);  // what so many have not ended, none ends
        };
        sigaction(SIGALRM, &count, nullptr);
        constexpr itimerval often{{0, 500}, {0, 500}};
        setitimer(ITIMER_REAL, &often, nullptr);
        const auto until = deadline::clock::now() + 50ms;
        if (mine.wait(until).value() != wait_result::timed_out) return 1;
        if (deadline::clock::now() < until) return 2;
        return ticks > 1 ? 0 : 3;
    });
    EXPECT_EQ(child.wait(), exited(0));
}

TEST(without_descriptors, a_pair_is_refused) {
    child_process child([] {
        const rlimit limit{3, 3};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
        const auto ends = doorbell::create_pair();
        return !ends && ends.error() == system_call(EMFILE) ? 0 : 2;
    });
    EXPECT_EQ(child.wait(), exited(0));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 4 && std::string{argv[1]} == doorbell_handle::arg_name) return be_the_peer(argv[2], argv[3]);
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
