// SPDX-License-Identifier: MIT OR Apache-2.0
// What it costs to wake the other side, and to notify it when it is awake, beside what the kernel offers.
//
// Items are numbers. The sender publishes one and rings; the receiver takes it, notes when, and acknowledges. The sender
// then spins for a while, during which the receiver falls asleep. A wake-up takes from before the publication until the
// receiver has it; the clock is the same on all CPUs.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include <shm/wakeup.hpp>

#include "bench/contest.hpp"

namespace {

using namespace std::chrono_literals;
using std::uint64_t;

constexpr auto line_bytes = 2 * shm::cache_line_bytes;

/// What both sides see.
struct shared_words {
    alignas(line_bytes) std::atomic<uint64_t> published{0};
    alignas(line_bytes) std::atomic<uint64_t> taken{0};
    bench::clock::time_point taken_at{};  // by the time that `taken` says so
    std::atomic<bool> last{false};        // the next item is
    alignas(line_bytes) std::array<shm::wakeup<>::word, 2> sleeping{};
    alignas(line_bytes) std::atomic<std::uint32_t> futex{0};
};

/// The descriptors of the run that is going on: sender's, receiver's.
std::array<shm::unique_fd, 2>& ends() {
    static std::array<shm::unique_fd, 2> open;
    return open;
}

void take_ends(int sender, int receiver) { ends() = {shm::unique_fd{sender}, shm::unique_fd{receiver}}; }

/// A bell is used by the process that made it of the descriptor.
shm::doorbell bell_of(std::size_t side) { return shm::doorbell::from_raw_fd(dup(ends()[side].get())).value(); }

void fail_unless(bool done, bench::run& shared, const char* what) {
    if (!done) shared.fail(fmt::format("{}: expected success, found errno {}", what, errno));
}

// Each contestant: make(words) once, then a sender that rings after it has published, and a receiver that waits for an
// item as it does who may sleep (`sleep`), or as who stays awake (`poll`).

template <int SpinMicroseconds>
struct ours {
    static constexpr std::string_view name = SpinMicroseconds == 0 ? "shm::wakeup, no spin" : "shm::wakeup";
    static constexpr std::string_view calls = "notify, wait";
    static void make(shared_words&) {
        auto made = shm::doorbell::create_pair().value();
        take_ends(dup(made.first.fd()), std::move(made.second).release().release_fd());
    }
    struct side {
        side(shared_words& words, bench::run&, std::size_t which)
            : wake{words.sleeping[which], words.sleeping[1 - which], bell_of(which),
                   std::chrono::microseconds{SpinMicroseconds}} {}
        void ring() { (void)wake.notify().value(); }
        void sleep(const auto& there) { (void)wake.wait(there, shm::deadline::max()).value(); }
        void poll(const auto& there) {
            while (!there()) shm::std_atomics::pause();
        }
        shm::wakeup<> wake;
    };
};

struct bare_bell : ours<0> {
    static constexpr std::string_view name = "shm::doorbell";
    static constexpr std::string_view calls = "signal, wait";
    struct side {
        side(shared_words&, bench::run&, std::size_t which) : bell{bell_of(which)} {}
        void ring() { (void)bell.signal().value(); }
        void sleep(const auto& there) {
            while (!there()) (void)bell.wait(shm::deadline::max()).value();
        }
        void poll(const auto& there) {
            while (!there()) (void)bell.drain().value();
        }
        shm::doorbell bell;
    };
};

/// A word that both sides know; the kernel is called at each notification, whether somebody sleeps or not.
struct futex {
    static constexpr std::string_view name = "futex, shared";
    static constexpr std::string_view calls = "FUTEX_WAKE, FUTEX_WAIT";
    static void make(shared_words&) { take_ends(-1, -1); }
    struct side {
        side(shared_words& shared, bench::run&, std::size_t) : words{shared} {}
        void ring() {
            words.futex.fetch_add(1, std::memory_order_release);
            syscall(SYS_futex, &words.futex, FUTEX_WAKE, 1, nullptr, nullptr, 0);
        }
        void sleep(const auto& there) {
            for (;;) {
                const auto seen = words.futex.load(std::memory_order_acquire);
                if (there()) return;
                syscall(SYS_futex, &words.futex, FUTEX_WAIT, seen, nullptr, nullptr, 0);
            }
        }
        void poll(const auto& there) {
            while (!there()) shm::std_atomics::pause();
        }
        shared_words& words;
    };
};

/// A descriptor that is written by one side and read by the other.
template <class Kind>
struct descriptors {
    static constexpr std::string_view name = Kind::name;
    static constexpr std::string_view calls = "write, read";
    static void make(shared_words&) { Kind::open(); }
    struct side {
        side(shared_words&, bench::run& run, std::size_t which) : shared{run}, fd{ends()[which].get()} {}
        void ring() {
            const uint64_t one = 1;
            fail_unless(write(fd, &one, Kind::bytes) == static_cast<ssize_t>(Kind::bytes), shared, "write");
        }
        void sleep(const auto& there) {
            while (!there()) take();
        }
        void poll(const auto& there) {
            if (!nonblocking) (void)shm::set_nonblocking(fd).value();
            nonblocking = true;
            while (!there()) take();
        }
        void take() const {
            std::array<char, 512> buffer;
            (void)!read(fd, buffer.data(), buffer.size());
        }
        bench::run& shared;
        int fd;
        bool nonblocking = false;
    };
};

struct eventfd_kind {
    static constexpr std::string_view name = "eventfd";
    static constexpr std::size_t bytes = sizeof(uint64_t);
    static void open() {
        const int fd = eventfd(0, EFD_CLOEXEC);
        take_ends(fd, dup(fd));
    }
};
struct pipe_kind {
    static constexpr std::string_view name = "pipe";
    static constexpr std::size_t bytes = 1;
    static void open() {
        std::array<int, 2> made{-1, -1};
        (void)!pipe2(made.data(), O_CLOEXEC);
        take_ends(made[1], made[0]);
    }
};
struct socket_kind {
    static constexpr std::string_view name = "socket pair";
    static constexpr std::size_t bytes = 1;
    static void open() {
        std::array<int, 2> made{-1, -1};
        (void)!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, made.data());
        take_ends(made[0], made[1]);
    }
};

/// Keeps the time of each wake-up, but for the first ones; decides when it is enough.
class log {
public:
    log(bench::run& shared, uint64_t items_each) : shared_{shared}, items_each_{items_each} {}

    /// After `taken` items in all, of which the last `items_each` took so long. Says whether to go on.
    [[nodiscard]] bool add(bench::clock::duration took, uint64_t taken) {
        const auto now = bench::clock::now();
        shared_.elements = taken;
        if (++seen_ <= not_kept) return started_ = now, true;
        seconds_.push_back(std::chrono::duration<double>(std::max<bench::clock::duration>(took, 1ns)).count() /
                           static_cast<double>(items_each_));
        if (now - started_ < shared_.duration) return true;
        shared_.seconds_each = bench::median(seconds_);
        const auto slow = seconds_.begin() + static_cast<std::ptrdiff_t>((seconds_.size() * 95 + 99) / 100 - 1);
        std::nth_element(seconds_.begin(), slow, seconds_.end());
        shared_.slow_seconds_each = *slow;
        return false;
    }

private:
    static constexpr int not_kept = 16;
    bench::run& shared_;
    uint64_t items_each_;
    int seen_ = 0;
    bench::clock::time_point started_;
    std::vector<double> seconds_;
};

/// One side's loops. AsleepMicroseconds is how long the receiver has been waiting when it is rung; negative: it polls.
/// ItemsEach is how many items are sent before the sender waits for the receiver.
template <class Who, int AsleepMicroseconds, uint64_t ItemsEach, bool OfTheSender>
struct course {
    static shared_words& in(shm::region bytes) { return *reinterpret_cast<shared_words*>(bytes.data()); }
    static void make(shm::region bytes) { Who::make(*new (bytes.data()) shared_words); }

    static void first(shm::region bytes, bench::run& shared) {
        shared_words& words = in(bytes);
        typename Who::side me{words, shared, 1};
        shared.meet();
        for (uint64_t item = ItemsEach;; item += ItemsEach) {
            const auto there = [&] { return words.published.load(std::memory_order_acquire) >= item; };
            if constexpr (AsleepMicroseconds < 0)
                me.poll(there);
            else
                me.sleep(there);
            words.taken_at = bench::clock::now();
            if (const auto found = words.published.load(std::memory_order_relaxed); found != item)
                shared.fail(fmt::format("item: expected number {}, found {}", item, found));
            const bool last = words.last.load(std::memory_order_relaxed);
            words.taken.store(item, std::memory_order_release);
            if (last) return;
        }
    }

    static void second(shm::region bytes, bench::run& shared) {
        shared_words& words = in(bytes);
        typename Who::side me{words, shared, 0};
        log times{shared, ItemsEach};
        shared.meet();
        for (uint64_t item = 0;;) {
            const auto waits_until = bench::clock::now() + std::chrono::microseconds{std::max(AsleepMicroseconds, 1)};
            while (bench::clock::now() < waits_until) shm::std_atomics::pause();
            const auto begins = bench::clock::now();
            for (uint64_t i = 0; i < ItemsEach; ++i) {
                words.published.store(++item, std::memory_order_release);
                me.ring();
            }
            const auto rung = bench::clock::now();
            while (words.taken.load(std::memory_order_acquire) != item) shm::std_atomics::pause();
            if (words.last.load(std::memory_order_relaxed)) return;
            if (!times.add((OfTheSender ? rung : words.taken_at) - begins, item)) words.last = true;
        }
    }
};

template <class Who, int AsleepMicroseconds, uint64_t ItemsEach, bool OfTheSender>
bench::contestant driven() {
    using way = course<Who, AsleepMicroseconds, ItemsEach, OfTheSender>;
    return {Who::name, Who::calls, {}, 0, sizeof(shared_words), &way::make, &way::first, &way::second};
}

template <int AsleepMicroseconds, uint64_t ItemsEach = 1, bool OfTheSender = false>
std::vector<bench::contestant> all() {
    const auto one = []<class Who>() { return driven<Who, AsleepMicroseconds, ItemsEach, OfTheSender>(); };
    return {
        one.template operator()<ours<20>>(),
        one.template operator()<ours<0>>(),
        one.template operator()<bare_bell>(),
        one.template operator()<descriptors<eventfd_kind>>(),
        one.template operator()<futex>(),
        one.template operator()<descriptors<pipe_kind>>(),
        one.template operator()<descriptors<socket_kind>>()
    };
}

using enum bench::sides;
using enum bench::unit;
constexpr auto one_each = "a chunk is one wake-up; two looks at the clock are part of it";

const bench::rows wakeup_rows{{
    {"bell, nobody asleep: the sender's time, processes", processes, nanoseconds, all<-1, 64, true>(),
     "a chunk is 64 notifications of a receiver that polls"},
    {"bell, nobody asleep: one way, processes", processes, nanoseconds, all<-1>(), one_each},
    {"bell, waiting for 5 us: one way, processes", processes, nanoseconds, all<5>(), one_each},
    {"bell, waiting for 50 us: one way, processes", processes, nanoseconds, all<50>(), one_each},
    {"bell, waiting for 1 ms: one way, processes", processes, nanoseconds, all<1000>(), one_each},
}};

}  // namespace
