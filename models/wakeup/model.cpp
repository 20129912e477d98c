// SPDX-License-Identifier: MIT OR Apache-2.0
// Every interleaving of two sides that sleep and wake each other. What the kernel does is modelled as weakly as can be: a
// bell carries nothing that its ringer has written. What a scenario is there for is said in its sentence, and shown by the
// weakenings (docs/orders.md) and mistakes (mistakes.toml) that only it finds.
#include <array>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>

#include <shm/wakeup.hpp>

#include "checker/driver/scenario.hpp"
#include "models/wakeup/modelled_bell.hpp"

namespace shm {
namespace model {
namespace {

using enum std::memory_order;

/// Two sides, each with its word and its end of the bell. Nobody spins: that is to look several times.
template <class A>
struct two_sides {
    using side = wakeup<modelled_bell<A>, A>;
    std::array<typename side::word, 2> words;
    std::array<line<A>, 2> lines;
    std::array<unsigned, 2> refusals{};
    std::array<std::optional<side>, 2> sides;

    two_sides() {
        for (unsigned i = 0; i < 2; ++i) {
            name(&words[i], "word " + std::to_string(i));
            name(&lines[i], "bell " + std::to_string(i));
        }
    }
    void make() {
        for (unsigned i = 0; i < 2; ++i)
            sides[i].emplace(words[i], words[1 - i], modelled_bell<A>{&lines[i], &lines[1 - i], &refusals[i]},
                             std::chrono::nanoseconds{0});
    }
    side& operator[](unsigned index) { return *sides[index]; }

    /// Waits, and looks whether who comes back from a wait is awake.
    template <class Ready>
    wakeup_result wait(unsigned index, Ready ready, deadline time_out) {
        const auto woken = sides[index]->wait(ready, time_out).value();
        check(words[index].load(relaxed) == 0);
        return woken;
    }
    void notify(unsigned index) { (void)sides[index]->notify().value(); }
    [[nodiscard]] bool bell_pending(unsigned index) { return (lines[index].load(relaxed) & pending) != 0; }
};

/// What one side publishes: a count, and behind it what is counted.
template <class A, unsigned Most = 2>
struct publication {
    typename A::template atomic<std::uint32_t> count;
    std::array<typename A::template cell<int>, Most> items;

    publication() {
        name(&count, "published");
        for (unsigned i = 0; i < Most; ++i) name(&items[i], "item " + std::to_string(i));
    }
    void publish(std::uint32_t number) {
        items[number - 1].write(static_cast<int>(number));
        count.store(number, release);
    }
    [[nodiscard]] bool holds(std::uint32_t number) const { return count.load(acquire) >= number; }
    void read(std::uint32_t number) const { check(items[number - 1].read() == static_cast<int>(number)); }
};

/// Nobody waits here: it is what may be said of the first half alone, and each engine can search it completely.
template <class A>
struct sleep_announced {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who has announced his sleep and found nothing is rung";
    two_sides<A> wake;
    publication<A> published;
    bool sleeps = false;

    void before() { wake.make(); }
    void thread(unsigned index) {
        if (index == 0) {
            published.publish(1);
            wake.notify(0);
        } else {
            sleeps = wake[1].announce([&] { return published.holds(1); });
            if (!sleeps) published.read(1);
        }
    }
    void after() {
        check(!sleeps || wake.bell_pending(1));
        check(wake.words[1].load(relaxed) == 0);
    }
};

/// A bell of an earlier sleep may be pending, and the word may say that a dead predecessor sleeps.
template <class A, form Form>
struct one_sleeps {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "nobody sleeps on when something has been published for him";
    two_sides<A> wake;
    publication<A> published;

    void before() {
        wake.make();
        if (choose(2) != 0) wake.words[1].store(1, relaxed);
        if (choose(2) != 0) wake.lines[1].store(pending, relaxed);
    }
    void thread(unsigned index) {
        if (index == 0) {
            published.publish(1);
            wake.notify(0);
        } else {
            const auto woken = wake[1].wait([&] { return published.holds(1); }, until<Form>).value();
            check(woken == wakeup_result::ready || (Form == form::tries && woken == wakeup_result::timed_out));
            if (woken == wakeup_result::ready) published.read(1);
        }
    }
    void after() {}
};

/// Two publications; the sleeper waits for each, or for both at once.
template <class A, form Form>
struct two_publications {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "two publications wake whoever waits for the first, the second or both";
    two_sides<A> wake;
    publication<A> published;

    void before() { wake.make(); }
    void thread(unsigned index) {
        if (index == 0) {
            for (std::uint32_t number = 1; number <= 2; ++number) {
                published.publish(number);
                wake.notify(0);
            }
        } else {
            for (std::uint32_t number = 1 + choose(2); number <= 2; ++number) {
                const auto woken = wake.wait(1, [&] { return published.holds(number); }, until<Form>);
                if (woken == wakeup_result::ready) published.read(number);
            }
        }
    }
    void after() {}
};

/// Each publishes and waits for what the other publishes: both may sleep.
template <class A, form Form>
struct both_sleep {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "two who have something for each other do not both sleep on";
    two_sides<A> wake;
    std::array<publication<A, 1>, 2> published;

    void before() {
        wake.make();
        first_ = choose(2);
    }
    void thread(unsigned index) {
        const unsigned other = 1 - index;
        // One of the two answers, or both begin.
        if (index == 1 && first_ == 0 && !wait_for(index, other)) return;
        published[index].publish(1);
        wake.notify(index);
        if (index == 0 || first_ != 0) (void)wait_for(index, other);
    }
    void after() {}

private:
    bool wait_for(unsigned index, unsigned other) {
        const auto woken = wake.wait(index, [&] { return published[other].holds(1); }, until<Form>);
        if (woken == wakeup_result::ready) published[other].read(1);
        return woken == wakeup_result::ready;
    }
    unsigned first_ = 0;  // 1: both begin
};

/// A place for one item: its consumer waits for an item, its producer for room.
template <class A, form Form>
struct item_and_room {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "items pass through a place for one, and neither side sleeps on";
    static constexpr std::uint32_t items = 2;
    two_sides<A> wake;
    typename A::template atomic<std::uint32_t> published, consumed;
    typename A::template cell<std::uint32_t> place;

    void before() {
        wake.make();
        name(&published, "published");
        name(&consumed, "consumed");
        name(&place, "place");
    }
    void thread(unsigned index) {
        for (std::uint32_t item = 1; item <= items; ++item) {
            if (index == 0) {
                const auto room = [&] { return consumed.load(acquire) == item - 1; };
                if (wake.wait(0, room, until<Form>) != wakeup_result::ready) return;
                place.write(item);
                published.store(item, release);
            } else {
                const auto there = [&] { return published.load(acquire) == item; };
                if (wake.wait(1, there, until<Form>) != wakeup_result::ready) return;
                check(place.read() == item);
                consumed.store(item, release);
            }
            wake.notify(index);
        }
    }
    void after() { check(Form == form::tries || consumed.load(relaxed) == items); }
};

/// A peer that rings for nothing before, between and after.
template <class A, form Form>
struct flood {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "bells for nothing wake nobody for good, and hide no bell";
    two_sides<A> wake;
    publication<A> published;

    void before() { wake.make(); }
    void thread(unsigned index) {
        if (index == 0) {
            auto& bell = wake[0].bell();
            for (int bells = 0; bells < 2; ++bells) (void)bell.signal().value();
            published.publish(1);
            wake.notify(0);
            (void)bell.signal().value();
        } else {
            const auto woken = wake.wait(1, [&] { return published.holds(1); }, until<Form>);
            if (woken == wakeup_result::ready) published.read(1);
        }
    }
    void after() {}
};

/// The kernel closes a dead process's end of the bell, at whatever instruction it died.
template <class A, form Form>
struct peer_dies {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who waits for a dead peer is told so, after all that it has published";
    two_sides<A> wake;
    publication<A> published;
    std::uint32_t waited_for = 0;  // when the death was told
    bool told = false;

    void before() { wake.make(); }
    void thread(unsigned index) {
        if (index == 0) {
            (void)survives([&] {
                published.publish(1);
                wake.notify(0);
            });
            wake[0].bell().close();
        } else {
            for (std::uint32_t number = 1; number <= 2; ++number) {
                const auto woken = wake.wait(1, [&] { return published.holds(number); }, until<Form>);
                if (woken == wakeup_result::ready) {
                    published.read(number);
                    continue;
                }
                told = woken == wakeup_result::peer_dead;
                check(told || Form == form::tries);
                waited_for = number;
                return;
            }
        }
    }
    void after() { check(!told || published.count.load(relaxed) < waited_for); }
};

/// Nobody hears the bell of a peer that died asleep.
template <class A>
struct sleeper_dies {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who publishes for a peer that died asleep is told so once, and goes on";
    two_sides<A> wake;
    publication<A> published;
    unsigned told = 0;

    void before() { wake.make(); }
    void thread(unsigned index) {
        if (index == 0) {
            for (std::uint32_t number = 1; number <= 2; ++number) {
                published.publish(number);
                told += wake[0].notify().value() == notify_result::peer_dead ? 1 : 0;
            }
        } else {
            (void)survives([&] { (void)wake[1].wait([&] { return published.holds(3); }, until<form::tries>).value(); });
            wake[1].bell().close();
        }
    }
    void after() { check(told <= 1); }
};

/// The system has no memory for a bell just now. Who is told so tries again.
template <class A, form Form>
struct bell_refused {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a bell that the system refused is rung by the next notification";
    two_sides<A> wake;
    publication<A> published;

    void before() {
        wake.make();
        wake.refusals[0] = 1;
    }
    void thread(unsigned index) {
        if (index == 0) {
            published.publish(1);
            if (!wake[0].notify()) wake.notify(0);
        } else {
            const auto woken = wake[1].wait([&] { return published.holds(1); }, until<Form>).value();
            if (woken == wakeup_result::ready) published.read(1);
        }
    }
    void after() {}
};

/// The bell was refused, and the publisher does not come back to ring it: a waiter that sleeps then wakes at its
/// deadline. If that notification has taken its announcement, and it announces another sleep, it finds what was
/// published.
template <class A>
struct refused_and_announced_again {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "a waiter that announces another sleep after a notification whose bell was refused finds what was published";
    two_sides<A> wake;
    publication<A> published;
    bool taken = false, sleeps = false;

    void before() {
        wake.make();
        wake.refusals[0] = 1;
    }
    void thread(unsigned index) {
        const auto ready = [&] { return published.holds(1); };
        if (index == 0) {
            published.publish(1);
            (void)wake[0].notify();
        } else if (wake[1].announce(ready)) {
            taken = wake.words[1].load(relaxed) == 0;
            wake[1].awake();
            sleeps = wake[1].announce(ready);
            if (!sleeps) published.read(1);
        }
    }
    void after() { check(!(taken && sleeps)); }
};

/// A peer that writes anything into both words, and rings or not.
template <class A>
struct hostile_words {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "whatever is written into the words, a wait ends at its deadline and tells no lie";
    two_sides<A> wake;
    publication<A> published;

    void before() { wake.make(); }
    void thread(unsigned index) {
        if (index == 0) {
            constexpr std::uint32_t values[] = {0, 1, 2, ~0U};
            for (auto& word : wake.words) word.store(values[choose(std::size(values))], relaxed);
            if (choose(2) != 0) (void)wake[0].bell().signal().value();
        } else {
            const auto woken = wake[1].wait([&] { return published.holds(1); }, until<form::tries>).value();
            check(woken == wakeup_result::timed_out);
            published.publish(1);
            (void)wake[1].notify().value();
        }
    }
    void after() {}
};

const bool added = [] {
    add<sleep_announced>("wakeup", "wakeup_sleep_announced");
    add<one_sleeps>("wakeup", "wakeup_one_sleeps");
    add<two_publications>("wakeup", "wakeup_two_publications");
    add<both_sleep>("wakeup", "wakeup_both_sleep");
    add<item_and_room>("wakeup", "wakeup_item_and_room");
    add<flood>("wakeup", "wakeup_flood");
    add<peer_dies>("wakeup", "wakeup_peer_dies");
    add<sleeper_dies>("wakeup", "wakeup_sleeper_dies");
    add<bell_refused>("wakeup", "wakeup_bell_refused");
    add<refused_and_announced_again>("wakeup", "wakeup_refused_and_announced_again");
    add<hostile_words>("wakeup", "wakeup_hostile_words");
    return true;
}();

}  // namespace
}  // namespace model
}  // namespace shm
