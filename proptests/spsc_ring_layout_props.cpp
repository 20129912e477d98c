// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <shm/spsc_ring.hpp>

#include "testkit/guarded_bytes.hpp"
#include "testkit/rust_layout_reader.hpp"
#include "testkit/test_items.hpp"
#include "testkit/words.hpp"

namespace {

using shm::fault;
using shm::fault_kind;
using shm::push_result;
using shm::spsc_ring;
using shm::spsc_ring_raw;

constexpr std::size_t header_bytes = 192;
using header_image = std::array<std::uint8_t, header_bytes>;

header_image image_of(const guarded_bytes& bytes) {
    header_image image;
    std::memcpy(image.data(), bytes.data(), header_bytes);
    return image;
}

// What is placed by one build has to be found by every other: these numbers never change without a new layout version.
static_assert(std::endian::native == std::endian::little);
static_assert(spsc_ring<std::uint64_t>::required_size(16) == 192 + 16 * 8);
static_assert(spsc_ring<three_bytes>::required_size(4) == 192 + 4 * 3);
static_assert(spsc_ring<whole_line>::required_size(2) == 192 + 2 * 64);
static_assert(spsc_ring<std::uint64_t>::max_capacity == std::uint32_t{1} << 31);
static_assert(spsc_ring<std::uint64_t, std::uint8_t>::max_capacity == 128);
static_assert(std::is_standard_layout_v<shm::spsc_ring_header<>>);
static_assert(spsc_ring_raw<std::uint64_t>::layout_hash() != spsc_ring_raw<double, std::uint32_t>::layout_hash());

TEST(spsc_ring_layout, a_reader_that_knows_only_the_offsets_of_the_rust_crate_gets_every_item_in_order) {
    for (const std::uint32_t capacity : {1u, 2u, 16u}) {
        guarded_bytes bytes{spsc_ring<std::uint64_t>::required_size(capacity)};
        const auto ring = spsc_ring<std::uint64_t>::create(bytes.region(), capacity).value();
        auto producer = ring.claim_producer({1, 1}).value();
        rust_layout_reader reader{bytes.data()};
        std::uint64_t pushed = 0;
        std::uint64_t popped = 0;
        while (popped < 10 * capacity) {
            while (producer.try_push(item_of<std::uint64_t>(pushed)) == push_result::pushed) ++pushed;
            ASSERT_EQ(pushed - popped, capacity);
            for (std::uint32_t some = 0; some < capacity / 2 + 1; ++some)
                ASSERT_EQ(reader.dequeue(), item_of<std::uint64_t>(popped++));
        }
        while (const auto entry = reader.dequeue()) ASSERT_EQ(*entry, item_of<std::uint64_t>(popped++));
        EXPECT_EQ(popped, pushed);
        EXPECT_FALSE(producer.corrupt());
        EXPECT_TRUE(ring.is_empty());
    }
}

TEST(spsc_ring_layout, that_reader_keeps_up_with_a_producer_in_another_thread) {
    constexpr std::uint64_t items = 20000;
    guarded_bytes bytes{spsc_ring<std::uint64_t>::required_size(64)};
    const auto ring = spsc_ring<std::uint64_t>::create(bytes.region(), 64).value();
    std::thread writing{[&] {
        auto producer = ring.claim_producer({1, 1}).value();
        for (std::uint64_t i = 0; i < items;)
            if (producer.try_push(item_of<std::uint64_t>(i)) == push_result::pushed)
                ++i;
            else
                std::this_thread::yield();
        EXPECT_FALSE(producer.corrupt());
    }};
    rust_layout_reader reader{bytes.data()};
    std::uint64_t differing = 0;
    for (std::uint64_t i = 0; i < items;) {
        if (const auto entry = reader.dequeue())
            differing += *entry != item_of<std::uint64_t>(i++);
        else
            std::this_thread::yield();
    }
    writing.join();
    EXPECT_EQ(differing, 0u);
    EXPECT_FALSE(reader.dequeue().has_value());
}

/// What attach has to say of such a header: written down from the table of offsets, not from the code.
template <class T>
[[nodiscard]] std::optional<fault> refusal_of(const header_image& image, std::uint64_t room) {
    const auto differs = [](fault_kind what, std::uint64_t expected, std::uint64_t found) -> std::optional<fault> {
        if (expected == found) return std::nullopt;
        return fault{what, expected, found};
    };
    const auto state = word_at<std::uint32_t>(image.data(), 132);
    if (const auto first = word_at<std::uint32_t>(image.data(), 128); state == 0 && first != 0)
        return fault{fault_kind::foreign_header, 0, first};
    if (state < 2) return fault{fault_kind::not_ready, 2, state};
    if (const auto f = differs(fault_kind::magic, 0x31676e6972737073, word_at<std::uint64_t>(image.data(), 136)))
        return f;
    if (const auto f = differs(fault_kind::not_ready, 2, state)) return f;
    if (const auto f = differs(fault_kind::layout_version, 1, word_at<std::uint32_t>(image.data(), 144))) return f;
    if (const auto f = differs(fault_kind::element_size, sizeof(T), word_at<std::uint32_t>(image.data(), 148)))
        return f;
    if (const auto f = differs(fault_kind::element_alignment, alignof(T), word_at<std::uint32_t>(image.data(), 152)))
        return f;
    if (const auto f = differs(fault_kind::layout_hash, spsc_ring_raw<T>::layout_hash(),
                               word_at<std::uint64_t>(image.data(), 160)))
        return f;
    const auto capacity = word_at<std::uint32_t>(image.data(), 128);
    if (capacity == 0 || (capacity & (capacity - 1)) != 0)
        return fault{fault_kind::capacity, std::uint64_t{1} << 31, capacity};
    if (capacity > room) return fault{fault_kind::too_small, capacity, room};
    return std::nullopt;
}

/// A ring that has been in use, whose header is then damaged, between pages that nobody may touch.
template <class T>
class damaged_ring {
public:
    damaged_ring(std::uint32_t capacity, std::uint64_t first, std::uint32_t pushed, std::uint32_t popped)
        : room_{capacity}, bytes_{spsc_ring<T>::required_size(capacity)} {
        const auto ring = spsc_ring<T>::create(bytes_.region(), capacity, first).value();
        {
            auto ends = ring.split({1, 1}).value();
            for (std::uint32_t i = 0; i < pushed; ++i) (void)ends.first.try_push(item_of<T>(i));
            for (std::uint32_t i = 0; i < popped; ++i) (void)ends.second.try_pop();
        }
        intact_ = image_of(bytes_);  // nobody holds a role
    }

    /// Why the damaged ring is not safe, or nothing.
    [[nodiscard]] std::optional<const char*> harm(std::span<const std::pair<std::size_t, std::uint8_t>> damage) {
        auto image = intact_;
        for (const auto& [offset, value] : damage) image[offset] = value;
        std::memcpy(bytes_.data(), image.data(), header_bytes);

        const auto ring = spsc_ring<T>::attach(bytes_.region());
        const auto expected = refusal_of<T>(image, room_);
        if (ring.has_value() != !expected.has_value()) return "attach refuses what it should take, or takes the rest";
        if (!ring) return ring.error() == *expected ? std::nullopt : std::optional{"another refusal than expected"};

        const auto capacity = word_at<std::uint32_t>(image.data(), 128);
        const auto apart = word_at<std::uint64_t>(image.data(), 0) - word_at<std::uint64_t>(image.data(), 64);
        if (ring->capacity() != capacity) return "a capacity that is not there";
        if (ring->status().size > capacity) return "a size above the capacity";
        const auto harm_of_claim = [&](const auto& end, std::size_t claim_offset) -> std::optional<const char*> {
            const auto holder = word_at<std::uint64_t>(image.data(), claim_offset);
            if (holder != 0)
                return !end && end.error() == fault{fault_kind::busy, 0, holder} ? std::nullopt
                                                                                 : std::optional{"two holders"};
            if (apart > capacity)
                return !end && end.error().what == fault_kind::positions ? std::nullopt
                                                                         : std::optional{"impossible positions"};
            return end ? std::nullopt : std::optional{"a claim refused without a reason"};
        };
        {
            const auto producer = ring->claim_producer({2, 1});
            if (const auto harm = harm_of_claim(producer, 168)) return harm;
            const auto consumer = ring->claim_consumer({2, 2});
            if (const auto harm = harm_of_claim(consumer, 176)) return harm;
        }
        // The raw ends ask for no role: so all operations run on every header that attach has taken.
        const auto raw = spsc_ring_raw<T>::attach(
            **bytes_.region().template get<shm::spsc_ring_header<>>(),
            {reinterpret_cast<typename spsc_ring_raw<T>::slot*>(bytes_.data() + header_bytes), room_});
        if (!raw) return "a raw ring that differs";
        auto producer = raw->make_producer();
        auto consumer = raw->make_consumer();
        if (producer.corrupt() != (apart > capacity) || consumer.corrupt() != (apart > capacity))
            return "impossible positions that are believed, or possible ones that are not";
        return use(producer, consumer, capacity);
    }
    [[nodiscard]] bool untouched() const { return bytes_.untouched(); }

private:
    template <class Producer, class Consumer>
    [[nodiscard]] static std::optional<const char*> use(Producer& producer, Consumer& consumer,
                                                        std::uint32_t capacity) {
        std::vector<T> items(capacity + 1);
        for (int lap = 0; lap < 3; ++lap) {
            for (std::uint32_t i = 0; i <= capacity; ++i) (void)producer.try_push(items[0]);
            if (producer.available_capacity() > capacity) return "more room than there is";
            for (const auto& slot : consumer.peek(capacity + 1)) (void)slot.read();
            if (consumer.size() > capacity) return "more items than fit";
            for (std::uint32_t i = 0; i <= capacity / 2; ++i) (void)consumer.try_pop();
            const auto slots = producer.reserve(capacity + 1);
            for (auto& slot : slots) slot.write(items[0]);
            producer.commit(slots.size());
            if (producer.try_push_n(items) > capacity) return "more pushed than fit";
            consumer.consume(consumer.peek(1).size());
            if (consumer.try_pop_n(items) > capacity) return "more popped than fit";
        }
        return std::nullopt;
    }

    std::uint32_t room_;
    guarded_bytes bytes_;
    header_image intact_;
};

TEST(spsc_ring_layout, any_byte_of_the_header_changed_is_refused_by_name_or_harmless) {
    damaged_ring<std::uint64_t> ring{8, 0, 7, 3};
    for (std::size_t offset = 0; offset < header_bytes; ++offset)
        for (unsigned value = 0; value < 256; ++value) {
            const std::array damage{std::pair{offset, static_cast<std::uint8_t>(value)}};
            const auto harm = ring.harm(damage);
            ASSERT_FALSE(harm.has_value()) << *harm << ": byte " << offset << " = " << value;
        }
    EXPECT_TRUE(ring.untouched());
}

template <class T>
class damaged_header : public testing::Test {};
using items = testing::Types<std::uint8_t, std::uint64_t, three_bytes, forty_eight_bytes, whole_line>;
TYPED_TEST_SUITE(damaged_header, items, );

TYPED_TEST(damaged_header, with_a_few_bytes_changed_is_refused_by_name_or_harmless) {
    EXPECT_TRUE(rc::check([] {
        const auto capacity = std::uint32_t{1} << *rc::gen::inRange(0, 8);
        const auto first = *rc::gen::oneOf(rc::gen::just(std::uint64_t{0}), rc::gen::arbitrary<std::uint64_t>(),
                                           rc::gen::just(std::uint64_t{0} - capacity));
        const auto pushed = *rc::gen::inRange(0u, capacity + 1);
        const auto popped = *rc::gen::inRange(0u, pushed + 1);
        damaged_ring<TypeParam> ring{capacity, first, pushed, popped};
        // Half of the bytes are padding: those that mean something are hit more often, and many at once seldom.
        const auto bytes = *rc::gen::inRange<std::size_t>(1, 4);
        const auto offset =
            rc::gen::oneOf(rc::gen::inRange<std::size_t>(0, header_bytes), rc::gen::inRange<std::size_t>(0, 8),
                           rc::gen::inRange<std::size_t>(64, 72), rc::gen::inRange<std::size_t>(128, header_bytes));
        const auto value = rc::gen::oneOf(rc::gen::arbitrary<std::uint8_t>(),
                                          rc::gen::element<std::uint8_t>(0, 1, 2, 4, 8, 16, 32, 64, 128, 255));
        const auto damage =
            *rc::gen::container<std::vector<std::pair<std::size_t, std::uint8_t>>>(bytes, rc::gen::pair(offset, value));
        const auto harm = ring.harm(damage);
        if (harm) RC_FAIL(*harm);
        RC_ASSERT(ring.untouched());
    }));
}

}  // namespace
