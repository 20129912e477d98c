// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <shm/spsc_ring.hpp>

#include "testkit/guarded_bytes.hpp"
#include "testkit/staged_death.hpp"
#include "testkit/test_items.hpp"
#include "testkit/words.hpp"

namespace {

using shm::fault;
using shm::fault_kind;
using shm::peer_id;
using shm::spsc_ring;
using shm::spsc_ring_raw;

constexpr std::size_t header_bytes = 192;
constexpr std::size_t published_offset = 0;
constexpr std::size_t consumed_offset = 64;

template <class Result>
void expect_refused(const Result& outcome, const fault& expected, const std::string& sentence) {
    ASSERT_FALSE(outcome.has_value()) << "expected: " << sentence;
    EXPECT_EQ(outcome.error(), expected) << "found: " << outcome.error().sentence();
    EXPECT_EQ(outcome.error().sentence(), sentence);
}

using ring_u64 = spsc_ring<std::uint64_t>;

/// A ring of 16 u64 and, unless it is to be made by the test, nothing in it.
class refusals : public testing::Test {
protected:
    static constexpr std::size_t needed = header_bytes + 16 * sizeof(std::uint64_t);
    guarded_bytes bytes_{needed};
    const shm::region whole_ = bytes_.region();
    const shm::region read_only_{bytes_.data(), needed, shm::access::read_only};
};

TEST_F(refusals, create_wants_a_region_aligned_to_a_line) {
    expect_refused(ring_u64::create({bytes_.data() + 8, needed - 8}, 8), {fault_kind::misaligned, 64, 8},
                   "address: expected a multiple of 64 bytes, found one that is 8 more");
}

TEST_F(refusals, create_wants_room_for_all_slots) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{100}, header_bytes, needed - 1})
        expect_refused(ring_u64::create({bytes_.data(), size}, 16), {fault_kind::too_small, needed, size},
                       "region size in bytes: expected at least 320, found " + std::to_string(size));
}

TEST_F(refusals, create_says_that_no_region_can_hold_a_size_that_overflows) {
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
    EXPECT_EQ(ring_u64::required_size(most / 8), most);
    EXPECT_EQ(ring_u64::required_size((most - header_bytes) / 8), (most - header_bytes) / 8 * 8 + header_bytes);
    expect_refused(ring_u64::create(whole_, std::size_t{1} << 63), {fault_kind::too_small, most, needed},
                   "region size in bytes: expected at least 18446744073709551615, found 320");
}

TEST_F(refusals, create_wants_to_write) {
    expect_refused(ring_u64::create(read_only_, 16), {fault_kind::access_denied, 1, 0},
                   "creator: expected a writable mapping, found a read-only one");
}

TEST_F(refusals, create_wants_a_capacity_that_is_a_power_of_two_and_that_positions_can_count) {
    for (const std::size_t capacity : {0u, 3u, 6u, 15u})
        expect_refused(ring_u64::create(whole_, capacity), {fault_kind::capacity, std::uint64_t{1} << 31, capacity},
                       "capacity: expected a power of two from 1 to 2147483648, found " + std::to_string(capacity));
    guarded_bytes larger{header_bytes + 256};
    using narrow = spsc_ring<std::uint8_t, std::uint8_t>;
    expect_refused(narrow::create(larger.region(), 256), {fault_kind::capacity, 128, 256},
                   "capacity: expected a power of two from 1 to 128, found 256");
    EXPECT_TRUE(narrow::create(larger.region(), 128).has_value());
}

TEST_F(refusals, create_wants_an_element_whose_size_the_header_can_hold) {
    struct four_gib {
        std::uint8_t bytes[std::uint64_t{1} << 32];
    };
    using ring = spsc_ring_raw<four_gib>;
    auto* const never_touched = reinterpret_cast<ring::slot*>(bytes_.data() + header_bytes);
    expect_refused(ring::create(**whole_.get<ring::header>(), {never_touched, 1}),
                   {fault_kind::element_size, 4294967295, 4294967296},
                   "element size: expected 4294967295 bytes, found 4294967296");
}

TEST_F(refusals, create_finds_what_somebody_has_created_or_begun) {
    ASSERT_TRUE(ring_u64::create(whole_, 16).has_value());
    expect_refused(ring_u64::create(whole_, 16), {fault_kind::already_created, 0, 2},
                   "init state: expected 0 (nothing there), found 2 (ready)");
    put_word(bytes_.data(), 132, std::uint32_t{1});
    expect_refused(ring_u64::create(whole_, 16), {fault_kind::already_created, 0, 1},
                   "init state: expected 0 (nothing there), found 1 (being initialised)");
}

TEST_F(refusals, of_two_creators_one_is_refused) {
    for (int round = 0; round < 100; ++round) {
        guarded_bytes fresh{needed};
        std::array<bool, 2> created{};
        std::thread other{[&] { created[0] = ring_u64::create(fresh.region(), 16).has_value(); }};
        created[1] = ring_u64::create(fresh.region(), 16).has_value();
        other.join();
        ASSERT_NE(created[0], created[1]);
        ASSERT_TRUE(ring_u64::attach(fresh.region()).has_value());
    }
}

TEST_F(refusals, attach_wants_a_region_aligned_to_a_line) {
    expect_refused(ring_u64::attach({bytes_.data() + 16, needed - 16}), {fault_kind::misaligned, 64, 16},
                   "address: expected a multiple of 64 bytes, found one that is 16 more");
}

TEST_F(refusals, attach_wants_room_for_the_header) {
    for (const std::size_t size : {std::size_t{0}, header_bytes - 1})
        expect_refused(ring_u64::attach({bytes_.data(), size}), {fault_kind::too_small, header_bytes, size},
                       "region size in bytes: expected at least 192, found " + std::to_string(size));
}

TEST_F(refusals, attach_wants_room_for_all_slots) {
    ASSERT_TRUE(ring_u64::create(whole_, 16).has_value());
    expect_refused(ring_u64::attach({bytes_.data(), needed - 1}), {fault_kind::too_small, 16, 15},
                   "slots: expected at least 16, found 15");
}

TEST_F(refusals, attach_without_a_deadline_looks_once) {
    expect_refused(ring_u64::attach(whole_), {fault_kind::not_ready, 2, 0},
                   "init state: expected 2 (ready), found 0 (nothing there)");
}

TEST_F(refusals, attach_waits_to_its_deadline_for_a_creator_that_has_died) {
    put_word(bytes_.data(), 132, std::uint32_t{1});
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{20};
    expect_refused(ring_u64::attach(whole_, until), {fault_kind::not_ready, 2, 1},
                   "init state: expected 2 (ready), found 1 (being initialised)");
    EXPECT_GE(std::chrono::steady_clock::now(), until);
}

TEST_F(refusals, attach_waits_for_a_creator_that_finishes) {
    std::thread creator{[&] { EXPECT_TRUE(ring_u64::create(whole_, 16).has_value()); }};
    const auto ring = ring_u64::attach(whole_, std::chrono::steady_clock::now() + std::chrono::minutes{1});
    creator.join();
    ASSERT_TRUE(ring.has_value()) << ring.error().sentence();
    EXPECT_EQ(ring->capacity(), 16u);
}

TEST_F(refusals, attach_wants_the_very_layout) {
    ASSERT_TRUE(ring_u64::create(whole_, 16).has_value());
    struct other_value {
        std::size_t offset;
        std::uint64_t value;
        std::size_t value_bytes;
        fault expected;
        const char* sentence;
    };
    for (const auto& [offset, value, value_bytes, expected, sentence] : {
             other_value{
                 132, 7, 4, {fault_kind::not_ready, 2, 7}, "init state: expected 2 (ready), found 7 (no such state)"},
             other_value{136,
                         0x73707372696e6731,
                         8,
                         {fault_kind::magic, 0x31676e6972737073, 0x73707372696e6731},
                         "magic: expected 0x31676e6972737073, found 0x73707372696e6731"},
             other_value{144, 2, 4, {fault_kind::layout_version, 1, 2}, "layout version: expected 1, found 2"},
             other_value{128,
                         0,
                         4,
                         {fault_kind::capacity, std::uint64_t{1} << 31, 0},
                         "capacity: expected a power of two from 1 to 2147483648, found 0"},
             other_value{128,
                         12,
                         4,
                         {fault_kind::capacity, std::uint64_t{1} << 31, 12},
                         "capacity: expected a power of two from 1 to 2147483648, found 12"},
             other_value{128, 32, 4, {fault_kind::too_small, 32, 16}, "slots: expected at least 32, found 16"},
         }) {
        std::array<std::byte, 8> before;
        std::memcpy(before.data(), bytes_.data() + offset, value_bytes);
        std::memcpy(bytes_.data() + offset, &value, value_bytes);
        expect_refused(ring_u64::attach(whole_), expected, sentence);
        std::memcpy(bytes_.data() + offset, before.data(), value_bytes);
        ASSERT_TRUE(ring_u64::attach(whole_).has_value());
    }
}

TEST(a_wait, with_the_default_deadline_looks_once) {
    const std::atomic<std::uint32_t> word{7};
    const auto is = [&](std::uint32_t wanted) {
        return shm::std_atomics::await_until(
            word, std::memory_order::acquire, [=](std::uint32_t value) { return value == wanted; }, shm::deadline{});
    };
    EXPECT_EQ(is(7), 7U);
    EXPECT_EQ(is(8), std::nullopt);
}

TEST_F(refusals, attach_tells_what_is_not_ready_from_what_is_no_ring) {
    const auto refusal = [&] { return ring_u64::attach(whole_).error().what; };
    EXPECT_EQ(refusal(), fault_kind::not_ready) << "zero bytes";
    put_word(bytes_.data(), 128, std::uint32_t{16});
    expect_refused(
        ring_u64::attach(whole_, shm::deadline::max()), {fault_kind::foreign_header, 0, 16},
        "header, damaged or made by something else: expected 0 in its first word while its init state is none, found "
        "16");  // a ring of the Rust crate, which writes no state: whoever waited for one would wait forever
    std::memset(bytes_.data(), 'x', needed);
    EXPECT_EQ(refusal(), fault_kind::magic) << "text";
    put_word(bytes_.data(), 132, std::uint32_t{1});
    EXPECT_EQ(refusal(), fault_kind::not_ready) << "bytes that look like a creator at work";

    std::memset(bytes_.data(), 0, needed);
    ASSERT_TRUE(ring_u64::create(whole_, 16).has_value());
    for (const auto& [offset, size_bytes] :
         {std::pair{128, 4}, {132, 4}, {136, 8}, {144, 4}, {148, 4}, {152, 4}, {160, 8}})
        std::reverse(bytes_.data() + offset, bytes_.data() + offset + size_bytes);
    EXPECT_EQ(refusal(), fault_kind::magic) << "a big-endian machine's";
}

TEST_F(refusals, nothing_is_created_over_what_something_else_has_made) {
    put_word(bytes_.data(), 128, std::uint32_t{16});
    EXPECT_EQ(ring_u64::create(whole_, 16).error(), (fault{fault_kind::foreign_header, 0, 16}));
    EXPECT_EQ(bytes_.data()[132], std::byte{}) << "its init state is as it was";
}

TEST_F(refusals, attach_wants_the_very_element) {
    ASSERT_TRUE(ring_u64::create(whole_, 16).has_value());
    expect_refused(spsc_ring<forty_eight_bytes>::attach(whole_), {fault_kind::element_size, 48, 8},
                   "element size: expected 48 bytes, found 8");
    using eight_bytes = std::array<std::uint8_t, 8>;
    expect_refused(spsc_ring<eight_bytes>::attach(whole_), {fault_kind::element_alignment, 1, 8},
                   "element alignment: expected 1 bytes, found 8");
    using narrow = spsc_ring<std::uint64_t, std::uint32_t>;
    const auto refused = narrow::attach(whole_);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error(),
              (fault{fault_kind::layout_hash, spsc_ring_raw<std::uint64_t, std::uint32_t>::layout_hash(),
                     spsc_ring_raw<std::uint64_t>::layout_hash()}));
}

TEST_F(refusals, claims_want_to_write) {
    ASSERT_TRUE(ring_u64::create(whole_, 16).has_value());
    const auto observer = ring_u64::attach(read_only_).value();
    EXPECT_EQ(observer.size_approx(), 0u);
    const fault denied{fault_kind::access_denied, 1, 0};
    expect_refused(observer.claim_producer({1, 1}), denied,
                   "producer role: expected a writable mapping, found a read-only one");
    expect_refused(observer.claim_consumer({1, 1}), denied,
                   "consumer role: expected a writable mapping, found a read-only one");
    expect_refused(observer.split({1, 1}), denied, "producer role: expected a writable mapping, found a read-only one");

    const auto dead = shm::death_witness<struct shm::scenario>::saw({1, 1});
    expect_refused(observer.take_over_producer({2, 1}, dead), denied,
                   "producer role: expected a writable mapping, found a read-only one");
    expect_refused(observer.take_over_consumer({2, 1}, dead), denied,
                   "consumer role: expected a writable mapping, found a read-only one");
}

TEST_F(refusals, take_overs_want_positions_that_belong_together_and_leave_the_role_with_nobody) {
    const auto ring = ring_u64::create(whole_, 16).value();
    auto& header = **whole_.get<shm::spsc_ring_header<>>();
    const auto dead = shm::death_witness<struct shm::scenario>::saw({1, 1});
    header.published.store(17);
    header.producer_claim.store(dead.peer().word());
    header.consumer_claim.store(dead.peer().word());
    EXPECT_EQ(ring.take_over_producer({2, 1}, dead).error(), (fault{fault_kind::positions, 16, 17}));
    EXPECT_EQ(ring.take_over_consumer({2, 1}, dead).error(), (fault{fault_kind::positions, 16, 17}));
    EXPECT_FALSE(ring.status().producer.valid() || ring.status().consumer.valid());
}

TEST_F(refusals, claims_want_an_identity) {
    const auto ring = ring_u64::create(whole_, 16).value();
    const fault nobody{fault_kind::peer_id, 1, 0};
    expect_refused(ring.claim_producer({0, 5}), nobody, "producer role: expected an id of at least 1, found 0");
    expect_refused(ring.claim_consumer({0, 5}), nobody, "consumer role: expected an id of at least 1, found 0");
    EXPECT_FALSE(ring.status().producer.valid());
    EXPECT_FALSE(ring.status().consumer.valid());
}

TEST_F(refusals, a_role_is_held_once) {
    const auto ring = ring_u64::create(whole_, 16).value();
    {
        const auto producer = ring.claim_producer({7, 9}).value();
        expect_refused(ring.claim_producer({1, 1}), {fault_kind::busy, 0, (peer_id{7, 9}.word())},
                       "producer role: expected nobody, found peer 7 (incarnation 9)");
        expect_refused(ring_u64::attach(whole_).value().claim_producer({7, 9}),
                       {fault_kind::busy, 0, (peer_id{7, 9}.word())},
                       "producer role: expected nobody, found peer 7 (incarnation 9)");
        EXPECT_TRUE(ring.claim_consumer({7, 9}).has_value());
    }
    EXPECT_TRUE(ring.claim_producer({1, 1}).has_value());
    const auto consumer = ring.claim_consumer({8, 1}).value();
    expect_refused(ring.split({2, 2}), {fault_kind::busy, 0, (peer_id{8, 1}.word())},
                   "consumer role: expected nobody, found peer 8 (incarnation 1)");
    EXPECT_FALSE(ring.status().producer.valid()) << "a split that fails leaves the other role as it was";
}

TEST_F(refusals, claims_want_positions_that_belong_together) {
    const auto ring = ring_u64::create(whole_, 16).value();
    put_word(bytes_.data(), published_offset, std::uint64_t{117});
    put_word(bytes_.data(), consumed_offset, std::uint64_t{100});
    const fault apart{fault_kind::positions, 16, 17};
    expect_refused(ring.claim_producer({1, 1}), apart, "positions: expected at most 16 apart, found 17");
    expect_refused(ring.claim_consumer({1, 1}), apart, "positions: expected at most 16 apart, found 17");
    EXPECT_FALSE(ring.status().producer.valid());
    EXPECT_FALSE(ring.status().consumer.valid());
    EXPECT_TRUE(ring.status().reported_corrupt);
    EXPECT_EQ(ring.size_approx(), 16u);
    put_word(bytes_.data(), published_offset, std::uint64_t{116});
    EXPECT_TRUE(ring.claim_producer({1, 1}).has_value());
}

TEST_F(refusals, what_was_moved_from_is_no_second_end) {
    const auto ring = ring_u64::create(whole_, 16).value();
    auto producer = ring.claim_producer({1, 1}).value();
    auto consumer = ring.claim_consumer({2, 1}).value();
    ASSERT_EQ(producer.try_push(1), shm::push_result::pushed);
    ASSERT_EQ(consumer.size(), 1u) << "which it has seen";
    auto new_producer = std::move(producer);
    auto new_consumer = std::move(consumer);
    // NOLINTBEGIN(bugprone-use-after-move): that is the point
    EXPECT_EQ(producer.try_push(2), shm::push_result::corrupt);
    EXPECT_EQ(producer.try_push_n(std::array<std::uint64_t, 2>{2, 3}), 0u);
    EXPECT_TRUE(producer.reserve(1).empty());
    EXPECT_FALSE(consumer.try_pop().has_value());
    EXPECT_TRUE(consumer.peek(1).empty());
    // NOLINTEND(bugprone-use-after-move)
    EXPECT_EQ(new_producer.try_push(4), shm::push_result::pushed);
    EXPECT_EQ(new_consumer.try_pop(), 1u);
    EXPECT_EQ(new_consumer.try_pop(), 4u);
    EXPECT_FALSE(ring.status().reported_corrupt);
}

}  // namespace
