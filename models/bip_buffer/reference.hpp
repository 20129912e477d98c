// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// The obvious reference of a bip buffer: a queue of numbered slots, and where a run of free ones lies. Its calls are data: the
// properties hold any sequence of them against it, the generated clients any few at the same time.
#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <shm/bip_buffer_raw.hpp>

namespace shm::model {

struct buffer_call {
    enum kind : std::uint8_t { grant_commit, peek_consume, size_approx };
    kind what;
    std::uint64_t item = 0;  // in the first slot that is committed; the next are one more each
    std::size_t count = 0;   // asked for
    std::size_t most = 0;    // of these, to be committed or consumed
};

/// What a call answers: of a grant its result and how far the producer has moved; of a peek how far the consumer has moved,
/// then what was there; a size.
using buffer_answer = std::vector<std::uint64_t>;

/// Makes the call on anything that has a bip buffer's operations.
template <class Buffer>
[[nodiscard]] buffer_answer perform(const buffer_call& call, Buffer& buffer) {
    switch (call.what) {
        case buffer_call::grant_commit:
            return buffer.grant_commit(call.item, call.count, std::min(call.count, call.most));
        case buffer_call::peek_consume: return buffer.peek_consume(call.most);
        case buffer_call::size_approx: return {buffer.size_approx()};
    }
    return {};
}

struct buffer_reference {
    using call = buffer_call;

    std::uint32_t capacity = 1;
    std::uint64_t published = 0, consumed = 0;                     // positions
    std::deque<std::pair<std::uint64_t, std::uint64_t>> unread{};  // position and item
    std::uint64_t given_back = 0;                                  // by a peek that others see, and not its `consume`

    auto operator<=>(const buffer_reference&) const = default;

    buffer_answer grant_commit(std::uint64_t first, std::size_t count, std::size_t used) {
        const std::uint64_t before = published;
        if (count > capacity) return {result(grant_result::too_large), 0};
        if (const auto begin = place_for(count)) {
            put(first, *begin, used);
            return {result(grant_result::granted), published - before};
        }
        // Where the buffer, were it empty, had no room on either side, both ends go to the start of a lap.
        if (count > published % capacity && count > capacity - published % capacity &&
            next_lap(published) <= consumed + capacity)
            published = next_lap(published);
        return {result(grant_result::full), published - before};
    }

    buffer_answer peek_consume(std::size_t most) {
        const std::uint64_t before = consumed;
        leave_lap();
        buffer_answer told{0};
        for (const auto& [position, item] : unread)
            if (position == consumed + told.size() - 1 && position < next_lap(consumed)) told.push_back(item);
        take(std::min(most, told.size() - 1));
        told.front() = consumed - before;
        return told;
    }

    [[nodiscard]] std::size_t size_approx() const { return published - consumed; }

    /// Whether the caller may be told that, with the call made here, while other threads make theirs. An observer's size is
    /// approximate: not above the capacity.
    [[nodiscard]] bool may_tell(const buffer_call& made, const buffer_answer& told) {
        if (made.what == buffer_call::size_approx) return told.front() <= capacity;
        return perform(made, *this) == told;
    }

    /// Whether that call of another thread can have taken place here. What it moved is exact. What it was told of room, or
    /// of what is there, may be late.
    [[nodiscard]] bool may_see(const buffer_call& made, const buffer_answer& told) {
        if (made.what == buffer_call::size_approx) return true;
        if (made.what == buffer_call::grant_commit) {
            const std::uint64_t used =
                told.front() == result(grant_result::granted) ? std::min(made.count, made.most) : 0;
            const std::uint64_t end = published + told.back();
            if (used != 0) put(made.item, end - used, static_cast<std::size_t>(used));
            published = end;
            return end <= consumed + capacity;
        }
        if (told.front() < given_back) return false;
        const std::uint64_t end = consumed - std::exchange(given_back, 0) + told.front();
        if (end > published) return false;
        const std::size_t taken = std::min(made.most, told.size() - 1);
        for (std::size_t i = 0; i + 1 < told.size(); ++i)
            if (i >= unread.size() || unread[i].second != told[i + 1]) return false;
        unread.erase(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(taken));
        consumed = end;
        return unread.empty() || unread.front().first >= consumed;
    }

    /// Whether others can see that call half done here, and then it is: a peek gives back by itself what the producer has
    /// skipped.
    [[nodiscard]] bool may_see_half(const buffer_call& made) {
        const std::uint64_t before = consumed;
        if (made.what == buffer_call::peek_consume) leave_lap();
        given_back = consumed - before;
        return given_back != 0;
    }

    /// A consumer that looks, and has read all of the lap that the producer has left, goes to the next.
    void leave_lap() {
        const bool read_all = unread.empty() || unread.front().first >= next_lap(consumed);
        if (read_all && published >= next_lap(consumed)) consumed = next_lap(consumed);
    }

private:
    [[nodiscard]] static std::uint64_t result(grant_result value) { return static_cast<std::uint64_t>(value); }
    [[nodiscard]] std::uint64_t next_lap(std::uint64_t position) const {
        return position / capacity * capacity + capacity;
    }

    /// Where so many slots are free that lie side by side: here, or at the start of the next lap.
    [[nodiscard]] std::optional<std::uint64_t> place_for(std::size_t count) const {
        for (const std::uint64_t begin : {published, next_lap(published)})
            if (begin + count <= consumed + capacity && begin + count <= next_lap(begin)) return begin;
        return std::nullopt;
    }
    void put(std::uint64_t first, std::uint64_t begin, std::size_t used) {
        for (std::size_t i = 0; i < used; ++i) unread.emplace_back(begin + i, first + i);
        if (used != 0) published = begin + used;
    }
    void take(std::size_t count) {
        unread.erase(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(count));
        consumed += count;
        if (count != 0 && consumed % capacity != 0) leave_lap();
    }
};

/// What a call answered, for people.
[[nodiscard]] inline std::string answer_text(const buffer_call& made, const buffer_answer& told) {
    constexpr const char* results[] = {"granted", "full", "too large", "corrupt"};
    if (made.what == buffer_call::size_approx) return std::to_string(told.front());
    if (made.what == buffer_call::grant_commit)
        return std::string{results[told.front()]} + ", moved by " + std::to_string(told.back());
    std::string text;
    for (std::size_t i = 1; i < told.size(); ++i) text += (i == 1 ? "" : ", ") + std::to_string(told[i]);
    return (text.empty() ? "nothing" : text) + ", moved by " + std::to_string(told.front());
}

inline std::ostream& operator<<(std::ostream& out, const buffer_reference& shown) {
    return out << "a bip buffer of " << shown.capacity << ", positions from " << shown.published;
}

inline std::ostream& operator<<(std::ostream& out, const buffer_call& shown) {
    switch (shown.what) {
        case buffer_call::grant_commit:
            return out << "try_grant(" << shown.count << ") from " << shown.item << ", commit(at most " << shown.most
                       << ")";
        case buffer_call::peek_consume: return out << "peek(), consume(at most " << shown.most << ")";
        case buffer_call::size_approx: return out << "size_approx()";
    }
    return out;
}

}  // namespace shm::model
