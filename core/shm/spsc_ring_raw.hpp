// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include <shm/header_description.hpp>
#include <shm/peer_id.hpp>
#include <shm/region.hpp>
#include <shm/shm_safe.hpp>
#include <shm/spsc_ring_header.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// What became of a push.
enum class push_result : std::uint8_t { pushed, full, corrupt };

/// The refusal of a push that may succeed later.
inline constexpr push_result ring_full = push_result::full;

/// A third observer's view of a ring. The positions count items since the ring was made.
struct ring_status {
    std::uint64_t published;  ///< items ever published
    std::uint64_t consumed;   ///< items ever consumed
    std::uint32_t capacity;   ///< in items
    std::uint32_t size;       ///< in items, never above capacity
    peer_id producer;         ///< who holds the role; invalid: nobody
    peer_id consumer;         ///< who holds the role; invalid: nobody
    bool reported_corrupt;    ///< some endpoint says so; a diagnosis, not evidence
};

/// A queue of T from one producer to one consumer, over a header and slots that the caller owns and vouches for.
/// `spsc_ring` is the same ring placed in a region, with its roles enforced: prefer it.
///
/// Promise    an item popped is the item pushed, with all that its producer wrote before; items come in order, each
///            once. A push, pop, commit or consume is visible to the other side when it returns. After a consumer's
///            death its successor sees again what was read and not yet consumed
/// Progress   every operation wait-free; a batch takes time proportional to its size. `attach` may wait to its deadline
/// Callers    one thread at a time uses the producer, one the consumer; `status` and `size_approx` anyone, at any time
/// Shape      spsc_ring_header (192 bytes, aligned to 64), then `capacity` slots of sizeof(T) bytes; capacity a power of
///            two. Positions count for ever and may wrap; a slot is position modulo capacity
/// Edges      [publish]  published, from the producer to the consumer:  the slots before it are written
///            [recycle]  consumed, from the consumer to the producer:   the slots before it have been read; to an
///                       observer: at least as many were published; and [ready] of header_description
/// Refuses    create, attach: what header_description refuses
/// Crash      a producer that dies in a push or before its commit has published nothing of it, or all; a consumer that
///            dies in a pop or before its consume has consumed nothing of it, or all: what it had read is seen again
/// Trust      hostile: no write of a peer makes an endpoint touch anything but its slots, or loop. Geometry and own
///            positions are private after attach; the peer's position is read once per refresh and checked; nonsense
///            latches `corrupt`, and the endpoint then reports full or empty for ever. The items are as untrusted as
///            their sender: `read` a slot once, do not parse it in place, and let every bit pattern be a value of T (a bool's
///            third value is undefined behaviour)
/// Source     Lamport's queue (1977) with cached peer positions (FastForward, MCRingBuffer, rigtorp). Own positions are
///            never read back from the shared line either: reading one's own position costs a transfer of the line
template <shared_value T, class Position = std::uint64_t, atomics_layer Atomics = std_atomics>
class spsc_ring_raw {
    using enum std::memory_order;
    static_assert(std::is_unsigned_v<Position>);

public:
    using value_type = T;                                ///< an item
    using position = Position;                           ///< counts items for ever, and wraps
    using header = spsc_ring_header<Position, Atomics>;  ///< what lies in front of the slots
    using slot = typename Atomics::template cell<T>;     ///< what holds an item

    /// Positions must tell "full" from "empty", and the header's field holds 32 bits.
    static constexpr std::uint32_t max_capacity = std::uint32_t{1}
                                                  << (std::min(std::numeric_limits<Position>::digits, 32) - 1);

    /// What separately built peers must agree on beyond the fields that the header spells out.
    [[nodiscard]] static constexpr std::uint64_t layout_hash() noexcept {
        return header_description::hash_of(
            {header::current_version, sizeof(T), alignof(T), sizeof(Position), cache_line_bytes, 3 * cache_line_bytes});
    }

    /// What `create` refuses of a capacity.
    [[nodiscard]] static constexpr std::optional<fault> wrong(std::size_t capacity) noexcept {
        return description().wrong(capacity);
    }

    class producer;
    class consumer;

    /// Makes an empty ring over all of `slots`. The header's bytes must be zero. Of two creators, one is refused
    /// `already_created`. Both positions begin at `first_position`, which is 0 but where a test wants them to wrap.
    [[nodiscard]] static result<spsc_ring_raw> create(header& shared, std::span<slot> slots,
                                                      Position first_position = 0) noexcept {
        const auto capacity = description().template create<Atomics>(shared, slots.size(), first_position);
        if (!capacity) return capacity.error();
        return spsc_ring_raw{shared, slots.data(), *capacity};
    }

    /// Attaches to the ring in `shared`, whose slots must fit into `slots`. Waits for its creator until `until`; the
    /// default does not wait. Nothing of the header is believed before it has been checked, or read again after.
    [[nodiscard]] static result<spsc_ring_raw> attach(header& shared, std::span<slot> slots,
                                                      deadline until = {}) noexcept {
        const auto capacity = description().template attach<Atomics>(shared, slots.size(), until);
        if (!capacity) return capacity.error();
        return spsc_ring_raw{shared, slots.data(), *capacity};
    }

    /// The writing end. The caller sees to it that it is held once at a time and, when it is handed on, that all its
    /// last holder did happens before.
    [[nodiscard]] producer make_producer() const noexcept { return producer{*this}; }

    /// The reading end, on the same terms.
    [[nodiscard]] consumer make_consumer() const noexcept { return consumer{*this}; }

    /// In items.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

    /// How many items are in the ring, from 0 to `capacity()`; while the ring is in use, how many there were about now.
    [[nodiscard]] std::uint32_t size_approx() const noexcept { return status().size; }

    /// Whether size_approx() is 0.
    [[nodiscard]] bool is_empty() const noexcept { return size_approx() == 0; }

    /// All that a third observer sees, at any time.
    [[nodiscard]] ring_status status() const noexcept {
        const Position consumed = shared_->consumed.load(acquire);    // [recycle]
        const Position published = shared_->published.load(relaxed);  // no older than what [recycle] carries
        const std::uint64_t apart =
            static_cast<Position>(published - consumed);  // both sides may have moved in between
        return {published,
                consumed,
                capacity_,
                static_cast<std::uint32_t>(std::min<std::uint64_t>(apart, capacity_)),
                peer_id::from_word(shared_->producer_claim.load(relaxed)),  // for people to read
                peer_id::from_word(shared_->consumer_claim.load(relaxed)),  // for people to read
                shared_->reported_corrupt.load(relaxed) != 0};              // for people to read
    }

    /// What is wrong with the words when an end that was made of them is `corrupt`, as they are now.
    [[nodiscard]] fault nonsense() const noexcept {
        const ring_status now = status();
        return {fault_kind::positions, capacity_, static_cast<Position>(now.published - now.consumed)};
    }

    /// The header, in shared memory.
    [[nodiscard]] header& shared() const noexcept { return *shared_; }

private:
    [[nodiscard]] static constexpr header_description description() noexcept {
        return {max_capacity, sizeof(T), alignof(T), layout_hash()};
    }

    spsc_ring_raw(header& shared, slot* slots, std::uint32_t capacity) noexcept
        : shared_{&shared}, slots_{slots}, capacity_{capacity} {}

    header* shared_;
    slot* slots_;
    std::uint32_t capacity_;
};

/// The writing end. Move-only.
template <shared_value T, class Position, atomics_layer Atomics>
class spsc_ring_raw<T, Position, Atomics>::producer {
public:
    /// What was moved from reports `corrupt`: two live ends would be two producers.
    producer(producer&& other) noexcept { *this = std::move(other); }

    /// Likewise.
    producer& operator=(producer&& other) noexcept {
        if (this == &other) return *this;
        shared_ = other.shared_;
        slots_ = other.slots_;
        capacity_ = other.capacity_;
        position_ = other.position_;
        corrupt_ = std::exchange(other.corrupt_, true);
        limit_ = std::exchange(other.limit_, other.position_);
        return *this;
    }

    /// Appends one item: `pushed`, `full`, or `corrupt`.
    [[nodiscard]] push_result try_push(const T& value) noexcept {
        if (position_ == limit_) {
            refresh();
            if (position_ == limit_) return corrupt_ ? push_result::corrupt : push_result::full;
        }
        slots_[position_ & mask()].write(value);
        ++position_;
        shared_->published.store(position_, release);  // [publish]
        return push_result::pushed;
    }

    /// Appends as many of `values` as fit, from the first on, and publishes them together. Returns how many.
    [[nodiscard]] std::size_t try_push_n(std::span<const T> values) noexcept {
        if (free_seen() < values.size()) refresh();
        const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(values.size(), free_seen()));
        if (count == 0) return 0;
        for (std::uint32_t i = 0; i < count; ++i) slots_[(position_ + i) & mask()].write(values[i]);
        position_ = static_cast<Position>(position_ + count);
        shared_->published.store(position_, release);  // [publish]
        return count;
    }

    /// Up to `count` free slots that lie side by side, to be filled in place; fewer before the end of the slots or when
    /// the ring is fuller, none when it is full. Nothing is published before `commit`.
    [[nodiscard]] std::span<slot> reserve(std::size_t count) noexcept {
        if (free_seen() < count) refresh();
        const std::uint32_t first = static_cast<std::uint32_t>(position_ & mask());
        return {slots_ + first, std::min<std::size_t>({count, free_seen(), capacity_ - first})};
    }

    /// Publishes the first `count` reserved slots, or nothing when `corrupt`. Precondition: that many were reserved, and
    /// filled.
    void commit(std::size_t count) noexcept {
        if (corrupt_) return;  // nonsense was met after the reserve
        assert(count <= free_seen());
        position_ = static_cast<Position>(position_ + count);
        shared_->published.store(position_, release);  // [publish]
    }

    /// Whether a push would be refused now.
    [[nodiscard]] bool is_full() noexcept { return free_seen() == 0 && available_capacity() == 0; }

    /// How many items fit now, at least: only this end adds items.
    [[nodiscard]] std::uint32_t available_capacity() noexcept {
        refresh();
        return free_seen();
    }

    /// In items.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

    /// Whether the consumer's position has ever been nonsense. Then this end takes no more items.
    [[nodiscard]] bool corrupt() const noexcept { return corrupt_; }

private:
    friend class spsc_ring_raw;
    explicit producer(const spsc_ring_raw& whole) noexcept
        : shared_{whole.shared_},
          slots_{whole.slots_},
          capacity_{whole.capacity_},
          position_{whole.shared_->published.load(relaxed)},  // ours alone to write; the caller orders it
          limit_{position_} {
        refresh();
    }

    [[nodiscard]] std::uint32_t mask() const noexcept { return capacity_ - 1; }
    [[nodiscard]] std::uint32_t free_seen() const noexcept {
        return static_cast<std::uint32_t>(static_cast<Position>(limit_ - position_));
    }

    /// Looks where the consumer is. It can only have moved from where we saw it towards where we are.
    void refresh() noexcept {
        if (corrupt_) return;
        const Position consumed = shared_->consumed.load(acquire);  // [recycle]
        if (static_cast<Position>(position_ - consumed) <= capacity_ - free_seen()) {
            limit_ = static_cast<Position>(consumed + capacity_);
            return;
        }
        corrupt_ = true;
        limit_ = position_;
        shared_->reported_corrupt.fetch_or(header::corrupt_by_producer, relaxed);  // a diagnosis, carries nothing
    }

    header* shared_;
    slot* slots_;
    std::uint32_t capacity_;
    bool corrupt_ = false;
    Position position_;  // of the next item to push
    Position limit_;     // one capacity after where the consumer was last seen: there the ring is full, or was
};

/// The reading end. Move-only.
template <shared_value T, class Position, atomics_layer Atomics>
class spsc_ring_raw<T, Position, Atomics>::consumer {
public:
    /// What was moved from reports `corrupt`: two live ends would be two consumers.
    consumer(consumer&& other) noexcept { *this = std::move(other); }

    /// Likewise.
    consumer& operator=(consumer&& other) noexcept {
        if (this == &other) return *this;
        shared_ = other.shared_;
        slots_ = other.slots_;
        capacity_ = other.capacity_;
        position_ = other.position_;
        corrupt_ = std::exchange(other.corrupt_, true);
        seen_ = std::exchange(other.seen_, other.position_);
        return *this;
    }

    /// Takes the oldest item, or nothing when there is none.
    [[nodiscard]] std::optional<T> try_pop() noexcept {
        if (position_ == seen_) {
            refresh();
            if (position_ == seen_) return std::nullopt;
        }
        std::optional<T> value{slots_[position_ & mask()].read()};
        ++position_;
        shared_->consumed.store(position_, release);  // [recycle]
        return value;
    }

    /// Takes up to `values.size()` of the oldest items, in order. Returns how many.
    [[nodiscard]] std::size_t try_pop_n(std::span<T> values) noexcept {
        if (size_seen() < values.size()) refresh();
        const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(values.size(), size_seen()));
        if (count == 0) return 0;
        for (std::uint32_t i = 0; i < count; ++i) values[i] = slots_[(position_ + i) & mask()].read();
        position_ = static_cast<Position>(position_ + count);
        shared_->consumed.store(position_, release);  // [recycle]
        return count;
    }

    /// Up to `count` of the oldest items that lie side by side, to be read in place; fewer before the end of the slots
    /// or when there are fewer, none when there is none. They stay the ring's until `consume`.
    [[nodiscard]] std::span<const slot> peek(std::size_t count) noexcept {
        if (size_seen() < count) refresh();
        const std::uint32_t first = static_cast<std::uint32_t>(position_ & mask());
        return {slots_ + first, std::min<std::size_t>({count, size_seen(), capacity_ - first})};
    }

    /// Gives the first `count` peeked slots back, or none when `corrupt`. Precondition: that many were peeked.
    void consume(std::size_t count) noexcept {
        if (corrupt_) return;  // nonsense was met after the peek
        assert(count <= size_seen());
        position_ = static_cast<Position>(position_ + count);
        shared_->consumed.store(position_, release);  // [recycle]
    }

    /// Whether there is nothing to pop now.
    [[nodiscard]] bool is_empty() noexcept { return size_seen() == 0 && size() == 0; }

    /// How many items there are now, at least: only this end takes items.
    [[nodiscard]] std::uint32_t size() noexcept {
        refresh();
        return size_seen();
    }

    /// In items.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

    /// Whether the producer's position has ever been nonsense. Then this end gives no more items.
    [[nodiscard]] bool corrupt() const noexcept { return corrupt_; }

private:
    friend class spsc_ring_raw;
    explicit consumer(const spsc_ring_raw& whole) noexcept
        : shared_{whole.shared_},
          slots_{whole.slots_},
          capacity_{whole.capacity_},
          position_{whole.shared_->consumed.load(relaxed)},  // ours alone to write; the caller orders it
          seen_{position_} {
        refresh();
    }

    [[nodiscard]] std::uint32_t mask() const noexcept { return capacity_ - 1; }
    [[nodiscard]] std::uint32_t size_seen() const noexcept {
        return static_cast<std::uint32_t>(static_cast<Position>(seen_ - position_));
    }

    /// Looks where the producer is. It can only have moved from where we saw it towards one capacity after us.
    void refresh() noexcept {
        if (corrupt_) return;
        const Position published = shared_->published.load(acquire);  // [publish]
        if (static_cast<Position>(published - seen_) <= capacity_ - size_seen()) {
            seen_ = published;
            return;
        }
        corrupt_ = true;
        seen_ = position_;
        shared_->reported_corrupt.fetch_or(header::corrupt_by_consumer, relaxed);  // a diagnosis, carries nothing
    }

    header* shared_;
    slot* slots_;
    std::uint32_t capacity_;
    bool corrupt_ = false;
    Position position_;  // of the next item to pop
    Position seen_;      // where the producer was last seen; it may be further, never less far
};

}  // namespace v1
}  // namespace shm
