// SPDX-License-Identifier: MIT OR Apache-2.0
// Checks what the engine must not say: "all" of a search that was stopped or that has lost a worker, "no race" where a third
// thread reads, "race" where a fence has ordered everything, and anything at all of a token that is damaged.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <source_location>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "checker/explore/parallel.hpp"
#include "checker/explore/scheduler.hpp"
#include "checker/tests/known_algorithms.hpp"
#include "testkit/shared_page.hpp"

namespace shm::explore {
namespace {

/// Ten thousand executions.
struct long_search {
    static constexpr unsigned threads = 1;
    A::atomic<unsigned> sum{0};
    void thread(unsigned) {
        for (int i = 0; i < 4; ++i) sum.fetch_add(A::choose(10), relaxed);
    }
};

struct how_to_stop {
    unsigned shards, workers;
};
class stopped : public testing::TestWithParam<how_to_stop> {};

TEST_P(stopped, a_search_is_not_exhausted) {
    const auto [shards, workers] = GetParam();
    settings how;
    how.between_looks = 16;
    for (unsigned shard = 0; shard < shards; ++shard) {
        const auto all = search(program_of<long_search>(), how, {shard, shards, workers}, {});
        EXPECT_TRUE(all.exhausted);
        for (const std::uint64_t most : {1U, 50U, 200U, 400U, 2000U}) {
            const auto found = search(program_of<long_search>(), how, {shard, shards, workers},
                                      [&](const totals& so_far) { return so_far.visited < most; });
            const testing::ScopedTrace which{__FILE__, __LINE__, "shard " + std::to_string(shard)};
            EXPECT_FALSE(found.failed) << found.why;
            // The other workers may have done all of it before the first is asked.
            EXPECT_EQ(found.exhausted, found.counted.complete == all.counted.complete) << "stopped at " << most;
            EXPECT_TRUE(workers > 1 || !found.exhausted) << "stopped at " << most;
        }
    }
}

/// The last look comes after the last execution, and one more when no part is left. Of several workers, the one that is
/// asked may have ended before the others.
TEST_P(stopped, after_its_last_execution_a_search_is_exhausted) {
    const auto [shards, workers] = GetParam();
    settings how;
    how.between_looks = 1;
    for (unsigned shard = 0; shard < shards; ++shard) {
        const auto all = search(program_of<long_search>(), how, {shard, shards, workers}, {});
        bool told_to_stop = false;
        const auto found = search(program_of<long_search>(), how, {shard, shards, workers}, [&](const totals& so_far) {
            told_to_stop = told_to_stop || so_far.visited == all.counted.visited;
            return so_far.visited != all.counted.visited;
        });
        EXPECT_TRUE(told_to_stop || workers > 1) << "shard " << shard;
        EXPECT_TRUE(found.exhausted && !found.failed) << "shard " << shard << ": " << found.why;
        EXPECT_EQ(found.counted.visited, all.counted.visited) << "shard " << shard;
    }
}

/// The first look comes before the search has been cut into its parts. Where it is stopped then, other shards are cut elsewhere.
TEST_P(stopped, a_search_is_not_cut_into_parts_after_its_end) {
    const auto [shards, workers] = GetParam();
    settings how;
    how.between_looks = 10;
    for (unsigned shard = 0; shard < shards; ++shard) {
        unsigned looks = 0;
        const auto found = search(program_of<long_search>(), how, {shard, shards, workers},
                                  [&](const totals&) { return ++looks > 1; });
        EXPECT_FALSE(found.exhausted) << "shard " << shard;
        EXPECT_FALSE(found.failed) << found.why;
        EXPECT_EQ(found.counted.visited, shard == 0 ? 10U : 0U) << "shard " << shard;
        EXPECT_EQ(looks, 1U) << "shard " << shard;
    }
}

/// No subtree has as many executions as there are between two looks.
TEST_P(stopped, a_search_of_small_parts_is_stopped_between_them) {
    const auto [shards, workers] = GetParam();
    for (unsigned shard = 0; shard < shards; ++shard) {
        unsigned looks = 0;
        const auto found = search(program_of<long_search>(), {}, {shard, shards, workers}, [&](const totals& so_far) {
            ++looks;
            return so_far.visited < 700;
        });
        EXPECT_GT(looks, 0U);
        EXPECT_TRUE(workers > 1 || !found.exhausted) << "shard " << shard;
    }
}
INSTANTIATE_TEST_SUITE_P(explore, stopped,
                         testing::Values(how_to_stop{1, 1}, how_to_stop{1, 2}, how_to_stop{1, 5}, how_to_stop{3, 1},
                                         how_to_stop{3, 2}),
                         [](const auto& p) {
                             return std::to_string(p.param.shards) + "_shards_" + std::to_string(p.param.workers) +
                                    "_workers";
                         });

/// Bytes that this process and its workers share, and how the workers are to end.
enum class ending : int {
    none,
    killed_by_parent,
    killed,
    aborted,
    exit_3,
    exit_0,
    out_of_memory,
    loops,
    told,
    killed_after_closing_all
};
struct shared_with_workers {
    std::atomic<pid_t> parent, worker;
    std::atomic<ending> how;
    std::atomic<bool> told;
};
shared_with_workers& shared() {
    static const shared_page<shared_with_workers> page;
    return *page;
}
struct ends_in_a_worker {
    static constexpr unsigned threads = 1;
    A::atomic<unsigned> sum{0};
    void thread(unsigned) {
        for (int i = 0; i < 4; ++i) sum.fetch_add(A::choose(8), relaxed);
        if (getpid() == shared().parent) return;
        if (shared().how == ending::killed_after_closing_all)
            for (int descriptor = 3; descriptor < 1024; ++descriptor) close(descriptor);
        shared().worker = getpid();
        switch (shared().how) {
            case ending::none:
            default: break;
            case ending::killed_by_parent:
            case ending::killed_after_closing_all:
                for (;;) pause();
            case ending::killed: raise(SIGKILL); break;
            case ending::aborted: abort();
            case ending::exit_3: _exit(3);
            case ending::exit_0: _exit(0);
            case ending::out_of_memory: throw std::bad_alloc{};
            case ending::told:
                while (!shared().told) sched_yield();
                break;
            case ending::loops:
                for (volatile bool ends = false; !ends;) {
                }
        }
    }
};
/// `looked` is called with what has been counted, in the parent.
finding search_with_a_worker_that_ends(
    ending how, const std::function<void(const totals&)>& looked = [](const totals&) {}) {
    shared().parent = getpid();
    shared().worker = 0;
    shared().how = how;
    shared().told = false;
    settings only_between_parts;
    only_between_parts.between_looks = std::numeric_limits<std::uint64_t>::max();
    return search(program_of<ends_in_a_worker>(), only_between_parts, {.workers = 2, .cpu_seconds = 1},
                  [&](const totals& so_far) {
                      while (shared().worker == 0)
                          std::this_thread::yield();  // or this process might do all of it alone
                      if (shared().how == ending::killed_by_parent) kill(shared().worker, SIGKILL);
                      looked(so_far);
                      return true;
                  });
}

TEST(explore, a_worker_that_is_killed_is_no_search_of_its_part) {
    const std::map<ending, std::string> said{{ending::killed_by_parent, "a worker was killed by signal 9"},
                                             {ending::killed, "a worker was killed by signal 9"},
                                             {ending::aborted, "a worker was killed by signal 6"},
                                             {ending::exit_3, "a worker ended with exit code 3"},
                                             {ending::exit_0, "a worker ended before it had searched its part"},
                                             {ending::out_of_memory, "an exception escaped: std::bad_alloc"},
                                             {ending::loops, "a worker was killed by signal 27"}};
    for (const auto& [how, why] : said) {
        SCOPED_TRACE(why);
        const auto found = search_with_a_worker_that_ends(how);
        EXPECT_FALSE(found.exhausted);
        EXPECT_TRUE(found.failed && found.broken) << found.why;
        EXPECT_EQ(found.why, why);
    }
    const auto unharmed = search_with_a_worker_that_ends(ending::none);
    EXPECT_TRUE(unharmed.exhausted && !unharmed.failed) << unharmed.why;
}

/// While it lives, a signal comes again and again.
class often_interrupted {
public:
    explicit often_interrupted(void (*handler)(int)) {
        struct sigaction ticks{};
        ticks.sa_handler = handler;  // without SA_RESTART
        sigaction(SIGALRM, &ticks, &before_);
        const itimerval often{{0, 500}, {0, 500}};
        setitimer(ITIMER_REAL, &often, nullptr);
    }
    ~often_interrupted() {
        const itimerval never{};
        setitimer(ITIMER_REAL, &never, nullptr);
        sigaction(SIGALRM, &before_, nullptr);
    }
    often_interrupted(const often_interrupted&) = delete;
    often_interrupted& operator=(const often_interrupted&) = delete;

private:
    struct sigaction before_{};
};

/// A signal that the parent handles is no end of its workers.
TEST(explore, a_parent_that_is_interrupted_goes_on_to_wait_for_its_workers) {
    const often_interrupted by_signals{[](int) {}};
    const auto found = search_with_a_worker_that_ends(ending::killed_by_parent);
    EXPECT_EQ(found.why, "a worker was killed by signal 9");
    EXPECT_TRUE(found.failed && found.broken);
}

/// The parent has done all the other parts when it is asked twice after as many executions.
TEST(explore, a_parent_that_is_interrupted_is_asked_as_before_whether_to_go_on) {
    const often_interrupted by_signals{[](int) {}};
    unsigned waiting = 0;
    std::uint64_t visited = 0;
    const auto found = search_with_a_worker_that_ends(ending::told, [&](const totals& so_far) {
        if (std::exchange(visited, so_far.visited) == so_far.visited && ++waiting == 10) shared().told = true;
    });
    EXPECT_TRUE(found.exhausted && !found.failed) << found.why;
    EXPECT_GE(waiting, 10U);
}

/// The worker has closed all that its parent looks at and lives on, so the parent waits for its end alone: for long, as the
/// signals have killed the worker only after hundreds of them.
TEST(explore, a_parent_that_is_interrupted_hears_how_its_worker_has_ended) {
    static volatile std::sig_atomic_t ticks;
    ticks = 0;
    const auto kill_after_many = [](int) {
        if (shared().worker == 0) return;
        ticks = ticks + 1;
        if (ticks == 200) kill(shared().worker, SIGKILL);
    };
    const often_interrupted by_signals{kill_after_many};
    const auto found =
        search_with_a_worker_that_ends(ending::killed_after_closing_all, [](const totals&) { ticks = 0; });
    EXPECT_EQ(found.why, "a worker was killed by signal 9");
    EXPECT_GE(ticks, 200);
}

TEST(explore, a_graph_that_is_visited_again_is_counted_as_a_duplicate) {
    settings how;
    how.find_duplicates = true;
    scheduler search{program_of<slab<2, 1, 3>>(), how};
    search.run({});
    EXPECT_EQ(search.so_far().duplicates, 0U);
    const std::uint64_t graphs = search.so_far().complete;
    search.run({});
    EXPECT_EQ(search.so_far().duplicates, graphs);
    EXPECT_EQ(search.so_far().complete, 2 * graphs);
}

// What words hold, of every width.

/// Every operation on every pair of values at the edges of a type, as std::atomic has it; before, in and after the threads.
template <class T>
struct edges_of_a_type {
    static constexpr unsigned threads = 1;
    static std::vector<T> edges() {
        using limits = std::numeric_limits<T>;
        const auto top_bit = static_cast<T>(T{1} << (limits::digits - 1));
        std::vector<T> all{
            T{0}, T{1}, static_cast<T>(limits::max() - 1), limits::max(), limits::min(), top_bit, static_cast<T>(-1)};
        std::sort(all.begin(), all.end());
        all.erase(std::unique(all.begin(), all.end()), all.end());
        return all;
    }
    A::atomic<T> word{T{0}};
    void compare() {
        for (const T before : edges())
            for (const T operand : edges()) {
                std::atomic<T> real{T{0}};
                const auto same = [&](auto call, const char* what) {
                    real.store(before, relaxed);
                    word.store(before, relaxed);
                    const T expected = call(real), found = call(word);
                    expect(found == expected && word.load(relaxed) == real.load(relaxed), what);
                    T held = real.load(relaxed);  // bits beyond the width would keep it from being found
                    expect(word.compare_exchange_strong(held, operand, relaxed, relaxed), what);
                };
                same([=](auto& w) { return w.fetch_add(operand, relaxed); }, "an addition wraps at the word's width");
                same([=](auto& w) { return w.fetch_sub(operand, relaxed); }, "a subtraction wraps at the word's width");
                same([=](auto& w) { return w.fetch_and(operand, relaxed); }, "and");
                same([=](auto& w) { return w.fetch_or(operand, relaxed); }, "or");
                same([=](auto& w) { return w.exchange(operand, relaxed); }, "an exchange");
                const auto compare_with = [=](T expected) {
                    return [=](auto& w) {
                        T seen = expected;
                        const bool done = w.compare_exchange_strong(seen, operand, relaxed, relaxed);
                        return static_cast<T>(done ? operand : seen);
                    };
                };
                same(compare_with(before), "a compare-exchange");
                same(compare_with(operand), "a compare-exchange that may fail");
            }
    }
    void before() { compare(); }
    void thread(unsigned) { compare(); }
    void after() { compare(); }
};
template <class T>
void expect_arithmetic_of_this_width() {
    settings how;
    how.most_events = 10'000;
    scheduler search{program_of<edges_of_a_type<T>>(), how};
    search.run({});
    EXPECT_FALSE(search.failed()) << search.why() << ", in a word of " << sizeof(T) << " bytes";
    EXPECT_EQ(search.so_far().complete, 1U);
}
TEST(explore, words_of_every_width_wrap_as_those_of_the_machine_do) {
    expect_arithmetic_of_this_width<std::uint8_t>();
    expect_arithmetic_of_this_width<std::uint16_t>();
    expect_arithmetic_of_this_width<std::uint32_t>();
    expect_arithmetic_of_this_width<std::uint64_t>();
    expect_arithmetic_of_this_width<std::int8_t>();
    expect_arithmetic_of_this_width<std::int16_t>();
    expect_arithmetic_of_this_width<std::int32_t>();
    expect_arithmetic_of_this_width<std::int64_t>();
}

/// A value comes to another thread, and to one that waits for it, with all of its bits.
template <class T>
struct passes_an_edge {
    static constexpr unsigned threads = 3;
    A::atomic<T> word{T{0}};
    T chosen{};
    /// As the word counts: a signed number wraps.
    static T one_below(T value) { return static_cast<T>(static_cast<std::make_unsigned_t<T>>(value) - 1U); }
    void before() {
        const auto all = edges_of_a_type<T>::edges();
        chosen = all[A::choose(static_cast<unsigned>(all.size()))];
        word.store(one_below(chosen), relaxed);
    }
    void thread(unsigned index) {
        const T value = chosen;
        if (index == 0) {
            (void)word.fetch_add(T{1}, release);
        } else if (index == 1) {
            expect(A::await(word, acquire, [value](T seen) { return seen == value; }) == value, "waited for");
        } else {
            T seen = value;
            if (word.compare_exchange_strong(seen, value, relaxed, relaxed)) return;
            expect(seen == one_below(value), "or what was there before");
        }
    }
    void after() { expect(word.load(relaxed) == chosen, "all of its bits"); }
};
TEST(explore, words_of_every_width_come_whole_to_another_thread) {
    const auto passes = [](const program& subject) {
        scheduler search{subject, {}};
        search.run({});
        EXPECT_FALSE(search.failed()) << search.why();
        EXPECT_GE(search.so_far().complete, 10U);
    };
    passes(program_of<passes_an_edge<std::uint8_t>>());
    passes(program_of<passes_an_edge<std::uint16_t>>());
    passes(program_of<passes_an_edge<std::uint32_t>>());
    passes(program_of<passes_an_edge<std::uint64_t>>());
    passes(program_of<passes_an_edge<std::int8_t>>());
    passes(program_of<passes_an_edge<std::int16_t>>());
    passes(program_of<passes_an_edge<std::int32_t>>());
    passes(program_of<passes_an_edge<std::int64_t>>());
}

// Who synchronizes with whom: every way to write, to read, and to put a fence.

enum class access : unsigned {
    plain,
    exchange,
    add,
    sub,
    bit_and,
    bit_or,
    compare,
    compare_weak,
    compare_fails,
    weak_fails,
    weak_fails_for_no_reason,
    awaits
};
constexpr access all_accesses[] = {access::plain,
                                   access::exchange,
                                   access::add,
                                   access::sub,
                                   access::bit_and,
                                   access::bit_or,
                                   access::compare,
                                   access::compare_weak,
                                   access::compare_fails,
                                   access::weak_fails,
                                   access::weak_fails_for_no_reason,
                                   access::awaits};
constexpr access all_writes[] = {access::plain,   access::exchange, access::add,     access::sub,
                                 access::bit_and, access::bit_or,   access::compare, access::compare_weak};

/// One thread writes plain data and then 2 over the 7 of a word, the other looks for the 2 and then reads the data.
struct synchronization {
    access writes, reads;
    std::memory_order write, read;              // of the word
    std::memory_order write_fence, read_fence;  // relaxed: none
    bool fences_beside;                         // each on the wrong side of its access
};
struct synchronizes {
    static constexpr unsigned threads = 2;
    inline static synchronization how;
    inline static bool met;
    A::atomic<unsigned> word{7};
    A::cell<int> data;

    void write_word() {
        unsigned seven = 7;
        switch (how.writes) {
            case access::exchange: (void)word.exchange(2, how.write); break;
            case access::add: (void)word.fetch_add(~0U - 4, how.write); break;  // 7 - 5
            case access::sub: (void)word.fetch_sub(5, how.write); break;
            case access::bit_and: (void)word.fetch_and(2, how.write); break;
            case access::bit_or: (void)word.fetch_or(8, how.write); break;
            case access::compare: (void)word.compare_exchange_strong(seven, 2, how.write, relaxed); break;
            case access::compare_weak: (void)word.compare_exchange_weak(seven, 2, how.write, relaxed); break;
            default: word.store(2, how.write);
        }
    }
    bool read_word() {
        const auto written = [](unsigned seen) { return seen != 7; };
        switch (how.reads) {
            case access::exchange: return written(word.exchange(7, how.read));
            case access::add: return written(word.fetch_add(0, how.read));
            case access::sub: return written(word.fetch_sub(0, how.read));
            case access::bit_and: return written(word.fetch_and(15, how.read));
            case access::bit_or: return written(word.fetch_or(0, how.read));
            case access::compare: {
                unsigned two = how.writes == access::bit_or ? 15 : 2;
                return word.compare_exchange_strong(two, 3, how.read, relaxed);
            }
            case access::compare_weak: {
                unsigned two = how.writes == access::bit_or ? 15 : 2;
                return word.compare_exchange_weak(two, 3, how.read, relaxed);
            }
            case access::compare_fails: {
                unsigned seven = 7;
                return !word.compare_exchange_strong(seven, 7, how.read, how.read);
            }
            case access::weak_fails: {
                unsigned seen = 7;  // it may also fail though it finds that
                return !word.compare_exchange_weak(seen, 7, how.read, how.read) && written(seen);
            }
            case access::weak_fails_for_no_reason: {
                const unsigned expected = how.writes == access::bit_or ? 15 : 2;
                unsigned seen = expected;
                return !word.compare_exchange_weak(seen, 3, relaxed, how.read) && seen == expected;
            }
            case access::awaits: return written(A::await(word, how.read, written));
            default: return written(word.load(how.read));
        }
    }
    void thread(unsigned index) {
        if (index == 0) {
            data.write(1);
            if (!how.fences_beside) A::fence(how.write_fence);
            write_word();
            if (how.fences_beside) A::fence(how.write_fence);
        } else {
            if (how.fences_beside) A::fence(how.read_fence);
            if (!read_word()) return;
            if (!how.fences_beside) A::fence(how.read_fence);
            const int seen = data.read();
            met = true;
            expect(seen == 1, "what was written is not there");
        }
    }
};
bool has_acquire(std::memory_order fence) { return fence == acquire || fence == seq_cst; }
bool has_release(std::memory_order fence) { return fence == release || fence == seq_cst; }

void expect_synchronization_as_the_orders_say(const synchronization& how) {
    synchronizes::how = how;
    synchronizes::met = false;
    scheduler search{program_of<synchronizes>(), {}};
    search.run({});
    const bool released = how.write == release || (!how.fences_beside && has_release(how.write_fence));
    const bool acquired = how.read == acquire || (!how.fences_beside && has_acquire(how.read_fence));
    EXPECT_EQ(search.why(), released && acquired ? "" : "data race")
        << "write " << static_cast<unsigned>(how.writes) << " " << model::name_of(how.write) << ", read "
        << static_cast<unsigned>(how.reads) << " " << model::name_of(how.read) << ", fences "
        << model::name_of(how.write_fence) << " and " << model::name_of(how.read_fence)
        << (how.fences_beside ? " on the wrong side" : "");
    EXPECT_EQ(synchronizes::met, !search.failed());
}
TEST(explore, what_synchronizes_is_no_race_and_all_else_is_one) {
    constexpr std::memory_order no_fence = relaxed;
    for (const access writes : all_writes)
        for (const access reads : all_accesses) {
            if (writes == access::compare_weak && reads == access::awaits) continue;  // may wait forever
            for (const auto write : {relaxed, release})
                for (const auto read : {relaxed, acquire})
                    for (const auto write_fence : {no_fence, acquire, release, seq_cst})
                        for (const auto read_fence : {no_fence, acquire, release, seq_cst})
                            for (const bool beside : {false, true})
                                expect_synchronization_as_the_orders_say(
                                    {writes, reads, write, read, write_fence, read_fence, beside});
        }
}

/// The word goes through a read-modify-write of a third thread, which knows of nothing.
struct through_a_third {
    static constexpr unsigned threads = 3;
    inline static access by;
    A::atomic<unsigned> word{7};
    A::cell<int> data;
    void thread(unsigned index) {
        if (index == 0) {
            data.write(1);
            word.store(2, release);
        } else if (index == 1) {
            unsigned two = 2;
            switch (by) {
                case access::add: (void)word.fetch_add(1, relaxed); break;
                case access::sub: (void)word.fetch_sub(~0U, relaxed); break;
                case access::bit_and: (void)word.fetch_and(6, relaxed); break;
                case access::bit_or: (void)word.fetch_or(1, relaxed); break;
                case access::compare: (void)word.compare_exchange_strong(two, 3, relaxed, relaxed); break;
                case access::compare_weak: (void)word.compare_exchange_weak(two, 3, relaxed, relaxed); break;
                default: word.store(3, relaxed);
            }
        } else if (const unsigned seen = word.load(acquire); seen == 2 || seen == 3) {
            (void)data.read();
        }
    }
};
TEST(explore, a_release_sequence_goes_on_through_every_read_modify_write_and_through_no_store) {
    for (const access by : {access::plain, access::add, access::sub, access::bit_and, access::bit_or, access::compare,
                            access::compare_weak}) {
        through_a_third::by = by;
        scheduler search{program_of<through_a_third>(), {}};
        search.run({});
        EXPECT_EQ(search.failed(), by == access::plain) << static_cast<unsigned>(by) << ": " << search.why();
    }
}

// Races, whichever threads they are between.

/// What two of several threads do to something, while the others only read words of their own.
enum class deed : unsigned { reads, writes, ends };
struct two_of_several {
    inline static deed first_deed, second_deed;
    inline static unsigned first, second;
    static constexpr unsigned threads = 5;
    A::cell<int>* data = nullptr;
    A::atomic<int>* word = nullptr;
    A::atomic<int> elsewhere{0};
    inline static bool of_words;

    void before() {
        data = new A::cell<int>;
        word = new A::atomic<int>{0};
    }
    void thread(unsigned index) {
        if (index != first && index != second) return (void)elsewhere.load(relaxed);
        const deed what = index == first ? first_deed : second_deed;
        if (what == deed::ends) return of_words ? delete word : delete data;
        if (of_words) return what == deed::reads ? (void)word->load(relaxed) : word->store(1, relaxed);
        what == deed::reads ? (void)data->read() : data->write(1);
    }
};
TEST(explore, a_race_is_found_between_any_two_of_several_threads) {
    for (const bool of_words : {false, true})
        for (const deed first : {deed::reads, deed::writes, deed::ends})
            for (const deed second : {deed::reads, deed::writes, deed::ends})
                for (unsigned i = 0; i < two_of_several::threads; ++i)
                    for (unsigned j = 0; j < two_of_several::threads; ++j) {
                        if (i == j || (first == deed::ends && second == deed::ends)) continue;
                        two_of_several::of_words = of_words;
                        two_of_several::first_deed = first;
                        two_of_several::second_deed = second;
                        two_of_several::first = i;
                        two_of_several::second = j;
                        const bool ends = first == deed::ends || second == deed::ends;
                        const bool race = ends || (!of_words && (first == deed::writes || second == deed::writes));
                        scheduler search{program_of<two_of_several>(), {}};
                        search.run({});
                        EXPECT_EQ(search.failed(), race)
                            << (of_words ? "word" : "cell") << ": thread " << i << " does "
                            << static_cast<unsigned>(first) << ", thread " << j << " " << static_cast<unsigned>(second);
                    }
}

/// What the last of several threads does to what the others have used.
enum class last_deed : unsigned { writes, ends_data, ends_word };
/// All of them use it; the last one writes or ends it when it has heard that the others are through, but for one of whom it
/// has not heard.
struct all_but_one_are_heard {
    static constexpr unsigned threads = 5;
    inline static unsigned last, unheard;
    inline static last_deed deed;
    A::cell<int>* data = nullptr;
    A::atomic<int>* word = nullptr;
    A::atomic<unsigned> through{0};
    void before() {
        data = new A::cell<int>;
        word = new A::atomic<int>{0};
    }
    void thread(unsigned index) {
        if (index != last) {
            deed == last_deed::ends_word ? (void)word->load(relaxed) : (void)data->read();
            (void)through.fetch_add(1, index == unheard ? relaxed : release);
            return;
        }
        (void)A::await(through, acquire, [](unsigned seen) { return seen == threads - 1; });
        switch (deed) {
            case last_deed::writes: return data->write(1);
            case last_deed::ends_data: return delete data;
            case last_deed::ends_word: return delete word;
        }
    }
};
void expect_that_the_unheard_is_found(last_deed deed, const std::function<std::string(unsigned unheard)>& why) {
    all_but_one_are_heard::deed = deed;
    for (unsigned last = 0; last < all_but_one_are_heard::threads; ++last)
        for (unsigned unheard = 0; unheard < all_but_one_are_heard::threads; ++unheard) {
            all_but_one_are_heard::last = last;
            all_but_one_are_heard::unheard = unheard;
            scheduler search{program_of<all_but_one_are_heard>(), {}};
            search.run({});
            const testing::ScopedTrace which{__FILE__, __LINE__,
                                             std::to_string(last) + " has not heard of " + std::to_string(unheard)};
            const std::string found = search.why();
            EXPECT_EQ(found.substr(0, found.find(" at ")), unheard != last ? why(unheard) : "");
        }
}
TEST(explore, a_write_races_with_the_one_reader_of_several_that_it_has_not_heard_of) {
    for (const auto deed : {last_deed::writes, last_deed::ends_data})
        expect_that_the_unheard_is_found(deed, [](unsigned) { return "data race"; });
}
TEST(explore, a_word_does_not_end_before_the_one_of_several_users_that_has_not_been_heard_of) {
    expect_that_the_unheard_is_found(last_deed::ends_word, [](unsigned unheard) {
        return "destroyed while thread " + std::to_string(unheard) + " may be using it";
    });
}

/// The last of several users of a word ends it, as one who counts references does. That the others are through it knows by
/// their last use alone.
struct last_user_ends_it {
    static constexpr unsigned threads = 3;
    inline static std::memory_order order;
    A::atomic<unsigned>* users = nullptr;
    void before() { users = new A::atomic<unsigned>{threads}; }
    void thread(unsigned) {
        if (users->fetch_sub(1, order) == 1) delete users;
    }
};
TEST(explore, a_word_ends_in_order_after_its_last_use_by_everybody) {
    for (const auto order : {relaxed, acquire, release, acq_rel}) {
        last_user_ends_it::order = order;
        scheduler search{program_of<last_user_ends_it>(), {}};
        search.run({});
        EXPECT_EQ(search.failed(), order != acq_rel) << model::name_of(order) << ": " << search.why();
        EXPECT_EQ(search.so_far().complete, order == acq_rel ? 6U : 0U);
    }
}

// Which orders a search runs with.

TEST(explore, one_order_is_weakened_at_one_site_until_it_is_restored) {
    using model::op;
    const std::source_location here = std::source_location::current();
    const std::source_location there = std::source_location::current();
    model::site_book book;
    const auto expect_orders = [&](std::memory_order here_load, std::memory_order here_failure,
                                   std::memory_order there_load) {
        for (int twice = 0; twice < 2; ++twice) {  // the second time from what it remembers
            EXPECT_EQ(book.effective(op::load, seq_cst, here), here_load);
            EXPECT_EQ(book.effective(op::cas_failure, seq_cst, here), here_failure);
            EXPECT_EQ(book.effective(op::load, seq_cst, there), there_load);
            EXPECT_EQ(book.effective(op::store, release, there), release);
        }
    };
    expect_orders(seq_cst, seq_cst, seq_cst);
    EXPECT_EQ(book.seen().size(), 4U);
    EXPECT_EQ(book.seen().at(model::key_of(there, op::store)).order, release);
    book.weaken(model::key_of(here, op::load), acquire);
    expect_orders(acquire, seq_cst, seq_cst);
    book.weaken(model::key_of(there, op::load), relaxed);
    expect_orders(seq_cst, seq_cst, relaxed);
    book.weaken(model::key_of(here, op::cas_failure), acquire);
    expect_orders(seq_cst, acquire, seq_cst);
    book.restore();
    expect_orders(seq_cst, seq_cst, seq_cst);
    EXPECT_EQ(book.seen().size(), 4U);
    book.weaken(model::key_of(here, op::load), acquire);
    book.forget();
    EXPECT_TRUE(book.seen().empty());
    expect_orders(seq_cst, seq_cst, seq_cst);
}

TEST(explore, every_order_has_the_orders_one_step_below) {
    using model::one_step_weaker;
    using model::op;
    using orders = std::vector<std::memory_order>;
    EXPECT_EQ(one_step_weaker(op::load, seq_cst), orders{acquire});
    EXPECT_EQ(one_step_weaker(op::cas_failure, seq_cst), orders{acquire});
    EXPECT_EQ(one_step_weaker(op::store, seq_cst), orders{release});
    EXPECT_EQ(one_step_weaker(op::rmw, seq_cst), orders{acq_rel});
    EXPECT_EQ(one_step_weaker(op::fence, seq_cst), orders{acq_rel});
    for (const op any : {op::load, op::store, op::rmw, op::cas_failure, op::fence}) {
        EXPECT_EQ(one_step_weaker(any, acq_rel), (orders{acquire, release}));
        EXPECT_EQ(one_step_weaker(any, acquire), orders{relaxed});
        EXPECT_EQ(one_step_weaker(any, release), orders{relaxed});
        EXPECT_EQ(one_step_weaker(any, relaxed), orders{});
    }
}

/// Which orders of which operations a search meets; a compare-exchange has two, whether it is weak or strong.
TEST(explore, every_order_of_every_access_is_met_once) {
    using model::op;
    using met = std::multiset<std::pair<op, std::memory_order>>;
    const auto met_by_writing = [](access writes) -> met {
        switch (writes) {
            case access::plain: return {{op::store, release}};
            case access::compare:
            case access::compare_weak: return {{op::rmw, release}, {op::cas_failure, relaxed}};
            default: return {{op::rmw, release}};
        }
    };
    const auto met_by_reading = [](access reads) -> met {
        switch (reads) {
            case access::plain:
            case access::awaits: return {{op::load, acquire}};
            case access::compare:
            case access::compare_weak: return {{op::rmw, acquire}, {op::cas_failure, relaxed}};
            case access::compare_fails:
            case access::weak_fails: return {{op::rmw, acquire}, {op::cas_failure, acquire}};
            case access::weak_fails_for_no_reason: return {{op::rmw, relaxed}, {op::cas_failure, acquire}};
            default: return {{op::rmw, acquire}};
        }
    };
    for (const access writes : all_writes)
        for (const access reads : all_accesses) {
            if (writes == access::compare_weak && reads == access::awaits) continue;  // may wait forever
            model::sites.forget();
            synchronizes::how = {writes, reads, release, acquire, relaxed, relaxed, false};
            scheduler search{program_of<synchronizes>(), {}};
            search.run({});
            met expected = met_by_writing(writes), found;
            expected.merge(met_by_reading(reads));
            for (const auto& [key, site] : model::sites.seen()) found.emplace(site.kind, site.order);
            EXPECT_EQ(found, expected) << "write " << static_cast<unsigned>(writes) << ", read "
                                       << static_cast<unsigned>(reads);
        }
    model::sites.forget();
}

/// What the layer asks for runs with the weakened order: every kind of access and a fence, none of which synchronizes then.
TEST(explore, a_weakened_order_is_the_one_that_runs) {
    const auto fails = [](const synchronization& how) {
        synchronizes::how = how;
        scheduler search{program_of<synchronizes>(), {}};
        search.run({});
        return search.failed();
    };
    int weakened = 0;
    for (const access writes : all_writes)
        for (const access reads : all_accesses) {
            if (writes == access::compare_weak && reads == access::awaits) continue;  // may wait forever
            for (const bool fences : {false, true}) {
                const auto in_order = fences
                                          ? synchronization{writes, reads, relaxed, relaxed, release, acquire, false}
                                          : synchronization{writes, reads, release, acquire, relaxed, relaxed, false};
                model::sites.forget();
                ASSERT_FALSE(fails(in_order));
                for (const auto& [key, site] : model::sites.seen()) {
                    const bool writing = site.order == release;
                    if (!writing && site.order != acquire) continue;
                    // Where failing is what is looked for, success is not, and the other way round.
                    const bool looked_for = reads == access::compare_fails || reads == access::weak_fails ||
                                            reads == access::weak_fails_for_no_reason;
                    if (!fences && !writing && (looked_for != (key.kind == model::op::cas_failure)) && looked_for)
                        continue;
                    model::sites.weaken(key, relaxed);
                    EXPECT_TRUE(fails(in_order)) << "write " << static_cast<unsigned>(writes) << ", read "
                                                 << static_cast<unsigned>(reads) << ", line " << key.line;
                    model::sites.restore();
                    ++weakened;
                }
            }
        }
    model::sites.forget();
    EXPECT_GT(weakened, 300);
}

// What an ineffective round has done.

enum class effect : unsigned {
    none,
    loads,
    fails,
    fences,
    reads,
    prepares,
    stores,
    exchanges,
    adds,
    subs,
    ands,
    ors,
    compares,
    writes,
    makes_data,
    makes_word,
    ends_data,
    ends_word,
    starts
};
struct round_with_an_effect {
    static constexpr unsigned threads = 2;
    inline static effect has;
    A::atomic<unsigned> word{7}, other{0};
    A::cell<int> data;
    A::cell<int>* shared_data = nullptr;
    A::atomic<unsigned>* shared_word = nullptr;
    void before() {
        shared_data = new A::cell<int>;
        shared_word = new A::atomic<unsigned>{7};
    }
    void thread(unsigned index) {
        if (index == 1) return other.store(1, relaxed);
        A::retry_loop loop;
        while (other.load(relaxed) != 1) {
            unsigned expected = has == effect::fails ? 6 : 7;
            switch (has) {
                case effect::none: break;
                case effect::loads: (void)word.load(acquire); break;
                case effect::fails:
                case effect::compares: (void)word.compare_exchange_strong(expected, 7, relaxed, relaxed); break;
                case effect::fences: A::fence(seq_cst); break;
                case effect::reads: (void)data.read(); break;
                case effect::prepares: loop.prepare(word, 1); break;
                case effect::stores: word.store(7, relaxed); break;
                case effect::exchanges: (void)word.exchange(7, relaxed); break;
                case effect::adds: (void)word.fetch_add(0, relaxed); break;
                case effect::subs: (void)word.fetch_sub(1, relaxed); break;
                case effect::ands: (void)word.fetch_and(7, relaxed); break;
                case effect::ors: (void)word.fetch_or(1, relaxed); break;
                case effect::writes: data.write(1); break;
                case effect::makes_data: (void)new A::cell<int>; break;
                case effect::makes_word: (void)new A::atomic<unsigned>{7}; break;
                case effect::ends_data: delete shared_data; break;
                case effect::ends_word: delete shared_word; break;
                case effect::starts: (void)spawn([] {}); break;
            }
            loop.retry();
        }
    }
};
TEST(explore, an_ineffective_round_has_no_effect_of_any_kind) {
    for (unsigned has = 0; has <= static_cast<unsigned>(effect::starts); ++has) {
        round_with_an_effect::has = static_cast<effect>(has);
        scheduler search{program_of<round_with_an_effect>(), {}};
        search.run({});
        const bool expected = round_with_an_effect::has >= effect::stores;
        EXPECT_EQ(search.failed(), expected) << "effect " << has;
        EXPECT_EQ(search.broken(), expected) << "effect " << has;
        const std::string why = expected ? "an ineffective round changes nothing: this one stored" : "";
        EXPECT_EQ(search.why().substr(0, why.size()), why) << "effect " << has;
    }
}

// Tokens that are damaged.

/// Something of everything that a token speaks of; it fails now and then.
struct a_bit_of_everything {
    static constexpr unsigned threads = 3;
    inline static bool may_fail = true;
    A::atomic<unsigned> word{0}, bell{0};
    unsigned first = 0;
    void before() { first = A::choose(2) + A::choose(40); }
    void thread(unsigned index) {
        if (index == 0) {
            unsigned expected = 0;
            (void)word.compare_exchange_weak(expected, 1 + A::choose(2), relaxed, relaxed);
            bell.store(1, release);
        } else if (index == 1) {
            if (A::choose(2) == 0) (void)A::await(bell, acquire, [](unsigned seen) { return seen == 1; });
            word.store(word.load(seq_cst) + 1, seq_cst);
        } else {
            join(spawn([this] { (void)word.fetch_add(1, relaxed); }));
        }
    }
    void after() { expect(word.load(relaxed) != 3 || first != 1 || A::choose(2) == 0 || !may_fail, "three"); }
};

std::set<std::string> tokens_of_everything(std::mt19937& random) {
    std::set<std::string> tokens;
    for (const bool may_fail : {true, false}) {
        a_bit_of_everything::may_fail = may_fail;
        scheduler search{program_of<a_bit_of_everything>(), {}};
        search.on_complete = [&](const execution_graph&) {
            if (random() % 64 == 0) tokens.insert(search.token());
        };
        search.run([&](const totals&) { return tokens.size() < 200; });
        EXPECT_EQ(search.failed(), may_fail);
        if (search.failed()) tokens.insert(search.token());
    }
    a_bit_of_everything::may_fail = true;
    return tokens;
}

std::string damaged(std::string token, std::mt19937& random) {
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    constexpr char characters[] = "0123456789abcdefghijklmnopqrstuvwxyz:()-+ ,.%A\n\0\xff";
    for (std::size_t damages = 1 + below(3); damages != 0; --damages) {
        const std::size_t at = below(token.size() + 1);
        const char other = characters[below(sizeof characters)];
        switch (below(6)) {
            case 0: token.insert(at, 1, other); break;
            case 1: token.erase(at, 1 + below(4)); break;
            case 2: token = token.substr(0, at); break;
            case 3: token.insert(at, token.substr(below(token.size() + 1), below(8))); break;
            case 4: token.insert(at, std::string{"("} + std::to_string(random()) + ")"); break;
            default:
                if (at < token.size()) token[at] = other;
        }
    }
    return token;
}

TEST(explore, a_damaged_token_is_refused_in_a_sentence_or_stands_for_another_execution) {
    std::mt19937 random{20240521};
    const auto tokens = tokens_of_everything(random);
    ASSERT_GT(tokens.size(), 50U);
    int refused = 0, of_others = 0;
    for (const std::string& token : tokens) {
        scheduler whole{program_of<a_bit_of_everything>(), {}};
        whole.replay(token);
        ASSERT_EQ(whole.token(), token);
        for (int i = 0; i < 20; ++i) {
            const std::string other = damaged(token, random);
            scheduler search{program_of<a_bit_of_everything>(), {}};
            try {
                search.replay(other);
                ++of_others;
                EXPECT_EQ(search.token(), other) << "is believed, and stands for something else";
                EXPECT_TRUE(!search.failed() || search.why() == "three") << search.why();
            } catch (const std::invalid_argument& why) {
                ++refused;
                EXPECT_NE(std::string{why.what()}.find(" token"), std::string::npos) << why.what();
                EXPECT_NE(std::string{why.what()}.find(": expected "), std::string::npos) << why.what();
            }
        }
    }
    std::printf("%d refused, %d of other executions\n", refused, of_others);
    EXPECT_GT(refused, of_others);
}

/// The token of some execution, without a choice after the threads.
std::string replayed_from_everything() {
    std::string token;
    a_bit_of_everything::may_fail = false;
    scheduler search{program_of<a_bit_of_everything>(), {}};
    search.on_complete = [&](const execution_graph&) { token = search.token(); };
    search.run([&](const totals&) { return token.empty(); });
    a_bit_of_everything::may_fail = true;
    return token;
}
TEST(explore, what_is_wrong_with_a_token_is_said) {
    const auto expect_refusal = [](const std::string& token, const std::string& why) {
        scheduler search{program_of<a_bit_of_everything>(), {}};
        try {
            search.replay(token);
            ADD_FAILURE() << token << ": expected \"" << why << "\", found that it is believed";
        } catch (const std::invalid_argument& refused) {
            EXPECT_EQ(std::string{refused.what()}, why) << token;
        }
    };
    const std::string no_digit = ": expected a digit or a colon, found ";
    const std::string no_number =
        ": expected a digit, or a number in parentheses where no digit is enough, found \"(\"";
    expect_refusal("", "character 1 of the token" + no_digit + "its end");
    expect_refusal("00:", "character 4 of the token" + no_digit + "its end");
    expect_refusal("00:0:", "character 5 of the token" + no_digit + "\":\"");
    expect_refusal("0A::", "character 2 of the token" + no_digit + "\"A\"");
    for (const char* const number : {"(", "()", "(36", "(5)", "(x)", "(-1)", "(+40)", "( 40)", "(036)", "(40 )",
                                     "(256)", "(4294967336)", "(99999999999999999999)"}) {
        expect_refusal("0" + std::string{number} + "::", "character 2 of the token" + no_number);
        expect_refusal("00:0" + std::string{number} + ":",
                       number == std::string{"(256)"}
                           ? "step 1 of the token: expected an option that there is, found 256"
                           : "character 5 of the token" + no_number);
    }
    expect_refusal("0(255)::", "choices of the token: expected one of 40, found 255");
    expect_refusal("0::", "choices of the token before the threads: expected 2, found 1");
    expect_refusal("000::", "choices of the token before the threads: expected 2, found 3");
    expect_refusal("00::", "step 1 of the token: expected one, found its end");
    expect_refusal("00:0:0", "character 5 of the token" + no_digit + "\":\"");
    expect_refusal("00:70:", "step 1 of the token: expected a thread that can go on, found 7");
    expect_refusal("00:02:", "step 1 of the token: expected an option that there is, found 2");
    const std::string whole = replayed_from_everything();
    expect_refusal(whole + "0", "choices of the token after the threads: expected 0, found 1");
    expect_refusal(whole.substr(0, whole.size() - 1) + "00:",
                   "step " + std::to_string((whole.size() - 4) / 2 + 1) +
                       " of the token: expected a thread that can go on, found 0");
}

}  // namespace
}  // namespace shm::explore
