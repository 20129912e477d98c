// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <shm/bip_buffer.hpp>
#include <shm/message_framing.hpp>
#include <shm/spsc_ring.hpp>

#include "models/bip_buffer/reference.hpp"
#include "testkit/guarded_bytes.hpp"
#include "testkit/sparse_bytes.hpp"
#include "testkit/test_items.hpp"
#include "testkit/words.hpp"

namespace {

using shm::bip_buffer;
using shm::bip_buffer_raw;
using shm::fault;
using shm::fault_kind;
using shm::grant_result;
using shm::peer_id;
using shm::send_result;
using shm::model::buffer_answer;
using shm::model::buffer_call;
using shm::model::buffer_reference;
using shm::model::perform;

constexpr std::size_t header_bytes = 192;
constexpr std::size_t published_offset = 0, watermark_offset = 8, consumed_offset = 64;

static_assert(bip_buffer<>::required_size(16) == 192 + 16);
static_assert(bip_buffer<std::uint64_t>::required_size(16) == 192 + 16 * 8);
static_assert(bip_buffer<>::max_capacity == std::uint32_t{1} << 31);
static_assert(bip_buffer<std::byte, std::uint8_t>::max_capacity == 128);

/// A buffer over guarded bytes, and its two ends, with the operations of the reference: an item is the seed of what stands in
/// a slot.
template <class T, class Position>
class tested_buffer {
public:
    using buffer_type = bip_buffer<T, Position>;
    static constexpr int position_bits = std::numeric_limits<Position>::digits;

    tested_buffer(std::uint32_t capacity, std::uint64_t first)
        : bytes{buffer_type::required_size(capacity)},
          buffer{buffer_type::create(bytes.region(), capacity, static_cast<Position>(first)).value()} {
        hand_on_producer();
        hand_on_consumer();
    }

    buffer_answer grant_commit(std::uint64_t first, std::size_t count, std::size_t used) {
        const auto before = word_at<Position>(bytes.data(), published_offset);
        const auto grant = producer->try_grant(count);
        if (grant.slots.size() != (grant ? count : 0)) return {};
        if (grant) {
            for (auto& slot : grant.slots.first(used)) slot.write(item_of<T>(first++));
            producer->commit(used);
        }
        return {static_cast<std::uint64_t>(grant.result),
                static_cast<Position>(word_at<Position>(bytes.data(), published_offset) - before)};
    }
    buffer_answer peek_consume(std::size_t most) {
        const auto before = word_at<Position>(bytes.data(), consumed_offset);
        buffer_answer told{0};
        for (const auto& slot : consumer->peek()) told.push_back(fingerprint_of(slot.read()));
        consumer->consume(std::min(most, told.size() - 1));
        told.front() = static_cast<Position>(word_at<Position>(bytes.data(), consumed_offset) - before);
        return told;
    }
    [[nodiscard]] std::size_t size_approx() const { return buffer.size_approx(); }

    /// Gives the role up, and takes it as somebody else who has just attached.
    void hand_on_producer() {
        producer.reset();
        producer.emplace(buffer_type::attach(bytes.region())->claim_producer({1, ++claims_}).value());
    }
    void hand_on_consumer() {
        consumer.reset();
        consumer.emplace(buffer_type::attach(bytes.region())->claim_consumer({2, ++claims_}).value());
    }

    guarded_bytes bytes;
    buffer_type buffer;
    std::optional<typename buffer_type::producer> producer;
    std::optional<typename buffer_type::consumer> consumer;

private:
    std::uint32_t claims_ = 0;
};

template <class Tested>
class each_buffer : public testing::Test {
protected:
    /// Any capacity; positions that begin at nothing, anywhere, or so that they wrap within a lap or two.
    static std::pair<std::uint32_t, std::uint64_t> any_choice() {
        const auto capacity = std::uint32_t{1} << *rc::gen::inRange(0, std::min(Tested::position_bits, 8));
        const auto laps_away = *rc::gen::inRange<std::uint64_t>(0, 2 * capacity + 1);
        const auto first = *rc::gen::oneOf(rc::gen::just(std::uint64_t{0}), rc::gen::arbitrary<std::uint64_t>(),
                                           rc::gen::just(0 - laps_away));
        return {capacity, Tested::position_bits == 64 ? first : first % (std::uint64_t{1} << Tested::position_bits)};
    }
    static std::size_t any_count(std::size_t capacity) { return *rc::gen::inRange<std::size_t>(0, capacity + 2); }
};
using buffers = testing::Types<tested_buffer<std::byte, std::uint64_t>, tested_buffer<std::uint64_t, std::uint64_t>,
                               tested_buffer<whole_line, std::uint64_t>, tested_buffer<three_bytes, std::uint16_t>,
                               tested_buffer<std::uint64_t, std::uint8_t>>;
TYPED_TEST_SUITE(each_buffer, buffers, );

TYPED_TEST(each_buffer, does_in_any_sequence_of_calls_what_the_reference_does) {
    EXPECT_TRUE(rc::check([] {
        const auto [capacity, first] = TestFixture::any_choice();
        TypeParam tested{capacity, first};
        buffer_reference reference{capacity, first % capacity, first % capacity, {}};
        std::uint64_t next = *rc::gen::arbitrary<std::uint32_t>();
        const auto steps = *rc::gen::inRange(0, 60);
        for (int step = 0; step < steps; ++step) {
            const auto what = *rc::gen::inRange(0, 12);
            if (what == 0) {
                tested.hand_on_producer();
                continue;
            }
            if (what == 1) {
                tested.hand_on_consumer();
                reference.leave_lap();  // it looks where it begins
                continue;
            }
            const auto kind = what < 6    ? buffer_call::grant_commit
                              : what < 11 ? buffer_call::peek_consume
                                          : buffer_call::size_approx;
            const buffer_call made{kind, next, TestFixture::any_count(capacity), TestFixture::any_count(capacity)};
            next += made.count;
            auto expected = perform(made, reference);
            if (kind == buffer_call::peek_consume)
                for (std::size_t i = 1; i < expected.size(); ++i)
                    expected[i] = fingerprint_of(
                        item_of<std::remove_cvref_t<typename decltype(tested.buffer)::value_type>>(expected[i]));
            RC_LOG() << made << "\n";
            RC_ASSERT(perform(made, tested) == expected);
        }
        RC_ASSERT(!tested.producer->corrupt() && !tested.consumer->corrupt());
        RC_ASSERT(tested.bytes.untouched());
    }));
}

TYPED_TEST(each_buffer, stays_safe_whatever_a_peer_writes_into_the_header) {
    EXPECT_TRUE(rc::check([] {
        const auto [capacity, first] = TestFixture::any_choice();
        TypeParam tested{capacity, first};
        for (int step = 0; step < 30; ++step) {
            const auto near = *rc::gen::element<std::uint64_t>(0, 1, capacity - 1, capacity, capacity + 1, 1ULL << 31,
                                                               0xffffffff, ~0ULL);
            const auto value =
                *rc::gen::oneOf(rc::gen::just(near), rc::gen::just(first + near), rc::gen::arbitrary<std::uint64_t>());
            const auto where = *rc::gen::element(published_offset, watermark_offset, consumed_offset, std::size_t{128},
                                                 std::size_t{148}, std::size_t{168});
            if (where == watermark_offset || where == 128)
                put_word(tested.bytes.data(), where, static_cast<std::uint32_t>(value));
            else
                put_word(tested.bytes.data(), where, value);
            const auto grant = tested.producer->try_grant(TestFixture::any_count(capacity));
            RC_ASSERT(grant.slots.size() <= capacity);
            for (auto& slot : grant.slots) slot.write({});
            tested.producer->commit(*rc::gen::inRange<std::size_t>(0, grant.slots.size() + 1));
            const auto found = tested.consumer->peek();
            RC_ASSERT(found.size() <= capacity);
            for (const auto& slot : found) (void)slot.read();
            tested.consumer->consume(*rc::gen::inRange<std::size_t>(0, found.size() + 1));
            RC_ASSERT(!tested.producer->corrupt() || tested.producer->try_grant(0).result == grant_result::corrupt);
            RC_ASSERT(!tested.consumer->corrupt() || tested.consumer->peek().empty());
            RC_ASSERT(tested.size_approx() <= capacity);
        }
        RC_ASSERT(tested.bytes.untouched());
    }));
}

using bytes_buffer = bip_buffer<>;

TEST(bip_buffer, grants_when_empty_the_larger_side_at_once_and_everything_after_a_look) {
    for (const std::uint32_t capacity : {1u, 2u, 4u, 8u, 64u})
        for (std::uint32_t offset = 0; offset < capacity; ++offset)
            for (std::uint32_t count = 0; count <= capacity; ++count) {
                guarded_bytes bytes{bytes_buffer::required_size(capacity)};
                auto [producer, consumer] =
                    bytes_buffer::create(bytes.region(), capacity, offset)->split({1, 1}).value();
                ASSERT_EQ(producer.max_grant(), capacity);
                const auto at_once = producer.try_grant(count).result;
                const bool fits = count <= std::max(offset, capacity - offset);
                ASSERT_EQ(at_once, fits ? grant_result::granted : grant_result::full) << offset << ' ' << count;
                ASSERT_TRUE(consumer.peek().empty());
                ASSERT_EQ(producer.try_grant(count).result, grant_result::granted) << offset << ' ' << count;
                ASSERT_EQ(producer.try_grant(capacity + 1).result, grant_result::too_large);
                ASSERT_EQ(producer.try_grant(std::numeric_limits<std::size_t>::max()).result, grant_result::too_large);
            }
}

TEST(bip_buffer, grants_are_aligned_as_far_as_every_commit_is) {
    EXPECT_TRUE(rc::check([] {
        const auto alignment = std::size_t{1} << *rc::gen::inRange(0, 7);
        guarded_bytes bytes{bytes_buffer::required_size(1024)};
        auto [producer, consumer] = bytes_buffer::create(bytes.region(), 1024)->split({1, 1}).value();
        for (int run = 0; run < 50; ++run) {
            const auto grant = producer.try_grant(alignment * *rc::gen::inRange<std::size_t>(1, 1024 / alignment + 1));
            if (grant) {
                RC_ASSERT(reinterpret_cast<std::uintptr_t>(grant.slots.data()) % alignment == 0u);
                producer.commit(alignment * *rc::gen::inRange<std::size_t>(1, grant.slots.size() / alignment + 1));
            }
            consumer.consume(consumer.peek().size());
        }
    }));
}

TEST(bip_buffer, a_peek_for_enough_looks_for_more_only_when_it_knows_less) {
    guarded_bytes bytes{bytes_buffer::required_size(8)};
    auto [producer, consumer] = bytes_buffer::create(bytes.region(), 8)->split({1, 1}).value();
    const auto write_two = [](bytes_buffer::producer& end) {
        for (auto& slot : end.try_grant(2).slots) slot.write({});
        end.commit(2);
    };
    write_two(producer);
    EXPECT_EQ(consumer.peek(1).size(), 2u);
    write_two(producer);
    EXPECT_EQ(consumer.peek(2).size(), 2u);
    EXPECT_EQ(consumer.peek(3).size(), 4u);
    write_two(producer);
    EXPECT_EQ(consumer.peek().size(), 6u);
}

TEST(bip_buffer, a_grant_that_is_not_committed_is_given_back) {
    guarded_bytes bytes{bytes_buffer::required_size(8)};
    auto [producer, consumer] = bytes_buffer::create(bytes.region(), 8, 3)->split({1, 1}).value();
    ASSERT_TRUE(producer.try_grant(5));
    producer.commit(0);
    ASSERT_TRUE(producer.try_grant(3));
    ASSERT_TRUE(consumer.peek().empty());
    ASSERT_TRUE(producer.try_grant(4));
    for (auto& slot : producer.try_grant(2).slots) slot.write(std::byte{7});
    producer.commit(2);
    EXPECT_EQ(consumer.peek().size(), 2u);
}

TEST(bip_buffer, what_was_moved_from_is_no_second_end) {
    guarded_bytes bytes{bytes_buffer::required_size(8)};
    const auto buffer = bytes_buffer::create(bytes.region(), 8).value();
    auto [producer, consumer] = buffer.split({1, 1}).value();
    ASSERT_TRUE(producer.try_grant(2));
    auto new_producer = std::move(producer);
    new_producer.commit(2);
    ASSERT_EQ(consumer.peek().size(), 2u);
    auto new_consumer = std::move(consumer);
    // NOLINTBEGIN(bugprone-use-after-move): that is the point
    EXPECT_EQ(producer.try_grant(1).result, grant_result::corrupt);
    EXPECT_TRUE(consumer.peek().empty());
    // NOLINTEND(bugprone-use-after-move)
    EXPECT_EQ(new_consumer.peek().size(), 2u);
    EXPECT_FALSE(buffer.status().reported_corrupt);
}

TEST(bip_buffer, is_refused_with_the_fault_that_its_comment_says) {
    constexpr std::size_t needed = bytes_buffer::required_size(16);
    const guarded_bytes bytes{needed};
    const shm::region whole = bytes.region();
    const shm::region small{bytes.data(), needed - 1};
    const shm::region shifted{bytes.data() + 8, needed - 8};
    const shm::region read_only{bytes.data(), needed, shm::access::read_only};
    EXPECT_EQ(bytes_buffer::create(small, 16).error(), (fault{fault_kind::too_small, needed, needed - 1}));
    EXPECT_EQ(bytes_buffer::create(shifted, 8).error(), (fault{fault_kind::misaligned, 64, 8}));
    EXPECT_EQ(bytes_buffer::create(read_only, 16).error(), (fault{fault_kind::access_denied, 1, 0}));
    EXPECT_EQ(bytes_buffer::create(whole, 12).error(), (fault{fault_kind::capacity, std::uint64_t{1} << 31, 12}));
    EXPECT_EQ(bytes_buffer::create(whole, 0).error(), (fault{fault_kind::capacity, std::uint64_t{1} << 31, 0}));
    EXPECT_EQ(bytes_buffer::create(whole, std::numeric_limits<std::size_t>::max() - 100).error().what,
              fault_kind::too_small);
    EXPECT_EQ(bytes_buffer::attach(whole).error(), (fault{fault_kind::not_ready, 2, 0}));
    EXPECT_EQ(bytes_buffer::attach({bytes.data(), 191}).error(), (fault{fault_kind::too_small, 192, 191}));
    EXPECT_EQ(bytes_buffer::attach(shifted).error(), (fault{fault_kind::misaligned, 64, 8}));

    const auto buffer = bytes_buffer::create(whole, 16).value();
    EXPECT_EQ(bytes_buffer::create(whole, 16).error(), (fault{fault_kind::already_created, 0, 2}));
    EXPECT_EQ(bytes_buffer::attach(small).error(), (fault{fault_kind::too_small, 16, 15}));
    EXPECT_EQ(bip_buffer<std::uint64_t>::attach(whole).error(), (fault{fault_kind::element_size, 8, 1}));
    EXPECT_EQ((bip_buffer<std::byte, std::uint32_t>::attach(whole).error().what), fault_kind::layout_hash);
    EXPECT_EQ(shm::spsc_ring<std::byte>::attach(whole).error(),
              (fault{fault_kind::magic, 0x31676e6972737073, 0x3166756270696273}));

    EXPECT_EQ(bytes_buffer::attach(read_only)->claim_producer({1, 1}).error(),
              (fault{fault_kind::access_denied, 1, 0}));
    EXPECT_EQ(buffer.claim_consumer({0, 1}).error(), (fault{fault_kind::peer_id, 1, 0}));
    {
        const auto producer = buffer.claim_producer({7, 9}).value();
        EXPECT_EQ(buffer.claim_producer({1, 1}).error(), (fault{fault_kind::busy, 0, peer_id{7, 9}.word()}));
    }
    put_word(bytes.data(), published_offset, std::uint64_t{117});
    put_word(bytes.data(), consumed_offset, std::uint64_t{100});
    EXPECT_EQ(buffer.claim_producer({1, 1}).error(), (fault{fault_kind::positions, 16, 17}));
    EXPECT_EQ(buffer.claim_consumer({1, 1}).error(), (fault{fault_kind::positions, 16, 17}));

    // A lap behind, from the fifth slot on: the producer says how far the lap reaches.
    put_word(bytes.data(), published_offset, std::uint64_t{116});
    for (const auto& [watermark, wanted] : {std::pair{17u, 16u}, {~0u, 16u}, {3u, 4u}, {0u, 4u}}) {
        put_word(bytes.data(), watermark_offset, watermark);
        EXPECT_EQ(buffer.claim_consumer({1, 1}).error(), (fault{fault_kind::watermark, wanted, watermark}));
        EXPECT_TRUE(buffer.claim_producer({1, 1})) << "which does not read it";
    }
    EXPECT_FALSE(buffer.status().producer.valid() || buffer.status().consumer.valid());
}

/// Four slots that were committed to a buffer of eight, and a peer that writes over a position.
struct interrupted {
    guarded_bytes bytes{bytes_buffer::required_size(8)};
    bytes_buffer buffer = bytes_buffer::create(bytes.region(), 8).value();
    bytes_buffer::producer producer = buffer.claim_producer({1, 1}).value();
    bytes_buffer::consumer consumer = buffer.claim_consumer({1, 1}).value();

    interrupted() {
        EXPECT_EQ(producer.try_grant(4).slots.size(), 4u);
        producer.commit(4);
    }
    void write(std::size_t offset, std::uint64_t position) const { put_word(bytes.data(), offset, position); }
};

TEST(bip_buffer, moves_nothing_when_the_consumer_meets_nonsense_after_a_peek) {
    interrupted now;
    ASSERT_EQ(now.consumer.peek().size(), 4u);
    now.write(published_offset, 100);
    ASSERT_TRUE(now.consumer.peek().empty());
    now.consumer.consume(4);
    EXPECT_TRUE(now.consumer.corrupt());
    EXPECT_EQ(now.consumer.consumed(), 0u);
    EXPECT_EQ(now.buffer.status().consumed, 0u);
    EXPECT_TRUE(now.buffer.status().reported_corrupt);
}

TEST(bip_buffer, moves_nothing_when_the_producer_meets_nonsense_after_a_grant) {
    interrupted now;
    ASSERT_EQ(now.producer.try_grant(4).slots.size(), 4u);
    now.write(consumed_offset, 100);
    ASSERT_EQ(now.producer.try_grant(5).result, grant_result::corrupt);
    now.producer.commit(4);
    EXPECT_EQ(now.producer.published(), 4u);
    EXPECT_EQ(now.buffer.status().published, 4u);
    EXPECT_TRUE(now.buffer.status().reported_corrupt);
}

TEST(bip_buffer, counts_never_more_than_its_capacity) {
    guarded_bytes bytes{bytes_buffer::required_size(8)};
    const auto buffer = bytes_buffer::create(bytes.region(), 8).value();
    for (const std::uint64_t published : {9ULL, 1ULL << 32, 1ULL << 63, ~0ULL}) {
        put_word(bytes.data(), published_offset, published);
        EXPECT_EQ(buffer.status().size, 8u);
        EXPECT_EQ(buffer.size_approx(), 8u);
    }
}

TEST(bip_buffer, any_byte_of_the_header_changed_is_refused_or_harmless) {
    guarded_bytes bytes{bytes_buffer::required_size(16)};
    {
        auto [producer, consumer] = bytes_buffer::create(bytes.region(), 16, 10)->split({1, 1}).value();
        for (const std::size_t count : {4u, 5u}) {  // the second behind a wrap
            for (auto& slot : producer.try_grant(count).slots) slot.write({});
            producer.commit(count);
        }
        ASSERT_EQ(consumer.peek().size(), 4u);
        consumer.consume(1);
    }
    std::vector<std::byte> intact(bytes.data(), bytes.data() + header_bytes);
    for (std::size_t offset = 0; offset < header_bytes; ++offset)
        for (unsigned value = 0; value < 256; ++value) {
            std::memcpy(bytes.data(), intact.data(), header_bytes);
            bytes.data()[offset] = std::byte(value);
            const bool described = offset >= 128 && (offset < 156 || (offset >= 160 && offset < 168));
            // A capacity that is smaller, and a power of two, is one that could have been asked for.
            const bool other_capacity = offset == 128 && value != 0 && value <= 16 && (value & (value - 1)) == 0;
            const bool as_before = intact[offset] == std::byte(value);
            const auto attached = bytes_buffer::attach(bytes.region());
            ASSERT_EQ(attached.has_value(), !described || other_capacity || as_before) << offset << " = " << value;
            if (!attached) continue;
            const auto raw = bip_buffer_raw<std::byte>::attach(
                **bytes.region().get<shm::bip_buffer_header<>>(),
                {reinterpret_cast<bip_buffer_raw<std::byte>::slot*>(bytes.data() + header_bytes), 16});
            auto producer = raw->make_producer();
            auto consumer = raw->make_consumer();
            for (const std::size_t count : {3u, 16u, 1u, 9u, 7u}) {
                const auto grant = producer.try_grant(count);
                for (auto& slot : grant.slots) slot.write({});
                producer.commit(grant.slots.size());
                const auto found = consumer.peek();
                ASSERT_LE(found.size(), attached->capacity());
                for (const auto& slot : found) (void)slot.read();
                consumer.consume(found.size());
                ASSERT_LE(attached->size_approx(), attached->capacity());
            }
        }
    EXPECT_TRUE(bytes.untouched());
}

using framing = shm::message_framing<>;
static_assert(framing::words(0) == 1 && framing::words(1) == 2 && framing::words(8) == 2 && framing::words(9) == 3);

TEST(message_framing, does_in_any_sequence_of_calls_what_a_queue_of_messages_does) {
    EXPECT_TRUE(rc::check([] {
        const auto capacity = std::uint32_t{1} << *rc::gen::inRange(0, 7);
        guarded_bytes bytes{framing::buffer::required_size(capacity)};
        auto [producer, consumer] =
            framing::buffer::create(bytes.region(), capacity, *rc::gen::arbitrary<std::uint64_t>())
                ->split({1, 1})
                .value();
        framing::sender sender{std::move(producer)};
        framing::receiver receiver{std::move(consumer)};
        RC_ASSERT(sender.max_size_bytes() == 8u * (capacity - 1));
        std::deque<std::vector<std::byte>> queue;
        const auto steps = *rc::gen::inRange(0, 60);
        std::uint64_t seed = 0;
        for (int step = 0; step < steps; ++step) {
            if (*rc::gen::arbitrary<bool>()) {
                const auto size = *rc::gen::inRange<std::size_t>(0, 8 * capacity + 2);
                std::vector<std::byte> message(size);
                for (auto& byte : message) byte = item_of<std::byte>(++seed);
                auto told = send_result::corrupt;
                if (*rc::gen::arbitrary<bool>()) {
                    told = sender.try_send(message);
                } else {  // made where it will lie, in a place that may be larger
                    const auto place = sender.try_prepare(size + *rc::gen::inRange<std::size_t>(0, 20));
                    std::ranges::fill(place.bytes, std::byte{0xff});
                    if (!place && size <= sender.max_size_bytes()) continue;
                    std::ranges::copy(std::span{message}.first(place ? size : 0), place.bytes.begin());
                    if (place) RC_ASSERT(sender.commit(size));
                    told = place.result;
                }
                RC_ASSERT((told == send_result::too_large) == (size > sender.max_size_bytes()));
                RC_ASSERT(told != send_result::corrupt);
                if (told == send_result::sent) queue.push_back(std::move(message));
            } else {
                const auto found = receiver.try_receive();
                RC_ASSERT(found.has_value() == !queue.empty());
                if (!found) continue;
                RC_ASSERT(reinterpret_cast<std::uintptr_t>(found->bytes().data()) % 8 == 0u);
                RC_ASSERT(std::equal(found->bytes().begin(), found->bytes().end(), queue.front().begin(),
                                     queue.front().end()));
                const auto padding = std::as_bytes(shm::values(found->slots)).subspan(found->size_bytes);
                RC_ASSERT(padding.size() < 8u && std::ranges::count(padding, std::byte{}) == std::ssize(padding));
                if (*rc::gen::inRange(0, 4) == 0) continue;  // and is there again
                receiver.consume();
                queue.pop_front();
            }
        }
        while (receiver.try_receive()) receiver.consume(), queue.pop_front();
        RC_ASSERT(queue.empty());
        const std::vector<std::byte> largest(sender.max_size_bytes());
        auto told = sender.try_send(largest);
        if (told == send_result::full) {
            RC_ASSERT(!receiver.try_receive());
            told = sender.try_send(largest);
        }
        RC_ASSERT(told == send_result::sent && receiver.try_receive()->size_bytes == largest.size());
        RC_ASSERT(bytes.untouched());
    }));
}

TEST(message_framing, a_length_that_was_not_published_is_corrupt_for_ever) {
    for (const std::uint64_t length : {9ULL, 64ULL, 1ULL << 32, ~0ULL - 7, ~0ULL}) {
        guarded_bytes bytes{framing::buffer::required_size(8)};
        const auto buffer = framing::buffer::create(bytes.region(), 8).value();
        auto [producer, consumer] = buffer.split({1, 1}).value();
        framing::receiver receiver{std::move(consumer)};
        const auto grant = producer.try_grant(2);
        grant.slots[0].write(length);
        producer.commit(2);
        EXPECT_FALSE(receiver.try_receive().has_value());
        EXPECT_TRUE(receiver.corrupt());
        receiver.consume();
        ASSERT_TRUE(producer.try_grant(1));
        grant.slots[0].write(0);
        producer.commit(1);
        EXPECT_FALSE(receiver.try_receive().has_value());
        EXPECT_TRUE(buffer.status().reported_corrupt);
        EXPECT_EQ(buffer.status().consumed, 0u);
    }
}

/// Whatever a message was made of, nothing of it travels but the message.
TEST(message_framing, is_zero_from_the_end_of_a_message_to_the_end_of_its_word) {
    for (std::size_t prepared = 0; prepared <= 24; ++prepared)
        for (std::size_t size = 0; size <= prepared; ++size) {
            guarded_bytes bytes{framing::buffer::required_size(8)};
            auto [producer, consumer] = framing::buffer::create(bytes.region(), 8)->split({1, 1}).value();
            framing::sender sender{std::move(producer)};
            framing::receiver receiver{std::move(consumer)};
            std::memset(bytes.data() + header_bytes, 0xff, 8 * 8);
            const auto place = sender.try_prepare(prepared);
            ASSERT_EQ(place.bytes.size(), prepared);
            ASSERT_TRUE(sender.commit(size));
            const auto message = receiver.try_receive().value();
            ASSERT_EQ(message.size_bytes, size);
            const auto all = std::as_bytes(shm::values(message.slots));
            ASSERT_EQ(all.size(), (size + 7) / 8 * 8);
            for (std::size_t i = 0; i < all.size(); ++i)
                ASSERT_EQ(all[i], i < size ? std::byte{0xff} : std::byte{})
                    << size << " of " << prepared << ", byte " << i;
        }
}

TEST(message_framing, sends_nothing_for_ever_once_the_receivers_position_is_nonsense) {
    guarded_bytes bytes{framing::buffer::required_size(8)};
    auto [producer, consumer] = framing::buffer::create(bytes.region(), 8)->split({1, 1}).value();
    framing::sender sender{std::move(producer)};
    std::array<std::byte, 40> message{};
    ASSERT_EQ(sender.try_send(message), send_result::sent);
    ASSERT_EQ(sender.try_send(message), send_result::full);
    put_word(bytes.data(), consumed_offset, std::uint64_t{7});
    for (int again = 0; again < 2; ++again) {
        EXPECT_EQ(sender.try_send(message), send_result::corrupt);
        EXPECT_EQ(sender.try_send({}), send_result::corrupt) << "though there is room";
        const auto place = sender.try_prepare(1);
        EXPECT_EQ(place.result, send_result::corrupt);
        EXPECT_TRUE(place.bytes.empty());
        EXPECT_TRUE(sender.corrupt());
        put_word(bytes.data(), consumed_offset, std::uint64_t{0});
    }
    EXPECT_EQ(sender.published(), 6u);
}

TEST(above_4_GiB, a_buffer_grants_and_shows_all_of_its_slots) {
    using words_buffer = bip_buffer<std::uint64_t>;
    constexpr std::size_t capacity = words_buffer::max_capacity;
    const sparse_bytes bytes{words_buffer::required_size(capacity)};
    ASSERT_EQ(bytes.size_bytes(), header_bytes + (16ULL << 30));
    const auto buffer = words_buffer::create(bytes.region(), capacity).value();
    auto [producer, consumer] = words_buffer::attach(bytes.region())->split({1, 1}).value();
    const auto grant = producer.try_grant(capacity - 1);
    ASSERT_EQ(grant.slots.size(), capacity - 1);
    grant.slots.front().write(1);
    grant.slots.back().write(2);
    producer.commit(capacity - 1);
    EXPECT_EQ(buffer.size_approx(), capacity - 1);
    EXPECT_EQ(producer.try_grant(2).result, grant_result::full);
    const auto found = consumer.peek();
    ASSERT_EQ(found.size(), capacity - 1);
    EXPECT_EQ(found.front().read(), 1u);
    EXPECT_EQ(found.back().read(), 2u);
    EXPECT_EQ(reinterpret_cast<const std::byte*>(&found.back()), bytes.data() + header_bytes + (capacity - 2) * 8);
    consumer.consume(capacity - 2);
    const auto behind_the_wrap = producer.try_grant(2);
    ASSERT_EQ(behind_the_wrap.slots.size(), 2u);
    EXPECT_EQ(reinterpret_cast<const std::byte*>(behind_the_wrap.slots.data()), bytes.data() + header_bytes);
    for (auto& slot : behind_the_wrap.slots) slot.write(3);
    producer.commit(2);
    ASSERT_EQ(consumer.peek().size(), 1u);
    consumer.consume(1);
    ASSERT_EQ(consumer.peek().size(), 2u);
    EXPECT_EQ(consumer.peek().back().read(), 3u);
}

TEST(above_4_GiB, a_message_is_one_like_others) {
    constexpr std::size_t capacity = std::size_t{1} << 30, size = (std::size_t{5} << 30) + 3;
    const sparse_bytes bytes{framing::buffer::required_size(capacity)};
    auto [producer, consumer] = framing::buffer::create(bytes.region(), capacity)->split({1, 1}).value();
    framing::sender sender{std::move(producer)};
    framing::receiver receiver{std::move(consumer)};
    EXPECT_EQ(sender.max_size_bytes(), (std::size_t{8} << 30) - 8);
    EXPECT_EQ(sender.try_prepare((std::size_t{8} << 30) - 7).result, send_result::too_large);
    const auto place = sender.try_prepare(size);
    ASSERT_EQ(place.bytes.size(), size);
    place.bytes.back() = std::byte{7};
    ASSERT_TRUE(sender.commit(size));
    const auto message = receiver.try_receive();
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->size_bytes, size);
    EXPECT_EQ(message->bytes().back(), std::byte{7});
    EXPECT_EQ(receiver.try_receive()->bytes().data(), message->bytes().data());
    receiver.consume();
    EXPECT_FALSE(receiver.try_receive().has_value());
    EXPECT_EQ(receiver.consumed(), sender.published());
}

/// What the caller must see to is looked at where assertions are on.
TEST(bip_buffer_preconditions, are_asserted) {
    guarded_bytes bytes{bytes_buffer::required_size(8)};
    auto [producer, consumer] = bytes_buffer::create(bytes.region(), 8)->split({1, 1}).value();
    ASSERT_TRUE(producer.try_grant(2));
    EXPECT_DEBUG_DEATH(producer.commit(3), "count <= granted_");
    producer.commit(2);
    ASSERT_EQ(consumer.peek().size(), 2u);
    EXPECT_DEBUG_DEATH(consumer.consume(3), "count <= available");
    consumer.consume(2);
}

TEST(message_framing, forgets_what_was_prepared_when_something_else_is_sent) {
    guarded_bytes bytes{framing::buffer::required_size(8)};
    auto [producer, consumer] = framing::buffer::create(bytes.region(), 8)->split({1, 1}).value();
    framing::sender sender{std::move(producer)};
    framing::receiver receiver{std::move(consumer)};
    ASSERT_TRUE(sender.try_prepare(16));
    ASSERT_EQ(sender.try_send({}), send_result::sent);
    EXPECT_DEBUG_DEATH(EXPECT_FALSE(sender.commit(16)), "words\\(size_bytes\\) <= prepared.size\\(\\)");
    ASSERT_EQ(receiver.try_receive()->size_bytes, 0u);
    receiver.consume();
    EXPECT_FALSE(receiver.try_receive().has_value());
}

TEST(message_framing, is_no_second_sender_where_it_was_moved_from) {
    guarded_bytes bytes{framing::buffer::required_size(8)};
    auto [producer, consumer] = framing::buffer::create(bytes.region(), 8)->split({1, 1}).value();
    framing::sender sender{std::move(producer)};
    framing::receiver receiver{std::move(consumer)};
    const auto sends_nothing = [](framing::sender& moved_from) {
        EXPECT_DEBUG_DEATH(EXPECT_FALSE(moved_from.commit(0)), "words\\(size_bytes\\) <= prepared.size\\(\\)");
        EXPECT_EQ(moved_from.try_send({}), send_result::corrupt);
    };
    ASSERT_TRUE(sender.try_prepare(16));
    framing::sender moved{std::move(sender)};
    // NOLINTBEGIN(bugprone-use-after-move): that is the point
    sends_nothing(sender);
    EXPECT_DEBUG_DEATH(EXPECT_FALSE(moved.commit(17)), "words\\(size_bytes\\) <= prepared.size\\(\\)");
    ASSERT_TRUE(moved.try_prepare(16));
    sender = std::move(moved);
    sends_nothing(moved);
    EXPECT_TRUE(sender.commit(9));
    ASSERT_EQ(receiver.try_receive()->size_bytes, 9u);
    framing::receiver other{std::move(receiver)};
    EXPECT_FALSE(receiver.try_receive().has_value());
    receiver.consume();
    // NOLINTEND(bugprone-use-after-move)
    ASSERT_EQ(other.try_receive()->size_bytes, 9u) << "which nobody has consumed";
    other.consume();
    EXPECT_FALSE(other.try_receive().has_value());
}

TEST(message_framing, a_length_is_read_once) {
    guarded_bytes bytes{framing::buffer::required_size(8)};
    auto [producer, consumer] = framing::buffer::create(bytes.region(), 8)->split({1, 1}).value();
    framing::sender sender{std::move(producer)};
    framing::receiver receiver{std::move(consumer)};
    ASSERT_EQ(sender.try_send(std::vector<std::byte>(5)), send_result::sent);
    ASSERT_EQ(sender.try_send(std::vector<std::byte>(6)), send_result::sent);
    ASSERT_EQ(receiver.try_receive()->size_bytes, 5u);
    put_word(bytes.data(), header_bytes, std::uint64_t{20});
    EXPECT_EQ(receiver.try_receive()->size_bytes, 5u);
    receiver.consume();
    EXPECT_EQ(receiver.try_receive()->size_bytes, 6u);
}

}  // namespace
