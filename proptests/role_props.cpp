// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/state.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <shm/memfd_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/role.hpp>
#include <shm/spsc_ring.hpp>

#include "testkit/child_process.hpp"
#include "testkit/shared_page.hpp"

namespace {

using shm::fault;
using shm::fault_kind;
using shm::peer_id;
using shm::proof_of_death;

using claims = shm::role<>;
constexpr const char* name = "some role";

/// A few processes that are dead, each with its proof. The properties speak in their names.
const std::vector<proof_of_death>& the_dead() {
    static const std::vector<proof_of_death> proofs = [] {
        std::vector<proof_of_death> all;
        for (int i = 0; i < 4; ++i) all.push_back(dead_child_that([] {}));
        return all;
    }();
    return proofs;
}

template <class Result>
void expect_refused(const Result& outcome, const fault& expected, const std::string& sentence) {
    ASSERT_FALSE(outcome.has_value()) << "expected: " << sentence;
    EXPECT_EQ(outcome.error(), expected) << "found: " << outcome.error().sentence();
    EXPECT_EQ(outcome.error().sentence(), sentence);
}

/// The obvious reference: who holds the role, and who thinks so. Claims are numbered; a number is an incarnation.
struct who_holds {
    std::optional<std::size_t> holder;         // the claim that is in force
    std::map<std::size_t, peer_id> claimants;  // claims that were granted and not yet given up
    std::size_t next = 0;
    std::size_t dead = 0;  // so many of the dead have had their turn

    void grant(peer_id peer) {
        claimants.emplace(next, peer);
        holder = next;
    }
    [[nodiscard]] std::uint64_t word() const { return holder ? claimants.at(*holder).word() : 0; }
    [[nodiscard]] peer_id next_peer() const { return {1, static_cast<std::uint32_t>(next)}; }
};

struct one_role {
    std::atomic<std::uint64_t> word{0};
    std::map<std::size_t, claims> held;

    void check(const shm::result<claims>& outcome, const std::optional<fault>& refusal) {
        RC_ASSERT(outcome.has_value() == !refusal.has_value());
        if (refusal) RC_ASSERT(outcome.error() == *refusal);
    }
};

using call = rc::state::Command<who_holds, one_role>;

struct claim : call {
    bool as_one_who_will_die = *rc::gen::arbitrary<bool>();

    [[nodiscard]] bool dies(const who_holds& state) const {
        return as_one_who_will_die && state.dead < the_dead().size();
    }
    [[nodiscard]] peer_id me(const who_holds& state) const {
        return dies(state) ? the_dead()[state.dead].peer() : state.next_peer();
    }
    void apply(who_holds& state) const override {
        const bool dying = dies(state);
        if (!state.holder) state.grant(me(state));
        ++state.next;
        state.dead += dying;
    }
    void run(const who_holds& state, one_role& role) const override {
        auto outcome = claims::claim(role.word, me(state), name);
        role.check(outcome, state.holder ? std::optional{fault{fault_kind::busy, 0, state.word()}} : std::nullopt);
        if (outcome) role.held.emplace(state.next, *std::move(outcome));
        RC_ASSERT(role.word == (state.holder ? state.word() : me(state).word()));
    }
    void show(std::ostream& out) const override { out << (as_one_who_will_die ? "claim by one who dies" : "claim"); }
};

struct take_over : call {
    std::size_t whose = *rc::gen::inRange<std::size_t>(0, the_dead().size());

    [[nodiscard]] const proof_of_death& proof() const { return the_dead()[whose]; }
    [[nodiscard]] bool granted(const who_holds& state) const { return state.word() == proof().peer().word(); }
    void checkPreconditions(const who_holds& state) const override { RC_PRE(whose < state.dead); }
    void apply(who_holds& state) const override {
        if (granted(state)) state.grant(state.next_peer());
        ++state.next;
    }
    void run(const who_holds& state, one_role& role) const override {
        auto outcome = claims::take_over(role.word, state.next_peer(), proof(), name);
        role.check(outcome, granted(state)
                                ? std::nullopt
                                : std::optional{fault{fault_kind::not_holder, proof().peer().word(), state.word()}});
        if (outcome) role.held.emplace(state.next, *std::move(outcome));
        RC_ASSERT(role.word == (granted(state) ? state.next_peer().word() : state.word()));
    }
    void show(std::ostream& out) const override { out << "take_over from the dead number " << whose; }
};

/// By anybody who was ever granted the role, whether or not somebody has taken it over since.
struct give_up : call {
    std::size_t whose = *rc::gen::inRange<std::size_t>(0, 20);

    void checkPreconditions(const who_holds& state) const override { RC_PRE(state.claimants.contains(whose)); }
    void apply(who_holds& state) const override {
        if (state.holder == whose) state.holder.reset();
        state.claimants.erase(whose);
    }
    void run(const who_holds& state, one_role& role) const override {
        role.held.erase(whose);
        RC_ASSERT(role.word == (state.holder == whose ? 0 : state.word()));
    }
    void show(std::ostream& out) const override { out << "claim number " << whose << " is given up"; }
};

struct move_about : call {
    void run(const who_holds& state, one_role& role) const override {
        for (auto& [number, held] : role.held) {
            claims elsewhere{std::move(held)};
            RC_ASSERT(role.word == state.word());
            held = std::move(elsewhere);
            RC_ASSERT(role.word == state.word());
        }
    }
    void show(std::ostream& out) const override { out << "all are moved away and back"; }
};

TEST(role, any_sequence_of_calls_agrees_with_one_variable) {
    EXPECT_TRUE(rc::check([] {
        one_role role;
        rc::state::check(who_holds{}, role,
                         rc::state::gen::execOneOfWithArgs<claim, take_over, give_up, give_up, move_about>());
        role.held.clear();
        RC_ASSERT(role.word == 0u);
    }));
}

TEST(role, is_given_up_when_another_one_is_assigned_to_it) {
    std::atomic<std::uint64_t> first{0};
    std::atomic<std::uint64_t> second{0};
    auto held = claims::claim(first, {1, 1}, name).value();
    held = claims::claim(second, {1, 1}, name).value();
    EXPECT_EQ(first, 0u);
    EXPECT_EQ(second, (peer_id{1, 1}.word()));
    auto& itself = held;
    held = std::move(itself);
    EXPECT_EQ(second, (peer_id{1, 1}.word()));
}

TEST(role, knows_the_process_that_took_it) {
    std::atomic<std::uint64_t> word{0};
    auto held = claims::claim(word, {1, 1}, name).value();
    EXPECT_TRUE(held.held());
    EXPECT_EQ(held.process(), ::getpid());
    auto moved = std::move(held);
    EXPECT_FALSE(held.held());  // NOLINT(bugprone-use-after-move): that is the point
    EXPECT_TRUE(moved.held());
    EXPECT_EQ(moved.process(), ::getpid());
    moved.keep();
    EXPECT_FALSE(moved.held());
    EXPECT_EQ(word, (peer_id{1, 1}.word())) << "for good";
}

TEST(role, refuses_nobody) {
    std::atomic<std::uint64_t> word{0};
    const fault refusal{fault_kind::peer_id, 1, 0};
    const std::string sentence = "some role: expected an id of at least 1, found 0";
    expect_refused(claims::claim(word, {0, 7}, name), refusal, sentence);
    expect_refused(claims::take_over(word, {0, 7}, the_dead()[0], name), refusal, sentence);
    EXPECT_EQ(word, 0u);
}

TEST(role, refuses_a_second_holder) {
    std::atomic<std::uint64_t> word{0};
    const auto held = claims::claim(word, {7, 9}, name).value();
    expect_refused(claims::claim(word, {7, 10}, name), {fault_kind::busy, 0, (peer_id{7, 9}.word())},
                   "some role: expected nobody, found peer 7 (incarnation 9)");
}

TEST(role, refuses_a_proof_of_somebody_elses_death) {
    std::atomic<std::uint64_t> word{0};
    const peer_id dead = the_dead()[0].peer();
    const std::string expected = "some role: expected the dead peer " + std::to_string(dead.id) + " (incarnation " +
                                 std::to_string(dead.incarnation) + "), found ";
    expect_refused(claims::take_over(word, {1, 1}, the_dead()[0], name), {fault_kind::not_holder, dead.word(), 0},
                   expected + "nobody");
    const peer_id successor{dead.id, dead.incarnation + 1};
    const auto held = claims::claim(word, successor, name).value();
    expect_refused(claims::take_over(word, {1, 1}, the_dead()[0], name),
                   {fault_kind::not_holder, dead.word(), successor.word()},
                   expected + "peer " + std::to_string(successor.id) + " (incarnation " +
                       std::to_string(successor.incarnation) + ")");
}

using ring_u64 = shm::spsc_ring<std::uint64_t>;

using shared_bytes = shared_page<std::array<std::byte, ring_u64::required_size(8)>>;
shm::region region_of(const shared_bytes& bytes, shm::access allowed = shm::access::read_write) {
    return {bytes->data(), bytes->size(), allowed};
}

TEST(roles_of_a_ring, stay_with_the_process_that_took_them) {
    auto memory = shm::memfd_region::create(shm::spsc_ring<int>::required_size(2)).value();
    const auto ring = shm::spsc_ring<int>::create(memory.region(), 2).value();
    std::optional producer{ring.claim_producer({1, 1}).value()};
    child_process child([&] { return producer.reset(), 0; });
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_EQ(ring.status().producer, (shm::peer_id{1, 1})) << "the child has given up its parent's role";
    producer.reset();
    EXPECT_FALSE(ring.status().producer.valid());
}

TEST(roles_of_a_ring, are_taken_over_from_a_dead_process_where_it_left_off) {
    const shared_bytes bytes;
    const auto ring = ring_u64::create(region_of(bytes), 8).value();
    const auto dead = dead_child_that([&] {
        auto ends = ring.split(shm::this_process().value()).value();
        for (std::uint64_t i = 0; i < 5; ++i) (void)ends.first.try_push(i);
        for (auto& slot : ends.first.reserve(3)) slot.write(99);
        for (std::uint64_t i = 0; i < 2; ++i) (void)ends.second.try_pop();
        (void)ends.second.peek(2);
        _exit(0);
    });
    EXPECT_EQ(ring.status().producer, dead.peer());
    EXPECT_EQ(ring.status().consumer, dead.peer());
    const fault busy{fault_kind::busy, 0, dead.peer().word()};
    EXPECT_EQ(ring.claim_producer({1, 1}).error(), busy);
    EXPECT_EQ(ring.claim_consumer({1, 1}).error(), busy);

    auto producer = ring.take_over_producer({1, 1}, dead).value();
    auto consumer = ring.take_over_consumer({1, 2}, dead).value();
    EXPECT_EQ(producer.try_push(5), shm::push_result::pushed);
    for (std::uint64_t i = 2; i < 6; ++i) EXPECT_EQ(consumer.try_pop(), i);
    EXPECT_FALSE(consumer.try_pop().has_value());

    const fault too_late{fault_kind::not_holder, dead.peer().word(), (peer_id{1, 1}.word())};
    expect_refused(ring.take_over_producer({2, 2}, dead), too_late,
                   "producer role: expected the dead peer " + std::to_string(dead.peer().id) + " (incarnation " +
                       std::to_string(dead.peer().incarnation) + "), found peer 1 (incarnation 1)");
    EXPECT_EQ(ring.take_over_consumer({2, 2}, dead).error().found, (peer_id{1, 2}.word()));
}

TEST(roles_of_a_ring, are_taken_over_only_to_write_and_only_by_somebody) {
    const shared_bytes bytes;
    const auto ring = ring_u64::create(region_of(bytes), 8).value();
    const auto observer = ring_u64::attach(region_of(bytes, shm::access::read_only)).value();
    const auto& dead = the_dead()[0];
    const fault denied{fault_kind::access_denied, 1, 0};
    expect_refused(observer.take_over_producer({1, 1}, dead), denied,
                   "producer role: expected a writable mapping, found a read-only one");
    expect_refused(observer.take_over_consumer({1, 1}, dead), denied,
                   "consumer role: expected a writable mapping, found a read-only one");
    const fault nobody{fault_kind::peer_id, 1, 0};
    expect_refused(ring.take_over_producer({0, 1}, dead), nobody,
                   "producer role: expected an id of at least 1, found 0");
    expect_refused(ring.take_over_consumer({0, 1}, dead), nobody,
                   "consumer role: expected an id of at least 1, found 0");
}

TEST(roles_of_a_ring, are_free_when_what_they_guard_turns_out_to_be_nonsense) {
    const shared_bytes bytes;
    const auto ring = ring_u64::create(region_of(bytes), 8).value();
    const auto dead = dead_child_that([&] {
        const auto ends = ring.split(shm::this_process().value()).value();
        *reinterpret_cast<std::uint64_t*>(bytes->data()) = 100;
        _exit(0);
    });
    const fault apart{fault_kind::positions, 8, 100};
    expect_refused(ring.take_over_producer({1, 1}, dead), apart, "positions: expected at most 8 apart, found 100");
    expect_refused(ring.take_over_consumer({1, 1}, dead), apart, "positions: expected at most 8 apart, found 100");
    EXPECT_FALSE(ring.status().producer.valid());
    EXPECT_FALSE(ring.status().consumer.valid());
}

}  // namespace
