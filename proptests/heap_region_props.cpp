// SPDX-License-Identifier: MIT OR Apache-2.0
// shm_test(heap_region_props WRAP aligned_alloc)
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include <shm/heap_region.hpp>

#include "testkit/failing_call.hpp"

namespace {

failing_call failing_aligned_alloc;

}  // namespace

// The linker sends each call of f to __wrap_f, and knows the f of the C library as __real_f.
void* real_aligned_alloc(std::size_t alignment, std::size_t size_bytes) asm("__real_aligned_alloc");
void* wrapped_aligned_alloc(std::size_t alignment, std::size_t size_bytes) asm("__wrap_aligned_alloc");
void* wrapped_aligned_alloc(std::size_t alignment, std::size_t size_bytes) {
    return failing_aligned_alloc.fails() ? nullptr : real_aligned_alloc(alignment, size_bytes);
}

namespace {

using shm::fault;
using shm::fault_kind;
using shm::heap_region;

static_assert(std::is_nothrow_move_constructible_v<heap_region> && std::is_nothrow_move_assignable_v<heap_region>);
static_assert(!std::is_copy_constructible_v<heap_region>);

TEST(heap_region, any_size_is_zeroed_aligned_and_writable) {
    EXPECT_TRUE(rc::check([] {
        const auto size_bytes = *rc::gen::inRange<std::size_t>(1, 10'000);
        {  // Dirty bytes, which the allocator is likely to give out again.
            const auto used = heap_region::create(size_bytes).value();
            std::memset(used.region().data(), 0xff, size_bytes);
        }
        const auto made = heap_region::create(size_bytes).value();
        const shm::region view = made.region();
        RC_ASSERT(view.size_bytes() == size_bytes);
        RC_ASSERT(view.writable());
        RC_ASSERT(reinterpret_cast<std::uintptr_t>(view.data()) % shm::cache_line_bytes == 0U);
        RC_ASSERT(std::all_of(view.data(), view.data() + size_bytes, [](std::byte b) { return b == std::byte{0}; }));
    }));
}

TEST(heap_region, a_move_hands_the_same_bytes_on) {
    auto first = heap_region::create(100).value();
    std::byte* const bytes = first.region().data();
    bytes[99] = std::byte{42};
    heap_region second{std::move(first)};
    auto third = heap_region::create(7).value();
    third = std::move(second);
    EXPECT_EQ(third.region().data(), bytes);
    EXPECT_EQ(third.region().size_bytes(), 100U);
    EXPECT_EQ(third.region().data()[99], std::byte{42});
}

TEST(heap_region, no_bytes_are_refused) {
    EXPECT_EQ(heap_region::create(0).error(), (fault{fault_kind::too_small, 1, 0}));
}

// Not inlined: a compiler that sees the bytes unused may leave the allocation out, and take it for granted.
[[gnu::noinline]] std::optional<fault> fault_of(const shm::result<heap_region>& made) {
    return made ? std::nullopt : std::optional{made.error()};
}

TEST(heap_region, more_than_there_is_is_refused) {
    const fault no_memory{fault_kind::system_call, 0, ENOMEM};
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
    for (const std::size_t size_bytes : {most, most - 63, most / 2 + 1, most / 2 - 63})
        EXPECT_EQ(fault_of(heap_region::create(size_bytes)), no_memory) << size_bytes;
    failing_aligned_alloc.fail(ENOMEM);
    EXPECT_EQ(fault_of(heap_region::create(1)), no_memory);
    EXPECT_TRUE(failing_aligned_alloc.all_failed());
}

}  // namespace
