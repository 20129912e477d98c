// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include <shm/heap_region.hpp>
#include <shm/treiber_slab.hpp>

namespace {

using slab = shm::treiber_slab<>;

TEST(threads, never_share_a_slot) {
    constexpr int rounds = 100'000;
    constexpr shm::slab_shape shape{.slot_count = 3, .slot_size = 64};
    auto bytes = shm::heap_region::create(slab::required_size(shape)).value();
    const auto made = slab::create(bytes.region(), shape).value();
    std::vector<std::thread> threads;
    for (std::uint32_t me = 1; me <= 3; ++me)
        threads.emplace_back([&, me] {
            auto member = made.join({me, 1}).value();
            for (int round = 0; round < rounds; ++round) {
                const auto taken = member.try_alloc();
                if (!taken) continue;
                const auto data = made.data(*taken);
                std::memset(data.data(), static_cast<int>(me), data.size());
                for (const auto byte : data) ASSERT_EQ(byte, std::byte{static_cast<unsigned char>(me)});
                ASSERT_TRUE(member.free_allocated(*taken));
            }
        });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(made.free_count_approx(), shape.slot_count);
}

}  // namespace
