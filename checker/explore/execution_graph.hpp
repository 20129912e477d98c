// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// An execution as a graph: the events of each thread in program order, which write each read reads from, and the order of
// the writes of each location. RC11 (Lahav et al., PLDI 2017) says which graphs are executions; C++20's release
// sequences are used.
#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

namespace shm::explore {

inline constexpr unsigned max_threads = 8;

/// For each thread how many of its events are included: a set of events that is closed under program order.
struct view {
    std::array<std::int16_t, max_threads> count{};

    void join(const view& other) noexcept {
        for (unsigned t = 0; t < max_threads; ++t) count[t] = count[t] > other.count[t] ? count[t] : other.count[t];
    }
};

enum class kind : std::uint8_t {
    read,
    write,
    fence,
    choice,   // one of several values, for no reason
    blocked,  // a wait that is never woken
    spawn,
    join
};

/// What a read does with the value that it finds.
enum class rmw : std::uint8_t { none, exchange, add, sub, bit_and, bit_or, compare_exchange };

/// An event's number in the order in which the events of a graph were added.
using event_id = std::uint16_t;
inline constexpr event_id initial = 0xffff;  // in place of a write: what the location held before the threads began
inline constexpr event_id nowhere = 0xffff;  // in place of the previous event of a thread's first

struct event {
    kind what;
    std::uint8_t thread;
    std::int16_t index = 0;       // in its thread
    std::uint16_t location = 0;   // of a read or write
    std::uint16_t mo_index = 0;   // in its location's modification order: a write's own, a read's source's; 0: initial
    event_id previous = nowhere;  // in program order; of a spawned thread's first event, the spawn
    event_id source = initial;    // of a read, the write; of a join, the last event of the thread that ended
    std::memory_order order{};    // of a compare-exchange, according to whether it succeeds
    std::memory_order success_order{}, failure_order{};
    rmw operation = rmw::none;
    bool part_of_rmw = false;   // a write that follows the read before it, at once
    bool succeeds = false;      // a read that is followed by such a write
    bool waits = false;         // a read that only takes what satisfies its predicate
    std::uint8_t bytes = 8;     // of the value
    std::uint64_t value = 0;    // read, written, chosen; of spawn and join, the thread
    std::uint64_t operand = 0;  // what is added, exchanged or expected; how many there were to choose from
    std::uint64_t desired = 0;  // of a compare-exchange

    view happens_before;  // with this event
    view prefix;          // with this event: what it depends on by program order and reads-from
    view pending;         // what an acquire fence would make happen before
    view released;        // what happened before the last release fence
    view carried;         // by a write: what happens before whoever acquires it

    [[nodiscard]] bool is_in(const view& v) const noexcept { return index < v.count[thread]; }
    [[nodiscard]] bool accesses(std::uint16_t l) const noexcept {
        return location == l && (what == kind::read || what == kind::write);
    }
};

[[nodiscard]] constexpr bool acquires(std::memory_order o) noexcept {
    using enum std::memory_order;
    return o == acquire || o == consume || o == acq_rel || o == seq_cst;
}
[[nodiscard]] constexpr bool releases(std::memory_order o) noexcept {
    using enum std::memory_order;
    return o == release || o == acq_rel || o == seq_cst;
}

/// What a successful read-modify-write puts in place of what it read.
[[nodiscard]] std::uint64_t result_of(const event& read) noexcept;

struct execution_graph {
    std::vector<event> events;                // in the order of addition
    std::vector<std::uint8_t> before, after;  // choices of the sequential phases
    bool has_seq_cst = false;

    [[nodiscard]] event_id size() const noexcept { return static_cast<event_id>(events.size()); }
    void clear();

    /// Appends and computes the views. A read's source must be set by `set_source` after.
    event_id append(const event& e);

    /// Makes a read take the value of `write`, and computes what follows from that. A write that has no place yet is given
    /// one by `insert`.
    void set_source(event_id read, event_id write, std::uint64_t initial_value);

    /// Puts a write at `place` of its location's modification order; what was there moves up.
    void insert(event_id write, unsigned mo_index);

    /// The oldest place of `location` that somebody may read, or write behind, for whom `known` has happened before.
    [[nodiscard]] unsigned oldest_visible(std::uint16_t location, const view& known) const noexcept;

    /// The same, and all writes to `location` by their place, up to `newest`.
    struct choice {
        unsigned oldest, newest;
    };
    choice writes_visible(std::uint16_t location, const view& known, std::vector<event_id>& by_mo_index) const;

    [[nodiscard]] unsigned newest_mo_index(std::uint16_t location) const noexcept;
    [[nodiscard]] event_id write_at(std::uint16_t location, unsigned mo_index) const noexcept;

    /// What had happened before the event that would follow `previous` in its thread.
    [[nodiscard]] view known_after(event_id previous) const noexcept {
        return previous == nowhere ? view{} : events[previous].happens_before;
    }

    /// A successful read-modify-write of what `source` wrote, other than the one that reads in `except`; or `nowhere`.
    [[nodiscard]] event_id conflicting_rmw(std::uint16_t location, event_id source, event_id except) const noexcept;

    /// Only those events that were added no later than `last` or are in `kept`.
    void restrict_to(event_id last, const view& kept, execution_graph& into) const;

    /// Whether sequentially consistent events can be put in one order: RC11's psc is acyclic.
    [[nodiscard]] bool seq_cst_consistent() const;

    /// For each thread what it is called whatever the order in which threads were started: its number if it was there
    /// from the first, else by who has started it, and as which of those that one has started.
    [[nodiscard]] std::array<unsigned, max_threads> names() const noexcept;

private:
    void derive(event& e) const noexcept;
};

/// The name of the thread that a thread starts after `started` others.
[[nodiscard]] constexpr unsigned name_of_child(unsigned parent, unsigned started) noexcept {
    return max_threads * (parent + 1) + started;
}

}  // namespace shm::explore
