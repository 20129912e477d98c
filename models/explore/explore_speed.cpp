// SPDX-License-Identifier: MIT OR Apache-2.0
// How fast the engine is, on one core: a ring that waits and three threads at a slab, large enough to tell.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <explore/explorer.hpp>
#include <explore/known_algorithms.hpp>

namespace shm::explore {
namespace {

template <class State>
void measure(const char* name, bool prune) {
    settings how;
    how.prune_vain_rounds = prune;
    explorer search{program_of<State>(), how};
    const auto began = std::chrono::steady_clock::now();
    search.run({});
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto visited = static_cast<double>(search.so_far().visited);
    std::printf("%-40s %7llu complete, %7.0f visited in %.4f s: %.0f a second, %ld KiB\n", name,
                static_cast<unsigned long long>(search.so_far().complete), visited, seconds, visited / seconds,
                used.ru_maxrss);
}

}  // namespace
}  // namespace shm::explore

int main() {
    using namespace shm::explore;
    measure<ring<4, 8, true>>("ring, capacity 4, 8 items, waiting", true);
    measure<slab<3, 1, 3>>("slab, 3 threads, 3 slots, pruned", true);
    measure<slab<3, 1, 3>>("slab, 3 threads, 3 slots", false);
}
