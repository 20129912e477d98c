// SPDX-License-Identifier: MIT OR Apache-2.0
// Every interleaving of those who make a segment, attach to it, join its table of peers, leave it and die. What lies in its
// blocks has models of its own.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <shm/segment_builder.hpp>

#include "checker/driver/scenario.hpp"
#include "models/segment/memory.hpp"

namespace shm {
inline namespace v1 {

/// Vouches for the deaths that scenarios stage: what the dead did happens before.
template <>
class death_witness<struct scenario_of_segments> {
public:
    static proof_of_death saw(peer_id dead) { return proof_of_death{dead}; }
};

}  // namespace v1

namespace model {
namespace {

using witness = death_witness<struct scenario_of_segments>;

constexpr peer_id victim{1, 1}, successor{1, 2};  // of one id
constexpr peer_id peer(std::size_t number) { return {static_cast<std::uint32_t>(number) + 7, 1}; }

/// What lies in the segment: a number that is written when it is made, and that nothing but the segment publishes.
template <class A>
struct number {
    struct header {
        static constexpr std::uint64_t magic_value = 1;
        typename A::template cell<int> value;
    };
    static constexpr std::size_t required_size() noexcept { return sizeof(header); }
    static result<number> create(region bytes) noexcept {
        header& shared = **bytes.get<header>();
        shared.value.write(42);
        return number{&shared};
    }
    static result<number> attach(region bytes, deadline = {}) noexcept { return number{*bytes.get<header>()}; }

    header* shared;
};

/// A segment with a number, its peers, and data that belongs to who is at a place.
template <class A, std::size_t Peers>
struct segment_and_members {
    using whole = basic_segment<A>;
    segment_memory<whole, Peers, typename number<A>::header> shared;
    std::array<typename A::template cell<int>, Peers> of_place;
    std::array<std::optional<typename whole::member>, Peers> members;

    result<whole> create() {
        return basic_segment_builder<A>{}.peers(Peers).pid_namespace(0).template add<number<A>>("number").create(
            shared.bytes());
    }
    whole attach() { return whole::attach(shared.bytes()).value(); }
    void join(std::size_t number, peer_id me) { members[number].emplace(attach().join(me).value()); }

    /// So many places are nobody's, and each can be had once.
    void are_free(std::size_t count) {
        const whole attached = attach();
        std::array<std::optional<typename whole::member>, Peers + 1> joined;
        for (std::size_t i = 0; i < count; ++i) {
            joined[i].emplace(attached.join(peer(20 + i)).value());
            of_place[joined[i]->number()].write(0);
            check(attached.peer_at(joined[i]->number()) == peer(20 + i));
        }
        check(attached.join(peer(30)).error() == fault{fault_kind::count, Peers, Peers + 1});
    }
};

template <class A, form Form>
struct attach_while_created {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "who can attach finds every block made; who cannot is told that it is not ready";
    segment_and_members<A, 1> all;
    using whole = typename segment_and_members<A, 1>::whole;

    void before() {}
    void thread(unsigned me) {
        if (me == 0) return check(all.create().has_value());
        const auto attached = whole::attach(all.shared.bytes(), Form == form::waits ? deadline::max() : deadline{});
        if (!attached) {
            check(Form == form::tries && attached.error().what == fault_kind::not_ready);
            return;
        }
        check(attached->blocks().size() == 1 && attached->blocks()[0].text() == "number");
        check(attached->template find<number<A>>("number")->shared->value.read() == 42);
        check(attached->template find<number<A>>("other").error().what == fault_kind::no_block);
        check(attached->join(peer(1)).has_value());
    }
    void after() { all.are_free(1); }
};

template <class A>
struct created_twice {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "of two creators exactly one makes the segment";
    segment_and_members<A, 1> all;
    std::array<bool, 2> made{};

    void before() {}
    void thread(unsigned me) {
        const auto created = all.create();
        made[me] = created.has_value();
        if (!created) check(created.error().what == fault_kind::already_created);
    }
    void after() { check(made[0] != made[1]); }
};

template <class A>
struct creator_killed {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a creator that dies leaves the whole segment, or what is not ready";
    segment_and_members<A, 1> all;
    using whole = typename segment_and_members<A, 1>::whole;
    bool made = false;

    void before() {}
    void thread(unsigned me) {
        if (me == 0)
            made = survives([&] { check(all.create().has_value()); });
        else if (const auto attached = whole::attach(all.shared.bytes()))
            check(attached->blocks().size() == 1);
        else
            check(attached.error().what == fault_kind::not_ready);
    }
    void after() {
        const auto attached = whole::attach(all.shared.bytes());
        check(attached ? attached->blocks().size() == 1 : !made && attached.error().what == fault_kind::not_ready);
        const auto again = all.create();  // by one that finds nothing there, or what was begun
        check(again ? !attached : again.error().what == fault_kind::already_created);
    }
};

/// There is a place for each.
template <class A>
struct joined_by_two {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "two that join have a place each";
    segment_and_members<A, 2> all;

    void before() { check(all.create().has_value()); }
    void thread(unsigned me) {
        all.join(me, peer(me));
        all.of_place[all.members[me]->number()].write(1);
    }
    void after() {
        check(all.members[0]->number() != all.members[1]->number());
        check(all.attach().peer_at(all.members[1]->number()) == peer(1));
        all.are_free(0);
    }
};

/// There is one place for two.
template <class A, form Form>
struct in_turn {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who joins sees what was done by who was there, and is there alone";
    segment_and_members<A, 1> all;

    void before() {
        check(all.create().has_value());
        all.of_place[0].write(0);
    }
    void thread(unsigned me) {
        const auto attached = all.attach();
        std::optional<typename basic_segment<A>::member> member;
        const auto joins = [&] {
            auto joined = attached.join(peer(me));
            if (joined) return member.emplace(*std::move(joined)), true;
            check(joined.error() == fault{fault_kind::count, 1, 2});
            return false;
        };
        if (!attempt<Form>(joins)) return;
        all.of_place[0].write(all.of_place[0].read() + 1);
    }
    void after() {
        check(all.of_place[0].read() == 2 || (Form == form::tries && all.of_place[0].read() == 1));
        all.are_free(1);
    }
};

/// One removes a dead peer from the only place that another waits for, who got the dead one's id.
template <class A, form Form>
struct successor_joins {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who joins after a removal sees what the dead and its remover did";
    segment_and_members<A, 2> all;
    bool joined = false;

    void before() {
        check(all.create().has_value());
        all.join(0, victim);
        all.join(1, peer(1));
        all.of_place[0].write(1);  // by the victim; it is dead from now on
    }
    void thread(unsigned me) {
        if (me == 0) {
            all.of_place[0].write(all.of_place[0].read() + 1);  // recovers what was the victim's
            check(all.members[1]->remove(witness::saw(victim)) == 1);
            return;
        }
        const auto attached = all.attach();
        const auto joins = [&] {
            auto member = attached.join(successor);
            if (!member) return false;
            check(member->number() == 0 && member->peer() == successor);
            all.members[0].emplace(*std::move(member));
            return true;
        };
        if (!attempt<Form>(joins)) return;
        check(all.of_place[0].read() == 2);
        joined = true;
    }
    void after() {
        check(joined || Form == form::tries);
        check(all.attach().peer_at(0) == (joined ? successor : peer_id{}));
    }
};

/// Two remove the dead one at a time, and its id is given out again meanwhile.
template <class A>
struct removed_by_two {
    static constexpr unsigned threads = 3;
    static constexpr const char* invariant = "of two that remove a dead peer one does, and its successor stays";
    segment_and_members<A, 3> all;
    std::array<std::uint32_t, 2> removed{};
    std::optional<typename basic_segment<A>::member> born;

    void before() {
        check(all.create().has_value());
        all.join(2, victim);
        all.join(0, peer(0));
        all.join(1, peer(1));
    }
    void thread(unsigned me) {
        if (me < 2) {
            removed[me] = all.members[me]->remove(witness::saw(victim));
            return;
        }
        if (auto joined = all.attach().join(successor)) born.emplace(*std::move(joined));
    }
    void after() {
        check(removed[0] + removed[1] == 1);
        check(all.attach().peer_at(0) == (born ? successor : peer_id{}));
        check(all.attach().peer_at(1) == peer(0) && all.attach().peer_at(2) == peer(1));
        check(all.members[0]->remove(witness::saw(victim)) == 0);
    }
};

/// A process whose two threads have joined is killed; one place is not enough.
template <class A>
struct there_twice {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a dead peer is removed wherever it is, and nobody else is";
    segment_and_members<A, 4> all;

    void before() {
        check(all.create().has_value());
        all.join(0, victim);
        all.join(1, peer(1));
        all.join(2, victim);
    }
    void thread(unsigned me) {
        if (me == 0)
            check(all.members[1]->remove(witness::saw(victim)) == 2);
        else
            all.members[3].emplace(all.attach().join(peer(3)).value());
    }
    void after() {
        check(all.attach().peer_at(1) == peer(1));
        check(all.attach().peer_at(all.members[3]->number()) == peer(3));
        all.are_free(2);
    }
};

/// A thread that is killed at any step, while it joins, is there or leaves.
template <class A>
struct peer_killed {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who dies while it joins or leaves keeps no place once it is removed";
    segment_and_members<A, 2> all;

    void before() {
        check(all.create().has_value());
        all.join(1, peer(1));
    }
    void thread(unsigned me) {
        if (me == 0) {
            const auto attached = all.attach();
            (void)survives([&] {
                auto joined = attached.join(victim);
                if (joined) all.of_place[joined->number()].write(1);
            });
            (void)all.members[1]->remove(witness::saw(victim));
        } else if (const auto joined = all.attach().join(successor)) {
            all.of_place[joined->number()].write(2);
        }
    }
    void after() { all.are_free(1); }
};

/// The one that removes the dead is killed, too.
template <class A>
struct remover_killed {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "who dies while it removes the dead is removed like them, and they with it";
    segment_and_members<A, 3> all;

    void before() {
        check(all.create().has_value());
        all.join(0, victim);
        all.join(1, peer(1));
        all.join(2, peer(2));
    }
    void thread(unsigned me) {
        if (me == 0) {
            if (survives([&] { (void)all.members[1]->remove(witness::saw(victim)); })) return;
            (void)all.members[2]->remove(witness::saw(victim));
            check(all.members[2]->remove(witness::saw(peer(1))) >= 1);
        } else if (const auto joined = all.attach().join(successor)) {
            check(joined->number() < 2);
        }
    }
    void after() {
        all.are_free(all.attach().peer_at(1).valid() ? 1 : 2);
        check(all.attach().peer_at(2) == peer(2));
    }
};

const bool added = [] {
    add<attach_while_created>("segment", "segment_attach_while_created");
    add<created_twice>("segment", "segment_created_twice");
    add<creator_killed>("segment", "segment_creator_killed");
    add<joined_by_two>("segment", "segment_joined_by_two");
    add<in_turn>("segment", "segment_in_turn");
    add<successor_joins>("segment", "segment_successor_joins");
    add<removed_by_two>("segment", "segment_removed_by_two");
    add<there_twice>("segment", "segment_there_twice");
    add<peer_killed>("segment", "segment_peer_killed");
    add<remover_killed>("segment", "segment_remover_killed");
    return true;
}();

}  // namespace
}  // namespace model
}  // namespace shm
