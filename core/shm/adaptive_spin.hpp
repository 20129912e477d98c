// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <algorithm>
#include <chrono>

#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// How long it pays to look again and again before sleeping: about as long as a wake-up costs. Who spins that long and
/// then sleeps waits at most twice as long as one who had known what was best (Karlin, Manasse, McGeoch, Owicki,
/// *Competitive Randomized Algorithms for Nonuniform Problems*, 1990). A wait that was over within two spins, one of them the
/// cost of its wake-up, would have been over in one: then the next spin is as long as it may be. A longer wait halves it.
/// It does not yield: on a busy machine that can cost milliseconds, and to sleep, which gives the core to whoever we wait
/// for, comes soon enough.
class adaptive_spin {
public:
    using duration = std::chrono::nanoseconds;  ///< of the monotonic clock

    /// At most so long; 0 is one look.
    explicit adaptive_spin(duration longest) noexcept : longest_{longest}, now_{longest} {}

    /// Looks until `ready` or the time is up. Returns what the last look said.
    template <class Ready>
    [[nodiscard]] bool look(Ready&& ready, deadline until) noexcept {
        if (ready()) return true;
        if (now_ == duration{}) return false;
        const auto start = clock::now();
        const auto enough = std::min(start + now_, until);
        while (clock::now() < enough) {
            for (int look = 0; look < looks_per_time; ++look) {
                std_atomics::pause();
                if (ready()) return true;
            }
        }
        return false;
    }

    /// Tells how long the last wait was in all: the spin and the sleep.
    void waited(duration whole) noexcept { now_ = whole < 2 * longest_ ? longest_ : std::max(now_ / 2, longest_ / 16); }

    /// How long the next spin is at most.
    [[nodiscard]] duration length() const noexcept { return now_; }

private:
    using clock = deadline::clock;
    static constexpr int looks_per_time = 64;
    duration longest_;
    duration now_;
};

}  // namespace v1
}  // namespace shm
