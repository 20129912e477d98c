// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// The obvious reference of a ring, a deque that knows its capacity, and a ring's calls as data. The properties hold any
// sequence of calls against it, the generated clients any few calls at the same time.
#include <algorithm>
#include <compare>
#include <cstdint>
#include <deque>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <shm/spsc_ring_raw.hpp>

namespace shm::model {

struct ring_call {
    enum kind : std::uint8_t {
        try_push,
        try_push_n,
        reserve_commit,
        is_full,
        available_capacity,
        try_pop,
        try_pop_n,
        peek_consume,
        is_empty,
        size,
        size_approx,
        is_empty_approx
    };
    kind what;
    std::uint64_t item = 0;  // the first one pushed; the next are one more each
    std::size_t count = 0;   // asked for
    std::size_t most = 0;    // of these, to be committed or consumed

    [[nodiscard]] bool gives_items() const { return what == try_pop || what == try_pop_n || what == peek_consume; }
};

/// What a call answers: a result, a count, or the items popped.
using ring_answer = std::vector<std::uint64_t>;

/// Makes the call on anything that has a ring's operations.
template <class Ring>
[[nodiscard]] ring_answer perform(const ring_call& call, Ring& ring) {
    switch (call.what) {
        case ring_call::try_push: return {static_cast<std::uint64_t>(ring.try_push(call.item))};
        case ring_call::try_push_n: return {ring.try_push_n(call.item, call.count)};
        case ring_call::reserve_commit: {
            const std::size_t reserved = ring.reserve_and_fill(call.item, call.count);
            ring.commit(std::min(call.most, reserved));
            return {reserved};
        }
        case ring_call::is_full: return {ring.is_full()};
        case ring_call::available_capacity: return {ring.available_capacity()};
        case ring_call::try_pop: {
            const std::optional<std::uint64_t> item = ring.try_pop();
            return item ? ring_answer{*item} : ring_answer{};
        }
        case ring_call::try_pop_n: return ring.try_pop_n(call.count);
        case ring_call::peek_consume: {
            ring_answer items = ring.peek(call.count);
            ring.consume(std::min(call.most, items.size()));
            return items;
        }
        case ring_call::is_empty: return {ring.is_empty()};
        case ring_call::size: return {ring.size()};
        case ring_call::size_approx: return {ring.size_approx()};
        case ring_call::is_empty_approx: return {ring.is_empty_approx()};
    }
    return {};
}

struct ring_reference {
    using call = ring_call;

    std::uint32_t capacity = 1;
    std::uint64_t published = 0, consumed = 0;
    std::deque<std::uint64_t> items{};
    std::uint64_t filled = 0;  // the first item in the reserved slots

    auto operator<=>(const ring_reference&) const = default;

    push_result try_push(std::uint64_t item) { return try_push_n(item, 1) == 1 ? push_result::pushed : ring_full; }
    std::size_t try_push_n(std::uint64_t first, std::size_t count) {
        count = std::min(count, free());
        for (std::size_t i = 0; i < count; ++i) items.push_back(first + i);
        published += count;
        return count;
    }
    std::size_t reserve_and_fill(std::uint64_t first, std::size_t count) {
        filled = first;
        return std::min<std::size_t>({count, free(), capacity - published % capacity});
    }
    void commit(std::size_t count) { try_push_n(filled, count); }
    [[nodiscard]] bool is_full() const { return free() == 0; }
    [[nodiscard]] std::size_t available_capacity() const { return free(); }

    std::optional<std::uint64_t> try_pop() {
        const ring_answer item = try_pop_n(1);
        return item.empty() ? std::nullopt : std::optional{item.front()};
    }
    ring_answer try_pop_n(std::size_t count) {
        const ring_answer popped = oldest(count);
        consume(popped.size());
        return popped;
    }
    [[nodiscard]] ring_answer peek(std::size_t count) const {
        return oldest(std::min<std::size_t>(count, capacity - consumed % capacity));
    }
    void consume(std::size_t count) {
        items.erase(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(count));
        consumed += count;
    }
    [[nodiscard]] bool is_empty() const { return items.empty(); }
    [[nodiscard]] std::size_t size() const { return items.size(); }
    [[nodiscard]] std::size_t size_approx() const { return items.size(); }
    [[nodiscard]] bool is_empty_approx() const { return items.empty(); }

    /// Whether the caller may be told that, with the call made here, while other threads make theirs. A third observer's
    /// answers are approximate: no number of items above the capacity, and no more is promised.
    [[nodiscard]] bool may_tell(const ring_call& made, const ring_answer& told) {
        if (made.what == ring_call::is_empty_approx) return true;
        if (made.what == ring_call::size_approx) return told.front() <= capacity;
        return perform(made, *this) == told;
    }

    /// Whether that call of another thread can have taken place here. What it moved is exact. What it was told of room, or
    /// of items, may be late: how many there were when its caller last heard of the other side.
    [[nodiscard]] bool may_see(const ring_call& made, const ring_answer& told) {
        const auto has_pushed = [&](std::size_t count) { return try_push_n(made.item, count) == count; };
        const auto has_popped = [&](std::size_t count) {
            if (oldest(told.size()) != told) return false;
            consume(count);
            return true;
        };
        switch (made.what) {
            case ring_call::try_push: return has_pushed(told.front() == static_cast<unsigned>(push_result::pushed));
            case ring_call::try_push_n: return has_pushed(told.front());
            case ring_call::reserve_commit: return has_pushed(std::min<std::size_t>(made.most, told.front()));
            case ring_call::try_pop:
            case ring_call::try_pop_n: return has_popped(told.size());
            case ring_call::peek_consume: return has_popped(std::min(made.most, told.size()));
            default: return true;
        }
    }

private:
    [[nodiscard]] std::size_t free() const { return capacity - items.size(); }
    [[nodiscard]] ring_answer oldest(std::size_t count) const {
        return {items.begin(), items.begin() + static_cast<std::ptrdiff_t>(std::min(count, items.size()))};
    }
};

/// What a call answered, for people.
[[nodiscard]] inline std::string answer_text(const ring_call& made, const ring_answer& told) {
    if (told.empty()) return "nothing";
    constexpr const char* results[] = {"pushed", "full", "corrupt"};
    if (made.what == ring_call::try_push) return results[told.front()];
    std::string text;
    for (const std::uint64_t number : told) text += (text.empty() ? "" : ", ") + std::to_string(number);
    return text;
}

inline std::ostream& operator<<(std::ostream& out, const ring_reference& shown) {
    return out << "a ring of " << shown.capacity << ", positions from " << shown.published;
}

inline std::ostream& operator<<(std::ostream& out, const ring_call& shown) {
    switch (shown.what) {
        case ring_call::try_push: return out << "try_push(" << shown.item << ")";
        case ring_call::try_push_n: return out << "try_push_n(" << shown.count << " from " << shown.item << ")";
        case ring_call::reserve_commit:
            return out << "reserve(" << shown.count << ") from " << shown.item << ", commit(at most " << shown.most
                       << ")";
        case ring_call::is_full: return out << "is_full()";
        case ring_call::available_capacity: return out << "available_capacity()";
        case ring_call::try_pop: return out << "try_pop()";
        case ring_call::try_pop_n: return out << "try_pop_n(" << shown.count << ")";
        case ring_call::peek_consume:
            return out << "peek(" << shown.count << "), consume(at most " << shown.most << ")";
        case ring_call::is_empty: return out << "is_empty()";
        case ring_call::size: return out << "size()";
        case ring_call::size_approx: return out << "size_approx()";
        case ring_call::is_empty_approx: return out << "an observer's is_empty()";
    }
    return out;
}

}  // namespace shm::model
