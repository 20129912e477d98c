// SPDX-License-Identifier: MIT OR Apache-2.0
// Relacy, driven by a scheduler of our own: complete by source sets and sleep sets, bounded by preemptions, or sampled.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdio>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>

#include <shm/relacy_atomics.hpp>

#include "checker/driver/search.hpp"
#include "checker/relacy/engine.hpp"

namespace shm::model {
namespace {

constexpr unsigned most_threads = 4;
constexpr unsigned most_steps_of_an_execution = 4000;

constexpr const char* digits = "0123456789abcdefghijklmnopqrstuvwxyz";

/// The one search that is going on: Relacy keeps one simulation per process.
struct running_search {
    const entry* scenario = nullptr;
    search how;
    outcome so_far;
    const progress* tell = nullptr;
    std::optional<std::string> script;  // the choices to repeat
    std::string wrong_script;           // why they cannot be
    bool redundant = false;             // this execution repeats another
    std::chrono::steady_clock::time_point began;

    [[nodiscard]] double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    }
};
running_search now;

/// Two pending operations commute when neither could tell which of them came first.
bool independent(const relacy::pending_operation& a, const relacy::pending_operation& b) {
    using relacy::touch;
    if (a.kind == touch::start || b.kind == touch::start) return true;
    if (a.kind == touch::fence || b.kind == touch::fence) return a.kind != b.kind;
    return a.object != b.object || (a.kind == touch::read && b.kind == touch::read);
}

class splitmix64 {
public:
    explicit splitmix64(std::uint64_t seed) : state_{seed} {}
    std::uint64_t operator()() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }

private:
    std::uint64_t state_;
};

/// The steps of one execution and which of them happened before which, dependent steps being ordered: where two of them race,
/// that is where another execution may have them the other way round.
class happened_before {
public:
    static constexpr int no_node = -1;

    void clear() {
        steps_.clear();
        objects_.clear();
        clocks_.fill({});
    }

    /// `thread` takes its pending step, chosen at that node of the search tree. For each race with an earlier step,
    /// `reverse` is told the node from which that one was taken, and the threads of which any may go first there to have
    /// the two the other way round.
    template <class Reverse>
    void take(unsigned thread, const relacy::pending_operation& op, int node, Reverse reverse) {
        if (op.kind == relacy::touch::start) return;
        object& touched = find(op.kind == relacy::touch::fence ? nullptr : op.object);
        std::array<int, most_threads> before;
        unsigned count = 0;
        if (op.kind != relacy::touch::read)
            for (const int read : touched.reads)
                if (read != none) before[count++] = read;
        if (count == 0 && touched.written != none) before[count++] = touched.written;

        for (unsigned i = 0; i < count; ++i) {
            const step& earlier = steps_[static_cast<unsigned>(before[i])];
            if (earlier.thread == thread || earlier.node == no_node || is_before(earlier, clocks_[thread])) continue;
            clock mine = clocks_[thread];
            bool at_once = true;
            for (unsigned other = 0; other < count; ++other) {
                const step& between = steps_[static_cast<unsigned>(before[other])];
                if (other == i) continue;
                if (is_before(earlier, between.seen))
                    at_once = false;
                else
                    join(mine, between.seen);
            }
            if (at_once) reverse(earlier.node, first_without(static_cast<unsigned>(before[i]), thread, mine));
        }

        clock& seen = clocks_[thread];
        for (unsigned i = 0; i < count; ++i) join(seen, steps_[static_cast<unsigned>(before[i])].seen);
        ++seen[thread];
        const int me = static_cast<int>(steps_.size());
        steps_.push_back({thread, node, seen});
        if (op.kind == relacy::touch::read) {
            touched.reads[thread] = me;
        } else {
            touched.written = me;
            touched.reads.fill(none);
        }
    }

private:
    static constexpr int none = -1;
    using clock = std::array<unsigned, most_threads>;  // of each thread how many steps
    struct step {
        unsigned thread;
        int node;
        clock seen;  // with this step
    };
    struct object {
        const void* is;
        int written = none;                                           // last
        std::array<int, most_threads> reads{none, none, none, none};  // since then, by each thread
    };

    static void join(clock& mine, const clock& other) {
        for (unsigned i = 0; i < most_threads; ++i) mine[i] = std::max(mine[i], other[i]);
    }
    static bool is_before(const step& earlier, const clock& seen) {
        return seen[earlier.thread] >= earlier.seen[earlier.thread];
    }
    object& find(const void* wanted) {
        for (object& known : objects_)
            if (known.is == wanted) return known;
        return objects_.emplace_back(object{wanted});
    }

    /// Of what came after a step and not because of it, and then the next step of `last`: the threads whose first step
    /// there needs no other.
    [[nodiscard]] unsigned first_without(unsigned which, unsigned last, const clock& seen_by_last) const {
        const step& without = steps_[which];
        clock first{};
        unsigned may_be_first = 0;
        const auto meet = [&](unsigned thread, const clock& seen) {
            if (first[thread] != 0) return;
            bool needs_none = true;
            for (unsigned other = 0; other < most_threads; ++other)
                needs_none = needs_none && (other == thread || first[other] == 0 || seen[other] < first[other]);
            first[thread] = seen[thread];
            if (needs_none) may_be_first |= 1U << thread;
        };
        for (std::size_t i = which + 1; i < steps_.size(); ++i)
            if (!is_before(without, steps_[i].seen)) meet(steps_[i].thread, steps_[i].seen);
        clock of_last = seen_by_last;
        ++of_last[last];
        meet(last, of_last);
        return may_be_first;
    }

    std::vector<step> steps_;
    std::vector<object> objects_;
    std::array<clock, most_threads> clocks_{};
};

/// Relacy's search tree with four ways to walk it. Every decision of an execution passes through `rand_impl` and is
/// written down: that is the replay token.
///
/// The complete search has a tree of its own. Source sets (Abdulla, Aronis, Jonsson, Sagonas: "Optimal Dynamic Partial Order
/// Reduction", POPL 2014): from a state one thread is followed, and another only when a step taken later races with one
/// taken from here, so that the two must be seen the other way round.
/// Sleep sets: once a thread's next step has been explored from here, the siblings explored after need not take that
/// step first, until something that does not commute with it has happened. When every runnable thread sleeps, all that
/// can follow has been seen: the execution is finished without branching and counted as redundant.
template <rl::thread_id_t Threads>
class scheduler
    : public rl::tree_search_scheduler<scheduler<Threads>, rl::tree_search_scheduler_thread_info<Threads>, Threads> {
public:
    using base = rl::tree_search_scheduler<scheduler<Threads>, rl::tree_search_scheduler_thread_info<Threads>, Threads>;
    using thread_info_t = typename base::thread_info_t;
    using shared_context_t = typename base::shared_context_t;

    scheduler(rl::test_params& params, shared_context_t& context, rl::thread_id_t dynamic)
        : base{params, context, dynamic} {}

    rl::thread_id_t iteration_begin_impl() {
        this->stree_depth_ = 0;
        depth_ = 0;
        history_.clear();
        asleep_ = 0;
        explored_here_ = 0;
        now.redundant = false;
        switches_left_ = now.how.bound;
        now.so_far.choices.clear();
        random_ = splitmix64{now.how.seed * 0xd1342543de82ef95 + this->iter_};
        relacy::pending.fill({});
        relacy::crash_point.fill(nullptr);
        relacy::steps_begun = 0;
        if (with_sleep_sets()) return 0;  // a start commutes with everything
        return this
            ->running_threads[rand_impl(static_cast<unsigned>(this->running_threads_count), rl::sched_type_sched)];
    }

    bool iteration_end_impl() {
        ++now.so_far.executions;
        now.so_far.redundant += now.redundant;
        if (now.script) return true;
        if (now.how.kind == search_kind::sampled) {
            now.so_far.exhausted = now.so_far.executions >= now.how.executions;
        } else {
            now.so_far.exhausted = with_sleep_sets() ? !go_on_elsewhere() : base::iteration_end_impl();
        }
        if (now.so_far.exhausted) return true;
        if (now.how.affordable != 0 && now.so_far.executions >= now.how.affordable) return true;
        if (now.so_far.executions % 256 != 0) return false;
        now.so_far.seconds = now.seconds();
        if (now.tell != nullptr && *now.tell) (*now.tell)(now.so_far);
        return now.so_far.seconds > now.how.seconds;
    }

    rl::thread_id_t schedule_impl(rl::unpark_reason& reason, unsigned yield) {
        if (yield != 0 && with_sleep_sets())
            relacy::self_check_failed("a scenario that is searched completely does not pause", __FILE__, __LINE__);
        explored_here_ = 0;
        node_here_ = happened_before::no_node;
        const rl::thread_id_t next = base::schedule_impl(reason, yield);
        if (with_sleep_sets() && !now.redundant) fall_asleep(static_cast<unsigned>(next));
        if (with_sleep_sets() && !now.redundant && !now.script) take_step(static_cast<unsigned>(next));
        return next;
    }

    unsigned rand_impl(unsigned limit, rl::sched_type type) {
        const unsigned choice = decide(limit, type);
        now.so_far.choices += digits[choice];
        return choice;
    }

    bool can_switch(thread_info_t&) { return now.how.kind != search_kind::bounded || switches_left_ != 0; }
    void on_switch(thread_info_t& from) {
        if (from.state_ == rl::thread_state_running && switches_left_ != 0) --switches_left_;
    }
    double iteration_count_approx() { return 1; }

private:
    [[nodiscard]] static bool with_sleep_sets() { return now.how.kind == search_kind::complete; }

    /// Where the complete search has more than one way to go on.
    struct node {
        rl::sched_type type;
        unsigned count;  // of values or of threads
        unsigned state;
        unsigned chosen = 0;  // value, or thread
        unsigned awake = 0;   // a bit for each thread that may be chosen; also
        unsigned wanted = 0;  // those of a source set, as far as it is known, and
        unsigned done = 0;    // those that have been followed
    };

    unsigned decide(unsigned limit, rl::sched_type type) {
        if (now.script) return scripted(limit);
        if (now.how.kind == search_kind::sampled) return static_cast<unsigned>(random_() % limit);
        if (!with_sleep_sets()) return branch(limit, type);
        if (now.redundant) return 0;
        if (type == rl::sched_type_sched) return awake(limit);
        if (type == rl::sched_type_atomic_load && stored_to_since_pending()) return 0;
        return visit(limit, type).chosen;
    }

    [[nodiscard]] static unsigned state_now() {
        unsigned state = relacy::steps_begun;
        for (const auto& p : relacy::pending) state = state * 8 + static_cast<unsigned>(p.kind);
        return state;
    }
    static void expect_same_state(unsigned remembered) {
        if (remembered != state_now())
            relacy::self_check_failed("the same choices lead to the same state", __FILE__, __LINE__);
    }

    /// The next branch of Relacy's tree. Whoever comes here again by the same choices must find the same state.
    unsigned branch(unsigned limit, rl::sched_type type) {
        const bool fresh = this->stree_depth_ == this->stree_.size();
        const unsigned choice = base::rand_impl(limit, type);
        unsigned& remembered = this->stree_[this->stree_depth_ - 1].pad_;
        if (fresh) remembered = state_now();
        expect_same_state(remembered);
        return choice;
    }

    /// The next node of the complete search's tree; of a new one the first value is chosen.
    node& visit(unsigned count, rl::sched_type type) {
        if (depth_ == tree_.size()) tree_.push_back({type, count, state_now()});
        node& here = tree_[depth_++];
        expect_same_state(here.state);
        RL_VERIFY(here.type == type && here.count == count);
        return here;
    }

    /// Goes back to the last node from which there is another way; false when there is none.
    bool go_on_elsewhere() {
        RL_VERIFY(depth_ == tree_.size());
        for (; !tree_.empty(); tree_.pop_back()) {
            node& last = tree_.back();
            if (last.type != rl::sched_type_sched) {
                if (++last.chosen < last.count) return true;
                continue;
            }
            last.done |= 1U << last.chosen;
            const unsigned left = last.wanted & last.awake & ~last.done;
            if (left == 0) continue;
            last.chosen = static_cast<unsigned>(std::countr_zero(left));
            return true;
        }
        return false;
    }

    void take_step(unsigned next) {
        history_.take(next, relacy::pending[next], node_here_, [&](int at, unsigned may_be_first) {
            node& there = tree_[static_cast<unsigned>(at)];
            if ((may_be_first & there.wanted) != 0) return;
            const unsigned racing = 1U << next;
            there.wanted |= (may_be_first & racing) != 0 ? racing : may_be_first & ~(may_be_first - 1);
        });
    }

    unsigned scripted(unsigned limit) {
        const std::size_t at = now.so_far.choices.size();
        const unsigned choice =
            at < now.script->size() ? static_cast<unsigned>(std::string_view{digits}.find((*now.script)[at])) : 0;
        if (choice < limit) return choice;
        now.wrong_script =
            fmt::format("choice {} of the token: expected less than {}, found {}", at + 1, limit, choice);
        relacy::self_check_failed("the token is of this program", __FILE__, __LINE__);
    }

    /// Picks a runnable thread that is not asleep.
    unsigned awake(unsigned limit) {
        std::array<unsigned, most_threads> candidates;
        unsigned count = 0;
        for (unsigned i = 0; i < limit; ++i) {
            const auto thread = static_cast<unsigned>(this->running_threads[i]);
            if (relacy::pending[thread].kind == relacy::touch::start) return i;
            if ((asleep_ >> thread & 1) == 0) candidates[count++] = i;
        }
        if (count == 0) {
            now.redundant = true;
            return 0;
        }
        if (count == 1) return candidates[0];
        const auto thread_of = [&](unsigned i) { return static_cast<unsigned>(this->running_threads[candidates[i]]); };
        node_here_ = static_cast<int>(depth_);
        node& here = visit(count, rl::sched_type_sched);
        if (here.awake == 0) {
            here.chosen = thread_of(0);
            here.wanted = 1U << here.chosen;
            for (unsigned i = 0; i < count; ++i) here.awake |= 1U << thread_of(i);
        }
        explored_here_ = here.done;
        unsigned i = 0;
        while (thread_of(i) != here.chosen) ++i;
        return candidates[i];
    }

    /// What has been explored before `next` sleeps on as long as it commutes with what `next` does.
    void fall_asleep(unsigned next) {
        if ((asleep_ >> next & 1) != 0) {
            now.redundant = true;  // it was the only runnable thread
            return;
        }
        const unsigned before = (asleep_ | explored_here_) & ~(1U << next);
        asleep_ = 0;
        for (unsigned thread = 0; thread < Threads; ++thread)
            if ((before >> thread & 1) != 0 && independent(relacy::pending[thread], relacy::pending[next]))
                asleep_ |= 1U << thread;
    }

    /// Then the older value is what an execution reads in which this load comes before that store.
    [[nodiscard]] bool stored_to_since_pending() const {
        const auto& load = relacy::pending[static_cast<unsigned>(this->thread_->index_)];
        return load.version != nullptr && *load.version != load.version_when_pending;
    }

    std::vector<node> tree_;
    std::size_t depth_ = 0;
    int node_here_ = happened_before::no_node;
    happened_before history_;
    unsigned asleep_ = 0;         // a bit per thread
    unsigned explored_here_ = 0;  // threads whose step has been explored from the present state
    unsigned switches_left_ = 0;
    splitmix64 random_{0};
};

template <rl::thread_id_t Threads>
struct suite : rl::test_suite<suite<Threads>, Threads> {
    std::unique_ptr<instance> scenario = now.scenario->make.back()();

    void before() {
        guarded(phase::before, [&] { scenario->before(); });
    }
    void thread(unsigned index) {
        if (index < now.scenario->threads) guarded(phase::threads, [&] { scenario->thread(index); });
    }
    void after() {
        guarded(phase::after, [&] { scenario->after(); });
        scenario.reset();
    }

private:
    template <class Body>
    static void guarded(phase entered, Body body) {
        if (recorder != nullptr) recorder->now = entered;
        try {
            body();
        } catch (const std::exception& e) {
            now.so_far.why = std::string{"an exception escaped: "} + e.what();
            now.so_far.broken = true;
            rl::ctx().fail_test("exception", rl::test_result_user_assert_failed, rl::debug_info());
        }
    }
};

std::string words_for(rl::test_result_e result) {
    switch (result) {
        case rl::test_result_data_race: return "data race";
        case rl::test_result_deadlock: return "deadlock";
        case rl::test_result_livelock: return "no end in sight: a thread waits for what never comes";
        case rl::test_result_inconsistent_test_suite:
            return fmt::format("self-check failed ({}): most often a scenario that is not deterministic",
                               relacy::failed_self_check);
        case rl::test_result_unitialized_access: return "a read of something never written";
        default: return rl::test_result_str(result);
    }
}

template <rl::thread_id_t Threads>
void run() {
    std::ostringstream ignored;
    rl::test_params params;
    params.output_stream = &ignored;
    params.progress_stream = &ignored;
    params.execution_depth_limit = most_steps_of_an_execution;
    params.search_type = now.how.kind == search_kind::sampled ? rl::sched_random : rl::sched_full;
    const auto result = rl::run_test<suite<Threads>, scheduler<Threads>>(params, ignored, false);
    now.so_far.seconds = now.seconds();
    if (result == rl::test_result_success) return;
    ++now.so_far.executions;  // the one that failed
    now.so_far.failed = true;
    now.so_far.exhausted = false;
    if (now.so_far.why.empty()) now.so_far.why = words_for(result);
    switch (result) {
        case rl::test_result_user_assert_failed:
        case rl::test_result_data_race:
        case rl::test_result_deadlock:
        case rl::test_result_livelock:
        case rl::test_result_unitialized_access: break;
        default: now.so_far.broken = true;
    }
}

outcome start(const entry& scenario, const search& how, const progress* tell, std::optional<std::string> script) {
    now = {&scenario, how, {}, tell, std::move(script), {}, false, std::chrono::steady_clock::now()};
    if (scenario.threads < 1 || scenario.threads > most_threads)
        throw std::invalid_argument("a scenario has 1 to 4 threads: " + scenario.name);
    try {
        switch (scenario.threads) {
            case 1:  // and one that has nothing to do
            case 2: run<2>(); break;
            case 3: run<3>(); break;
            default: run<most_threads>(); break;
        }
    } catch (const std::logic_error&) {  // a self-check between two executions
        now.so_far.failed = true;
        now.so_far.exhausted = false;
        now.so_far.broken = true;
        now.so_far.why = words_for(rl::test_result_inconsistent_test_suite);
    }
    return now.so_far;
}

class relacy_race_detector final : public engine {
public:
    [[nodiscard]] const char* name() const override { return "relacy"; }

    // Relacy keeps the stores of a thread in program order and every location's stores in the order of execution, lets a
    // load see at most one store back, takes the newest value for a compare-exchange that fails, fails one spuriously at
    // most once for each object, and still honours C++17's release sequences.
    [[nodiscard]] bool blind_to(const std::string& litmus) const override {
        static const std::set<std::string> unseen{"weak_exchange_may_fail_twice",
                                                  "load_buffering",
                                                  "load_buffering_3",
                                                  "s_shape",
                                                  "two_plus_two_writes",
                                                  "two_stores_stale",
                                                  "failed_exchange_reads_stale",
                                                  "same_thread_release_sequence"};
        return unseen.contains(litmus);
    }
    [[nodiscard]] search_kind usual(form how) const override {
        return how == form::waits ? search_kind::bounded : search_kind::complete;
    }
    [[nodiscard]] std::uint64_t affordable() const override { return 50'000; }
    [[nodiscard]] bool can(search_kind) const override { return true; }

    [[nodiscard]] outcome explore(const entry& scenario, const search& how, const progress& tell) override {
        host::running = this;
        return start(scenario, how, &tell, std::nullopt);
    }

    [[nodiscard]] outcome replay(const entry& scenario, const search& how, const std::string& choices,
                                 recording& into) override {
        host::running = this;
        const outcome result = [&] {
            const recording_into steps_of{into};
            return start(scenario, how, nullptr, choices);
        }();
        if (now.wrong_script.empty() && result.choices.size() < choices.size())
            now.wrong_script =
                fmt::format("choices of the token: expected {}, found {}", result.choices.size(), choices.size());
        if (!now.wrong_script.empty()) throw std::invalid_argument(now.wrong_script);
        return result;
    }

    void failed(const std::source_location& at) override {
        const std::string file = at.file_name();
        now.so_far.why = "check failed at " + file.substr(file.rfind('/') + 1) + ":" + std::to_string(at.line());
        rl::ctx().fail_test("check", rl::test_result_user_assert_failed, relacy::info(at));
    }
    unsigned choose(unsigned count) override {
        if (count > std::string_view{digits}.size())
            relacy::self_check_failed("a choice is one of at most 36", __FILE__, __LINE__);
        return rl::rand(count);
    }
    void make_mortal(std::jmp_buf* last_breath) override { relacy::crash_point[relacy::this_thread()] = last_breath; }
    void ineffective(round&, const std::source_location& at) override { relacy_atomics::pause(at); }
};

}  // namespace

bool repeats_another() { return now.redundant; }

engine& relacy_engine() {
    static relacy_race_detector only;
    return only;
}

}  // namespace shm::model
