// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <shm/memfd_region.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/treiber_slab.hpp>

#include "testkit/child_process.hpp"
#include "testkit/guarded_bytes.hpp"
#include "testkit/sparse_bytes.hpp"
#include "testkit/staged_death.hpp"
#include "testkit/words.hpp"

namespace {

using shm::alloc_status;
using shm::fault;
using shm::fault_kind;
using shm::peer_id;
using shm::slot_error;
using shm::slot_handle;
using shm::slot_state;
using shm::slot_word;
using errors = shm::slot_error::kind;
using slab = shm::treiber_slab<>;
using raw_slab = shm::treiber_slab_raw<>;
using kernel_of_tests = shm::death_witness<struct shm::scenario>;

constexpr std::uint32_t none = (1U << 24) - 1;  // in place of an index
constexpr std::uint64_t last_generation = (1ULL << 40) - 1;
constexpr peer_id somebody{1, 1}, somebody_else{2, 1};

constexpr std::size_t header_bytes = 128, member_bytes = 64;
constexpr std::size_t slot_size_offset = 80, slot_alignment_offset = 88, slot_count_offset = 92,
                      member_count_offset = 96, state_offset = 104;

static_assert(slab::required_size({.slot_count = 3, .slot_size = 100, .member_count = 2}) == 128 + 2 * 64 + 64 + 384);
static_assert(raw_slab::max_slots == none && raw_slab::max_members == 255 && raw_slab::max_alignment == 4096);

/// Ends the life of a member as a kill does: nothing of it runs again.
template <class Member>
void dies(std::optional<Member>& member) {
    alignas(Member) std::array<std::byte, sizeof(Member)> grave;
    new (grave.data()) Member{std::move(*member)};
    member.reset();
}

template <class Slab>
[[nodiscard]] std::vector<slot_handle> all_that_is_free(typename Slab::member& member) {
    std::vector<slot_handle> had;
    while (const auto taken = member.try_alloc()) had.push_back(*taken);
    return had;
}

/// What a slab says and does, without any of its means.
class reference {
public:
    struct slot {
        std::uint64_t generation;
        slot_state state = slot_state::free;
        unsigned owner = 0;  // a member's number
    };
    struct entry {
        peer_id holder;
        unsigned member = 0;
    };

    reference(std::uint32_t slots, std::uint32_t members, std::uint64_t first_generation)
        : slots_(slots, slot{first_generation}), entries_(members) {
        for (std::uint32_t i = slots; i-- != 0;) free_.push_back(i);
    }

    [[nodiscard]] std::optional<slot_handle> try_alloc(unsigned who) {
        if (free_.empty()) return std::nullopt;
        const std::uint32_t index = free_.back();
        free_.pop_back();
        slots_[index] = {slots_[index].generation, slot_state::allocated, who};
        return slot_handle{index, slots_[index].generation};
    }
    [[nodiscard]] std::optional<slot_error> change(unsigned who, slot_handle handle, slot_state from, slot_state to) {
        const std::uint32_t index = handle.index();
        if (index >= slots_.size()) return slot_error{errors::invalid_index, slots_.size(), index};
        slot& of = slots_[index];
        if (of.generation != handle.generation())
            return slot_error{errors::generation_mismatch, handle.generation(), of.generation};
        if (of.state != from) return slot_error{errors::invalid_state, std::uint64_t(from), std::uint64_t(of.state)};
        if (to == slot_state::free) return give_back(index), std::nullopt;
        if (to == slot_state::allocated) of.owner = who;
        of.state = to;
        return std::nullopt;
    }
    [[nodiscard]] std::optional<std::size_t> join(peer_id peer, unsigned who) {
        for (std::size_t i = 0; i < entries_.size(); ++i)
            if (!entries_[i].holder.valid()) return entries_[i] = {peer, who}, i;
        return std::nullopt;
    }
    void leave(unsigned who) {
        const auto owns = [&](const slot& of) { return of.state == slot_state::allocated && of.owner == who; };
        if (std::any_of(slots_.begin(), slots_.end(), owns)) return;
        for (entry& of : entries_)
            if (of.member == who) of = {};
    }
    /// Slots come back entry by entry, in the order of their indices.
    [[nodiscard]] shm::reclaimed reclaim(peer_id dead, bool all_sent_is_lost) {
        shm::reclaimed done;
        for (entry& of : entries_) {
            if (of.holder != dead) continue;
            const std::uint32_t in_flight_before = done.in_flight;
            for (std::uint32_t i = 0; i < slots_.size(); ++i) {
                if (slots_[i].owner != of.member || slots_[i].state == slot_state::free) continue;
                const bool stays = slots_[i].state == slot_state::in_flight && !all_sent_is_lost;
                ++(stays ? done.in_flight : done.returned);
                if (!stays) give_back(i);
            }
            if (done.in_flight == in_flight_before) of = {};
        }
        return done;
    }

    [[nodiscard]] const std::vector<slot>& slots() const { return slots_; }
    [[nodiscard]] std::size_t free_count() const { return free_.size(); }
    [[nodiscard]] std::size_t entries_of(peer_id peer) const {
        return static_cast<std::size_t>(
            std::count_if(entries_.begin(), entries_.end(), [&](const entry& of) { return of.holder == peer; }));
    }

private:
    void give_back(std::uint32_t index) {
        const std::uint64_t ended = slots_[index].generation;
        slots_[index] = {ended == last_generation ? 1 : ended + 1};
        free_.push_back(index);
    }

    std::vector<slot> slots_;
    std::vector<std::uint32_t> free_;  // the last one is on top
    std::vector<entry> entries_;
};

/// A slab over guarded bytes, whose words can be made to say anything.
struct tested_slab {
    explicit tested_slab(shm::slab_shape of) : shape{of}, bytes{slab::required_size(of)} {}

    [[nodiscard]] auto& header() const { return made.inner().shared(); }
    [[nodiscard]] auto& slot(std::uint32_t index) const { return made.inner().slot(index); }
    [[nodiscard]] slab::entry& entry(std::size_t index) const {
        return *bytes.region().get<slab::entry>(header_bytes + index * member_bytes).value();
    }
    [[nodiscard]] slab::member join(peer_id peer) const { return made.join(peer).value(); }

    /// Fills all that lies behind the last slot's words with what would be such words if there were more slots.
    void let_more_slots_lie_behind(slot_word word, std::uint32_t next) const {
        const std::uint64_t lies_there[2]{word.word(), next};
        std::byte* at =
            bytes.data() + header_bytes + shape.member_count * member_bytes + shape.slot_count * sizeof(slab::meta);
        for (; at < bytes.data() + bytes.size_bytes(); at += sizeof lies_there)
            std::memcpy(at, lies_there, sizeof lies_there);
    }

    shm::slab_shape shape;
    guarded_bytes bytes;
    slab made = slab::create(bytes.region(), shape).value();
};

TEST(treiber_slab, any_calls_of_any_members_agree_with_a_map_of_states) {
    EXPECT_TRUE(rc::check([] {
        const auto slots = *rc::gen::inRange<std::uint32_t>(1, 6);
        const auto entries = *rc::gen::inRange<std::uint32_t>(1, 5);
        const auto first_generation =
            *rc::gen::element<std::uint64_t>(1, (1ULL << 32) - 1, 1ULL << 32, last_generation - 1, last_generation);
        tested_slab tested{{slots, 8, 8, entries}};
        tested.header().head.store(std::uint64_t(*rc::gen::inRange(0, 3)) * ((1ULL << 40) - 2) << 24);
        for (std::uint32_t i = 0; i < slots; ++i)
            tested.slot(i).word.store(slot_word{first_generation, {}, slot_state::free}.word());
        for (std::uint32_t i = 0; i < entries; ++i)
            tested.entry(i).incarnation.store(*rc::gen::element<std::uint32_t>(0, 16382, 16383));
        reference expected{slots, entries, first_generation};

        // Two processes, each of a few threads. One that has died is followed by another incarnation.
        struct joined {
            peer_id peer;
            unsigned number;
            std::optional<slab::member> member;
        };
        std::vector<joined> members;
        unsigned joins = 0;
        std::array<peer_id, 2> living{peer_id{1, 1}, peer_id{2, 1}};
        std::set<std::uint64_t> dead;
        std::vector<slot_handle> seen{{}, {slots, 1}, {0, 0}, {none, last_generation}};
        std::map<std::uint64_t, std::uint64_t> contents;  // of what is allocated or in flight, by handle

        for (const int call : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 16))) {
            const auto process = *rc::gen::inRange<std::size_t>(0, living.size());
            if (call == 0 || members.empty()) {
                const auto place = expected.join(living[process], ++joins);
                auto member = tested.made.join(living[process]);
                RC_ASSERT(member.has_value() == place.has_value());
                if (!place) {
                    RC_ASSERT(member.error() == (fault{fault_kind::count, entries, entries + 1}));
                    continue;
                }
                RC_ASSERT(member->owner().entry == *place);
                RC_ASSERT(member->owner().incarnation >= 1 && member->owner().incarnation <= 16383);
                members.push_back({living[process], joins, *std::move(member)});
                continue;
            }
            const auto who = *rc::gen::inRange<std::size_t>(0, members.size());
            auto& [peer, number, optional_member] = members[who];
            slab::member& member = *optional_member;
            if (call == 1) {
                expected.leave(number);
                members.erase(members.begin() + static_cast<std::ptrdiff_t>(who));
                continue;
            }
            if (call == 2) {  // the whole process
                const peer_id gone = living[process];
                dead.insert(gone.word());
                ++living[process].incarnation;
                for (auto& each : members)
                    if (each.peer == gone) dies(each.member);
                std::erase_if(members, [&](const joined& each) { return each.peer == gone; });
                continue;
            }
            if (call == 3 || call == 4) {
                const auto all_lost = *rc::gen::arbitrary<bool>();
                for (const std::uint64_t each : dead) {
                    const peer_id gone = peer_id::from_word(each);
                    const auto wanted = expected.reclaim(gone, all_lost);
                    const auto found =
                        member.reclaim(kernel_of_tests::saw(gone), [&](slot_handle) { return all_lost; });
                    RC_ASSERT(found.has_value() && found->complete);
                    RC_ASSERT(found->returned == wanted.returned && found->in_flight == wanted.in_flight);
                }
                std::erase_if(contents, [&](const auto& each) {
                    const auto handle = slot_handle::from_word(each.first);
                    return expected.slots()[handle.index()].generation != handle.generation();
                });
            } else if (call < 9) {
                const auto wanted = expected.try_alloc(number);
                const auto taken = member.try_alloc();
                RC_ASSERT(taken.status() == (wanted ? alloc_status::allocated : alloc_status::would_block));
                if (!wanted) continue;
                RC_ASSERT(*taken == *wanted);
                seen.push_back(*taken);
                for (const unsigned bit : {31U, 32U, 39U})  // a generation that differs in one bit is another one
                    seen.emplace_back((*taken).index(), (*taken).generation() ^ 1ULL << bit);
                const std::uint64_t value = contents[(*taken).word()] = *rc::gen::arbitrary<std::uint64_t>();
                std::memcpy(tested.made.data(*taken).data(), &value, sizeof value);
            } else {
                const auto handle = seen[*rc::gen::inRange<std::size_t>(0, seen.size())];
                const auto same = [&](const auto& found, const std::optional<slot_error>& wanted) {
                    RC_ASSERT(found.has_value() == !wanted);
                    if (wanted) RC_ASSERT(found.error() == *wanted);
                    return !wanted;
                };
                using enum slot_state;
                if (call < 11) {
                    same(member.mark_in_flight(handle), expected.change(number, handle, allocated, in_flight));
                } else if (call == 11) {
                    same(member.adopt(handle), expected.change(number, handle, in_flight, allocated));
                } else if (call < 14) {
                    if (same(member.free_allocated(handle), expected.change(number, handle, allocated, free)))
                        contents.erase(handle.word());
                } else if (same(member.free(handle), expected.change(number, handle, in_flight, free))) {
                    contents.erase(handle.word());
                }
            }
            RC_ASSERT(tested.made.free_count_approx() == expected.free_count());
            for (const auto& [word, value] : contents) {
                std::uint64_t found = 0;
                std::memcpy(&found, tested.made.data(slot_handle::from_word(word)).data(), sizeof found);
                RC_ASSERT(found == value);
            }
            RC_ASSERT(std::none_of(members.begin(), members.end(),
                                   [](const joined& each) { return each.member->corrupt(); }));
        }
        RC_ASSERT(tested.bytes.untouched());
    }));
}

class a_slab : public testing::Test {
protected:
    [[nodiscard]] tested_slab of(std::uint32_t slots, std::uint32_t members = 3) const {
        return tested_slab{{.slot_count = slots, .slot_size = 64, .member_count = members}};
    }
    template <class Outcome>
    void expect_error(const Outcome& outcome, const slot_error& expected, const std::string& sentence) {
        ASSERT_FALSE(outcome.has_value()) << "expected: " << sentence;
        EXPECT_EQ(outcome.error(), expected) << "found: " << outcome.error().sentence();
        EXPECT_EQ(outcome.error().sentence(), sentence);
    }
    template <class Outcome>
    void expect_fault(const Outcome& outcome, const fault& expected, const std::string& sentence) {
        ASSERT_FALSE(outcome.has_value()) << "expected: " << sentence;
        EXPECT_EQ(outcome.error(), expected) << "found: " << outcome.error().sentence();
        EXPECT_EQ(outcome.error().sentence(), sentence);
    }
    /// Each slot can be had, once.
    static void expect_all_free(const tested_slab& tested, slab::member& member) {
        std::set<std::uint32_t> had;
        for (const slot_handle each : all_that_is_free<slab>(member)) had.insert(each.index());
        EXPECT_EQ(had.size(), tested.shape.slot_count);
        EXPECT_FALSE(member.corrupt());
        EXPECT_TRUE(tested.bytes.untouched());
    }
};

TEST_F(a_slab, says_what_is_wrong_with_a_handle) {
    auto tested = of(3);
    auto member = tested.join(somebody);
    const slot_handle handle = *member.try_alloc();
    const slot_handle beyond{3, 1}, early{0, 7};
    const std::string index = "slot index: expected less than 3, found 3";
    const std::string generation = "slot generation: expected 7, found 1";
    for (const auto call :
         {&slab::member::mark_in_flight, &slab::member::adopt, &slab::member::free, &slab::member::free_allocated}) {
        expect_error((member.*call)(beyond), {errors::invalid_index, 3, 3}, index);
        expect_error((member.*call)(early), {errors::generation_mismatch, 7, 1}, generation);
        expect_error((member.*call)(slot_handle{}), {errors::generation_mismatch, 0, 1},
                     "slot generation: expected 0, found 1");
    }
    constexpr std::uint64_t free = 0, allocated = 1, in_flight = 2;
    expect_error(member.free(handle), {errors::invalid_state, in_flight, allocated},
                 "slot state: expected in flight, found allocated");
    expect_error(member.adopt(handle), {errors::invalid_state, in_flight, allocated},
                 "slot state: expected in flight, found allocated");
    member.mark_in_flight(handle).value();
    expect_error(member.free_allocated(handle), {errors::invalid_state, allocated, in_flight},
                 "slot state: expected allocated, found in flight");
    expect_error(member.mark_in_flight(handle), {errors::invalid_state, allocated, in_flight},
                 "slot state: expected allocated, found in flight");
    expect_error(member.free_allocated(slot_handle{1, 1}), {errors::invalid_state, allocated, free},
                 "slot state: expected allocated, found free");
    tested.slot(1).word.store(slot_word{1, {}, slot_state{3}}.word());
    expect_error(member.free(slot_handle{1, 1}), {errors::invalid_state, in_flight, 3},
                 "slot state: expected in flight, found no such state (3)");
    member.free(handle).value();
    expect_error(member.free(handle), {errors::generation_mismatch, 1, 2}, "slot generation: expected 1, found 2");
}

/// All 40 bits of a generation count, wherever one is compared; so do the 14 of an incarnation.
TEST_F(a_slab, refuses_a_handle_whose_generation_differs_in_any_one_bit) {
    for (unsigned bit = 0; bit < slot_handle::generation_bits; ++bit) {
        auto tested = of(2);
        const std::uint64_t generation = (1ULL << 40) - 2, other = generation ^ 1ULL << bit;
        tested.slot(0).word.store(slot_word{generation, {}, slot_state::free}.word());
        auto member = tested.join(somebody);
        const slot_handle handle = *member.try_alloc();
        ASSERT_EQ(handle.generation(), generation);
        for (const bool sent : {false, true}) {
            if (sent) member.mark_in_flight(handle).value();
            for (const auto call : {&slab::member::mark_in_flight, &slab::member::adopt, &slab::member::free,
                                    &slab::member::free_allocated})
                EXPECT_EQ((member.*call)({0, other}).error(),
                          (slot_error{errors::generation_mismatch, other, generation}));
        }
        EXPECT_FALSE(tested.slot(0).check_generation(other));
        member.free(handle).value();
    }
}

TEST_F(a_slab, gives_back_for_the_dead_what_it_named_in_that_very_generation_and_incarnation) {
    for (const bool taking : {true, false})
        for (unsigned bit = 0; bit < slot_handle::generation_bits; ++bit) {
            auto tested = of(2);
            std::optional<slab::member> dying{tested.join(somebody)};
            auto survivor = tested.join(somebody_else);
            (void)*dying->try_alloc();
            const slot_handle named{0, 1ULL << 33};  // and somebody else's slot is off the list in another generation
            (taking ? tested.entry(0).taking : tested.entry(0).giving).store(named.word());
            tested.slot(0).word.store(
                slot_word{named.generation() ^ 1ULL << bit, dying->owner(), slot_state::free}.word());
            dies(dying);
            EXPECT_EQ(survivor.reclaim(kernel_of_tests::saw(somebody))->returned, 0U) << "bit " << bit;
        }
    for (unsigned bit = 0; bit < 14; ++bit) {
        auto tested = of(2);
        tested.entry(0).incarnation.store(0x2aaa);
        std::optional<slab::member> dying{tested.join(somebody)};
        auto survivor = tested.join(somebody_else);
        const slot_handle taken = *dying->try_alloc();
        shm::slot_owner other = dying->owner();
        other.incarnation ^= static_cast<std::uint16_t>(1U << bit);
        tested.slot(0).word.store(slot_word{taken.generation(), other, slot_state::allocated}.word());
        EXPECT_EQ((*dying->try_alloc()).index(), 1U);
        dies(dying);
        EXPECT_EQ(survivor.reclaim(kernel_of_tests::saw(somebody))->returned, 1U) << "bit " << bit;
        EXPECT_EQ(tested.slot(0).state(), slot_state::allocated) << "bit " << bit;
    }
}

TEST_F(a_slab, every_kind_of_error_has_a_sentence_with_both_values) {
    for (const auto kind : {errors::invalid_index, errors::generation_mismatch, errors::contended, errors::corrupt,
                            errors::wrong_process, static_cast<errors>(99)}) {
        const std::string sentence = slot_error{kind, 1234, 5678}.sentence();
        EXPECT_NE(sentence.find("expected "), std::string::npos) << sentence;
        EXPECT_NE(sentence.find("1234"), std::string::npos) << sentence;
        EXPECT_NE(sentence.find("found "), std::string::npos) << sentence;
        if (kind != errors::contended) {
            EXPECT_NE(sentence.find("5678"), std::string::npos) << sentence;
        }
    }
}

TEST_F(a_slab, a_value_of_an_error_dies_with_its_sentence) {
    const shm::result<void, slot_error> refused = slot_error{errors::generation_mismatch, 7, 8};
    EXPECT_EXIT(refused.value(), testing::KilledBySignal(SIGABRT), "^slot generation: expected 7, found 8");
}

TEST_F(a_slab, gives_what_was_given_back_last) {
    auto tested = of(3);
    auto member = tested.join(somebody);
    const std::array had{*member.try_alloc(), *member.try_alloc(), *member.try_alloc()};
    EXPECT_EQ(had[0].index(), 0u);
    EXPECT_EQ(had[2].index(), 2u);
    EXPECT_EQ(member.try_alloc().status(), alloc_status::would_block);
    EXPECT_EQ(*member.try_alloc(), slot_handle{}) << "a refusal's handle is one of nothing";
    for (const std::size_t each : {1u, 0u, 2u}) member.free_allocated(had.at(each)).value();
    for (const std::uint32_t each : {2u, 0u, 1u}) EXPECT_EQ(*member.try_alloc(), (slot_handle{each, 2}));
}

TEST_F(a_slab, counts_that_wrap_are_counts_like_others) {
    auto tested = of(2);
    tested.slot(0).word.store(slot_word{last_generation, {}, slot_state::free}.word());
    tested.header().head.store(((1ULL << 40) - 1) << 24);
    tested.entry(0).incarnation.store(16383);
    auto member = tested.join(somebody);
    EXPECT_EQ(member.owner(), (shm::slot_owner{0, 1}));
    const slot_handle last = *member.try_alloc();
    EXPECT_EQ(last, (slot_handle{0, last_generation}));
    EXPECT_EQ(tested.header().head.load(), 1u) << "slot 1, and a tag that has gone on to 0";
    member.free_allocated(last).value();
    EXPECT_EQ(*member.try_alloc(), (slot_handle{0, 1})) << "never the generation of nothing";
    expect_error(member.free_allocated(last), {errors::generation_mismatch, last_generation, 1},
                 "slot generation: expected 1099511627775, found 1");
}

TEST_F(a_slab, aligns_slots_as_asked) {
    for (std::uint32_t alignment = 8; alignment <= 4096; alignment *= 2)
        for (const std::uint64_t size : {1u, 8u, 100u, 4096u}) {
            const tested_slab tested{
                {.slot_count = 3, .slot_size = size, .slot_alignment = alignment, .member_count = 1}};
            auto member = tested.join(somebody);
            const std::uint64_t rounded = (size + alignment - 1) / alignment * alignment;
            ASSERT_EQ(tested.made.slot_size(), rounded);
            ASSERT_EQ(slab::attach(tested.bytes.region())->slot_size(), rounded);
            const std::byte* before = nullptr;
            while (const auto taken = member.try_alloc()) {
                const auto data = tested.made.data(*taken);
                ASSERT_EQ(data.size(), rounded);
                ASSERT_EQ(reinterpret_cast<std::uintptr_t>(data.data()) % alignment, 0u) << size << ' ' << alignment;
                ASSERT_TRUE(before == nullptr || data.data() == before + rounded);
                std::memset(data.data(), 0xff, data.size());
                before = data.data();
            }
            ASSERT_EQ(before + rounded, tested.bytes.data() + tested.bytes.size_bytes());
            ASSERT_TRUE(tested.bytes.untouched());
            ASSERT_EQ(tested.made.free_count_approx(), 0u);
            ASSERT_TRUE(tested.made.data({3, 1}).empty());
            ASSERT_TRUE(tested.made.data({none, 1}).empty());
        }
}

TEST(a_slab_above_4_GiB, has_all_of_its_slots_apart) {
    constexpr shm::slab_shape shape{.slot_count = 3, .slot_size = (3ULL << 30) + 64, .member_count = 1};
    const sparse_bytes bytes{slab::required_size(shape)};
    const auto made = slab::create(bytes.region(), shape).value();
    const auto attached = slab::attach(bytes.region()).value();
    auto member = made.join(somebody).value();
    std::vector<slot_handle> taken;
    while (const auto slot = member.try_alloc()) taken.push_back(*slot);
    ASSERT_EQ(taken.size(), 3U);
    const std::byte* end = bytes.data() + bytes.size_bytes() - 3 * shape.slot_size;
    for (const slot_handle each : taken) {
        const auto data = made.data(each);
        ASSERT_EQ(data.data(), end) << "slots lie side by side";
        ASSERT_EQ(data.size(), shape.slot_size);
        ASSERT_EQ(attached.data(each).data(), data.data());
        ASSERT_EQ(attached.data(each).size(), data.size());
        EXPECT_EQ(data.front(), std::byte{}) << "nobody else's";
        EXPECT_EQ(data.back(), std::byte{}) << "nobody else's";
        data.front() = data.back() = std::byte(each.index() + 1);
        end += shape.slot_size;
    }
    for (const slot_handle each : taken) EXPECT_EQ(attached.data(each).back(), std::byte(each.index() + 1));
    const shm::region short_of_a_byte{bytes.data(), bytes.size_bytes() - 1};
    EXPECT_EQ(slab::attach(short_of_a_byte).error(),
              (fault{fault_kind::too_small, bytes.size_bytes(), bytes.size_bytes() - 1}));
    EXPECT_EQ(slab::attach({bytes.data(), bytes.size_bytes() - (8ULL << 30)}).error().what, fault_kind::too_small);
}

TEST_F(a_slab, refuses_what_no_slab_can_be) {
    const tested_slab elsewhere{{.slot_count = 1, .slot_size = 64}};
    const guarded_bytes bytes{8192};
    const auto create = [&](shm::slab_shape shape) { return slab::create(bytes.region(), shape); };
    expect_fault(create({.slot_count = 0, .slot_size = 8}), {fault_kind::count, none, 0},
                 "slots: expected 1 to 16777215, found 0");
    expect_fault(create({.slot_count = none + 1, .slot_size = 8}), {fault_kind::count, none, none + 1},
                 "slots: expected 1 to 16777215, found 16777216");
    for (const std::uint32_t members : {0u, 256u})
        expect_fault(create({.slot_count = 1, .slot_size = 8, .member_count = members}),
                     {fault_kind::count, 255, members}, "members: expected 1 to 255, found " + std::to_string(members));
    for (const std::uint32_t alignment : {0u, 3u, 96u, 8192u, ~0u})
        expect_fault(create({.slot_count = 1, .slot_size = 8, .slot_alignment = alignment}),
                     {fault_kind::capacity, 4096, alignment},
                     "slot alignment: expected a power of two from 1 to 4096, found " + std::to_string(alignment));
    expect_fault(create({.slot_count = 1, .slot_size = 0}), {fault_kind::element_size, 64, 0},
                 "slot size: expected 64 bytes, found 0");
    EXPECT_EQ(elsewhere.header().state.load(), slab::header::state_ready);
    EXPECT_TRUE(std::all_of(bytes.data(), bytes.data() + 8192, [](std::byte each) { return each == std::byte{}; }));

    // Over memory of one's own the spans say how many, and a size is not rounded.
    auto& header = **bytes.region().get<raw_slab::header>();
    const std::span<raw_slab::entry> members{&elsewhere.entry(0), 1};
    const std::span<raw_slab::meta> slots{&elsewhere.slot(0), 1};
    expect_fault(raw_slab::create(header, members, {slots.data(), std::size_t{none} + 1}, 64, 64),
                 {fault_kind::count, none, none + 1}, "slots: expected 1 to 16777215, found 16777216");
    expect_fault(raw_slab::create(header, members, {slots.data(), std::size_t{1} << 32 | 1}, 64, 64),
                 {fault_kind::count, none, std::size_t{1} << 32 | 1},
                 "slots: expected 1 to 16777215, found 4294967297");
    expect_fault(raw_slab::create(header, {members.data(), 256}, slots, 64, 64), {fault_kind::count, 255, 256},
                 "members: expected 1 to 255, found 256");
    expect_fault(raw_slab::create(header, members, slots, 100, 64), {fault_kind::element_size, 128, 100},
                 "slot size: expected 128 bytes, found 100");
}

TEST_F(a_slab, refuses_bytes_that_do_not_hold_it) {
    constexpr shm::slab_shape shape{.slot_count = 4, .slot_size = 128, .slot_alignment = 128, .member_count = 2};
    constexpr std::size_t needed = slab::required_size(shape);
    const guarded_bytes bytes{needed};
    const shm::region read_only{bytes.data(), needed, shm::access::read_only};
    const std::string size = "region size in bytes: expected at least " + std::to_string(needed) + ", found ";
    for (const std::size_t less : {std::size_t{0}, header_bytes, needed - 1})
        expect_fault(slab::create({bytes.data(), less}, shape), {fault_kind::too_small, needed, less},
                     size + std::to_string(less));
    const guarded_bytes more{needed + 64};
    expect_fault(slab::create({more.data() + 8, needed + 8}, shape), {fault_kind::misaligned, 64, 8},
                 "address: expected a multiple of 64 bytes, found one that is 8 more");
    // The bytes end at a page: one of these two is no multiple of 128.
    const std::size_t odd = reinterpret_cast<std::uintptr_t>(more.data()) % 128 == 0 ? 64 : 0;
    expect_fault(slab::create({more.data() + odd, needed}, shape), {fault_kind::misaligned, 128, 64},
                 "address: expected a multiple of 128 bytes, found one that is 64 more");
    expect_fault(slab::create(read_only, shape), {fault_kind::access_denied, 1, 0},
                 "creator: expected a writable mapping, found a read-only one");
    expect_fault(slab::attach(bytes.region()), {fault_kind::not_ready, 2, 0},
                 "init state: expected 2 (ready), found 0 (nothing there)");
    expect_fault(slab::attach({bytes.data(), header_bytes - 1}), {fault_kind::too_small, 128, 127},
                 "region size in bytes: expected at least 128, found 127");

    ASSERT_TRUE(slab::create(bytes.region(), shape));
    expect_fault(slab::create(bytes.region(), shape), {fault_kind::already_created, 0, 2},
                 "init state: expected 0 (nothing there), found 2 (ready)");
    expect_fault(slab::attach({bytes.data(), needed - 1}), {fault_kind::too_small, needed, needed - 1},
                 size + std::to_string(needed - 1));
    std::memcpy(more.data() + odd, bytes.data(), needed);
    expect_fault(slab::attach({more.data() + odd, needed}), {fault_kind::misaligned, 128, 64},
                 "address: expected a multiple of 128 bytes, found one that is 64 more");
    auto& header = **bytes.region().get<raw_slab::header>();
    const auto attached = slab::attach(bytes.region()).value();
    const std::span<raw_slab::entry> members{bytes.region().get<raw_slab::entry>(header_bytes).value(), 2};
    const std::span<raw_slab::meta> slots{&attached.inner().slot(0), 4};
    EXPECT_TRUE(raw_slab::attach(header, members, slots));
    expect_fault(raw_slab::attach(header, members.first(1), slots), {fault_kind::too_small, 2, 1},
                 "members: expected at least 2, found 1");
    expect_fault(raw_slab::attach(header, members, slots.first(3)), {fault_kind::too_small, 4, 3},
                 "slots: expected at least 4, found 3");

    const auto observer = slab::attach(read_only).value();
    EXPECT_EQ(observer.free_count_approx(), 4u);
    EXPECT_EQ(attached.data({3, 1}).size(), 128u);
    EXPECT_TRUE(observer.data({3, 1}).empty()) << "bytes that only look writable";
    expect_fault(observer.join(somebody), {fault_kind::access_denied, 1, 0},
                 "member: expected a writable mapping, found a read-only one");
    expect_fault(attached.join({0, 5}), {fault_kind::peer_id, 1, 0}, "member: expected an id of at least 1, found 0");
    const auto first = attached.join(somebody).value(), second = attached.join(somebody).value();
    expect_fault(attached.join(somebody_else), {fault_kind::count, 2, 3}, "members: expected 1 to 2, found 3");
    EXPECT_FALSE(shm::spsc_ring<std::uint64_t>::attach(bytes.region()));
}

TEST_F(a_slab, needs_more_than_there_is_where_the_size_overflows) {
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
    const guarded_bytes bytes{4096};
    for (const shm::slab_shape shape :
         {shm::slab_shape{.slot_count = 1, .slot_size = ~0ULL},
          {.slot_count = 1, .slot_size = ~0ULL - 63},
          {.slot_count = 1, .slot_size = ~0ULL - 64},
          {.slot_count = 2, .slot_size = 1ULL << 63},
          {.slot_count = none, .slot_size = 1ULL << 41, .slot_alignment = 4096, .member_count = 255},
          {.slot_count = 1, .slot_size = most - 4096 - 63, .slot_alignment = 4096}}) {
        EXPECT_EQ(slab::required_size(shape), most) << shape.slot_size;
        expect_fault(slab::create(bytes.region(), shape), {fault_kind::too_small, most, 4096},
                     "region size in bytes: expected at least 18446744073709551615, found 4096");
    }
    constexpr std::uint64_t largest = (most - 128 - 64 - 64) / 64 * 64;
    EXPECT_EQ(slab::required_size({.slot_count = 1, .slot_size = largest, .member_count = 1}), 128 + 64 + 64 + largest);
}

TEST_F(a_slab, any_bit_of_the_header_damaged_is_refused_by_name_or_makes_another_slab_that_fits) {
    const tested_slab tested{{.slot_count = 6, .slot_size = 192, .slot_alignment = 64, .member_count = 3}};
    std::vector<std::byte> intact(tested.bytes.data(), tested.bytes.data() + tested.bytes.size_bytes());
    struct described {
        std::size_t offset, size_bytes;
        std::set<fault_kind> refusals;
        bool may_fit;  // a smaller one that could have been asked for
    };
    using enum fault_kind;
    const std::array fields{
        described{64, 8, {magic}, false},
        described{72, 8, {layout_hash}, false},
        described{slot_size_offset, 8, {element_size, too_small}, true},
        described{slot_alignment_offset, 4, {capacity, element_size, misaligned, too_small}, true},
        described{slot_count_offset, 4, {count, too_small}, true},
        described{member_count_offset, 4, {count, too_small}, true},
        described{100, 4, {layout_version}, false},
        described{state_offset, 4, {not_ready, foreign_header}, false},
    };
    for (std::size_t bit = 0; bit < 8 * header_bytes; ++bit) {
        std::memcpy(tested.bytes.data(), intact.data(), intact.size());
        tested.bytes.data()[bit / 8] ^= std::byte(1 << bit % 8);
        const auto field = std::find_if(fields.begin(), fields.end(), [&](const described& each) {
            return bit / 8 >= each.offset && bit / 8 < each.offset + each.size_bytes;
        });
        const auto attached = slab::attach(tested.bytes.region());
        if (!attached) {
            ASSERT_NE(field, fields.end()) << "byte " << bit / 8 << " is relied on by nobody";
            ASSERT_TRUE(field->refusals.contains(attached.error().what)) << bit << attached.error().sentence();
            continue;
        }
        ASSERT_TRUE(field == fields.end() || field->may_fit) << "bit " << bit;
        auto member = attached->join(somebody).value();
        for (int lap = 0; lap < 2; ++lap) {
            const auto had = all_that_is_free<slab>(member);
            ASSERT_LE(had.size(), 6u);
            for (const slot_handle each : had) {
                const auto data = attached->data(each);
                std::memset(data.data(), 0xff, data.size());
                if (!member.corrupt()) member.free_allocated(each).value();
            }
        }
        ASSERT_TRUE(tested.bytes.untouched()) << "bit " << bit;
    }
}

TEST_F(a_slab, takes_nothing_for_ready_that_is_not) {
    const guarded_bytes bytes{4096};
    const auto refusal = [&] { return slab::attach(bytes.region()).error().what; };
    EXPECT_EQ(refusal(), fault_kind::not_ready) << "zero bytes";
    std::memset(bytes.data(), 'x', 4096);
    EXPECT_EQ(refusal(), fault_kind::magic) << "text";
    put_word(bytes.data(), state_offset, std::uint32_t{1});  // being initialised
    EXPECT_EQ(slab::attach(bytes.region(), std::chrono::steady_clock::now() + std::chrono::milliseconds{5}).error(),
              (fault{fault_kind::not_ready, 2, 1}))
        << "what looks like a creator at work";
    using other_widths = shm::treiber_slab<shm::slab_widths{.tag_bits = 32}>;
    const tested_slab tested{{.slot_count = 1, .slot_size = 8}};
    EXPECT_EQ(other_widths::attach(tested.bytes.region()).error().what, fault_kind::layout_hash);
}

TEST_F(a_slab, what_was_moved_from_is_no_second_member) {
    auto tested = of(3);
    auto member = tested.join(somebody);
    const slot_handle kept = *member.try_alloc(), sent = *member.try_alloc();
    member.mark_in_flight(sent).value();
    auto moved = std::move(member);
    // NOLINTBEGIN(bugprone-use-after-move): that is the point
    EXPECT_TRUE(member.corrupt());
    EXPECT_EQ(member.try_alloc().status(), alloc_status::corrupt);
    EXPECT_EQ(member.mark_in_flight(kept).error().what, errors::corrupt);
    EXPECT_EQ(member.adopt(sent).error().what, errors::corrupt);
    EXPECT_EQ(member.free_allocated(kept).error().what, errors::corrupt);
    EXPECT_EQ(member.free(sent).error().what, errors::corrupt);
    EXPECT_EQ(member.reclaim(kernel_of_tests::saw(somebody_else)).error().what, errors::corrupt);
    EXPECT_EQ(member.reclaim_in_flight([](slot_handle) { return true; }).error().what, errors::corrupt);
    // NOLINTEND(bugprone-use-after-move)
    EXPECT_EQ(tested.header().reported_corrupt.load(), 0u);

    auto other = tested.join(somebody_else);
    EXPECT_EQ(other.owner().entry, 1u);
    other = std::move(moved);  // whose entry is given up
    EXPECT_EQ(other.owner().entry, 0u);
    EXPECT_EQ(tested.entry(1).claim.load(), 0u);
    other.free_allocated(kept).value();
    other.free(sent).value();
    member = std::move(other);  // what was moved from can be moved to
    expect_all_free(tested, member);
}

TEST_F(a_slab, gives_up_the_entry_of_who_leaves_with_nothing_and_keeps_that_of_who_owns_a_slot) {
    auto tested = of(2, 2);
    auto survivor = tested.join(somebody_else);
    slot_handle sent;
    {
        auto member = tested.join(somebody);
        EXPECT_EQ(tested.entry(1).claim.load(), somebody.word());
        sent = *member.try_alloc();
        member.mark_in_flight(sent).value();  // its receiver's
    }
    EXPECT_EQ(tested.entry(1).claim.load(), 0u);
    slot_handle left;
    {
        auto member = tested.join(somebody);
        EXPECT_EQ(member.owner(), (shm::slot_owner{1, 2})) << "another incarnation";
        left = *member.try_alloc();
    }
    EXPECT_EQ(tested.made.join({3, 1}).error(), (fault{fault_kind::count, 2, 3}));
    const auto nothing = survivor.reclaim(kernel_of_tests::saw({3, 1})).value();
    EXPECT_TRUE(nothing.complete && nothing.returned == 0 && nothing.in_flight == 0) << "of somebody else's death";
    const auto done = survivor.reclaim(kernel_of_tests::saw(somebody)).value();
    EXPECT_TRUE(done.complete && done.returned == 1 && done.in_flight == 0);
    expect_error(survivor.free_allocated(left), {errors::generation_mismatch, 1, 2},
                 "slot generation: expected 1, found 2");
    EXPECT_TRUE(tested.made.join({3, 1})) << "the entry is free again";
    survivor.free(sent).value();
    expect_all_free(tested, survivor);
}

/// What a member may leave behind between two of its steps, laid by hand; the models kill it at each of them.
TEST_F(a_slab, finds_a_slot_that_was_off_the_list_and_nobodys) {
    for (const bool taking : {true, false})
        for (const bool on_the_list : {true, false}) {
            auto tested = of(3);
            std::optional<slab::member> member{tested.join(somebody)};
            auto survivor = tested.join(somebody_else);
            const std::uint64_t whole = tested.header().head.load();
            slot_handle between = *member->try_alloc();
            if (taking) {  // the head has changed, and the slot's word has not
                tested.slot(0).word.store(slot_word{1, {}, slot_state::free}.word());
            } else {  // the slot's word has changed, and the head has not
                between = {0, 2};
                tested.entry(0).giving.store(between.word());
                tested.slot(0).word.store(slot_word{2, member->owner(), slot_state::free}.word());
            }
            if (on_the_list) tested.header().head.store(whole);  // nor that
            dies(member);
            const auto dead = kernel_of_tests::saw(somebody);
            EXPECT_EQ(survivor.reclaim(dead)->returned, on_the_list ? 0u : 1u);
            EXPECT_EQ(survivor.reclaim(dead)->returned, 0u) << "a second time";
            EXPECT_EQ(tested.entry(0).claim.load(), 0u);
            expect_all_free(tested, survivor);
        }
}

TEST_F(a_slab, an_entry_given_out_again_is_not_its_dead_holders) {
    auto tested = of(2, 2);
    std::optional<slab::member> member{tested.join(somebody)};
    auto survivor = tested.join(somebody_else);
    (void)member->try_alloc();
    dies(member);
    ASSERT_EQ(survivor.reclaim(kernel_of_tests::saw(somebody))->returned, 1u);
    auto successor = tested.join({1, 2});
    EXPECT_EQ(successor.owner(), (shm::slot_owner{0, 2}));
    const slot_handle its = *successor.try_alloc();
    ASSERT_EQ(survivor.reclaim(kernel_of_tests::saw(somebody))->returned, 0u) << "late";
    successor.free_allocated(its).value();
    expect_all_free(tested, survivor);
}

/// The nonsense that a peer may leave in the words, and where it is met.
TEST_F(a_slab, latches_corrupt_at_nonsense) {
    struct nonsense {
        const char* what;
        void (*write)(const tested_slab&);
        std::uint64_t found;  // the index that the error names
        bool met_by_free;
        bool met_by_a_walk;
        unsigned given_before = 0;  // slots that are as they should be
    };
    for (const auto& [what, write, found, met_by_free, met_by_a_walk, given_before] : {
             nonsense{"a head out of range", [](const tested_slab& of) { of.header().head.store(3); }, 3, true, true},
             nonsense{"a head far out of range", [](const tested_slab& of) { of.header().head.store(none - 1); },
                      none - 1, true, true},
             nonsense{"a link out of range", [](const tested_slab& of) { of.slot(0).next.store(3); }, 3, false, true},
             nonsense{"a link far out of range", [](const tested_slab& of) { of.slot(0).next.store(~0U); }, ~0U, false,
                      true},
             nonsense{"a slot that links to itself", [](const tested_slab& of) { of.slot(0).next.store(0); }, 0, false,
                      true, 1},
             nonsense{"a circle", [](const tested_slab& of) { of.slot(1).next.store(0); }, 0, false, true, 2},
             nonsense{
                 "a slot on top that is allocated",
                 [](const tested_slab& of) { of.slot(0).word.store(slot_word{1, {}, slot_state::allocated}.word()); },
                 0, false, false},
             nonsense{
                 "a slot on top that is in flight",
                 [](const tested_slab& of) { of.slot(0).word.store(slot_word{1, {}, slot_state::in_flight}.word()); },
                 0, false, false},
             nonsense{"a slot on top in a state that does not exist",
                      [](const tested_slab& of) { of.slot(0).word.store(slot_word{1, {}, slot_state{3}}.word()); }, 0,
                      false, false},
             nonsense{"a slot on top in generation 0",
                      [](const tested_slab& of) { of.slot(0).word.store(slot_word{0, {}, slot_state::free}.word()); },
                      0, false, false},
             nonsense{
                 "a slot on top in generation 0 with an owner",
                 [](const tested_slab& of) { of.slot(0).word.store(slot_word{0, {1, 1}, slot_state::free}.word()); }, 0,
                 false, false},
         }) {
        SCOPED_TRACE(what);
        const std::string sentence =
            "free list: expected free slots below 3, each once, found " + std::to_string(found);
        {
            auto tested = of(3);
            auto member = tested.join(somebody);
            tested.let_more_slots_lie_behind({1, {}, slot_state::free}, none);
            write(tested);
            unsigned given = 0;
            auto taken = member.try_alloc();
            for (; taken && given < 4; ++given) taken = member.try_alloc();  // a circle is met at its end
            EXPECT_EQ(given, given_before);
            EXPECT_EQ(taken.status(), alloc_status::corrupt);
            EXPECT_TRUE(member.corrupt());
            EXPECT_EQ(tested.header().reported_corrupt.load(), 1u);
            EXPECT_EQ(member.try_alloc().status(), alloc_status::corrupt) << "for ever";
            expect_error(member.free_allocated({0, 1}), {errors::corrupt, 3, found}, sentence);
            expect_error(member.reclaim(kernel_of_tests::saw(somebody_else)), {errors::corrupt, 3, found}, sentence);
            auto other = tested.join(somebody_else);
            EXPECT_FALSE(other.corrupt()) << "each member finds out for itself";
            EXPECT_TRUE(tested.bytes.untouched());
        }
        if (met_by_free) {
            auto tested = of(3);
            auto member = tested.join(somebody);
            const slot_handle handle = *member.try_alloc();
            write(tested);
            expect_error(member.free_allocated(handle), {errors::corrupt, 3, found}, sentence);
            EXPECT_TRUE(member.corrupt());
        }
        if (met_by_a_walk) {
            auto tested = of(3);
            std::optional<slab::member> member{tested.join(somebody)};
            auto survivor = tested.join(somebody_else);
            tested.entry(0).taking.store(slot_handle{2, 1}.word());
            dies(member);
            tested.let_more_slots_lie_behind({1, {}, slot_state::free}, none);
            write(tested);
            ASSERT_FALSE(survivor.reclaim(kernel_of_tests::saw(somebody)).has_value());
            EXPECT_TRUE(survivor.corrupt());
            EXPECT_TRUE(tested.bytes.untouched());
        }
    }
}

/// What lies behind the last slot's words and the last entry may look like one more.
TEST_F(a_slab, counts_asks_for_and_gives_back_no_slot_behind_the_last) {
    auto tested = of(3);
    tested.let_more_slots_lie_behind({1, {}, slot_state::free}, none);
    EXPECT_EQ(tested.made.free_count_approx(), 3U);
    auto survivor = tested.join(somebody_else);
    tested.let_more_slots_lie_behind({1, {}, slot_state::in_flight}, none);
    const auto lost = [](slot_handle) { return true; };
    EXPECT_EQ(survivor.reclaim_in_flight(lost)->returned, 0U);
    EXPECT_EQ(survivor.reclaim_in_flight([](slot_handle) { return false; })->in_flight, 0U);
    {
        auto leaving = tested.join(somebody);
        tested.let_more_slots_lie_behind({1, leaving.owner(), slot_state::allocated}, none);
    }
    EXPECT_EQ(tested.entry(1).claim.load(), 0U) << "it owns nothing, and so it leaves nothing";
    std::optional<slab::member> dying{tested.join(somebody)};
    (void)dying->try_alloc();
    tested.let_more_slots_lie_behind({1, dying->owner(), slot_state::allocated}, none);
    dies(dying);
    EXPECT_EQ(survivor.reclaim(kernel_of_tests::saw(somebody), lost)->returned, 1U);
    expect_all_free(tested, survivor);
}

TEST_F(a_slab, gives_out_and_takes_back_no_entry_behind_the_last) {
    auto tested = of(3, 2);
    auto first = tested.join(somebody), second = tested.join(somebody_else);
    auto& behind_the_last = tested.slot(0).word;  // where the claim of a third entry would be
    behind_the_last.store(0);
    expect_fault(tested.made.join({3, 1}), {fault_kind::count, 2, 3}, "members: expected 1 to 2, found 3");
    EXPECT_EQ(behind_the_last.load(), 0U);
    behind_the_last.store(peer_id{3, 1}.word());
    const auto done = first.reclaim(kernel_of_tests::saw({3, 1})).value();
    EXPECT_TRUE(done.complete && done.returned == 0);
    EXPECT_EQ(behind_the_last.load(), (peer_id{3, 1}.word()));
}

TEST_F(a_slab, counts_what_it_has_given_out_in_40_bits_of_its_head) {
    for (const std::uint64_t tag : {0xffULL, 0xffffULL, 0xffffffULL, 0xffffffffULL, 0x7fffffffffULL, 0xfffffffffeULL}) {
        auto tested = of(3);
        auto member = tested.join(somebody);
        tested.header().head.store(tag << 24);
        const slot_handle taken = *member.try_alloc();
        EXPECT_EQ(tested.header().head.load(), (tag + 1) << 24 | 1);
        member.free_allocated(taken).value();
        EXPECT_EQ(tested.header().head.load(), (tag + 1) << 24) << "which goes on, and not back";
    }
}

TEST_F(a_slab, looks_at_no_slot_that_there_is_not_for_what_the_dead_was_about_to_do) {
    for (const bool taking : {true, false})
        for (const std::uint32_t index : {3U, 4U, none - 1, none}) {
            auto tested = of(3);
            std::optional<slab::member> dying{tested.join(somebody)};
            auto survivor = tested.join(somebody_else);
            (void)dying->try_alloc();
            dies(dying);
            (taking ? tested.entry(0).taking : tested.entry(0).giving).store(slot_handle{index, 1}.word());
            const auto done = survivor.reclaim(kernel_of_tests::saw(somebody)).value();
            EXPECT_TRUE(done.complete && done.returned == 1) << index;
            expect_all_free(tested, survivor);
        }
}

TEST_F(a_slab, latches_corrupt_at_a_slot_of_the_dead_in_generation_0) {
    auto tested = of(3);
    std::optional<slab::member> dying{tested.join(somebody)};
    auto survivor = tested.join(somebody_else);
    (void)dying->try_alloc();
    tested.slot(0).word.store(slot_word{0, dying->owner(), slot_state::allocated}.word());
    dies(dying);
    expect_error(survivor.reclaim(kernel_of_tests::saw(somebody)), {errors::corrupt, 3, 0},
                 "free list: expected free slots below 3, each once, found 0");
    EXPECT_TRUE(survivor.corrupt());
    EXPECT_EQ(tested.slot(0).generation(), 0U) << "nothing was changed";
}

TEST_F(a_slab, who_leaves_corrupt_keeps_its_entry_and_another_one_reclaims) {
    auto tested = of(3, 2);
    {
        auto member = tested.join(somebody);
        (void)member.try_alloc();
        const std::uint64_t head = tested.header().head.exchange(7);
        EXPECT_EQ(member.try_alloc().status(), alloc_status::corrupt);
        tested.header().head.store(head);
    }
    EXPECT_EQ(tested.entry(0).claim.load(), somebody.word());
    auto survivor = tested.join(somebody_else);
    EXPECT_EQ(survivor.reclaim(kernel_of_tests::saw(somebody))->returned, 1u);
    expect_all_free(tested, survivor);
}

TEST_F(a_slab, stays_safe_whatever_a_peer_writes_into_its_words) {
    EXPECT_TRUE(rc::check([] {
        const auto slots = *rc::gen::inRange<std::uint32_t>(1, 5);
        const tested_slab tested{{slots, 64, 64, 3}};
        std::list<slab::member> members;
        std::vector<slot_handle> had{{}};
        const auto words = (header_bytes + 3 * member_bytes + slots * 16) / 8;
        const auto steps = *rc::gen::inRange(0, 60);
        for (int step = 0; step < steps; ++step) {
            const auto where = *rc::gen::element<std::size_t>(0, *rc::gen::inRange<std::size_t>(0, words));
            const auto near = *rc::gen::element<std::uint64_t>(0, 1, slots - 1, slots, slots + 1, none, 1ULL << 31,
                                                               0xffffffff, 1ULL << 24, ~0ULL);
            const auto value = *rc::gen::oneOf(rc::gen::just(near), rc::gen::just(near << 32 | near),
                                               rc::gen::just(slot_word{1, {0, 1}, slot_state(near % 4)}.word()),
                                               rc::gen::arbitrary<std::uint64_t>());
            put_word(tested.bytes.data(), 8 * where, value);
            if (members.empty() || *rc::gen::inRange(0, 6) == 0) {
                auto member = tested.made.join({*rc::gen::inRange<std::uint32_t>(1, 3), 1});
                if (member) members.push_back(*std::move(member));
                continue;
            }
            auto& member = members.front();
            const auto handle = had[*rc::gen::inRange<std::size_t>(0, had.size())];
            switch (*rc::gen::inRange(0, 8)) {
                case 0: (void)member.mark_in_flight(handle); break;
                case 1: (void)member.adopt(handle); break;
                case 2: (void)member.free(handle); break;
                case 3: (void)member.free_allocated(handle); break;
                case 4:  // a death that the peer has forged, too
                    (void)member.reclaim(kernel_of_tests::saw({*rc::gen::inRange<std::uint32_t>(1, 3), 1}),
                                         [](slot_handle sent) { return sent.generation() % 2 == 0; });
                    break;
                case 5: members.pop_front(); break;
                default:
                    if (const auto taken = member.try_alloc()) {
                        RC_ASSERT((*taken).index() < slots);
                        const auto data = tested.made.data(*taken);
                        RC_ASSERT(data.size() == 64u);
                        std::memset(data.data(), 0xff, data.size());
                        had.push_back(*taken);
                    }
            }
            RC_ASSERT(tested.made.free_count_approx() <= slots);
            if (!members.empty() && members.front().corrupt())
                RC_ASSERT(members.front().try_alloc().status() == alloc_status::corrupt);
        }
        members.clear();
        RC_ASSERT(tested.bytes.untouched());
    }));
}

/// std_atomics, where a peer makes the compare-exchanges of chosen words fail.
struct spoilt_atomics : shm::std_atomics {
    static inline const void* spoilt = nullptr;
    static inline unsigned times = 0;

    template <class T>
    struct atomic : std::atomic<T> {
        using std::atomic<T>::atomic;
        bool compare_exchange_strong(T& expected, T desired, std::memory_order success, std::memory_order failure) {
            if (this != spoilt || times == 0)
                return std::atomic<T>::compare_exchange_strong(expected, desired, success, failure);
            --times;
            expected = this->load(failure);
            return false;
        }
    };
};

class a_contended_slab : public testing::Test {
protected:
    static constexpr unsigned attempts = 4;
    using spoilt_slab = shm::treiber_slab<shm::slab_widths{.attempts = attempts}, spoilt_atomics>;
    static constexpr slot_error contended{errors::contended, attempts, 0};

    a_contended_slab() {
        EXPECT_EQ(contended.sentence(), "free list: expected one try of 4 to succeed, found none that did");
    }
    void TearDown() override { spoilt_atomics::times = 0; }
    static void spoil(const void* word, unsigned times) {
        spoilt_atomics::spoilt = word;
        spoilt_atomics::times = times;
    }
    [[nodiscard]] auto* head() const { return &made_.inner().shared().head; }

    const shm::slab_shape shape_{.slot_count = 3, .slot_size = 64, .member_count = 3};
    const guarded_bytes bytes_{spoilt_slab::required_size(shape_)};
    const spoilt_slab made_ = spoilt_slab::create(bytes_.region(), shape_).value();
    spoilt_slab::member member_ = made_.join(somebody).value();
};

TEST_F(a_contended_slab, allocates_as_long_as_one_try_of_all_succeeds) {
    spoil(head(), attempts - 1);
    EXPECT_TRUE(member_.try_alloc().has_value());
    spoil(head(), attempts);
    EXPECT_EQ(member_.try_alloc().status(), alloc_status::contended);
    EXPECT_EQ(spoilt_atomics::times, 0u);
    EXPECT_EQ(all_that_is_free<spoilt_slab>(member_).size(), 2u) << "nothing is lost";
}

TEST_F(a_contended_slab, a_slot_whose_word_somebody_has_changed_is_left_to_him) {
    spoil(&made_.inner().slot(0).word, 1);
    EXPECT_EQ((*member_.try_alloc()).index(), 1u);
    EXPECT_EQ((*member_.try_alloc()).index(), 2u);
    EXPECT_EQ(member_.try_alloc().status(), alloc_status::would_block);
}

TEST_F(a_contended_slab, changes_nothing_where_the_word_is_contended) {
    const slot_handle handle = *member_.try_alloc();
    for (const auto call : {&spoilt_slab::member::mark_in_flight, &spoilt_slab::member::free_allocated}) {
        spoil(&made_.inner().slot(0).word, attempts);
        EXPECT_EQ((member_.*call)(handle).error(), contended);
    }
    EXPECT_EQ(made_.inner().slot(0).state(), slot_state::allocated);
    member_.free_allocated(handle).value();
    EXPECT_EQ(all_that_is_free<spoilt_slab>(member_).size(), 3u);
}

TEST_F(a_contended_slab, finishes_what_is_half_given_back_once) {
    using call = void (*)(spoilt_slab::member&, slot_handle half, slot_handle other);
    for (const call finishing : {
             call{[](auto& member, slot_handle half, slot_handle) { member.free_allocated(half).value(); }},
             call{[](auto& member, slot_handle, slot_handle other) { member.free_allocated(other).value(); }},
             call{[](auto& member, slot_handle half, slot_handle) {
                 const auto taken = member.try_alloc();
                 EXPECT_EQ((*taken).index(), half.index()) << "what was finished is on top";
                 member.free_allocated(*taken).value();
             }},
             call{[](auto& member, slot_handle, slot_handle) {
                 member.reclaim(kernel_of_tests::saw(somebody_else)).value();
             }},
             call{[](auto& member, slot_handle, slot_handle) {
                 EXPECT_EQ(member.reclaim_in_flight([](slot_handle) { return true; })->returned, 0u);
             }},
             call{[](auto& member, slot_handle half, slot_handle) {
                 auto moved = std::move(member);
                 member = std::move(moved);
                 member.free_allocated(half).value();
             }},
         }) {
        const slot_handle half = *member_.try_alloc(), other = *member_.try_alloc();
        spoil(head(), attempts);
        EXPECT_EQ(member_.free_allocated(half).error(), contended);
        EXPECT_EQ(made_.free_count_approx(), 2u) << "freed, and not yet on the list";
        finishing(member_, half, other);
        const auto again = member_.free_allocated(half);
        ASSERT_FALSE(again) << "it was given back";
        EXPECT_EQ(again.error().what, errors::generation_mismatch);
        (void)member_.free_allocated(other);
        const auto had = all_that_is_free<spoilt_slab>(member_);
        EXPECT_EQ(had.size(), 3u);
        for (const slot_handle each : had) member_.free_allocated(each).value();
    }
}

TEST_F(a_contended_slab, what_is_lost_in_flight_is_given_back_where_it_went_on) {
    const auto lost = [](slot_handle) { return true; };
    for (int i = 0; i < 2; ++i) member_.mark_in_flight(*member_.try_alloc()).value();
    spoil(&made_.inner().slot(0).word, attempts);
    EXPECT_EQ(member_.reclaim_in_flight(lost).error(), contended);
    spoil(head(), attempts);
    EXPECT_EQ(member_.reclaim_in_flight(lost).error(), contended);
    EXPECT_EQ(made_.free_count_approx(), 2u) << "one is freed, and not yet on the list";
    EXPECT_EQ(member_.reclaim_in_flight(lost)->returned, 1u);
    EXPECT_EQ(all_that_is_free<spoilt_slab>(member_).size(), 3u);
}

TEST_F(a_contended_slab, who_leaves_or_dies_with_something_half_given_back_is_found) {
    for (const bool leaves : {true, false}) {
        std::optional<spoilt_slab::member> leaving{made_.join(somebody_else).value()};
        const slot_handle half = *leaving->try_alloc();
        spoil(head(), leaves ? 2 * attempts : attempts);
        EXPECT_EQ(leaving->free_allocated(half).error(), contended);
        if (leaves)
            leaving.reset();
        else
            dies(leaving);
        EXPECT_EQ(member_.reclaim(kernel_of_tests::saw(somebody_else))->returned, 1u);
        const auto had = all_that_is_free<spoilt_slab>(member_);
        EXPECT_EQ(had.size(), 3u);
        for (const slot_handle each : had) member_.free_allocated(each).value();
    }
}

TEST_F(a_contended_slab, is_left_alone_by_the_copies_of_a_forked_child) {
    const auto shared = shm::memfd_region::create(spoilt_slab::required_size(shape_)).value();
    const auto made = spoilt_slab::create(shared.region(), shape_).value();
    std::optional member{made.join(somebody).value()};
    const slot_handle half = *member->try_alloc();
    spoil(&made.inner().shared().head, attempts);
    EXPECT_EQ(member->free_allocated(half).error(), contended);
    child_process child([&] { return member.reset(), 0; });
    ASSERT_EQ(child.wait(), exited(0));
    member->free_allocated(half).value();
    EXPECT_EQ(all_that_is_free<spoilt_slab>(*member).size(), 3u) << "each once";
    EXPECT_FALSE(member->corrupt());
}

TEST_F(a_contended_slab, a_reclaim_that_gets_nowhere_says_so_and_goes_on_where_it_was) {
    std::optional<spoilt_slab::member> dying{made_.join(somebody_else).value()};
    (void)dying->try_alloc();
    (void)dying->try_alloc();
    dies(dying);
    const auto dead = kernel_of_tests::saw(somebody_else);
    spoil(head(), attempts);
    const auto first = member_.reclaim(dead).value();
    EXPECT_FALSE(first.complete);
    const auto second = member_.reclaim(dead).value();
    EXPECT_TRUE(second.complete);
    EXPECT_EQ(first.returned + second.returned, 2u);
    EXPECT_EQ(all_that_is_free<spoilt_slab>(member_).size(), 3u);
}

TEST_F(a_contended_slab, a_slot_of_the_dead_whose_word_changes_meanwhile_is_looked_at_again) {
    for (const bool to_the_end : {false, true}) {
        std::optional<spoilt_slab::member> dying{made_.join(somebody_else).value()};
        const std::uint32_t index = (*dying->try_alloc()).index();
        dies(dying);
        const auto dead = kernel_of_tests::saw(somebody_else);
        spoil(&made_.inner().slot(index).word, to_the_end ? attempts : attempts - 1);
        const auto done = member_.reclaim(dead).value();
        EXPECT_EQ(done.returned, to_the_end ? 0U : 1U);
        EXPECT_EQ(done.complete, !to_the_end);
        EXPECT_EQ(spoilt_atomics::times, 0U);
        EXPECT_EQ(member_.reclaim(dead)->returned, to_the_end ? 1U : 0U);
    }
    EXPECT_EQ(all_that_is_free<spoilt_slab>(member_).size(), 3U);
}

TEST_F(a_contended_slab, a_walk_of_a_list_that_never_holds_still_is_given_up) {
    std::optional<spoilt_slab::member> dying{made_.join(somebody_else).value()};
    const slot_handle between = *dying->try_alloc();
    made_.inner().slot(0).word.store(slot_word{between.generation(), {}, slot_state::free}.word());
    dies(dying);
    const auto dead = kernel_of_tests::saw(somebody_else);
    spoil(head(), 1000);
    EXPECT_FALSE(member_.reclaim(dead)->complete);
    EXPECT_GT(spoilt_atomics::times, 900u) << "bounded";
    spoil(head(), 0);
    EXPECT_TRUE(member_.reclaim(dead)->complete);
    EXPECT_EQ(all_that_is_free<spoilt_slab>(member_).size(), 3u);
}

}  // namespace
