// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/state.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <initializer_list>
#include <limits>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <shm/spsc_ring.hpp>

#include "guarded_bytes.hpp"
#include "test_items.hpp"

namespace {

using shm::fault;
using shm::fault_kind;
using shm::peer_id;
using shm::push_result;
using shm::spsc_ring;
using shm::spsc_ring_raw;

constexpr std::size_t header_bytes = 192;

template <class Ring>
struct shape;
template <shm::shared_value T, class Position>
struct shape<spsc_ring<T, Position>> {
    using position = Position;
};
template <shm::shared_value T, class Position>
struct shape<spsc_ring_raw<T, Position>> {
    using position = Position;
};
template <class Ring>
using position_of = typename shape<Ring>::position;

/// A ring between guard pages, and its two ends. Says the same of a placed ring and of a raw one.
template <class Ring>
class ring_under_test {
public:
    using T = typename Ring::value_type;
    using position = position_of<Ring>;
    using slot = typename Ring::slot;
    using producer_end = typename Ring::producer;
    using consumer_end = typename Ring::consumer;
    static constexpr bool placed = std::is_same_v<Ring, spsc_ring<T, position>>;

    ring_under_test(std::uint32_t capacity, position first)
        : bytes_{header_bytes + capacity * sizeof(slot)}, ring_{create(bytes_, capacity, first)} {
        hand_on_producer();
        hand_on_consumer();
    }

    [[nodiscard]] producer_end& producer() { return *producer_; }
    [[nodiscard]] consumer_end& consumer() { return *consumer_; }
    [[nodiscard]] const Ring& ring() const { return ring_; }
    [[nodiscard]] guarded_bytes& bytes() { return bytes_; }
    [[nodiscard]] std::span<slot> slots() const { return slots_in(bytes_, ring_.capacity()); }
    [[nodiscard]] peer_id producer_peer() const { return placed ? peer_id{1, producers_} : peer_id{}; }
    [[nodiscard]] peer_id consumer_peer() const { return placed ? peer_id{2, consumers_} : peer_id{}; }

    /// The word at `offset`, as a hostile peer writes it.
    template <class Word>
    void overwrite(std::size_t offset, Word value) {
        std::memcpy(bytes_.data() + offset, &value, sizeof(Word));
    }
    template <class Word>
    [[nodiscard]] Word word(std::size_t offset) const {
        Word value;
        std::memcpy(&value, bytes_.data() + offset, sizeof(Word));
        return value;
    }

    /// Gives the role up, and takes it as somebody else who has just attached.
    void hand_on_producer() {
        producer_.reset();
        ++producers_;
        if constexpr (placed)
            producer_.emplace(attach().claim_producer(producer_peer()).value());
        else
            producer_.emplace(attach().make_producer());
    }
    void hand_on_consumer() {
        consumer_.reset();
        ++consumers_;
        if constexpr (placed)
            consumer_.emplace(attach().claim_consumer(consumer_peer()).value());
        else
            consumer_.emplace(attach().make_consumer());
    }

private:
    [[nodiscard]] static std::span<slot> slots_in(const guarded_bytes& bytes, std::uint32_t capacity) {
        return {reinterpret_cast<slot*>(bytes.data() + header_bytes), capacity};
    }
    [[nodiscard]] static Ring create(guarded_bytes& bytes, std::uint32_t capacity, position first) {
        if constexpr (placed)
            return Ring::create(bytes.region(), capacity, first).value();
        else
            return Ring::create(**bytes.region().get<typename Ring::header>(), slots_in(bytes, capacity), first)
                .value();
    }
    [[nodiscard]] Ring attach() const {
        if constexpr (placed)
            return Ring::attach(bytes_.region()).value();
        else
            return Ring::attach(ring_.shared(), slots()).value();
    }

    guarded_bytes bytes_;
    Ring ring_;
    std::uint32_t producers_ = 0;
    std::uint32_t consumers_ = 0;
    std::optional<producer_end> producer_;
    std::optional<consumer_end> consumer_;
};

/// The obvious reference: a deque that knows its capacity. It holds the seeds that the items are made from.
template <class Ring>
struct reference {
    using T = typename Ring::value_type;

    std::deque<std::uint64_t> seeds;
    position_of<Ring> published;
    position_of<Ring> consumed;
    std::uint32_t capacity;

    [[nodiscard]] std::size_t size() const { return seeds.size(); }
    [[nodiscard]] std::size_t free() const { return capacity - seeds.size(); }
    [[nodiscard]] T item(std::size_t i) const { return item_of<T>(seeds[i]); }

    [[nodiscard]] std::size_t reservable(std::size_t count) const {
        return std::min<std::size_t>({count, free(), capacity - published % capacity});
    }
    [[nodiscard]] std::size_t peekable(std::size_t count) const {
        return std::min<std::size_t>({count, size(), capacity - consumed % capacity});
    }

    void push(std::uint64_t first_seed, std::size_t count) {
        count = std::min(count, free());
        for (std::size_t i = 0; i < count; ++i) seeds.push_back(first_seed + i);
        published = static_cast<position_of<Ring>>(published + count);
    }
    void pop(std::size_t count) {
        count = std::min(count, size());
        seeds.erase(seeds.begin(), seeds.begin() + static_cast<std::ptrdiff_t>(count));
        consumed = static_cast<position_of<Ring>>(consumed + count);
    }
};

template <class Ring>
struct call : rc::state::Command<reference<Ring>, ring_under_test<Ring>> {
    using T = typename Ring::value_type;
    using expected = reference<Ring>;
    using subject = ring_under_test<Ring>;
};

std::size_t any_count(std::uint32_t capacity) { return *rc::gen::inRange<std::size_t>(0, capacity + 3); }

template <class Ring>
struct try_push : call<Ring> {
    using typename call<Ring>::T, typename call<Ring>::expected, typename call<Ring>::subject;
    std::uint64_t seed = *rc::gen::arbitrary<std::uint64_t>();

    void apply(expected& state) const override { state.push(seed, 1); }
    void run(const expected& state, subject& ring) const override {
        RC_ASSERT(ring.producer().try_push(item_of<T>(seed)) ==
                  (state.free() == 0 ? shm::ring_full : push_result::pushed));
    }
    void show(std::ostream& out) const override { out << "try_push(" << seed << ")"; }
};

template <class Ring>
struct try_push_n : call<Ring> {
    using typename call<Ring>::T, typename call<Ring>::expected, typename call<Ring>::subject;
    std::uint64_t seed = *rc::gen::arbitrary<std::uint64_t>();
    std::size_t count;

    explicit try_push_n(const expected& state) : count{any_count(state.capacity)} {}
    void apply(expected& state) const override { state.push(seed, count); }
    void run(const expected& state, subject& ring) const override {
        std::vector<T> items;
        for (std::size_t i = 0; i < count; ++i) items.push_back(item_of<T>(seed + i));
        RC_ASSERT(ring.producer().try_push_n(items) == std::min(count, state.free()));
    }
    void show(std::ostream& out) const override { out << "try_push_n(" << count << " from " << seed << ")"; }
};

template <class Ring>
struct reserve_commit : call<Ring> {
    using typename call<Ring>::T, typename call<Ring>::expected, typename call<Ring>::subject;
    std::uint64_t seed = *rc::gen::arbitrary<std::uint64_t>();
    std::size_t count;
    std::size_t most_committed;

    explicit reserve_commit(const expected& state)
        : count{any_count(state.capacity)}, most_committed{any_count(state.capacity)} {}
    void apply(expected& state) const override { state.push(seed, std::min(most_committed, state.reservable(count))); }
    void run(const expected& state, subject& ring) const override {
        const auto slots = ring.producer().reserve(count);
        RC_ASSERT(slots.size() == state.reservable(count));
        for (std::size_t i = 0; i < slots.size(); ++i) slots[i].write(item_of<T>(seed + i));
        ring.producer().commit(std::min(most_committed, slots.size()));
    }
    void show(std::ostream& out) const override {
        out << "reserve(" << count << "), commit(at most " << most_committed << " from " << seed << ")";
    }
};

template <class Ring>
struct try_pop : call<Ring> {
    using typename call<Ring>::expected, typename call<Ring>::subject;

    void apply(expected& state) const override { state.pop(1); }
    void run(const expected& state, subject& ring) const override {
        const auto item = ring.consumer().try_pop();
        RC_ASSERT(item.has_value() == !state.seeds.empty());
        if (item) RC_ASSERT(*item == state.item(0));
    }
    void show(std::ostream& out) const override { out << "try_pop()"; }
};

template <class Ring>
struct try_pop_n : call<Ring> {
    using typename call<Ring>::T, typename call<Ring>::expected, typename call<Ring>::subject;
    std::size_t count;

    explicit try_pop_n(const expected& state) : count{any_count(state.capacity)} {}
    void apply(expected& state) const override { state.pop(count); }
    void run(const expected& state, subject& ring) const override {
        const T untouched = item_of<T>(0);
        std::vector<T> items(count, untouched);
        const std::size_t popped = ring.consumer().try_pop_n(items);
        RC_ASSERT(popped == std::min(count, state.size()));
        for (std::size_t i = 0; i < popped; ++i) RC_ASSERT(items[i] == state.item(i));
        for (std::size_t i = popped; i < count; ++i) RC_ASSERT(items[i] == untouched);
    }
    void show(std::ostream& out) const override { out << "try_pop_n(" << count << ")"; }
};

template <class Ring>
struct peek_consume : call<Ring> {
    using typename call<Ring>::expected, typename call<Ring>::subject;
    std::size_t count;
    std::size_t most_consumed;

    explicit peek_consume(const expected& state)
        : count{any_count(state.capacity)}, most_consumed{any_count(state.capacity)} {}
    void apply(expected& state) const override { state.pop(std::min(most_consumed, state.peekable(count))); }
    void run(const expected& state, subject& ring) const override {
        const auto slots = ring.consumer().peek(count);
        RC_ASSERT(slots.size() == state.peekable(count));
        for (std::size_t i = 0; i < slots.size(); ++i) RC_ASSERT(slots[i].read() == state.item(i));
        ring.consumer().consume(std::min(most_consumed, slots.size()));
    }
    void show(std::ostream& out) const override {
        out << "peek(" << count << "), consume(at most " << most_consumed << ")";
    }
};

template <class Ring>
struct is_full : call<Ring> {
    using typename call<Ring>::expected, typename call<Ring>::subject;
    void run(const expected& state, subject& ring) const override {
        RC_ASSERT(ring.producer().is_full() == (state.free() == 0));
    }
    void show(std::ostream& out) const override { out << "is_full()"; }
};

template <class Ring>
struct available_capacity : call<Ring> {
    using typename call<Ring>::expected, typename call<Ring>::subject;
    void run(const expected& state, subject& ring) const override {
        RC_ASSERT(ring.producer().available_capacity() == state.free());
    }
    void show(std::ostream& out) const override { out << "available_capacity()"; }
};

template <class Ring>
struct is_empty : call<Ring> {
    using typename call<Ring>::expected, typename call<Ring>::subject;
    void run(const expected& state, subject& ring) const override {
        RC_ASSERT(ring.consumer().is_empty() == (state.size() == 0));
    }
    void show(std::ostream& out) const override { out << "is_empty()"; }
};

template <class Ring>
struct size : call<Ring> {
    using typename call<Ring>::expected, typename call<Ring>::subject;
    void run(const expected& state, subject& ring) const override { RC_ASSERT(ring.consumer().size() == state.size()); }
    void show(std::ostream& out) const override { out << "size()"; }
};

template <class Ring>
struct observe : call<Ring> {
    using typename call<Ring>::expected, typename call<Ring>::subject;
    void run(const expected& state, subject& ring) const override {
        const shm::ring_status seen = ring.ring().status();
        RC_ASSERT(seen.published == state.published);
        RC_ASSERT(seen.consumed == state.consumed);
        RC_ASSERT(seen.capacity == state.capacity);
        RC_ASSERT(seen.size == state.size());
        RC_ASSERT(seen.producer == ring.producer_peer());
        RC_ASSERT(seen.consumer == ring.consumer_peer());
        RC_ASSERT(!seen.reported_corrupt);
        RC_ASSERT(ring.ring().size_approx() == state.size());
        RC_ASSERT(ring.ring().is_empty() == (state.size() == 0));
        RC_ASSERT(ring.ring().capacity() == state.capacity);
        RC_ASSERT(ring.producer().capacity() == state.capacity);
        RC_ASSERT(ring.consumer().capacity() == state.capacity);
        RC_ASSERT(!ring.producer().corrupt());
        RC_ASSERT(!ring.consumer().corrupt());
        RC_ASSERT(ring.bytes().untouched());
    }
    void show(std::ostream& out) const override { out << "status(), size_approx(), is_empty(), capacity()"; }
};

template <class Ring>
struct hand_on_producer : call<Ring> {
    using typename call<Ring>::expected, typename call<Ring>::subject;
    void run(const expected&, subject& ring) const override { ring.hand_on_producer(); }
    void show(std::ostream& out) const override { out << "the producer drops its end, another attaches and claims it"; }
};

template <class Ring>
struct hand_on_consumer : call<Ring> {
    using typename call<Ring>::expected, typename call<Ring>::subject;
    void run(const expected&, subject& ring) const override { ring.hand_on_consumer(); }
    void show(std::ostream& out) const override { out << "the consumer drops its end, another attaches and claims it"; }
};

template <class Ring>
[[nodiscard]] std::uint32_t any_capacity() {
    constexpr int exponents = std::min(std::numeric_limits<position_of<Ring>>::digits, 11);
    return std::uint32_t{1} << *rc::gen::inRange(0, exponents);
}

/// Where positions begin: at nothing, anywhere, or so that they wrap within a lap or two.
template <class Ring>
[[nodiscard]] position_of<Ring> any_first_position(std::uint32_t capacity) {
    using position = position_of<Ring>;
    const auto laps_away = *rc::gen::inRange<std::uint32_t>(0, 2 * capacity + 1);
    return *rc::gen::oneOf(rc::gen::just(position{0}), rc::gen::arbitrary<position>(),
                           rc::gen::just(static_cast<position>(position{0} - laps_away)));
}

template <class Ring>
class any_sequence_of_calls : public testing::Test {};

using rings = testing::Types<spsc_ring<std::uint8_t>, spsc_ring<std::uint64_t>, spsc_ring<three_bytes>,
                             spsc_ring<forty_eight_bytes>, spsc_ring<whole_line>,
                             spsc_ring<std::uint64_t, std::uint8_t>, spsc_ring<three_bytes, std::uint16_t>,
                             spsc_ring_raw<std::uint64_t>, spsc_ring_raw<forty_eight_bytes, std::uint8_t>>;
TYPED_TEST_SUITE(any_sequence_of_calls, rings, );

TYPED_TEST(any_sequence_of_calls, agrees_with_a_deque) {
    EXPECT_TRUE(rc::check([] {
        using ring = TypeParam;
        const auto capacity = any_capacity<ring>();
        const auto first = any_first_position<ring>(capacity);
        RC_LOG() << "capacity " << capacity << ", first position " << std::uint64_t{first} << "\n";
        RC_CLASSIFY(static_cast<position_of<ring>>(first + 2 * capacity) < first, "positions wrap");
        ring_under_test<ring> subject{capacity, first};
        rc::state::check(
            reference<ring>{{}, first, first, capacity}, subject,
            rc::state::gen::execOneOfWithArgs<try_push<ring>, try_push_n<ring>, reserve_commit<ring>, try_pop<ring>,
                                              try_pop_n<ring>, peek_consume<ring>, is_full<ring>,
                                              available_capacity<ring>, is_empty<ring>, size<ring>, observe<ring>,
                                              hand_on_producer<ring>, hand_on_consumer<ring>>());
        RC_ASSERT(subject.bytes().untouched());
    }));
}

TEST(spsc_ring, stays_in_order_while_narrow_positions_wrap_many_times) {
    for (const std::uint32_t capacity : {1u, 2u, 16u, 128u}) {
        ring_under_test<spsc_ring<std::uint64_t, std::uint8_t>> subject{capacity, 250};
        std::uint64_t pushed = 0;
        std::uint64_t popped = 0;
        while (popped < 20 * 256) {
            while (subject.producer().try_push(pushed) == push_result::pushed) ++pushed;
            ASSERT_EQ(pushed - popped, capacity);
            std::array<std::uint64_t, 3> some;
            const std::size_t count = subject.consumer().try_pop_n(some);
            ASSERT_EQ(count, std::min<std::size_t>(capacity, some.size()));
            for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(some[i], popped++);
        }
    }
}

/// The ways in which an endpoint looks at its peer's position though it knows of room or items enough.
constexpr int ways_to_look = 3;

template <class Subject>
void look_at_consumer(Subject& subject, int way) {
    auto& producer = subject.producer();
    const std::size_t more_than_fits = producer.capacity() + 1;
    const std::vector<typename Subject::T> items(more_than_fits);
    const std::size_t count = way == 0   ? producer.available_capacity()
                              : way == 1 ? producer.try_push_n(items)
                                         : producer.reserve(more_than_fits).size();
    ASSERT_LE(count, producer.capacity());
}
template <class Subject>
void look_at_producer(Subject& subject, int way) {
    auto& consumer = subject.consumer();
    const std::size_t more_than_fits = consumer.capacity() + 1;
    std::vector<typename Subject::T> items(more_than_fits);
    const std::size_t count = way == 0   ? consumer.size()
                              : way == 1 ? consumer.try_pop_n(items)
                                         : consumer.peek(more_than_fits).size();
    ASSERT_LE(count, consumer.capacity());
}

// What an endpoint has to say for ever once it has met nonsense, whatever the shared word says later.
template <class Subject>
void expect_full_for_ever(Subject& subject) {
    auto& producer = subject.producer();
    const auto before = subject.ring().status().published;
    std::vector<typename Subject::T> items(3);
    for (int again = 0; again < 2; ++again) {
        ASSERT_TRUE(producer.corrupt());
        ASSERT_EQ(producer.try_push(items[0]), push_result::corrupt);
        ASSERT_EQ(producer.try_push_n(items), 0u);
        ASSERT_EQ(producer.reserve(1).size(), 0u);
        ASSERT_TRUE(producer.is_full());
        ASSERT_EQ(producer.available_capacity(), 0u);
    }
    ASSERT_EQ(subject.ring().status().published, before);
    ASSERT_TRUE(subject.ring().status().reported_corrupt);
}
template <class Subject>
void expect_empty_for_ever(Subject& subject) {
    auto& consumer = subject.consumer();
    const auto before = subject.ring().status().consumed;
    std::vector<typename Subject::T> items(3);
    for (int again = 0; again < 2; ++again) {
        ASSERT_TRUE(consumer.corrupt());
        ASSERT_FALSE(consumer.try_pop().has_value());
        ASSERT_EQ(consumer.try_pop_n(items), 0u);
        ASSERT_EQ(consumer.peek(1).size(), 0u);
        ASSERT_TRUE(consumer.is_empty());
        ASSERT_EQ(consumer.size(), 0u);
    }
    ASSERT_EQ(subject.ring().status().consumed, before);
    ASSERT_TRUE(subject.ring().status().reported_corrupt);
}

constexpr std::size_t published_offset = 0;
constexpr std::size_t consumed_offset = 64;

/// The values at which a comparison with a position, a capacity or a number's width can go wrong.
template <class Position>
[[nodiscard]] std::vector<Position> values_around(Position published, Position consumed, std::uint32_t capacity) {
    std::vector<Position> values;
    if constexpr (sizeof(Position) == 1) {
        for (unsigned value = 0; value < 256; ++value) values.push_back(static_cast<Position>(value));
    } else {
        for (const Position base : {Position{0}, published, consumed, static_cast<Position>(Position{1} << 31),
                                    static_cast<Position>(Position{1} << 32), static_cast<Position>(Position{1} << 63)})
            for (const Position away : {Position{0}, Position{1}, Position{capacity} - 1, Position{capacity},
                                        Position{capacity} + 1, 2 * Position{capacity}}) {
                values.push_back(base + away);
                values.push_back(base - away);
            }
    }
    return values;
}

template <class Position>
class peer_writes : public testing::Test {
protected:
    using subject = ring_under_test<spsc_ring<std::uint64_t, Position>>;

    /// Runs `attack(ring, pushed, popped, value, way)` for every filling of the ring and every value worth writing.
    template <class Attack>
    static void for_every_value(std::size_t attacked_offset, Attack attack) {
        for (const std::uint32_t capacity : {1u, 2u, 8u, 128u})
            for (const Position first : {Position{0}, static_cast<Position>(0 - capacity / 2 - 1)})
                for (const std::uint32_t pushed : {0u, 1u, capacity / 2, capacity})
                    for (const std::uint32_t popped : {0u, 1u, pushed}) {
                        if (popped > pushed) continue;
                        const auto published = static_cast<Position>(first + pushed);
                        const auto consumed = static_cast<Position>(first + popped);
                        for (const Position value : values_around(published, consumed, capacity))
                            for (int way = 0; way < ways_to_look; ++way) {
                                SCOPED_TRACE(testing::Message()
                                             << "capacity " << capacity << ", published " << std::uint64_t{published}
                                             << ", consumed " << std::uint64_t{consumed} << ", written "
                                             << std::uint64_t{value} << " at byte " << attacked_offset << ", way "
                                             << way);
                                subject ring{capacity, first};
                                ASSERT_EQ(ring.producer().try_push_n(std::vector<std::uint64_t>(pushed)), pushed);
                                std::vector<std::uint64_t> items(popped);
                                ASSERT_EQ(ring.consumer().try_pop_n(items), popped);
                                ASSERT_EQ(ring.producer().available_capacity(), capacity - (pushed - popped));
                                ASSERT_EQ(ring.consumer().size(), pushed - popped);
                                const auto sane = ring.template word<Position>(attacked_offset);
                                ring.overwrite(attacked_offset, value);
                                attack(ring, published, consumed, value, way);
                                if (testing::Test::HasFatalFailure()) return;
                                ring.overwrite(attacked_offset, sane);
                                if (ring.producer().corrupt()) expect_full_for_ever(ring);
                                if (ring.consumer().corrupt()) expect_empty_for_ever(ring);
                                ASSERT_TRUE(ring.bytes().untouched());
                                if (testing::Test::HasFatalFailure()) return;
                            }
                    }
    }
};
using widths = testing::Types<std::uint8_t, std::uint64_t>;
TYPED_TEST_SUITE(peer_writes, widths, );

TYPED_TEST(peer_writes, a_consumed_position_is_believed_only_between_the_last_one_and_our_own) {
    TestFixture::for_every_value(consumed_offset, [](auto& ring, TypeParam published, TypeParam consumed,
                                                     TypeParam value, int way) {
        const bool possible = static_cast<TypeParam>(value - consumed) <= static_cast<TypeParam>(published - consumed);
        look_at_consumer(ring, way);
        ASSERT_EQ(ring.producer().corrupt(), !possible);
        ASSERT_EQ(ring.ring().status().reported_corrupt, !possible);
        if (possible && way == 0) {
            const auto held = static_cast<TypeParam>(published - value);
            ASSERT_EQ(ring.producer().available_capacity(), ring.ring().capacity() - held);
        }
    });
}

TYPED_TEST(peer_writes, a_published_position_is_believed_only_between_the_last_one_and_a_full_ring) {
    TestFixture::for_every_value(
        published_offset, [](auto& ring, TypeParam published, TypeParam consumed, TypeParam value, int way) {
            auto& consumer = ring.consumer();
            const std::uint32_t capacity = consumer.capacity();
            const auto free = static_cast<TypeParam>(capacity - static_cast<TypeParam>(published - consumed));
            const bool possible = static_cast<TypeParam>(value - published) <= free;
            look_at_producer(ring, way);
            ASSERT_EQ(consumer.corrupt(), !possible);
            ASSERT_EQ(ring.ring().status().reported_corrupt, !possible);
            if (possible && way == 0) {
                ASSERT_EQ(consumer.size(), static_cast<TypeParam>(value - consumed));
            }
        });
}

TEST(spsc_ring, nonsense_met_by_a_single_push_or_pop_latches_too) {
    ring_under_test<spsc_ring<std::uint64_t>> ring{2, 0};
    ASSERT_FALSE(ring.consumer().try_pop().has_value());
    ring.overwrite(published_offset, std::uint64_t{3});
    ASSERT_FALSE(ring.consumer().try_pop().has_value());
    expect_empty_for_ever(ring);

    ring.overwrite(published_offset, std::uint64_t{0});
    ASSERT_EQ(ring.producer().try_push_n(std::vector<std::uint64_t>(2)), 2u);
    ring.overwrite(consumed_offset, std::uint64_t{3});
    ASSERT_EQ(ring.producer().try_push(0), push_result::corrupt);
    expect_full_for_ever(ring);
}

TEST(spsc_ring, a_new_holder_believes_the_words_anew) {
    ring_under_test<spsc_ring<std::uint64_t>> ring{2, 0};
    ring.overwrite(consumed_offset, std::uint64_t{7});
    ASSERT_EQ(ring.producer().available_capacity(), 0u);
    ASSERT_TRUE(ring.producer().corrupt());
    ring.overwrite(consumed_offset, std::uint64_t{0});
    ring.hand_on_producer();
    ASSERT_FALSE(ring.producer().corrupt());
    ASSERT_EQ(ring.producer().try_push(1), push_result::pushed);
    ASSERT_EQ(ring.consumer().try_pop(), 1u);
}

TEST(spsc_ring, a_reservation_made_before_the_nonsense_was_met_publishes_nothing) {
    ring_under_test<spsc_ring<std::uint64_t>> ring{8, 0};
    ASSERT_EQ(ring.producer().reserve(5).size(), 5u);
    ring.overwrite(consumed_offset, std::uint64_t{100});
    ASSERT_EQ(ring.producer().available_capacity(), 0u);
    ring.producer().commit(5);
    expect_full_for_ever(ring);
    ASSERT_EQ(ring.ring().status().published, 0u);
}

TEST(spsc_ring, a_peek_made_before_the_nonsense_was_met_consumes_nothing) {
    ring_under_test<spsc_ring<std::uint64_t>> ring{8, 0};
    ASSERT_EQ(ring.producer().try_push_n(std::vector<std::uint64_t>(5)), 5u);
    ASSERT_EQ(ring.consumer().peek(5).size(), 5u);
    ring.overwrite(published_offset, std::uint64_t{100});
    ASSERT_EQ(ring.consumer().size(), 0u);
    ring.consumer().consume(5);
    expect_empty_for_ever(ring);
    ASSERT_EQ(ring.ring().status().consumed, 0u);
}

TEST(spsc_ring, what_a_peer_writes_over_the_rest_of_the_header_changes_nothing) {
    ring_under_test<spsc_ring<std::uint64_t>> ring{4, 0};
    for (std::size_t offset = 128; offset < header_bytes; offset += 4) ring.overwrite(offset, ~std::uint32_t{0});
    // Our own word may be lost too: it is never read back.
    for (std::uint64_t i = 0; i < 20; ++i) {
        ring.overwrite(published_offset, ~std::uint64_t{0});
        ASSERT_EQ(ring.producer().try_push(i), push_result::pushed);
        ring.overwrite(consumed_offset, i);
        ASSERT_EQ(ring.consumer().try_pop(), i);
        ASSERT_EQ(ring.producer().capacity(), 4u);
        ASSERT_EQ(ring.ring().status().capacity, 4u);
    }
}

/// Calls to a ring whose header somebody else rewrites: nothing can be expected but that every call returns, stays
/// inside the slots, never counts above the capacity, and that what is corrupt once is so for ever.
template <class Ring>
class ring_under_attack : public ring_under_test<Ring> {
public:
    using ring_under_test<Ring>::ring_under_test;
    using typename ring_under_test<Ring>::slot;
    std::span<slot> reserved;
    std::span<const slot> peeked;
    bool was_full_for_ever = false;
    bool was_empty_for_ever = false;

    void check_slots(std::span<const slot> some) const {
        const auto all = this->slots();
        RC_ASSERT(some.data() >= all.data());
        RC_ASSERT(some.data() + some.size() <= all.data() + all.size());
    }
    void check_latches() {
        RC_ASSERT(!was_full_for_ever || this->producer().corrupt());
        RC_ASSERT(!was_empty_for_ever || this->consumer().corrupt());
        was_full_for_ever = this->producer().corrupt();
        was_empty_for_ever = this->consumer().corrupt();
    }
};

struct nothing_known {};

template <class Ring>
struct attacked_call : rc::state::Command<nothing_known, ring_under_attack<Ring>> {
    static constexpr const char* names[] = {"try_push",  "try_push_n", "reserve",   "commit", "is_full",
                                            "available", "try_pop",    "try_pop_n", "peek",   "consume",
                                            "is_empty",  "size",       "status"};
    std::size_t which = *rc::gen::inRange<std::size_t>(0, std::size(names));
    std::size_t count = *rc::gen::inRange<std::size_t>(0, 300);

    void run(const nothing_known&, ring_under_attack<Ring>& ring) const override {
        using T = typename Ring::value_type;
        auto& producer = ring.producer();
        auto& consumer = ring.consumer();
        const std::uint32_t capacity = ring.ring().capacity();
        std::vector<T> items(count);
        if (which <= 1) ring.reserved = {};
        if (which == 6 || which == 7) ring.peeked = {};
        switch (which) {
            case 0: {
                const auto pushed = producer.try_push(item_of<T>(count));
                RC_ASSERT(!ring.was_full_for_ever || pushed == push_result::corrupt);
                break;
            }
            case 1: {
                const auto pushed = producer.try_push_n(items);
                RC_ASSERT(pushed <= (ring.was_full_for_ever ? 0 : std::min<std::size_t>(count, capacity)));
                break;
            }
            case 2:
                ring.reserved = producer.reserve(count);
                RC_ASSERT(ring.reserved.size() <=
                          (ring.was_full_for_ever ? 0 : std::min<std::size_t>(count, capacity)));
                ring.check_slots(ring.reserved);
                for (auto& slot : ring.reserved) slot.write(item_of<T>(count));
                break;
            case 3: producer.commit(std::min(count, std::exchange(ring.reserved, {}).size())); break;
            case 4: RC_ASSERT(producer.is_full() || !ring.was_full_for_ever); break;
            case 5: RC_ASSERT(producer.available_capacity() <= (ring.was_full_for_ever ? 0 : capacity)); break;
            case 6: RC_ASSERT(!consumer.try_pop().has_value() || !ring.was_empty_for_ever); break;
            case 7: {
                const auto popped = consumer.try_pop_n(items);
                RC_ASSERT(popped <= (ring.was_empty_for_ever ? 0 : std::min<std::size_t>(count, capacity)));
                break;
            }
            case 8:
                ring.peeked = consumer.peek(count);
                RC_ASSERT(ring.peeked.size() <= (ring.was_empty_for_ever ? 0 : std::min<std::size_t>(count, capacity)));
                ring.check_slots(ring.peeked);
                for (const auto& slot : ring.peeked) (void)slot.read();
                break;
            case 9: consumer.consume(std::min(count, std::exchange(ring.peeked, {}).size())); break;
            case 10: RC_ASSERT(consumer.is_empty() || !ring.was_empty_for_ever); break;
            case 11: RC_ASSERT(consumer.size() <= (ring.was_empty_for_ever ? 0 : capacity)); break;
            default: RC_ASSERT(ring.ring().status().size <= capacity); break;
        }
        ring.check_latches();
    }
    void show(std::ostream& out) const override { out << names[which] << "(" << count << ")"; }
};

template <class Ring>
struct overwrite : rc::state::Command<nothing_known, ring_under_attack<Ring>> {
    // The positions are attacked as often as all the rest together.
    std::size_t offset = *rc::gen::oneOf(
        rc::gen::element(std::size_t{published_offset}, std::size_t{consumed_offset}),
        rc::gen::map(rc::gen::inRange<std::size_t>(0, header_bytes / 8), [](std::size_t word) { return word * 8; }));
    bool relative = *rc::gen::arbitrary<bool>();
    std::uint64_t value = *rc::gen::oneOf(
        rc::gen::arbitrary<std::uint64_t>(), rc::gen::inRange<std::uint64_t>(0, 300),
        rc::gen::map(rc::gen::inRange<std::uint64_t>(1, 300), [](std::uint64_t n) { return 0 - n; }),
        rc::gen::element(std::uint64_t{1} << 31, std::uint64_t{~0u}, std::uint64_t{1} << 32, std::uint64_t{1} << 63));

    void run(const nothing_known&, ring_under_attack<Ring>& ring) const override {
        ring.overwrite(offset, value + (relative ? ring.template word<std::uint64_t>(offset) : 0));
    }
    void show(std::ostream& out) const override { out << "byte " << offset << (relative ? " += " : " = ") << value; }
};

template <class Ring>
class hostile_peer : public testing::Test {};
using attacked_rings = testing::Types<spsc_ring<std::uint8_t>, spsc_ring<std::uint64_t>, spsc_ring<three_bytes>,
                                      spsc_ring<whole_line>, spsc_ring<std::uint64_t, std::uint8_t>>;
TYPED_TEST_SUITE(hostile_peer, attacked_rings, );

TYPED_TEST(hostile_peer, whatever_it_writes_the_endpoints_stay_safe) {
    EXPECT_TRUE(rc::check([] {
        const auto capacity = std::min(any_capacity<TypeParam>(), std::uint32_t{256});
        const auto first = any_first_position<TypeParam>(capacity);
        RC_LOG() << "capacity " << capacity << ", first position " << std::uint64_t{first} << "\n";
        ring_under_attack<TypeParam> subject{capacity, first};
        rc::state::check(nothing_known{}, subject,
                         rc::state::gen::execOneOfWithArgs<attacked_call<TypeParam>, attacked_call<TypeParam>,
                                                           attacked_call<TypeParam>, overwrite<TypeParam>>());
        RC_ASSERT(subject.bytes().untouched());
        RC_TAG(subject.was_full_for_ever ? "full for ever" : "producer unimpressed");
        RC_TAG(subject.was_empty_for_ever ? "empty for ever" : "consumer unimpressed");
    }));
}

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
    guarded_bytes bytes{needed};
    const shm::region whole = bytes.region();
    const shm::region read_only{bytes.data(), needed, shm::access::read_only};

    template <class Word>
    void set(std::size_t offset, Word value) {
        std::memcpy(bytes.data() + offset, &value, sizeof(Word));
    }
};

TEST_F(refusals, create_wants_a_region_aligned_to_a_line) {
    expect_refused(ring_u64::create({bytes.data() + 8, needed - 8}, 8), {fault_kind::misaligned, 64, 8},
                   "address: expected a multiple of 64 bytes, found one that is 8 more");
}

TEST_F(refusals, create_wants_room_for_all_slots) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{100}, header_bytes, needed - 1})
        expect_refused(ring_u64::create({bytes.data(), size}, 16), {fault_kind::too_small, needed, size},
                       "region size in bytes: expected at least 320, found " + std::to_string(size));
}

TEST_F(refusals, create_says_that_no_region_can_hold_a_size_that_overflows) {
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
    EXPECT_EQ(ring_u64::required_size(most / 8), most);
    EXPECT_EQ(ring_u64::required_size((most - header_bytes) / 8), (most - header_bytes) / 8 * 8 + header_bytes);
    expect_refused(ring_u64::create(whole, std::size_t{1} << 63), {fault_kind::too_small, most, needed},
                   "region size in bytes: expected at least 18446744073709551615, found 320");
}

TEST_F(refusals, create_wants_to_write) {
    expect_refused(ring_u64::create(read_only, 16), {fault_kind::access_denied, 1, 0},
                   "creator: expected a writable mapping, found a read-only one");
}

TEST_F(refusals, create_wants_a_capacity_that_is_a_power_of_two_and_that_positions_can_count) {
    for (const std::size_t capacity : {0u, 3u, 6u, 15u})
        expect_refused(ring_u64::create(whole, capacity), {fault_kind::capacity, std::uint64_t{1} << 31, capacity},
                       "capacity: expected a power of two up to 2147483648, found " + std::to_string(capacity));
    guarded_bytes larger{header_bytes + 256};
    using narrow = spsc_ring<std::uint8_t, std::uint8_t>;
    expect_refused(narrow::create(larger.region(), 256), {fault_kind::capacity, 128, 256},
                   "capacity: expected a power of two up to 128, found 256");
    EXPECT_TRUE(narrow::create(larger.region(), 128).has_value());
}

TEST_F(refusals, create_wants_an_element_whose_size_the_header_can_hold) {
    struct four_gib {
        std::uint8_t bytes[std::uint64_t{1} << 32];
    };
    using ring = spsc_ring_raw<four_gib>;
    auto* const never_touched = reinterpret_cast<ring::slot*>(bytes.data() + header_bytes);
    expect_refused(ring::create(**whole.get<ring::header>(), {never_touched, 1}),
                   {fault_kind::element_size, 4294967295, 4294967296},
                   "element size: expected 4294967295 bytes, found 4294967296");
}

TEST_F(refusals, create_finds_what_somebody_has_created_or_begun) {
    ASSERT_TRUE(ring_u64::create(whole, 16).has_value());
    expect_refused(ring_u64::create(whole, 16), {fault_kind::already_created, 0, 2},
                   "init state: expected 0 (nothing there), found 2 (ready)");
    set(132, std::uint32_t{1});
    expect_refused(ring_u64::create(whole, 16), {fault_kind::already_created, 0, 1},
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
    expect_refused(ring_u64::attach({bytes.data() + 16, needed - 16}), {fault_kind::misaligned, 64, 16},
                   "address: expected a multiple of 64 bytes, found one that is 16 more");
}

TEST_F(refusals, attach_wants_room_for_the_header) {
    for (const std::size_t size : {std::size_t{0}, header_bytes - 1})
        expect_refused(ring_u64::attach({bytes.data(), size}), {fault_kind::too_small, header_bytes, size},
                       "region size in bytes: expected at least 192, found " + std::to_string(size));
}

TEST_F(refusals, attach_wants_room_for_all_slots) {
    ASSERT_TRUE(ring_u64::create(whole, 16).has_value());
    expect_refused(ring_u64::attach({bytes.data(), needed - 1}), {fault_kind::too_small, 16, 15},
                   "slots: expected at least 16, found 15");
}

TEST_F(refusals, attach_without_a_deadline_looks_once) {
    expect_refused(ring_u64::attach(whole), {fault_kind::not_ready, 2, 0},
                   "init state: expected 2 (ready), found 0 (nothing there)");
}

TEST_F(refusals, attach_waits_to_its_deadline_for_a_creator_that_has_died) {
    set(132, std::uint32_t{1});
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{20};
    expect_refused(ring_u64::attach(whole, until), {fault_kind::not_ready, 2, 1},
                   "init state: expected 2 (ready), found 1 (being initialised)");
    EXPECT_GE(std::chrono::steady_clock::now(), until);
}

TEST_F(refusals, attach_waits_for_a_creator_that_finishes) {
    std::thread creator{[&] { EXPECT_TRUE(ring_u64::create(whole, 16).has_value()); }};
    const auto ring = ring_u64::attach(whole, std::chrono::steady_clock::now() + std::chrono::minutes{1});
    creator.join();
    ASSERT_TRUE(ring.has_value()) << ring.error().sentence();
    EXPECT_EQ(ring->capacity(), 16u);
}

TEST_F(refusals, attach_wants_the_very_layout) {
    ASSERT_TRUE(ring_u64::create(whole, 16).has_value());
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
                         "capacity: expected a power of two up to 2147483648, found 0"},
             other_value{128,
                         12,
                         4,
                         {fault_kind::capacity, std::uint64_t{1} << 31, 12},
                         "capacity: expected a power of two up to 2147483648, found 12"},
             other_value{128, 32, 4, {fault_kind::too_small, 32, 16}, "slots: expected at least 32, found 16"},
         }) {
        std::array<std::byte, 8> before;
        std::memcpy(before.data(), bytes.data() + offset, value_bytes);
        std::memcpy(bytes.data() + offset, &value, value_bytes);
        expect_refused(ring_u64::attach(whole), expected, sentence);
        std::memcpy(bytes.data() + offset, before.data(), value_bytes);
        ASSERT_TRUE(ring_u64::attach(whole).has_value());
    }
}

TEST_F(refusals, attach_wants_the_very_element) {
    ASSERT_TRUE(ring_u64::create(whole, 16).has_value());
    expect_refused(spsc_ring<forty_eight_bytes>::attach(whole), {fault_kind::element_size, 48, 8},
                   "element size: expected 48 bytes, found 8");
    using eight_bytes = std::array<std::uint8_t, 8>;
    expect_refused(spsc_ring<eight_bytes>::attach(whole), {fault_kind::element_alignment, 1, 8},
                   "element alignment: expected 1 bytes, found 8");
    using narrow = spsc_ring<std::uint64_t, std::uint32_t>;
    const auto refused = narrow::attach(whole);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error(),
              (fault{fault_kind::layout_hash, spsc_ring_raw<std::uint64_t, std::uint32_t>::layout_hash(),
                     spsc_ring_raw<std::uint64_t>::layout_hash()}));
}

TEST_F(refusals, claims_want_to_write) {
    ASSERT_TRUE(ring_u64::create(whole, 16).has_value());
    const auto observer = ring_u64::attach(read_only).value();
    EXPECT_EQ(observer.size_approx(), 0u);
    const fault denied{fault_kind::access_denied, 1, 0};
    expect_refused(observer.claim_producer({1, 1}), denied,
                   "producer role: expected a writable mapping, found a read-only one");
    expect_refused(observer.claim_consumer({1, 1}), denied,
                   "consumer role: expected a writable mapping, found a read-only one");
    expect_refused(observer.split({1, 1}), denied, "producer role: expected a writable mapping, found a read-only one");
}

TEST_F(refusals, claims_want_an_identity) {
    const auto ring = ring_u64::create(whole, 16).value();
    const fault nobody{fault_kind::peer_id, 1, 0};
    expect_refused(ring.claim_producer({0, 5}), nobody, "producer role: expected an id of at least 1, found 0");
    expect_refused(ring.claim_consumer({0, 5}), nobody, "consumer role: expected an id of at least 1, found 0");
    EXPECT_FALSE(ring.status().producer.valid());
    EXPECT_FALSE(ring.status().consumer.valid());
}

TEST_F(refusals, a_role_is_held_once) {
    const auto ring = ring_u64::create(whole, 16).value();
    {
        const auto producer = ring.claim_producer({7, 9}).value();
        expect_refused(ring.claim_producer({1, 1}), {fault_kind::busy, 0, (peer_id{7, 9}.word())},
                       "producer role: expected nobody, found peer 7 (incarnation 9)");
        expect_refused(ring_u64::attach(whole).value().claim_producer({7, 9}),
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
    const auto ring = ring_u64::create(whole, 16).value();
    set(published_offset, std::uint64_t{117});
    set(consumed_offset, std::uint64_t{100});
    const fault apart{fault_kind::positions, 16, 17};
    expect_refused(ring.claim_producer({1, 1}), apart, "positions: expected at most 16 apart, found 17");
    expect_refused(ring.claim_consumer({1, 1}), apart, "positions: expected at most 16 apart, found 17");
    EXPECT_FALSE(ring.status().producer.valid());
    EXPECT_FALSE(ring.status().consumer.valid());
    EXPECT_TRUE(ring.status().reported_corrupt);
    EXPECT_EQ(ring.size_approx(), 16u);
    set(published_offset, std::uint64_t{116});
    EXPECT_TRUE(ring.claim_producer({1, 1}).has_value());
}

}  // namespace
