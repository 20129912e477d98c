// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <shm/heap_region.hpp>
#include <shm/object/arrays.hpp>

namespace {

using shm::aligned_up;
using shm::beyond_any_region;
using shm::end_of_array;
using shm::fault;
using shm::fault_kind;

__extension__ using wide = unsigned __int128;  // in which nothing here overflows

/// Of any magnitude, and mostly near a power of two: where a sum or a product only just fits, or only just does not.
rc::Gen<std::uint64_t> numbers() {
    const auto shift = rc::gen::resize(rc::kNominalSize, rc::gen::inRange(0, 64));
    const auto nearby = rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::uint64_t>(0, 9));
    return rc::gen::map(rc::gen::pair(shift, nearby),
                        [](const auto& of) { return (~std::uint64_t{0} >> of.first) - 4 + of.second; });
}

std::size_t or_beyond(wide exact) {
    return exact > beyond_any_region ? beyond_any_region : static_cast<std::size_t>(exact);
}

TEST(arrays, end_where_exact_arithmetic_says_or_beyond_any_region) {
    EXPECT_TRUE(rc::check([] {
        const auto offset = static_cast<std::size_t>(*numbers());
        const std::uint64_t count = *numbers();
        const std::uint64_t size_bytes = *numbers();
        const wide exact = wide{offset} + wide{count} * size_bytes;
        RC_CLASSIFY(exact > beyond_any_region);
        RC_ASSERT(end_of_array(offset, count, size_bytes) == or_beyond(exact));
    }));
}

TEST(arrays, begin_at_the_first_multiple_of_their_alignment) {
    EXPECT_TRUE(rc::check([] {
        const auto offset = static_cast<std::size_t>(*numbers());
        const auto alignment = static_cast<std::size_t>(*numbers());
        const wide exact = alignment == 0 ? wide{offset} : (wide{offset} + alignment - 1) / alignment * alignment;
        RC_CLASSIFY(exact > beyond_any_region);
        RC_ASSERT(aligned_up(offset, alignment) == or_beyond(exact));
    }));
}

TEST(arrays, stay_beyond_any_region_whatever_follows) {
    EXPECT_EQ(aligned_up(beyond_any_region, 64), beyond_any_region);
    EXPECT_EQ(end_of_array(beyond_any_region, 1, 1), beyond_any_region);
    EXPECT_EQ(end_of_array(beyond_any_region, 0, 1), beyond_any_region);
}

TEST(arrays, lie_only_in_bytes_that_are_long_enough_and_aligned) {
    const auto memory = shm::heap_region::create(256).value();
    const shm::region bytes = memory.region();
    EXPECT_EQ(shm::too_small(bytes, 256), std::nullopt);
    EXPECT_EQ(shm::too_small(bytes, 257), (fault{fault_kind::too_small, 257, 256}));
    EXPECT_EQ(shm::misaligned(bytes, 64), std::nullopt);
    EXPECT_EQ(shm::misaligned(*bytes.subregion(72, 8), 64), (fault{fault_kind::misaligned, 64, 8}));
    const auto numbers = shm::array_at<std::uint64_t>(bytes, 64, 3);
    EXPECT_EQ(static_cast<void*>(numbers.data()), bytes.data() + 64);
    EXPECT_EQ(numbers.size(), 3U);
}

}  // namespace
