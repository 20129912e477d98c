// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <shm/fault.hpp>
#include <shm/shm_safe.hpp>
#include <shm/spsc_ring_header.hpp>
#include <shm/std_atomics.hpp>
#include <shm/stream/raw_stream.hpp>
#include <shm/stream/stream_end.hpp>

namespace shm {
inline namespace v1 {

/// What became of a push.
enum class push_result : std::uint8_t { pushed, full, corrupt };

/// The refusal of a push that may succeed later.
inline constexpr push_result ring_full = push_result::full;

/// A third observer's view of a ring. The positions count items since the ring was made.
using ring_status = stream_status;

/// A queue of T from one producer to one consumer, over a header and slots that the caller owns and vouches for.
/// `spsc_ring` is the same ring placed in a region, with its roles enforced: prefer it. `create`, `attach` and what an
/// observer sees are in raw_stream, what both ends do is in stream_end.
///
/// Promise    an item popped is the item pushed, with all that its producer wrote before; items come in order, each
///            once. A push, pop, commit or consume is visible to the other side when it returns. After a consumer's
///            death its successor sees again what was read and not yet consumed
/// Progress   every operation wait-free; a batch takes time proportional to its size. `attach` may wait to its deadline
/// Callers    one thread at a time uses the producer, one the consumer; `status` and `size_approx` anyone, at any time
/// Shape      spsc_ring_header (192 bytes, aligned to 64), then `capacity` slots of sizeof(T) bytes; capacity a power
///            of two. Positions count forever and may wrap; a slot is position modulo capacity
/// Edges      those of stream_end: [publish], the slots before `published` are written, and [recycle], the slots before
///            `consumed` have been read; and [ready] of handshake
/// Refuses    create, attach: what header_description refuses
/// Crash      a producer that dies in a push or before its commit has published nothing of it, or all; a consumer that
///            dies in a pop or before its consume has consumed nothing of it, or all: what it had read is seen again
/// Trust      hostile: no write of a peer makes an endpoint touch anything but its slots, or loop. Geometry and own
///            positions are private after attach; the peer's position is read once per refresh and checked; nonsense
///            latches `corrupt`, and the endpoint then reports full or empty forever. The items are as untrusted as
///            their sender: `read` a slot once, do not parse it in place, and let every bit pattern be a value of T (a
///            bool's third value is undefined behaviour)
/// Source     Lamport's queue (1977) with cached peer positions (FastForward, MCRingBuffer, rigtorp)
template <shared_value T, class Position = std::uint64_t, atomics_layer Atomics = std_atomics>
class spsc_ring_raw : public raw_stream<spsc_ring_raw<T, Position, Atomics>, spsc_ring_header<Position, Atomics>, T,
                                        Position, Atomics> {
    using stream = typename spsc_ring_raw::raw_stream;

public:
    using header = typename stream::header;  ///< what lies in front of the slots
    using slot = typename stream::slot;      ///< what holds an item

    class producer;
    class consumer;

    /// The writing end. The caller sees to it that it is held once at a time and, when it is handed on, that all its
    /// last holder did happens before.
    [[nodiscard]] producer make_producer() const noexcept { return producer{*this}; }

    /// The reading end, on the same terms.
    [[nodiscard]] consumer make_consumer() const noexcept { return consumer{*this}; }

    /// What is wrong with the words when an end that was made of them is `corrupt`, as they are now.
    [[nodiscard]] fault nonsense() const noexcept {
        const ring_status now = this->status();
        return {fault_kind::positions, now.capacity, static_cast<Position>(now.published - now.consumed)};
    }

private:
    friend stream;
    explicit spsc_ring_raw(stream made) noexcept : stream{made} {}
};

/// The writing end. Move-only: a moved-from producer reports `corrupt`; otherwise there would be two.
template <shared_value T, class Position, atomics_layer Atomics>
class spsc_ring_raw<T, Position, Atomics>::producer : public stream_producer<header, slot, Position> {
    using base = stream_producer<header, slot, Position>;
    using base::available, base::before_wrap, base::corrupt_, base::index, base::position_, base::publish, base::reach_,
        base::refresh, base::slots_;

public:
    /// Appends one item: `pushed`, `full`, or `corrupt`.
    [[nodiscard]] push_result try_push(const T& value) noexcept {
        if (position_ == reach_) {
            refresh();
            if (position_ == reach_) return corrupt_ ? push_result::corrupt : push_result::full;
        }
        slots_[index()].write(value);
        publish(1);
        return push_result::pushed;
    }

    /// Appends as many of `values` as fit, from the first on, and publishes them together. Returns how many.
    [[nodiscard]] std::size_t try_push_n(std::span<const T> values) noexcept {
        if (available() < values.size()) refresh();
        const std::size_t count = std::min<std::size_t>(values.size(), available());
        if (count == 0) return 0;
        for (std::size_t i = 0; i < count; ++i) slots_[index(i)].write(values[i]);
        publish(count);
        return count;
    }

    /// Up to `count` free slots that lie side by side, to be filled in place; fewer before the end of the slots or when
    /// the ring is fuller, none when it is full. Nothing is published before `commit`.
    [[nodiscard]] std::span<slot> reserve(std::size_t count) noexcept {
        if (available() < count) refresh();
        return {slots_ + index(), std::min<std::size_t>({count, available(), before_wrap()})};
    }

    /// Publishes the first `count` reserved slots, or nothing when `corrupt`. Precondition: that many were reserved,
    /// and filled.
    void commit(std::size_t count) noexcept {
        if (corrupt_) return;  // nonsense was met after the reserve
        assert(count <= available());
        publish(count);
    }

    /// Whether a push would be refused now.
    [[nodiscard]] bool is_full() noexcept { return available() == 0 && available_capacity() == 0; }

    /// How many items fit now, at least: only this end adds items.
    [[nodiscard]] std::uint32_t available_capacity() noexcept {
        refresh();
        return available();
    }

private:
    friend class spsc_ring_raw;
    explicit producer(const spsc_ring_raw& whole) noexcept : base{*whole.shared_, whole.slots_, whole.capacity_} {
        refresh();
    }
};

/// The reading end. Move-only: a moved-from consumer reports `corrupt`; otherwise there would be two.
template <shared_value T, class Position, atomics_layer Atomics>
class spsc_ring_raw<T, Position, Atomics>::consumer : public stream_consumer<header, slot, Position> {
    using base = stream_consumer<header, slot, Position>;
    using base::available, base::before_wrap, base::corrupt_, base::index, base::position_, base::reach_, base::recycle,
        base::refresh, base::slots_;

public:
    /// Takes the oldest item, or nothing when there is none.
    [[nodiscard]] std::optional<T> try_pop() noexcept {
        if (position_ == reach_) {
            refresh();
            if (position_ == reach_) return std::nullopt;
        }
        std::optional<T> value{slots_[index()].read()};
        recycle(1);
        return value;
    }

    /// Takes up to `values.size()` of the oldest items, in order. Returns how many.
    [[nodiscard]] std::size_t try_pop_n(std::span<T> values) noexcept {
        if (available() < values.size()) refresh();
        const std::size_t count = std::min<std::size_t>(values.size(), available());
        if (count == 0) return 0;
        for (std::size_t i = 0; i < count; ++i) values[i] = slots_[index(i)].read();
        recycle(count);
        return count;
    }

    /// Up to `count` of the oldest items that lie side by side, to be read in place; fewer before the end of the slots
    /// or when there are fewer, none when there is none. They stay the ring's until `consume`.
    [[nodiscard]] std::span<const slot> peek(std::size_t count) noexcept {
        if (available() < count) refresh();
        return {slots_ + index(), std::min<std::size_t>({count, available(), before_wrap()})};
    }

    /// Gives the first `count` peeked slots back, or none when `corrupt`. Precondition: that many were peeked.
    void consume(std::size_t count) noexcept {
        if (corrupt_) return;  // nonsense was met after the peek
        assert(count <= available());
        recycle(count);
    }

    /// Whether there is nothing to pop now.
    [[nodiscard]] bool is_empty() noexcept { return available() == 0 && size() == 0; }

    /// How many items there are now, at least: only this end takes items.
    [[nodiscard]] std::uint32_t size() noexcept {
        refresh();
        return available();
    }

private:
    friend class spsc_ring_raw;
    explicit consumer(const spsc_ring_raw& whole) noexcept : base{*whole.shared_, whole.slots_, whole.capacity_} {
        refresh();
    }
};

}  // namespace v1
}  // namespace shm
