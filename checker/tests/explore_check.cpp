// SPDX-License-Identifier: MIT OR Apache-2.0
// Checks the engine itself: its counts are those of others, its graphs those of a brute force, each once; it finds what
// can go wrong, and says what it cannot search.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <bitset>
#include <cstring>
#include <random>

#include "checker/explore/parallel.hpp"
#include "checker/explore/scheduler.hpp"
#include "checker/tests/brute_force.hpp"
#include "checker/tests/known_algorithms.hpp"
#include "checker/tests/programs.hpp"

namespace shm::explore {
namespace {

using enum std::memory_order;

struct found {
    totals counted;
    bool failed, broken;
    std::string why, token;
};

found run(const program& p, settings how = {}) {
    how.find_duplicates = true;
    scheduler search{p, how};
    search.run({});
    EXPECT_EQ(search.so_far().duplicates, 0U);
    EXPECT_EQ(search.exhausted(), !search.failed());
    return {search.so_far(), search.failed(), search.broken(), search.why(), search.failed() ? search.token() : ""};
}
program program_from(const program_text& text) {
    return {threads_at_first(text), [&text] { return std::make_unique<interpreted>(text); }};
}

class golden : public testing::TestWithParam<const char*> {};
TEST_P(golden, every_count_is_reproduced) {
    const auto programs = read_counted(std::string{SHM_SOURCE_DIR "/checker/tests/golden/"} + GetParam());
    ASSERT_GE(programs.size(), 30U);
    std::uint64_t executions = 0;
    for (const counted& expected : programs) {
        const program_text text = parse(expected.program);
        const auto result = run(program_from(text));
        EXPECT_EQ(result.counted.complete, expected.executions) << expected.name;
        EXPECT_EQ(result.counted.blocked, 0U) << expected.name;
        executions += result.counted.complete;
    }
    std::printf("%zu programs, %llu executions\n", programs.size(), static_cast<unsigned long long>(executions));
}
INSTANTIATE_TEST_SUITE_P(explore, golden, testing::Values("litmus.tsv", "random-programs.tsv"),
                         [](const auto& file) { return file.index == 0 ? "litmus" : "random_programs"; });

/// Of at most `most` events, so that a brute force ends.
program_text random_program(std::mt19937& random, unsigned most, const std::string& kinds = "WWRRAXCF",
                            bool mostly_seq_cst = false) {
    const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    constexpr std::memory_order orders[] = {relaxed, acquire, release, acq_rel, seq_cst};
    program_text threads(2 + below(2));
    for (unsigned events = 0;;) {
        operation o{};
        o.kind = kinds[below(static_cast<unsigned>(kinds.size()))];
        auto& thread = threads[below(static_cast<unsigned>(threads.size()))];
        if (o.kind == 'D') {
            if (thread.empty()) thread.push_back(o);
            continue;
        }
        if (o.kind == 'S') {
            if (threads.size() == 5) continue;
            if (++events > most) return threads;
            o.a = static_cast<unsigned>(threads.size());
            o.conditional = below(6) == 0;
            thread.push_back(o);
            threads.emplace_back();  // `thread` is gone
            continue;
        }
        if (o.kind == 'J') {
            for (const operation& earlier : thread)
                if (earlier.kind == 'S') o.a = earlier.a;
            if (o.a == 0) continue;
        }
        events += o.kind == 'Q' ? 3 : o.kind == 'A' || o.kind == 'X' || o.compares() ? 2 : 1;
        if (!thread.empty() && thread.front().kind == 'D') ++events;
        if (events > most) return threads;
        o.conditional = below(6) == 0;
        o.location = below(2);
        if (o.kind != 'J') o.a = o.compares() || o.kind == 'U' ? below(3) : 1 + below(2);
        o.b = 1 + below(2);
        o.order = mostly_seq_cst && below(4) != 0 ? seq_cst : orders[below(5)];
        if (o.kind == 'W' && (o.order == acquire || o.order == acq_rel)) o.order = release;
        if ((o.kind == 'R' || o.kind == 'U') && (o.order == release || o.order == acq_rel)) o.order = acquire;
        if (o.kind == 'F' && o.order == relaxed) o.order = seq_cst;
        thread.push_back(o);
    }
}

/// What was compared, to be printed.
struct compared {
    std::size_t programs = 0, graphs = 0, waiting_for_ever = 0;
};

/// The same graphs, each once; and if a thread can wait for ever, that and nothing else is said. A mistake in the search may
/// keep it from ending, so it is ended.
void compare_with_brute_force(const program_text& text, compared& so_far) {
    const enumerated expected = brute_force(text);
    std::set<std::string> visited;
    settings how;
    how.between_looks = 1;
    scheduler search{program_from(text), how};
    search.on_complete = [&](const execution_graph& g) {
        EXPECT_TRUE(visited.insert(name_of(g)).second) << name_of(g);
    };
    search.run([](const totals& counted) { return counted.visited < 20'000; });
    ++so_far.programs;
    if (expected.waits_for_ever) {
        ++so_far.waiting_for_ever;
        EXPECT_EQ(search.why().substr(0, 16), "waits for ever: ");
        return;
    }
    EXPECT_TRUE(search.exhausted()) << search.why();
    EXPECT_EQ(visited, expected.graphs);
    so_far.graphs += visited.size();
}
void compare_random_programs(unsigned seed, int programs, const std::string& kinds, bool mostly_seq_cst = false) {
    std::mt19937 random{seed};
    compared so_far;
    for (int i = 0; i < programs && !testing::Test::HasFailure(); ++i) {
        const testing::ScopedTrace which{__FILE__, __LINE__, "program " + std::to_string(i)};
        compare_with_brute_force(random_program(random, i % 10 == 0 ? 8 : 6, kinds, mostly_seq_cst), so_far);
    }
    std::printf("%zu programs, %zu graphs; in %zu a thread can wait for ever\n", so_far.programs, so_far.graphs,
                so_far.waiting_for_ever);
}

TEST(explore, the_graphs_are_those_of_a_brute_force) { compare_random_programs(20240521, 1500, "WWRRAXCF"); }
TEST(explore, the_graphs_of_seq_cst_programs_are_those_of_a_brute_force) {
    compare_random_programs(1, 300, "WWWRRRBF", true);
}
TEST(explore, the_graphs_of_waits_choices_and_deaths_are_those_of_a_brute_force) {
    compare_random_programs(2, 1500, "WWWWRAXUUBQND");
}
TEST(explore, the_graphs_of_seq_cst_waits_are_those_of_a_brute_force) {
    compare_random_programs(4, 300, "WWWRUUFB", true);
}
TEST(explore, a_thread_that_can_wait_for_ever_is_found_whenever_a_brute_force_finds_it) {
    compare_random_programs(3, 1500, "WWAUUUB");
}

TEST(explore, the_graphs_of_threads_that_start_threads_are_those_of_a_brute_force) {
    compare_random_programs(5, 1500, "WWRRAXFBSSJ");
    compare_random_programs(6, 300, "WWRRFSSJ", true);
    compare_random_programs(7, 500, "WWWRUASSJ");
}

/// Conditions that random programs of this size hardly meet. Each program has another graph, or one less, without its own.
TEST(explore, rare_conditions_are_met_as_by_a_brute_force) {
    constexpr const char* programs[] = {
        // Two read-modify-writes of one write, the second of which depends on the first: it revisits no third reader.
        "R 0 0 0 0 | A 0 1 0 0 W 1 1 0 0 | R 1 0 0 0 ?A 0 1 0 0",
        // Between seq_cst accesses of different words, through a third one.
        "W 0 1 0 4 W 1 1 0 2 | R 1 0 0 1 R 2 0 0 4 | W 2 1 0 4 R 0 0 0 4",
        // Between seq_cst accesses of one word.
        "W 0 1 0 4 | R 0 0 0 4 R 1 0 0 4 | W 1 1 0 4 R 0 0 0 4",
        // Between seq_cst fences, by a relaxed write whose thread has the first fence from another.
        "W 0 1 0 0 F 0 0 0 4 W 1 1 0 2 | R 1 0 0 1 ?W 2 1 0 0 | R 2 0 0 0 F 0 0 0 4 R 0 0 0 0",
        // The last write revisits a read, and comes too early among seq_cst writes.
        "W 0 2 0 4 R 1 0 0 4 | R 0 0 0 0 | R 2 0 0 0 W 1 1 0 4 W 0 1 0 4",
        // A compare-exchange that fails is weaker than one that succeeds.
        "W 0 1 0 0 W 1 2 0 2 | B 1 1 2 1 R 0 0 0 0",
        // A wait is revisited by what it waits for only.
        "U 0 1 0 0 | U 1 1 0 0 W 0 2 0 0 W 0 1 0 0 | W 0 1 0 0 W 1 1 0 0",
        // A wait that is deleted read the newest of what it waits for, though something newer was there.
        "R 2 0 0 0 | W 0 1 0 0 W 0 2 0 0 | U 0 1 0 0 W 2 1 0 0 | U 2 1 0 0 W 0 1 0 0",
        // What a wait waits for is there, but no seq_cst order lets it be read: only what comes later ends the wait.
        "W 0 1 0 4 U 1 0 0 4 | W 1 1 0 4 R 0 0 0 4 | U 1 1 0 0 W 1 0 0 0",
    };
    compared so_far;
    for (const char* const line : programs) {
        SCOPED_TRACE(line);
        compare_with_brute_force(parse(line), so_far);
    }
    std::printf("%zu programs, %zu graphs\n", so_far.programs, so_far.graphs);
}

template <class State>
std::uint64_t executions(bool prune = true) {
    settings how;
    if (!prune) how.ineffective_rounds = how.any_number;
    const auto result = run(program_of<State>(), how);
    EXPECT_FALSE(result.failed) << result.why;
    return result.counted.complete;
}

TEST(explore, the_counts_of_known_algorithms) {
    EXPECT_EQ((executions<ring<2, 4, true>>()), 27U);
    EXPECT_EQ((executions<ring<2, 6, true>>()), 243U);
    EXPECT_EQ((executions<ring<4, 4, true>>()), 84U);
    EXPECT_EQ((executions<ring<4, 5, true>>()), 552U);
    EXPECT_EQ((executions<ring<2, 4, false>>()), 256U);
    EXPECT_EQ((executions<slab<2, 1, 3>>(false)), 62U);
    EXPECT_EQ((executions<slab<2, 1, 3>>(true)), 20U);
    EXPECT_EQ((executions<slab<2, 2, 3>>(false)), 26738U);
    EXPECT_EQ((executions<slab<2, 2, 3>>(true)), 1920U);
    EXPECT_EQ((executions<bounded_queue<2, 1, 2>>()), 14U);
    EXPECT_EQ((executions<sequence_lock<>>()), 11U);
}

TEST(explore, the_tag_that_is_not_counted_up_is_found_with_three_threads) {
    const auto result = run(program_of<slab<3, 1, 3, false>>());
    EXPECT_TRUE(result.failed && !result.broken);
    EXPECT_EQ(result.why, "a slot is lost");
}

TEST(explore, memory_does_not_grow_with_the_executions) {
    const auto resident = [] {
        rusage used{};
        getrusage(RUSAGE_SELF, &used);
        return used.ru_maxrss;
    };
    scheduler warm{program_of<slab<2, 2, 3>>(), {}};
    warm.run({});
    const long before = resident();
    settings how;
    how.ineffective_rounds = how.any_number;
    scheduler search{program_of<slab<2, 2, 3>>(), how};  // ten times as many
    search.run({});
    EXPECT_EQ(search.so_far().complete, 26738U);
    EXPECT_LT(resident() - before, 2048) << "KiB";
}

struct plain_race {
    static constexpr unsigned threads = 2;
    A::cell<int> cell;
    void thread(unsigned index) { index == 0 ? cell.write(1) : (void)cell.read(); }
};
struct written_twice {
    static constexpr unsigned threads = 2;
    A::cell<int> cell;
    void thread(unsigned) { cell.write(1); }
};
struct waits_for_nothing {
    static constexpr unsigned threads = 2;
    A::atomic<int> word{0};
    void thread(unsigned index) {
        if (index == 0)
            (void)A::await(word, acquire, [](int seen) { return seen == 1; });
        else
            word.store(2, release);
    }
};
/// What is waited for is there for a moment only; who sleeps through it waits for ever.
struct missed_wake_up {
    static constexpr unsigned threads = 2;
    A::atomic<int> bell{0};
    void thread(unsigned index) {
        if (index == 0) {
            (void)A::await(bell, acquire, [](int seen) { return seen == 1; });
        } else {
            bell.store(1, release);
            bell.store(0, release);
        }
    }
};
/// The same, but it is the other waiter who takes it away.
struct stolen_wake_up {
    static constexpr unsigned threads = 3;
    A::atomic<int> bell{0};
    void thread(unsigned index) {
        if (index == 2) {
            bell.store(1, release);
        } else {
            (void)A::await(bell, acquire, [](int seen) { return seen == 1; });
            bell.store(0, relaxed);
        }
    }
};
/// The same, but it is there until another, who waits for something else, goes on.
struct wake_up_taken_later {
    static constexpr unsigned threads = 3;
    A::atomic<int> bell{0}, other{0};
    void thread(unsigned index) {
        if (index == 0) {
            (void)A::await(bell, acquire, [](int seen) { return seen == 1; });
        } else if (index == 1) {
            (void)A::await(other, acquire, [](int seen) { return seen == 1; });
            bell.store(0, relaxed);
        } else {
            bell.store(1, relaxed);
            other.store(1, release);
        }
    }
};
struct joins_who_waits {
    static constexpr unsigned threads = 1;
    A::atomic<int> bell{0};
    void thread(unsigned) {
        join(spawn([this] { (void)A::await(bell, acquire, [](int seen) { return seen == 1; }); }));
    }
};
struct both_wait {
    static constexpr unsigned threads = 2;
    A::atomic<int> words[2];
    void thread(unsigned index) {
        (void)A::await(words[index], acquire, [](int seen) { return seen == 1; });
        words[1 - index].store(1, release);
    }
};
struct tries_for_ever {
    static constexpr unsigned threads = 2;
    A::atomic<int> lock{1};
    void thread(unsigned index) {
        if (index == 1) return;
        A::retry_loop loop;
        for (int expected = 0; !lock.compare_exchange_strong(expected, 1, acquire, relaxed); expected = 0) loop.retry();
    }
};
struct tries_weakly_for_ever {
    static constexpr unsigned threads = 2;
    A::atomic<int> lock{1};
    void thread(unsigned index) {
        if (index == 1) return;
        A::retry_loop loop;
        for (int expected = 0; !lock.compare_exchange_weak(expected, 1, acquire, relaxed); expected = 0) loop.retry();
    }
};
/// It may die in each round; but it may also live, and try for ever.
struct mortal_tries_for_ever {
    static constexpr unsigned threads = 1;
    A::atomic<int> word{0};
    void thread(unsigned) {
        std::jmp_buf last_breath;
        if (setjmp(last_breath) != 0) return;
        scheduler::running().make_mortal(&last_breath);
        A::retry_loop loop;
        while (word.load(acquire) != 1) loop.retry();
        scheduler::running().make_mortal(nullptr);
    }
};
/// A choice may end the loop, so the checker does not say that it never ends: that would depend on the scenario.
struct chooses_and_tries_for_ever {
    static constexpr unsigned threads = 1;
    A::atomic<int> words[2];
    void thread(unsigned) {
        A::retry_loop loop;
        while (words[A::choose(2)].load(acquire) != 1) loop.retry();
    }
};
struct endless_recursion {
    static constexpr unsigned threads = 1;
    A::atomic<int> word{0};
    int deeper(int depth) {
        volatile char page[4096];
        page[0] = static_cast<char>(depth);
        return word.load(relaxed) == 1 ? depth : deeper(depth + 1) + page[0];
    }
    void thread(unsigned) { (void)deeper(0); }
};
struct endless_loop {
    static constexpr unsigned threads = 2;
    A::atomic<int> word{0};
    void thread(unsigned index) {
        if (index == 0)
            word.store(1, relaxed);
        else
            while (word.load(relaxed) != 2) {
            }
    }
};
struct ineffective_but_not_void {
    static constexpr unsigned threads = 1;
    A::atomic<int> word{0};
    void thread(unsigned) {
        A::retry_loop loop;
        word.store(1, relaxed);
        loop.retry();
    }
};
struct spins_by_exchange {
    static constexpr unsigned threads = 2;
    A::atomic<int> lock{0};
    void thread(unsigned) {
        A::retry_loop loop;
        while (lock.exchange(1, acquire) == 1) loop.retry();
        lock.store(0, release);
    }
};
struct not_deterministic {
    static constexpr unsigned threads = 2;
    A::atomic<int> word{0}, other{0};
    void thread(unsigned) {
        static unsigned runs = 0;
        for (unsigned left = 1 + ++runs % 3; left != 0; --left) (left == 2 ? other : word).store(1, relaxed);
    }
};
struct freed_twice {
    static constexpr unsigned threads = 2;
    A::atomic<int*> shared{nullptr};
    void before() { shared.store(new int{1}, relaxed); }
    void thread(unsigned) { delete shared.load(acquire); }
};
struct used_after_its_end {
    static constexpr unsigned threads = 2;
    A::atomic<int>* object = nullptr;
    void before() { object = new A::atomic<int>{1}; }
    void thread(unsigned index) {
        if (index == 0)
            delete object;
        else
            (void)object->load(acquire);
    }
};
/// The order is right, but nothing makes it known.
struct destroyed_too_early {
    static constexpr unsigned threads = 2;
    A::atomic<int>* object = nullptr;
    A::atomic<int> done{0};
    void before() { object = new A::atomic<int>{1}; }
    void thread(unsigned index) {
        if (index == 0) {
            (void)object->load(relaxed);
            done.store(1, relaxed);
        } else {
            (void)A::await(done, relaxed, [](int seen) { return seen == 1; });
            delete object;
        }
    }
};
struct published_too_early {
    static constexpr unsigned threads = 2;
    A::atomic<A::atomic<int>*> shared{nullptr};
    void thread(unsigned index) {
        if (index == 0) {
            shared.store(new A::atomic<int>{1}, relaxed);
        } else if (auto* const object = shared.load(acquire)) {
            (void)object->load(relaxed);
        }
    }
};
/// Plain data ends as a word does.
struct read_after_its_end {
    static constexpr unsigned threads = 2;
    A::cell<int>* object = nullptr;
    A::atomic<int> gone{0};
    void before() { object = new A::cell<int>; }
    void thread(unsigned index) {
        if (index == 0) {
            delete object;
            gone.store(1, release);
        } else if (gone.load(acquire) == 1) {
            (void)object->read();
        }
    }
};
struct read_in_the_end {
    static constexpr unsigned threads = 1;
    A::cell<int>* object = nullptr;
    void before() { object = new A::cell<int>; }
    void thread(unsigned) { delete object; }
    void after() { (void)object->read(); }
};
struct ends_while_it_is_read {
    static constexpr unsigned threads = 2;
    A::cell<int>* object = nullptr;
    A::atomic<int> done{0};
    void before() { object = new A::cell<int>; }
    void thread(unsigned index) {
        if (index == 0) {
            (void)object->read();
            done.store(1, relaxed);
        } else {
            (void)A::await(done, relaxed, [](int seen) { return seen == 1; });
            delete object;
        }
    }
};
struct read_while_it_is_made {
    static constexpr unsigned threads = 2;
    A::atomic<A::cell<int>*> shared{nullptr};
    void thread(unsigned index) {
        if (index == 0) {
            shared.store(new A::cell<int>, relaxed);
        } else if (auto* const object = shared.load(acquire)) {
            (void)object->read();
        }
    }
};
/// Bytes in which a cell lay in an earlier execution are none in this one.
struct never_made {
    static constexpr unsigned threads = 1;
    void thread(unsigned) {
        const bool makes = A::choose(2) == 0;
        void* const bytes = ::operator new(sizeof(A::cell<int>));
        auto* const object = makes ? new (bytes) A::cell<int> : static_cast<A::cell<int>*>(bytes);
        object->write(1);
    }
};
/// All is in order here.
struct published_in_time {
    static constexpr unsigned threads = 2;
    A::atomic<A::cell<int>*> shared{nullptr};
    void thread(unsigned index) {
        if (index == 0) {
            shared.store(new A::cell<int>, release);
        } else if (auto* const object = shared.load(acquire)) {
            object->write(1);
            delete object;
        }
    }
};
struct too_many_words {
    static constexpr unsigned threads = 1;
    void thread(unsigned) {
        for (int i = 0; i < 2000; ++i) (void)new A::atomic<int>{0};
    }
};
struct too_much_memory {
    static constexpr unsigned threads = 1;
    void thread(unsigned) {
        for (int i = 0; i < 100; ++i) ::operator delete(::operator new(std::size_t{1} << 20));
    }
};
struct too_many_threads {
    static constexpr unsigned threads = 1;
    void thread(unsigned) {
        for (unsigned i = 0; i < max_threads; ++i) (void)spawn([] {});
    }
};
struct word_never_made {
    static constexpr unsigned threads = 1;
    void thread(unsigned) {
        void* const bytes = ::operator new(sizeof(A::atomic<int>));
        std::memset(bytes, 0xee, sizeof(A::atomic<int>));
        static_cast<A::atomic<int>*>(bytes)->store(1, relaxed);
    }
};
struct joins_nobody {
    static constexpr unsigned threads = 1;
    void thread(unsigned) { join(1); }
};
struct throws {
    static constexpr unsigned threads = 1;
    void thread(unsigned) { throw std::runtime_error{"why not"}; }
};

TEST(explore, what_goes_wrong_is_found_and_named) {
    const auto expect_failure = [](const program& p, const std::string& why, bool broken = false) {
        const auto result = run(p);
        EXPECT_TRUE(result.failed) << why;
        EXPECT_EQ(result.why.substr(0, why.size()), why);
        EXPECT_EQ(result.broken, broken) << result.why;
    };
    expect_failure(program_of<plain_race>(), "data race");
    expect_failure(program_of<written_twice>(), "data race");
    expect_failure(program_of<waits_for_nothing>(), "waits for ever: thread 0 at explore_check.cpp:");
    expect_failure(program_of<missed_wake_up>(), "waits for ever: thread 0 at explore_check.cpp:");
    expect_failure(program_of<stolen_wake_up>(), "waits for ever: thread");
    expect_failure(program_of<wake_up_taken_later>(), "waits for ever: thread 0 at");
    expect_failure(program_of<joins_who_waits>(), "waits for ever: thread 0 at");
    expect_failure(program_of<both_wait>(), "waits for ever: thread 0 at");
    expect_failure(program_of<tries_for_ever>(), "waits for ever: thread 0 at");
    expect_failure(program_of<tries_weakly_for_ever>(), "waits for ever: thread 0 at");
    expect_failure(program_of<mortal_tries_for_ever>(), "waits for ever: thread 0 at");
    expect_failure(program_of<freed_twice>(), "freed twice, or never obtained");
    expect_failure(program_of<used_after_its_end>(), "");
    expect_failure(program_of<destroyed_too_early>(), "destroyed while thread 0 may be using it");
    expect_failure(program_of<published_too_early>(), "used while it is being made at explore_check.cpp:");
    expect_failure(program_of<read_after_its_end>(), "plain data is used after its end at explore_check.cpp:");
    expect_failure(program_of<read_in_the_end>(), "plain data is used after its end at explore_check.cpp:");
    expect_failure(program_of<ends_while_it_is_read>(), "data race");
    expect_failure(program_of<read_while_it_is_made>(), "data race");
    expect_failure(program_of<word_never_made>(), "used before it is made at explore_check.cpp:");
    expect_failure(program_of<never_made>(), "plain data that was never made is used at explore_check.cpp:");
    expect_failure(program_of<endless_loop>(), "more than 1000 events in an execution: a loop that waits", true);
    expect_failure(program_of<ineffective_but_not_void>(),
                   "an ineffective round changes nothing: this one stored, made or ended something", true);
    expect_failure(program_of<spins_by_exchange>(),
                   "an ineffective round changes nothing: this one stored what was there, and a compare-exchange",
                   true);
    expect_failure(program_of<too_many_words>(), "atomic objects of a scenario: expected at most 1024, found one more",
                   true);
    expect_failure(program_of<too_much_memory>(), "a simulated thread has asked for more than 64 MiB", true);
    expect_failure(program_of<too_many_threads>(), "threads at one time: expected at most 8, found one more", true);
    expect_failure(program_of<joins_nobody>(), "waits for the end of a thread that was not started", true);
    expect_failure(program_of<throws>(), "an exception escaped: why not", true);
    expect_failure(
        program_of<not_deterministic>(),
        "the scenario is not deterministic: the same choices lead to another operation at explore_check.cpp:", true);
}

TEST(explore, who_chooses_in_every_round_may_try_for_ever) {
    const auto pruned = run(program_of<chooses_and_tries_for_ever>());
    EXPECT_FALSE(pruned.failed) << pruned.why;
    EXPECT_EQ(pruned.counted.complete, 0U);
    EXPECT_EQ(pruned.counted.blocked, 2U);
    settings unpruned;
    unpruned.ineffective_rounds = unpruned.any_number;
    EXPECT_EQ(run(program_of<chooses_and_tries_for_ever>(), unpruned).why.substr(0, 30),
              "more than 1000 events in an ex");
}

TEST(explore, a_stack_that_is_too_small_ends_the_process) {
    EXPECT_DEATH((void)run(program_of<endless_recursion>()), "");
}

TEST(explore, plain_data_may_be_made_and_end_in_order) {
    const auto result = run(program_of<published_in_time>());
    EXPECT_FALSE(result.failed) << result.why;
    EXPECT_EQ(result.counted.complete, 2U);
}

/// An ineffective round because a weak compare-exchange failed for no reason succeeds in another execution.
struct tries_weakly {
    static constexpr unsigned threads = 1;
    A::atomic<int> lock{0};
    void thread(unsigned) {
        A::retry_loop loop;
        for (int expected = 0; !lock.compare_exchange_weak(expected, 1, acquire, relaxed); expected = 0) loop.retry();
    }
};
TEST(explore, a_weak_failure_is_no_wait_for_ever) {
    const auto result = run(program_of<tries_weakly>());
    EXPECT_FALSE(result.failed) << result.why;
    EXPECT_EQ(result.counted.complete, 1U);
    EXPECT_EQ(result.counted.blocked, 1U);
}

/// Words of every kind that the layer takes.
struct kinds_of_words {
    static constexpr unsigned threads = 2;
    enum class colour : std::uint8_t { red, green };
    struct pair {
        std::uint32_t first, second;
    };
    A::atomic<std::uint64_t> wide{~std::uint64_t{0}};
    A::atomic<std::int8_t> narrow{-1};
    A::atomic<colour> shade{colour::red};
    A::atomic<pair> both{pair{1, 2}};
    A::atomic<bool> flag{false};
    A::atomic<const char*> text{nullptr};
    void thread(unsigned index) {
        if (index == 0) {
            expect(wide.fetch_add(1, relaxed) == ~std::uint64_t{0}, "64 bits");
            expect(narrow.fetch_sub(127, relaxed) == -1, "signed");
            shade.store(colour::green, relaxed);
            both.store(pair{3, 4}, relaxed);
            text.store("here", release);
            flag.store(true, release);
        } else if (flag.load(acquire)) {
            expect(wide.load(relaxed) == 0 && narrow.load(relaxed) == -128, "arithmetic wraps at the word's own width");
            expect(shade.load(relaxed) == colour::green && both.load(relaxed).second == 4, "values");
            expect(text.load(relaxed)[0] == 'h', "pointers");
        }
    }
};
TEST(explore, words_have_up_to_64_bits_and_any_type) {
    const auto result = run(program_of<kinds_of_words>());
    EXPECT_FALSE(result.failed) << result.why;
    EXPECT_EQ(result.counted.complete, 2U);
}

struct long_execution {
    static constexpr unsigned threads = 1;
    A::atomic<unsigned> word{0};
    void thread(unsigned) {
        for (unsigned i = 0; i < 900; ++i) word.store(i, relaxed);
    }
    void after() { expect(word.load(relaxed) == 899, "the last one"); }
};
TEST(explore, an_execution_may_have_hundreds_of_events) {
    EXPECT_EQ(run(program_of<long_execution>()).counted.complete, 1U);
}

TEST(explore, more_threads_than_it_can_hold_are_refused) {
    EXPECT_THROW((scheduler{{max_threads + 1, [] { return nullptr; }}, {}}), std::invalid_argument);
}

/// A thread starts another, and waits for it.
struct starts_and_joins {
    static constexpr unsigned threads = 1;
    A::cell<int> cell;
    A::atomic<int> word{0};
    void thread(unsigned) {
        cell.write(1);
        const unsigned child = spawn([this] {
            expect(cell.read() == 1, "the child does not see what its parent did");
            cell.write(2);
            word.store(1, relaxed);
            cell.write(3);
        });
        (void)word.load(relaxed);
        join(child);
        expect(cell.read() == 3, "the parent does not see what its child did");
        expect(word.load(relaxed) == 1, "a join is no acquire");
    }
};
struct does_not_join {
    static constexpr unsigned threads = 1;
    A::cell<int> cell;
    void thread(unsigned) {
        (void)spawn([this] { cell.write(2); });
        (void)cell.read();
    }
};
/// There is one execution: what the child reads was written before it began, what its parent writes after the join is not
/// there yet, and what the child writes comes after what its parent has read.
struct one_after_the_other {
    static constexpr unsigned threads = 1;
    A::atomic<int> first{0}, second{0};
    void thread(unsigned) {
        (void)second.load(relaxed);
        first.store(1, relaxed);
        const unsigned child = spawn([this] {
            (void)second.load(relaxed);
            second.store(1, relaxed);
            (void)first.load(relaxed);
            (void)first.load(relaxed);
            (void)second.load(relaxed);
        });
        join(child);
        (void)second.load(relaxed);
        first.store(2, relaxed);
    }
};
/// A fence of the parent is none of its child's.
struct fence_before_the_start {
    static constexpr unsigned threads = 2;
    A::cell<int> cell;
    A::atomic<int> word{0};
    void thread(unsigned index) {
        if (index == 1) {
            if (word.load(acquire) == 1) (void)cell.read();
            return;
        }
        cell.write(1);
        A::fence(release);
        join(spawn([this] { word.store(1, relaxed); }));
    }
};
/// Who starts a thread first depends on what is read; what the threads are called does not.
struct both_start_threads {
    static constexpr unsigned threads = 2;
    inline static std::bitset<100> called[2];
    A::atomic<unsigned> word{0};
    void thread(unsigned index) {
        (void)word.load(relaxed);
        const unsigned child = spawn([this, index] {
            if (index == 1) word.store(1, relaxed);
        });
        called[index].set(child);
        join(child);
    }
};
TEST(explore, threads_start_threads_and_join_them) {
    const auto result = run(program_of<starts_and_joins>());
    EXPECT_FALSE(result.failed) << result.why;
    EXPECT_EQ(result.counted.complete, 2U);
    EXPECT_EQ(run(program_of<does_not_join>()).why, "data race");
    const auto alone = run(program_of<one_after_the_other>());
    EXPECT_FALSE(alone.failed) << alone.why;
    EXPECT_EQ(alone.counted.complete, 1U);
    EXPECT_EQ(run(program_of<fence_before_the_start>()).why, "data race");
    EXPECT_EQ(run(program_of<both_start_threads>()).counted.complete, 2U);
    for (const auto& names : both_start_threads::called) EXPECT_EQ(names.count(), 1U);
}

/// Choices before, among and after the threads are all made.
struct chooses {
    static constexpr unsigned threads = 2;
    inline static std::bitset<300> seen;  // what a scenario obtains by `new` ends with its execution
    A::atomic<unsigned> word{0};
    unsigned first = 0;
    void before() { first = A::choose(3); }
    void thread(unsigned index) {
        if (index == 0) word.store(1 + A::choose(2), relaxed);
    }
    void after() { seen.set(first * 100 + word.load(relaxed) * 10 + A::choose(2)); }
};
TEST(explore, every_choice_is_made) {
    const auto result = run(program_of<chooses>());
    EXPECT_EQ(result.counted.complete, 12U);
    EXPECT_EQ(chooses::seen.count(), 12U);
}

struct lost_update {
    static constexpr unsigned threads = 3;
    A::atomic<int> word{0};
    unsigned start = 0;
    void before() { start = A::choose(2); }
    void thread(unsigned index) {
        if (index == 2) return word.store(static_cast<int>(A::choose(40)), relaxed);
        word.store(word.load(relaxed) + 1, relaxed);
    }
    void after() { expect(word.load(relaxed) != 38 || start == 0, "that one"); }
};
TEST(explore, a_failure_replays_from_its_token) {
    const auto result = run(program_of<lost_update>());
    ASSERT_TRUE(result.failed);
    scheduler again{program_of<lost_update>(), {}};
    again.replay(result.token);
    EXPECT_TRUE(again.failed());
    EXPECT_EQ(again.why(), "that one");
    EXPECT_EQ(again.token(), result.token);
    EXPECT_EQ(again.so_far().visited, 1U);
}

TEST(explore, every_execution_replays_from_its_token) {
    std::mt19937 random{3};
    for (int i = 0; i < 120; ++i) {
        constexpr const char* kinds[] = {"WWRRAXCF", "WWRRAXFSSJ", "WWWRAXUUBQND"};
        const program_text text = random_program(random, 9, kinds[i % 3]);
        scheduler search{program_from(text), {}};
        std::vector<std::pair<std::string, std::string>> all;
        search.on_complete = [&](const execution_graph& g) { all.emplace_back(search.token(), name_of(g)); };
        search.run({});
        for (const auto& [token, graph_name] : all) {
            scheduler again{program_from(text), {}};
            std::string replayed;
            again.on_complete = [&](const execution_graph& g) { replayed = name_of(g); };
            again.replay(token);
            ASSERT_EQ(replayed, graph_name) << "program " << i << ", token " << token;
        }
    }
}

TEST(explore, a_token_of_another_program_is_refused_or_is_one_of_this_one) {
    std::mt19937 random{4};
    std::vector<std::string> tokens;
    int refused = 0, shown = 0;
    for (int i = 0; i < 120; ++i) {
        const program_text text = random_program(random, 7, "WWWRAXUUBQND");
        for (const std::string& token : tokens) {
            scheduler search{program_from(text), {}};
            try {
                search.replay(token);
                ++shown;
                EXPECT_TRUE(search.failed() || search.token() == token) << token;
            } catch (const std::invalid_argument&) {
                ++refused;
            }
        }
        scheduler search{program_from(text), {}};
        search.on_complete = [&](const execution_graph&) {
            if (tokens.size() < 500) tokens.push_back(search.token());
        };
        search.run({});
    }
    std::printf("%d refused, %d shown\n", refused, shown);
    EXPECT_GT(refused, 100);
    EXPECT_GT(shown, 10);
}

TEST(explore, a_token_that_is_none_is_refused) {
    for (const char* const token : {"", "0", ":", ":0", ":0(:", ":%:"}) {
        scheduler search{program_of<lost_update>(), {}};
        EXPECT_THROW(search.replay(token), std::invalid_argument) << token;
    }
    scheduler other{program_of<lost_update>(), {}};
    EXPECT_THROW(other.replay("0:71:"), std::invalid_argument);
}

/// Which thread makes its word first depends on what is read.
struct makes_words {
    static constexpr unsigned threads = 2;
    A::atomic<unsigned> first{0}, second{0};
    void thread(unsigned index) {
        (void)(index == 0 ? first : second).load(relaxed);
        auto* const made = new A::atomic<unsigned>{0};
        made->store(A::choose(30), relaxed);
        if (index == 1) first.store(made->load(relaxed), relaxed);
    }
};
void expect_workers_and_shards_find_the_same(const program& subject) {
    scheduler whole{subject, {}};
    whole.run({});
    const auto same = [&](const totals& counted) {
        EXPECT_EQ(counted.complete, whole.so_far().complete);
        EXPECT_EQ(counted.blocked, whole.so_far().blocked);
        EXPECT_EQ(counted.visited, whole.so_far().visited);
    };
    for (const unsigned workers : {1U, 2U, 5U}) {
        const auto found = search(subject, {}, {0, 1, workers}, {});
        EXPECT_TRUE(found.exhausted);
        same(found.counted);
    }
    totals sum{};
    for (unsigned shard = 0; shard < 3; ++shard) {
        const auto found = search(subject, {}, {shard, 3, 2}, {});
        EXPECT_TRUE(found.exhausted);
        sum += found.counted;
    }
    same(sum);
}
TEST(explore, workers_and_shards_find_the_same) {
    expect_workers_and_shards_find_the_same(program_of<slab<2, 2, 3>>());
    expect_workers_and_shards_find_the_same(program_of<makes_words>());
}

/// Fails only deep in the search, in several places.
struct rarely_wrong {
    static constexpr unsigned threads = 1;
    A::atomic<unsigned> sum{0};
    void thread(unsigned) {
        for (int i = 0; i < 4; ++i) sum.fetch_add(A::choose(10), relaxed);
    }
    void after() { expect(sum.load(relaxed) != 34, "that sum"); }
};
TEST(explore, workers_report_the_same_failure) {
    const auto alone = search(program_of<rarely_wrong>(), {}, {0, 1, 1}, {});
    ASSERT_EQ(alone.why, "that sum");
    ASSERT_GT(alone.counted.visited, 400U);  // beyond where the search is cut
    for (int i = 0; i < 5; ++i) {
        const auto found = search(program_of<rarely_wrong>(), {}, {0, 1, 4}, {});
        EXPECT_EQ(found.token, alone.token);
        EXPECT_EQ(found.counted.visited, alone.counted.visited);
    }
}

/// The same, with a token and a reason of more than anybody would set aside for them.
struct wrong_at_length {
    static constexpr unsigned threads = 1;
    A::atomic<unsigned> sum{0};
    void before() {
        for (int i = 0; i < 10'000; ++i) (void)A::choose(1);
    }
    void thread(unsigned) {
        for (int i = 0; i < 4; ++i) sum.fetch_add(A::choose(10), relaxed);
    }
    void after() {
        if (sum.load(relaxed) == 34) throw std::runtime_error{std::string(5000, 'x')};
    }
};
TEST(explore, workers_report_a_failure_whole) {
    const auto found = search(program_of<wrong_at_length>(), {}, {0, 1, 4}, {});
    ASSERT_GT(found.counted.visited, 400U);
    EXPECT_EQ(found.why.size(), 5000 + std::string{"an exception escaped: "}.size());
    EXPECT_GT(found.token.size(), 10'000U);
    scheduler again{program_of<wrong_at_length>(), {}};
    again.replay(found.token);
    EXPECT_EQ(again.why(), found.why);
    EXPECT_EQ(again.token(), found.token);
}

TEST(explore, a_search_that_is_ended_is_not_exhausted) {
    settings how;
    how.between_looks = 1;
    scheduler search{program_of<slab<2, 1, 3>>(), how};
    search.run([](const totals& so_far) { return so_far.visited < 10; });
    EXPECT_FALSE(search.exhausted());
    EXPECT_EQ(search.so_far().visited, 10U);
}

}  // namespace
}  // namespace shm::explore
