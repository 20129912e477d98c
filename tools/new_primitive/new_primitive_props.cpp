// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstddef>

#include <shm/new_primitive.hpp>

#include "testkit/guarded_bytes.hpp"

namespace {

using shm::fault;
using shm::fault_kind;
using primitive = shm::new_primitive<>;

constexpr std::size_t needed = primitive::required_size();
constexpr std::size_t checked_bytes = 16;  // state, layout version and magic; more when attach checks more

TEST(new_primitive, agrees_with_the_obvious_reference) {
    EXPECT_TRUE(rc::check([] {
        const guarded_bytes bytes{needed};
        [[maybe_unused]] const auto made = primitive::create(bytes.region()).value();
        RC_FAIL("OWED: proptests/new_primitive_props.cpp: no call is compared with a reference yet");
    }));
}

TEST(new_primitive, attach_refuses_every_damaged_bit_of_the_header) {
    const guarded_bytes bytes{needed};
    ASSERT_TRUE(primitive::create(bytes.region()).has_value());
    for (std::size_t byte = 0; byte < checked_bytes; ++byte)
        for (unsigned bit = 0; bit < 8; ++bit) {
            bytes.data()[byte] ^= std::byte{1} << bit;
            EXPECT_FALSE(primitive::attach(bytes.region()).has_value()) << "byte " << byte << ", bit " << bit;
            bytes.data()[byte] ^= std::byte{1} << bit;
        }
    EXPECT_TRUE(primitive::attach(bytes.region()).has_value());
}

TEST(new_primitive, is_refused_with_the_fault_that_its_comment_says) {
    const guarded_bytes bytes{needed + 8};
    const shm::region small{bytes.data(), needed - 1};
    const shm::region shifted{bytes.data() + 8, needed};
    const shm::region read_only{bytes.data(), needed, shm::access::read_only};
    for (const auto refuse : {+[](shm::region in) { return primitive::create(in).error(); },
                              +[](shm::region in) { return primitive::attach(in).error(); }}) {
        EXPECT_EQ(refuse(small), (fault{fault_kind::too_small, needed, needed - 1}));
        EXPECT_EQ(refuse(shifted), (fault{fault_kind::misaligned, 64, 8}));
        EXPECT_EQ(refuse(read_only), (fault{fault_kind::access_denied, 1, 0}));
    }
    EXPECT_EQ(primitive::attach(bytes.region()).error(), (fault{fault_kind::not_ready, 2, 0}));
    ASSERT_TRUE(primitive::create(bytes.region()).has_value());
    EXPECT_EQ(primitive::create(bytes.region()).error(), (fault{fault_kind::already_created, 0, 2}));
}

}  // namespace
