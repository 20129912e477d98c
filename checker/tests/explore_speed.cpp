// SPDX-License-Identifier: MIT OR Apache-2.0
// How fast the engine is, on one core: a ring that waits and three threads at a slab, large enough to tell.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>

#include "checker/explore/scheduler.hpp"
#include "checker/tests/known_algorithms.hpp"

namespace shm::explore {
namespace {

double seconds_since(std::chrono::steady_clock::time_point began) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

/// There and back, by fibers that do nothing else.
double seconds_for_a_switch() {
    constexpr unsigned switches = 4'000'000;
    fiber other;
    other.start(
        [](unsigned) {
            for (;;) fiber::suspend();
        },
        0);
    const auto began = std::chrono::steady_clock::now();
    for (unsigned i = 0; i < switches; ++i) other.resume();
    return seconds_since(began) / switches;
}

template <class State>
void measure(const char* name, bool prune) {
    settings how;
    if (!prune) how.ineffective_rounds = how.any_number;
    scheduler search{program_of<State>(), how};
    const std::uint64_t resumed = fiber::resumed;
    const auto began = std::chrono::steady_clock::now();
    search.run({});
    const double seconds = seconds_since(began);
    const auto switches = static_cast<double>(fiber::resumed - resumed);
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto visited = static_cast<double>(search.so_far().visited);
    std::printf("%-40s %7llu complete, %7.0f visited in %.4f s: %.0f a second, %.1f %% of it for fibers, %ld KiB\n",
                name, static_cast<unsigned long long>(search.so_far().complete), visited, seconds, visited / seconds,
                100 * switches * seconds_for_a_switch() / seconds, used.ru_maxrss);
}

}  // namespace
}  // namespace shm::explore

int main() {
    using namespace shm::explore;
    measure<ring<4, 8, true>>("ring, capacity 4, 8 items, waiting", true);
    measure<slab<3, 1, 3>>("slab, 3 threads, 3 slots, pruned", true);
    measure<slab<3, 1, 3>>("slab, 3 threads, 3 slots", false);
}
