// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <gtest/gtest.h>

#include <cstddef>

#include "testkit/process_state.hpp"

/// Fails each test that leaves a descriptor open, or shared memory mapped.
class nothing_left : public testing::EmptyTestEventListener {
public:
    /// Of all tests of this program.
    static bool by_any_test() {
        testing::UnitTest::GetInstance()->listeners().Append(new nothing_left);
        return true;
    }
    void OnTestStart(const testing::TestInfo&) override {
        descriptors_ = open_descriptors();
        mappings_ = shared_mappings();
    }
    void OnTestEnd(const testing::TestInfo&) override {
        EXPECT_EQ(open_descriptors(), descriptors_) << "descriptors are left open";
        EXPECT_EQ(shared_mappings(), mappings_) << "shared memory is left mapped";
    }

private:
    std::ptrdiff_t descriptors_ = 0;
    std::size_t mappings_ = 0;
};
