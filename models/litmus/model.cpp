// SPDX-License-Identifier: MIT OR Apache-2.0
// Litmus: what an engine must reject, what it must show, and what it is known not to show. Runs before anything else:
// a layer that silently strengthens an order, or an engine that has gone blind, is found here.
//
// A litmus checks that an outcome does not come about. Where C++ forbids the outcome, the search must pass; where C++
// allows it, the search must fail; unless the engine is known to be blind to it (its engine.cpp), and then it must pass, so
// that the list of what is not seen stays true.
#include <optional>

#include "checker/driver/scenario.hpp"

namespace shm::model {
namespace {

using enum std::memory_order;

/// data := 1, flag := 1  |  flag = 1 implies that data may be read, and is 1
template <std::memory_order Store, std::memory_order Load>
struct message_passing {
    template <class A>
    struct litmus {
        static constexpr unsigned threads = 2;
        static constexpr const char* invariant = "who sees the flag sees the data";
        typename A::template cell<int> data;
        typename A::template atomic<int> flag{0};
        void before() {}
        void thread(unsigned index) {
            if (index == 0) {
                data.write(1);
                flag.store(1, Store);
            } else if (flag.load(Load) == 1) {
                check(data.read() == 1);
            }
        }
        void after() {}
    };
};

template <class A>
struct message_passing_by_fences {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who sees the flag sees the data";
    typename A::template cell<int> data;
    typename A::template atomic<int> flag{0};
    void before() {}
    void thread(unsigned index) {
        if (index == 0) {
            data.write(1);
            A::fence(release);
            flag.store(1, relaxed);
        } else if (flag.load(relaxed) == 1) {
            A::fence(acquire);
            check(data.read() == 1);
        }
    }
    void after() {}
};

template <class A>
struct message_passing_by_await {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "what await saw, it has acquired";
    typename A::template cell<int> data;
    typename A::template atomic<int> flag{0};
    void before() {}
    void thread(unsigned index) {
        if (index == 0) {
            data.write(1);
            flag.store(1, release);
        } else if (A::await_until(flag, acquire, [](int seen) { return seen == 1; }, deadline{})) {
            check(data.read() == 1);
        }
    }
    void after() {}
};

/// x := 1, read y  |  y := 1, read x: not both 0
template <std::memory_order Store, std::memory_order Load, bool Fences = false>
struct store_buffering {
    template <class A>
    struct litmus {
        static constexpr unsigned threads = 2;
        static constexpr const char* invariant = "one of the two sees the other's store";
        typename A::template atomic<int> x{0}, y{0};
        int seen[2] = {};
        void before() {}
        void thread(unsigned index) {
            auto& mine = index == 0 ? x : y;
            auto& other = index == 0 ? y : x;
            mine.store(1, Store);
            if (Fences) A::fence(seq_cst);
            seen[index] = other.load(Load);
        }
        void after() { check(seen[0] == 1 || seen[1] == 1); }
    };
};

/// Two writers, two readers who disagree about which came first.
template <std::memory_order Store, std::memory_order Load>
struct independent_reads {
    template <class A>
    struct litmus {
        static constexpr unsigned threads = 4;
        static constexpr const char* invariant = "all readers see two independent stores in one order";
        typename A::template atomic<int> x{0}, y{0};
        int first[2] = {}, second[2] = {};
        void before() {}
        void thread(unsigned index) {
            if (index == 0) x.store(1, Store);
            if (index == 1) y.store(1, Store);
            if (index < 2) return;
            first[index - 2] = (index == 2 ? x : y).load(Load);
            second[index - 2] = (index == 2 ? y : x).load(Load);
        }
        void after() { check(!(first[0] == 1 && second[0] == 0 && first[1] == 1 && second[1] == 0)); }
    };
};

/// x := 1 (release)  |  sees x, y := 1 (release)  |  sees y, reads x
template <std::memory_order Store, std::memory_order Load>
struct causality {
    template <class A>
    struct litmus {
        static constexpr unsigned threads = 3;
        static constexpr const char* invariant = "happens-before is transitive";
        typename A::template atomic<int> x{0}, y{0};
        void before() {}
        void thread(unsigned index) {
            if (index == 0) x.store(1, Store);
            if (index == 1 && x.load(Load) == 1) y.store(1, Store);
            if (index == 2 && y.load(Load) == 1) check(x.load(relaxed) == 1);
        }
        void after() {}
    };
};

template <class A>
struct coherence_read_read {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a later read of one word is no older";
    typename A::template atomic<int> x{0};
    void before() {}
    void thread(unsigned index) {
        if (index == 0) {
            x.store(1, relaxed);
            x.store(2, relaxed);
            return;
        }
        const int first = x.load(relaxed);
        check(x.load(relaxed) >= first);
    }
    void after() {}
};

template <class A>
struct coherence_write_read {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a thread does not read what its own store has replaced";
    typename A::template atomic<int> x{0};
    void before() {}
    void thread(unsigned index) {
        x.store(static_cast<int>(index) + 1, relaxed);
        check(x.load(relaxed) != 0);
    }
    void after() {}
};

template <class A>
struct one_store_stale {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a relaxed read is never stale";
    typename A::template atomic<int> x{0}, y{0};
    void before() {}
    void thread(unsigned index) {
        if (index == 0) {
            x.store(1, relaxed);
            y.store(1, relaxed);
        } else if (y.load(relaxed) == 1) {
            check(x.load(relaxed) == 1);
        }
    }
    void after() {}
};

template <class A>
struct two_stores_stale {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a relaxed read is never two stores stale";
    typename A::template atomic<int> x{0}, y{0};
    void before() {}
    void thread(unsigned index) {
        if (index == 0) {
            x.store(1, relaxed);
            x.store(2, relaxed);
            y.store(1, relaxed);
        } else if (y.load(relaxed) == 1) {
            check(x.load(relaxed) != 0);
        }
    }
    void after() {}
};

template <class A>
struct plain_race {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "two unordered writes of plain data are fine";
    typename A::template cell<int> data;
    void before() {}
    void thread(unsigned index) { data.write(static_cast<int>(index)); }
    void after() {}
};

template <unsigned Threads>
struct increments {
    template <class A>
    struct litmus {
        static constexpr unsigned threads = Threads;
        static constexpr const char* invariant = "relaxed increments are not lost";
        typename A::template atomic<unsigned> x{0};
        void before() {}
        void thread(unsigned) { x.fetch_add(1, relaxed); }
        void after() { check(x.load(relaxed) == Threads); }
    };
};

template <class A>
struct lost_increment {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a load and a store make an increment";
    typename A::template atomic<unsigned> x{0};
    void before() {}
    void thread(unsigned) { x.store(x.load(relaxed) + 1, relaxed); }
    void after() { check(x.load(relaxed) == 2); }
};

template <class A>
struct read_modify_writes {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "exchange, sub, and, or each see the other's whole effect";
    typename A::template atomic<unsigned> swapped{0}, subtracted{2}, masked{0b11}, joined{0};
    unsigned old[2] = {};
    void before() {}
    void thread(unsigned index) {
        old[index] = swapped.exchange(index + 1, relaxed);
        subtracted.fetch_sub(1, relaxed);
        masked.fetch_and(index == 0 ? 0b01 : 0b10, relaxed);
        joined.fetch_or(index == 0 ? 0b01 : 0b10, relaxed);
    }
    void after() {
        check((old[0] == 0) != (old[1] == 0));
        check(subtracted.load(relaxed) == 0 && masked.load(relaxed) == 0 && joined.load(relaxed) == 0b11);
    }
};

/// Through the success or the failure of a compare-exchange, with orders that C++14 did not allow too.
template <std::memory_order Success, std::memory_order Failure, bool ThroughSuccess>
struct exchange_passing {
    template <class A>
    struct litmus {
        static constexpr unsigned threads = 2;
        static constexpr const char* invariant = "who learns of the flag by compare-exchange sees the data";
        typename A::template cell<int> data;
        typename A::template atomic<int> flag{0};
        void before() {}
        void thread(unsigned index) {
            if (index == 0) {
                data.write(1);
                flag.store(1, release);
                return;
            }
            int expected = ThroughSuccess ? 1 : 7;
            const bool done = flag.compare_exchange_strong(expected, 2, Success, Failure);
            if (done == ThroughSuccess && expected == 1) check(data.read() == 1);
        }
        void after() {}
    };
};

template <bool Weak>
struct spurious_failure {
    template <class A>
    struct litmus {
        static constexpr unsigned threads = 1;
        static constexpr const char* invariant = "a compare-exchange that finds what it expects succeeds";
        typename A::template atomic<int> x{0};
        void before() {}
        void thread(unsigned) {
            int expected = 0;
            check(Weak ? x.compare_exchange_weak(expected, 1, relaxed, relaxed)
                       : x.compare_exchange_strong(expected, 1, relaxed, relaxed));
        }
        void after() {}
    };
};

template <class A>
struct weak_exchange_may_fail_twice {
    static constexpr unsigned threads = 1;
    static constexpr const char* invariant = "of two weak compare-exchanges that find what they expect one succeeds";
    typename A::template atomic<int> x{0};
    void before() {}
    void thread(unsigned) {
        int expected = 0;
        bool done = x.compare_exchange_weak(expected, 1, relaxed, relaxed);
        if (!done) done = x.compare_exchange_weak(expected, 1, relaxed, relaxed);
        check(done);
    }
    void after() {}
};

/// The failure acquires what its own word carries, not what was read of others before.
template <class A>
struct exchange_failure_acquires_its_word_alone {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a failure that acquires is an acquire fence";
    typename A::template cell<int> data;
    typename A::template atomic<int> flag{0}, other{0};
    void before() {}
    void thread(unsigned index) {
        if (index == 0) {
            data.write(1);
            flag.store(1, release);
        } else if (flag.load(relaxed) == 1) {
            int expected = 7;
            (void)other.compare_exchange_strong(expected, 2, relaxed, acquire);
            check(data.read() == 1);
        }
    }
    void after() {}
};

template <class A>
struct failed_exchange_reads_stale {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a compare-exchange that fails has read the newest value";
    typename A::template atomic<int> x{0}, y{0};
    void before() {}
    void thread(unsigned index) {
        if (index == 0) {
            x.store(1, relaxed);
            y.store(1, relaxed);
        } else if (y.load(relaxed) == 1) {
            int expected = 5;
            (void)x.compare_exchange_strong(expected, 6, relaxed, relaxed);
            check(expected == 1);
        }
    }
    void after() {}
};

/// The middle thread changes the flag between the release and the acquire.
template <bool ByReadModifyWrite>
struct release_sequence {
    template <class A>
    struct litmus {
        static constexpr unsigned threads = 3;
        static constexpr const char* invariant =
            "the flag passes the data on though another thread changed it in between";
        typename A::template cell<int> data;
        typename A::template atomic<int> flag{0};
        void before() {}
        void thread(unsigned index) {
            if (index == 0) {
                data.write(1);
                flag.store(1, release);
            } else if (index == 1) {
                if (ByReadModifyWrite) {
                    int expected = 1;
                    (void)flag.compare_exchange_strong(expected, 2, relaxed, relaxed);
                } else if (flag.load(relaxed) == 1) {
                    flag.store(2, relaxed);
                }
            } else if (flag.load(acquire) == 2) {
                check(data.read() == 1);
            }
        }
        void after() {}
    };
};

template <class A>
struct same_thread_release_sequence {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a relaxed store after a release store still releases, as before C++20";
    typename A::template cell<int> data;
    typename A::template atomic<int> flag{0};
    void before() {}
    void thread(unsigned index) {
        if (index == 0) {
            data.write(1);
            flag.store(1, release);
            flag.store(2, relaxed);
        } else if (flag.load(acquire) == 2) {
            check(data.read() == 1);
        }
    }
    void after() {}
};

template <unsigned Threads>
struct load_buffering {
    template <class A>
    struct litmus {
        static constexpr unsigned threads = Threads;
        static constexpr const char* invariant = "not every thread reads what the next one stores later";
        std::optional<typename A::template atomic<int>> word[Threads];
        int seen[Threads] = {};
        void before() {
            for (auto& w : word) w.emplace(0);
        }
        void thread(unsigned index) {
            seen[index] = word[index]->load(relaxed);
            word[(index + 1) % Threads]->store(1, relaxed);
        }
        void after() {
            bool all = true;
            for (const int s : seen) all = all && s == 1;
            check(!all);
        }
    };
};

template <std::memory_order Store, std::memory_order Load>
struct s_shape {
    template <class A>
    struct litmus {
        static constexpr unsigned threads = 2;
        static constexpr const char* invariant =
            "a store that follows from another is not overtaken by what came before it";
        typename A::template atomic<int> x{0}, y{0};
        int seen = 0;
        void before() {}
        void thread(unsigned index) {
            if (index == 0) {
                x.store(2, relaxed);
                y.store(1, Store);
            } else {
                seen = y.load(Load);
                x.store(1, relaxed);
            }
        }
        void after() { check(!(seen == 1 && x.load(relaxed) == 2)); }
    };
};

template <class A>
struct two_plus_two_writes {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "of two pairs of crossing stores, not both first stores end up last";
    typename A::template atomic<int> x{0}, y{0};
    void before() {}
    void thread(unsigned index) {
        (index == 0 ? x : y).store(1, relaxed);
        (index == 0 ? y : x).store(2, relaxed);
    }
    void after() { check(!(x.load(relaxed) == 1 && y.load(relaxed) == 1)); }
};

/// A thread that may be killed before any of its steps stops there, and what it did stays.
template <bool Whole>
struct death {
    template <class A>
    struct litmus {
        static constexpr unsigned threads = 1;
        static constexpr const char* invariant =
            Whole ? "a killed thread has done all or nothing"
                  : "a killed thread has done its first steps and not its later ones";
        typename A::template atomic<int> x{0}, y{0};
        void before() {}
        void thread(unsigned) {
            const bool alive = survives([&] {
                x.store(1, relaxed);
                y.store(1, relaxed);
            });
            check(!alive || y.load(relaxed) == 1);
        }
        void after() {
            const bool first = x.load(relaxed) == 1, second = y.load(relaxed) == 1;
            check(Whole ? first == second : first || !second);
        }
    };
};

template <template <class> class Litmus>
void forbidden(const char* name) {
    add<Litmus>("litmus", name, false);
}
template <template <class> class Litmus>
void allowed(const char* name) {
    add<Litmus>("litmus", name, true);
}

const bool added = [] {
    forbidden<message_passing<release, acquire>::litmus>("message_passing");
    allowed<message_passing<relaxed, acquire>::litmus>("message_passing_relaxed_store");
    allowed<message_passing<release, relaxed>::litmus>("message_passing_relaxed_load");
    forbidden<message_passing_by_fences>("message_passing_by_fences");
    forbidden<message_passing_by_await>("message_passing_by_await");
    forbidden<store_buffering<seq_cst, seq_cst>::litmus>("store_buffering_seq_cst");
    forbidden<store_buffering<relaxed, relaxed, true>::litmus>("store_buffering_fences");
    allowed<store_buffering<release, acquire>::litmus>("store_buffering_release_acquire");
    allowed<store_buffering<seq_cst, acquire>::litmus>("store_buffering_acquire_loads");
    allowed<store_buffering<relaxed, relaxed>::litmus>("store_buffering_relaxed");
    forbidden<independent_reads<seq_cst, seq_cst>::litmus>("independent_reads_seq_cst");
    allowed<independent_reads<release, acquire>::litmus>("independent_reads_acquire");
    forbidden<causality<release, acquire>::litmus>("causality");
    allowed<causality<relaxed, relaxed>::litmus>("causality_relaxed");
    forbidden<coherence_read_read>("coherence_read_read");
    forbidden<coherence_write_read>("coherence_write_read");
    allowed<one_store_stale>("one_store_stale");
    allowed<plain_race>("plain_race");
    forbidden<increments<2>::litmus>("increments_2");
    forbidden<increments<3>::litmus>("increments_3");
    allowed<lost_increment>("lost_increment");
    forbidden<read_modify_writes>("read_modify_writes");
    forbidden<exchange_passing<acquire, relaxed, true>::litmus>("exchange_success_acquires");
    allowed<exchange_passing<acquire, relaxed, false>::litmus>("exchange_success_acquires_failure_does_not");
    forbidden<exchange_passing<relaxed, acquire, false>::litmus>("exchange_failure_acquires");
    allowed<exchange_passing<relaxed, acquire, true>::litmus>("exchange_failure_acquires_success_does_not");
    forbidden<exchange_passing<release, acquire, false>::litmus>("exchange_release_failure_acquires");
    forbidden<exchange_passing<acq_rel, seq_cst, false>::litmus>("exchange_acq_rel_failure_seq_cst");
    allowed<exchange_failure_acquires_its_word_alone>("exchange_failure_acquires_its_word_alone");
    allowed<spurious_failure<true>::litmus>("weak_exchange_may_fail");
    forbidden<spurious_failure<false>::litmus>("strong_exchange_does_not_fail");
    forbidden<release_sequence<true>::litmus>("release_sequence");
    allowed<release_sequence<false>::litmus>("release_sequence_broken_by_a_store");
    forbidden<s_shape<release, acquire>::litmus>("s_shape_release_acquire");
    forbidden<death<false>::litmus>("death_stops_a_thread");
    allowed<death<true>::litmus>("death_may_come_in_between");
    // What no engine that keeps program order shows, or what this one is known not to show.
    allowed<weak_exchange_may_fail_twice>("weak_exchange_may_fail_twice");
    allowed<load_buffering<2>::litmus>("load_buffering");
    allowed<load_buffering<3>::litmus>("load_buffering_3");
    allowed<s_shape<relaxed, relaxed>::litmus>("s_shape");
    allowed<two_plus_two_writes>("two_plus_two_writes");
    allowed<two_stores_stale>("two_stores_stale");
    allowed<failed_exchange_reads_stale>("failed_exchange_reads_stale");
    allowed<same_thread_release_sequence>("same_thread_release_sequence");
    return true;
}();

}  // namespace
}  // namespace shm::model
