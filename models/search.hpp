// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What every engine offers to the program that runs it.
#include <cstdint>
#include <functional>
#include <string>

#include <scenario.hpp>

namespace shm::model {

enum class search_kind : std::uint8_t {
    complete,  // every execution, those that differ only in the order of independent steps once
    full,      // every execution, nothing left out: to check `complete` with
    bounded,   // every execution with at most `bound` preemptions
    sampled    // `executions` of them at random
};

struct search {
    search_kind kind = search_kind::complete;
    unsigned bound = 3;
    std::uint64_t executions = 100'000;  // when sampled
    std::uint64_t seed = 1;              // when sampled
    double seconds = 120;                // then it gives up
};

struct outcome {
    bool failed = false;
    bool broken = false;     // and it says nothing: the scenario or the engine is at fault, not the code under test
    bool exhausted = false;  // the search ran out of executions, not of time
    std::uint64_t executions = 0;
    std::uint64_t redundant = 0;  // of these: cut short as a repetition of another
    double seconds = 0;
    std::string why;      // of a failure
    std::string choices;  // of a failed execution, to replay it
};

using progress = std::function<void(const outcome& so_far)>;

/// What the table calls this engine.
[[nodiscard]] const char* engine_name();

/// Whether the engine is known not to show this outcome, though C++ allows it.
[[nodiscard]] bool blind_to(const std::string& litmus);

/// Whether the execution that is going on has turned out to repeat another. It ends all the same, and is checked.
[[nodiscard]] bool repeats_another();

[[nodiscard]] outcome explore(const entry& scenario, const search& how, const progress& tell = {});

/// Runs the one execution that `choices` stand for, with the recorder on.
[[nodiscard]] outcome replay(const entry& scenario, const search& how, const std::string& choices, recording& into);

}  // namespace shm::model
