// SPDX-License-Identifier: MIT OR Apache-2.0
// shm_test(descriptor_props WRAP close fcntl)
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>

#include <shm/descriptor.hpp>

#include "failing_call.hpp"
#include "process_state.hpp"

namespace {

failing_call failing_close, failing_fcntl;

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

namespace {

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

}  // namespace
