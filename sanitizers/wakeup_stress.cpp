// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Two sides that sleep and wake each other: as threads, for ThreadSanitizer to watch, then as processes that are killed or
// stopped. A wake-up that is lost is a wait that comes to the end of its minute.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include <shm/memfd_region.hpp>
#include <shm/wakeup.hpp>

#include "testkit/child_process.hpp"
#include "testkit/stress_support.hpp"

namespace {

using namespace std::chrono_literals;
using shm::deadline;
using shm::doorbell;
using shm::wakeup_result;
using side = shm::wakeup<>;

constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;

/// Waits for a minute at most. What was ready only then was slept through: no bell has rung for it.
template <class Ready>
wakeup_result wait_for(side& wake, Ready ready) {
    const auto in_a_minute = deadline::clock::now() + 1min;
    const auto why = wake.wait(ready, in_a_minute).value();
    return why == wakeup_result::ready && deadline::clock::now() >= in_a_minute ? wakeup_result::timed_out : why;
}

/// What lies in shared memory: a word for each side, and a place for one item.
struct shared_place {
    alignas(shm::cache_line_bytes) side::word producers{0};
    alignas(shm::cache_line_bytes) side::word consumers{0};
    alignas(shm::cache_line_bytes) std::atomic<std::uint64_t> published{0};
    alignas(shm::cache_line_bytes) std::atomic<std::uint64_t> consumed{0};
    std::uint64_t item = 0;  // plain: ThreadSanitizer sees whether the edges order it
};

side producing(shared_place& place, doorbell bell, std::chrono::nanoseconds spin) {
    return side{place.producers, place.consumers, std::move(bell), spin};
}
side consuming(shared_place& place, doorbell bell, std::chrono::nanoseconds spin) {
    return side{place.consumers, place.producers, std::move(bell), spin};
}

/// Lets some time pass, so that the other side spins, is just about to sleep, or sleeps.
class dawdler {
public:
    explicit dawdler(unsigned seed) : random_{seed} {}
    void some_time() {
        for (auto rounds = random_() % 8 == 0 ? random_() % 20000 : random_() % 200; rounds != 0; --rounds)
            shm::std_atomics::pause();
    }

private:
    std::minstd_rand random_;
};

/// Puts items from the next one on, up to number `last`. Returns why it came to an end: `ready` is all of them.
wakeup_result produce(side& wake, shared_place& place, std::uint64_t last) {
    dawdler dawdle{1};
    for (std::uint64_t item = place.published.load(acquire) + 1; item <= last; ++item) {
        const auto room = [&] { return place.consumed.load(acquire) == item - 1; };
        if (const auto why = wait_for(wake, room); why != wakeup_result::ready) return why;
        dawdle.some_time();
        place.item = mixed(item);
        place.published.store(item, release);
        (void)wake.notify().value();
    }
    return wakeup_result::ready;
}

/// Takes items up to number `last`, each of which has to be whole, and returns likewise.
wakeup_result take(side& wake, shared_place& place, std::uint64_t last) {
    dawdler dawdle{2};
    for (std::uint64_t item = place.consumed.load(acquire) + 1; item <= last; ++item) {
        const auto there = [&] { return place.published.load(acquire) == item; };
        if (const auto why = wait_for(wake, there); why != wakeup_result::ready) return why;
        dawdle.some_time();
        EXPECT_EQ(place.item, mixed(item));
        place.consumed.store(item, release);
        (void)wake.notify().value();
    }
    return wakeup_result::ready;
}

class who_spins : public testing::TestWithParam<std::chrono::microseconds> {};
INSTANTIATE_TEST_SUITE_P(, who_spins, testing::Values(0us, 2us, 20us, 100us),
                         [](const auto& test) { return "for_" + std::to_string(test.param.count()) + "_us"; });

TEST_P(who_spins, passes_items_to_a_thread_and_neither_sleeps_on) {
    const auto until = deadline::clock::now() + seconds_for_all() / 20;
    std::uint64_t items = 0;
    do {
        constexpr std::uint64_t count = 1000;
        shared_place place;
        auto [bell, handle] = doorbell::create_pair().value();
        auto here = producing(place, std::move(bell), GetParam());
        auto there = consuming(place, doorbell::from_handle(std::move(handle)).value(), GetParam());
        std::thread producer{[&] { EXPECT_EQ(produce(here, place, count), wakeup_result::ready); }};
        EXPECT_EQ(take(there, place, count), wakeup_result::ready);
        producer.join();
        items += count;
    } while (deadline::clock::now() < until);
    RecordProperty("items", std::to_string(items));
}

/// The place in sealed memory, a mapping for each process.
class processes : public testing::TestWithParam<std::chrono::microseconds> {
protected:
    static constexpr std::uint64_t no_end = ~0ULL;
    static shared_place& in(const shm::memfd_region& memory) {
        return *reinterpret_cast<shared_place*>(memory.region().data());
    }
    const shm::memfd_region memory_ = shm::memfd_region::create(sizeof(shared_place)).value();
    shared_place& place_ = *new (memory_.region().data()) shared_place;

    /// A child that produces up to that item, with that end of a bell.
    [[nodiscard]] child_process producer(shm::doorbell_handle handle, std::uint64_t last) const {
        return child_process([&] {
            const auto mine =
                shm::memfd_region::attach(shm::unique_fd{fcntl(memory_.fd(), F_DUPFD_CLOEXEC, 0)}).value();
            auto wake = producing(in(mine), doorbell::from_handle(std::move(handle)).value(), GetParam());
            return produce(wake, in(mine), last) == wakeup_result::ready ? 0 : 1;
        });
    }
};
INSTANTIATE_TEST_SUITE_P(, processes, testing::Values(0us, 20us),
                         [](const auto& test) { return test.param == 0us ? "that_sleep_at_once" : "that_spin"; });

TEST_P(processes, pass_items_and_neither_sleeps_on) {
    const auto count = static_cast<std::uint64_t>(seconds_for_all() / 1ms);
    auto [bell, handle] = doorbell::create_pair().value();
    child_process child = producer(std::move(handle), count);
    auto wake = consuming(place_, std::move(bell), GetParam());
    EXPECT_EQ(take(wake, place_, count), wakeup_result::ready);
    EXPECT_EQ(child.wait(), exited(0)) << "the producer";
    EXPECT_EQ(wait_for(wake, [] { return false; }), wakeup_result::peer_dead);
}

// Killed wherever it happens to be, asleep or not: the consumer hears of it at once, after all that was published, and the
// next producer finds the words as the dead one left them.
TEST_P(processes, hear_of_a_killed_one_at_once_and_go_on_with_the_next) {
    const auto rounds = std::max<std::int64_t>(seconds_for_all() / 100ms, 1);
    std::minstd_rand random{7};
    for (std::int64_t round = 0; round < rounds; ++round) {
        auto [bell, handle] = doorbell::create_pair().value();
        child_process child = producer(std::move(handle), no_end);
        auto wake = consuming(place_, std::move(bell), GetParam());
        const std::uint64_t enough = place_.consumed.load(acquire) + 1 + random() % 50;
        ASSERT_EQ(take(wake, place_, enough), wakeup_result::ready);
        child.kill();
        ASSERT_EQ(take(wake, place_, no_end), wakeup_result::peer_dead);
        ASSERT_EQ(place_.consumed.load(acquire), place_.published.load(acquire));
        ASSERT_EQ(child.wait(), killed_by(SIGKILL));
    }
    RecordProperty("items", std::to_string(place_.published.load(acquire)));
}

TEST_P(processes, take_a_stopped_one_for_a_living_one_and_go_on_with_it) {
    auto [bell, handle] = doorbell::create_pair().value();
    child_process child = producer(std::move(handle), no_end);
    auto wake = consuming(place_, std::move(bell), GetParam());
    for (int round = 0; round < 20; ++round) {
        ASSERT_EQ(take(wake, place_, place_.consumed.load(acquire) + 50), wakeup_result::ready);
        child.stop();
        // What it had published before is still there; then nothing comes, and nobody has died.
        ASSERT_EQ(take(wake, place_, place_.published.load(acquire)), wakeup_result::ready);
        ASSERT_EQ(wake.wait([] { return false; }, deadline::clock::now() + 1ms).value(), wakeup_result::timed_out);
        child.resume();
    }
    child.kill();
    ASSERT_EQ(take(wake, place_, no_end), wakeup_result::peer_dead);
}

}  // namespace
