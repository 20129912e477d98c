// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A segment with many peers: threads of one mapping, then processes with a mapping each that are killed at any instruction.
//
//     segment_stress                                      all tests; SHM_STRESS_SECONDS (default 10) scales them
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <shm/heap_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/segment_builder.hpp>
#include <shm/spsc_ring.hpp>

#include "testkit/child_process.hpp"
#include "testkit/shared_page.hpp"
#include "testkit/stress_support.hpp"

namespace {

using std::chrono::steady_clock;

constexpr std::uint32_t places = 3;

/// Data of who is at a place, plain: two at one place are a race.
struct of_a_place {
    std::uint64_t joined;
    std::uint64_t check;
};

shm::segment_builder plan() {
    return shm::segment_builder{}.peers(places).add<shm::spsc_ring<std::uint64_t>>("ring", 4).add<of_a_place[]>(
        "of places", places);
}

/// Joins, leaves a mark and goes, again and again. Returns how often it has joined.
template <class While>
std::uint64_t come_and_go(const shm::segment& segment, shm::peer_id me, While more) {
    const auto data = segment.find<of_a_place[]>("of places").value();
    std::uint64_t joined = 0;
    patience waiting;
    while (more(joined)) {
        const auto member = segment.join(me);
        if (!member) {
            EXPECT_EQ(member.error().what, shm::fault_kind::count);
            if (!waiting.wait()) return joined;
            continue;
        }
        waiting.progress();
        of_a_place& mine = data[member->number()];
        EXPECT_EQ(mine.check, mixed(mine.joined)) << "somebody else is at this place";
        mine.check = 1;
        ++mine.joined;
        mine.check = mixed(mine.joined);
        ++joined;
    }
    return joined;
}

TEST(threads, are_alone_at_their_places) {
    const auto until = steady_clock::now() + seconds_for_all() / 4;
    auto bytes = shm::heap_region::create(plan().required_size()).value();
    const auto made = plan().create(bytes.region()).value();
    for (auto& of : made.find<of_a_place[]>("of places").value()) of.check = mixed(0);
    std::array<std::uint64_t, places + 2> joined{};
    std::vector<std::thread> all;
    for (std::size_t i = 0; i < joined.size(); ++i)
        all.emplace_back([&, i] {
            const auto attached = shm::segment::attach(bytes.region()).value();
            joined[i] = come_and_go(attached, {static_cast<std::uint32_t>(i) + 1, 1},
                                    [&](std::uint64_t) { return steady_clock::now() < until; });
        });
    for (auto& one : all) one.join();
    std::uint64_t total = 0, counted = 0;
    for (const std::uint64_t count : joined) total += count;
    for (const auto& of : made.find<const of_a_place[]>("of places").value()) counted += of.joined;
    EXPECT_EQ(counted, total);
    EXPECT_GT(total, 0u);
    RecordProperty("joined", std::to_string(total));
}

class processes : public testing::TestWithParam<medium> {};
INSTANTIATE_TEST_SUITE_P(over, processes, testing::Values(medium::file, medium::memfd),
                         [](const auto& of) { return of.param == medium::file ? "a_file" : "sealed_memory"; });

TEST_P(processes, that_are_killed_are_removed_and_leave_their_places_to_others) {
    const auto until = steady_clock::now() + seconds_for_all() / 4;
    const shared_bytes bytes{GetParam(), plan().required_size()};
    const auto made = plan().create(bytes.region()).value();
    for (auto& of : made.find<of_a_place[]>("of places").value()) of.check = mixed(0);
    auto me = made.join(shm::this_process().value()).value();
    std::mt19937 random{1};
    std::uint64_t killed_there = 0, rounds = 0;
    while (rounds < 20 || steady_clock::now() < until) {
        const shared_word joined;
        child_process child([&] {
            const auto mapped = bytes.attach();
            const auto segment = shm::segment::attach(mapped.region()).value();
            (void)come_and_go(segment, shm::this_process().value(), [&](std::uint64_t count) {
                (*joined).store(count, std::memory_order_relaxed);
                return true;
            });
            return 1;
        });
        const std::uint64_t enough = 1 + random() % 1000;
        patience waiting;
        while ((*joined).load(std::memory_order_relaxed) < enough) ASSERT_TRUE(waiting.wait());
        child.kill();
        const auto dead = child.reap().proof;
        const std::uint32_t removed = me.remove(dead);
        EXPECT_LE(removed, 1u);
        EXPECT_EQ(me.remove(dead), 0u);
        killed_there += removed;
        for (auto& of : made.find<of_a_place[]>("of places").value()) of.check = mixed(of.joined);  // half a mark
        ++rounds;
        for (std::uint32_t i = 0; i < places; ++i)
            EXPECT_EQ(made.peer_at(i), i == me.number() ? me.peer() : shm::peer_id{}) << "after round " << rounds;
    }
    EXPECT_GT(killed_there, 0u);
    RecordProperty("killed", std::to_string(rounds));
}

/// The one that attaches waits for the one that makes it.
TEST_P(processes, wait_for_a_segment_that_is_being_made) {
    for (int round = 0; round < 50; ++round) {
        const shared_bytes bytes{GetParam(), plan().required_size()};
        child_process child([&] {
            const auto mapped = bytes.attach();
            const auto found = shm::segment::attach(mapped.region(), steady_clock::now() + std::chrono::minutes{1});
            return found && found->find<shm::spsc_ring<std::uint64_t>>("ring") ? 0 : 1;
        });
        EXPECT_TRUE(plan().create(bytes.region()).has_value());
        EXPECT_EQ(child.wait(), exited(0)) << "who attaches";
    }
}

}  // namespace
