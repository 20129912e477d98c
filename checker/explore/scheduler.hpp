// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Every execution graph of a small concurrent program, each once: the TruSt algorithm (Kokologiannakis, Marmanis, Gladstein,
// Vafeiadis: "Truly Stateless, Optimal Dynamic Partial Order Reduction", POPL 2022), in process. docs/explore.md explains it.
#include <csetjmp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <shm/checking.hpp>
#include <shm/explore.hpp>
#include <shm/model/host.hpp>

#include "checker/explore/execution_graph.hpp"
#include "checker/explore/fiber.hpp"
#include "checker/explore/locations.hpp"
#include "checker/explore/trace_recorder.hpp"
#include "checker/explore/trust.hpp"

namespace shm::explore {

struct script;

struct program {
    unsigned threads;
    std::function<std::unique_ptr<model::instance>()> make;
};

struct settings {
    static constexpr unsigned any_number = ~0U;
    unsigned ineffective_rounds = 0;     // of an execution, that it goes on after; the next one ends it: another
                                         // one has it succeed
    bool spurious_failures = true;       // of a weak compare-exchange
    bool find_duplicates = false;        // remembers every graph: for tests
    std::size_t most_events = 1000;      // of one execution
    std::uint64_t between_looks = 1024;  // executions after which `go_on` is asked
};

struct totals {
    std::uint64_t complete = 0;  // executions in which every thread came to its end
    std::uint64_t blocked = 0;   // in which some thread waits for what another execution brings
    std::uint64_t visited = 0;   // graphs from which the program was run, these and those that could not be extended
    std::uint64_t duplicates = 0;

    totals& operator+=(const totals& more) {
        complete += more.complete;
        blocked += more.blocked;
        visited += more.visited;
        duplicates += more.duplicates;
        return *this;
    }
    friend totals operator-(const totals& all, const totals& part) {
        return {all.complete - part.complete, all.blocked - part.blocked, all.visited - part.visited,
                all.duplicates - part.duplicates};
    }
};

class scheduler {
public:
    scheduler(const program& subject, const settings& how);
    ~scheduler();
    scheduler(const scheduler&) = delete;
    scheduler& operator=(const scheduler&) = delete;

    /// Visits all executions, up to the first that fails. `go_on` may end it early, and then it is not exhausted.
    void run(const std::function<bool(const totals&)>& go_on);

    /// The same for those that a graph leads to.
    void run_from(const execution_graph& root, const std::function<bool(const totals&)>& go_on);

    /// Visits executions until there are so many graphs to go on from, and returns these; none when that was all.
    [[nodiscard]] std::vector<execution_graph> run_until(std::size_t graphs,
                                                         const std::function<bool(const totals&)>& go_on);

    /// Runs the one execution that `token` stands for. Throws std::invalid_argument when there is none: when a step or a
    /// choice is not there to be made, or when the execution goes on after the last.
    void replay(const std::string& token);

    [[nodiscard]] const totals& so_far() const { return totals_; }
    [[nodiscard]] bool exhausted() const { return exhausted_; }
    [[nodiscard]] bool failed() const { return failed_; }
    [[nodiscard]] bool broken() const { return broken_; }  // and the scenario is at fault, or a limit
    [[nodiscard]] const std::string& why() const { return why_; }
    [[nodiscard]] std::string token() const;  // of the execution that was last run

    /// Called with each complete execution's graph; for tests.
    std::function<void(const execution_graph&)> on_complete;

    /// How many events the running thread has had in this execution.
    [[nodiscard]] std::int16_t position() const { return threads_[current_].position; }

    // What the layer asks for.
    answer perform(const request& wanted);
    std::uint16_t begin_location(std::uint64_t value);
    void end_location(std::uint16_t location);
    void touch_cell(cell_history& history, touch how, const void* object, const std::source_location& at,
                    std::string (*shown)(const void* value), const void* value);
    [[nodiscard]] model::round begin_round() const;
    void ineffective(model::round& failed, const std::source_location& at);
    [[nodiscard]] bool spurious_failures() const { return how_.spurious_failures; }
    void make_mortal(std::jmp_buf* last_breath);
    [[noreturn]] void fail(std::string why, const std::source_location* at = nullptr, bool broken = false);
    [[nodiscard]] static scheduler& running();

private:
    /// What a simulated thread is up to.
    enum class state : std::uint8_t {
        ready,        // it can go on
        wants,        // it wants a new event
        behind,       // it repeats an event that follows one of another thread, which has not come so far
        half_way,     // it has read in a read-modify-write and not yet written
        blocked,      // it is never woken from a wait
        ineffective,  // a round of its loop changed nothing
        ended
    };
    struct thread {
        fiber on;
        std::function<void()> body;
        state is = state::ended;
        std::int16_t position = 0;    // how many of its events it has performed
        std::vector<event_id> slots;  // its events in the present graph
        event_id parent = nowhere;    // of a spawned thread
        unsigned name = 0;            // as graph::names has it
        unsigned started = 0;         // other threads
        event wanted{};
        unsigned other = 0;      // the thread that it is behind of,
        std::int16_t until = 0;  // and how far that one must have come
        model::round failed_round{};
        unsigned effects = 0;  // how often it has changed anything shared
        std::jmp_buf* crash_point = nullptr;
        std::source_location at;  // of its last request
    };
    void set_failure(const std::string& why, const std::source_location* at, bool broken);
    void begin();
    void execute();
    template <class Code>
    void run_code(unsigned arena_index, Code code);
    void run_main();
    void run_thread(unsigned index);
    void start(unsigned index);
    void settle();
    [[nodiscard]] bool is_behind(const thread& t) const;
    [[nodiscard]] bool enabled(const thread& t);
    [[nodiscard]] thread* next();
    bool extend(thread& t);
    void conclude();
    [[nodiscard]] bool hopeless(const thread& t) const;

    bool number_child(event& spawn);
    [[nodiscard]] std::uint64_t number_of(unsigned name, const std::source_location& at);
    [[nodiscard]] bool others_go_on(const thread& than);
    [[nodiscard]] event event_for(const request& wanted);
    [[nodiscard]] moment now() const;
    void use(std::uint16_t location, const std::source_location& at);
    answer perform_alone(const request& wanted);
    unsigned choose_alone(std::vector<std::uint8_t> execution_graph::* made, unsigned count);
    [[nodiscard]] unsigned asked() const;
    void check_step(const event& taken, bool consistent);
    void check_choices(const char* when, const std::vector<std::uint8_t>& asked) const;

    program subject_;
    settings how_;
    totals totals_;
    bool exhausted_ = false, failed_ = false, broken_ = false;
    std::string why_;

    locations locations_;
    trust trust_;
    execution_graph& graph_;  // of the execution that is going on
    trace_recorder recorder_;

    std::array<thread, max_threads> threads_;
    unsigned current_ = 0;
    unsigned ineffective_rounds_ = 0;  // gone on after, in this execution
    unsigned threads_in_use_ = 0;
    fiber main_;  // what comes before the threads and after them
    model::phase phase_ = model::phase::before;
    std::size_t alone_choices_ = 0;

    std::unique_ptr<script> script_;
    std::unordered_set<std::string> seen_;
    bool was_recording_ = false;
};

}  // namespace shm::explore
