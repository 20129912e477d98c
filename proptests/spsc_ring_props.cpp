// SPDX-License-Identifier: MIT OR Apache-2.0
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/state.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <shm/spsc_ring.hpp>

#include "models/spsc_ring/reference.hpp"
#include "testkit/guarded_bytes.hpp"
#include "testkit/sparse_bytes.hpp"
#include "testkit/test_items.hpp"
#include "testkit/words.hpp"

namespace {

using shm::peer_id;
using shm::push_result;
using shm::spsc_ring;
using shm::spsc_ring_raw;
using shm::model::perform;
using shm::model::ring_answer;
using shm::model::ring_call;
using shm::model::ring_reference;

constexpr std::size_t header_bytes = 192;
constexpr std::size_t published_offset = 0;
constexpr std::size_t consumed_offset = 64;

/// A ring and its two ends, whatever its T. An item goes in as the seed that it is made from, and comes out as its
/// fingerprint.
class any_ring {
public:
    virtual ~any_ring() = default;
    [[nodiscard]] virtual std::uint64_t fingerprint(std::uint64_t seed) const = 0;

    virtual push_result try_push(std::uint64_t seed) = 0;
    virtual std::size_t try_push_n(std::uint64_t first_seed, std::size_t count) = 0;
    virtual std::size_t reserve_and_fill(std::uint64_t first_seed, std::size_t count) = 0;
    virtual void commit(std::size_t count) = 0;
    virtual bool is_full() = 0;
    virtual std::uint32_t available_capacity() = 0;
    virtual bool producer_corrupt() = 0;

    virtual std::optional<std::uint64_t> try_pop() = 0;
    virtual std::vector<std::uint64_t> try_pop_n(std::size_t count) = 0;
    virtual std::vector<std::uint64_t> peek(std::size_t count) = 0;
    virtual void consume(std::size_t count) = 0;
    virtual bool is_empty() = 0;
    virtual std::uint32_t size() = 0;
    virtual bool consumer_corrupt() = 0;

    virtual shm::ring_status status() = 0;
    virtual std::uint32_t size_approx() = 0;
    virtual bool is_empty_approx() = 0;
    virtual std::array<std::uint32_t, 3> capacities() = 0;

    /// Gives the role up, and takes it as somebody else who has just attached.
    virtual void hand_on_producer() = 0;
    virtual void hand_on_consumer() = 0;
    [[nodiscard]] virtual peer_id producer_peer() const = 0;
    [[nodiscard]] virtual peer_id consumer_peer() const = 0;

    /// All that a hostile peer may overwrite.
    [[nodiscard]] std::byte* bytes() const { return bytes_.data(); }
    [[nodiscard]] bool untouched() const { return bytes_.untouched(); }

protected:
    explicit any_ring(std::size_t size_bytes) : bytes_{size_bytes} {}
    guarded_bytes bytes_;
};

template <class Ring, class Position>
class ring_of final : public any_ring {
    using T = typename Ring::value_type;
    using slot = typename Ring::slot;
    static constexpr bool placed = std::is_same_v<Ring, spsc_ring<T, Position>>;

public:
    ring_of(std::uint32_t capacity, Position first)
        : any_ring{header_bytes + capacity * sizeof(slot)}, ring_{create(capacity, first)} {
        hand_on_producer();
        hand_on_consumer();
    }

    /// As newly made.
    void start_again(Position first) {
        const std::uint32_t capacity = ring_.capacity();
        producer_.reset();
        consumer_.reset();
        std::memset(bytes_.data(), 0, header_bytes);
        ring_ = create(capacity, first);
        hand_on_producer();
        hand_on_consumer();
    }

    std::uint64_t fingerprint(std::uint64_t seed) const override { return fingerprint_of(item_of<T>(seed)); }

    push_result try_push(std::uint64_t seed) override { return producer_->try_push(item_of<T>(seed)); }
    std::size_t try_push_n(std::uint64_t first_seed, std::size_t count) override {
        std::vector<T> items;
        for (std::size_t i = 0; i < count; ++i) items.push_back(item_of<T>(first_seed + i));
        return producer_->try_push_n(items);
    }
    std::size_t reserve_and_fill(std::uint64_t first_seed, std::size_t count) override {
        const auto slots = producer_->reserve(count);
        for (std::size_t i = 0; i < slots.size(); ++i) slots[i].write(item_of<T>(first_seed + i));
        return slots.size();
    }
    void commit(std::size_t count) override { producer_->commit(count); }
    bool is_full() override { return producer_->is_full(); }
    std::uint32_t available_capacity() override { return producer_->available_capacity(); }
    bool producer_corrupt() override { return producer_->corrupt(); }

    std::optional<std::uint64_t> try_pop() override {
        const auto item = consumer_->try_pop();
        return item ? std::optional{fingerprint_of(*item)} : std::nullopt;
    }
    std::vector<std::uint64_t> try_pop_n(std::size_t count) override {
        const T mark = item_of<T>(0);
        std::vector<T> items(count, mark);
        const std::size_t popped = consumer_->try_pop_n(items);
        if (popped > count || std::count(items.begin() + static_cast<std::ptrdiff_t>(popped), items.end(), mark) !=
                                  static_cast<std::ptrdiff_t>(count - popped))
            throw std::logic_error("try_pop_n wrote past what it popped");
        std::vector<std::uint64_t> fingerprints;
        for (const T& item : std::span{items}.first(popped)) fingerprints.push_back(fingerprint_of(item));
        return fingerprints;
    }
    std::vector<std::uint64_t> peek(std::size_t count) override {
        std::vector<std::uint64_t> fingerprints;
        for (const slot& each : consumer_->peek(count)) fingerprints.push_back(fingerprint_of(each.read()));
        return fingerprints;
    }
    void consume(std::size_t count) override { consumer_->consume(count); }
    bool is_empty() override { return consumer_->is_empty(); }
    std::uint32_t size() override { return consumer_->size(); }
    bool consumer_corrupt() override { return consumer_->corrupt(); }

    shm::ring_status status() override { return ring_.status(); }
    std::uint32_t size_approx() override { return ring_.size_approx(); }
    bool is_empty_approx() override { return ring_.is_empty(); }
    std::array<std::uint32_t, 3> capacities() override {
        return {ring_.capacity(), producer_->capacity(), consumer_->capacity()};
    }

    void hand_on_producer() override {
        producer_.reset();
        ++producers_;
        if constexpr (placed)
            producer_.emplace(attach().claim_producer(producer_peer()).value());
        else
            producer_.emplace(attach().make_producer());
    }
    void hand_on_consumer() override {
        consumer_.reset();
        ++consumers_;
        if constexpr (placed)
            consumer_.emplace(attach().claim_consumer(consumer_peer()).value());
        else
            consumer_.emplace(attach().make_consumer());
    }
    peer_id producer_peer() const override { return placed ? peer_id{1, producers_} : peer_id{}; }
    peer_id consumer_peer() const override { return placed ? peer_id{2, consumers_} : peer_id{}; }

private:
    [[nodiscard]] std::span<slot> slots(std::uint32_t capacity) const {
        return {reinterpret_cast<slot*>(bytes_.data() + header_bytes), capacity};
    }
    [[nodiscard]] Ring create(std::uint32_t capacity, Position first) const {
        if constexpr (placed)
            return Ring::create(bytes_.region(), capacity, first).value();
        else
            return Ring::create(**bytes_.region().template get<typename Ring::header>(), slots(capacity), first)
                .value();
    }
    [[nodiscard]] Ring attach() const {
        if constexpr (placed)
            return Ring::attach(bytes_.region()).value();
        else
            return Ring::attach(ring_.shared(), slots(ring_.capacity())).value();
    }

    Ring ring_;
    std::uint32_t producers_ = 0;
    std::uint32_t consumers_ = 0;
    std::optional<typename Ring::producer> producer_;
    std::optional<typename Ring::consumer> consumer_;
};

/// What the tests are repeated for.
struct kind {
    const char* name;
    int position_bits;
    std::unique_ptr<any_ring> (*make)(std::uint32_t capacity, std::uint64_t first);
};

/// A count as a position of that many bits holds it.
[[nodiscard]] std::uint64_t position(std::uint64_t count, int bits) {
    return bits == 64 ? count : count & ((std::uint64_t{1} << bits) - 1);
}

template <class Ring, class Position = std::uint64_t>
constexpr kind kind_of(const char* name) {
    return {name, std::numeric_limits<Position>::digits,
            [](std::uint32_t capacity, std::uint64_t first) -> std::unique_ptr<any_ring> {
                return std::make_unique<ring_of<Ring, Position>>(capacity, static_cast<Position>(first));
            }};
}

constexpr kind kinds[] = {
    kind_of<spsc_ring<std::uint8_t>>("bytes"),
    kind_of<spsc_ring<std::uint64_t>>("words"),
    kind_of<spsc_ring<three_bytes>>("three_bytes"),
    kind_of<spsc_ring<forty_eight_bytes>>("forty_eight_bytes"),
    kind_of<spsc_ring<whole_line>>("whole_lines"),
    kind_of<spsc_ring<std::uint64_t, std::uint8_t>, std::uint8_t>("words_with_positions_of_8_bits"),
    kind_of<spsc_ring<three_bytes, std::uint16_t>, std::uint16_t>("three_bytes_with_positions_of_16_bits"),
    kind_of<spsc_ring_raw<std::uint64_t>>("raw_words"),
    kind_of<spsc_ring_raw<forty_eight_bytes, std::uint8_t>, std::uint8_t>("raw_with_positions_of_8_bits"),
};

class each_kind : public testing::TestWithParam<kind> {
protected:
    /// A ring of any capacity whose positions begin at nothing, anywhere, or so that they wrap within a lap or two.
    struct choice {
        std::uint32_t capacity;
        std::uint64_t first;
    };
    [[nodiscard]] static choice any_choice() {
        const auto capacity = std::uint32_t{1} << *rc::gen::inRange(0, std::min(GetParam().position_bits, 11));
        const auto laps_away = *rc::gen::inRange<std::uint64_t>(0, 2 * capacity + 1);
        const auto first = position(*rc::gen::oneOf(rc::gen::just(std::uint64_t{0}),
                                                    rc::gen::arbitrary<std::uint64_t>(), rc::gen::just(0 - laps_away)),
                                    GetParam().position_bits);
        RC_LOG() << "capacity " << capacity << ", first position " << first << "\n";
        RC_CLASSIFY(position(first + 2 * capacity, GetParam().position_bits) < first, "positions wrap");
        return {capacity, first};
    }
};
INSTANTIATE_TEST_SUITE_P(, each_kind, testing::ValuesIn(kinds),
                         [](const auto& test) { return std::string{test.param.name}; });
void PrintTo(const kind& printed, std::ostream* out) { *out << printed.name; }

using call = rc::state::Command<ring_reference, any_ring>;

struct any_call : call {
    ring_call made;
    explicit any_call(const ring_reference& state)
        : made{static_cast<ring_call::kind>(*rc::gen::resize(
                   rc::kNominalSize, rc::gen::inRange<int>(ring_call::try_push, ring_call::is_empty_approx + 1))),
               *rc::gen::arbitrary<std::uint64_t>(), any_count(state), any_count(state)} {}
    void apply(ring_reference& state) const override { (void)perform(made, state); }
    void run(const ring_reference& state, any_ring& ring) const override {
        ring_reference now = state;
        ring_answer expected = perform(made, now);
        if (made.gives_items())
            for (std::uint64_t& item : expected) item = ring.fingerprint(item);
        RC_ASSERT(perform(made, ring) == expected);
    }
    void show(std::ostream& out) const override { out << made; }

private:
    static std::size_t any_count(const ring_reference& state) {
        return *rc::gen::inRange<std::size_t>(0, state.capacity + 3);
    }
};

struct observe : call {
    void run(const ring_reference& state, any_ring& ring) const override {
        const int bits = each_kind::GetParam().position_bits;
        const shm::ring_status seen = ring.status();
        RC_ASSERT(seen.published == position(state.published, bits));
        RC_ASSERT(seen.consumed == position(state.consumed, bits));
        RC_ASSERT(seen.capacity == state.capacity);
        RC_ASSERT(seen.size == state.items.size());
        RC_ASSERT(seen.producer == ring.producer_peer());
        RC_ASSERT(seen.consumer == ring.consumer_peer());
        RC_ASSERT(!seen.reported_corrupt);
        RC_ASSERT(ring.size_approx() == state.items.size());
        RC_ASSERT(ring.is_empty_approx() == state.items.empty());
        for (const std::uint32_t capacity : ring.capacities()) RC_ASSERT(capacity == state.capacity);
        RC_ASSERT(!ring.producer_corrupt());
        RC_ASSERT(!ring.consumer_corrupt());
        RC_ASSERT(ring.untouched());
    }
    void show(std::ostream& out) const override { out << "status(), size_approx(), is_empty(), capacity()"; }
};

struct hand_on : call {
    bool producer = *rc::gen::arbitrary<bool>();
    void run(const ring_reference&, any_ring& ring) const override {
        if (producer)
            ring.hand_on_producer();
        else
            ring.hand_on_consumer();
    }
    void show(std::ostream& out) const override {
        out << "the " << (producer ? "producer" : "consumer") << " drops its end, another one attaches and claims it";
    }
};

TEST_P(each_kind, does_in_any_sequence_of_calls_what_a_deque_does) {
    EXPECT_TRUE(rc::check([] {
        const auto [capacity, first] = any_choice();
        const auto ring = GetParam().make(capacity, first);
        rc::state::check(ring_reference{.capacity = capacity, .published = first, .consumed = first}, *ring,
                         rc::state::gen::execOneOfWithArgs<any_call, any_call, any_call, any_call, observe, hand_on>());
        RC_ASSERT(ring->untouched());
    }));
}

TEST_P(each_kind, stays_in_order_while_positions_wrap) {
    const std::uint32_t widest = GetParam().position_bits == 8 ? 128 : 1024;
    for (const std::uint32_t capacity : {1u, 2u, 16u, widest}) {
        const auto ring =
            GetParam().make(capacity, position(0 - 5 * std::uint64_t{capacity}, GetParam().position_bits));
        std::uint64_t pushed = 0;
        std::uint64_t popped = 0;
        while (popped < 10 * capacity + 600) {
            while (ring->try_push(pushed) == push_result::pushed) ++pushed;
            ASSERT_EQ(pushed - popped, capacity);
            const auto some = ring->try_pop_n(capacity / 2 + 1);
            ASSERT_EQ(some.size(), capacity / 2 + 1);
            for (const std::uint64_t item : some) ASSERT_EQ(item, ring->fingerprint(popped++));
        }
    }
}

/// The ways in which an endpoint looks at its peer's position though it knows of room or items enough.
constexpr int ways_to_look = 3;

std::size_t look_at_consumer(any_ring& ring, int way) {
    const std::size_t more_than_fits = ring.capacities()[0] + 1;
    return way == 0   ? ring.available_capacity()
           : way == 1 ? ring.try_push_n(0, more_than_fits)
                      : ring.reserve_and_fill(0, more_than_fits);
}
std::size_t look_at_producer(any_ring& ring, int way) {
    const std::size_t more_than_fits = ring.capacities()[0] + 1;
    return way == 0 ? ring.size() : way == 1 ? ring.try_pop_n(more_than_fits).size() : ring.peek(more_than_fits).size();
}

// What an endpoint has to say for ever once it has met nonsense, whatever the shared word says later.
void expect_full_for_ever(any_ring& ring) {
    const auto before = ring.status().published;
    for (int again = 0; again < 2; ++again) {
        ASSERT_TRUE(ring.producer_corrupt());
        ASSERT_EQ(ring.try_push(0), push_result::corrupt);
        ASSERT_EQ(ring.try_push_n(0, 3), 0u);
        ASSERT_EQ(ring.reserve_and_fill(0, 1), 0u);
        ASSERT_TRUE(ring.is_full());
        ASSERT_EQ(ring.available_capacity(), 0u);
    }
    ASSERT_EQ(ring.status().published, before);
    ASSERT_TRUE(ring.status().reported_corrupt);
}
void expect_empty_for_ever(any_ring& ring) {
    const auto before = ring.status().consumed;
    for (int again = 0; again < 2; ++again) {
        ASSERT_TRUE(ring.consumer_corrupt());
        ASSERT_FALSE(ring.try_pop().has_value());
        ASSERT_EQ(ring.try_pop_n(3).size(), 0u);
        ASSERT_EQ(ring.peek(1).size(), 0u);
        ASSERT_TRUE(ring.is_empty());
        ASSERT_EQ(ring.size(), 0u);
    }
    ASSERT_EQ(ring.status().consumed, before);
    ASSERT_TRUE(ring.status().reported_corrupt);
}

/// A ring in some state, and a value that its peer writes over a position.
struct attack {
    std::uint32_t capacity;
    std::uint64_t published;
    std::uint64_t consumed;
    std::uint64_t value;
    int way;
};

/// With narrow positions every value; else those at which a comparison with a position, a capacity or a width can fail.
template <class Position>
[[nodiscard]] std::vector<Position> values_around(Position published, Position consumed, std::uint32_t capacity) {
    std::vector<Position> values;
    if constexpr (sizeof(Position) == 1) {
        for (unsigned value = 0; value < 256; ++value) values.push_back(static_cast<Position>(value));
    } else {
        for (const Position base :
             {Position{0}, published, consumed, Position{1} << 31, Position{1} << 32, Position{1} << 63})
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
    using ring_type = ring_of<spsc_ring<std::uint64_t, Position>, Position>;

    static Position distance(std::uint64_t from, std::uint64_t to) { return static_cast<Position>(to - from); }

    /// Runs `endure(ring, attack)` for every filling of the ring and every value worth writing.
    template <class Endure>
    static void over_the_word_at(std::size_t offset, Endure endure) {
        for (const std::uint32_t capacity : {1u, 2u, 8u, 128u}) {
            ring_type ring{capacity, 0};
            for (const Position first : {Position{0}, static_cast<Position>(0 - capacity / 2 - 1)})
                for (const std::uint32_t pushed : {0u, 1u, capacity / 2, capacity})
                    for (const std::uint32_t popped : {0u, 1u, pushed}) {
                        if (popped > pushed) continue;
                        const auto published = static_cast<Position>(first + pushed);
                        const auto consumed = static_cast<Position>(first + popped);
                        for (const Position value : values_around(published, consumed, capacity))
                            for (int way = 0; way < ways_to_look; ++way) {
                                ring.start_again(first);
                                run(ring, offset, attack{capacity, published, consumed, value, way}, endure);
                                if (testing::Test::HasFatalFailure()) {
                                    ADD_FAILURE()
                                        << "capacity " << capacity << ", published " << std::uint64_t{published}
                                        << ", consumed " << std::uint64_t{consumed} << ", written "
                                        << std::uint64_t{value} << " at byte " << offset << ", way " << way;
                                    return;
                                }
                            }
                    }
        }
    }

private:
    template <class Endure>
    static void run(ring_type& ring, std::size_t offset, const attack& now, Endure endure) {
        const auto held = static_cast<std::uint32_t>(distance(now.consumed, now.published));
        ring.try_push_n(0, distance(ring.status().published, now.published));
        ring.try_pop_n(distance(ring.status().consumed, now.consumed));
        ASSERT_EQ(ring.status().published, now.published);
        ASSERT_EQ(ring.status().consumed, now.consumed);
        ASSERT_EQ(ring.available_capacity(), now.capacity - held);
        ASSERT_EQ(ring.size(), held);
        const auto sane = word_at<Position>(ring.bytes(), offset);
        put_word(ring.bytes(), offset, static_cast<Position>(now.value));
        endure(ring, now);
        put_word(ring.bytes(), offset, sane);
        if (ring.producer_corrupt()) expect_full_for_ever(ring);
        if (ring.consumer_corrupt()) expect_empty_for_ever(ring);
        ASSERT_TRUE(ring.untouched());
    }
};
using widths = testing::Types<std::uint8_t, std::uint64_t>;
TYPED_TEST_SUITE(peer_writes, widths, );

TYPED_TEST(peer_writes, a_consumed_position_that_is_believed_only_between_the_last_one_and_our_own) {
    TestFixture::over_the_word_at(consumed_offset, [](any_ring& ring, const attack& now) {
        const bool possible =
            TestFixture::distance(now.consumed, now.value) <= TestFixture::distance(now.consumed, now.published);
        ASSERT_LE(look_at_consumer(ring, now.way), now.capacity);
        ASSERT_EQ(ring.producer_corrupt(), !possible);
        ASSERT_EQ(ring.status().reported_corrupt, !possible);
        if (possible && now.way == 0) {
            ASSERT_EQ(ring.available_capacity(), now.capacity - TestFixture::distance(now.value, now.published));
        }
    });
}

TYPED_TEST(peer_writes, a_published_position_that_is_believed_only_between_the_last_one_and_a_full_ring) {
    TestFixture::over_the_word_at(published_offset, [](any_ring& ring, const attack& now) {
        const bool possible = TestFixture::distance(now.published, now.value) <=
                              now.capacity - TestFixture::distance(now.consumed, now.published);
        ASSERT_LE(look_at_producer(ring, now.way), now.capacity);
        ASSERT_EQ(ring.consumer_corrupt(), !possible);
        ASSERT_EQ(ring.status().reported_corrupt, !possible);
        if (possible && now.way == 0) {
            ASSERT_EQ(ring.size(), TestFixture::distance(now.consumed, now.value));
        }
    });
}

using words = ring_of<spsc_ring<std::uint64_t>, std::uint64_t>;

TEST(hostile_peer_writes, nonsense_that_a_single_push_or_pop_meets_latches_too) {
    words ring{2, 0};
    ASSERT_FALSE(ring.try_pop().has_value());
    put_word(ring.bytes(), published_offset, std::uint64_t{3});
    ASSERT_FALSE(ring.try_pop().has_value());
    expect_empty_for_ever(ring);

    put_word(ring.bytes(), published_offset, std::uint64_t{0});
    ASSERT_EQ(ring.try_push_n(0, 2), 2u);
    put_word(ring.bytes(), consumed_offset, std::uint64_t{3});
    ASSERT_EQ(ring.try_push(0), push_result::corrupt);
    expect_full_for_ever(ring);
}

TEST(hostile_peer_writes, nonsense_that_a_new_holder_knows_nothing_of) {
    words ring{2, 0};
    put_word(ring.bytes(), consumed_offset, std::uint64_t{7});
    ASSERT_EQ(ring.available_capacity(), 0u);
    ASSERT_TRUE(ring.producer_corrupt());
    put_word(ring.bytes(), consumed_offset, std::uint64_t{0});
    ring.hand_on_producer();
    ASSERT_FALSE(ring.producer_corrupt());
    ASSERT_EQ(ring.try_push(1), push_result::pushed);
    ASSERT_EQ(ring.try_pop(), ring.fingerprint(1));
}

TEST(hostile_peer_writes, nonsense_after_a_reserve_whose_commit_then_publishes_nothing) {
    words ring{8, 0};
    ASSERT_EQ(ring.reserve_and_fill(0, 5), 5u);
    put_word(ring.bytes(), consumed_offset, std::uint64_t{100});
    ASSERT_EQ(ring.available_capacity(), 0u);
    ring.commit(5);
    expect_full_for_ever(ring);
    ASSERT_EQ(ring.status().published, 0u);
}

TEST(hostile_peer_writes, nonsense_after_a_peek_whose_consume_then_gives_nothing_back) {
    words ring{8, 0};
    ASSERT_EQ(ring.try_push_n(0, 5), 5u);
    ASSERT_EQ(ring.peek(5).size(), 5u);
    put_word(ring.bytes(), published_offset, std::uint64_t{100});
    ASSERT_EQ(ring.size(), 0u);
    ring.consume(5);
    expect_empty_for_ever(ring);
    ASSERT_EQ(ring.status().consumed, 0u);
}

TEST(hostile_peer_writes, the_rest_of_the_header_and_our_own_position_and_nothing_changes) {
    words ring{4, 0};
    for (std::size_t offset = 128; offset < header_bytes; offset += 4)
        put_word(ring.bytes(), offset, ~std::uint32_t{0});
    for (std::uint64_t i = 0; i < 20; ++i) {
        put_word(ring.bytes(), published_offset, ~std::uint64_t{0});
        ASSERT_EQ(ring.try_push(i), push_result::pushed);
        put_word(ring.bytes(), consumed_offset, i);
        ASSERT_EQ(ring.try_pop(), ring.fingerprint(i));
        for (const std::uint32_t capacity : ring.capacities()) ASSERT_EQ(capacity, 4u);
        ASSERT_EQ(ring.status().capacity, 4u);
    }
}

/// What is known of a ring whose header somebody else rewrites: that every call returns, stays inside the slots, never
/// counts above the capacity, and that what is corrupt once is so for ever.
struct under_attack {
    any_ring& ring;
    std::size_t reserved = 0;
    std::size_t peeked = 0;
    bool full_for_ever = false;
    bool empty_for_ever = false;

    [[nodiscard]] std::size_t most(bool nothing_for_ever, std::size_t asked) const {
        return nothing_for_ever ? 0 : std::min<std::size_t>(asked, ring.capacities()[0]);
    }
    void check_latches() {
        RC_ASSERT(!full_for_ever || ring.producer_corrupt());
        RC_ASSERT(!empty_for_ever || ring.consumer_corrupt());
        full_for_ever = ring.producer_corrupt();
        empty_for_ever = ring.consumer_corrupt();
    }
};
struct nothing_known {};

struct attacked_call : rc::state::Command<nothing_known, under_attack> {
    static constexpr const char* names[] = {"try_push",  "try_push_n", "reserve",   "commit", "is_full",
                                            "available", "try_pop",    "try_pop_n", "peek",   "consume",
                                            "is_empty",  "size",       "status"};
    std::size_t which = *rc::gen::inRange<std::size_t>(0, std::size(names));
    std::size_t count = *rc::gen::inRange<std::size_t>(0, 300);

    void run(const nothing_known&, under_attack& now) const override {
        any_ring& ring = now.ring;
        const std::size_t most_pushed = now.most(now.full_for_ever, count);
        const std::size_t most_popped = now.most(now.empty_for_ever, count);
        if (which <= 1) now.reserved = 0;
        if (which == 6 || which == 7) now.peeked = 0;
        switch (which) {
            case 0: RC_ASSERT((ring.try_push(count) == push_result::corrupt) || !now.full_for_ever); break;
            case 1: RC_ASSERT(ring.try_push_n(0, count) <= most_pushed); break;
            case 2: RC_ASSERT((now.reserved = ring.reserve_and_fill(0, count)) <= most_pushed); break;
            case 3: ring.commit(std::min(count, std::exchange(now.reserved, 0))); break;
            case 4: RC_ASSERT(ring.is_full() || !now.full_for_ever); break;
            case 5: RC_ASSERT(ring.available_capacity() <= now.most(now.full_for_ever, ~std::size_t{0})); break;
            case 6: RC_ASSERT(!ring.try_pop().has_value() || !now.empty_for_ever); break;
            case 7: RC_ASSERT(ring.try_pop_n(count).size() <= most_popped); break;
            case 8: RC_ASSERT((now.peeked = ring.peek(count).size()) <= most_popped); break;
            case 9: ring.consume(std::min(count, std::exchange(now.peeked, 0))); break;
            case 10: RC_ASSERT(ring.is_empty() || !now.empty_for_ever); break;
            case 11: RC_ASSERT(ring.size() <= now.most(now.empty_for_ever, ~std::size_t{0})); break;
            default: RC_ASSERT(ring.status().size <= ring.capacities()[0]); break;
        }
        now.check_latches();
    }
    void show(std::ostream& out) const override { out << names[which] << "(" << count << ")"; }
};

struct overwrite : rc::state::Command<nothing_known, under_attack> {
    // The positions are attacked as often as all the rest together.
    std::size_t offset = *rc::gen::oneOf(
        rc::gen::element(std::size_t{published_offset}, std::size_t{consumed_offset}),
        rc::gen::map(rc::gen::inRange<std::size_t>(0, header_bytes / 8), [](std::size_t word) { return word * 8; }));
    bool relative = *rc::gen::arbitrary<bool>();
    std::uint64_t value = *rc::gen::oneOf(
        rc::gen::arbitrary<std::uint64_t>(), rc::gen::inRange<std::uint64_t>(0, 300),
        rc::gen::map(rc::gen::inRange<std::uint64_t>(1, 300), [](std::uint64_t below) { return 0 - below; }),
        rc::gen::element(std::uint64_t{1} << 31, std::uint64_t{~0u}, std::uint64_t{1} << 32, std::uint64_t{1} << 63));

    void run(const nothing_known&, under_attack& now) const override {
        put_word(now.ring.bytes(), offset, value + (relative ? word_at<std::uint64_t>(now.ring.bytes(), offset) : 0));
    }
    void show(std::ostream& out) const override { out << "byte " << offset << (relative ? " += " : " = ") << value; }
};

TEST_P(each_kind, stays_safe_whatever_a_peer_writes_into_the_header) {
    EXPECT_TRUE(rc::check([] {
        const auto [capacity, first] = any_choice();
        const auto ring = GetParam().make(capacity, first);
        under_attack subject{*ring};
        rc::state::check(nothing_known{}, subject,
                         rc::state::gen::execOneOfWithArgs<attacked_call, attacked_call, attacked_call, overwrite>());
        RC_ASSERT(ring->untouched());
        RC_TAG(subject.full_for_ever ? "full for ever" : "producer unimpressed");
        RC_TAG(subject.empty_for_ever ? "empty for ever" : "consumer unimpressed");
    }));
}

TEST(a_ring_above_4_GiB, has_all_of_its_slots_apart) {
    using ring = spsc_ring<std::uint64_t>;
    constexpr std::size_t capacity = ring::max_capacity;
    const sparse_bytes bytes{ring::required_size(capacity)};
    ASSERT_EQ(bytes.size_bytes(), header_bytes + (16ULL << 30));
    const auto made = ring::create(bytes.region(), capacity, capacity - 2).value();
    auto [producer, consumer] = ring::attach(bytes.region())->split({1, 1}).value();
    EXPECT_EQ(producer.available_capacity(), capacity);
    const std::array<std::uint64_t, 4> items{1, 2, 3, 4};
    ASSERT_EQ(producer.try_push_n(items), 4u);
    for (const std::size_t slot : {capacity - 2, capacity - 1, std::size_t{0}, std::size_t{1}}) {
        const auto lies_there = word_at<std::uint64_t>(bytes.data(), header_bytes + slot * sizeof(std::uint64_t));
        EXPECT_EQ(lies_there, (slot + 2) % capacity + 1) << "slot " << slot;
    }
    EXPECT_EQ(consumer.peek(4).size(), 2u) << "up to the end of the slots";
    for (const std::uint64_t item : items) EXPECT_EQ(consumer.try_pop(), item);
    ASSERT_EQ(producer.reserve(capacity).size(), capacity - 2) << "from the third slot on";
    producer.commit(capacity - 2);
    EXPECT_EQ(producer.try_push(5), push_result::pushed);
    EXPECT_EQ(producer.try_push(6), push_result::pushed);
    EXPECT_EQ(producer.try_push(7), push_result::full);
    EXPECT_EQ(made.size_approx(), capacity);
    EXPECT_EQ(consumer.peek(capacity).size(), capacity - 2);
    consumer.consume(capacity - 2);
    EXPECT_EQ(consumer.try_pop(), 5u);
    EXPECT_EQ(consumer.try_pop(), 6u);
}

TEST(hostile_peer_writes, positions_between_which_there_is_more_than_a_ring_holds) {
    words ring{8, 0};
    for (const std::uint64_t published : {9ULL, 1ULL << 32, 1ULL << 63, ~0ULL}) {
        put_word(ring.bytes(), published_offset, published);
        EXPECT_EQ(ring.status().size, 8u);
        EXPECT_EQ(ring.size_approx(), 8u);
    }
}

/// What the caller must see to is looked at where assertions are on.
TEST(spsc_ring_preconditions, are_asserted) {
    guarded_bytes bytes{spsc_ring<std::uint64_t>::required_size(4)};
    auto [producer, consumer] = spsc_ring<std::uint64_t>::create(bytes.region(), 4)->split({1, 1}).value();
    EXPECT_DEBUG_DEATH(producer.commit(5), "count <= available");
    ASSERT_EQ(producer.try_push(1), push_result::pushed);
    ASSERT_EQ(consumer.peek(1).size(), 1u);
    EXPECT_DEBUG_DEATH(consumer.consume(2), "count <= available");
    consumer.consume(1);
}

}  // namespace
