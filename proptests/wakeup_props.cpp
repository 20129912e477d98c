// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include <shm/wakeup.hpp>

#include "testkit/child_process.hpp"
#include "testkit/nothing_left.hpp"
#include "testkit/process_state.hpp"

namespace {

const bool all_is_given_up = nothing_left::by_any_test();

using namespace std::chrono_literals;
using shm::deadline;
using shm::fault;
using shm::fault_kind;
using shm::notify_result;
using shm::signal_result;
using shm::wait_result;
using shm::wakeup_result;

/// What a bell has to say, and what was done with it.
struct script {
    std::vector<shm::result<wait_result>> answers;
    shm::result<signal_result> when_rung = signal_result::sent;
    std::size_t waits = 0;
    std::size_t signals = 0;
    bool announced = true;  // at each wait
};

struct scripted_bell {
    script* told;
    const std::atomic<std::uint32_t>* own;
    shm::result<signal_result> signal() const {
        ++told->signals;
        return told->when_rung;
    }
    shm::result<wait_result> wait(deadline) const {
        told->announced = told->announced && own->load() == 1;
        return told->answers.at(told->waits++);
    }
};

class two_words : public testing::Test {
protected:
    using side = shm::wakeup<scripted_bell>;
    side::word own_{0}, of_peer_{0};
    script told_;
    side wake_{own_, of_peer_, scripted_bell{&told_, &own_}, 0ns};
};

using one_side = two_words;

TEST_F(one_side, rings_once_for_who_sleeps_and_never_for_who_is_awake) {
    EXPECT_EQ(wake_.notify().value(), notify_result::nobody_asleep);
    EXPECT_EQ(told_.signals, 0u);
    of_peer_ = 1;
    EXPECT_EQ(wake_.notify().value(), notify_result::rung);
    EXPECT_EQ(wake_.notify().value(), notify_result::nobody_asleep);
    EXPECT_EQ(told_.signals, 1u);
    EXPECT_EQ(of_peer_, 0u);
}

TEST_F(one_side, a_full_bell_has_rung_and_a_dead_peer_is_told) {
    told_.when_rung = signal_result::buffer_full;
    of_peer_ = 1;
    EXPECT_EQ(wake_.notify().value(), notify_result::rung);
    told_.when_rung = signal_result::peer_dead;
    of_peer_ = 1;
    EXPECT_EQ(wake_.notify().value(), notify_result::peer_dead);
}

TEST_F(one_side, a_bell_that_was_refused_is_rung_by_the_next_notification) {
    const fault no_memory{fault_kind::system_call, 0, ENOMEM};
    told_.when_rung = no_memory;
    of_peer_ = 1;
    EXPECT_EQ(wake_.notify().error(), no_memory);
    EXPECT_EQ(wake_.notify().error(), no_memory);
    told_.when_rung = signal_result::sent;
    EXPECT_EQ(wake_.notify().value(), notify_result::rung);
}

TEST_F(one_side, looks_once_and_does_not_announce_without_a_deadline) {
    EXPECT_EQ(wake_.wait([] { return true; }).value(), wakeup_result::ready);
    EXPECT_EQ(wake_.wait([] { return false; }).value(), wakeup_result::timed_out);
    EXPECT_EQ(told_.waits, 0u);
}

TEST_F(one_side, does_not_sleep_when_the_second_look_finds_something) {
    int looks = 0;
    EXPECT_EQ(wake_.wait([&] { return ++looks == 2; }, deadline::max()).value(), wakeup_result::ready);
    EXPECT_EQ(told_.waits, 0u);
    EXPECT_EQ(own_, 0u);
}

// What it is ready for comes at any look, and the bell says anything: the wait ends with the first that counts.
TEST_F(one_side, ends_as_the_bell_and_the_looks_say) {
    EXPECT_TRUE(rc::check([&] {
        told_ = {};
        const fault refused{fault_kind::system_call, 0, ENOMEM};
        const auto bells = *rc::gen::inRange(0, 6);
        const auto last = *rc::gen::inRange(0, 3);
        const auto ready_at = *rc::gen::inRange(1, 20);
        for (int i = 0; i < bells; ++i) told_.answers.emplace_back(wait_result::rung);
        if (last == 0) told_.answers.emplace_back(wait_result::timed_out);
        if (last == 1) told_.answers.emplace_back(wait_result::peer_dead);
        if (last == 2) told_.answers.emplace_back(refused);
        int looks = 0;
        const auto outcome = wake_.wait([&] { return ++looks >= ready_at; }, deadline::max());

        // One look before all, then one before and one after each wait of the bell; none after a refusal.
        const int looks_in_all = 2 + 2 * bells + (last == 2 ? 0 : 1);
        if (ready_at <= looks_in_all) {
            RC_ASSERT(outcome.value() == wakeup_result::ready);
            RC_ASSERT(looks == ready_at);
        } else if (last == 2) {
            RC_ASSERT(outcome.error() == refused);
        } else {
            RC_ASSERT(outcome.value() == (last == 0 ? wakeup_result::timed_out : wakeup_result::peer_dead));
        }
        RC_ASSERT(told_.announced);
        RC_ASSERT(own_ == 0u);
    }));
}

TEST_F(one_side, a_peer_that_rings_for_nothing_does_not_keep_it_past_its_deadline) {
    told_.answers.assign(1, wait_result::rung);
    EXPECT_EQ(wake_.wait([] { return false; }, deadline{1ns}).value(), wakeup_result::timed_out);
    EXPECT_EQ(own_, 0u);
}

TEST_F(one_side, whatever_a_peer_writes_into_the_words_is_asleep_or_awake) {
    EXPECT_TRUE(rc::check([&](std::uint32_t own, std::uint32_t of_peer) {
        told_ = {};
        own_ = own;
        of_peer_ = of_peer;
        RC_ASSERT(wake_.notify().value() == (of_peer == 1 ? notify_result::rung : notify_result::nobody_asleep));
        RC_ASSERT(of_peer_ == 0u);
        told_.answers.assign(1, wait_result::timed_out);
        RC_ASSERT(wake_.wait([] { return false; }, deadline::max()).value() == wakeup_result::timed_out);
        RC_ASSERT(own_ == 0u);
    }));
}

/// Looks that take a time each. A machine that is busy makes fewer of them in a given time, never more.
struct slow_looks {
    static constexpr auto each = 2us;
    std::int64_t made = 0;
    bool operator()() {
        ++made;
        const auto end = deadline::clock::now() + each;
        while (deadline::clock::now() < end) continue;
        return false;
    }
    /// As many as there is time for, and those between two looks at the clock.
    static constexpr std::int64_t most_in(std::chrono::nanoseconds time) { return time / each + 64; }
};

/// A bell that is a long time silent.
struct silent_bell {
    std::chrono::nanoseconds silence;
    shm::result<signal_result> signal() const { return signal_result::sent; }
    shm::result<wait_result> wait(deadline) const {
        const auto end = deadline::clock::now() + silence;
        while (deadline::clock::now() < end) continue;
        return wait_result::timed_out;
    }
};

TEST(a_long_sleep, makes_the_next_spin_shorter) {
    constexpr auto longest = 64ms;
    shm::wakeup<silent_bell>::word own{0}, of_peer{0};
    shm::wakeup<silent_bell> wake{own, of_peer, silent_bell{2 * longest}, longest};
    for (const auto longest_now : {64ms, 32ms, 16ms, 8ms, 4ms, 4ms, 4ms}) {
        slow_looks looks;
        EXPECT_EQ(wake.wait(std::ref(looks), deadline::max()).value(), wakeup_result::timed_out);
        EXPECT_LE(looks.made, 1 + slow_looks::most_in(longest_now) + 2) << "one first, and two around the sleep";
    }
}

TEST(adaptive_spin, sees_what_comes_while_it_spins_and_gives_up_in_time) {
    int looks = 0;
    EXPECT_TRUE(shm::adaptive_spin{1min}.look([&] { return ++looks == 1000; }, deadline::clock::now() + 10s));
    shm::adaptive_spin spin{1ms};
    const auto start = deadline::clock::now();
    EXPECT_FALSE(spin.look([] { return false; }, deadline::max()));
    EXPECT_GE(deadline::clock::now() - start, 1ms);
    EXPECT_FALSE(spin.look([] { return false; }, start)) << "a deadline that has passed";
}

TEST(adaptive_spin, of_nothing_is_one_look) {
    shm::adaptive_spin spin{0ns};
    int looks = 0;
    EXPECT_FALSE(spin.look([&] { return ++looks > 1; }, deadline::max()));
    EXPECT_EQ(looks, 1);
}

TEST(adaptive_spin, gets_shorter_where_it_was_useless_and_long_again_where_it_was_not) {
    shm::adaptive_spin spin{16us};
    EXPECT_EQ(spin.length(), 16us);
    for (const auto shorter : {8us, 4us, 2us, 1us, 1us}) {
        spin.waited(32us);
        EXPECT_EQ(spin.length(), shorter);
    }
    spin.waited(31us);
    EXPECT_EQ(spin.length(), 16us);
}

TEST(adaptive_spin, that_has_got_shorter_gives_up_earlier) {
    shm::adaptive_spin spin{16min};
    for (int i = 0; i < 10; ++i) spin.waited(1h);
    EXPECT_EQ(spin.length(), 1min);
    const auto start = deadline::clock::now();
    EXPECT_FALSE(spin.look([] { return false; }, start + 1ms)) << "a deadline comes before";
    EXPECT_GE(deadline::clock::now() - start, 1ms);
}

TEST(adaptive_spin, ends_at_its_deadline_though_it_might_spin_longer) {
    shm::adaptive_spin spin{200ms};
    slow_looks looks;
    EXPECT_FALSE(spin.look(std::ref(looks), deadline::clock::now() + 1ms));
    EXPECT_LE(looks.made, 1 + slow_looks::most_in(1ms));
}

// Through real bells.

class a_pair : public testing::Test {
protected:
    using side = shm::wakeup<>;
    a_pair() : a_pair{shm::doorbell::create_pair().value()} {}
    explicit a_pair(std::pair<shm::doorbell, shm::doorbell_handle> ends)
        : here_{words_[0], words_[1], std::move(ends.first)},
          there_{words_[1], words_[0], shm::doorbell::from_handle(std::move(ends.second)).value()} {}
    std::array<side::word, 2> words_{};
    side here_, there_;
};

TEST_F(a_pair, a_deadline_is_kept) {
    const auto until = deadline::clock::now() + 20ms;
    EXPECT_EQ(here_.wait([] { return false; }, until).value(), wakeup_result::timed_out);
    EXPECT_GE(deadline::clock::now(), until);
}

TEST_F(a_pair, whose_peer_has_announced_its_sleep_is_rung) {
    bool published = false;
    ASSERT_TRUE(here_.announce([&] { return published; }));
    published = true;
    EXPECT_EQ(there_.notify().value(), notify_result::rung);
    EXPECT_EQ(here_.bell().wait().value(), wait_result::rung);
    EXPECT_EQ(there_.notify().value(), notify_result::nobody_asleep);
}

TEST_F(a_pair, in_a_forked_child_is_refused_and_the_parents_sleep_is_not_ended) {
    words_[0] = 1;
    child_process child([&] {
        const auto here = static_cast<std::uint64_t>(getpid());
        const fault wrong{fault_kind::wrong_process, static_cast<std::uint64_t>(getppid()), here};
        if (const auto waited = here_.wait([] { return false; }, deadline::max()); waited || waited.error() != wrong)
            return 1;
        if (words_[0] != 1) return 2;
        if (const auto notified = there_.notify(); notified || notified.error() != wrong) return 3;
        return words_[0] == 1 ? 0 : 4;
    });
    EXPECT_EQ(child.wait(), exited(0));
}

}  // namespace
