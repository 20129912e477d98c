// SPDX-License-Identifier: MIT OR Apache-2.0
// Checks the engine itself: what the complete search leaves out, it must leave out without loss; what it says of a
// search must be so; and what it calls a token must replay.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "checker/driver/scenario.hpp"
#include "checker/driver/search.hpp"
#include "checker/explore/arena.hpp"
#include "checker/relacy/engine.hpp"

namespace shm::model {
namespace {

using enum std::memory_order;
using A = relacy_atomics;

/// A random program: a few threads, each a few operations on two words and a plain cell.
struct step {
    enum kind : unsigned char {
        load,
        store,
        add,
        exchange,
        compare,
        compare_weak,
        look,
        choice,
        fence,
        read_cell,
        write_cell
    } what;
    unsigned location;
    int operand;
    std::memory_order order;
};
using program = std::vector<std::vector<step>>;

constexpr unsigned locations = 2;

program random_program(std::mt19937& random, bool with_cell) {
    const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    const auto pick = [&](auto... orders) {
        const std::array all{orders...};
        return all[below(all.size())];
    };
    program threads(2 + below(2));
    for (auto& steps : threads) {
        steps.resize(threads.size() == 2 ? 2 + below(3) : 1 + below(2));
        for (step& s : steps) {
            s.what = static_cast<step::kind>(below(with_cell ? 11 : 9));
            s.location = below(locations);
            s.operand = 1 + static_cast<int>(below(3));
            switch (s.what) {
                case step::look:
                case step::load: s.order = pick(relaxed, acquire, seq_cst); break;
                case step::store: s.order = pick(relaxed, release, seq_cst); break;
                case step::fence: s.order = pick(acquire, release, acq_rel, seq_cst); break;
                default: s.order = pick(relaxed, acquire, release, acq_rel, seq_cst); break;
            }
        }
    }
    return threads;
}

const program* running;
bool mortal;  // whether its threads may be killed
std::set<std::string>* outcomes;

template <class Layer>
class interpreted final : public instance {
public:
    void before() override {
        for (auto& w : words_) w.emplace(0);
    }
    void thread(unsigned index) override {
        if (!mortal)
            perform(index);
        else if (!survives([&] { perform(index); }))
            saw(index, -2);
    }
    void after() override {
        if (std::is_same_v<Layer, A> && repeats_another())
            return;  // so that nothing counts as seen that only a repetition shows
        std::string outcome;
        for (const auto& mine : seen_) outcome += mine + "|";
        for (auto& w : words_) outcome += std::to_string(w->load(relaxed)) + " ";
        const explore::arena::paused outlives_the_execution;
        outcomes->insert(outcome);
    }

private:
    void perform(unsigned index) {
        for (const step& s : (*running)[index]) {
            auto& word = *words_[s.location];
            switch (s.what) {
                case step::load: saw(index, word.load(s.order)); break;
                case step::store: word.store(s.operand, s.order); break;
                case step::add: saw(index, word.fetch_add(s.operand, s.order)); break;
                case step::exchange: saw(index, word.exchange(s.operand, s.order)); break;
                case step::compare: {
                    int expected = s.operand - 1;
                    saw(index, word.compare_exchange_strong(expected, s.operand, s.order, relaxed) ? 100 : expected);
                    break;
                }
                case step::compare_weak: {
                    int expected = s.operand - 1;
                    saw(index, word.compare_exchange_weak(expected, s.operand, s.order, relaxed) ? 100 : expected);
                    break;
                }
                case step::look: {
                    const auto found =
                        Layer::await_until(word, s.order, [](int seen) { return seen != 0; }, deadline{});
                    saw(index, found.value_or(-1));
                    break;
                }
                case step::choice: saw(index, static_cast<int>(choose(2))); break;
                case step::fence: Layer::fence(s.order); break;
                case step::read_cell: saw(index, cell_.read()); break;
                case step::write_cell: cell_.write(s.operand); break;
            }
        }
    }

    void saw(unsigned index, int value) { seen_[index] += std::to_string(value) + " "; }

    std::array<std::optional<typename Layer::template atomic<int>>, locations> words_;
    typename Layer::template cell<int> cell_;
    std::array<std::string, 3> seen_;
};

struct all_of_it {
    std::set<std::string> outcomes;
    outcome result;
};

all_of_it run(const program& p, search_kind kind, unsigned bound = 3, engine& by = relacy_engine()) {
    all_of_it all;
    running = &p;
    outcomes = &all.outcomes;
    const entry scenario{"engine",
                         "random",
                         form::tries,
                         static_cast<unsigned>(p.size()),
                         "",
                         false,
                         {[] { return std::make_unique<interpreted<explore_atomics>>(); },
                          [] { return std::make_unique<interpreted<A>>(); }}};
    search how;
    how.kind = kind;
    how.bound = bound;
    how.seconds = 20;
    all.result = by.explore(scenario, how);
    return all;
}

TEST(engine, the_complete_search_sees_every_outcome_of_the_full_one) {
    std::mt19937 random{20240521};
    std::uint64_t complete = 0, full = 0;
    constexpr int programs = 300;
    for (int i = 0; i < programs; ++i) {
        const program p = random_program(random, false);
        const auto everything = run(p, search_kind::full);
        const auto reduced = run(p, search_kind::complete);
        ASSERT_TRUE(everything.result.exhausted && reduced.result.exhausted) << "program " << i;
        ASSERT_EQ(everything.outcomes, reduced.outcomes) << "program " << i;
        complete += reduced.result.executions;
        full += everything.result.executions;
    }
    std::printf("%d programs: %llu executions in full, %llu with sleep sets\n", programs,
                static_cast<unsigned long long>(full), static_cast<unsigned long long>(complete));
    EXPECT_LT(complete * 4, full);
}

TEST(engine, the_complete_search_sees_every_death) {
    mortal = true;
    std::mt19937 random{5};
    for (int i = 0; i < 60; ++i) {
        program p = random_program(random, false);
        p.resize(2);
        const auto everything = run(p, search_kind::full);
        const auto reduced = run(p, search_kind::complete);
        ASSERT_TRUE(everything.result.exhausted && reduced.result.exhausted) << "program " << i;
        ASSERT_EQ(everything.outcomes, reduced.outcomes) << "program " << i;
    }
    mortal = false;
}

TEST(engine, the_complete_search_finds_a_race_whenever_the_full_one_does) {
    std::mt19937 random{7};
    int racy = 0;
    constexpr int programs = 300;
    for (int i = 0; i < programs; ++i) {
        const program p = random_program(random, true);
        const bool expected = run(p, search_kind::full).result.failed;
        ASSERT_EQ(expected, run(p, search_kind::complete).result.failed) << "program " << i;
        racy += expected;
    }
    EXPECT_GT(racy, programs / 10);
    EXPECT_LT(racy, programs);
}

TEST(engine, a_large_bound_is_no_bound) {
    std::mt19937 random{11};
    for (int i = 0; i < 100; ++i) {
        const program p = random_program(random, false);
        ASSERT_EQ(run(p, search_kind::full).outcomes, run(p, search_kind::bounded, 100).outcomes) << "program " << i;
    }
}

TEST(engine, no_bound_at_all_still_runs_each_thread_first) {
    const program p{{{step::store, 0, 1, relaxed}, {step::load, 1, 0, relaxed}},
                    {{step::store, 1, 1, relaxed}, {step::load, 0, 0, relaxed}}};
    EXPECT_GE(run(p, search_kind::bounded, 0).outcomes.size(), 2U);
}

std::string text_of(const program& p) {
    constexpr const char* kinds[] = {"load", "store",  "add",   "exchange",  "compare",   "compare_weak",
                                     "look", "choice", "fence", "read_cell", "write_cell"};
    std::string text;
    for (const auto& steps : p) {
        text += text.empty() ? "" : " | ";
        for (const step& s : steps)
            text += std::string{kinds[s.what]} + " " + std::to_string(s.location) + " " + std::to_string(s.operand) +
                    " " + name_of(s.order) + "; ";
    }
    return text;
}

bool reads(const step& s) { return s.what == step::load || s.what == step::look; }
bool writes(const step& s) { return s.what == step::store || s.what == step::add || s.what == step::exchange; }
bool compares(const step& s) { return s.what == step::compare || s.what == step::compare_weak; }
bool is_seq_cst_fence(const step& s) { return s.what == step::fence && s.order == seq_cst; }
bool is_seq_cst_access(const step& s) { return (reads(s) || writes(s) || compares(s)) && s.order == seq_cst; }

template <class Wanted>
int count(const program& p, Wanted wanted) {
    int found = 0;
    for (const auto& steps : p) found += static_cast<int>(std::count_if(steps.begin(), steps.end(), wanted));
    return found;
}

/// What Relacy may leave out. It takes each word's stores in the order of execution and one of its last two values, which
/// makes no difference to a word that is written once. A compare-exchange that fails reads the newest value, and fails for no
/// reason once. Seq_cst loads come in the order of execution, which is more than C++ asks where other orders are used as well,
/// and seq_cst fences are a little too strong.
bool relacy_may_be_blind(const program& p) {
    for (unsigned location = 0; location < locations; ++location)
        if (count(p, [&](const step& s) { return writes(s) && s.location == location; }) > 1) return true;
    const auto is_seq_cst_load = [](const step& s) { return reads(s) && s.order == seq_cst; };
    const auto is_of_another_order = [](const step& s) { return (reads(s) || writes(s)) && s.order != seq_cst; };
    return count(p, compares) != 0 || count(p, is_seq_cst_fence) != 0 ||
           (count(p, is_seq_cst_load) != 0 && count(p, is_of_another_order) != 0);
}

/// And what it knows nothing of, and shows though C++ forbids it: which of a seq_cst fence and another thread's seq_cst
/// access comes first.
bool relacy_may_be_wrong(const program& p) {
    return count(p, is_seq_cst_fence) != 0 && count(p, is_seq_cst_access) != 0;
}

/// Longer than the others, with nothing in it that Relacy may be blind to.
program random_program_of_single_writes(std::mt19937& random) {
    for (;;) {
        program p = random_program(random, random() % 4 == 0);
        bool written[locations] = {};
        for (auto& steps : p)
            for (step& s : steps) {
                if (compares(s)) s.what = step::load;
                if (writes(s) && std::exchange(written[s.location], true)) s.what = step::look;
                if (reads(s) && (s.order == release || s.order == acq_rel)) s.order = acquire;
                if (is_seq_cst_fence(s)) s.order = acq_rel;
            }
        if (!relacy_may_be_blind(p)) return p;
    }
}

/// What the engines were compared on.
struct compared {
    int programs = 0, equal = 0, racy = 0;
    std::size_t outcomes = 0, of_relacy = 0;
};

/// What Relacy sees, explore sees; and the other way round, but for what Relacy is known to be blind to.
void compare_engines(const program& p, compared& so_far) {
    const auto first = run(p, search_kind::complete, 0, explore_engine());
    const auto second = run(p, search_kind::complete);
    ASSERT_FALSE(first.result.broken || second.result.broken) << first.result.why << second.result.why;
    const bool races = first.result.failed;
    ++so_far.programs;
    so_far.racy += races;
    EXPECT_TRUE(races || !second.result.failed) << "a race that explore does not find: " << second.result.why;
    EXPECT_TRUE(races == second.result.failed || relacy_may_be_blind(p));
    if (races) return;  // which ends a search
    ASSERT_TRUE(first.result.exhausted && second.result.exhausted);
    so_far.outcomes += first.outcomes.size();
    so_far.of_relacy += second.outcomes.size();
    so_far.equal += first.outcomes == second.outcomes;
    if (!relacy_may_be_blind(p)) {
        EXPECT_EQ(first.outcomes, second.outcomes);
    }
    EXPECT_TRUE(
        std::includes(first.outcomes.begin(), first.outcomes.end(), second.outcomes.begin(), second.outcomes.end()))
        << testing::PrintToString(second.outcomes) << "\nis not part of\n"
        << testing::PrintToString(first.outcomes);
}

template <class Generator>
void compare_engines(unsigned seed, int programs, Generator next) {
    std::mt19937 random{seed};
    compared so_far;
    while (so_far.programs < programs && !testing::Test::HasFailure()) {
        const program p = next(random);
        if (relacy_may_be_wrong(p)) continue;
        const testing::ScopedTrace which{__FILE__, __LINE__, text_of(p)};
        compare_engines(p, so_far);
    }
    std::printf(
        "%d programs, %d of them with a race: explore sees %zu outcomes, Relacy %zu of them, all of %d programs\n",
        so_far.programs, so_far.racy, so_far.outcomes, so_far.of_relacy, so_far.equal);
}

TEST(two_engines, relacy_sees_nothing_that_explore_does_not) {
    compare_engines(1, 10'000, [](std::mt19937& random) { return random_program(random, false); });
}
TEST(two_engines, see_the_same_where_no_word_is_written_twice) {
    compare_engines(2, 10'000, random_program_of_single_writes);
}
TEST(two_engines, find_the_same_races) {
    compare_engines(3, 5000, [](std::mt19937& random) { return random_program(random, true); });
}

/// x := 1 (seq_cst), reads y (seq_cst)  |  y := 1, fence (seq_cst), reads x: not both 0, says C++.
TEST(two_engines, relacy_does_not_put_seq_cst_fences_and_accesses_in_one_order) {
    const program p{{{step::store, 0, 1, seq_cst}, {step::load, 1, 0, seq_cst}},
                    {{step::store, 1, 1, relaxed}, {step::fence, 0, 0, seq_cst}, {step::load, 0, 0, relaxed}}};
    const auto first = run(p, search_kind::complete, 0, explore_engine()).outcomes;
    const auto second = run(p, search_kind::complete).outcomes;
    EXPECT_EQ(first.size(), 3U);
    EXPECT_EQ(second.size(), 4U);
}

/// Two threads each add once, without atomicity; a scenario that must fail.
class lost_update final : public instance {
public:
    void before() override {}
    void thread(unsigned) override { word_.store(word_.load(relaxed) + 1, relaxed); }
    void after() override { check(word_.load(relaxed) == 2); }

private:
    A::atomic<int> word_{0};
};

/// A thread waits for what never comes.
class waits_for_ever final : public instance {
public:
    void before() override {}
    void thread(unsigned index) override {
        if (index == 0)
            (void)A::await(word_, acquire, [](int seen) { return seen == 1; });
        else
            word_.store(2, release);
    }
    void after() override {}

private:
    A::atomic<int> word_{0};
};

/// Not the same in each execution.
class not_deterministic final : public instance {
public:
    void before() override {}
    void thread(unsigned) override {
        static unsigned runs = 0;
        for (unsigned left = 1 + ++runs % 3; left != 0; --left) word_.store(1, relaxed);
    }
    void after() override {}

private:
    A::atomic<int> word_{0};
};

template <class Instance>
entry scenario_of(unsigned threads) {
    return {"engine", "check", form::tries, threads, "", false, {{}, [] { return std::make_unique<Instance>(); }}};
}

class every_kind : public testing::TestWithParam<search_kind> {};

TEST_P(every_kind, a_failure_replays_from_its_choices) {
    search how;
    how.kind = GetParam();
    const auto scenario = scenario_of<lost_update>(2);
    const auto found = relacy_engine().explore(scenario, how);
    ASSERT_TRUE(found.failed);
    recording execution;
    const auto again = relacy_engine().replay(scenario, how, found.choices, execution);
    EXPECT_TRUE(again.failed);
    EXPECT_EQ(again.executions, 1U);
    EXPECT_EQ(again.why, found.why);
    EXPECT_EQ(execution.events.size(), 5U);  // two loads, two stores, and the load of the check
}
INSTANTIATE_TEST_SUITE_P(engine, every_kind,
                         testing::Values(search_kind::complete, search_kind::full, search_kind::bounded,
                                         search_kind::sampled));

TEST(engine, a_wait_for_what_never_comes_is_a_failure) {
    search how;
    how.kind = search_kind::bounded;
    const auto found = relacy_engine().explore(scenario_of<waits_for_ever>(2), how);
    EXPECT_TRUE(found.failed);
    EXPECT_EQ(found.why, "no end in sight: a thread waits for what never comes");
}

TEST(engine, a_wait_in_a_complete_search_is_refused_not_pruned) {
    const auto found = relacy_engine().explore(scenario_of<waits_for_ever>(2), search{});
    EXPECT_TRUE(found.failed && found.broken) << found.why;
}

TEST(engine, a_scenario_that_is_not_deterministic_is_a_failure) {
    const auto found = relacy_engine().explore(scenario_of<not_deterministic>(2), search{});
    EXPECT_TRUE(found.failed && found.broken) << found.why;
}

TEST(engine, a_search_that_ran_out_of_time_does_not_say_exhausted) {
    std::mt19937 random{3};
    program p(3, std::vector<step>(6, step{step::add, 0, 1, relaxed}));
    running = &p;
    std::set<std::string> ignored;
    outcomes = &ignored;
    search how;
    how.kind = search_kind::full;
    how.seconds = 0.05;
    const entry scenario{
        "engine", "large", form::tries, 3, "", false, {{}, [] { return std::make_unique<interpreted<A>>(); }}};
    const auto cut_off = relacy_engine().explore(scenario, how);
    EXPECT_FALSE(cut_off.failed);
    EXPECT_FALSE(cut_off.exhausted);
}

/// What model-check asks: with a limit of time or of executions, with workers and shards.
TEST(engine, a_search_that_is_ended_by_any_limit_does_not_say_exhausted) {
    const program p(3, std::vector<step>(5, step{step::add, 0, 1, relaxed}));
    running = &p;
    std::set<std::string> ignored;
    outcomes = &ignored;
    const entry scenario{"engine",
                         "large",
                         form::tries,
                         3,
                         "",
                         false,
                         {[] { return std::make_unique<interpreted<explore_atomics>>(); },
                          [] { return std::make_unique<interpreted<A>>(); }}};
    search how;
    how.seconds = 0;
    for (const unsigned workers : {1U, 3U})
        for (const unsigned shards : {1U, 2U}) {
            how.workers = workers;
            how.shards = shards;
            for (how.shard = 0; how.shard < shards; ++how.shard) {
                const auto cut_off = explore_engine().explore(scenario, how);
                EXPECT_FALSE(cut_off.failed) << cut_off.why;
                EXPECT_FALSE(cut_off.exhausted) << workers << " workers, shard " << how.shard << " of " << shards;
            }
        }
    how = {};
    how.affordable = 100;
    const auto given_up = relacy_engine().explore(scenario, how);
    EXPECT_FALSE(given_up.failed) << given_up.why;
    EXPECT_FALSE(given_up.exhausted);
}

TEST(engine, a_token_of_another_program_is_refused) {
    recording execution;
    const auto scenario = scenario_of<lost_update>(2);
    EXPECT_THROW((void)relacy_engine().replay(scenario, search{}, "zzz", execution), std::invalid_argument);
    const std::string surplus = relacy_engine().explore(scenario, search{}).choices + "0";
    EXPECT_THROW((void)relacy_engine().replay(scenario, search{}, surplus, execution), std::invalid_argument);
}

TEST(engine, sampling_is_not_the_same_execution_again_and_again) {
    const program p{{{step::store, 0, 1, relaxed}, {step::load, 1, 0, relaxed}},
                    {{step::store, 1, 1, relaxed}, {step::load, 0, 0, relaxed}}};
    EXPECT_EQ(run(p, search_kind::sampled).outcomes, run(p, search_kind::full).outcomes);
}

}  // namespace
}  // namespace shm::model

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
