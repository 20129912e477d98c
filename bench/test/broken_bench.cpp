// SPDX-License-Identifier: MIT OR Apache-2.0
// Contestants that the bench has to catch, beside one that is right.
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <shm/proof_of_death.hpp>
#include <shm/spsc_ring.hpp>

#include "bench/contest.hpp"
#include "bench/streams.hpp"

namespace {

using bench::element;

constexpr std::uint64_t when = 1000;  // the element with which it goes wrong

template <class T>
struct right {
    using value_type = T;
    using ring = shm::spsc_ring<T>;
    static constexpr std::string_view name = "right";
    static constexpr std::string_view calls = "try_push, try_pop";
    static constexpr std::size_t capacity = 64;
    static constexpr std::size_t size_bytes = ring::required_size(capacity);
    static void make(shm::region bytes) { (void)ring::create(bytes, capacity).value(); }

    struct producer : ring::producer {
        explicit producer(shm::region bytes)
            : ring::producer{ring::attach(bytes).value().claim_producer(shm::this_process().value()).value()} {}
    };
    struct consumer : ring::consumer {
        explicit consumer(shm::region bytes)
            : ring::consumer{ring::attach(bytes).value().claim_consumer(shm::this_process().value()).value()} {}
    };
    static std::size_t push(producer& to, const T& value) {
        return to.try_push(value) == shm::push_result::pushed ? 1 : 0;
    }
    static std::size_t put(producer& to, std::uint64_t next, std::size_t) { return push(to, element<T>(next)); }
    static std::size_t take(consumer& from, auto& check) {
        const auto value = from.try_pop();
        if (!value) return 0;
        check(*value);
        return 1;
    }
};
using right_word = right<std::uint64_t>;

struct drops : right_word {
    static constexpr std::string_view name = "drops";
    static std::size_t put(producer& to, std::uint64_t next, std::size_t) {
        return next == when ? 1 : push(to, element<value_type>(next));
    }
};

struct repeats : right_word {
    static constexpr std::string_view name = "repeats";
    static std::size_t put(producer& to, std::uint64_t next, std::size_t) {
        return push(to, element<value_type>(next < when ? next : next - 1));
    }
};

struct tears : right<bench::line> {
    static constexpr std::string_view name = "tears";
    static std::size_t put(producer& to, std::uint64_t next, std::size_t) {
        auto value = element<bench::line>(next);
        if (next == when) value.words.back() = element<bench::line>(next - 1).words.back();
        return push(to, value);
    }
};

struct hangs : right_word {
    static constexpr std::string_view name = "hangs";
    static std::size_t put(producer& to, std::uint64_t next, std::size_t) {
        return next >= when ? 0 : push(to, element<value_type>(next));
    }
};

struct dies : right_word {
    static constexpr std::string_view name = "dies";
    static std::size_t put(producer& to, std::uint64_t next, std::size_t) {
        if (next == when) std::raise(SIGKILL);
        return push(to, element<value_type>(next));
    }
};

// The answers are lost: only a round trip shows it, and within the first two laps, which no time can cut short.
struct loses_answers : right_word {
    static constexpr std::string_view name = "loses answers";
    static std::size_t put(producer& to, std::uint64_t next, std::size_t most) {
        return most == 1 && next == when / 10 ? push(to, element<value_type>(next + 1))
                                              : push(to, element<value_type>(next));
    }
};

template <class Q, template <class> class Course>
std::vector<bench::contestant> beside_a_right_one() {
    using fair = right<typename Q::value_type>;
    return {bench::driven_by<fair, Course<fair>>(), bench::driven_by<Q, Course<Q>>(),
            bench::absent("absent", "too late")};
}

using enum bench::sides;
using bench::unit;

template <class Q>
using stream = bench::stream<Q, bench::no_work, bench::yields>;
template <class Q>
using trip = bench::round_trip<Q, bench::yields>;

const bench::rows broken_rows{{
    {"drops, threads", threads, unit::million_per_second, beside_a_right_one<drops, stream>()},
    {"drops, processes", processes, unit::million_per_second, beside_a_right_one<drops, stream>()},
    {"repeats, threads", threads, unit::million_per_second, beside_a_right_one<repeats, stream>()},
    {"tears, processes", processes, unit::million_per_second, beside_a_right_one<tears, stream>()},
    {"hangs, threads", threads, unit::million_per_second, beside_a_right_one<hangs, stream>()},
    {"hangs, processes", processes, unit::million_per_second, beside_a_right_one<hangs, stream>()},
    {"dies, threads", threads, unit::million_per_second, beside_a_right_one<dies, stream>()},
    {"dies, processes", processes, unit::million_per_second, beside_a_right_one<dies, stream>()},
    {"wrong answer, threads", threads, unit::nanoseconds, beside_a_right_one<loses_answers, trip>()},
    {"right, threads", threads, unit::million_per_second, beside_a_right_one<right_word, stream>()},
    {"right, processes", processes, unit::nanoseconds, beside_a_right_one<right_word, trip>()},
}};

}  // namespace
