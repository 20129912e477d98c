// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include <shm/region.hpp>

namespace {

using shm::access;
using shm::fault;
using shm::fault_kind;

constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
constexpr std::size_t all_bytes = 256;
alignas(64) std::array<std::byte, all_bytes> bytes;

struct alignas(16) wide {
    std::uint64_t words[4];
};

/// Evenly from the range, however early in the search.
rc::Gen<std::size_t> evenly(std::size_t first, std::size_t last) {
    return rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::size_t>(first, last + 1));
}

/// Small numbers, and those with which a sum of two overflows.
rc::Gen<std::size_t> sizes() {
    return rc::gen::weightedOneOf<std::size_t>({{8, evenly(0, all_bytes / 2)},
                                                {1, evenly(all_bytes - 2, all_bytes + 2)},
                                                {1, evenly(most - all_bytes, most - 1)},
                                                {1, rc::gen::just(most)}});
}

/// Some run of our bytes, with any start and any length.
shm::region some_region() {
    const std::size_t start = *evenly(0, 64);
    return {bytes.data() + start, *evenly(0, all_bytes - start)};
}

TEST(region, a_subregion_is_refused_exactly_when_it_reaches_past_the_end) {
    EXPECT_TRUE(rc::check([] {
        const shm::region whole = some_region();
        const std::size_t offset = *sizes();
        const std::size_t length = *sizes();
        const bool fits = offset <= whole.size_bytes() && whole.size_bytes() - offset >= length;
        RC_CLASSIFY(fits);
        const auto part = whole.subregion(offset, length);
        RC_ASSERT(part.has_value() == fits);
        if (fits) {
            RC_ASSERT(part->data() == whole.data() + offset);
            RC_ASSERT(part->size_bytes() == length);
        } else {
            RC_ASSERT(part.error().what == fault_kind::out_of_range);
            RC_ASSERT(part.error().found > part.error().expected);
        }
    }));
}

TEST(region, an_offset_is_refused_exactly_when_it_is_past_the_end) {
    EXPECT_TRUE(rc::check([] {
        const shm::region whole = some_region();
        const std::size_t offset = *sizes();
        const auto address = whole.offset(offset);
        RC_ASSERT(address.has_value() == (offset <= whole.size_bytes()));
        if (address)
            RC_ASSERT(*address == whole.data() + offset);
        else
            RC_ASSERT(address.error() == (fault{fault_kind::out_of_range, whole.size_bytes(), offset}));
    }));
}

TEST(region, a_value_is_had_exactly_where_it_fits_and_is_aligned) {
    EXPECT_TRUE(rc::check([] {
        const shm::region whole = some_region();
        const std::size_t offset = *sizes();
        const bool fits = offset <= whole.size_bytes() && whole.size_bytes() - offset >= sizeof(wide);
        const auto value = whole.get<wide>(offset);
        if (!fits) {
            RC_ASSERT(value.error().what == fault_kind::out_of_range);
            return;
        }
        const std::size_t past = (static_cast<std::size_t>(whole.data() - bytes.data()) + offset) % alignof(wide);
        RC_CLASSIFY(past == 0);
        if (past == 0)
            RC_ASSERT(reinterpret_cast<std::byte*>(*value) == whole.data() + offset);
        else
            RC_ASSERT(value.error() == (fault{fault_kind::misaligned, alignof(wide), past}));
    }));
}

TEST(region, the_default_is_no_bytes_and_read_only) {
    const shm::region none;
    EXPECT_EQ(none.data(), nullptr);
    EXPECT_EQ(none.size_bytes(), 0U);
    EXPECT_FALSE(none.writable());
    EXPECT_EQ(none.get<int>().error(), (fault{fault_kind::out_of_range, 0, sizeof(int)}));
}

TEST(region, a_part_of_a_read_only_region_is_read_only) {
    const shm::region whole{bytes.data(), all_bytes, access::read_only};
    EXPECT_FALSE(whole.subregion(64, 64)->writable());
    EXPECT_TRUE((shm::region{bytes.data(), all_bytes}.subregion(64, 64)->writable()));
}

TEST(region, is_no_bytes_of_another_process) {
    const pid_t here = ::getpid(), other = here + 1;
    const shm::region elsewhere{bytes.data(), all_bytes, access::read_write, other};
    const fault refused{fault_kind::wrong_process, static_cast<std::uint64_t>(other), static_cast<std::uint64_t>(here)};
    EXPECT_EQ(elsewhere.mapped_here().error(), refused);
    EXPECT_EQ(elsewhere.get<int>().error(), refused);
    EXPECT_EQ(elsewhere.subregion(64, 64)->mapped_here().error(), refused) << "no part of them either";
    EXPECT_EQ(
        elsewhere.mapped_here().error().sentence(),
        "user of a mapping: expected process " + std::to_string(other) + ", found process " + std::to_string(here));
    EXPECT_TRUE((shm::region{bytes.data(), all_bytes, access::read_write, here}.mapped_here()));
    EXPECT_TRUE((shm::region{bytes.data(), all_bytes}.mapped_here())) << "of any";
}

}  // namespace
