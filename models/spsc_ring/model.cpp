// SPDX-License-Identifier: MIT OR Apache-2.0
// Every interleaving of small rings. Sizes are the smallest that reuse a slot; what a scenario is there for is said in
// its sentence, and shown by the weakenings (docs/orders.md) and mistakes (mistakes.toml) that only it finds.
#include <array>
#include <optional>
#include <span>

#include <shm/spsc_ring.hpp>

#include "checker/driver/scenario.hpp"
#include "models/spsc_ring/memory.hpp"
#include "testkit/staged_death.hpp"

namespace shm {
namespace model {
namespace {

using enum std::memory_order;

constexpr peer_id successor{3, 1};

/// A ring with both of its roles held.
template <class Ring, std::size_t Capacity, std::size_t Slots = Capacity>
struct ring_and_ends {
    ring_memory<Ring, Slots> shared;
    std::optional<typename Ring::producer> producer;
    std::optional<typename Ring::consumer> consumer;

    void make(std::uint64_t first_position = 0) {
        const auto made = Ring::create(shared.bytes(), Capacity, static_cast<typename Ring::position>(first_position));
        producer.emplace(made->claim_producer(writer).value());
        consumer.emplace(made->claim_consumer(reader).value());
    }
};

/// What went in and what has come out: items are 1, 2, 3, ... in the order in which they are pushed.
template <class Consumer>
void drain(Consumer& consumer, int& popped, int pushed) {
    while (const auto item = consumer.try_pop()) check(*item == ++popped);
    check(popped == pushed);
}

/// One producer, one consumer. What varies: capacity, items, position type, first position, and how many of the items
/// have been through the ring before the two begin.
template <class A, form Form, std::size_t Capacity, int Items, class Position, Position First, int Before>
struct transfer {
    static constexpr unsigned threads = 2;
    using ring = spsc_ring<int, Position, A>;
    ring_and_ends<ring, Capacity> ends;
    int pushed = 0, popped = 0;

    void before() {
        ends.make(First);
        while (pushed < Before) {
            check(ends.producer->try_push(++pushed) == push_result::pushed);
            check(ends.consumer->try_pop() == ++popped);
        }
    }
    void thread(unsigned index) {
        if (index == 0) {
            for (int i = 0; i < Items; ++i) {
                const auto push = [&] { return ends.producer->try_push(pushed + 1) == push_result::pushed; };
                if (!attempt<Form>(push)) return;
                ++pushed;
            }
        } else {
            for (int i = 0; i < Items; ++i) {
                std::optional<int> item;
                const auto pop = [&] { return (item = ends.consumer->try_pop()).has_value(); };
                if (attempt<Form>(pop)) check(*item == ++popped);
            }
        }
    }
    void after() {
        drain(*ends.consumer, popped, pushed);
        check(!ends.producer->corrupt() && !ends.consumer->corrupt());
        check(ends.producer->try_push(++pushed) == push_result::pushed);
        check(ends.producer->available_capacity() == Capacity - 1);
        drain(*ends.consumer, popped, pushed);
    }
};

template <class A, form Form>
struct concurrent : transfer<A, Form, 2, 5, std::uint64_t, 0, 0> {
    static constexpr const char* invariant = "every item pushed is popped once, in order, with its contents";
};
template <class A, form Form>
struct wraparound : transfer<A, Form, 1, 5, std::uint64_t, 0, 1> {
    static constexpr const char* invariant = "a slot is reused only after it was read, lap after lap";
};
template <class A, form Form>
struct counters_wrap : transfer<A, Form, 2, 5, std::uint8_t, 254, 1> {
    static constexpr const char* invariant = "positions that wrap are positions like others";
};

/// The creator is still at it when the other side attaches.
template <class A, form Form>
struct attach_while_created {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "who can attach finds a whole ring; who cannot is told that it is not ready";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_memory<ring, 1> shared;
    int pushed = 0, popped = 0;

    void before() {}
    void thread(unsigned index) {
        if (index == 0) {
            auto producer = ring::create(shared.bytes(), 1)->claim_producer(writer).value();
            check(producer.try_push(++pushed) == push_result::pushed);
            return;
        }
        const auto attached = ring::attach(shared.bytes(), Form == form::waits ? deadline::max() : deadline{});
        if (!attached) {
            check(Form == form::tries && attached.error().what == fault_kind::not_ready);
            return;
        }
        check(attached->capacity() == 1);
        auto consumer = attached->claim_consumer(reader).value();
        if (const auto item = consumer.try_pop()) check(*item == ++popped);
    }
    void after() {
        auto consumer = ring::attach(shared.bytes())->claim_consumer(reader).value();
        drain(consumer, popped, pushed);
    }
};

template <class A>
struct created_twice {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "of two creators exactly one makes the ring";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_memory<ring, 1> shared;
    std::array<bool, 2> made{};

    void before() {}
    void thread(unsigned index) {
        const auto created = ring::create(shared.bytes(), 1);
        made[index] = created.has_value();
        if (!created) check(created.error().what == fault_kind::already_created);
    }
    void after() { check(made[0] != made[1]); }
};

/// Batches of two through a ring of two.
template <class A, form Form>
struct batch {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a batch comes out whole or in parts, in order, with its contents";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_and_ends<ring, 2> ends;
    int pushed = 0, popped = 0;

    void before() {
        ends.make();
        check(ends.producer->try_push(++pushed) == push_result::pushed && ends.consumer->try_pop() == ++popped);
    }
    void thread(unsigned index) {
        constexpr int rounds = 3;
        if (index == 0) {
            for (int round = 0; round < rounds; ++round) {
                const std::array<int, 2> items{pushed + 1, pushed + 2};
                (void)attempt<Form>([&] {
                    const std::size_t count = ends.producer->try_push_n(items);
                    pushed += static_cast<int>(count);
                    return count != 0;
                });
            }
        } else {
            for (int round = 0; round < rounds; ++round) {
                std::array<int, 2> items{};
                std::size_t count = 0;
                (void)attempt<Form>([&] { return (count = ends.consumer->try_pop_n(items)) != 0; });
                for (const int item : std::span{items}.first(count)) check(item == ++popped);
            }
        }
    }
    void after() { drain(*ends.consumer, popped, pushed); }
};

/// Slots filled and read where they lie; fewer committed and consumed than there were.
template <class A, form Form>
struct in_place {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a slot belongs to one side until committed, to the other until consumed";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_and_ends<ring, 2> ends;
    int pushed = 0, popped = 0;

    void before() {
        ends.make();
        check(ends.producer->try_push(++pushed) == push_result::pushed && ends.consumer->try_pop() == ++popped);
    }
    void thread(unsigned index) {
        constexpr int rounds = 3;
        for (int round = 0; round < rounds; ++round) {
            if (index == 0) {
                const auto fill = [&] {
                    const auto free = ends.producer->reserve(2);
                    for (std::size_t i = 0; i < free.size(); ++i) free[i].write(pushed + 1 + static_cast<int>(i));
                    if (free.empty()) return false;
                    ends.producer->commit(1);
                    ++pushed;
                    return true;
                };
                if (!attempt<Form>(fill)) return;
            } else {
                (void)attempt<Form>([&] {
                    const auto filled = ends.consumer->peek(2);
                    for (std::size_t i = 0; i < filled.size(); ++i)
                        check(filled[i].read() == popped + 1 + static_cast<int>(i));
                    if (filled.empty()) return false;
                    ends.consumer->consume(1);
                    ++popped;
                    return true;
                });
            }
        }
    }
    void after() { drain(*ends.consumer, popped, pushed); }
};

/// Two peers hold the producer's role one after the other.
template <class A, form Form>
struct producer_reattaches {
    static constexpr unsigned threads = 3;
    static constexpr const char* invariant = "a new producer goes on where the last one stopped";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_memory<ring, 2> shared;
    std::optional<typename ring::producer> first;
    std::optional<typename ring::consumer> consumer;
    std::array<int, 3> pushed{};  // by each producer: 1, 1 + 2 or 2 when the other had none
    int popped = 0;

    void before() {
        const auto made = ring::create(shared.bytes(), 2);
        first.emplace(made->claim_producer(writer).value());
        consumer.emplace(made->claim_consumer(reader).value());
    }
    void thread(unsigned index) {
        if (index == 0) {
            check(first->try_push(1) == push_result::pushed);
            first.reset();
        } else if (index == 1) {
            const auto attached = ring::attach(shared.bytes());
            std::optional<typename ring::producer> second;
            (void)attempt<Form>([&] {
                auto claimed = attached->claim_producer(successor);
                if (claimed) second.emplace(*std::move(claimed));
                return second.has_value();
            });
            if (second && attempt<Form>([&] { return second->try_push(2) == push_result::pushed; })) pushed[1] = 1;
        } else {
            for (int i = 0; i < 2; ++i)
                if (const auto item = consumer->try_pop()) check(*item == ++popped);
        }
    }
    void after() { drain(*consumer, popped, 1 + pushed[1]); }
};

/// Two peers hold the consumer's role one after the other; the producer reuses the slots behind them.
template <class A, form Form>
struct consumer_reattaches {
    static constexpr unsigned threads = 3;
    static constexpr const char* invariant = "a new consumer goes on where the last one stopped";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_memory<ring, 1> shared;
    std::optional<typename ring::producer> producer;
    std::optional<typename ring::consumer> first;
    int pushed = 0;
    std::array<int, 2> popped{};  // the number each consumer popped, 0 for none

    void before() {
        const auto made = ring::create(shared.bytes(), 1);
        producer.emplace(made->claim_producer(writer).value());
        first.emplace(made->claim_consumer(reader).value());
        check(producer->try_push(++pushed) == push_result::pushed);
    }
    void thread(unsigned index) {
        if (index == 0) {
            if (attempt<Form>([&] { return producer->try_push(pushed + 1) == push_result::pushed; })) ++pushed;
        } else if (index == 1) {
            popped[0] = first->try_pop().value_or(0);
            check(popped[0] == 1);
            first.reset();
        } else {
            const auto attached = ring::attach(shared.bytes());
            std::optional<typename ring::consumer> second;
            (void)attempt<Form>([&] {
                auto claimed = attached->claim_consumer(successor);
                if (claimed) second.emplace(*std::move(claimed));
                return second.has_value();
            });
            if (second) popped[1] = second->try_pop().value_or(0);
            check(popped[1] == 0 || popped[1] == 2);
        }
    }
    void after() {
        auto consumer = ring::attach(shared.bytes())->claim_consumer(reader).value();
        int last = popped[1] == 2 ? 2 : 1;
        drain(consumer, last, pushed);
    }
};

template <class A>
struct observer {
    static constexpr unsigned threads = 3;
    static constexpr const char* invariant = "an observer never sees a negative size, or one above the capacity";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_and_ends<ring, 1> ends;
    int popped = 0;

    void before() { ends.make(); }
    void thread(unsigned index) {
        if (index == 0) {
            (void)ends.producer->try_push(1);
            (void)ends.producer->try_push(2);
        } else if (index == 1) {
            for (int i = 0; i < 2; ++i)
                if (const auto item = ends.consumer->try_pop()) check(*item == ++popped);
        } else {
            const auto seen = ring::attach(ends.shared.bytes())->status();
            check(seen.published >= seen.consumed && seen.size <= 1);
            check(seen.producer == writer && seen.consumer == reader && !seen.reported_corrupt);
        }
    }
    void after() {}
};

template <class A>
struct claimed_twice {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "of two that claim a role exactly one gets it, and the other learns from whom";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_memory<ring, 2> shared;
    std::array<std::optional<typename ring::producer>, 2> producer;

    void before() { ring::create(shared.bytes(), 2).value(); }
    void thread(unsigned index) {
        const peer_id me = index == 0 ? writer : successor;
        const peer_id other = index == 0 ? successor : writer;
        auto claimed = ring::attach(shared.bytes())->claim_producer(me);
        if (claimed) {
            producer[index].emplace(*std::move(claimed));
            check(producer[index]->try_push(static_cast<int>(index)) == push_result::pushed);
        } else {
            check(claimed.error() == fault{fault_kind::busy, 0, other.word()});
        }
    }
    void after() { check(producer[0].has_value() != producer[1].has_value()); }
};

/// Two that have proof of the same death.
template <class A>
struct recovered_twice {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "of two that take over from one dead peer exactly one does";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_memory<ring, 2> shared;
    std::array<std::optional<typename ring::producer>, 2> taken;

    void before() {
        auto dead = ring::create(shared.bytes(), 2)->claim_producer(writer).value();
        check(dead.try_push(1) == push_result::pushed);
        new (&grave_) typename ring::producer{std::move(dead)};  // never given up
    }
    void thread(unsigned index) {
        const peer_id me = index == 0 ? reader : successor;
        const peer_id other = index == 0 ? successor : reader;
        auto mine = ring::attach(shared.bytes())->take_over_producer(me, death_witness<scenario>::saw(writer));
        if (!mine) {
            check(mine.error() == fault{fault_kind::not_holder, writer.word(), other.word()});
            return;
        }
        check(mine->try_push(2) == push_result::pushed);
        taken[index].emplace(*std::move(mine));
    }
    void after() { check(taken[0].has_value() != taken[1].has_value()); }

private:
    alignas(typename ring::producer) std::array<std::byte, sizeof(typename ring::producer)> grave_;
};

/// A producer that was taken for dead wakes up and gives up a role that is no longer its own.
template <class A>
struct late_resignation {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who was taken for dead does not throw out its successor";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_memory<ring, 1> shared;
    std::optional<typename ring::producer> first, second;

    void before() { first.emplace(ring::create(shared.bytes(), 1)->claim_producer(writer).value()); }
    void thread(unsigned index) {
        if (index == 0) {
            first.reset();
            return;
        }
        const auto attached = ring::attach(shared.bytes());
        auto taken = attached->take_over_producer(successor, death_witness<scenario>::saw(writer));
        if (!taken) {
            check(taken.error() == fault{fault_kind::not_holder, writer.word(), 0});
            taken = attached->claim_producer(successor);
        }
        check(taken.has_value());
        second.emplace(*std::move(taken));
    }
    void after() { check(ring::attach(shared.bytes())->status().producer == successor); }
};

/// The producer dies anywhere in its work, or lives; its successor has a proof or is turned away.
template <class A>
struct producer_taken_over {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "whatever instruction a producer dies at, each of its items arrives whole or not";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_memory<ring, 2> shared;
    typename A::template atomic<bool> ended{false};
    std::optional<typename ring::consumer> consumer;
    int popped = 0;
    bool last_pushed = false;

    void before() {
        name(&ended, "ended");
        consumer.emplace(ring::create(shared.bytes(), 2)->claim_consumer(reader).value());
    }
    void thread(unsigned index) {
        const auto attached = ring::attach(shared.bytes());
        if (index == 0) {
            (void)survives([&] {
                auto claimed = attached->claim_producer(writer);
                for (int item = 1; item <= 2; ++item) (void)claimed->try_push(item);
            });
            ended.store(true, release);  // the death, which happens before every proof of it
            return;
        }
        if (const auto item = consumer->try_pop()) check(*item == ++popped);
        if (!ended.load(acquire)) return;
        auto taken = attached->take_over_producer(successor, death_witness<scenario>::saw(writer));
        if (!taken) taken = attached->claim_producer(successor);
        check(taken.has_value());
        last_pushed = taken->try_push(3) == push_result::pushed;
    }
    void after() {
        while (const auto item = consumer->try_pop()) {
            if (*item == 3) {
                check(last_pushed && !consumer->try_pop());
                return;
            }
            check(*item == ++popped);
        }
        check(!last_pushed);
    }
};

/// The consumer dies anywhere in its work. What it was popping is seen again, as documented.
template <class A>
struct consumer_taken_over {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "whatever instruction a consumer dies at, its successor sees the first item not popped";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_memory<ring, 2> shared;
    typename A::template atomic<bool> ended{false};
    std::optional<typename ring::producer> producer;
    int pushed = 0, popped = 0;

    void before() {
        name(&ended, "ended");
        producer.emplace(ring::create(shared.bytes(), 2)->claim_producer(writer).value());
        for (int i = 0; i < 2; ++i) check(producer->try_push(++pushed) == push_result::pushed);
    }
    void thread(unsigned index) {
        const auto attached = ring::attach(shared.bytes());
        if (index == 0) {
            (void)survives([&] {
                auto consumer = attached->claim_consumer(reader);
                for (int i = 0; i < 2; ++i) {
                    const auto item = consumer->try_pop();
                    check(item == popped + 1);
                    ++popped;
                }
            });
            ended.store(true, release);  // the death, which happens before every proof of it
            return;
        }
        if (producer->try_push(pushed + 1) == push_result::pushed) ++pushed;
        if (!ended.load(acquire)) return;
        auto taken = attached->take_over_consumer(successor, death_witness<scenario>::saw(reader));
        if (!taken) taken = attached->claim_consumer(successor);
        check(taken.has_value());
        drain(*taken, popped, pushed);
    }
    void after() {}
};

/// A peer that has gone mad rewrites everything that describes the ring, and the slots behind it.
template <class A>
struct geometry_rewritten {
    static constexpr unsigned threads = 3;
    static constexpr const char* invariant = "after attach, nobody looks at the geometry again, or past the last slot";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_and_ends<ring, 2, 4> ends;
    int pushed = 0, popped = 0;

    void before() { ends.make(); }
    void thread(unsigned index) {
        if (index == 0) {
            for (int i = 0; i < 3; ++i)
                if (ends.producer->try_push(pushed + 1) == push_result::pushed) ++pushed;
            (void)ends.producer->reserve(4);
        } else if (index == 1) {
            for (int i = 0; i < 2; ++i)
                if (const auto item = ends.consumer->try_pop()) check(*item == ++popped);
            (void)ends.consumer->peek(4);
        } else {
            ends.shared.header.capacity.store(4, relaxed);
            ends.shared.header.element_size.write(0);
            ends.shared.header.magic.store(0, relaxed);
            ends.shared.slots[2].write(-1);
            ends.shared.slots[3].write(-1);
        }
    }
    void after() { drain(*ends.consumer, popped, pushed); }
};

/// A consumer that lies about where it is.
template <class A>
struct hostile_consumer {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "a nonsense consumed position latches corrupt, and no slot is reused for it";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_memory<ring, 4> shared;
    std::optional<typename ring::producer> producer;

    void before() {
        const auto made = ring::create(shared.bytes(), 2, 5);
        producer.emplace(made->claim_producer(writer).value());
    }
    void thread(unsigned index) {
        constexpr std::uint64_t nonsense[] = {0, 4, 9, 1ULL << 31, 1ULL << 63, ~0ULL};
        if (index == 0) {
            bool latched = false;
            for (int i = 0; i < 4; ++i) {
                const auto result = producer->try_push(i);
                check(i < 2 ? result != push_result::full : result != push_result::pushed);
                latched = latched || result == push_result::corrupt;
                check(latched == producer->corrupt() && (!latched || result == push_result::corrupt));
            }
        } else {
            shared.header.consumed.store(nonsense[choose(std::size(nonsense))], relaxed);
            shared.slots[2].write(-1);
            shared.slots[3].write(-1);
        }
    }
    void after() {
        check(producer->try_push(9) == push_result::corrupt && producer->reserve(1).empty());
        check(producer->available_capacity() == 0);
    }
};

/// A peer that writes anything into any word, twice, so that a lie can be taken back.
template <class A>
struct hostile_words {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "whatever is written into the header, no operation leaves the slots or its counts";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_and_ends<ring, 2, 4> ends;

    void before() {
        ends.make();
        check(ends.producer->try_push(1) == push_result::pushed);
    }
    void thread(unsigned index) {
        if (index == 0) {
            const std::array<int, 3> items{2, 3, 4};
            check(ends.producer->try_push_n(items) <= 2);
            auto free = ends.producer->reserve(4);
            check(free.size() <= 2);
            for (auto& slot : free) slot.write(5);
            ends.producer->commit(free.size());
            std::array<int, 3> popped{};
            check(ends.consumer->try_pop_n(popped) <= 2);
            const auto filled = ends.consumer->peek(4);
            check(filled.size() <= 2);
            for (const auto& slot : filled) (void)slot.read();
            ends.consumer->consume(filled.size());
            check(ends.producer->available_capacity() <= 2 && ends.consumer->size() <= 2);
            ends.producer.reset();
            ends.consumer.reset();
        } else {
            ends.shared.slots[2].write(-1);
            ends.shared.slots[3].write(-1);
            constexpr std::uint64_t values[] = {0, 1, 3, ~0ULL};
            for (int twice = 0; twice < 2; ++twice) {
                const auto value = values[choose(std::size(values))];
                switch (choose(5)) {
                    case 0: ends.shared.header.published.store(value, relaxed); break;
                    case 1: ends.shared.header.consumed.store(value, relaxed); break;
                    case 2: ends.shared.header.producer_claim.store(value, relaxed); break;
                    case 3: ends.shared.header.consumer_claim.store(value, relaxed); break;
                    default: ends.shared.header.state.store(static_cast<std::uint32_t>(value), relaxed); break;
                }
            }
        }
    }
    void after() {
        if (const auto attached = ring::attach(ends.shared.bytes())) check(attached->status().size <= 2);
    }
};

/// The lie is met after the reserve: the commit must not count on what the reserve saw.
template <class A>
struct hostile_consumer_in_place {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "once corrupt, a commit publishes nothing and a consume gives nothing back";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_and_ends<ring, 2> ends;

    void before() {
        ends.make(5);
        check(ends.producer->try_push(1) == push_result::pushed);
    }
    void thread(unsigned index) {
        if (index == 0) {
            const auto free = ends.producer->reserve(1);
            if (!free.empty()) free[0].write(2);
            (void)ends.producer->available_capacity();
            ends.producer->commit(free.size());
            check(ends.shared.header.published.load(relaxed) == (ends.producer->corrupt() ? 6 : 7));
            const auto filled = ends.consumer->peek(1);
            check(filled.size() == 1);
            ends.shared.header.published.store(99, relaxed);
            check(ends.consumer->size() == 0 && ends.consumer->corrupt());
            ends.consumer->consume(1);
            check(ends.shared.header.published.load(relaxed) == 99);
        } else {
            ends.shared.header.consumed.store(99, relaxed);
        }
    }
    void after() { check(ends.shared.header.consumed.load(relaxed) == 99); }
};

/// A producer that lies about where it is.
template <class A>
struct hostile_producer {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "a nonsense published position latches corrupt, and nothing more is popped";
    using ring = spsc_ring<int, std::uint64_t, A>;
    ring_memory<ring, 4> shared;
    std::optional<typename ring::consumer> consumer;

    void before() {
        const auto made = ring::create(shared.bytes(), 2, 5);
        consumer.emplace(made->claim_consumer(reader).value());
        auto producer = made->claim_producer(writer).value();
        check(producer.try_push(1) == push_result::pushed);
    }
    void thread(unsigned index) {
        constexpr std::uint64_t nonsense[] = {0, 4, 9, 1ULL << 31, 1ULL << 63, ~0ULL};
        if (index == 0) {
            for (int i = 0; i < 3; ++i) {
                const auto item = consumer->try_pop();
                check(!item || (i == 0 && *item == 1));
                check(!consumer->corrupt() || !consumer->try_pop());
            }
        } else {
            shared.header.published.store(nonsense[choose(std::size(nonsense))], relaxed);
            shared.slots[2].write(-1);
            shared.slots[3].write(-1);
        }
    }
    void after() { check(!consumer->try_pop() && consumer->corrupt() && consumer->peek(1).empty()); }
};

/// The same ring over pointers that the caller owns; the threads attach for themselves.
template <class A, form Form, std::size_t Capacity, int Items>
struct raw_transfer {
    static constexpr unsigned threads = 2;
    using ring = spsc_ring_raw<int, std::uint64_t, A>;
    ring_memory<ring, Capacity> shared;
    int pushed = 0, popped = 0;

    void before() { ring::create(shared.header, shared.slots).value(); }
    void thread(unsigned index) {
        const auto attached = ring::attach(shared.header, shared.slots);
        if (index == 0) {
            auto producer = attached->make_producer();
            for (int i = 0; i < Items; ++i) {
                if (!attempt<Form>([&] { return producer.try_push(pushed + 1) == push_result::pushed; })) return;
                ++pushed;
            }
        } else {
            auto consumer = attached->make_consumer();
            for (int i = 0; i < Items; ++i) {
                std::optional<int> item;
                if (attempt<Form>([&] { return (item = consumer.try_pop()).has_value(); })) check(*item == ++popped);
            }
        }
    }
    void after() {
        auto consumer = ring::attach(shared.header, shared.slots)->make_consumer();
        drain(consumer, popped, pushed);
    }
};

template <class A, form Form>
struct raw_concurrent : raw_transfer<A, Form, 2, 5> {
    static constexpr const char* invariant = "every item pushed is popped once, in order, with its contents";
};
template <class A, form Form>
struct raw_wraparound : raw_transfer<A, Form, 1, 5> {
    static constexpr const char* invariant = "a slot is reused only after it was read, lap after lap";
};

const bool added = [] {
    add<concurrent>("spsc_ring", "spsc_ring_concurrent");
    add<wraparound>("spsc_ring", "spsc_ring_wraparound");
    add<counters_wrap>("spsc_ring", "spsc_ring_counters_wrap");
    add<batch>("spsc_ring", "spsc_ring_batch");
    add<in_place>("spsc_ring", "spsc_ring_in_place");
    add<attach_while_created>("spsc_ring", "spsc_ring_attach_while_created");
    add<created_twice>("spsc_ring", "spsc_ring_created_twice");
    add<producer_reattaches>("spsc_ring", "spsc_ring_producer_reattaches");
    add<consumer_reattaches>("spsc_ring", "spsc_ring_consumer_reattaches");
    add<observer>("spsc_ring", "spsc_ring_observer");
    add<claimed_twice>("spsc_ring", "spsc_ring_claimed_twice");
    add<recovered_twice>("spsc_ring", "spsc_ring_recovered_twice");
    add<late_resignation>("spsc_ring", "spsc_ring_late_resignation");
    add<producer_taken_over>("spsc_ring", "spsc_ring_producer_taken_over");
    add<consumer_taken_over>("spsc_ring", "spsc_ring_consumer_taken_over");
    add<geometry_rewritten>("spsc_ring", "spsc_ring_geometry_rewritten");
    add<hostile_consumer>("spsc_ring", "spsc_ring_hostile_consumer");
    add<hostile_words>("spsc_ring", "spsc_ring_hostile_words");
    add<hostile_consumer_in_place>("spsc_ring", "spsc_ring_hostile_consumer_in_place");
    add<hostile_producer>("spsc_ring", "spsc_ring_hostile_producer");
    add<raw_concurrent>("spsc_ring", "spsc_ring_raw_concurrent");
    add<raw_wraparound>("spsc_ring", "spsc_ring_raw_wraparound");
    return true;
}();

}  // namespace
}  // namespace model
}  // namespace shm
