// SPDX-License-Identifier: MIT OR Apache-2.0
// Every interleaving of small slabs. What a scenario is there for is said in its sentence, and shown by the weakenings
// (docs/orders.md) and mistakes (mistakes.toml) that only it finds.
#include <array>
#include <memory>
#include <optional>

#include <shm/spsc_ring.hpp>
#include <shm/treiber_slab.hpp>

#include "checker/driver/scenario.hpp"
#include "models/spsc_ring/memory.hpp"
#include "models/treiber_slab/memory.hpp"

namespace shm {
inline namespace v1 {

/// Vouches for the deaths that scenarios stage; a scenario joins the dead thread first.
template <>
class death_witness<struct scenario_of_slabs> {
public:
    static proof_of_death saw(peer_id dead) { return proof_of_death{dead}; }
};

}  // namespace v1

namespace model {
namespace {

using enum std::memory_order;
using witness = death_witness<struct scenario_of_slabs>;

constexpr slab_widths few_attempts{.attempts = 8};

constexpr peer_id peer(std::size_t number) { return {static_cast<std::uint32_t>(number) + 1, 1}; }

/// The slab as it is placed in a region, and over memory that the caller owns.
template <class A, slab_widths Widths>
struct placed {
    using type = treiber_slab<Widths, A>;
    template <class Memory>
    static type create(Memory& shared, std::uint32_t members, std::uint32_t slots) {
        return type::create(shared.bytes(), {slots, 8, 8, members}).value();
    }
    template <class Memory>
    static type attach(Memory& shared) {
        return type::attach(shared.bytes()).value();
    }
};
template <class A, slab_widths Widths>
struct raw {
    using type = treiber_slab_raw<Widths, A>;
    template <class Memory>
    static type create(Memory& shared, std::uint32_t members, std::uint32_t slots) {
        return type::create(shared.header, std::span{shared.members}.first(members),
                            std::span{shared.slots}.first(slots), 8, 8)
            .value();
    }
    template <class Memory>
    static type attach(Memory& shared) {
        return type::attach(shared.header, shared.members, shared.slots).value();
    }
};

/// A slab, its members, and what its slots hold. A slot's contents are a cell, so that two users of one slot are a race.
template <class A, std::size_t Members, std::size_t Slots, template <class, slab_widths> class Form = placed,
          slab_widths Widths = few_attempts>
struct slab_and_members {
    using form = Form<A, Widths>;
    using slab = typename form::type;
    slab_memory<slab, Members, Slots> shared;
    std::array<typename A::template cell<int>, Slots> contents;
    std::array<std::optional<typename slab::member>, Members> members;

    void make(std::size_t joined = Members) {
        const auto made = form::create(shared, Members, Slots);
        for (std::size_t i = 0; i < joined; ++i) members[i].emplace(made.join(peer(i)).value());
    }

    /// Takes a slot and leaves a mark in it that nobody may touch.
    alloc_result take(std::size_t who) {
        const alloc_result taken = members[who]->try_alloc();
        if (taken) contents[(*taken).index()].write(static_cast<int>(who) + 1);
        return taken;
    }
    void give(std::size_t who, slot_handle handle) {
        check(contents[handle.index()].read() == static_cast<int>(who) + 1);
        check(members[who]->free_allocated(handle).has_value());
    }

    /// Each slot can be had, once.
    void all_are_free(std::size_t who, std::size_t count = Slots) {
        std::array<bool, Slots> had{};
        for (std::size_t i = 0; i < count; ++i) {
            const auto taken = members[who]->try_alloc();
            check(taken.has_value() && !had[(*taken).index()]);
            had[(*taken).index()] = true;
            contents[(*taken).index()].write(0);
        }
        check(members[who]->try_alloc().status() == alloc_status::would_block);
    }
};

/// Each takes a slot, uses it and gives it back, some times.
template <class A, form Form, unsigned Threads, unsigned Rounds, std::size_t Slots,
          template <class, slab_widths> class Kind = placed>
struct alloc_free {
    static constexpr unsigned threads = Threads;
    slab_and_members<A, Threads, Slots, Kind> all;

    void before() { all.make(); }
    void thread(unsigned me) {
        for (unsigned round = 0; round < Rounds; ++round) {
            alloc_result taken = alloc_status::would_block;
            if (attempt<Form>([&] { return (taken = all.take(me)).has_value(); })) all.give(me, *taken);
        }
    }
    void after() { all.all_are_free(0); }
};
template <class A, form Form>
struct concurrent_alloc_free : alloc_free<A, Form, 2, 2, 2> {
    static constexpr const char* invariant = "a slot has one user at a time, and none is lost";
};
template <class A, form Form>
struct raw_concurrent_alloc_free : alloc_free<A, Form, 2, 2, 2, raw> {
    static constexpr const char* invariant = "a slot has one user at a time, and none is lost";
};
template <class A, form Form>
struct three_alloc_free : alloc_free<A, Form, 3, 1, 2> {
    static constexpr const char* invariant = "of three that share two slots, no two use one at a time";
};

/// Each takes a slot and keeps it.
template <class A, template <class, slab_widths> class Kind>
struct no_two_get_one {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "two that allocate at a time get different slots";
    slab_and_members<A, 2, 2, Kind> all;
    std::array<slot_handle, 2> got;

    void before() { all.make(); }
    void thread(unsigned me) {
        const auto taken = all.take(me);
        check(taken.has_value());
        got[me] = *taken;
    }
    void after() {
        check(got[0].index() != got[1].index());
        check(all.members[0]->try_alloc().status() == alloc_status::would_block);
    }
};
template <class A>
struct no_double_alloc : no_two_get_one<A, placed> {};
template <class A>
struct raw_no_double_alloc : no_two_get_one<A, raw> {};

/// Three slots; one thread takes two and gives the first back, so that it is on top again while the second is away: whoever
/// still holds the old link would follow it to a slot that is in use.
template <class A, unsigned Laps>
struct first_on_top_again {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a head that looks as it did is still another head";
    slab_and_members<A, 2, 3> all;

    void before() { all.make(); }
    void thread(unsigned me) {
        if (me == 0) {
            auto first = all.take(0);
            const auto second = all.take(0);
            for (unsigned lap = 0; lap < Laps && first; ++lap) {
                all.give(0, *first);
                if (lap + 1 < Laps) first = all.take(0);
            }
            if (second) all.give(0, *second);
        } else {
            const auto first = all.take(1), second = all.take(1);
            check(first.status() != alloc_status::corrupt && second.status() != alloc_status::corrupt);
            if (first) all.give(1, *first);
            if (second) all.give(1, *second);
        }
    }
    void after() { all.all_are_free(0); }
};
template <class A>
struct aba_stress : first_on_top_again<A, 1> {};
template <class A>
struct aba_twice : first_on_top_again<A, 2> {};
template <class A>
struct aba_thrice : first_on_top_again<A, 3> {};

template <class A>
struct generation_increments {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "each allocation of a slot is another generation, and the handle before is stale";
    slab_and_members<A, 2, 1> all;

    void before() { all.make(); }
    void thread(unsigned me) {
        slot_handle last;
        for (int round = 0; round < 2; ++round) {
            const auto taken = all.take(me);
            if (!taken) continue;
            check((*taken).generation() > last.generation());
            if (last != slot_handle{})
                check(all.members[me]->free_allocated(last).error().what == slot_error::kind::generation_mismatch);
            last = *taken;
            all.give(me, last);
            check(!all.members[me]->free_allocated(last));
        }
    }
    void after() { all.all_are_free(0); }
};

/// The generation has two bits, and three values.
template <class A>
struct generation_wraps {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "generations that wrap are generations like others, and never that of nothing";
    slab_and_members<A, 2, 1, placed, slab_widths{.generation_bits = 2, .attempts = 8}> all;

    void before() { all.make(); }
    void thread(unsigned me) {
        for (int round = 0; round < 3; ++round)
            if (const auto taken = all.take(me)) {
                check((*taken).generation() >= 1 && (*taken).generation() <= 3);
                all.give(me, *taken);
            }
    }
    void after() { all.all_are_free(0); }
};

/// A handle that no message has carried. Who uses it knows nothing of what was done with the slot before.
template <class A>
struct guessed_handle {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a handle that was guessed gives its slot back like any other";
    slab_and_members<A, 2, 2> all;
    alloc_result kept[2]{alloc_status::would_block, alloc_status::would_block};

    void before() { all.make(); }
    void thread(unsigned me) {
        if (me == 1) {
            (void)all.members[1]->free_allocated({0, 2});
            return;
        }
        all.give(0, *all.take(0));
        for (auto& each : kept) check((each = all.take(0)).has_value());
    }
    void after() {
        for (const auto& each : kept) (void)all.members[0]->free_allocated(*each);  // refused if it was guessed
        all.all_are_free(0);
    }
};

template <class A, form Form>
struct exhaust_while_freeing {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who waits for the last slot gets it, with all that was done in it";
    slab_and_members<A, 2, 1> all;
    slot_handle held;

    void before() {
        all.make();
        held = *all.take(0);
    }
    void thread(unsigned me) {
        if (me == 0) return all.give(0, held);
        alloc_result taken = alloc_status::would_block;
        if (!attempt<Form>([&] { return (taken = all.take(1)).has_value(); })) {
            check(taken.status() == alloc_status::would_block);
            return;
        }
        check((*taken).index() == held.index() && *taken != held);
        all.give(1, *taken);
    }
    void after() { all.all_are_free(0); }
};

/// Two do the same to one handle.
template <class A, template <class, slab_widths> class Kind>
struct marked_twice {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "of two that send one allocation, one is refused";
    slab_and_members<A, 2, 1, Kind> all;
    slot_handle held;
    std::array<bool, 2> done{};

    void before() {
        all.make();
        held = *all.take(0);
    }
    void thread(unsigned me) {
        const auto marked = all.members[me]->mark_in_flight(held);
        done[me] = marked.has_value();
        if (!marked)
            check(marked.error() == slot_error{slot_error::kind::invalid_state, 1 /* allocated */, 2 /* in flight */});
    }
    void after() {
        check(done[0] != done[1]);
        check(all.members[1]->free(held).has_value());
        all.all_are_free(0);
    }
};
template <class A>
struct mark_in_flight_race : marked_twice<A, placed> {};
template <class A>
struct raw_mark_in_flight_race : marked_twice<A, raw> {};

template <class A>
struct free_race {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "of two that give back one allocation, one is refused, and the slot is free once";
    slab_and_members<A, 2, 2> all;
    slot_handle held;
    std::array<bool, 2> done{};

    void before() {
        all.make();
        held = *all.take(0);
        check(all.members[0]->mark_in_flight(held).has_value());
    }
    void thread(unsigned me) {
        const auto freed = all.members[me]->free(held);
        done[me] = freed.has_value();
        if (!freed) check(freed.error().what == slot_error::kind::generation_mismatch);
    }
    void after() {
        check(done[0] != done[1]);
        all.all_are_free(0);
    }
};

template <class A>
struct free_against_mark {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a slot is sent or given back, not both";
    slab_and_members<A, 2, 2> all;
    slot_handle held;
    std::array<bool, 2> done{};

    void before() {
        all.make();
        held = *all.take(0);
    }
    void thread(unsigned me) {
        done[me] = me == 0 ? all.members[0]->free_allocated(held).has_value()
                           : all.members[1]->mark_in_flight(held).has_value();
    }
    void after() {
        check(done[0] != done[1]);
        if (done[1]) check(all.members[1]->free(held).has_value());
        all.all_are_free(0);
    }
};

/// A handle that has been given back, used again while the slot is allocated anew.
template <class A>
struct stale_handle {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a stale handle frees nobody's slot";
    slab_and_members<A, 2, 1> all;
    slot_handle stale;

    void before() {
        all.make();
        stale = *all.take(0);
        all.give(0, stale);
    }
    void thread(unsigned me) {
        if (me == 0) {
            check(!all.members[0]->free_allocated(stale));
            check(!all.members[0]->mark_in_flight(stale));
        } else if (const auto taken = all.take(1)) {
            all.give(1, *taken);
        }
    }
    void after() { all.all_are_free(0); }
};

/// A handle that is used by two, one of whom has its slot again at once.
template <class A>
struct stale_meanwhile {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a handle that becomes stale while it is used frees nobody's slot";
    slab_and_members<A, 2, 1> all;
    slot_handle held;
    std::array<bool, 2> done{};

    void before() {
        all.make();
        held = *all.members[0]->try_alloc();
    }
    void thread(unsigned me) {
        done[me] = all.members[me]->free_allocated(held).has_value();
        if (me == 0) return;
        if (const auto taken = all.take(1)) all.give(1, *taken);
    }
    void after() {
        check(done[0] != done[1]);
        all.all_are_free(0);
    }
};

/// The transitions of one slot, without a slab.
template <class A>
struct state_transitions {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "each transition of a slot happens once, in the generation that it names";
    slot_meta<few_attempts, A> slot;
    std::array<bool, 2> done{};

    void before() {
        slot.init(0);
        check(slot.state() == slot_state::free && slot.check_generation(1));
        check(slot.try_transition(1, slot_state::free, slot_state::allocated, slot_owner{3, 7}).has_value());
    }
    void thread(unsigned me) {
        done[me] = slot.try_transition(1, slot_state::allocated, me == 0 ? slot_state::in_flight : slot_state::free)
                       .has_value();
    }
    void after() {
        check(done[0] != done[1]);
        check(slot.now().owner == slot_owner{3, 7});
        check(slot.state() == (done[0] ? slot_state::in_flight : slot_state::free));
        check(slot.check_generation(done[0] ? 1 : 2) && !slot.check_generation(done[0] ? 2 : 1));
        check(!slot.try_transition(1, slot_state::allocated, slot_state::in_flight));
    }
};

/// What a slab is for: filled by one, sent through a ring, read and given back by the other.
template <class A, form Form, template <class, slab_widths> class Kind>
struct through_a_ring {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "what was written into a slot is what its receiver reads";
    using ring = spsc_ring<slot_handle, std::uint64_t, A>;
    slab_and_members<A, 2, 2, Kind> all;
    ring_memory<ring, 2> queue;
    std::optional<typename ring::producer> producer;
    std::optional<typename ring::consumer> consumer;
    int sent = 0, received = 0;

    void before() {
        all.make();
        const auto made = ring::create(queue.bytes(), 2);
        producer.emplace(made->claim_producer(writer).value());
        consumer.emplace(made->claim_consumer(reader).value());
    }
    void thread(unsigned me) {
        for (int i = 0; i < 3; ++i) {
            if (me == 0) {
                alloc_result taken = alloc_status::would_block;
                if (!attempt<Form>([&] { return (taken = all.members[0]->try_alloc()).has_value(); })) return;
                all.contents[(*taken).index()].write(++sent);
                check(all.members[0]->mark_in_flight(*taken).has_value());
                check(producer->try_push(*taken) == push_result::pushed);
            } else {
                std::optional<slot_handle> got;
                if (attempt<Form>([&] { return (got = consumer->try_pop()).has_value(); })) receive(*got);
            }
        }
    }
    void receive(slot_handle got) {
        check(all.contents[got.index()].read() == ++received);
        check(all.members[1]->free(got).has_value());
    }
    void after() {
        while (const auto left = consumer->try_pop()) receive(*left);
        check(received == sent);
        all.all_are_free(0);
    }
};
template <class A, form Form>
struct cycle : through_a_ring<A, Form, placed> {};
template <class A, form Form>
struct raw_cycle : through_a_ring<A, Form, raw> {};

/// The creator is still at it when another one attaches.
template <class A, form Form>
struct attach_while_created {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "who can attach finds a whole slab; who cannot is told that it is not ready";
    using slab = treiber_slab<few_attempts, A>;
    slab_and_members<A, 2, 1> all;

    void before() {}
    void thread(unsigned me) {
        if (me == 0) return all.make(1);
        const auto attached = slab::attach(all.shared.bytes(), Form == form::waits ? deadline::max() : deadline{});
        if (!attached) {
            check(Form == form::tries && attached.error().what == fault_kind::not_ready);
            return;
        }
        check(attached->slot_count() == 1 && attached->free_count_approx() <= 1);
        all.members[1].emplace(attached->join(peer(1)).value());
        if (const auto taken = all.take(1)) all.give(1, *taken);
    }
    void after() { all.all_are_free(0); }
};

template <class A>
struct created_twice {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "of two creators exactly one makes the slab";
    using slab = treiber_slab<few_attempts, A>;
    slab_memory<slab, 1, 1> shared;
    std::array<bool, 2> made{};

    void before() {}
    void thread(unsigned me) {
        const auto created = slab::create(shared.bytes(), {1, 8, 8, 1});
        made[me] = created.has_value();
        if (!created) check(created.error().what == fault_kind::already_created);
    }
    void after() { check(made[0] != made[1]); }
};

/// Two join a slab of one entry, and leave it.
template <class A>
struct members_in_turn {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "an entry has one holder at a time, and each is another incarnation";
    slab_and_members<A, 1, 1> all;
    std::array<slot_owner, 2> was;

    void before() { all.make(0); }
    void thread(unsigned me) {
        const auto attached = placed<A, few_attempts>::attach(all.shared);
        auto member = attached.join(peer(me));
        if (!member) {
            check(member.error() == fault{fault_kind::count, 1, 2});
            return;
        }
        was[me] = member->owner();
        const auto taken = member->try_alloc();
        check(taken.has_value());
        all.contents[0].write(1);
        check(member->free_allocated(*taken).has_value());
    }
    void after() {
        check(was[0] != was[1]);
        check(placed<A, few_attempts>::attach(all.shared).join(peer(2)).has_value());
    }
};

/// The incarnation has two bits, and three values.
template <class A>
struct incarnations_wrap {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "incarnations that wrap are incarnations like others, and never nobody's";
    static constexpr slab_widths widths{.incarnation_bits = 2, .attempts = 8};
    slab_and_members<A, 1, 1, placed, widths> all;

    void before() { all.make(0); }
    void thread(unsigned me) {
        const auto attached = placed<A, widths>::attach(all.shared);
        for (int round = 0; round < 2; ++round)
            if (const auto member = attached.join(peer(me)))
                check(member->owner().incarnation >= 1 && member->owner().incarnation <= 3);
    }
    void after() { check(placed<A, widths>::attach(all.shared).join(peer(2)).has_value()); }
};

/// A member that leaves without its slot.
template <class A>
struct left_behind {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "who leaves and still owns a slot keeps its entry, until it is known to be dead";
    slab_and_members<A, 2, 1> all;

    void before() { all.make(); }
    void thread(unsigned me) {
        if (me == 0) {
            const auto taken = all.take(0);
            all.members[0].reset();
            const auto again = placed<A, few_attempts>::attach(all.shared).join(peer(2));
            check(again.has_value() == !taken.has_value());
        } else if (const auto taken = all.take(1)) {
            all.give(1, *taken);
        }
    }
    void after() {
        const auto done = all.members[1]->reclaim(witness::saw(peer(0)));
        check(done.has_value() && done->complete && done->returned <= 1);
        check(placed<A, few_attempts>::attach(all.shared).join(peer(2)).has_value());
        all.all_are_free(1);
    }
};

/// Each tries once.
template <class A>
struct allocation_given_up {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "of two that try once, one gets a slot, and the other one takes none";
    slab_and_members<A, 2, 2, placed, slab_widths{.attempts = 1}> all;
    std::array<alloc_result, 2> got{alloc_status::contended, alloc_status::contended};

    void before() { all.make(); }
    void thread(unsigned me) { got[me] = all.take(me); }
    void after() {
        check(got[0].has_value() || got[1].has_value());
        for (unsigned me = 0; me < 2; ++me) {
            check(got[me] || got[me].status() == alloc_status::contended);
            if (got[me]) all.give(me, *got[me]);
        }
        all.all_are_free(0);
    }
};

/// Counts rounds, none of which is ineffective to the engine.
template <class A>
struct counting : A {
    static inline std::uint32_t rounds = 0;  // of the one thread that makes any
    struct retry_loop {
        retry_loop() { ++rounds; }
        static void retry() {}
        template <class T>
        static void prepare(typename A::template atomic<T>& word, std::type_identity_t<T> value) {
            word.store(value, relaxed);
        }
    };
};

/// A peer that changes the head, more often than anybody tries.
template <class A>
struct head_never_stays {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "whoever spoils them, there are no more tries than were promised";
    static constexpr slab_widths widths{.attempts = 1, .walks = 1};
    using layer = counting<A>;
    slab_and_members<layer, 2, 2, placed, widths> all;
    slot_handle held;

    void before() {
        all.make();
        held = *all.members[0]->try_alloc();
        all.shared.members[1].taking.store(slot_handle{1, 1}.word(), relaxed);
    }
    void thread(unsigned me) {
        if (me == 1) {
            for (std::uint64_t tag = 100; tag < 103; ++tag)
                all.shared.header.head.store(tag << slot_handle::index_bits | 1, relaxed);
            return;
        }
        layer::rounds = 0;
        switch (choose(3)) {
            case 0: (void)all.members[0]->try_alloc(); return check(layer::rounds <= 1);
            case 1:
                (void)all.members[0]->free_allocated(held);
                return check(layer::rounds <= 1 + 1 + 1);  // the intent, the slot's word, the head
            default:
                (void)all.members[0]->reclaim(witness::saw(peer(1)));
                return check(layer::rounds <= 2 + 1 + 1);  // each slot, the intent, the walk
        }
    }
    void after() {}
};

template <class All>
reclaimed reclaim_all(All& all, std::size_t who, peer_id dead) {
    const auto done = all.members[who]->reclaim(witness::saw(dead));
    check(done.has_value());
    return *done;
}

/// A thread that is killed at any step of allocating, using and giving back, while another does the same. The killed one's
/// thread goes on as its heir.
template <class A, std::size_t Slots, unsigned Rounds, slab_widths Widths = few_attempts>
struct killed {
    static constexpr unsigned threads = 2;
    slab_and_members<A, 3, Slots, placed, Widths> all;

    void before() { all.make(); }
    void thread(unsigned me) {
        if (me == 1) {
            for (unsigned round = 0; round < Rounds; ++round)
                if (const auto taken = all.take(1)) all.give(1, *taken);
            return;
        }
        const auto live = [&] {
            if (const auto taken = all.take(0)) all.give(0, *taken);
        };
        if (survives(live)) return;
        reclaim_all(all, 2, peer(0));
    }
    void after() {
        check(!all.members[1]->corrupt());
        const reclaimed done = reclaim_all(all, 2, peer(0));
        check(done.complete && done.in_flight == 0 && all.shared.members[0].claim.load(relaxed) == 0);
        all.all_are_free(1);
    }
};
template <class A>
struct killed_with_one_slot : killed<A, 1, 1> {
    static constexpr const char* invariant = "wherever a thread dies, its slot is free again, once";
};
template <class A>
struct killed_with_two_slots : killed<A, 2, 1> {
    static constexpr const char* invariant =
        "wherever a thread dies, its slot is free again, once, and the others go on";
};

template <class A>
struct killed_and_list_moves : killed<A, 2, 1, slab_widths{.attempts = 8, .walks = 1}> {
    static constexpr const char* invariant =
        "a recovery that could not look at the list says so, and the next one goes on";
};

/// Both threads may be killed; each has an heir.
template <class A>
struct both_killed {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "two that die at a time, and two that recover, lose nothing and return nothing twice";
    slab_and_members<A, 4, 1> all;

    void before() { all.make(); }
    void thread(unsigned me) {
        const auto live = [&] {
            if (const auto taken = all.take(me)) all.give(me, *taken);
        };
        if (!survives(live)) reclaim_all(all, 2 + me, peer(me));
    }
    void after() {
        for (std::size_t dead = 0; dead < 2; ++dead) check(reclaim_all(all, 2, peer(dead)).complete);
        all.all_are_free(3);
    }
};

/// The heir may be killed as well, at any step of the recovery.
template <class A>
struct recoverer_killed {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a recovery that is killed is finished by the next one";
    slab_and_members<A, 4, 1> all;

    void before() { all.make(); }
    void thread(unsigned me) {
        if (me == 1) {
            if (const auto taken = all.take(3)) all.give(3, *taken);
            return;
        }
        const auto live = [&] {
            if (const auto taken = all.take(0)) all.give(0, *taken);
        };
        if (survives(live) || survives([&] { reclaim_all(all, 1, peer(0)); })) return;
        reclaim_all(all, 2, peer(1));
        reclaim_all(all, 2, peer(0));
    }
    void after() {
        check(!all.members[3]->corrupt());
        for (std::size_t dead = 0; dead < 2; ++dead) check(reclaim_all(all, 2, peer(dead)).complete);
        all.all_are_free(3);
    }
};

/// Two find out about the same death.
template <class A, form Form>
struct recovered_by_two {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "two that recover at a time agree: the dead one's slot is returned once";
    slab_and_members<A, 3, 1> all;
    typename A::template atomic<int> died{0};
    std::array<std::uint32_t, 2> returned{};

    void before() { all.make(); }
    void thread(unsigned me) {
        if (me == 0) {
            const auto live = [&] {
                if (const auto taken = all.take(0)) all.give(0, *taken);
            };
            const bool survived = survives(live);
            died.store(survived ? 2 : 1, release);
            if (survived) return;
        } else {
            int how = 0;
            if (!attempt<Form>([&] { return (how = died.load(acquire)) != 0; }) || how == 2) return;
        }
        returned[me] = reclaim_all(all, 1 + me, peer(0)).returned;
    }
    void after() {
        check(returned[0] + returned[1] <= 1);
        check(reclaim_all(all, 1, peer(0)).complete);
        all.all_are_free(1);
    }
};

/// One recovers, and somebody else gets the dead one's entry; the other one, who has slept meanwhile, recovers too.
template <class A>
struct entry_given_out_again {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a late recoverer does not touch who holds the dead one's entry now";
    slab_and_members<A, 3, 1> all;
    std::optional<slot_handle> kept;

    void before() {
        all.make();
        check(all.take(0).has_value());
    }
    void thread(unsigned me) {
        reclaim_all(all, 1 + me, peer(0));
        if (me == 1) return;
        auto next = placed<A, few_attempts>::attach(all.shared).join(peer(3));
        if (!next) return;
        check(next->owner().entry == 0);
        all.members[0].emplace(*std::move(next));
        if (const auto taken = all.take(0)) kept = *taken;
    }
    void after() {
        if (kept) all.give(0, *kept);
        all.all_are_free(1);
    }
};

/// A message of one slot: its sender may be killed before, and its receiver after.
template <class A>
struct killed_with_a_message {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "a slot in flight belongs to its receiver; one that was never sent goes with its sender";
    slab_and_members<A, 4, 1> all;
    typename A::template atomic<std::uint64_t> sent{0};

    void before() { all.make(); }
    void thread(unsigned me) {
        if (me == 0) {
            const auto send = [&] {
                const auto taken = all.take(0);
                if (!taken) return;
                check(all.members[0]->mark_in_flight(*taken).has_value());
                sent.store((*taken).word(), release);
                (void)sent.load(relaxed);  // it may die when it has sent, too
            };
            if (!survives(send)) check(reclaim_all(all, 2, peer(0)).in_flight <= 1);
        } else {
            const auto receive = [&] {
                const auto got = slot_handle::from_word(sent.load(acquire));
                if (got == slot_handle{}) return;
                check(all.contents[got.index()].read() == 1);
                if (choose(2) == 0) return check(all.members[1]->free(got).has_value());
                check(all.members[1]->adopt(got).has_value());
                check(all.contents[got.index()].read() == 1);
                check(all.members[1]->free_allocated(got).has_value());
            };
            if (!survives(receive)) reclaim_all(all, 3, peer(1));
        }
    }
    void after() {
        const std::uint64_t arrived = sent.load(relaxed);
        const auto never_sent = [&](slot_handle handle) { return handle.word() != arrived; };
        check(all.members[2]->reclaim(witness::saw(peer(0)), never_sent)->complete);
        check(reclaim_all(all, 2, peer(1)).complete);
        if (arrived != 0) (void)all.members[2]->free(slot_handle::from_word(arrived));  // refused if it was received
        all.all_are_free(2);
    }
};

/// A message whose sender leaves at once, and that nobody receives. Who looks for it has been told nothing.
template <class A>
struct sent_and_left {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "what nobody will receive is found, though its sender has left";
    slab_and_members<A, 2, 2> all;
    std::uint32_t returned = 0;

    void look() {
        const auto done = all.members[1]->reclaim_in_flight([](slot_handle) { return true; });
        check(done.has_value() && done->complete && done->in_flight == 0);
        returned += done->returned;
    }
    void before() { all.make(); }
    void thread(unsigned me) {
        if (me == 1) return look();
        all.give(0, *all.take(0));
        const auto sent = all.take(0);
        check(sent.has_value() && all.members[0]->mark_in_flight(*sent).has_value());
        all.members[0].reset();
    }
    void after() {
        look();
        check(returned == 1);
        all.all_are_free(1);
    }
};

/// One try is all there is before a call is `contended`.
template <class A>
struct given_up {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "what is contended has not happened, or is finished when it is called again";
    slab_and_members<A, 2, 2, placed, slab_widths{.attempts = 1}> all;
    std::array<std::optional<slot_handle>, 2> half_freed;

    void before() { all.make(); }
    void thread(unsigned me) {
        const auto taken = all.take(me);
        if (!taken) return check(taken.status() == alloc_status::contended);
        const auto freed = all.members[me]->free_allocated(*taken);
        if (freed) return;
        check(freed.error() == slot_error{slot_error::kind::contended, 1, 0});
        half_freed[me] = *taken;
    }
    void after() {
        for (std::size_t i = 0; i < 2; ++i)
            if (half_freed[i]) check(all.members[i]->free_allocated(*half_freed[i]).has_value());
        all.all_are_free(0);
    }
};

/// Each compare-exchange is tried once. What was begun is then finished by another call, or by who finds the member gone.
template <class A>
struct given_up_for_another {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who gives up giving back loses nothing, whatever it does next";
    slab_and_members<A, 3, 3, placed, slab_widths{.attempts = 1}> all;
    slot_handle first, second;

    void before() {
        all.make();
        first = *all.take(0);
        second = *all.take(2);
    }
    static bool is_done(const result<void, free_error>& given) {
        check(given || given.error() == free_error{slot_error::kind::contended, 1, 0});
        return given.has_value();
    }
    void thread(unsigned me) {
        if (me == 1) {
            if (const auto taken = all.take(1)) (void)is_done(all.members[1]->free_allocated(*taken));
        } else if (!is_done(all.members[0]->free_allocated(first))) {
            switch (choose(4)) {
                case 0: (void)is_done(all.members[0]->free_allocated(first)); break;
                case 1: (void)is_done(all.members[0]->free_allocated(second)); break;
                case 2: (void)all.members[0]->try_alloc(); break;
                default: all.members[0].reset();
            }
        }
    }
    void after() {
        all.members[0].reset();
        all.members[1].reset();
        for (std::size_t gone = 0; gone < 2; ++gone) {
            const auto done = all.members[2]->reclaim(witness::saw(peer(gone)));
            check(done.has_value() && done->complete && done->in_flight == 0);
        }
        (void)all.members[2]->free_allocated(second);  // refused if it was given back
        all.all_are_free(2);
    }
};

/// Likewise in a recovery, which has more than one slot to return.
template <class A>
struct recovery_given_up {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "a recovery that is contended loses no slot, and is finished when it is called again";
    slab_and_members<A, 3, 3, placed, slab_widths{.attempts = 1}> all;
    std::optional<slot_handle> half_freed;

    void before() {
        all.make();
        check(all.take(0).has_value() && all.take(0).has_value());
    }
    void thread(unsigned me) {
        if (me == 0)
            (void)all.members[1]->reclaim(witness::saw(peer(0)));
        else if (const auto taken = all.take(2); taken && !all.members[2]->free_allocated(*taken))
            half_freed = *taken;
    }
    void after() {
        if (half_freed) check(all.members[2]->free_allocated(*half_freed).has_value());
        check(reclaim_all(all, 1, peer(0)).complete);
        all.all_are_free(1);
    }
};

/// A peer that writes anything into any word, twice, so that a lie can be taken back. Behind the two slots there is nothing: to
/// touch it is a failure.
template <class A>
struct hostile_words {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "whatever is written into its words, no operation leaves the slab";
    using slab = treiber_slab<few_attempts, A>;
    slab_memory<slab, 4, 4> shared;
    std::array<std::optional<typename slab::member>, 2> members;
    bool head_is_a_lie = false;

    void before() {
        const auto made = slab::create(shared.bytes(), {2, 8, 8, 4}).value();
        for (std::size_t i = 0; i < 2; ++i) members[i].emplace(made.join(peer(i)).value());
        for (std::size_t beyond = 2; beyond < 4; ++beyond) std::destroy_at(&shared.slots[beyond]);
    }
    void thread(unsigned me) {
        if (me == 0) {
            const auto first = members[0]->try_alloc(), second = members[0]->try_alloc();
            for (const auto& taken : {second, first}) {
                check(!taken || (*taken).index() < 2);
                if (taken) (void)members[0]->free_allocated(*taken);
            }
            const auto marked = members[0]->mark_in_flight({2, 0});
            check(members[0]->corrupt() || marked.error() == slot_error{slot_error::kind::invalid_index, 2, 2});
            (void)members[0]->reclaim(witness::saw(peer(1)));
            check(!members[0]->corrupt() || members[0]->try_alloc().status() == alloc_status::corrupt);
            return;
        }
        constexpr std::uint64_t values[] = {0, 1, 2, 1ULL << 24 | 2, 2ULL << 24 | 1, ~0ULL};
        for (int twice = 0; twice < 2; ++twice) {
            const auto value = values[choose(std::size(values))];
            switch (choose(8)) {
                case 0:
                    head_is_a_lie = true;
                    shared.header.head.store(value, relaxed);
                    break;
                case 1: shared.slots[0].word.store(value, relaxed); break;
                case 2: shared.slots[0].next.store(static_cast<std::uint32_t>(value % 4), relaxed); break;
                case 3: shared.slots[0].next_chain.store(static_cast<std::uint32_t>(value), relaxed); break;
                case 4: shared.members[1].claim.store(value, relaxed); break;
                case 5: shared.members[1].incarnation.store(static_cast<std::uint32_t>(value), relaxed); break;
                case 6: shared.members[1].taking.store(value, relaxed); break;
                default: shared.members[1].giving.store(value, relaxed); break;
            }
        }
    }
    void after() {
        for (std::size_t beyond = 2; beyond < 4; ++beyond) std::construct_at(&shared.slots[beyond]);
        const std::uint32_t top = slot_handle::from_word(shared.header.head.load(relaxed)).index();
        check(head_is_a_lie || top < 2 || top == slot_handle{~0U, 0}.index());
    }
};

const bool added = [] {
    add<concurrent_alloc_free>("treiber_slab", "treiber_concurrent_alloc_free");
    add<no_double_alloc>("treiber_slab", "treiber_no_double_alloc");
    add<state_transitions>("treiber_slab", "slot_state_transitions");
    add<cycle>("treiber_slab", "alloc_enqueue_dequeue_free_cycle");
    add<aba_stress>("treiber_slab", "treiber_aba_stress");
    add<generation_increments>("treiber_slab", "treiber_generation_increments");
    add<exhaust_while_freeing>("treiber_slab", "treiber_exhaust_while_freeing");
    add<mark_in_flight_race>("treiber_slab", "treiber_mark_in_flight_race");
    add<free_race>("treiber_slab", "treiber_free_race");
    add<raw_concurrent_alloc_free>("treiber_slab", "treiber_slab_raw_concurrent_alloc_free");
    add<raw_no_double_alloc>("treiber_slab", "treiber_slab_raw_no_double_alloc");
    add<raw_cycle>("treiber_slab", "raw_alloc_enqueue_dequeue_free_cycle");
    add<raw_mark_in_flight_race>("treiber_slab", "treiber_slab_raw_mark_in_flight_race");
    add<three_alloc_free>("treiber_slab", "treiber_slab_three_threads");
    add<aba_twice>("treiber_slab", "treiber_slab_aba_twice");
    add<aba_thrice>("treiber_slab", "treiber_slab_aba_thrice");
    add<generation_wraps>("treiber_slab", "treiber_slab_generation_wraps");
    add<free_against_mark>("treiber_slab", "treiber_slab_free_against_mark");
    add<stale_handle>("treiber_slab", "treiber_slab_stale_handle");
    add<stale_meanwhile>("treiber_slab", "treiber_slab_stale_meanwhile");
    add<guessed_handle>("treiber_slab", "treiber_slab_guessed_handle");
    add<attach_while_created>("treiber_slab", "treiber_slab_attach_while_created");
    add<created_twice>("treiber_slab", "treiber_slab_created_twice");
    add<members_in_turn>("treiber_slab", "treiber_slab_members_in_turn");
    add<incarnations_wrap>("treiber_slab", "treiber_slab_incarnations_wrap");
    add<left_behind>("treiber_slab", "treiber_slab_left_behind");
    add<allocation_given_up>("treiber_slab", "treiber_slab_allocation_given_up");
    add<killed_with_one_slot>("treiber_slab", "treiber_slab_killed_with_one_slot");
    add<killed_with_two_slots>("treiber_slab", "treiber_slab_killed_with_two_slots");
    add<killed_and_list_moves>("treiber_slab", "treiber_slab_killed_and_list_moves");
    add<both_killed>("treiber_slab", "treiber_slab_both_killed");
    add<recoverer_killed>("treiber_slab", "treiber_slab_recoverer_killed");
    add<recovered_by_two>("treiber_slab", "treiber_slab_recovered_by_two");
    add<entry_given_out_again>("treiber_slab", "treiber_slab_entry_given_out_again");
    add<killed_with_a_message>("treiber_slab", "treiber_slab_killed_with_a_message");
    add<sent_and_left>("treiber_slab", "treiber_slab_sent_and_left");
    add<given_up>("treiber_slab", "treiber_slab_given_up");
    add<given_up_for_another>("treiber_slab", "treiber_slab_given_up_for_another");
    add<recovery_given_up>("treiber_slab", "treiber_slab_recovery_given_up");
    add<hostile_words>("treiber_slab", "treiber_slab_hostile_words");
    add<head_never_stays>("treiber_slab", "treiber_slab_head_never_stays");
    return true;
}();

}  // namespace
}  // namespace model
}  // namespace shm
