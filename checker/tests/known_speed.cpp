// SPDX-License-Identifier: MIT OR Apache-2.0
// The textbook algorithms under both engines, each as far as it comes in a minute: the table in docs/explore.md.
#include <array>
#include <cstdio>

#include <shm/relacy_atomics.hpp>

#include "checker/driver/search.hpp"
#include "checker/tests/known_algorithms.hpp"

namespace shm::model {
namespace {

using explore::bounded_queue;
using explore::ring;
using explore::scripted;
using explore::sequence_lock;
using explore::slab;

void measure(const char* name, engine& by, const maker& make, unsigned threads, search_kind kind) {
    const bool first = &by == &explore_engine();
    const entry scenario{"known",
                         name,
                         form::tries,
                         threads,
                         "",
                         false,
                         first ? std::vector<maker>{make, {}} : std::vector<maker>{{}, make}};
    search how;
    how.kind = kind;
    how.seconds = 60;
    const outcome result = by.explore(scenario, how);
    std::printf("%-42s %-8s %12llu in %8.4f s%s%s\n", name, by.name(),
                static_cast<unsigned long long>(result.executions), result.seconds,
                result.exhausted ? "" : ", not all: ",
                result.exhausted ? ""
                : result.failed  ? result.why.c_str()
                                 : "stopped");
    std::fflush(stdout);
}

template <template <class> class Algorithm>
void both(const char* name, bool waits, bool prune = true) {
    using E = Algorithm<explore_atomics>;
    using R = Algorithm<relacy_atomics>;
    measure(
        name, explore_engine(), [] { return std::make_unique<scripted<E>>(); }, E::threads,
        prune ? search_kind::complete : search_kind::full);
    measure(
        name, relacy_engine(), [] { return std::make_unique<scripted<R>>(); }, R::threads,
        waits ? search_kind::full : search_kind::complete);
}

template <class L>
using ring_2_4 = ring<2, 4, true, L>;
template <class L>
using ring_2_6 = ring<2, 6, true, L>;
template <class L>
using ring_4_4 = ring<4, 4, true, L>;
template <class L>
using ring_4_5 = ring<4, 5, true, L>;
template <class L>
using ring_2_4_tries = ring<2, 4, false, L>;
template <class L>
using slab_2_1 = slab<2, 1, 3, true, L>;
template <class L>
using slab_2_2 = slab<2, 2, 3, true, L>;
template <class L>
using queue = bounded_queue<2, 1, 2, L>;

}  // namespace
}  // namespace shm::model

int main() {
    using namespace shm::model;
    both<ring_2_4>("ring, capacity 2, 4 items, waiting", true);
    both<ring_2_6>("ring, capacity 2, 6 items, waiting", true);
    both<ring_4_4>("ring, capacity 4, 4 items, waiting", true);
    both<ring_4_5>("ring, capacity 4, 5 items, waiting", true);
    both<ring_2_4_tries>("ring, capacity 2, 4 tries", false);
    both<slab_2_1>("slab, 2 threads, once", false, false);
    both<slab_2_2>("slab, 2 threads, twice", false, false);
    both<queue>("queue, 2 producers, 1 consumer, one try", false);
    both<sequence_lock>("sequence lock, one try", false);
}
