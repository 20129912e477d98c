// SPDX-License-Identifier: MIT OR Apache-2.0
// new_primitive at full speed: threads over one mapping, which ThreadSanitizer sees, then processes that each have
// their own.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <string>
#include <thread>

#include <shm/heap_region.hpp>
#include <shm/memfd_region.hpp>
#include <shm/new_primitive.hpp>

#include "testkit/child_process.hpp"

namespace {

using primitive = shm::new_primitive<>;

/// What one of the two sides, 0 or 1, does and checks. Returns what went wrong, or nothing.
std::string work([[maybe_unused]] primitive shared, [[maybe_unused]] int side) {
    return "OWED: sanitizers/new_primitive_stress.cpp: neither side does anything yet";
}

TEST(new_primitive, threads_over_one_mapping) {
    const auto bytes = shm::heap_region::create(primitive::required_size()).value();
    const auto shared = primitive::create(bytes.region()).value();
    std::array<std::string, 2> wrong;
    std::thread other{[&] { wrong[1] = work(shared, 1); }};
    wrong[0] = work(shared, 0);
    other.join();
    EXPECT_EQ(wrong[0], "");
    EXPECT_EQ(wrong[1], "");
}

TEST(new_primitive, processes_with_a_mapping_each) {
    const auto bytes = shm::memfd_region::create(primitive::required_size()).value();
    ASSERT_TRUE(primitive::create(bytes.region()).has_value());
    const auto side = [&](int number) {
        return child_process([&] {
            const auto mine = shm::memfd_region::attach(shm::unique_fd{fcntl(bytes.fd(), F_DUPFD_CLOEXEC, 0)}).value();
            const std::string wrong = work(primitive::attach(mine.region()).value(), number);
            if (!wrong.empty()) std::fprintf(stderr, "side %d: %s\n", number, wrong.c_str());
            return wrong.empty() ? 0 : 1;
        });
    };
    child_process first = side(0), second = side(1);
    EXPECT_EQ(first.wait(), exited(0));
    EXPECT_EQ(second.wait(), exited(0));
}

}  // namespace
