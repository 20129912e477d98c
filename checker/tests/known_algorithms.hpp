// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Textbook algorithms whose executions others have counted, to check the engine with and to measure it. They are no code of
// the library: what that does is in core/.
#include <memory>

#include <shm/explore_atomics.hpp>

#include "checker/explore/scheduler.hpp"

namespace shm::explore {

using enum std::memory_order;
using A = explore_atomics;

/// A struct of words and what its threads do with them, as a scenario.
template <class State>
class scripted final : public model::instance {
public:
    void before() override {
        if constexpr (requires { state_.before(); }) state_.before();
    }
    void thread(unsigned index) override { state_.thread(index); }
    void after() override {
        if constexpr (requires { state_.after(); }) state_.after();
    }

private:
    State state_;
};
template <class State>
program program_of() {
    return {State::threads, [] { return std::make_unique<scripted<State>>(); }};
}

inline void expect(bool holds, const char* otherwise) {
    if (holds) return;
    if (model::host::running != nullptr) model::host::running->failed(std::source_location::current());
    fail(otherwise);
}

/// The ring of the literature, with its positions in shared memory; waiting, or each side giving up `Items` times.
template <unsigned Capacity, unsigned Items, bool Waits, atomics_layer Atomics = A>
struct ring {
    static constexpr unsigned threads = 2;
    typename Atomics::template atomic<unsigned> head{0}, tail{0};
    typename Atomics::template cell<unsigned> slots[Capacity];

    void thread(unsigned index) {
        if (index == 0)
            produce();
        else
            consume();
    }
    void produce() {
        unsigned position = 0;
        for (unsigned i = 0; i < Items; ++i) {
            if (Waits && position >= Capacity) {
                const unsigned needed = position - Capacity + 1;
                (void)Atomics::await(tail, acquire, [needed](unsigned seen) { return seen >= needed; });
            } else if (position - tail.load(acquire) >= Capacity) {
                continue;
            }
            slots[position % Capacity].write(position);
            head.store(++position, release);
        }
    }
    void consume() {
        unsigned popped = 0;
        for (unsigned i = 0; i < Items; ++i) {
            const unsigned position = tail.load(relaxed);
            if (Waits)
                (void)Atomics::await(head, acquire, [position](unsigned seen) { return seen != position; });
            else if (head.load(acquire) == position)
                continue;
            expect(slots[position % Capacity].read() == popped++, "out of order");
            tail.store(position + 1, release);
        }
    }
};

/// A Treiber stack of indices whose head carries a tag.
template <unsigned Threads, unsigned Rounds, unsigned Slots, bool Tagged = true, atomics_layer Atomics = A>
struct slab {
    static constexpr unsigned threads = Threads;
    static constexpr unsigned none = 0xffff;
    typename Atomics::template atomic<unsigned> head{0};
    typename Atomics::template atomic<unsigned> next[Slots];
    typename Atomics::template cell<unsigned> owner[Slots];

    void before() {
        for (unsigned i = 0; i < Slots; ++i) next[i].store(i + 1 < Slots ? i + 1 : none, relaxed);
    }
    static unsigned tagged(unsigned old_head, unsigned index) {
        return (Tagged ? (old_head >> 16) + 1 : 0) << 16 | index;
    }
    unsigned take() {
        typename Atomics::retry_loop loop;
        for (;;) {
            unsigned seen = head.load(acquire);
            const unsigned index = seen & none;
            if (index == none) return none;
            const unsigned following = next[index].load(relaxed);
            if (head.compare_exchange_strong(seen, tagged(seen, following), acq_rel, acquire)) return index;
            loop.retry();
        }
    }
    void give(unsigned index) {
        for (;;) {
            unsigned seen = head.load(acquire);
            next[index].store(seen & none, relaxed);
            if (head.compare_exchange_strong(seen, tagged(seen, index), acq_rel, acquire)) return;
        }
    }
    void thread(unsigned me) {
        for (unsigned round = 0; round < Rounds; ++round) {
            const unsigned got = take();
            if (got == none) continue;
            owner[got].write(me);
            expect(owner[got].read() == me, "taken twice");
            give(got);
        }
    }
    void after() {
        unsigned count = 0;
        for (unsigned i = head.load(relaxed) & none; i != none && count <= Slots; i = next[i].load(relaxed)) ++count;
        expect(count == Slots, "a slot is lost");
    }
};

/// Vyukov's bounded queue, one try each.
template <unsigned Producers, unsigned Consumers, unsigned Capacity, atomics_layer Atomics = A>
struct bounded_queue {
    static constexpr unsigned threads = Producers + Consumers;
    typename Atomics::template atomic<unsigned> pushed{0}, popped{0};
    typename Atomics::template atomic<unsigned> turn[Capacity];
    typename Atomics::template cell<unsigned> data[Capacity];

    void before() {
        for (unsigned i = 0; i < Capacity; ++i) turn[i].store(i, relaxed);
    }
    void thread(unsigned index) {
        const bool produces = index < Producers;
        auto& end = produces ? pushed : popped;
        unsigned position = end.load(relaxed);
        for (;;) {
            auto& of_slot = turn[position % Capacity];
            const unsigned wanted = position + (produces ? 0 : 1);
            const int ahead = static_cast<int>(of_slot.load(acquire) - wanted);
            if (ahead < 0) return;
            if (ahead > 0) {
                position = end.load(relaxed);
            } else if (end.compare_exchange_strong(position, position + 1, relaxed, relaxed)) {
                if (produces)
                    data[position % Capacity].write(index);
                else
                    (void)data[position % Capacity].read();
                of_slot.store(produces ? position + 1 : position + Capacity, release);
                return;
            }
        }
    }
};

/// One writer, one reader, one try.
template <atomics_layer Atomics = A>
struct sequence_lock {
    static constexpr unsigned threads = 2;
    typename Atomics::template atomic<unsigned> sequence{0}, first{0}, second{0};
    void thread(unsigned index) {
        if (index == 0) {
            const unsigned was = sequence.load(relaxed);
            sequence.store(was + 1, relaxed);
            Atomics::fence(release);
            first.store(1, relaxed);
            second.store(1, relaxed);
            sequence.store(was + 2, release);
            return;
        }
        const unsigned before = sequence.load(acquire);
        if (before % 2 != 0) return;
        const unsigned a = first.load(relaxed), b = second.load(relaxed);
        Atomics::fence(acquire);
        if (sequence.load(relaxed) == before) expect(a == b, "torn");
    }
};

}  // namespace shm::explore
