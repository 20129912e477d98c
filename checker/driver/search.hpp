// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What every engine offers to the program that runs it.
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <shm/checking.hpp>
#include <shm/model/entry.hpp>

namespace shm::model {

enum class search_kind : std::uint8_t {
    complete,  // every execution, those that differ only in the order of independent steps, or by ineffective rounds, once
    full,      // every execution, nothing left out: to check `complete` with
    bounded,  // every execution with at most `bound` preemptions; under explore, ineffective rounds
    sampled   // `executions` of them at random
};

struct search {
    search_kind kind = search_kind::complete;
    unsigned bound = 3;
    std::uint64_t executions = 100'000;                        // when sampled
    std::uint64_t seed = 1;                                    // when sampled
    std::uint64_t affordable = 0;                              // executions, then it gives up; 0: any number
    double seconds = std::numeric_limits<double>::infinity();  // then it gives up
    unsigned workers = 1;                                      // processes, where the engine can
    long cpu_seconds = 0;                                      // of a worker without a sign of life; 0: any number
    unsigned shard = 0, shards = 1;  // which part of the search, where the engine can split it
};

struct outcome {
    bool failed = false;
    bool broken = false;     // and it says nothing: the scenario or the engine is at fault, not the code under test
    bool exhausted = false;  // the search ran out of executions, not of time
    std::uint64_t executions = 0;
    std::uint64_t redundant = 0;  // of these: cut short as a repetition of another
    std::uint64_t blocked = 0;    // besides these: ended early, since a thread waits for what another execution brings
    double seconds = 0;
    std::string why;      // of a failure
    std::string choices;  // of a failed execution, to replay it
};

using progress = std::function<void(const outcome& so_far)>;

class engine : public host {
public:
    [[nodiscard]] virtual const char* name() const = 0;

    /// Whether it is known not to show this outcome, though C++ allows it.
    [[nodiscard]] virtual bool blind_to(const std::string& litmus) const = 0;

    /// How it searches a scenario of that form when nothing else is asked for.
    [[nodiscard]] virtual search_kind usual(form how) const = 0;

    /// How many executions one search may take: one with a smaller bound comes next, where the engine has one; else the
    /// search is incomplete. Executions, not seconds: a busy machine finds what an idle one finds.
    [[nodiscard]] virtual std::uint64_t affordable() const = 0;
    [[nodiscard]] bool has_smaller_searches() const { return can(search_kind::bounded); }
    [[nodiscard]] virtual bool can(search_kind kind) const = 0;
    [[nodiscard]] virtual bool can_split() const { return false; }

    [[nodiscard]] virtual outcome explore(const entry& scenario, const search& how, const progress& tell = {}) = 0;

    /// Runs the one execution that `choices` stand for, with the recorder on. Throws std::invalid_argument for choices
    /// that are not this scenario's.
    [[nodiscard]] virtual outcome replay(const entry& scenario, const search& how, const std::string& choices,
                                         recording& into) = 0;
};

engine& explore_engine();
engine& relacy_engine();

/// The engines of this program, in the order of its layers.
[[nodiscard]] const std::vector<engine*>& engines();

}  // namespace shm::model
