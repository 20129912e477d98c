// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Two sides that sleep and wake each other, as threads of a process under ThreadSanitizer, then as processes. A wake-up that
// is lost is a wait that comes to the end of its minute.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include <shm/memfd_region.hpp>
#include <shm/wakeup.hpp>

#include "stress_support.hpp"

namespace {

using namespace std::chrono_literals;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
using shm::deadline;
using shm::wakeup_result;
using side = shm::wakeup<>;

deadline in_a_minute() { return deadline::clock::now() + 1min; }

/// What lies in shared memory: a word for each side, and a place for one item.
struct shared_place {
    alignas(shm::cache_line_bytes) std::array<side::word, 2> words{};
    alignas(shm::cache_line_bytes) std::atomic<std::uint64_t> published{0};
    alignas(shm::cache_line_bytes) std::atomic<std::uint64_t> consumed{0};
    std::uint64_t item = 0;  // plain: ThreadSanitizer sees whether the edges order it
};

/// The ends of a bell, of which each side takes its own.
struct two_ends {
    std::pair<shm::doorbell, shm::doorbell_handle> made = shm::doorbell::create_pair().value();
};

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

/// Puts `count` items. Says whether each found room within a minute.
bool produce(side& wake, shared_place& place, std::uint64_t count) {
    dawdler dawdle{1};
    for (std::uint64_t item = 1; item <= count; ++item) {
        const auto room = [&] { return place.consumed.load(acquire) == item - 1; };
        if (wake.wait(room, in_a_minute()).value() != wakeup_result::ready) return false;
        dawdle.some_time();
        place.item = mixed(item);
        place.published.store(item, release);
        (void)wake.notify().value();
    }
    return true;
}

/// Takes items up to number `count`. Says whether each came, whole, within a minute.
bool consume(side& wake, shared_place& place, std::uint64_t count) {
    dawdler dawdle{2};
    for (std::uint64_t item = 1; item <= count; ++item) {
        const auto there = [&] { return place.published.load(acquire) == item; };
        if (wake.wait(there, in_a_minute()).value() != wakeup_result::ready) return false;
        dawdle.some_time();
        if (place.item != mixed(item)) return false;
        place.consumed.store(item, release);
        (void)wake.notify().value();
    }
    return true;
}

class spinning : public testing::TestWithParam<std::chrono::microseconds> {};
INSTANTIATE_TEST_SUITE_P(, spinning, testing::Values(0us, 2us, 20us, 100us),
                         [](const auto& test) { return "for_" + std::to_string(test.param.count()) + "_us"; });

TEST_P(spinning, threads_pass_items_and_none_sleeps_on) {
    const auto until = deadline::clock::now() + seconds_for_all() / 20;
    std::uint64_t items = 0;
    while (deadline::clock::now() < until) {
        constexpr std::uint64_t count = 2000;
        shared_place place;
        two_ends ends;
        side here{place.words[0], place.words[1], std::move(ends.made.first), GetParam()};
        side there{place.words[1], place.words[0], shm::doorbell::from_handle(std::move(ends.made.second)).value(),
                   GetParam()};
        bool produced = false;
        std::thread producer{[&] { produced = produce(here, place, count); }};
        EXPECT_TRUE(consume(there, place, count));
        producer.join();
        EXPECT_TRUE(produced);
        items += count;
    }
    RecordProperty("items", std::to_string(items));
}

}  // namespace
