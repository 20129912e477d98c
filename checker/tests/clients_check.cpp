// SPDX-License-Identifier: MIT OR Apache-2.0
// Checks the judge of generated clients: what it must accept, what it must refuse, and that it finds what is planted.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include <shm/explore_atomics.hpp>

#include "checker/clients/clients.hpp"
#include "models/bip_buffer/reference.hpp"
#include "models/spsc_ring/reference.hpp"
#include "models/treiber_slab/reference.hpp"

namespace shm::model {
namespace {

// The judge, on histories by hand.

using ring_history = history<ring_call>;

constexpr std::uint64_t pushed = static_cast<std::uint64_t>(push_result::pushed);
constexpr std::uint64_t full = static_cast<std::uint64_t>(push_result::full);
constexpr ring_call push_1{ring_call::try_push, 1}, push_2{ring_call::try_push, 2}, push_3{ring_call::try_push, 3};
constexpr ring_call pop{ring_call::try_pop}, size{ring_call::size}, room{ring_call::available_capacity};
constexpr ring_call both{ring_call::try_push_n, 1, 2}, look{ring_call::size_approx};
const ring_reference empty_ring{2};

TEST(judge, calls_at_the_same_time_come_in_any_order) {
    EXPECT_TRUE(linearizable(empty_ring, {{0, push_1, {pushed}}, {1, pop, {1}}}));
    EXPECT_TRUE(linearizable(empty_ring, {{0, push_1, {pushed}}, {1, pop, {}}}));
    EXPECT_TRUE(linearizable(empty_ring, {{0, both, {2}}, {1, size, {2}}}));
    EXPECT_TRUE(linearizable(empty_ring, {{0, push_1, {pushed}}, {1, size, {0}}, {1, pop, {1}, 0b10}}));
}

TEST(judge, a_sequentially_consistent_history_need_not_be_linearizable) {
    EXPECT_FALSE(linearizable(empty_ring, {{0, push_1, {pushed}}, {1, pop, {}, 0b1}}));
    EXPECT_FALSE(linearizable(empty_ring, {{0, push_1, {pushed}}, {1, size, {0}, 0b1}}));
    EXPECT_FALSE(linearizable(empty_ring, {{0, push_1, {pushed}, 0b10}, {1, pop, {1}}}));
}

TEST(judge, no_order_makes_up_for_a_wrong_answer) {
    EXPECT_FALSE(linearizable(empty_ring, {{1, pop, {1}}})) << "out of nothing";
    EXPECT_FALSE(linearizable(empty_ring, {{0, push_1, {pushed}}, {1, pop, {2}}})) << "another item";
    EXPECT_FALSE(linearizable(empty_ring, {{0, push_1, {pushed}}, {1, pop, {1}}, {1, pop, {1}, 0b10}})) << "twice";
    EXPECT_FALSE(linearizable(empty_ring, {{0, push_1, {pushed}}, {0, push_2, {pushed}, 0b1}, {1, pop, {2}}}))
        << "out of turn";
    EXPECT_FALSE(linearizable(empty_ring, {{0, push_1, {full}}})) << "refused for no reason";
    EXPECT_FALSE(linearizable(empty_ring, {{0, both, {2}}, {1, size, {1}}})) << "half a batch";
    EXPECT_FALSE(linearizable(empty_ring, {{0, push_1, {pushed}}, {alone, pop, {}, 0b1}})) << "lost";
}

unsigned misled_in(const ring_history& judged) { return misled(empty_ring, judged, 3); }

/// Two items' room, one taken: the producer has not heard of the pop, nor the consumer of the push. No order has both, and
/// acquire and release promise no more: such is any ring without sequentially consistent fences.
TEST(judge, refusals_may_be_late) {
    const ring_history late{{alone, push_1, {pushed}},
                            {0, push_2, {pushed}, 0b1},
                            {0, push_3, {full}, 0b11},
                            {1, pop, {1}, 0b1},
                            {1, pop, {}, 0b1001}};
    EXPECT_FALSE(linearizable(empty_ring, late));
    EXPECT_EQ(misled_in(late), alone);
}

/// A slab of one slot, which is allocated when the threads begin. Given back, it is stale at once and on the list a moment
/// later; in between there is no slot to be had.
TEST(judge, a_call_may_take_place_part_by_part) {
    constexpr slot_handle first{0, 1}, second{0, 2};
    constexpr slab_call take{slab_call::try_alloc, 1}, give{slab_call::free_allocated, 1, false, 0, 1};
    constexpr auto stale = static_cast<std::uint64_t>(slot_error::kind::generation_mismatch);
    const answer refused{static_cast<std::uint64_t>(alloc_status::would_block), 0}, given{first.word()};
    const slab_reference one{1, 2};
    const operation<slab_call> begin{alone, {slab_call::try_alloc}, {0, first.word()}};

    history<slab_call> half{
        begin, {0, give, given, 0b1}, {1, give, {first.word(), stale, 1, 2}, 0b1}, {1, take, refused, 0b101}};
    EXPECT_FALSE(linearizable(one, half));
    EXPECT_EQ(unexplained_part(one, half), std::nullopt);
    half.back().after |= 0b10;
    EXPECT_EQ(unexplained_part(one, half), 1U) << "is known to be back, and was lost";

    const answer again{0, second.word()};
    EXPECT_EQ(unexplained_part(one, {begin, {0, give, given, 0b1}, {1, take, again, 0b1}}), std::nullopt);
    EXPECT_EQ(unexplained_part(one, {begin, {0, give, given, 0b1}, {1, give, given, 0b1}}), 0U) << "given back twice";
    EXPECT_EQ(unexplained_part(one, {begin, {0, give, given, 0b1}, {0, take, again, 0b11}, {1, take, again, 0b1}}), 0U)
        << "had by two";
    EXPECT_EQ(unexplained_part(one, {begin, {1, take, again, 0b1}}), 0U) << "not given back";
}

TEST(judge, each_thread_has_an_order_of_its_own_and_not_more) {
    EXPECT_EQ(misled_in({{0, push_1, {pushed}}, {1, size, {1}}, {1, pop, {}, 0b10}}), 1U) << "counts what is not there";
    EXPECT_EQ(misled_in({{0, push_1, {pushed}}, {1, pop, {}, 0b1}}), 1U) << "has heard of it";
    EXPECT_EQ(misled_in({{0, room, {1}}, {0, push_1, {pushed}, 0b1}}), 0U) << "was never so full";
    EXPECT_EQ(misled_in({{0, both, {2}}, {1, pop, {2}}}), 0U) << "what others did is exact in every order";
    EXPECT_EQ(misled_in({{0, both, {2}}, {0, room, {1}, 0b1}, {0, room, {0}, 0b11}, {1, pop, {1}}}), 0U)
        << "room does not shrink again";
}

// The consumer's peek leaves one skipped slot, its `consume` one that it has read. Between them the producer may skip three,
// and finds the buffer full.
TEST(judge, a_call_of_another_thread_may_be_seen_half_done_where_the_reference_says_so) {
    constexpr auto granted = static_cast<std::uint64_t>(grant_result::granted);
    constexpr auto no_room = static_cast<std::uint64_t>(grant_result::full);
    constexpr auto grant = [](std::size_t count, std::size_t used) {
        return buffer_call{buffer_call::grant_commit, 1, count, used};
    };
    constexpr buffer_call peek{buffer_call::peek_consume, 0, 0, 1};
    const buffer_reference start{.capacity = 4, .published = 3, .consumed = 3};
    history<buffer_call> half{{alone, grant(2, 1), {granted, 2}},
                              {0, grant(4, 0), {no_room, 3}, 0b1},
                              {0, grant(1, 0), {no_room, 0}, 0b11},
                              {1, peek, {2, 1}, 0b1}};
    EXPECT_FALSE(linearizable(start, half));
    EXPECT_EQ(misled(start, half, 2), alone);
    half[2].after |= 0b1000;
    EXPECT_EQ(misled(start, half, 2), 0U) << "has heard of the second half";
    half[2].after = 0b11;
    half[3].told = {0};
    EXPECT_EQ(misled(start, half, 2), 0U) << "no half has taken place";
}

TEST(judge, an_observer_is_told_no_more_than_the_capacity_and_alone_the_truth) {
    EXPECT_EQ(misled_in({{2, look, {2}}}), alone);
    EXPECT_EQ(misled_in({{2, look, {3}}}), 2U);
    EXPECT_NE(misled_in({{alone, look, {1}}}), alone);
}

/// The same question asked of every permutation.
bool some_permutation_explains(const ring_reference& start, const ring_history& judged) {
    std::vector<std::size_t> order(judged.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    do {
        ring_reference now = start;
        bits done = 0;
        const bool explains = std::all_of(order.begin(), order.end(), [&](std::size_t i) {
            const bool in_turn = (judged[i].after & ~done) == 0;
            done |= bit(i);
            return in_turn && now.may_tell(judged[i].made, judged[i].told);
        });
        if (explains) return true;
    } while (std::next_permutation(order.begin(), order.end()));
    return false;
}

TEST(judge, agrees_with_every_permutation) {
    std::mt19937 random{20240521};
    const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    int accepted = 0, refused = 0;
    for (int i = 0; i < 3000; ++i) {
        ring_history made;
        const unsigned calls = 1 + below(6);
        for (unsigned call = 0; call < calls; ++call) {
            const bits after = below(3) == 0 ? below(bit(call)) : 0;
            switch (below(4)) {
                case 0: made.push_back({1, size, {below(3)}, after}); break;
                case 1: made.push_back({1, pop, below(2) == 0 ? answer{} : answer{below(calls)}, after}); break;
                default: made.push_back({0, {ring_call::try_push, call}, {below(6) == 0 ? full : pushed}, after});
            }
        }
        const bool expected = some_permutation_explains(empty_ring, made);
        ++(expected ? accepted : refused);
        ASSERT_EQ(linearizable(empty_ring, made), expected) << "history " << i;
    }
    EXPECT_GT(accepted, 300);
    EXPECT_GT(refused, 300);
}

// The whole of it, on words that are right and wrong.

struct word_call {
    enum { add, read, meet } what;
    unsigned thread = 0;
};
answer perform(const word_call& call, auto& word) {
    switch (call.what) {
        case word_call::add: return {word.add(call.thread)};
        case word_call::read: return {word.read(call.thread)};
        default: word.meet(); return {};
    }
}
struct word_reference {
    using call = word_call;
    std::uint64_t value = 0;
    auto operator<=>(const word_reference&) const = default;
    std::uint64_t add(unsigned) { return value++; }
    [[nodiscard]] std::uint64_t read(unsigned) const { return value; }
    void meet() {}
    bool may_tell(const word_call& made, const answer& told) { return perform(made, *this) == told; }
};
std::ostream& operator<<(std::ostream& out, const word_reference&) { return out << "a word"; }
std::ostream& operator<<(std::ostream& out, const word_call& call) {
    return out << (call.what == word_call::add ? "add()" : call.what == word_call::read ? "read()" : "meet()");
}
std::string answer_text(const word_call&, const answer& told) {
    return told.empty() ? "nothing" : std::to_string(told.front());
}

enum class word_kind : std::uint8_t { right, loses, remembers, races };

/// Threads also meet, which tells them nothing, but whoever comes later knows what the others had done.
template <word_kind Kind>
class word {
public:
    static constexpr const char* lanes[] = {"first", "second"};
    explicit word(const word_reference&) {}
    std::uint64_t add(unsigned thread) {
        known_[thread].reset();
        using enum std::memory_order;
        if (Kind == word_kind::races) plain_.write(0);
        if (Kind != word_kind::loses) return value_.fetch_add(1, relaxed);
        const std::uint64_t old = value_.load(relaxed);
        value_.store(old + 1, relaxed);
        return old;
    }
    std::uint64_t read(unsigned thread) {
        auto& known = known_[thread];
        if (!known || Kind != word_kind::remembers) known = value_.load(std::memory_order_relaxed);
        return *known;
    }
    void meet() { meetings_.fetch_add(1, std::memory_order_acq_rel); }

private:
    explore_atomics::atomic<std::uint64_t> value_, meetings_;
    explore_atomics::cell<int> plain_;
    std::array<std::optional<std::uint64_t>, 3> known_;
};

rc::Gen<client<word_reference>> any_client_of_a_word() {
    return rc::gen::exec([] {
        client<word_reference> made;
        for (unsigned t = 0; t < 2; ++t) {
            const auto what = rc::gen::element(word_call::add, word_call::read, word_call::meet);
            auto& calls = made.threads.emplace_back();
            for (const auto each :
                 *rc::gen::resize(4, rc::gen::container<std::vector<decltype(word_call::what)>>(what)))
                calls.push_back({each, t});
        }
        made.after = {{word_call::read, 2}};
        return made;
    });
}
template <word_kind Kind>
clients_report check_word(const clients_budget& budget = {}) {
    return clients_check<word<Kind>, word_reference>{"word", budget}.run(any_client_of_a_word(), {});
}

TEST(generated_clients, of_a_word_that_is_right_are_all_explained) {
    const auto report = check_word<word_kind::right>();
    EXPECT_EQ(report.failure, "");
    EXPECT_EQ(report.programs, clients_budget{}.programs);
    EXPECT_GT(report.executions, 2 * report.programs);
    EXPECT_GT(report.linearizable, report.programs);
    EXPECT_EQ(report.late, 0U) << "a word's answers are never late";
}

TEST(generated_clients, find_a_lost_addition_and_make_the_client_small) {
    const auto report = check_word<word_kind::loses>();
    EXPECT_NE(report.failure.find("    1  add() -> 0\n"
                                  "    2              add() -> 0\n"
                                  "    3  after: read() -> 1\n"),
              std::string::npos)
        << report.failure;
}

TEST(generated_clients, find_a_race_and_show_the_calls_that_it_ends) {
    const auto report = check_word<word_kind::races>();
    EXPECT_NE(report.failure.find("    1  add() does not return\n"
                                  "    2                         add() does not return\n"
                                  "    3  after: read() does not return\n"
                                  "       data race\n"),
              std::string::npos)
        << report.failure;
}

/// Sequentially consistent, and wrong all the same: whoever has met the other and reads again must see the addition.
TEST(generated_clients, find_an_answer_that_has_been_overtaken) {
    const auto report = check_word<word_kind::remembers>();
    EXPECT_NE(report.failure.find("no order of the calls explains"), std::string::npos) << report.failure;
}

TEST(generated_clients, of_a_ring_are_told_some_things_late) {
    const auto ring = std::find_if(clients_families().begin(), clients_families().end(),
                                   [](const clients_family& family) { return family.name == "spsc_ring"; });
    ASSERT_NE(ring, clients_families().end());
    const auto report = ring->check({.programs = 100}, {});
    EXPECT_EQ(report.failure, "");
    EXPECT_GT(report.late, 0U);
    EXPECT_GT(report.linearizable, report.late);
}

TEST(generated_clients, with_too_many_executions_are_a_failure) {
    const auto report = check_word<word_kind::right>({.most_executions = 10});
    EXPECT_NE(report.failure.find("expected at most 10 executions, found more"), std::string::npos) << report.failure;
    EXPECT_LT(report.programs, clients_budget{}.programs);
}

/// Both when no order explains an execution and when it has no end.
template <word_kind Kind>
void expect_to_replay() {
    const auto report = check_word<Kind>();
    const std::string before = "replay: --replay '", after = "'\n";
    const auto first = report.failure.find(before);
    ASSERT_NE(first, std::string::npos) << report.failure;
    const std::string token =
        report.failure.substr(first + before.size(), report.failure.size() - first - before.size() - after.size());
    const clients_replay again =
        clients_check<word<Kind>, word_reference>{"word", {}}.replay(any_client_of_a_word(), client_token{token});
    EXPECT_TRUE(again.fails);
    EXPECT_EQ(again.text, report.failure) << token;
}
TEST(generated_clients, that_fail_replay_from_their_token) {
    expect_to_replay<word_kind::loses>();
    expect_to_replay<word_kind::races>();
    expect_to_replay<word_kind::remembers>();
}

TEST(generated_clients, a_token_that_is_none_is_refused) {
    for (const char* const token : {"", "word", "word,1,1,-", "word,x,1,-,::", "word,1,0,-,::", "word,1,1,a,::",
                                    "word,1,1,0.,::", "word,1,1,99999,::", "word,1,1,-,", "word,1,1,-,:%:"})
        EXPECT_THROW((void)(clients_check<word<word_kind::right>, word_reference>{"word", {}}.replay(
                         any_client_of_a_word(), client_token{token})),
                     std::invalid_argument)
            << token;
}

}  // namespace
}  // namespace shm::model
