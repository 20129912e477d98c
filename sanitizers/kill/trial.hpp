// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What each primitive is tried with: children that kill or stop themselves, and the book of where they did.
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <shm/memfd_region.hpp>
#include <shm/proof_of_death.hpp>

#include "sanitizers/kill/mortal_atomics.hpp"
#include "testkit/child_process.hpp"
#include "testkit/shared_page.hpp"

namespace kill_test {

/// What is wrong, in a sentence with what was expected and what was found.
struct finding : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void require(bool right, const std::string& otherwise);

/// The same number from the same seed, on every machine.
class dice {
public:
    explicit dice(std::uint64_t seed) : engine_{seed} {}
    [[nodiscard]] std::uint64_t below(std::uint64_t end) { return engine_() % end; }
    [[nodiscard]] bool one_in(std::uint64_t n) { return below(n) == 0; }
    [[nodiscard]] std::uint64_t number() { return engine_(); }

private:
    std::mt19937_64 engine_;
};

/// What a child leaves behind: it lies in memory that it shares with its parent.
struct diary {
    std::atomic<std::uint64_t> self{0};   // peer_id::word()
    std::atomic<std::uint64_t> done{0};   // how far the calls that have returned have come
    std::atomic<std::uint64_t> doing{0};  // how much further the call goes that has not
    std::atomic<std::uint64_t> again{0};  // how often what was in work has been done again
    std::source_location end;             // where it died or stopped last
    std::array<char, 300> complaint{};
};

struct diaries : shared_page<std::array<diary, 4>> {
    [[nodiscard]] diary& operator[](std::size_t i) const { return (**this).at(i); }
};

/// Sealed memory, to which every process attaches by itself.
class shared_memory {
public:
    explicit shared_memory(std::size_t size_bytes);
    [[nodiscard]] shm::memfd_region attach() const;

private:
    shm::memfd_region made_;
};

/// How a child is to end.
struct fate {
    std::uint64_t operations = life::for_ever;
    bool at_rare_site = false;  // at the first site where few have died yet, if that comes earlier
    int signal = SIGKILL;
    std::uint64_t more = life::for_ever;  // after a stop; for ever: it is killed while it is stopped
};

/// What happened to one primitive.
struct tally {
    std::string name;
    std::map<site, std::uint64_t> deaths;  // by where, stops not included
    std::uint64_t kills = 0;
    std::uint64_t stops = 0;
    std::uint64_t recoverers_killed = 0;
    std::uint64_t creators_killed = 0;
    std::uint64_t slots_reclaimed = 0;
    std::uint64_t redelivered = 0;
    double seconds = 0;
};

class trial;

/// A process of ours. Killed and buried at the end, if not before.
class child {
public:
    enum class now : std::uint8_t { runs, is_stopped, is_dead };

    /// What has become of it; `wait`: once it has died or stopped.
    [[nodiscard]] now look(bool wait = false) const;
    [[nodiscard]] shm::peer_id peer() const noexcept { return shm::peer_id::from_word(mine_->self.load()); }
    [[nodiscard]] diary& tells() const noexcept { return *mine_; }

    /// Lets a stopped one go on or kills it, as was chosen.
    void end_stop() const;

    /// Of a dead one: the proof, by reaping it. Notes where it died. One that has not died as it was to is a finding, but for
    /// one that came to its end, if it `may_end`.
    [[nodiscard]] shm::proof_of_death bury(bool may_end = false);

    /// Whether it was killed, and did not come to its end. After `bury`.
    [[nodiscard]] bool was_killed() const noexcept { return killed_; }

private:
    friend class trial;
    child(trial& of, child_process process, diary& mine, const fate& chosen)
        : of_{&of}, process_{std::move(process)}, mine_{&mine}, chosen_{chosen} {}
    trial* of_;
    child_process process_;
    diary* mine_;
    fate chosen_;
    bool killed_ = false;
};

/// The trial of one primitive.
class trial {
public:
    trial(std::string name, std::uint64_t seed, std::uint64_t kills, std::function<void(const tally&)> tell);

    [[nodiscard]] dice& random() noexcept { return random_; }
    [[nodiscard]] tally& counts() noexcept { return counts_; }
    [[nodiscard]] bool over() const noexcept { return counts_.kills >= wanted_; }

    /// A fate: a death within so many operations or, one in so many times, at a rare site if that comes earlier; and now and
    /// then a stop before it.
    [[nodiscard]] fate draw(std::uint64_t operations, std::uint64_t one_in_rare = 3);

    /// Runs `work(dice&)` in a process that ends as chosen. What it throws is a finding of `bury`.
    template <class Work>
    [[nodiscard]] child start(diary& mine, const fate& chosen, Work work) {
        return launch(mine, chosen, [&](std::uint64_t seed) {
            dice own{seed};
            work(own);
        });
    }

    /// Until all are dead: `meanwhile(stopped)` is called some times, with whether some child is stopped then. Then it waits:
    /// no child needs another's help to come to its end.
    template <class Meanwhile>
    [[nodiscard]] std::vector<shm::proof_of_death> outlive(std::vector<child>& children, Meanwhile meanwhile,
                                                           bool may_end = false) {
        std::vector<shm::proof_of_death> proofs;
        std::vector<bool> buried(children.size(), false);
        for (int rounds = 0; proofs.size() < children.size(); ++rounds) {
            const bool wait = rounds >= 100;
            if (!wait) meanwhile(false);
            for (std::size_t i = 0; i < children.size(); ++i) {
                if (buried[i]) continue;
                switch (children[i].look(wait)) {
                    case child::now::runs: break;
                    case child::now::is_stopped:
                        stopped(children[i]);
                        for (int more = 0; more < 20; ++more) meanwhile(true);
                        children[i].end_stop();
                        break;
                    case child::now::is_dead: proofs.push_back(children[i].bury(may_end)); buried[i] = true;
                }
            }
        }
        return proofs;
    }

    /// Notes a death.
    void note(const diary& of);

private:
    [[nodiscard]] child launch(diary& mine, const fate& chosen, const std::function<void(std::uint64_t)>& work);
    void stopped(const child& who);

    tally counts_;
    std::uint64_t wanted_;
    dice random_;
    std::set<site> common_;  // sites at which more than a few have died
    std::function<void(const tally&)> tell_;
};

/// The primitives. Each tries one until its trial is over, and throws what it finds.
struct primitive {
    const char* name;
    std::vector<const char*> headers;  // in which each operation is to be a point of death
    void (*run)(trial&);
};
void try_roles(trial&);
void try_spsc_ring(trial&);
void try_bip_buffer(trial&);
void try_treiber_slab(trial&);
void try_var_slot_pool(trial&);
void try_segment(trial&);
void try_channel(trial&);

}  // namespace kill_test
