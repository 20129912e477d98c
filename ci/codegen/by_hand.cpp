// SPDX-License-Identifier: MIT OR Apache-2.0
// What one would write for this one ring if there were no library: no class, no template, no layer; every check.
#include <atomic>
#include <cstdint>
#include <optional>

namespace by_hand {

struct shared_lines {
    alignas(64) std::atomic<std::uint64_t> published;
    alignas(64) std::atomic<std::uint64_t> consumed;
    alignas(64) std::uint32_t geometry[7];
    std::atomic<std::uint32_t> reported_corrupt;
};
static_assert(sizeof(shared_lines) == 192);

struct producer_state {
    shared_lines* shared;
    std::uint64_t* slots;
    std::uint32_t capacity;
    bool corrupt;
    std::uint64_t position;
    std::uint64_t limit;
};

struct consumer_state {
    shared_lines* shared;
    std::uint64_t* slots;
    std::uint32_t capacity;
    bool corrupt;
    std::uint64_t position;
    std::uint64_t seen;
};

enum class push_result : std::uint8_t { pushed, full, corrupt };

inline void look_at_consumer(producer_state& p) {
    if (p.corrupt) return;
    const std::uint64_t consumed = p.shared->consumed.load(std::memory_order_acquire);
    const auto room = static_cast<std::uint32_t>(p.limit - p.position);
    if (p.position - consumed <= p.capacity - room) {
        p.limit = consumed + p.capacity;
        return;
    }
    p.corrupt = true;
    p.limit = p.position;
    p.shared->reported_corrupt.fetch_or(1, std::memory_order_relaxed);
}

inline void look_at_producer(consumer_state& c) {
    if (c.corrupt) return;
    const std::uint64_t published = c.shared->published.load(std::memory_order_acquire);
    const auto size = static_cast<std::uint32_t>(c.seen - c.position);
    if (published - c.seen <= c.capacity - size) {
        c.seen = published;
        return;
    }
    c.corrupt = true;
    c.seen = c.position;
    c.shared->reported_corrupt.fetch_or(2, std::memory_order_relaxed);
}

push_result try_push(producer_state& p, const std::uint64_t& value) {
    if (p.position == p.limit) {
        look_at_consumer(p);
        if (p.position == p.limit) return p.corrupt ? push_result::corrupt : push_result::full;
    }
    p.slots[p.position & (p.capacity - 1)] = value;
    ++p.position;
    p.shared->published.store(p.position, std::memory_order_release);
    return push_result::pushed;
}

std::optional<std::uint64_t> try_pop(consumer_state& c) {
    if (c.position == c.seen) {
        look_at_producer(c);
        if (c.position == c.seen) return std::nullopt;
    }
    std::uint64_t value = c.slots[c.position & (c.capacity - 1)];
    asm volatile("" : "+r"(value));  // fetched once, whatever becomes of it
    ++c.position;
    c.shared->consumed.store(c.position, std::memory_order_release);
    return value;
}

}  // namespace by_hand
