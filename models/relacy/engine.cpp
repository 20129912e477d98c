// SPDX-License-Identifier: MIT OR Apache-2.0
// Relacy, driven by a scheduler of our own: complete with sleep sets, bounded by preemptions, or sampled.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>

#include <relacy/engine.hpp>
#include <search.hpp>
#include <shm/relacy_atomics.hpp>

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

/// Relacy's search tree with four ways to walk it. Every decision of an execution passes through `rand_impl` and is
/// written down: that is the replay token.
///
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
        asleep_ = 0;
        explored_here_ = 0;
        now.redundant = false;
        switches_left_ = now.how.bound;
        now.so_far.choices.clear();
        random_ = splitmix64{now.how.seed * 0xd1342543de82ef95 + this->iter_};
        relacy::pending.fill({});
        relacy::deathbed.fill(nullptr);
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
            now.so_far.exhausted = base::iteration_end_impl();
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
        const rl::thread_id_t next = base::schedule_impl(reason, yield);
        if (with_sleep_sets() && !now.redundant) fall_asleep(static_cast<unsigned>(next));
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

    unsigned decide(unsigned limit, rl::sched_type type) {
        if (now.script) return scripted(limit);
        if (now.how.kind == search_kind::sampled) return static_cast<unsigned>(random_() % limit);
        if (!with_sleep_sets()) return branch(limit, type);
        if (now.redundant) return 0;
        if (type == rl::sched_type_sched) return awake(limit);
        if (type == rl::sched_type_atomic_load && stored_to_since_pending()) return 0;
        return branch(limit, type);
    }

    /// The tree's next branch. Whoever comes here again by the same choices must find the same state.
    unsigned branch(unsigned limit, rl::sched_type type) {
        const bool fresh = this->stree_depth_ == this->stree_.size();
        const unsigned choice = base::rand_impl(limit, type);
        unsigned& remembered = this->stree_[this->stree_depth_ - 1].pad_;
        unsigned state = relacy::steps_begun;
        for (const auto& p : relacy::pending) state = state * 8 + static_cast<unsigned>(p.kind);
        if (fresh) remembered = state;
        if (remembered != state)
            relacy::self_check_failed("the same choices lead to the same state", __FILE__, __LINE__);
        return choice;
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
        const unsigned chosen = count == 1 ? 0 : branch(count, rl::sched_type_sched);
        for (unsigned i = 0; i < chosen; ++i) explored_here_ |= 1U << this->running_threads[candidates[i]];
        return candidates[chosen];
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
    [[nodiscard]] std::uint64_t affordable() const override { return 30'000; }
    [[nodiscard]] bool can(search_kind) const override { return true; }

    [[nodiscard]] outcome explore(const entry& scenario, const search& how, const progress& tell) override {
        host::running = this;
        return start(scenario, how, &tell, std::nullopt);
    }

    [[nodiscard]] outcome replay(const entry& scenario, const search& how, const std::string& choices,
                                 recording& into) override {
        host::running = this;
        recorder = &into;
        auto result = start(scenario, how, nullptr, choices);
        recorder = nullptr;
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
    void make_mortal(std::jmp_buf* last_breath) override { relacy::deathbed[relacy::this_thread()] = last_breath; }
    void in_vain(round&, const std::source_location& at) override { relacy_atomics::pause(at); }
};

}  // namespace

bool repeats_another() { return now.redundant; }

engine& relacy_engine() {
    static relacy_race_detector only;
    return only;
}

}  // namespace shm::model
