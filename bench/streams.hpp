// SPDX-License-Identifier: MIT OR Apache-2.0
// The loops that drive every queue, the same for all. A queue takes part as a small adapter Q:
//
//     Q::value_type, Q::size_bytes, Q::name, Q::calls
//     Q::capacity                     how many elements it really holds
//     Q::make(bytes)                  once
//     Q::producer, Q::consumer        each made from the bytes by the side that uses it
//     Q::put(producer, next, most)    offers the elements from number `next` on; returns how many were taken, 0 if full
//     Q::take(consumer, check)        hands what it gets to `check`, in order; returns how many, 0 if empty
#pragma once
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <shm/std_atomics.hpp>

#include "bench/run.hpp"

namespace bench {

/// 64 bytes, of which every word tells which element it belongs to.
struct line {
    std::array<std::uint64_t, 8> words;
};

/// Element number `number`. None is zero, which some queues take for "no element".
template <class T>
[[nodiscard]] T element(std::uint64_t number) noexcept;
template <>
[[nodiscard]] inline std::uint64_t element<std::uint64_t>(std::uint64_t number) noexcept {
    return number + 1;
}
template <>
[[nodiscard]] inline line element<line>(std::uint64_t number) noexcept {
    line made;
    for (std::size_t i = 0; i < made.words.size(); ++i) made.words[i] = number + 1 + i;
    return made;
}

[[nodiscard]] inline std::uint64_t difference(std::uint64_t a, std::uint64_t b) noexcept { return a ^ b; }
[[nodiscard]] inline std::uint64_t difference(const line& a, const line& b) noexcept {
    std::uint64_t different = 0;
    for (std::size_t i = 0; i < a.words.size(); ++i) different |= a.words[i] ^ b.words[i];
    return different;
}

[[nodiscard]] inline std::string text(std::uint64_t value) { return fmt::format("{}", value); }
[[nodiscard]] inline std::string text(const line& value) { return fmt::format("{{{}}}", fmt::join(value.words, " ")); }

/// What a consumer does with an element beyond checking it.
struct no_work {
    void operator()(std::uint64_t) noexcept {}
};
/// A chain of multiplications, about 13 ns, that waits for the element before.
struct some_work {
    void operator()(std::uint64_t value) noexcept {
        for (int i = 0; i < 13; ++i) {
            hash = hash * 0x9e3779b97f4a7c15 + value;
            asm volatile("" : "+r"(hash));
        }
    }
    std::uint64_t hash = 1;
};

/// Every element has to be the next one, whole.
template <class T, class Work = no_work>
class checker {
public:
    explicit checker(run& shared) noexcept : shared_{&shared} {}

    void operator()(const T& found) noexcept {
        if (difference(found, element<T>(next_)) != 0) [[unlikely]]
            wrong(*shared_, next_, found);
        ++next_;
        if constexpr (!std::is_same_v<Work, no_work>) work_(found);
    }

    [[nodiscard]] std::uint64_t next() const noexcept { return next_; }

private:
    [[noreturn, gnu::cold, gnu::noinline]] static void wrong(run& shared, std::uint64_t number, T found) noexcept {
        shared.fail(fmt::format("element {}: expected {}, found {}", number, text(element<T>(number)), text(found)));
    }

    run* shared_;
    std::uint64_t next_ = 0;
    [[no_unique_address]] Work work_;
};

/// Waits after a failed attempt, the same for everyone.
struct pauses {
    static void once() noexcept { shm::std_atomics::pause(); }
};
/// For sides that may have to share a CPU. No branch chooses it at run time: that would be measured, too.
struct yields {
    static void once() noexcept { sched_yield(); }
};

/// As many elements as one side can send and the other receive.
template <class Q, class Work = no_work, class Wait = pauses>
struct stream {
    static constexpr std::size_t size_bytes = Q::size_bytes;
    static void make(shm::region bytes) { Q::make(bytes); }

    static void first(shm::region bytes, run& shared) {
        typename Q::producer end{bytes};
        shared.meet();
        for (std::uint64_t next = 0, until = 0;
             until = std::min(next + 256, shared.limit.load(std::memory_order_relaxed)), next < until;)
            while (next < until)
                if (const std::size_t count = Q::put(end, next, static_cast<std::size_t>(until - next)))
                    next += count;
                else
                    Wait::once();
    }

    static void second(shm::region bytes, run& shared) {
        typename Q::consumer end{bytes};
        checker<typename Q::value_type, Work> check{shared};
        const auto receive = [&](std::uint64_t until) {
            while (check.next() < until)
                if (Q::take(end, check) == 0) Wait::once();
        };
        shared.meet();
        stopwatch watch{shared, 2 * Q::capacity};
        while (const std::uint64_t size = watch.next_chunk(check.next())) receive(check.next() + size);

        // The sender cannot have come that far yet; so it will send exactly so many, and all of them have to arrive.
        const std::uint64_t limit = check.next() + 4 * Q::capacity + 4096;
        shared.limit = limit;
        receive(limit);
        shared.elements = limit;
    }
};

/// One element there and one back, over two queues, as a request and its answer.
template <class Q, class Wait = pauses>
struct round_trip {
    static constexpr std::size_t back_at = (Q::size_bytes + 127) / 128 * 128;
    static constexpr std::size_t size_bytes = back_at + Q::size_bytes;
    static shm::region there(shm::region bytes) { return bytes.subregion(0, Q::size_bytes).value(); }
    static shm::region back(shm::region bytes) { return bytes.subregion(back_at, Q::size_bytes).value(); }
    static void make(shm::region bytes) {
        Q::make(there(bytes));
        Q::make(back(bytes));
    }

    static void first(shm::region bytes, run& shared) {
        typename Q::consumer requests{there(bytes)};
        typename Q::producer answers{back(bytes)};
        checker<typename Q::value_type> check{shared};
        shared.meet();
        while (check.next() < shared.limit.load(std::memory_order_relaxed)) {
            while (Q::take(requests, check) == 0) Wait::once();
            while (Q::put(answers, check.next() - 1, 1) == 0) Wait::once();
        }
    }

    static void second(shm::region bytes, run& shared) {
        typename Q::producer requests{there(bytes)};
        typename Q::consumer answers{back(bytes)};
        checker<typename Q::value_type> check{shared};
        const auto trips = [&](std::uint64_t until) {
            while (check.next() < until) {
                while (Q::put(requests, check.next(), 1) == 0) Wait::once();
                while (Q::take(answers, check) == 0) Wait::once();
            }
        };
        shared.meet();
        stopwatch watch{shared, 2 * Q::capacity};
        while (const std::uint64_t size = watch.next_chunk(check.next())) trips(check.next() + size);
        shared.limit = check.next() + 1;  // the other side sees it at the latest with the last request
        trips(check.next() + 1);
        shared.elements = check.next();
    }
};

/// No queue: a word on a line of its own, written by one side and read by the other. Its round trip is twice the time in
/// which a line travels.
struct bare_word {
    using value_type = std::uint64_t;
    static constexpr std::string_view name = "no queue";
    static constexpr std::string_view calls = "a word each way";
    static constexpr std::size_t capacity = 0;
    static constexpr std::size_t size_bytes = 2 * shm::cache_line_bytes;
    static void make(shm::region) {}

    struct end {
        explicit end(shm::region bytes) : word{*reinterpret_cast<std::atomic<std::uint64_t>*>(bytes.data())} {}
        std::atomic<std::uint64_t>& word;
    };
    using producer = end;
    using consumer = end;
    static std::size_t put(end& to, std::uint64_t next, std::size_t) {
        to.word.store(element<value_type>(next), std::memory_order_release);
        return 1;
    }
    static std::size_t take(end& from, auto& check) {
        if (from.word.load(std::memory_order_acquire) != element<value_type>(check.next())) return 0;
        check(element<value_type>(check.next()));
        return 1;
    }
};

/// No queue either: what the receiving side can do alone.
template <class T>
struct nothing {
    using value_type = T;
    static constexpr std::string_view name = "no queue";
    static constexpr std::string_view calls = "the work alone";
    static constexpr std::size_t capacity = 0;
    static constexpr std::size_t size_bytes = 1;
    static void make(shm::region) {}

    struct producer {
        explicit producer(shm::region) {}
    };
    using consumer = producer;
    static std::size_t put(producer&, std::uint64_t, std::size_t most) { return most; }
    static std::size_t take(consumer&, auto& check) {
        check(element<value_type>(check.next()));
        return 1;
    }
};

/// Takes part in a row, driven by Course (a stream, a round trip).
template <class Q, class Course>
[[nodiscard]] contestant driven_by() {
    return {Q::name, Q::calls, {}, Q::capacity, Course::size_bytes, &Course::make, &Course::first, &Course::second};
}

/// Does not take part, for this reason.
[[nodiscard]] inline contestant absent(std::string_view name, std::string_view reason) { return {name, {}, reason}; }

}  // namespace bench
