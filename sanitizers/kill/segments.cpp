// SPDX-License-Identifier: MIT OR Apache-2.0
// A segment: its creators die, and then processes that join it, leave it, and use what they find there.
#include <sched.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <shm/segment_builder.hpp>

#include "sanitizers/kill/creation.hpp"
#include "sanitizers/kill/trial.hpp"

namespace kill_test {
namespace {

using segment = shm::basic_segment<mortal_atomics>;
constexpr std::uint32_t peers = 3;

shm::basic_segment_builder<mortal_atomics> plan() {
    return shm::basic_segment_builder<mortal_atomics>{}
        .peers(peers)
        .add<std::uint64_t>("first", 42)
        .add<std::byte[]>("second", 100);
}

void require_both_blocks(const segment& in) {
    const auto first = in.find<std::uint64_t>("first");
    require(first && **first == 42 && in.find<std::byte[]>("second"), "a segment: expected two blocks, found others");
}

/// Two children and this process have a place for each.
void try_peers(trial& on, const diaries& all) {
    const shared_memory memory{plan().required_size()};
    const auto bytes = memory.attach();
    const auto here = plan().create(bytes.region()).value();
    auto me = here.join(shm::this_process().value()).value();
    for (int rounds = 0; rounds < 12 && !on.over(); ++rounds) {
        std::vector<child> others;
        for (const std::size_t i : {0U, 1U}) {
            others.push_back(on.start(all[i], on.draw(40), [&](dice&) {
                const auto mine = memory.attach();
                const auto id = shm::this_process().value();
                for (;;) {
                    const auto found = segment::attach(mine.region()).value();
                    const auto place = found.join(id);
                    require(place.has_value(), "a segment: expected a place for each, found none");
                    require(place->number() != me.number() && found.peer_at(place->number()) == id,
                            "a place: expected to be had alone, found it another's");
                    require_both_blocks(found);
                }
            }));
        }
        const auto look = [&](bool) {
            require(here.peer_at(me.number()) == me.peer(),
                    "a place: expected to stay its holder's, found another there");
            ::sched_yield();
        };
        for (const auto& dead : on.outlive(others, look)) {
            require(me.remove(dead) <= 1, "a dead one: expected in one place at most, found in several");
            require(me.remove(dead) == 0, "a dead one that was removed: expected nowhere, found again");
        }
        for (std::uint32_t number = 0; number < peers; ++number)
            require(here.peer_at(number) == (number == me.number() ? me.peer() : shm::peer_id{}),
                    "after all deaths: expected one peer, found process " + std::to_string(here.peer_at(number).id));
    }
}

}  // namespace

void try_segment(trial& on) {
    const diaries all;
    while (!on.over()) {
        try_creation(
            on, all[0], plan().required_size(), [](shm::region bytes) { return plan().create(bytes); },
            [](shm::region bytes) { return segment::attach(bytes); }, require_both_blocks);
        try_peers(on, all);
    }
}

}  // namespace kill_test
