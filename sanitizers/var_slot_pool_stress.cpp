// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <shm/mmap_region.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/var_slot_pool.hpp>

#include "testkit/child_process.hpp"
#include "testkit/shared_page.hpp"
#include "testkit/stress_support.hpp"

namespace {

using pool = shm::var_slot_pool<>;
using ring = shm::spsc_ring<shm::pool_handle>;

constexpr shm::pool_class classes[] = {{3, 64}, {2, 256}, {2, 1024}};
constexpr shm::pool_shape shape{classes, 64, 8};
constexpr shm::pool_class more{1, 128};

/// How long the message of that number is.
[[nodiscard]] std::size_t size_of(std::uint64_t number) noexcept { return 16 + mixed(number) % 1009; }
void write(std::span<std::byte> slot, std::uint64_t number) { fill(slot.first(size_of(number)), number); }
[[nodiscard]] bool holds(std::span<const std::byte> slot, std::uint64_t number) {
    return number_of(slot.first(size_of(number))) == number;
}

/// Of each slab every slot, once.
void expect_all_free(shm::region bytes) {
    const auto made = pool::attach(bytes).value();
    for (std::uint32_t number = 0; number < made.slab_count(); ++number)
        EXPECT_EQ(made.slab_at(number).free_count_approx(), made.slab_at(number).slot_count()) << "slab " << number;
}

TEST(threads, never_share_a_slot_while_the_pool_grows) {
    constexpr std::uint64_t rounds = 20'000;
    constexpr unsigned slabs_more = 6;
    shared_bytes bytes{medium::memfd, pool::required_size(shape) + slabs_more * 2048};
    auto made = pool::create(bytes.region(), shape).value();
    std::vector<std::thread> threads;
    for (std::uint32_t me = 1; me <= 3; ++me)
        threads.emplace_back([&, me] {
            auto member = made.join({me, 1}).value();
            std::vector<std::pair<shm::pool_handle, std::uint64_t>> held;
            for (std::uint64_t number = 0; number < rounds; ++number) {
                const std::uint64_t mine = number * 4 + me;
                if (const auto taken = member.try_alloc(size_of(mine))) {
                    write(member.data(*taken), mine);
                    held.emplace_back(*taken, mine);
                }
                if (held.size() < 3) continue;
                ASSERT_TRUE(holds(member.data(held.front().first), held.front().second));
                ASSERT_TRUE(member.free_allocated(held.front().first));
                ASSERT_FALSE(member.free_allocated(held.front().first)) << "twice";
                held.erase(held.begin());
            }
            for (const auto& [slot, number] : held) ASSERT_TRUE(member.free_allocated(slot));
        });
    for (unsigned me = 0; me < 2; ++me)
        threads.emplace_back([&] {
            auto mine = pool::attach(bytes.region()).value();
            for (unsigned added = 0; added < slabs_more / 2;) {
                const auto number = mine.grow(bytes.region(), more);
                if (number)
                    ++added;
                else
                    ASSERT_EQ(number.error().what, shm::fault_kind::contended);
            }
        });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(pool::attach(bytes.region()).value().slab_count(), std::size(classes) + slabs_more);
    expect_all_free(bytes.region());
}

/// One frees what the others have sent, and a handle that all of them try to free is freed once.
TEST(threads, free_each_allocation_once) {
    constexpr int rounds = 4'000;
    shared_bytes bytes{medium::memfd, pool::required_size(shape)};
    const auto made = pool::create(bytes.region(), shape).value();
    std::atomic<std::uint64_t> offered{0};
    std::atomic<int> freed{0}, tried{0};
    auto giver = made.join({9, 1}).value();
    std::vector<std::thread> threads;
    for (std::uint32_t me = 1; me <= 2; ++me)
        threads.emplace_back([&, me] {
            auto member = made.join({me, 1}).value();
            std::uint64_t last = 0;
            patience waiting;
            for (int round = 0; round < rounds; ++round) {
                std::uint64_t now = 0;
                while ((now = offered.load(std::memory_order::acquire)) == last) ASSERT_TRUE(waiting.wait());
                waiting.progress();
                last = now;
                if (member.free(shm::pool_handle::from_word(now))) ++freed;
                ++tried;
            }
        });
    patience waiting;
    for (int round = 0; round < rounds; ++round) {
        const auto taken = giver.try_alloc(size_of(static_cast<std::uint64_t>(round)));
        ASSERT_TRUE(taken);
        ASSERT_TRUE(giver.mark_in_flight(*taken));
        offered.store((*taken).word(), std::memory_order::release);
        while (tried.load() != 2 * (round + 1)) ASSERT_TRUE(waiting.wait());
        waiting.progress();
        ASSERT_EQ(freed.load(), round + 1);
    }
    for (auto& thread : threads) thread.join();
    expect_all_free(bytes.region());
}

/// Sends messages of every size through a ring; the sender makes the pool longer as it goes.
void send_and_receive(medium kind) {
    constexpr std::uint64_t messages = 16'000;
    constexpr std::uint32_t capacity = 4;
    const shared_bytes slots{kind, pool::required_size(shape) + 16384}, queue{kind, ring::required_size(capacity)};
    ASSERT_TRUE(pool::create(slots.region(), shape) && ring::create(queue.region(), capacity));
    child_process child([&] {
        const auto my_slots = slots.attach(), my_queue = queue.attach();
        const auto me = shm::this_process().value();
        auto member = pool::attach(my_slots.region()).value().join(me).value();
        auto consumer = ring::attach(my_queue.region()).value().claim_consumer(me).value();
        patience waiting;
        for (std::uint64_t number = 0; number < messages;) {
            const auto slot = consumer.try_pop();
            if (!slot) {
                if (!waiting.wait()) return 1;
                continue;
            }
            waiting.progress();
            if (!member.adopt(*slot)) return 2;
            if (!holds(member.data(*slot), number++)) return 3;
            if (!member.free_allocated(*slot)) return 4;
        }
        return 0;
    });
    const auto me = shm::this_process().value();
    auto made = pool::attach(slots.region()).value();
    auto member = made.join(me).value();
    auto producer = ring::attach(queue.region()).value().claim_producer(me).value();
    patience waiting;
    for (std::uint64_t number = 0; number < messages; ++number) {
        if (number % (messages / 4) == messages / 8) {
            ASSERT_TRUE(made.grow(slots.region(), {2, 1024}));
        }
        shm::pool_alloc_result taken = shm::alloc_status::would_block;
        while (!(taken = member.try_alloc(size_of(number)))) ASSERT_TRUE(waiting.wait());
        waiting.progress();
        write(member.data(*taken), number);
        ASSERT_TRUE(member.mark_in_flight(*taken));
        while (producer.try_push(*taken) != shm::push_result::pushed) ASSERT_TRUE(waiting.wait());
        waiting.progress();
    }
    EXPECT_EQ(child.wait(), exited(0)) << "the receiver";
    EXPECT_EQ(pool::attach(slots.region()).value().slab_count(), std::size(classes) + 4);
    expect_all_free(slots.region());
}
TEST(processes, send_messages_of_every_size_through_a_file) { send_and_receive(medium::file); }
TEST(processes, send_messages_of_every_size_through_sealed_memory) { send_and_receive(medium::memfd); }

/// Children that are killed wherever they are, growing too; what they had is free again for the others.
TEST(processes, are_killed_and_leave_no_slot_behind) {
    const auto until = std::chrono::steady_clock::now() + seconds_for_all() / 5;
    shared_bytes bytes{medium::memfd, pool::required_size(shape) + 8192};
    const auto made = pool::create(bytes.region(), shape).value();
    auto heir = made.join(shm::this_process().value()).value();
    std::uint64_t deaths = 0;
    while (std::chrono::steady_clock::now() < until || deaths < 10) {
        const shared_word lives;
        child_process child([&] {
            const auto my_bytes = bytes.attach();
            auto mine = pool::attach(my_bytes.region()).value();
            auto member = mine.join(shm::this_process().value()).value();
            (void)mine.grow(my_bytes.region(), more);
            for (std::uint64_t number = deaths;; ++number) {
                const auto first = member.try_alloc(size_of(number)), second = member.try_alloc(1);
                (*lives).store(1);
                if (first && !member.free_allocated(*first)) return 1;
                if (second && (!member.mark_in_flight(*second) || !member.free(*second))) return 2;
            }
        });
        patience waiting;
        while ((*lives).load() == 0) ASSERT_TRUE(waiting.wait());
        for (std::uint64_t i = mixed(deaths) % 20'000; i != 0; --i) shm::std_atomics::pause();
        child.kill();
        const auto dead = child.reap();
        ASSERT_EQ(dead.end, killed_by(SIGKILL));
        const auto done = heir.reclaim(dead.proof, [](shm::pool_handle) { return true; });
        ASSERT_TRUE(done && done->complete);
        ++deaths;
        expect_all_free(bytes.region());
        if (HasFatalFailure() || HasNonfatalFailure()) return;
    }
    EXPECT_GE(pool::attach(bytes.region()).value().slab_count(), std::size(classes) + 1);
}

}  // namespace
