// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <explore/programs.hpp>
#include <set>

namespace shm::explore {

/// The executions of a small program by another way than the engine's: every interleaving, in which every read takes any
/// write that has been performed and every write takes any place; what breaks an axiom of RC11, computed as it stands in
/// the paper, is dropped. It shares nothing with the engine but the format in which it names a graph.
[[nodiscard]] std::set<std::string> brute_force(const program_text& program);

/// A graph by what makes it one: what each read reads from, and the order of the writes.
[[nodiscard]] std::string name_of(const graph& g);

}  // namespace shm::explore
