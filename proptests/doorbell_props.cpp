// SPDX-License-Identifier: MIT OR Apache-2.0
// The bell with real sockets and processes.
#include <gtest/gtest.h>

#include <utility>

#include <shm/doorbell.hpp>

namespace {

TEST(doorbell, wakes_the_other_end) {
    auto [bell, handle] = shm::doorbell::create_pair().value();
    auto its_bell = shm::doorbell::from_handle(std::move(handle)).value();
    EXPECT_EQ(its_bell.signal().value(), shm::signal_result::sent);
    EXPECT_EQ(bell.wait(shm::deadline::max()).value(), shm::wait_result::rung);
    EXPECT_EQ(bell.wait().value(), shm::wait_result::timed_out);
}

}  // namespace
