// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "testkit/child_process.hpp"

/// Whether a process that leads a session and has no terminal has one after `open_it(path)`, where path is a terminal's.
template <class Open>
bool makes_a_terminal_its_own(Open open_it) {
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_GE(master, 0) << "no terminal is to be had";
    EXPECT_EQ(grantpt(master), 0);
    EXPECT_EQ(unlockpt(master), 0);
    const std::string path = ptsname(master);
    constexpr int has_one = 10, has_none = 11;
    child_process child([&] {
        if (setsid() < 0 || open("/dev/tty", O_RDWR | O_CLOEXEC) >= 0) return 1;
        open_it(path);
        return open("/dev/tty", O_RDWR | O_CLOEXEC) >= 0 ? has_one : has_none;
    });
    const process_end end = child.wait();
    close(master);
    EXPECT_TRUE(end == exited(has_one) || end == exited(has_none)) << end;
    return end == exited(has_one);
}
