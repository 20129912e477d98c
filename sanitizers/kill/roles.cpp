// SPDX-License-Identifier: MIT OR Apache-2.0
// One role, for which three processes contend; two of them die.
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <shm/role.hpp>

#include "sanitizers/kill/trial.hpp"

namespace kill_test {
namespace {

using role = shm::role<mortal_atomics>;

struct guarded {
    role::claim_word word;
    std::atomic<std::uint64_t> inside;  // who says that it has the role; 0 is nobody
};

class role_world {
public:
    role_world(trial& on, const diaries& all) : on_{on}, all_{all} {}

    void run() {
        for (int rounds = 0; rounds < 12 && !on_.over(); ++rounds) {
            std::vector<child> contenders;
            for (std::size_t i = 0; i < 2; ++i) contenders.push_back(start(i));
            const auto contend = [&](bool) {
                if (!enter(here_, me_)) ::sched_yield();
            };
            for (const auto& proof : on_.outlive(contenders, contend)) dead_.push_back(proof);
            if (on_.random().one_in(2)) take_over();
        }
        take_over();
        require(enter(here_, me_), "a role that nobody has: expected to be had, found busy");
    }

private:
    [[nodiscard]] guarded& in(const shm::memfd_region& bytes) const { return *bytes.region().get<guarded>().value(); }

    [[nodiscard]] const shm::proof_of_death* proof_of(std::uint64_t holder) const {
        for (const auto& each : dead_)
            if (each.peer().word() == holder) return &each;
        return nullptr;
    }

    /// Once in and out, if nobody else is in.
    [[nodiscard]] bool enter(guarded& place, shm::peer_id me) const {
        auto held = role::claim(place.word, me, "role");
        if (!held) {
            const auto* const dead = proof_of(held.error().found);
            if (dead == nullptr) return false;
            held = role::take_over(place.word, me, *dead, "role");
            if (!held) return false;
        }
        const std::uint64_t before = place.inside.exchange(me.word());
        require(before == 0 || proof_of(before) != nullptr, "a role: expected one holder, found a second, process " +
                                                                std::to_string(shm::peer_id::from_word(before).id));
        require(place.inside.exchange(0) == me.word(), "a role: expected to be held alone, found another in it");
        return true;
    }

    [[nodiscard]] child start(std::size_t i) {
        return on_.start(all_[i], on_.draw(16), [this](dice&) {
            const auto bytes = memory_.attach();
            const auto me = shm::this_process().value();
            for (;;)
                if (!enter(in(bytes), me)) ::sched_yield();
        });
    }

    /// All are dead but this process.
    void take_over() const {
        const std::uint64_t holder = here_.word.load(std::memory_order_relaxed);
        if (holder == 0) return;
        const auto* const dead = proof_of(holder);
        require(dead != nullptr, "a role: expected a dead one's or nobody's, found that of process " +
                                     std::to_string(shm::peer_id::from_word(holder).id));
        const auto taken = role::take_over(here_.word, me_, *dead, "role");
        require(taken.has_value(), "the role of a dead one: expected to be taken over, found it refused");
        const auto again = role::take_over(here_.word, me_, *dead, "role");
        require(!again && again.error().what == shm::fault_kind::not_holder,
                "a role taken over: expected not_holder for a second time, found it taken twice");
    }

    trial& on_;
    const diaries& all_;
    const shm::peer_id me_ = shm::this_process().value();
    const shared_memory memory_{sizeof(guarded)};
    const shm::memfd_region bytes_ = memory_.attach();
    guarded& here_ = in(bytes_);
    std::vector<shm::proof_of_death> dead_;
};

}  // namespace

void try_roles(trial& on) {
    const diaries all;
    while (!on.over()) role_world{on, all}.run();
}

}  // namespace kill_test
