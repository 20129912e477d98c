// SPDX-License-Identifier: MIT OR Apache-2.0
// shm_test(descriptor_props WRAP close fcntl recvmsg sendmsg)
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <shm/descriptor.hpp>
#include <shm/memfd_region.hpp>
#include <shm/segment_builder.hpp>
#include <shm/spsc_ring.hpp>

#include "testkit/child_process.hpp"
#include "testkit/failing_call.hpp"
#include "testkit/nothing_left.hpp"
#include "testkit/process_state.hpp"

namespace {

failing_call failing_close, failing_fcntl, failing_recvmsg, failing_sendmsg;

}  // namespace

// The linker sends each call of f to __wrap_f, and knows the f of the C library as __real_f.
int real_close(int fd) asm("__real_close");
int wrapped_close(int fd) asm("__wrap_close");
int wrapped_close(int fd) {
    const bool fails = failing_close.fails();
    const int error = errno;
    const int closed = real_close(fd);  // a failing close closes all the same
    if (!fails) return closed;
    errno = error;
    return -1;
}
int real_fcntl(int fd, int command, long argument) asm("__real_fcntl");
int wrapped_fcntl(int fd, int command, long argument) asm("__wrap_fcntl");
int wrapped_fcntl(int fd, int command, long argument) {
    return failing_fcntl.fails() ? -1 : real_fcntl(fd, command, argument);
}
ssize_t real_recvmsg(int fd, msghdr* message, int flags) asm("__real_recvmsg");
ssize_t wrapped_recvmsg(int fd, msghdr* message, int flags) asm("__wrap_recvmsg");
ssize_t wrapped_recvmsg(int fd, msghdr* message, int flags) {
    return failing_recvmsg.fails() ? -1 : real_recvmsg(fd, message, flags);
}
ssize_t real_sendmsg(int fd, const msghdr* message, int flags) asm("__real_sendmsg");
ssize_t wrapped_sendmsg(int fd, const msghdr* message, int flags) asm("__wrap_sendmsg");
ssize_t wrapped_sendmsg(int fd, const msghdr* message, int flags) {
    return failing_sendmsg.fails() ? -1 : real_sendmsg(fd, message, flags);
}

namespace {

const bool all_is_given_up = nothing_left::by_any_test();

using shm::fault;
using shm::fault_kind;

fault system_call(int error) { return {fault_kind::system_call, 0, static_cast<std::uint64_t>(error)}; }

class a_descriptor : public testing::Test {
protected:
    a_descriptor() { EXPECT_EQ(pipe2(ends_.data(), O_CLOEXEC), 0); }
    ~a_descriptor() override {
        close(ends_[0]);
        close(ends_[1]);
    }
    [[nodiscard]] int fd() const { return ends_[0]; }
    std::array<int, 2> ends_{};
};

TEST_F(a_descriptor, stays_open_across_exec_once_it_is_told) {
    EXPECT_EQ(fcntl(fd(), F_GETFD), FD_CLOEXEC);
    shm::clear_cloexec(fd()).value();
    EXPECT_EQ(fcntl(fd(), F_GETFD), 0);
    shm::clear_cloexec(fd()).value();
    EXPECT_EQ(fcntl(fd(), F_GETFD), 0);
}

TEST_F(a_descriptor, fails_at_once_instead_of_waiting_once_it_is_told) {
    const int before = fcntl(fd(), F_GETFL);
    shm::set_nonblocking(fd()).value();
    EXPECT_EQ(fcntl(fd(), F_GETFL), before | O_NONBLOCK);
    char byte = 0;
    EXPECT_EQ(read(fd(), &byte, 1), -1);
    EXPECT_EQ(errno, EAGAIN);
}

TEST_F(a_descriptor, is_valid_as_long_as_it_is_open) {
    const int copy = dup(fd());
    EXPECT_TRUE(shm::validate_fd(copy));
    shm::close_peer_fd(copy).value();
    EXPECT_EQ(shm::validate_fd(copy).error(), system_call(EBADF));
}

TEST(no_descriptor, is_refused_with_its_errno_by_every_call) {
    for (const int fd : {-1, INT_MIN, INT_MAX}) {
        EXPECT_EQ(shm::clear_cloexec(fd).error(), system_call(EBADF));
        EXPECT_EQ(shm::close_peer_fd(fd).error(), system_call(EBADF));
        EXPECT_EQ(shm::set_nonblocking(fd).error(), system_call(EBADF));
        EXPECT_EQ(shm::validate_fd(fd).error(), system_call(EBADF));
        EXPECT_EQ(shm::validate_fd(fd).error().sentence(),
                  "fcntl: expected success, found EBADF (Bad file descriptor)");
    }
}

TEST_F(a_descriptor, a_failing_call_is_reported_and_changes_nothing) {
    const int flags = fcntl(fd(), F_GETFL);
    for (const int spared : {0, 1}) {
        failing_fcntl.fail(ENOMEM, 1, spared);
        EXPECT_EQ(shm::clear_cloexec(fd()).error(), system_call(ENOMEM));
        failing_fcntl.fail(EPERM, 1, spared);
        EXPECT_EQ(shm::set_nonblocking(fd()).error(), (fault{fault_kind::access_denied, 0, EPERM}));
    }
    failing_fcntl.fail(ENOMEM);
    EXPECT_EQ(shm::validate_fd(fd()).error(), system_call(ENOMEM));
    EXPECT_TRUE(failing_fcntl.all_failed());
    EXPECT_EQ(fcntl(fd(), F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(fcntl(fd(), F_GETFL), flags);
}

// The number may be somebody else's a moment later: a close that was interrupted is over, and is not tried again.
TEST_F(a_descriptor, is_closed_once_whatever_close_says) {
    const auto before = open_descriptors();
    int copy = dup(fd());
    failing_close.fail(EINTR);
    EXPECT_TRUE(shm::close_peer_fd(copy));
    EXPECT_TRUE(failing_close.all_failed());
    EXPECT_EQ(open_descriptors(), before);
    copy = dup(fd());
    failing_close.fail(EIO);
    EXPECT_EQ(shm::close_peer_fd(copy).error(), system_call(EIO));
    EXPECT_EQ(open_descriptors(), before);
}

/// Both ends of a connected pair of sockets.
class descriptors_over_a_socket : public testing::TestWithParam<int> {
protected:
    descriptors_over_a_socket() {
        std::array<int, 2> ends{};
        EXPECT_EQ(socketpair(AF_UNIX, GetParam() | SOCK_CLOEXEC, 0, ends.data()), 0);
        here_ = shm::unique_fd{ends[0]};
        there_ = shm::unique_fd{ends[1]};
    }
    /// So many of one file.
    [[nodiscard]] std::vector<int> copies(std::size_t count) const { return std::vector<int>(count, here_.get()); }

    shm::unique_fd here_;
    shm::unique_fd there_;
};
INSTANTIATE_TEST_SUITE_P(of, descriptors_over_a_socket, testing::Values(SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM),
                         [](const auto& type) {
                             return type.param == SOCK_STREAM      ? "a_stream"
                                    : type.param == SOCK_SEQPACKET ? "packets"
                                                                   : "datagrams";
                         });

TEST_P(descriptors_over_a_socket, give_another_process_a_segment) {
    const auto plan = shm::segment_builder{}.peers(2).add<shm::spsc_ring<int>>("numbers", 8);
    child_process child([&] {
        here_ = {};
        std::array<shm::unique_fd, 1> received;
        if (!shm::receive_descriptors(there_.get(), received)) return 1;
        if (fcntl(received[0].get(), F_GETFD) != FD_CLOEXEC) return 2;
        const auto bytes = shm::memfd_region::attach(std::move(received[0]));
        if (!bytes) return 3;
        const auto found = shm::segment::attach(bytes->region());
        auto end = found.value().find<shm::spsc_ring<int>>("numbers").value().claim_producer({2, 1});
        return end && end->try_push(42) == shm::push_result::pushed ? 0 : 4;
    });
    const auto bytes = shm::memfd_region::create(plan.required_size()).value();
    const auto made = plan.create(bytes.region()).value();
    const std::array<int, 1> sent{bytes.fd()};
    EXPECT_TRUE(shm::send_descriptors(here_.get(), sent));
    EXPECT_EQ(child.wait(), exited(0));
    auto numbers = made.find<shm::spsc_ring<int>>("numbers").value().claim_consumer({1, 1}).value();
    EXPECT_EQ(numbers.try_pop(), 42);
}

TEST_P(descriptors_over_a_socket, arrive_in_their_order_close_on_exec) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{2}, shm::max_descriptors}) {
        const auto before = open_descriptors();
        {
            std::vector<int> sent = copies(count);
            sent.back() = there_.get();
            ASSERT_TRUE(shm::send_descriptors(here_.get(), sent));
            std::vector<shm::unique_fd> received(count);
            ASSERT_TRUE(shm::receive_descriptors(there_.get(), received));
            struct stat expected{}, found{};
            fstat(there_.get(), &expected);
            fstat(received.back().get(), &found);
            EXPECT_EQ(found.st_ino, expected.st_ino);
            for (const auto& fd : received) EXPECT_EQ(fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
        }
        EXPECT_EQ(open_descriptors(), before);
    }
}

// A peer can make the kernel add who it is: that is three numbers, which would pass for descriptors.
TEST_P(descriptors_over_a_socket, are_told_from_the_credentials_that_come_with_them) {
    const int on = 1;
    ASSERT_EQ(setsockopt(there_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    for (const std::size_t count : {std::size_t{1}, std::size_t{3}, shm::max_descriptors}) {
        const auto before = open_descriptors();
        ASSERT_TRUE(shm::send_descriptors(here_.get(), copies(count)));
        std::vector<shm::unique_fd> received(count);
        const auto outcome = shm::receive_descriptors(there_.get(), received);
        ASSERT_TRUE(outcome.has_value()) << outcome.error().sentence();
        struct stat expected{}, found{};
        fstat(here_.get(), &expected);
        for (const auto& fd : received) {
            ASSERT_EQ(fstat(fd.get(), &found), 0);
            EXPECT_EQ(found.st_ino, expected.st_ino);
        }
        received.clear();
        EXPECT_EQ(open_descriptors(), before);
    }
    ASSERT_EQ(send(here_.get(), "x", 1, 0), 1);
    std::array<shm::unique_fd, 3> received;
    EXPECT_EQ(shm::receive_descriptors(there_.get(), received).error(), (fault{fault_kind::descriptors, 3, 0}))
        << "credentials alone";
}

TEST_P(descriptors_over_a_socket, of_another_number_are_closed_and_refused) {
    const auto before = open_descriptors();
    for (const auto& [sent, wanted] : {std::pair{1, 2}, {2, 1}, {3, 253}, {253, 3}}) {
        ASSERT_TRUE(shm::send_descriptors(here_.get(), copies(static_cast<std::size_t>(sent))));
        std::vector<shm::unique_fd> received(static_cast<std::size_t>(wanted));
        EXPECT_EQ(shm::receive_descriptors(there_.get(), received).error(),
                  (fault{fault_kind::descriptors, std::uint64_t(wanted), std::uint64_t(sent)}));
        for (const auto& fd : received) EXPECT_FALSE(fd);
    }
    ASSERT_EQ(send(here_.get(), "x", 1, 0), 1);
    std::array<shm::unique_fd, 1> received;
    EXPECT_EQ(shm::receive_descriptors(there_.get(), received).error(), (fault{fault_kind::descriptors, 1, 0}));
    EXPECT_EQ(open_descriptors(), before);
}

TEST_P(descriptors_over_a_socket, that_cannot_all_be_had_are_closed_and_refused) {
    const auto before = open_descriptors();
    ASSERT_TRUE(shm::send_descriptors(here_.get(), copies(3)));
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const int next = dup(here_.get());
    close(next);
    const rlimit two_more{static_cast<rlim_t>(next) + 2, limit.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &two_more), 0);
    std::array<shm::unique_fd, 3> received;
    const auto outcome = shm::receive_descriptors(there_.get(), received);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_EQ(outcome.error(), system_call(EMFILE));
    EXPECT_EQ(open_descriptors(), before);
}

// As many arrive as are wanted, and more were sent: they are refused all the same.
TEST_P(descriptors_over_a_socket, of_which_some_were_lost_are_refused_although_the_number_is_right) {
    const auto before = open_descriptors();
    ASSERT_TRUE(shm::send_descriptors(here_.get(), copies(3)));
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const int next = dup(here_.get());
    close(next);
    const rlimit two_more{static_cast<rlim_t>(next) + 2, limit.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &two_more), 0);
    std::array<shm::unique_fd, 2> received;
    const auto outcome = shm::receive_descriptors(there_.get(), received);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_EQ(outcome.error(), system_call(EMFILE));
    EXPECT_FALSE(received[0]);
    EXPECT_EQ(open_descriptors(), before);
}

TEST_P(descriptors_over_a_socket, whose_peer_is_gone_are_an_error_and_no_signal) {
    there_ = {};
    const auto sent = shm::send_descriptors(here_.get(), copies(1)).error();
    EXPECT_EQ(sent, system_call(GetParam() == SOCK_DGRAM ? ECONNREFUSED : EPIPE));
    std::array<shm::unique_fd, 1> received;
    shm::set_nonblocking(here_.get()).value();  // a datagram socket is not told that its peer is gone
    EXPECT_EQ(shm::receive_descriptors(here_.get(), received).error(),
              system_call(GetParam() == SOCK_DGRAM ? EAGAIN : ECONNRESET));
}

TEST_P(descriptors_over_a_socket, are_at_least_one_at_most_253_and_open) {
    std::vector<shm::unique_fd> none, many(254);
    EXPECT_EQ(shm::send_descriptors(here_.get(), copies(0)).error(), (fault{fault_kind::count, 253, 0}));
    EXPECT_EQ(shm::send_descriptors(here_.get(), copies(254)).error(), (fault{fault_kind::count, 253, 254}));
    EXPECT_EQ(shm::receive_descriptors(here_.get(), none).error(), (fault{fault_kind::count, 253, 0}));
    EXPECT_EQ(shm::receive_descriptors(here_.get(), many).error(), (fault{fault_kind::count, 253, 254}));
    const std::array<int, 2> closed{here_.get(), INT_MAX};
    EXPECT_EQ(shm::send_descriptors(here_.get(), closed).error(), system_call(EBADF));
    std::array<shm::unique_fd, 1> received;
    EXPECT_EQ(shm::receive_descriptors(STDIN_FILENO, received).error().what, fault_kind::system_call);
}

TEST_P(descriptors_over_a_socket, come_through_interrupted_calls_and_failing_ones_leave_nothing) {
    const auto before = open_descriptors();
    std::array<shm::unique_fd, 1> received;
    failing_sendmsg.fail(EINTR, 3);
    ASSERT_TRUE(shm::send_descriptors(here_.get(), copies(1)));
    failing_recvmsg.fail(EINTR, 3);
    EXPECT_TRUE(shm::receive_descriptors(there_.get(), received));
    EXPECT_TRUE(failing_sendmsg.all_failed() && failing_recvmsg.all_failed());
    received[0] = {};
    failing_sendmsg.fail(ENOBUFS);
    EXPECT_EQ(shm::send_descriptors(here_.get(), copies(1)).error(), system_call(ENOBUFS));
    failing_recvmsg.fail(ENOMEM);
    EXPECT_EQ(shm::receive_descriptors(there_.get(), received).error(), system_call(ENOMEM));
    EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
