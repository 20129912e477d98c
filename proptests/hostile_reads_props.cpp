// SPDX-License-Identifier: MIT OR Apache-2.0
// What is read from shared memory is read once, checked, then used. So a peer that writes between two reads of an operation
// does no more harm than one that writes between two operations: each operation reads a word once, but for those named here,
// and stays inside its bytes whatever each read finds.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <list>
#include <map>
#include <new>
#include <optional>
#include <ostream>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <shm/message_framing.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/var_slot_pool.hpp>

#include "testkit/guarded_bytes.hpp"
#include "testkit/staged_death.hpp"
#include "testkit/watched_atomics.hpp"
#include "testkit/words.hpp"

namespace {

using kernel_of_tests = shm::death_witness<struct shm::scenario>;
using ring = shm::spsc_ring<std::uint64_t, std::uint64_t, watched_atomics>;
using buffer = shm::bip_buffer<std::uint64_t, std::uint64_t, watched_atomics>;
using framing = shm::message_framing<std::uint64_t, watched_atomics>;
constexpr shm::slab_widths few_attempts{.attempts = 4, .walks = 3};
using slab = shm::treiber_slab<few_attempts, watched_atomics>;
using pool = shm::var_slot_pool<few_attempts, watched_atomics>;
constexpr shm::peer_id somebody{1, 1}, somebody_else{2, 1};

static_assert(sizeof(slab::header) == 128 && sizeof(slab::entry) == 64 && sizeof(slab::meta) == 16);

/// How often an operation may read a run of bytes that a shared word, or several of one kind, lie in.
struct allowance {
    std::size_t begin, end;  // bytes of the region
    unsigned times = 1;
};

[[noreturn]] void give_up(const char* why) {
    std::fprintf(stderr, "%s\n", why);
    std::abort();
}

/// How often an operation has accessed shared memory, which is never that often.
class bounded {
public:
    void one_more() {
        if (++times_ == 1U << 20) give_up("an operation does not end: expected fewer than 1048576 accesses");
    }

private:
    unsigned times_ = 0;
};

/// Counts the reads of each word of a region.
class read_counter final : public watcher {
public:
    void before(std::byte* word, std::size_t, way accessed) override {
        accesses_.one_more();
        reads_[word] += accessed == way::read ? 1 : 0;
    }

    /// Runs one operation, and says of each word that it has read too often.
    template <class Operation>
    void expect(const char* name, shm::region bytes, std::initializer_list<allowance> allowed, Operation operation) {
        {
            reads_.clear();
            accesses_ = {};
            const while_watching now{*this};
            operation();
        }
        for (const auto& [word, times] : reads_) {
            const auto offset = static_cast<std::size_t>(word - bytes.data());
            if (offset >= bytes.size_bytes()) continue;  // of another region
            const auto found = std::find_if(allowed.begin(), allowed.end(), [&](const allowance& each) {
                return offset >= each.begin && offset < each.end;
            });
            const unsigned most = found == allowed.end() ? 0 : found->times;
            EXPECT_LE(times, most) << name << " reads the word at byte " << offset << " too often: expected at most "
                                   << most << " times, found " << times;
        }
    }

private:
    std::map<const std::byte*, unsigned> reads_;
    bounded accesses_;
};

constexpr std::size_t published = 0, watermark = 8, consumed = 64, described = 128, state = 132, reported = 156,
                      claims = 168, slots = 192;
constexpr allowance a_look_at_producer{published, published + 8}, a_look_at_consumer{consumed, consumed + 8},
    a_look_at_watermark{watermark, watermark + 4}, each_slot{slots, ~std::size_t{0}},
    all_of_the_description{described, claims}, state_told{state, state + 4, 3}, first_written{described, described + 4},
    claims_to_be_told{claims, claims + 16}, report{reported, reported + 4};

/// What a header may say before an end is made: what is right, and nonsense of each kind.
struct said {
    const char* what;
    std::uint64_t published, consumed;
    std::uint32_t watermark;
};
constexpr said kinds_of_sayings[] = {
    {"what is right", 5, 3, 8},
    {"nothing", 3, 3, 8},
    {"a full one", 8, 0, 8},
    {"a producer that is too far ahead", 100, 3, 8},
    {"a consumer that is ahead", 3, 5, 8},
    {"a lap that is left", 9, 3, 5},
    {"a watermark beyond", 9, 3, 100},
    {"a watermark before", 9, 3, 1},
};
template <class Stream>
void say(const guarded_bytes& bytes, const said& now) {
    auto& header = **bytes.region().get<typename Stream::header>();
    header.published.store(now.published, std::memory_order_relaxed);
    header.consumed.store(now.consumed, std::memory_order_relaxed);
    if constexpr (requires { header.watermark; }) header.watermark.write(now.watermark);
}

template <class Stream>
class each_stream : public testing::Test {};
using streams = testing::Types<ring, buffer>;
TYPED_TEST_SUITE(each_stream, streams, );

TYPED_TEST(each_stream, reads_a_word_once_when_it_attaches_and_when_a_role_is_claimed) {
    for (const said& now : kinds_of_sayings) {
        SCOPED_TRACE(now.what);
        guarded_bytes bytes{TypeParam::required_size(8)};
        read_counter counter;
        counter.expect("attach to nothing", bytes.region(), {state_told, all_of_the_description},
                       [&] { EXPECT_FALSE(TypeParam::attach(bytes.region())); });
        counter.expect("create", bytes.region(), {first_written},
                       [&] { EXPECT_TRUE(TypeParam::create(bytes.region(), 8)); });
        say<TypeParam>(bytes, now);
        const auto made = TypeParam::attach(bytes.region()).value();
        counter.expect("attach", bytes.region(), {all_of_the_description},
                       [&] { EXPECT_TRUE(TypeParam::attach(bytes.region())); });
        counter.expect("status", bytes.region(), {a_look_at_consumer, a_look_at_producer, claims_to_be_told, report},
                       [&] { (void)made.status(); });
        // A refusal looks once more at what it tells.
        const allowance producer{published, published + 8, 2}, consumer{consumed, consumed + 8, 2};
        const allowance lap{watermark, watermark + 4, 2};
        bool granted = false;
        counter.expect("claim_producer", bytes.region(), {producer, consumer, lap, claims_to_be_told, report},
                       [&] { granted = made.claim_producer(somebody).has_value(); });
        if (granted)
            counter.expect("claim_producer", bytes.region(), {a_look_at_producer, a_look_at_consumer},
                           [&] { EXPECT_TRUE(made.claim_producer(somebody)); });
        counter.expect("claim_consumer", bytes.region(), {producer, consumer, lap, claims_to_be_told, report},
                       [&] { granted = made.claim_consumer(somebody).has_value(); });
        if (granted)
            counter.expect("claim_consumer", bytes.region(),
                           {a_look_at_producer, a_look_at_consumer, a_look_at_watermark},
                           [&] { EXPECT_TRUE(made.claim_consumer(somebody)); });

        auto& header = **bytes.region().get<typename TypeParam::header>();
        header.producer_claim.store(somebody.word(), std::memory_order_relaxed);
        header.consumer_claim.store(somebody.word(), std::memory_order_relaxed);
        const auto dead = kernel_of_tests::saw(somebody);
        counter.expect("take_over_producer", bytes.region(), {producer, consumer, lap, claims_to_be_told, report},
                       [&] { granted = made.take_over_producer(somebody_else, dead).has_value(); });
        header.producer_claim.store(somebody.word(), std::memory_order_relaxed);
        if (granted)
            counter.expect("take_over_producer", bytes.region(), {a_look_at_producer, a_look_at_consumer},
                           [&] { EXPECT_TRUE(made.take_over_producer(somebody_else, dead)); });
        counter.expect("take_over_consumer", bytes.region(), {producer, consumer, lap, claims_to_be_told, report},
                       [&] { granted = made.take_over_consumer(somebody_else, dead).has_value(); });
        header.consumer_claim.store(somebody.word(), std::memory_order_relaxed);
        if (granted)
            counter.expect("take_over_consumer", bytes.region(),
                           {a_look_at_producer, a_look_at_consumer, a_look_at_watermark},
                           [&] { EXPECT_TRUE(made.take_over_consumer(somebody_else, dead)); });
    }
}

TEST(an_end_of_a_ring, reads_a_word_once_in_each_operation) {
    for (const said& now : kinds_of_sayings) {
        SCOPED_TRACE(now.what);
        for (int operation = 0; operation < 7; ++operation) {
            guarded_bytes bytes{ring::required_size(8)};
            auto [producer, consumer] = ring::create(bytes.region(), 8)->split(somebody).value();
            say<ring>(bytes, now);
            read_counter counter;
            std::array<std::uint64_t, 8> items{};
            for (int again = 0; again < 2; ++again) {
                counter.expect("the producer", bytes.region(), {a_look_at_consumer}, [&] {
                    switch (operation) {
                        case 0: (void)producer.try_push(1); break;
                        case 1: (void)producer.try_push_n(items); break;
                        case 2: (void)producer.reserve(8); break;
                        case 3: (void)producer.is_full(); break;
                        case 4: (void)producer.available_capacity(); break;
                        case 5: producer.commit(0); break;
                        default: (void)(producer.corrupt() || producer.capacity() == 0); break;
                    }
                });
                counter.expect("the consumer", bytes.region(), {a_look_at_producer, each_slot}, [&] {
                    switch (operation) {
                        case 0: (void)consumer.try_pop(); break;
                        case 1: (void)consumer.try_pop_n(items); break;
                        case 2: (void)consumer.peek(8); break;
                        case 3: (void)consumer.is_empty(); break;
                        case 4: (void)consumer.size(); break;
                        case 5: consumer.consume(0); break;
                        default: (void)(consumer.corrupt() || consumer.capacity() == 0); break;
                    }
                });
            }
        }
    }
}

TEST(an_end_of_a_bip_buffer, reads_a_word_once_in_each_operation) {
    for (const said& now : kinds_of_sayings)
        for (std::size_t count = 0; count <= 9; ++count) {
            SCOPED_TRACE(now.what);
            guarded_bytes bytes{buffer::required_size(8)};
            auto [producer, consumer] = buffer::create(bytes.region(), 8)->split(somebody).value();
            say<buffer>(bytes, now);
            read_counter counter;
            for (int again = 0; again < 2; ++again) {
                std::size_t granted = 0, found = 0;
                counter.expect("try_grant", bytes.region(), {a_look_at_consumer},
                               [&] { granted = producer.try_grant(count).slots.size(); });
                counter.expect("commit", bytes.region(), {}, [&] { producer.commit(granted); });
                counter.expect("peek", bytes.region(), {a_look_at_producer, a_look_at_watermark},
                               [&] { found = consumer.peek(count).size(); });
                counter.expect("consume", bytes.region(), {}, [&] { consumer.consume(found); });
                counter.expect("what is told", bytes.region(), {}, [&] {
                    (void)(producer.corrupt() || producer.capacity() == 0 || producer.published() == 1);
                    (void)(consumer.corrupt() || consumer.capacity() == 0 || consumer.consumed() == 1);
                });
            }
        }
}

TEST(an_end_of_message_framing, reads_a_word_once_in_each_operation_and_the_length_once_in_a_message) {
    for (const std::uint64_t length : {std::uint64_t{16}, std::uint64_t{0}, std::uint64_t{17}, ~std::uint64_t{0}}) {
        guarded_bytes bytes{framing::buffer::required_size(8)};
        auto [producer, consumer] = framing::buffer::create(bytes.region(), 8)->split(somebody).value();
        framing::sender sender{std::move(producer)};
        framing::receiver receiver{std::move(consumer)};
        std::array<std::byte, 16> message{};
        read_counter counter;
        counter.expect("try_send", bytes.region(), {a_look_at_consumer}, [&] { (void)sender.try_send(message); });
        counter.expect("try_prepare and commit", bytes.region(), {a_look_at_consumer}, [&] {
            if (sender.try_prepare(16)) sender.commit(3);
        });
        put_word(bytes.data(), slots, length);
        counter.expect("try_receive, twice", bytes.region(),
                       {{published, published + 8, 2}, a_look_at_watermark, {slots, slots + 8}}, [&] {
                           const bool possible = length <= 16 || length == 17;  // as what follows is published too
                           for (int again = 0; again < 2; ++again)
                               EXPECT_EQ(receiver.try_receive().has_value(), possible) << length;
                       });
        counter.expect("consume", bytes.region(), {}, [&] { receiver.consume(); });
    }
}

constexpr shm::slab_shape three_slots{.slot_count = 3, .slot_size = 64, .member_count = 3};
constexpr std::size_t entries = 128, metas = entries + 3 * 64, contents = 384;
static_assert(slab::required_size(three_slots) == contents + 3 * 64);
constexpr allowance head{0, 8}, each_word_and_link{metas, contents};
[[nodiscard]] constexpr allowance field_of(std::size_t entry, std::size_t field, unsigned times = 1) {
    return {entries + entry * 64 + field, entries + entry * 64 + field + 4, times};
}
constexpr std::size_t claim = 0, taking = 8, giving = 16, incarnation = 24;

TEST(a_member_of_a_slab, reads_a_word_once_in_each_operation) {
    guarded_bytes bytes{slab::required_size(three_slots)};
    const shm::region all = bytes.region();
    read_counter counter;
    const allowance description{64, 112};
    counter.expect("attach to nothing", all, {{104, 108, 3}, description}, [&] { EXPECT_FALSE(slab::attach(all)); });
    counter.expect("create", all, {{64, 72}}, [&] { EXPECT_TRUE(slab::create(all, three_slots)); });
    counter.expect("attach", all, {description}, [&] { EXPECT_TRUE(slab::attach(all)); });
    const auto made = slab::attach(all).value();
    counter.expect("join and leave", all, {field_of(0, incarnation), each_word_and_link},
                   [&] { EXPECT_TRUE(made.join(somebody)); });
    auto member = made.join(somebody).value();
    std::optional<slab::member> dead{made.join(somebody_else).value()};
    std::array<shm::slot_handle, 2> taken;
    // That the head has not changed is what makes the link that of this very slot: it is compared, not used.
    counter.expect("try_alloc", all, {{0, 8, 2}, each_word_and_link}, [&] { taken[0] = *member.try_alloc(); });
    taken[1] = *dead->try_alloc();
    counter.expect("mark_in_flight", all, {each_word_and_link}, [&] { member.mark_in_flight(taken[0]).value(); });
    counter.expect("adopt", all, {each_word_and_link}, [&] { member.adopt(taken[0]).value(); });
    counter.expect("free_allocated", all, {head, each_word_and_link}, [&] { member.free_allocated(taken[0]).value(); });
    counter.expect("free, of nothing", all, {each_word_and_link}, [&] { EXPECT_FALSE(member.free(taken[0])); });
    counter.expect("free_count_approx", all, {each_word_and_link}, [&] { EXPECT_EQ(made.free_count_approx(), 2U); });
    counter.expect("reclaim, of nobody", all, {field_of(0, claim), field_of(1, claim), field_of(2, claim)},
                   [&] { EXPECT_TRUE(member.reclaim(kernel_of_tests::saw({7, 7})).has_value()); });
    alignas(slab::member) std::array<std::byte, sizeof(slab::member)> grave;
    new (grave.data()) slab::member{std::move(*dead)};
    // The claim is compared again once the incarnation is known; the slot that the dead named is looked at a second time.
    counter.expect("reclaim", all,
                   {field_of(0, claim),
                    field_of(1, claim, 2),
                    field_of(2, claim),
                    field_of(1, incarnation),
                    field_of(1, taking),
                    field_of(1, giving),
                    {metas + 16, metas + 24, 2},
                    head,
                    each_word_and_link},
                   [&] {
                       const auto done = member.reclaim(kernel_of_tests::saw(somebody_else));
                       EXPECT_TRUE(done.has_value() && done->returned == 1);
                   });
}

TEST(a_member_of_a_slab, reads_the_word_of_a_lost_slot_for_its_state_and_again_to_end_that_allocation) {
    guarded_bytes bytes{slab::required_size(three_slots)};
    auto member = slab::create(bytes.region(), three_slots)->join(somebody).value();
    member.mark_in_flight(*member.try_alloc()).value();
    read_counter counter;
    counter.expect("reclaim_in_flight", bytes.region(), {{metas, metas + 8, 2}, head, each_word_and_link}, [&] {
        const auto done = member.reclaim_in_flight([](shm::slot_handle) { return true; });
        EXPECT_TRUE(done.has_value() && done->returned == 1);
    });
}

/// A slab of three slots, of which somebody else has taken the first and died.
class a_slab_of_a_dead_member : public testing::Test {
protected:
    void dies() {
        new (grave_.data()) slab::member{std::move(*dead_)};
        dead_.reset();
    }
    [[nodiscard]] auto reclaim() {
        return member_.reclaim(kernel_of_tests::saw(somebody_else), [](shm::slot_handle) { return true; });
    }
    [[nodiscard]] auto& slot(std::uint32_t index) const { return made_.inner().slot(index); }

    static constexpr allowance first_word{metas, metas + 8, 2};  // and once more, as it is what the dead took last

    const guarded_bytes bytes_{slab::required_size(three_slots)};
    const slab made_ = slab::create(bytes_.region(), three_slots).value();
    std::optional<slab::member> dead_{made_.join(somebody_else).value()};
    slab::member member_ = made_.join(somebody).value();
    const shm::slot_handle taken_ = *dead_->try_alloc();
    read_counter counter_;

private:
    alignas(slab::member) std::array<std::byte, sizeof(slab::member)> grave_;
};

TEST_F(a_slab_of_a_dead_member, is_asked_of_what_it_sent_with_the_word_that_is_then_ended) {
    dead_->mark_in_flight(taken_).value();
    dies();
    counter_.expect("reclaim", bytes_.region(),
                    {field_of(0, claim, 2), field_of(1, claim), field_of(2, claim), field_of(0, incarnation),
                     field_of(0, taking), field_of(0, giving), first_word, head, each_word_and_link},
                    [&] { EXPECT_EQ(reclaim()->returned, 1U); });
}

TEST_F(a_slab_of_a_dead_member, is_walked_through_once_for_what_it_was_about_to_take) {
    slot(0).word.store(shm::slot_word{1, {}, shm::slot_state::free}.word(), std::memory_order_relaxed);
    dies();
    // The head is read for the walk, and then to put the slot on top.
    counter_.expect("reclaim", bytes_.region(),
                    {field_of(0, claim, 2),
                     field_of(1, claim),
                     field_of(2, claim),
                     field_of(0, incarnation),
                     field_of(0, taking),
                     field_of(0, giving),
                     first_word,
                     {0, 8, 2},
                     each_word_and_link},
                    [&] { EXPECT_EQ(reclaim()->returned, 1U); });
}

TEST_F(a_slab_of_a_dead_member, is_walked_through_no_further_than_there_are_slots) {
    slot(0).word.store(shm::slot_word{1, {}, shm::slot_state::free}.word(), std::memory_order_relaxed);
    slot(2).next.store(1, std::memory_order_relaxed);  // a circle: from there one came
    dies();
    const allowance any_time{0, ~std::size_t{0}, ~0U};
    counter_.expect("reclaim", bytes_.region(), {{metas + 16 + 8, metas + 16 + 12, 3}, any_time}, [&] {
        EXPECT_FALSE(reclaim().has_value());
        EXPECT_TRUE(member_.corrupt());
    });
}

constexpr shm::pool_class two_classes[] = {{.slot_count = 2, .slot_size = 64}, {.slot_count = 1, .slot_size = 256}};
constexpr shm::pool_class more{.slot_count = 1, .slot_size = 1024};
constexpr shm::pool_shape two_slabs{two_classes, 64, 2};

TEST(a_pool, reads_a_word_once_in_each_operation) {
    constexpr std::size_t used = 64, places = 128, slabs = 256;
    constexpr allowance description{0, 32}, each_place{places, slabs}, each_slab{slabs, ~std::size_t{0}};
    const auto head_of = [](std::size_t begin) { return allowance{begin, begin + 8, 2}; };
    const auto place = [](std::size_t number, unsigned times = 1) {
        return allowance{places + 8 * number, places + 8 * number + 8, times};
    };
    guarded_bytes bytes{pool::required_size(two_slabs) + 2048}, annex{2048};
    const shm::region all = bytes.region();
    read_counter counter;
    counter.expect("attach to nothing", all, {{28, 32, 3}, description}, [&] { EXPECT_FALSE(pool::attach(all)); });
    counter.expect("create", all, {{0, 8}, place(0), place(1), place(2), {slabs, all.size_bytes(), 2}},
                   [&] { EXPECT_TRUE(pool::create(all, two_slabs)); });
    counter.expect("attach", all, {description, each_place, each_slab}, [&] { EXPECT_TRUE(pool::attach(all)); });
    auto made = pool::attach(all).value();
    counter.expect("join and leave", all, {place(2), each_slab}, [&] { EXPECT_TRUE(made.join(somebody)); });
    auto member = made.join(somebody).value();
    shm::pool_handle taken;
    counter.expect("try_alloc", all, {head_of(slabs), each_slab}, [&] { taken = *member.try_alloc(64); });
    counter.expect("try_alloc, of what is too large", all, {place(2)}, [&] { EXPECT_FALSE(member.try_alloc(257)); });
    counter.expect("mark_in_flight", all, {each_slab}, [&] { member.mark_in_flight(taken).value(); });
    counter.expect("adopt", all, {each_slab}, [&] { member.adopt(taken).value(); });
    counter.expect("data", all, {}, [&] { EXPECT_EQ(member.data(taken).size(), 64U); });
    counter.expect("free_allocated", all, {each_slab}, [&] { member.free_allocated(taken).value(); });
    counter.expect("free, in no slab", all, {place(2)}, [&] { EXPECT_FALSE(member.free({2, {0, 1}})); });
    // That there is one more slab is told, and nothing of it is used.
    counter.expect("reclaim", all, {place(2, 2), each_slab},
                   [&] { EXPECT_TRUE(member.reclaim(kernel_of_tests::saw(somebody_else)).has_value()); });
    counter.expect("grown_size", all, {{used, used + 8}}, [&] { (void)made.grown_size(more); });
    counter.expect("grow", all, {{used, used + 8}, place(2), place(15), each_slab},
                   [&] { EXPECT_EQ(made.grow(all, more).value(), 2U); });
    counter.expect("meet", all, {place(2), place(3), each_slab}, [&] { EXPECT_TRUE(member.meet()); });
    ASSERT_TRUE(made.meet());
    counter.expect("add_annex", all, {place(15)}, [&] { EXPECT_EQ(made.add_annex(annex.region(), more).value(), 3U); });
    counter.expect("attach_annex", annex.region(), {{0, 12}, {64, annex.size_bytes()}},
                   [&] { EXPECT_TRUE(made.attach_annex(annex.region())); });
    counter.expect("attach_annex", all, {place(3), place(4)}, [&] {
        EXPECT_TRUE(pool{made}.attach_annex(annex.region()).error().what == shm::fault_kind::not_ready);
    });
    counter.expect("attach_annex, and join", all, {place(3), place(4)},
                   [&] { EXPECT_TRUE(member.attach_annex(annex.region())); });
}

/// A peer that writes into a word just before it is read or exchanged.
struct lie {
    int how;
    std::uint64_t value;

    [[nodiscard]] std::uint64_t instead_of(std::uint64_t truth) const {
        switch (how) {
            case 0: return value;
            case 1: return truth + value;
            case 2: return truth ^ std::uint64_t{1} << value % 64;
            case 3:
                return (truth & ~std::uint64_t{0xffffff}) | (value & 0xffffff);  // another index, the same generation
            case 4: return (truth & 0xffffff) | value << 24;
            default: return truth;
        }
    }
};
std::ostream& operator<<(std::ostream& out, const lie& told) { return out << told.how << ':' << told.value; }

[[nodiscard]] rc::Gen<lie> any_lie() {
    const auto value =
        rc::gen::oneOf(rc::gen::inRange<std::uint64_t>(0, 20),
                       rc::gen::map(rc::gen::inRange<std::uint64_t>(1, 20), [](auto below) { return 0 - below; }),
                       rc::gen::arbitrary<std::uint64_t>(),
                       rc::gen::element<std::uint64_t>(0xffffff, 0xfffffe, 1ULL << 24, 1ULL << 31, 0xffffffff,
                                                       1ULL << 32, 1ULL << 63, ~0ULL));
    return rc::gen::apply([](int how, std::uint64_t of) { return lie{how, of}; }, rc::gen::inRange(0, 10), value);
}

class liar final : public watcher {
public:
    /// Lies to each look, or only to an operation that looks again.
    liar() : lies_{*rc::gen::container<std::vector<lie>>(any_lie())}, only_again_{*rc::gen::arbitrary<bool>()} {}

    /// The words that may be accessed at all.
    void confine(const std::byte* begin, const std::byte* end) { begin_ = begin, end_ = end; }

    /// What was looked at in the operation before does not count any more.
    void next_operation() {
        seen_.clear();
        accesses_ = {};
    }

    void before(std::byte* word, std::size_t size_bytes, way accessed) override {
        if (begin_ != nullptr && (word < begin_ || word + size_bytes > end_))
            give_up("a word beyond those that there are was accessed");
        accesses_.one_more();
        if (accessed == way::written) return;
        const bool again = !seen_.insert(word).second;
        if ((only_again_ && !again) || told_ == lies_.size()) return;
        std::uint64_t truth = 0;
        std::memcpy(&truth, word, size_bytes);
        const std::uint64_t said = lies_[told_++].instead_of(truth);
        std::memcpy(word, &said, size_bytes);
    }

private:
    std::vector<lie> lies_;
    std::size_t told_ = 0;
    bool only_again_;
    const std::byte *begin_ = nullptr, *end_ = nullptr;
    std::set<const std::byte*> seen_;
    bounded accesses_;
};

/// What is done next: which operation, and with what.
using deeds = std::vector<std::pair<int, std::size_t>>;
[[nodiscard]] deeds any_deeds(int operations, std::size_t below) {
    return *rc::gen::container<deeds>(
        rc::gen::pair(rc::gen::inRange(0, operations), rc::gen::inRange<std::size_t>(0, below)));
}

TEST(whatever_each_read_finds, a_ring_stays_within_its_slots) {
    EXPECT_TRUE(rc::check([] {
        const auto capacity = std::size_t{1} << *rc::gen::inRange(0, 5);
        guarded_bytes bytes{ring::required_size(capacity)};
        auto made = ring::create(bytes.region(), capacity, *rc::gen::arbitrary<std::uint64_t>()).value();
        auto ends = made.split(somebody).value();
        liar peer;
        const while_watching now{peer};
        std::array<std::uint64_t, 20> items{};
        for (const auto& [what, count] : any_deeds(13, items.size())) {
            peer.next_operation();
            auto& [producer, consumer] = ends;
            const bool full_for_ever = producer.corrupt(), empty_for_ever = consumer.corrupt();
            std::size_t pushed = 0, popped = 0;
            switch (what) {
                case 0: pushed = producer.try_push(1) == shm::push_result::pushed; break;
                case 1: pushed = producer.try_push_n(std::span{items}.first(count)); break;
                case 2:
                    for (auto& slot : producer.reserve(count)) slot.write(7), ++pushed;
                    if (count % 2 == 0) (void)producer.is_full();
                    if (!producer.corrupt()) producer.commit(pushed);
                    break;
                case 3: pushed = producer.available_capacity(); break;
                case 4: popped = consumer.try_pop().has_value(); break;
                case 5: popped = consumer.try_pop_n(std::span{items}.first(count)); break;
                case 6:
                    for (const auto& slot : consumer.peek(count)) (void)slot.read(), ++popped;
                    if (count % 2 == 0) (void)consumer.is_empty();
                    if (!consumer.corrupt()) consumer.consume(popped);
                    break;
                case 7: popped = consumer.size(); break;
                case 8: RC_ASSERT(made.status().size <= made.capacity()); break;
                case 9:
                    if (auto again = made.claim_producer(somebody)) producer = *std::move(again);
                    break;
                case 10:
                    if (auto again = made.claim_consumer(somebody)) consumer = *std::move(again);
                    break;
                default:
                    if (const auto again = ring::attach(bytes.region())) {
                        RC_ASSERT(again->capacity() <= capacity);
                        made = *again;
                        if (auto both = made.split(somebody)) ends = *std::move(both);
                    }
                    continue;
            }
            RC_ASSERT(pushed <= (full_for_ever && what < 4 ? 0 : producer.capacity()));
            RC_ASSERT(popped <= (empty_for_ever && what < 8 ? 0 : consumer.capacity()));
        }
        RC_ASSERT(bytes.untouched());
    }));
}

TEST(whatever_each_read_finds, a_bip_buffer_stays_within_its_slots) {
    EXPECT_TRUE(rc::check([] {
        const auto capacity = std::size_t{1} << *rc::gen::inRange(0, 5);
        guarded_bytes bytes{buffer::required_size(capacity)};
        auto made = buffer::create(bytes.region(), capacity, *rc::gen::arbitrary<std::uint64_t>()).value();
        auto ends = made.split(somebody).value();
        liar peer;
        const while_watching now{peer};
        for (const auto& [what, count] : any_deeds(10, capacity + 2)) {
            peer.next_operation();
            auto& [producer, consumer] = ends;
            if (what < 4) {
                const bool corrupt = producer.corrupt();
                const auto grant = producer.try_grant(count);
                RC_ASSERT(grant.slots.size() == (grant ? count : 0) && count <= (grant ? producer.capacity() : count));
                RC_ASSERT(!grant || !corrupt);
                for (auto& slot : grant.slots) slot.write(7);
                producer.commit(grant.slots.size() / (what % 2 == 0 ? 1U : 2U));
            } else if (what < 8) {
                const bool corrupt = consumer.corrupt();
                const auto found = consumer.peek(what == 7 ? count : capacity);
                RC_ASSERT(found.size() <= (corrupt ? 0 : consumer.capacity()));
                for (const auto& slot : found) (void)slot.read();
                consumer.consume(found.size() / (what % 2 == 0 ? 1U : 2U));
            } else if (what == 8) {
                RC_ASSERT(made.status().size <= made.capacity());
            } else if (const auto again = buffer::attach(bytes.region())) {
                RC_ASSERT(again->capacity() <= capacity);
                made = *again;
                if (auto both = made.split(somebody)) ends = *std::move(both);
            }
        }
        RC_ASSERT(bytes.untouched());
    }));
}

TEST(whatever_each_read_finds, a_message_lies_within_the_slots) {
    EXPECT_TRUE(rc::check([] {
        const auto capacity = std::size_t{1} << *rc::gen::inRange(0, 5);
        guarded_bytes bytes{framing::buffer::required_size(capacity)};
        auto [producer, consumer] = framing::buffer::create(bytes.region(), capacity)->split(somebody).value();
        framing::sender sender{std::move(producer)};
        framing::receiver receiver{std::move(consumer)};
        liar peer;
        const while_watching now{peer};
        const std::vector<std::byte> message(8 * capacity + 1, std::byte{7});
        for (const auto& [what, size] : any_deeds(5, message.size())) {
            peer.next_operation();
            if (what == 0) {
                (void)sender.try_send(std::span{message}.first(size));
            } else if (what == 1) {
                const auto place = sender.try_prepare(size);
                RC_ASSERT(place.bytes.size() == (place ? size : 0));
                std::ranges::fill(place.bytes, std::byte{7});
                if (place) RC_ASSERT(sender.commit(size / 2));
            } else if (const auto found = receiver.try_receive()) {
                const std::size_t length = found->size_bytes;
                RC_ASSERT(length <= sender.max_size_bytes());
                RC_ASSERT(found->bytes().size() == length &&
                          found->bytes().data() + length <= bytes.data() + bytes.size_bytes());
                const auto again = receiver.try_receive();
                RC_ASSERT(!again || again->size_bytes == length);
                if (what < 4) receiver.consume();
            }
        }
        RC_ASSERT(bytes.untouched());
    }));
}

TEST(whatever_each_read_finds, a_slab_stays_within_its_bytes) {
    EXPECT_TRUE(rc::check([] {
        const shm::slab_shape shape{
            .slot_count = *rc::gen::inRange<std::uint32_t>(1, 5), .slot_size = 64, .member_count = 3};
        guarded_bytes bytes{slab::required_size(shape)};
        auto made = slab::create(bytes.region(), shape).value();
        std::list<slab::member> members;
        std::vector<shm::slot_handle> had{{}};
        liar peer;
        const auto confine = [&] { peer.confine(bytes.data(), made.data({0, 1}).data()); };
        confine();
        const auto proof = [](std::size_t of) { return kernel_of_tests::saw({static_cast<std::uint32_t>(of % 3), 1}); };
        const auto use = [&](shm::slot_handle handle) { std::ranges::fill(made.data(handle), std::byte{7}); };
        const auto lost = [&](shm::slot_handle handle) {
            use(handle);
            return handle.generation() % 2 == 0;
        };
        {
            const while_watching now{peer};
            for (const auto& [what, which] : any_deeds(13, 20)) {
                peer.next_operation();
                if (what == 0 || members.empty()) {
                    if (auto joined = made.join({static_cast<std::uint32_t>(which % 3), 1}))
                        members.push_back(*std::move(joined));
                    continue;
                }
                auto& member = members.front();
                const bool corrupt = member.corrupt();
                const auto handle = had[which % had.size()];
                switch (what) {
                    case 1: (void)member.mark_in_flight(handle); break;
                    case 2: (void)member.adopt(handle); break;
                    case 3: (void)member.free(handle); break;
                    case 4: (void)member.free_allocated(handle); break;
                    case 5: (void)member.reclaim(proof(which)); break;
                    case 6: (void)member.reclaim(proof(which), lost); break;
                    case 7: (void)member.reclaim_in_flight(lost); break;
                    case 8: members.pop_front(); break;
                    case 9: RC_ASSERT(made.free_count_approx() <= made.slot_count()); break;
                    case 10:
                        members.clear();
                        peer.confine(bytes.data(), bytes.data() + bytes.size_bytes());
                        if (const auto again = slab::attach(bytes.region())) made = *again;
                        confine();
                        break;
                    default:
                        if (const auto taken = member.try_alloc()) {
                            RC_ASSERT(!corrupt && (*taken).index() < made.slot_count());
                            use(*taken);
                            had.push_back(*taken);
                        }
                }
            }
            peer.next_operation();
            members.clear();
        }
        RC_ASSERT(bytes.untouched());
    }));
}

TEST(whatever_each_read_finds, a_pool_stays_within_its_bytes) {
    EXPECT_TRUE(rc::check([] {
        guarded_bytes bytes{4096}, annex{2048};
        auto made = pool::create(bytes.region(), two_slabs).value();
        std::list<pool::member> members;
        std::vector<shm::pool_handle> had{{}};
        liar peer;
        const auto proof = [](std::size_t of) { return kernel_of_tests::saw({static_cast<std::uint32_t>(of % 3), 1}); };
        const auto use = [&](shm::pool_handle handle) { std::ranges::fill(made.data(handle), std::byte{7}); };
        const auto lost = [&](shm::pool_handle handle) {
            use(handle);
            return handle.slot().generation() % 2 == 0;
        };
        {
            const while_watching now{peer};
            for (const auto& [what, which] : any_deeds(17, 20)) {
                peer.next_operation();
                const shm::pool_class added{static_cast<std::uint32_t>(which % 3), which * 16};
                if (what == 0 || members.empty()) {
                    if (auto joined = made.join({static_cast<std::uint32_t>(which % 3), 1}))
                        members.push_back(*std::move(joined));
                    continue;
                }
                auto& member = members.front();
                const auto handle = had[which % had.size()];
                switch (what) {
                    case 1: (void)member.mark_in_flight(handle); break;
                    case 2: (void)member.adopt(handle); break;
                    case 3: (void)member.free(handle); break;
                    case 4: (void)member.free_allocated(handle); break;
                    case 5: (void)member.reclaim(proof(which)); break;
                    case 6: (void)member.reclaim(proof(which), lost); break;
                    case 7: (void)member.reclaim_in_flight(lost); break;
                    case 8: members.pop_front(); break;
                    case 9: (void)made.grow(bytes.region(), added); break;
                    case 10: (void)made.add_annex(annex.region(), added); break;
                    case 11: (void)member.attach_annex(annex.region()); break;
                    case 12: (void)made.attach_annex(annex.region()); break;
                    case 13: (void)member.meet(); break;
                    case 14:
                        if (const auto again = pool::attach(bytes.region())) made = *again;
                        break;
                    default:
                        if (const auto taken = member.try_alloc(which * 16)) {
                            const auto data = member.data(*taken);
                            RC_ASSERT(data.size() >= which * 16);
                            std::ranges::fill(data, std::byte{7});
                            had.push_back(*taken);
                        }
                }
            }
            peer.next_operation();
            members.clear();
        }
        RC_ASSERT(bytes.untouched() && annex.untouched());
    }));
}

}  // namespace
