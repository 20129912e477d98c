// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Checks a protocol of your own: scenarios over the atomics layer, in every execution that C++ allows them.
#include <string>
#include <typeinfo>
#include <vector>

#include <shm/explore_atomics.hpp>
#include <shm/model/entry.hpp>
#include <shm/model/scenario.hpp>

namespace shm::model {

struct verify_options {
    double seconds = 120;  // for each scenario; then it is INCOMPLETE
    unsigned jobs = 1;     // processes
    bool prune = true;     // an ineffective round ends its execution; else a waiting loop may reach the step limit
    std::string replay;    // the token of an execution: that one is run and shown, and no other
    std::string html;      // where to draw the execution that failed, or that is replayed
};

// What `verify` calls.
int verify_entries(const std::vector<entry>& scenarios, const verify_options& how);
int verify_entries(const std::vector<entry>& scenarios, int argc, char** argv);
[[nodiscard]] std::string name_of(const std::type_info& scenario);

template <template <class> class... Scenarios>
[[nodiscard]] std::vector<entry> entries_of() {
    return {entry{"",
                  name_of(typeid(Scenarios<explore_atomics>)),
                  form::tries,
                  Scenarios<explore_atomics>::threads,
                  Scenarios<explore_atomics>::invariant,
                  false,
                  {maker_of<Scenarios<explore_atomics>>()}}...};
}

/// Searches every execution of each scenario and prints a line for each: how many there were, and the verdict. Of a failure
/// it prints the execution as a table, a column per thread, and the token that runs exactly this one again.
///
/// Returns 0 all passed, 1 something failed, 2 wrong usage, 3 nothing failed but a search ran out of time.
template <template <class> class... Scenarios>
int verify(const verify_options& how = {}) {
    return verify_entries(entries_of<Scenarios...>(), how);
}

/// The same for a program of nothing else, whose command line names the options: `--help` lists them.
template <template <class> class... Scenarios>
int verify(int argc, char** argv) {
    return verify_entries(entries_of<Scenarios...>(), argc, argv);
}

}  // namespace shm::model
