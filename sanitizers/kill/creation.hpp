// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// A creator that dies leaves what attach refuses, or what it has made.
#include <cstdint>
#include <string>
#include <vector>

#include "sanitizers/kill/trial.hpp"

namespace kill_test {

/// `create(region)` and `attach(region)` make a result of something that `works(it)`.
template <class Create, class Attach, class Works>
void try_creation(trial& on, diary& mine, std::size_t size_bytes, Create create, Attach attach, Works works) {
    const shared_memory memory{size_bytes};
    const auto begin = [&](std::uint64_t operations) {
        mine.done = 0;
        fate chosen = on.draw(operations, 1);
        chosen.signal = SIGKILL;
        std::vector<child> creator;
        creator.push_back(on.start(mine, chosen, [&](dice&) {
            const auto bytes = memory.attach();
            for (;;) {
                // Of what the one before has left, the first attach is refused, or not.
                (void)attach(bytes.region());
                if (create(bytes.region())) mine.done = 1;
            }
        }));
        (void)on.outlive(creator, [](bool) {});
        ++on.counts().creators_killed;
    };
    begin(40);
    const bool made = mine.done == 1;
    begin(10);

    const auto bytes = memory.attach();
    auto found = attach(bytes.region());
    if (!found) {
        require(found.error().what == shm::fault_kind::not_ready,
                "what a dead creator has left: expected not_ready, found \"" + found.error().sentence() + "\"");
        require(!made, "what was created before its creator died: expected to attach, found \"" +
                           found.error().sentence() + "\"");
    }
    if (found) works(*found);
    const auto again = create(bytes.region());
    if (again) works(*again);
    require(!again || !found, "what is there: expected already_created, found it created again");
}

}  // namespace kill_test
