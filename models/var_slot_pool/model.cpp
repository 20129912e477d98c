// SPDX-License-Identifier: MIT OR Apache-2.0
// Every interleaving of small pools: what the table of slabs adds. What a slab itself does is in ../treiber_slab/model.cpp.
#include <array>
#include <optional>
#include <span>

#include <shm/var_slot_pool.hpp>

#include "checker/driver/scenario.hpp"
#include "models/var_slot_pool/memory.hpp"
#include "testkit/staged_death.hpp"

namespace shm::model {
namespace {

using enum std::memory_order;
using witness = death_witness<struct scenario>;

constexpr slab_widths few_attempts{.attempts = 8};
constexpr std::size_t small = 64, large = 128;

constexpr peer_id peer(std::size_t number) { return {static_cast<std::uint32_t>(number) + 1, 1}; }

/// A pool of `Slots` small slots and as many large ones, its members, and what its slots hold. A slot's contents are a cell,
/// so that two users of one slot are a race.
template <class A, std::size_t Members, std::size_t Slots, std::size_t Slabs = 2>
struct pool_and_members {
    using pool = var_slot_pool<few_attempts, A>;
    static constexpr pool_class more{Slots, large};
    pool_memory<pool, Members, Slots> shared;
    std::array<typename A::template cell<int>, Slabs * Slots> contents;
    std::array<std::optional<typename pool::member>, Members> members;

    static result<pool> create(region bytes, std::size_t classes) {
        constexpr pool_class all[] = {{Slots, small}, {Slots, large}};
        return pool::create(bytes, {std::span{all}.first(classes), 64, Members});
    }
    pool attach() {
        const auto found = pool::attach(shared.bytes());
        check(found.has_value());
        return *found;
    }

    /// Adds a slab, which somebody else may do at the same time; its number.
    std::optional<std::uint32_t> grow() {
        const auto number = attach().grow(shared.bytes(), more);
        check(number.has_value() || number.error().what == fault_kind::contended);
        return number ? std::optional{*number} : std::nullopt;
    }

    void make(std::size_t joined = Members, std::size_t classes = 2) {
        const auto made = create(shared.bytes(), classes).value();
        for (std::size_t i = 0; i < joined; ++i) members[i].emplace(made.join(peer(i)).value());
    }
    auto& content(pool_handle handle) { return contents[handle.slab() * Slots + handle.slot().index()]; }

    /// Takes a slot and leaves a mark in it that nobody may touch.
    pool_alloc_result take(std::size_t who, std::size_t bytes) {
        const auto taken = members[who]->try_alloc(bytes);
        if (taken) {
            check(members[who]->data(*taken).size() >= bytes);
            content(*taken).write(static_cast<int>(who) + 1);
        }
        return taken;
    }
    void give(std::size_t who, pool_handle handle) {
        check(content(handle).read() == static_cast<int>(who) + 1);
        check(members[who]->free_allocated(handle).has_value());
    }

    /// Each slot of that many slabs can be had, once, the small ones first.
    void all_are_free(std::size_t who, std::size_t slabs = 2) {
        std::array<bool, Slabs * Slots> had{};
        std::size_t size = 0;
        for (std::size_t i = 0; i < slabs * Slots; ++i) {
            const auto taken = members[who]->try_alloc(1);
            check(taken.has_value());
            bool& before = had[(*taken).slab() * Slots + (*taken).slot().index()];
            check(!before);
            before = true;
            check(members[who]->data(*taken).size() >= size);
            size = members[who]->data(*taken).size();
            content(*taken).write(0);
        }
        check(members[who]->try_alloc(1).status() == alloc_status::would_block);
        check(members[who]->try_alloc(large + 1).status() == alloc_status::too_large);
    }
    reclaimed reclaim(std::size_t who, peer_id dead) {
        const auto done = members[who]->reclaim(witness::saw(dead));
        check(done.has_value());
        return *done;
    }
};

template <class A>
struct both_classes {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a slot of either size has one user at a time, and none is lost";
    pool_and_members<A, 2, 1> all;

    void before() { all.make(); }
    void thread(unsigned me) {
        const auto first = all.take(me, me == 0 ? small : large);
        const auto second = all.take(me, 1);
        if (first) all.give(me, *first);
        if (second) all.give(me, *second);
    }
    void after() { all.all_are_free(0); }
};

template <class A>
struct three_threads {
    static constexpr unsigned threads = 3;
    static constexpr const char* invariant = "of three that share a small and a large slot, no two use one at a time";
    pool_and_members<A, 3, 1> all;

    void before() { all.make(); }
    void thread(unsigned me) {
        if (const auto taken = all.take(me, me == 2 ? large : 1)) all.give(me, *taken);
    }
    void after() { all.all_are_free(0); }
};

template <class A>
struct larger_if_need_be {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who asks for little gets a large slot when no small one is free";
    pool_and_members<A, 2, 1> all;
    std::array<pool_handle, 2> got;

    void before() { all.make(); }
    void thread(unsigned me) {
        const auto taken = all.take(me, 1);
        check(taken.has_value());
        got[me] = *taken;
    }
    void after() {
        check(got[0].slab() + got[1].slab() == 1);
        check(all.members[0]->try_alloc(1).status() == alloc_status::would_block);
        check(all.members[0]->try_alloc(large).status() == alloc_status::would_block);
        check(all.members[0]->try_alloc(large + 1).status() == alloc_status::too_large);
    }
};

template <class A>
struct freed_twice {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "of two that give back one allocation, one is refused, and the slot is free once";
    pool_and_members<A, 2, 1> all;
    pool_handle held;
    std::array<bool, 2> done{};

    void before() {
        all.make();
        held = *all.take(0, large);
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
struct stale_handle {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a stale handle frees nobody's slot, in no slab";
    pool_and_members<A, 2, 1> all;
    pool_handle stale;

    void before() {
        all.make();
        stale = *all.take(0, large);
        all.give(0, stale);
    }
    void thread(unsigned me) {
        if (me == 1) {
            if (const auto taken = all.take(1, large)) all.give(1, *taken);
            return;
        }
        check(!all.members[0]->free_allocated(stale));
        const pool_handle elsewhere{2, stale.slot()};
        check(all.members[0]->free_allocated(elsewhere).error() == slot_error{slot_error::kind::no_such_slab, 2, 2});
    }
    void after() { all.all_are_free(0); }
};

/// A thread that is killed at any step, with slots of both sizes.
template <class A>
struct killed {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "wherever a thread dies, its slots of every size are free again, once";
    pool_and_members<A, 3, 1> all;

    void before() { all.make(); }
    void thread(unsigned me) {
        if (me == 1) {
            if (const auto taken = all.take(1, large)) all.give(1, *taken);
            return;
        }
        const auto live = [&] {
            const auto first = all.take(0, 1), second = all.take(0, 1);
            if (first) all.give(0, *first);
            if (second) all.give(0, *second);
        };
        if (!survives(live)) all.reclaim(2, peer(0));
    }
    void after() {
        check(!all.members[1]->corrupt());
        check(all.reclaim(2, peer(0)).complete);
        all.all_are_free(1);
    }
};

/// The heir may be killed as well, between two slabs or within one.
template <class A>
struct recoverer_killed {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a recovery that is killed is finished by the next one, in every slab";
    pool_and_members<A, 4, 1> all;

    void before() {
        all.make();
        check(all.take(0, 1).has_value() && all.take(0, 1).has_value());
    }
    void thread(unsigned me) {
        if (me == 1) {
            if (const auto taken = all.take(3, 1)) all.give(3, *taken);
        } else if (!survives([&] { all.reclaim(1, peer(0)); })) {
            all.reclaim(2, peer(1));
            all.reclaim(2, peer(0));
        }
    }
    void after() {
        check(!all.members[3]->corrupt());
        for (std::size_t dead = 0; dead < 2; ++dead) check(all.reclaim(2, peer(dead)).complete);
        all.all_are_free(3);
    }
};

/// A thread that is killed with a slot of a slab that its heir has never heard of.
template <class A>
struct killed_in_a_new_slab {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who recovers meets the slabs that the dead knew";
    pool_and_members<A, 3, 1> all;

    void before() { all.make(3, 1); }
    void thread(unsigned me) {
        if (me == 1) {
            if (const auto taken = all.take(1, large)) all.give(1, *taken);
            return;
        }
        const auto live = [&] {
            check(all.grow().has_value());
            if (const auto taken = all.take(0, large)) all.give(0, *taken);
        };
        if (!survives(live)) check(all.reclaim(2, peer(0)).returned <= 1);
    }
    void after() {
        check(all.reclaim(2, peer(0)).complete);
        all.all_are_free(2, all.members[2]->slab_count());
    }
};

/// Two join a pool of one entry, and leave it.
template <class A>
struct members_in_turn {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who joins has an entry in every slab, alone";
    pool_and_members<A, 1, 1> all;
    std::array<bool, 2> joined{};

    void before() { all.make(0); }
    void thread(unsigned me) {
        const auto attached = all.attach();
        auto member = attached.join(peer(me));
        if (!member) {
            check(member.error() == fault{fault_kind::count, 1, 2});
            return;
        }
        joined[me] = true;
        for (const std::size_t size : {small, large}) {
            const auto taken = member->try_alloc(size);
            check(taken.has_value());
            all.content(*taken).write(1);
            check(member->free_allocated(*taken).has_value());
        }
    }
    void after() {
        check(joined[0] || joined[1]);
        check(all.attach().join(peer(2)).has_value());
    }
};

/// A thread that is killed while it joins.
template <class A>
struct killed_while_joining {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who dies while it joins or leaves keeps no entry";
    pool_and_members<A, 2, 1> all;

    void before() { all.make(1); }
    void thread(unsigned me) {
        if (me == 1) {
            if (const auto taken = all.take(0, 1)) all.give(0, *taken);
            return;
        }
        (void)survives([&] { (void)all.attach().join(peer(1)); });
    }
    void after() {
        check(all.reclaim(0, peer(1)).complete);
        check(all.attach().join(peer(2)).has_value());
    }
};

template <class A, form Form>
struct attach_while_created {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "who can attach finds a whole pool; who cannot is told that it is not ready";
    using pool = var_slot_pool<few_attempts, A>;
    pool_and_members<A, 2, 1> all;

    void before() {}
    void thread(unsigned me) {
        if (me == 0) return all.make(1, 1);
        const auto attached = pool::attach(all.shared.bytes(), Form == form::waits ? deadline::max() : deadline{});
        if (!attached) {
            check(Form == form::tries && attached.error().what == fault_kind::not_ready);
            return;
        }
        check(attached->slab_count() == 1);
        check(attached->grown_size(all.more) > pool::required_size({std::span{&all.more, 1}, 64, 2}));
        all.members[1].emplace(attached->join(peer(1)).value());
        if (const auto taken = all.take(1, 1)) all.give(1, *taken);
    }
    void after() { all.all_are_free(0, 1); }
};

template <class A>
struct created_twice {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "of two creators exactly one makes the pool";
    pool_and_members<A, 1, 1> all;
    std::array<bool, 2> made{};

    void before() {}
    void thread(unsigned me) {
        const auto created = all.create(all.shared.bytes(), 1);
        made[me] = created.has_value();
        if (!created) check(created.error().what == fault_kind::already_created);
    }
    void after() { check(made[0] != made[1]); }
};

/// The only slot is taken; one adds a slab, and the other wants a slot.
template <class A, form Form>
struct grows_while_wanted {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "a slab that is added is seen whole, and who waits for a slot gets one of its";
    pool_and_members<A, 2, 1> all;

    void before() {
        all.make(2, 1);
        check(all.take(0, 1).has_value());
    }
    void thread(unsigned me) {
        if (me == 0) {
            check(all.grow() == 1);
            return;
        }
        check(all.members[1]->meet().has_value());
        pool_alloc_result taken = alloc_status::would_block;
        if (!attempt<Form>([&] { return (taken = all.take(1, large)).has_value(); })) {
            check(taken.status() == alloc_status::too_large);
            return;
        }
        check((*taken).slab() == 1);
        all.give(1, *taken);
    }
    void after() {
        const auto taken = all.take(1, 1);
        check(taken.has_value() && (*taken).slab() == 1);
    }
};

/// The one sends what it has allocated in a slab that it has added.
template <class A, form Form>
struct sent_from_a_new_slab {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who receives a handle knows of its slab";
    pool_and_members<A, 2, 1> all;
    typename A::template atomic<std::uint64_t> sent{0};

    void before() { all.make(2, 1); }
    void thread(unsigned me) {
        if (me == 0) {
            check(all.grow().has_value());
            const auto taken = all.take(0, large);
            check(taken.has_value() && all.members[0]->mark_in_flight(*taken).has_value());
            sent.store((*taken).word(), release);
            return;
        }
        std::uint64_t word = 0;
        if (!attempt<Form>([&] { return (word = sent.load(acquire)) != 0; })) return;
        const auto got = pool_handle::from_word(word);
        check(all.members[1]->adopt(got).has_value());
        check(all.content(got).read() == 1 && all.members[1]->data(got).size() == large);
        check(all.members[1]->free_allocated(got).has_value());
    }
    void after() {}
};

template <class A>
struct two_growers {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "of two that add a slab, each adds one of its own, or is told of the other";
    pool_and_members<A, 2, 1, 3> all;
    std::array<std::optional<std::uint32_t>, 2> added;

    void before() { all.make(1, 1); }
    void thread(unsigned me) { added[me] = all.grow(); }
    void after() {
        check(added[0] || added[1]);
        check(added[0] != added[1]);
        all.all_are_free(0, 1 + (added[0] ? 1U : 0U) + (added[1] ? 1U : 0U));
    }
};

template <class A>
struct grower_killed {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "who dies while it adds a slab leaves the table as it was, or the slab in it";
    pool_and_members<A, 2, 1, 3> all;
    bool grown = false;

    void before() { all.make(2, 1); }
    void thread(unsigned me) {
        if (me == 1) {
            if (const auto taken = all.take(1, large)) all.give(1, *taken);
            return;
        }
        if (survives([&] { check(all.grow().has_value()); })) grown = true;
    }
    void after() {
        const std::uint32_t slabs = all.attach().slab_count();
        check(slabs == 2 || (slabs == 1 && !grown));
        check(all.grow() == slabs);
        all.all_are_free(1, slabs + 1);
    }
};

/// A slab in a region of its own.
template <class A, form Form>
struct annex {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "an annex is attached to when the table names it, and is seen whole";
    using pool = var_slot_pool<few_attempts, A>;
    annex_memory<pool, 2, 1> further;  // outlives the members
    pool_and_members<A, 2, 1> all;

    void before() {
        all.make(2, 1);
        check(all.take(0, 1).has_value());
    }
    void thread(unsigned me) {
        if (me == 0) {
            const auto number = all.attach().add_annex(further.bytes(), {1, small});
            check(number.has_value() && *number == 1);
            return;
        }
        const auto attached = [&] {
            const auto done = all.members[1]->attach_annex(further.bytes());
            check(done.has_value() || done.error().expected == 2);  // the place, and nothing behind it
            return done.has_value();
        };
        if (!attempt<Form>(attached)) return;
        const auto taken = all.take(1, 1);
        check(taken.has_value() && (*taken).slab() == 1);
        all.give(1, *taken);
    }
    void after() {
        const auto attached =
            all.members[1]->slab_count() == 2 ? result<void>{} : all.members[1]->attach_annex(further.bytes());
        check(attached.has_value() && all.take(1, 1).has_value());
    }
};

/// One grows the region, the other adds an annex.
template <class A>
struct annex_against_growth {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "an annex says which slab it is, whoever was faster";
    using pool = var_slot_pool<few_attempts, A>;
    annex_memory<pool, 1, 1> further;  // outlives the members
    pool_and_members<A, 1, 1, 3> all;
    std::array<std::uint32_t, 2> number{};

    void before() { all.make(1, 1); }
    void thread(unsigned me) {
        auto mine = all.attach();
        const auto got =
            me == 0 ? mine.grow(all.shared.bytes(), all.more) : mine.add_annex(further.bytes(), {1, small});
        check(got.has_value());
        number[me] = *got;
    }
    void after() {
        check(number[0] + number[1] == 3 && number[0] != 0 && number[1] != 0);
        check(all.members[0]->meet().has_value());
        check(all.members[0]->slab_count() == number[1]);
        check(all.members[0]->attach_annex(further.bytes()).has_value());
        all.all_are_free(0, 3);
    }
};

/// A peer that writes anything into the pool's words.
template <class A>
struct hostile_table {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "whatever is written into the table, no operation leaves the region";
    pool_and_members<A, 2, 1, 4> all;

    /// Up to behind the large slots.
    region bytes() { return all.shared.bytes().subregion(0, offset_of(&all.shared.third)).value(); }
    std::size_t offset_of(const void* part) {
        return static_cast<std::size_t>(static_cast<const std::byte*>(part) - all.shared.bytes().data());
    }

    void before() {
        const auto made = all.create(bytes(), 1).value();
        all.members[0].emplace(made.join(peer(0)).value());
    }
    void thread(unsigned me) {
        if (me == 0) {
            auto mine = var_slot_pool<few_attempts, A>::attach(bytes());
            if (mine) (void)mine->grow(bytes(), all.more);
            (void)all.members[0]->meet();
            const auto first = all.members[0]->try_alloc(1), second = all.members[0]->try_alloc(1);
            for (const auto& taken : {first, second})
                if (taken) {
                    const auto data = all.members[0]->data(*taken);
                    check(data.size() == small || data.size() == large);
                    check(offset_of(data.data()) + data.size() <= bytes().size_bytes());
                    (void)all.members[0]->free_allocated(*taken);
                }
            return;
        }
        const std::uint64_t of_the_first = offset_of(&all.shared.small);
        const std::uint64_t values[] = {of_the_first | 1, of_the_first, 2, 3, ~0ULL, bytes().size_bytes() | 1};
        const auto value = values[choose(static_cast<unsigned>(std::size(values)))];
        switch (choose(3)) {
            case 0: all.shared.header.places[0].store(value, relaxed); break;
            case 1: all.shared.header.places[1].store(value, relaxed); break;
            default: all.shared.header.used.store(choose(2) == 0 ? 0 : ~0ULL, relaxed); break;
        }
    }
    void after() { check(all.shared.third.header.state.load(relaxed) == 0); }
};

const bool added = [] {
    add<both_classes>("var_slot_pool", "var_slot_pool_both_classes");
    add<three_threads>("var_slot_pool", "var_slot_pool_three_threads");
    add<larger_if_need_be>("var_slot_pool", "var_slot_pool_larger_if_need_be");
    add<freed_twice>("var_slot_pool", "var_slot_pool_freed_twice");
    add<stale_handle>("var_slot_pool", "var_slot_pool_stale_handle");
    add<killed>("var_slot_pool", "var_slot_pool_killed");
    add<recoverer_killed>("var_slot_pool", "var_slot_pool_recoverer_killed");
    add<killed_in_a_new_slab>("var_slot_pool", "var_slot_pool_killed_in_a_new_slab");
    add<members_in_turn>("var_slot_pool", "var_slot_pool_members_in_turn");
    add<killed_while_joining>("var_slot_pool", "var_slot_pool_killed_while_joining");
    add<attach_while_created>("var_slot_pool", "var_slot_pool_attach_while_created");
    add<created_twice>("var_slot_pool", "var_slot_pool_created_twice");
    add<grows_while_wanted>("var_slot_pool", "var_slot_pool_grows_while_wanted");
    add<sent_from_a_new_slab>("var_slot_pool", "var_slot_pool_sent_from_a_new_slab");
    add<two_growers>("var_slot_pool", "var_slot_pool_two_growers");
    add<grower_killed>("var_slot_pool", "var_slot_pool_grower_killed");
    add<annex>("var_slot_pool", "var_slot_pool_annex");
    add<annex_against_growth>("var_slot_pool", "var_slot_pool_annex_against_growth");
    add<hostile_table>("var_slot_pool", "var_slot_pool_hostile_table");
    return true;
}();

}  // namespace
}  // namespace shm::model
