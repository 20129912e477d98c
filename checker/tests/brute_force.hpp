// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <set>

#include "checker/tests/programs.hpp"

namespace shm::explore {

struct enumerated {
    std::set<std::string> graphs;  // of the executions in which every thread comes to its end
    bool waits_for_ever = false;   // there is one in which some do not, and would not if they looked again
};

/// The executions of a small program by another way than the engine's: every interleaving, in which every read takes any
/// write that has been performed and every write takes any place; what breaks an axiom of RC11, computed as it stands in
/// the paper, is dropped. A wait may also never be over. It shares nothing with the engine but the format in which it
/// names a graph.
[[nodiscard]] enumerated brute_force(const program_text& program);

/// A graph by what makes it one: what each read reads from, what was chosen, and the order of the writes.
[[nodiscard]] std::string name_of(const execution_graph& g);

}  // namespace shm::explore
