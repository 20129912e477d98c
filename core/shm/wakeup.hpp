// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <utility>

#include <shm/adaptive_spin.hpp>
#include <shm/doorbell.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// What rings and is waited for. A doorbell is one; a model has its own.
template <class Bell>
concept wakeup_bell = requires(Bell& bell, deadline until) {
    { bell.signal() } -> std::same_as<result<signal_result>>;
    { bell.wait(until) } -> std::same_as<result<wait_result>>;
};

/// What became of a notification. `nobody_asleep`: no bell was needed, and no system call made.
enum class notify_result : std::uint8_t { nobody_asleep, rung, peer_dead };

/// Why a wait is over. `peer_dead`: nothing is ready, and nothing more will come.
enum class wakeup_result : std::uint8_t { ready, timed_out, peer_dead };

/// One side of two that sleep until the other has something for them, and ring only for who sleeps. Move-only.
///
///     ring.try_push(item);                              // publish, whatever it is: an item, or room for one,
///     (void)wake.notify().value();                      // then say so
///
///     (void)wake.wait([&] { return !ring.is_empty(); }, shm::deadline::max()).value();
///
/// Promise    who waits for what the other side has published before a `notify` does not sleep on: he sees it, or is rung.
///            Nobody who is awake is rung, but for one who has just woken up. A peer's death is told after all that it
///            has published
/// Progress   `notify`: one exchange, and a system call that does not wait if the peer sleeps. `wait` spins for a while,
///            then sleeps until it is ready, its deadline or the peer's death; a peer that rings for nothing cannot keep it
///            longer
/// Callers    notify: any thread. wait, announce, awake: one thread of a side at a time
/// Shape      two 32-bit words in shared memory, one for each side: 1 while it sleeps or is about to, else 0. They lie on
///            lines of their own, apart from what is published
/// Edges      [look]  a side's word, from notify to announce:  what was published before, for the look that follows
///            All writes of a word are exchanges: a store, by `awake` or for a bell that was refused, would cut the edge off
/// Refuses    wait: `wrong_process`. wait, notify: what the bell refuses; whoever notifies next then rings again
/// Fork       `wait` in a forked child is refused, and `notify` where it would ring. `announce` and `awake` do not look: a
///            copy's would end the sleep of the parent's
/// Crash      the word of a side that died asleep costs its peer one bell, which nobody hears; so does that of its successor
/// Trust      crash-prone. A hostile peer can write both words and ring as it likes: this side is woken for nothing, or only
///            by its deadline
/// Source     the announce, look again, sleep of event counts (Vyukov) and of thread parkers, for two sides. There two seq_cst
///            fences see to it that a side's look or the other side's misses nothing; here both sides exchange one word. Of
///            two read-modify-writes of a word one comes first, and the second reads it: either the announcement finds
///            the notification, and the look after it what was published, or the notification finds the
///            announcement and rings. No fence, no seq_cst, and ThreadSanitizer understands it. A load in front of
///            notify's exchange, to save it, would miss the announcement:
///
///                publishes                    sleeps
///                loads awake, rings not
///                                             announces, looks: nothing yet
///                the publication arrives
///                                             sleeps for ever
template <wakeup_bell Bell = doorbell, atomics_layer Atomics = std_atomics>
class wakeup {
    using enum std::memory_order;

public:
    using word = typename Atomics::template atomic<std::uint32_t>;  ///< what a side shares; zeroed it is awake

    /// About what it costs to wake somebody.
    static constexpr std::chrono::microseconds longest_spin{20};

    /// The side whose word is `own`. Both words outlive it. A spin of 0 sleeps at once.
    wakeup(word& own, word& of_peer, Bell bell, std::chrono::nanoseconds spin = longest_spin) noexcept
        : own_{&own}, of_peer_{&of_peer}, bell_{std::move(bell)}, spin_{spin}, process_{::getpid()} {}

    /// To be called after each publication. Rings if the peer sleeps.
    [[nodiscard]] result<notify_result> notify() noexcept {
        if (of_peer_->exchange(is_awake, release) != is_asleep) return notify_result::nobody_asleep;  // [look]
        const auto rang = bell_.signal();
        if (!rang) {
            of_peer_->exchange(is_asleep, relaxed);  // he has not been rung: the next notification will
            return rang.error();
        }
        return *rang == signal_result::peer_dead ? notify_result::peer_dead : notify_result::rung;
    }

    /// Waits until `ready`, a look at what the peer publishes that does not throw, says true. The default looks once.
    template <std::predicate Ready>
    [[nodiscard]] result<wakeup_result> wait(Ready ready, deadline until = {}) noexcept {
        if (until == deadline{}) return ready() ? wakeup_result::ready : wakeup_result::timed_out;
        const auto start = deadline::clock::now();
        if (spin_.look(ready, until)) return wakeup_result::ready;
        const auto outcome = sleep(ready, until);
        spin_.waited(deadline::clock::now() - start);
        return outcome;
    }

    /// For an event loop of the caller's, which sleeps on the bell's descriptor instead of in `wait`: says that this side
    /// is about to sleep, and looks. False: it is ready, awake, and must not sleep. True: the next notification rings.
    template <std::predicate Ready>
    [[nodiscard]] bool announce(Ready ready) noexcept {
        own_->exchange(is_asleep, acquire);  // [look]
        if (!ready()) return true;
        awake();
        return false;
    }

    /// The end of that sleep, before the bell is drained.
    void awake() noexcept {
        own_->exchange(is_awake, relaxed);  // no store: that would take notify's place in [look]
    }

    /// The bell, for its descriptor.
    [[nodiscard]] Bell& bell() noexcept { return bell_; }

private:
    enum : std::uint32_t { is_awake = 0, is_asleep = 1 };

    template <class Ready>
    [[nodiscard]] result<wakeup_result> sleep(Ready& ready, deadline until) noexcept {
        if (const pid_t here = ::getpid(); here != process_)  // a copy's announcement would end the parent's
            return fault{fault_kind::wrong_process, static_cast<std::uint64_t>(process_),
                         static_cast<std::uint64_t>(here), "wakeup"};
        for (;;) {
            if (!announce(ready)) return wakeup_result::ready;
            const auto why = bell_.wait(until);
            awake();
            if (!why) return why.error();
            if (ready()) return wakeup_result::ready;
            if (*why == wait_result::peer_dead) return wakeup_result::peer_dead;
            if (*why == wait_result::timed_out) return wakeup_result::timed_out;
            // A bell of an earlier sleep, or for nothing.
            if (until != deadline::max() && deadline::clock::now() >= until) return wakeup_result::timed_out;
        }
    }

    word* own_;
    word* of_peer_;
    Bell bell_;
    adaptive_spin spin_;
    pid_t process_;  // whose it is
};

}  // namespace v1
}  // namespace shm
