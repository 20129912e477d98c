// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The ring at full speed: threads over one mapping, then processes over one file and over sealed memory.
//
// ThreadSanitizer sees the races between threads that use one mapping. It cannot see those across processes, nor those
// between two mappings of the same bytes in one process. What happens there is checked by a checksum in every item, by
// the order of the items, and by the models, which search the interleavings of the very same code.
//
//     spsc_ring_stress                                       all tests; SHM_STRESS_SECONDS (default 10) scales them
//     spsc_ring_stress --create  FILE CAPACITY               a file with an empty ring
//     spsc_ring_stress --produce FILE COUNT                  sends that many items, prints their checksum
//     spsc_ring_stress --consume FILE COUNT                  checks that many items, prints their checksum
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <shm/heap_region.hpp>
#include <shm/mmap_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/spsc_ring.hpp>

#include "testkit/child_process.hpp"
#include "testkit/shared_page.hpp"
#include "testkit/stress_support.hpp"

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

/// Says which it is, carries something, and tells when it is torn. Aligned as where a 64-bit integer is aligned to 4 it
/// would not be, so that a 32-bit process can share it.
struct alignas(8) item {
    std::uint64_t sequence;
    std::uint64_t payload;
    std::uint64_t checksum;

    [[nodiscard]] static item number(std::uint64_t sequence) noexcept {
        const std::uint64_t payload = mixed(~sequence);
        return {sequence, payload, mixed(sequence + mixed(payload))};
    }
    friend bool operator==(const item&, const item&) noexcept = default;
};

using ring = shm::spsc_ring<item>;
using slot = ring::slot;

constexpr std::size_t largest_batch = 16;

enum class way { one_at_a_time, batch, in_place, mixed };

constexpr const char* name_of(way how) noexcept {
    return how == way::one_at_a_time ? "one_at_a_time"
           : how == way::batch       ? "batch"
           : how == way::in_place    ? "in_place"
                                     : "mixed";
}

/// One end's choice of what to do next.
class chooser {
public:
    chooser(way how, std::uint32_t seed) noexcept : how_{how}, random_{seed} {}
    [[nodiscard]] way next() noexcept { return how_ == way::mixed ? static_cast<way>(random_() % 3) : how_; }
    [[nodiscard]] std::size_t batch() noexcept { return 1 + random_() % largest_batch; }

private:
    way how_;
    std::minstd_rand random_;
};

/// Pushes the items from `next` on, as many as go at once; `make` makes each, in place if so. Returns how many.
template <class Make>
std::size_t push_some(ring::producer& producer, chooser& choose, std::uint64_t next, Make make) {
    switch (choose.next()) {
        case way::one_at_a_time: return producer.try_push(make(next)) == shm::push_result::pushed;
        case way::batch: {
            std::array<item, largest_batch> items;
            const auto some = std::span{items}.first(choose.batch());
            for (std::size_t i = 0; i < some.size(); ++i) some[i] = make(next + i);
            return producer.try_push_n(some);
        }
        default: {
            const auto slots = producer.reserve(choose.batch());
            for (std::size_t i = 0; i < slots.size(); ++i) slots[i].write(make(next + i));
            producer.commit(slots.size());
            return slots.size();
        }
    }
}

std::size_t push_some(ring::producer& producer, chooser& choose, std::uint64_t next) {
    return push_some(producer, choose, next, item::number);
}

/// Pops as many items as come at once; `see` gets each, in place before it is given back. Returns how many.
template <class See>
std::size_t pop_some(ring::consumer& consumer, chooser& choose, See see) {
    switch (choose.next()) {
        case way::one_at_a_time: {
            const auto one = consumer.try_pop();
            if (one) see(*one);
            return one.has_value();
        }
        case way::batch: {
            std::array<item, largest_batch> items;
            const std::size_t count = consumer.try_pop_n(std::span{items}.first(choose.batch()));
            for (const item& each : std::span{items}.first(count)) see(each);
            return count;
        }
        default: {
            const auto slots = consumer.peek(choose.batch());
            for (const slot& each : slots) see(each.read());
            consumer.consume(slots.size());
            return slots.size();
        }
    }
}

/// Knows which item has to come next.
class checker {
public:
    explicit checker(std::uint64_t next = 0) noexcept : next_{next} {}
    void operator()(const item& found) noexcept {
        const item expected = item::number(next_);
        if (found != expected && wrong_++ == 0)
            std::fprintf(stderr, "item %llu: found {%llu, %#llx, %#llx}, expected payload %#llx, checksum %#llx\n",
                         number(next_), number(found.sequence), number(found.payload), number(found.checksum),
                         number(expected.payload), number(expected.checksum));
        ++next_;
        sum_ = mixed(sum_ + found.checksum);
    }
    [[nodiscard]] std::uint64_t next() const noexcept { return next_; }
    [[nodiscard]] std::uint64_t wrong() const noexcept { return wrong_; }
    [[nodiscard]] std::uint64_t sum() const noexcept { return sum_; }

private:
    static unsigned long long number(std::uint64_t value) noexcept { return value; }
    std::uint64_t next_;
    std::uint64_t wrong_ = 0;
    std::uint64_t sum_ = 0;
};

[[nodiscard]] shm::heap_region bytes_for(std::uint32_t capacity) {
    return shm::heap_region::create(ring::required_size(capacity)).value();
}

/// What a third party may count on, at any time.
void observe(const ring& seen, const std::atomic<bool>& over) {
    std::uint64_t published = seen.status().published;
    std::uint64_t consumed = seen.status().consumed;
    const auto behind = [](std::uint64_t a, std::uint64_t b) { return static_cast<std::int64_t>(a - b) < 0; };
    for (unsigned looks = 1; !over.load(std::memory_order_relaxed); ++looks) {
        ASSERT_LE(seen.size_approx(), seen.capacity());
        const shm::ring_status now = seen.status();
        ASSERT_LE(now.size, now.capacity);
        ASSERT_FALSE(behind(now.published, now.consumed)) << now.published << " published, consumed " << now.consumed;
        ASSERT_FALSE(behind(now.published, published)) << now.published << " published, after " << published;
        ASSERT_FALSE(behind(now.consumed, consumed)) << now.consumed << " consumed, after " << consumed;
        ASSERT_FALSE(now.reported_corrupt);
        published = now.published;
        consumed = now.consumed;
        if (looks % 256 == 0) std::this_thread::yield();
    }
}

struct transfer {
    way how;
    std::uint32_t capacity;
};

class threads : public testing::TestWithParam<transfer> {};

constexpr std::array capacities{1u, 2u, 8u, 1024u};
constexpr std::array ways{way::one_at_a_time, way::batch, way::in_place, way::mixed};

std::vector<transfer> all_transfers() {
    std::vector<transfer> all;
    for (const way how : ways)
        for (const std::uint32_t capacity : capacities) all.push_back({how, capacity});
    return all;
}
constexpr auto name_of_transfer = [](const auto& test) {
    return std::string{name_of(test.param.how)} + "_capacity_" + std::to_string(test.param.capacity);
};
INSTANTIATE_TEST_SUITE_P(, threads, testing::ValuesIn(all_transfers()), name_of_transfer);

TEST_P(threads, get_every_item_in_order_while_a_third_one_looks_on) {
    const way how = GetParam().how;
    const std::uint32_t capacity = GetParam().capacity;
    const auto until = steady_clock::now() + seconds_for_all() / 30;
    const auto bytes = bytes_for(capacity);
    const auto shared = ring::create(bytes.region(), capacity, just_below_the_wrap(capacity)).value();
    auto ends = shared.split({1, 1}).value();
    std::atomic<std::uint64_t> total{0};  // known when the producer has finished
    std::atomic<bool> over{false};

    std::thread writing{[&, producer = std::move(ends.first)]() mutable {
        chooser choose{how, 1};
        patience waiting;
        std::uint64_t next = 0;
        for (unsigned round = 0; round % 64 != 63 || steady_clock::now() < until; ++round) {
            if (const std::size_t pushed = push_some(producer, choose, next)) {
                next += pushed;
                waiting.progress();
            } else if (!waiting.wait()) {
                ADD_FAILURE() << "no room for item " << next << " in a minute";
                break;
            }
        }
        EXPECT_FALSE(producer.corrupt());
        total.store(next, std::memory_order_relaxed);
    }};
    std::thread looking_on{[&] { observe(shared, over); }};

    auto& consumer = ends.second;
    chooser choose{how, 2};
    patience waiting;
    checker check;
    for (std::uint64_t last = 0; last == 0 || check.next() < last; last = total.load(std::memory_order_relaxed)) {
        if (pop_some(consumer, choose, [&](const item& found) { check(found); }) != 0) {
            waiting.progress();
        } else if (!waiting.wait()) {
            ADD_FAILURE() << "no item " << check.next() << " in a minute";
            break;
        }
    }
    over.store(true, std::memory_order_relaxed);
    writing.join();
    looking_on.join();
    EXPECT_EQ(check.wrong(), 0u);
    EXPECT_EQ(check.next(), total);
    EXPECT_FALSE(consumer.corrupt());
    EXPECT_TRUE(consumer.is_empty());
    EXPECT_FALSE(shared.status().reported_corrupt);
    RecordProperty("items", std::to_string(check.next()));
}

/// Each role goes round among two threads. What they share beside the ring is no atomic: a race on it, or a lost item,
/// would be a role that two held at once.
class roles_handed_on : public testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(capacity, roles_handed_on, testing::ValuesIn(capacities), testing::PrintToStringParamName());

TEST_P(roles_handed_on, among_threads_the_stream_goes_on) {
    const auto until = steady_clock::now() + seconds_for_all() / 30;
    const std::uint32_t capacity = GetParam();
    const auto bytes = bytes_for(capacity);
    const auto shared = ring::create(bytes.region(), capacity, just_below_the_wrap(capacity)).value();
    std::uint64_t next_pushed = 0;  // the producer role's
    checker check;                  // the consumer role's

    // A turn is a few items, or as many looks in vain: whoever is to make room or fill it may be waiting for its turn.
    const auto produce = [&](std::uint32_t me) {
        chooser choose{way::mixed, me};
        for (bool had_a_turn = false; !had_a_turn || steady_clock::now() < until;) {
            if (auto producer = shared.claim_producer({me, 1})) {
                had_a_turn = true;
                for (int look = 0; look < 8; ++look) next_pushed += push_some(*producer, choose, next_pushed);
            } else {
                EXPECT_EQ(producer.error().what, shm::fault_kind::busy);
            }
            std::this_thread::yield();
        }
    };
    const auto consume = [&](std::uint32_t me) {
        chooser choose{way::mixed, me};
        for (bool had_a_turn = false; !had_a_turn || steady_clock::now() < until;) {
            if (auto consumer = shared.claim_consumer({me, 1})) {
                had_a_turn = true;
                for (int look = 0; look < 8; ++look)
                    pop_some(*consumer, choose, [&](const item& found) { check(found); });
            } else {
                EXPECT_EQ(consumer.error().what, shm::fault_kind::busy);
            }
            std::this_thread::yield();
        }
    };
    std::array all{std::thread{produce, 1}, std::thread{produce, 2}, std::thread{consume, 3}, std::thread{consume, 4}};
    for (auto& each : all) each.join();

    auto consumer = shared.claim_consumer({5, 1}).value();
    while (const auto rest = consumer.try_pop()) check(*rest);
    EXPECT_EQ(check.wrong(), 0u);
    EXPECT_EQ(check.next(), next_pushed);
    EXPECT_GT(check.next(), 0u);
    EXPECT_FALSE(shared.status().reported_corrupt);
    RecordProperty("items", std::to_string(check.next()));
}

/// Sends `count` items from the next one on. Returns the checksum of all, or nothing when nobody took them.
std::optional<std::uint64_t> produce(const ring& shared, std::uint64_t count, way how) {
    auto producer = shared.claim_producer(shm::this_process().value()).value();
    chooser choose{how, 3};
    patience waiting;
    checker check;
    for (std::uint64_t next = 0; next < count;) {
        // A batch may be longer than what is left to send.
        const std::size_t pushed = count - next >= largest_batch
                                       ? push_some(producer, choose, next)
                                       : producer.try_push(item::number(next)) == shm::push_result::pushed;
        for (std::size_t i = 0; i < pushed; ++i) check(item::number(next++));
        if (pushed != 0)
            waiting.progress();
        else if (!waiting.wait())
            return std::nullopt;
    }
    return check.sum();
}

/// Takes `count` items. Returns their checksum, or nothing when one was wrong or did not come.
std::optional<std::uint64_t> consume(const ring& shared, std::uint64_t count, way how) {
    auto consumer = shared.claim_consumer(shm::this_process().value()).value();
    chooser choose{how, 4};
    patience waiting;
    checker check;
    while (check.next() < count) {
        if (pop_some(consumer, choose, [&](const item& found) { check(found); }) != 0)
            waiting.progress();
        else if (!waiting.wait())
            return std::nullopt;
    }
    if (check.wrong() != 0 || check.next() != count) return std::nullopt;
    return check.sum();
}

class processes : public testing::TestWithParam<medium> {
protected:
    static constexpr std::uint32_t capacity = 64;
    const std::uint64_t first_ = just_below_the_wrap(capacity);
    const shared_bytes bytes_{GetParam(), ring::required_size(capacity)};
    const ring shared_ = ring::create(bytes_.region(), capacity, first_).value();
    std::minstd_rand random_{7};

    [[nodiscard]] static int rounds() { return static_cast<int>(std::max<std::int64_t>(seconds_for_all() / 200ms, 1)); }

    void SetUp() override { ASSERT_GT(first_, std::uint64_t{1} << 63); }
    [[nodiscard]] std::uint64_t published() const { return shared_.status().published - first_; }
    [[nodiscard]] std::uint64_t consumed() const { return shared_.status().consumed - first_; }
};
INSTANTIATE_TEST_SUITE_P(, processes, testing::Values(medium::file, medium::memfd), [](const auto& test) {
    return test.param == medium::file ? "over_a_file" : "over_sealed_memory";
});

TEST_P(processes, get_every_item_in_order) {
    const auto count = static_cast<std::uint64_t>(seconds_for_all() / 1ms) * 100;
    child_process producer([&] {
        const auto mine = bytes_.attach();
        return produce(ring::attach(mine.region()).value(), count, way::mixed) ? 0 : 1;
    });
    child_process consumer([&] {
        const auto mine = bytes_.attach();
        return consume(ring::attach(mine.region()).value(), count, way::mixed) ? 0 : 1;
    });
    EXPECT_EQ(producer.wait(), exited(0)) << "the producer";
    EXPECT_EQ(consumer.wait(), exited(0)) << "the consumer";
    EXPECT_EQ(published(), count);
    EXPECT_EQ(consumed(), count);
    EXPECT_FALSE(shared_.status().reported_corrupt);
    EXPECT_FALSE(shared_.status().producer.valid());
    EXPECT_FALSE(shared_.status().consumer.valid());
}

TEST_P(processes, lose_nothing_when_the_producer_is_killed) {
    const auto me = shm::this_process().value();
    auto consumer = shared_.claim_consumer(me).value();
    chooser choose{way::mixed, 5};
    checker check;
    const auto pop = [&] { return pop_some(consumer, choose, [&](const item& found) { check(found); }); };
    for (int round = 0; round < rounds(); ++round) {
        child_process child([&, how = ways[static_cast<std::size_t>(round) % ways.size()]] {
            const auto mine = bytes_.attach();
            const auto its = ring::attach(mine.region()).value();
            auto producer = its.claim_producer(shm::this_process().value()).value();
            chooser child_choice{how, static_cast<std::uint32_t>(round + 1)};
            patience waiting;
            for (std::uint64_t next = its.status().published - first_;;) {
                const std::size_t pushed = push_some(producer, child_choice, next, [](std::uint64_t sequence) {
                    std::this_thread::yield();  // a good moment to be killed, on a single core too
                    return item::number(sequence);
                });
                next += pushed;
                if (pushed != 0)
                    waiting.progress();
                else if (!waiting.wait())
                    return 1;
            }
        });
        patience waiting;
        for (const std::uint64_t enough = check.next() + 1 + random_() % 3000; check.next() < enough;) {
            if (pop() != 0)
                waiting.progress();
            else
                ASSERT_TRUE(waiting.wait()) << "no item " << check.next() << " in a minute";
        }
        child.kill();
        const auto dead = child.reap();
        ASSERT_EQ(dead.end, killed_by(SIGKILL));

        ASSERT_EQ(shared_.claim_producer(me).error().what, shm::fault_kind::busy);
        auto producer = shared_.take_over_producer(me, dead.proof).value();
        while (pop() != 0) {
        }
        ASSERT_EQ(check.next(), published()) << "what a dead producer has published is all there";
        for (int more = 0; more < 3; ++more) {
            ASSERT_EQ(producer.try_push(item::number(published())), shm::push_result::pushed);
            ASSERT_EQ(pop(), 1u);
        }
        ASSERT_EQ(check.wrong(), 0u);
        ASSERT_FALSE(producer.corrupt());
        ASSERT_FALSE(consumer.corrupt());
    }
    RecordProperty("items", std::to_string(check.next()));
}

TEST_P(processes, redeliver_only_what_was_not_consumed_when_the_consumer_is_killed) {
    const auto me = shm::this_process().value();
    auto producer = shared_.claim_producer(me).value();
    chooser choose{way::mixed, 6};
    const shared_word seen;  // the child has dealt with so many items
    std::uint64_t next = 0;
    std::uint64_t redelivered = 0;
    for (int round = 0; round < rounds(); ++round) {
        const way how = ways[static_cast<std::size_t>(round) % 3];
        (*seen).store(consumed(), std::memory_order_relaxed);
        child_process child([&] {
            const auto mine = bytes_.attach();
            const auto its = ring::attach(mine.region()).value();
            auto consumer = its.claim_consumer(shm::this_process().value()).value();
            chooser child_choice{how, static_cast<std::uint32_t>(round + 1)};
            patience waiting;
            checker check{its.status().consumed - first_};
            while (check.wrong() == 0) {
                const auto popped = pop_some(consumer, child_choice, [&](const item& found) {
                    check(found);
                    (*seen).store(check.next(), std::memory_order_relaxed);
                    std::this_thread::yield();  // a good moment to be killed, on a single core too
                });
                if (popped != 0)
                    waiting.progress();
                else if (!waiting.wait())
                    return 1;
            }
            return 1;
        });
        patience waiting;
        while (!shared_.status().consumer.valid()) ASSERT_TRUE(waiting.wait()) << "no consumer in a minute";
        const auto watch = shm::process_watch::open(shared_.status().consumer).value();
        ASSERT_EQ(watch.wait().error().what, shm::fault_kind::not_dead);
        // Killed while it has something to do: the ring is as good as full until the last moment.
        for (const std::uint64_t enough = next + capacity + random_() % 1000; next < enough;) {
            const std::size_t pushed = push_some(producer, choose, next);
            next += pushed;
            if (pushed != 0)
                waiting.progress();
            else
                ASSERT_TRUE(waiting.wait()) << "no room for item " << next << " in a minute";
        }
        child.kill();
        const auto dead = watch.wait(steady_clock::now() + 1min).value();

        ASSERT_EQ(shared_.claim_consumer(me).error().what, shm::fault_kind::busy);
        const std::uint64_t resumed_at = consumed();
        auto consumer = shared_.take_over_consumer(me, dead).value();
        if (how == way::in_place) {
            ASSERT_LE(resumed_at, *seen) << "consumed what nobody has seen";
            ASSERT_LE(*seen, resumed_at + largest_batch) << "redelivered more than was peeked";
            redelivered += *seen - resumed_at;
        } else {
            ASSERT_GE(resumed_at, *seen) << "popped twice";
            ASSERT_LE(resumed_at, *seen + largest_batch) << "lost more than was popped";
        }
        checker check{resumed_at};
        while (const auto rest = consumer.try_pop()) check(*rest);
        ASSERT_EQ(check.next(), next);
        ASSERT_EQ(check.wrong(), 0u);
        ASSERT_FALSE(producer.corrupt());
        ASSERT_FALSE(consumer.corrupt());
        ASSERT_EQ(child.wait(), killed_by(SIGKILL));
    }
    RecordProperty("items", std::to_string(next));
    RecordProperty("redelivered", std::to_string(redelivered));
}

int complain(const std::string& sentence) {
    std::fprintf(stderr, "%s\n", sentence.c_str());
    return EXIT_FAILURE;
}

/// One side of an exchange between two programs.
int run_one_side(std::string_view side, const char* file, std::string_view text) {
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || number == 0)
        return complain("expected a number of at least 1, found \"" + std::string{text} + "\"");
    if (side == "--create") {
        auto bytes = shm::mmap_region::prepare(file, ring::required_size(number));
        if (!bytes) return complain(bytes.error().sentence());
        if (const auto made = ring::create(bytes->region(), number); !made) return complain(made.error().sentence());
        if (const auto named = bytes->publish(); !named) return complain(named.error().sentence());
        return EXIT_SUCCESS;
    }
    const auto bytes = shm::mmap_region::attach(file);
    if (!bytes) return complain(bytes.error().sentence());
    const auto shared = ring::attach(bytes->region());
    if (!shared) return complain(shared.error().sentence());
    const auto sum = side == "--produce" ? produce(*shared, number, way::mixed) : consume(*shared, number, way::mixed);
    if (!sum) return complain(std::string{side} + ": an item was wrong, or the other side did nothing for a minute");
    std::printf("%llu items, checksum %016llx\n", static_cast<unsigned long long>(number),
                static_cast<unsigned long long>(*sum));
    return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view side = argc == 4 ? argv[1] : "";
    if (side == "--create" || side == "--produce" || side == "--consume") return run_one_side(side, argv[2], argv[3]);
    testing::InitGoogleTest(&argc, argv);
    if (argc > 1)
        return complain(
            "expected --create FILE CAPACITY, --produce FILE COUNT, --consume FILE COUNT or no "
            "arguments, found " +
            std::string{argv[1]});
    return RUN_ALL_TESTS();
}
