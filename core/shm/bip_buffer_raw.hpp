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

#include <shm/bip_buffer_header.hpp>
#include <shm/header_description.hpp>
#include <shm/peer_id.hpp>
#include <shm/region.hpp>
#include <shm/shm_safe.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// What became of a request for free slots. `full` may be granted later, `too_large` never.
enum class grant_result : std::uint8_t { granted, full, too_large, corrupt };

/// A third observer's view of a bip buffer. The positions count slots since it was made, skipped ones included.
struct bip_buffer_status {
    std::uint64_t published;  ///< where the producer is
    std::uint64_t consumed;   ///< where the consumer is
    std::uint32_t capacity;   ///< in slots
    std::uint32_t size;       ///< slots between the two, skipped ones included; never above capacity
    peer_id producer;         ///< who holds the role; invalid: nobody
    peer_id consumer;         ///< who holds the role; invalid: nobody
    bool reported_corrupt;    ///< some endpoint says so; a diagnosis, not evidence
};

/// A queue of runs of any length, each contiguous, filled and read where they lie, from one producer to one consumer, over
/// a header and slots that the caller owns and vouches for. `bip_buffer` is the same placed in a region, with its roles
/// enforced: prefer it.
///
///     position   0 . . . . . 6 | 8 . .         capacity 8. What does not fit behind 6 goes to the start of the next
///     slots     [. . r r r r x x]              lap, position 8. The producer first writes the watermark, 6: so many
///                    |       |                 slots of the lap it leaves hold something. A consumer that sees
///               consumed 2  watermark 6        `published` in the next lap reads up to there, and goes on at 8
///
/// Promise    what was committed is read in order, each slot once, with all that its producer wrote before. A commit or
///            consume is visible to the other side when it returns. After a consumer's death its successor sees again what
///            was read and not yet consumed. What is asked for and is not `too_large` is granted at some time, if the
///            consumer goes on to peek and consumes what it gets
/// Progress   every operation wait-free. `attach` may wait to its deadline
/// Callers    one thread at a time uses the producer, one the consumer; `status` and `size_approx` anyone, at any time
/// Shape      bip_buffer_header (192 bytes, aligned to 64), then `capacity` slots of sizeof(T) bytes; capacity a power of
///            two, so that positions may wrap: they count for ever, and a slot is position modulo capacity. A grant is
///            aligned as T; to any larger power of two that divides the bytes of every commit, as far as the first slot
///            is. A full buffer holds `capacity` slots: no slot is kept free to tell full from empty
/// Edges      [publish]  published, from the producer to the consumer:  the slots before it are written, and the watermark
///                       of the lap before
///            [recycle]  consumed, from the consumer to the producer:   the slots before it have been read, and the
///                       watermarks of the laps before; to an observer: at least as much was published. And [ready] of
///                       header_description
/// Refuses    create, attach: what header_description refuses
/// Crash      a producer that dies before its commit has published nothing of it; a consumer that dies before its consume
///            has consumed nothing of it. A wrap is published with what lies behind it, by one store: there is no half
/// Trust      hostile: no write of a peer makes an endpoint touch anything but its slots, or loop. Geometry and own
///            positions are private after attach; the peer's position is read once per refresh, the watermark at most
///            once, and both are checked; nonsense latches `corrupt`, and the endpoint then grants and shows nothing for
///            ever. The contents are as untrusted as their sender: `read` a slot once, do not parse it in place
/// Source     Cooke's bip buffer (2003); positions and their caches as in spsc_ring_raw. In most versions an empty buffer
///            is where both offsets meet, one slot stays free, and a wrap is published by two stores
template <shared_value T, class Position = std::uint64_t, atomics_layer Atomics = std_atomics>
class bip_buffer_raw {
    using enum std::memory_order;
    static_assert(std::is_unsigned_v<Position>);

public:
    using value_type = T;                                 ///< what a slot holds
    using position = Position;                            ///< counts slots for ever, and wraps
    using header = bip_buffer_header<Position, Atomics>;  ///< what lies in front of the slots
    using slot = typename Atomics::template cell<T>;      ///< what holds a T

    /// Positions must tell "full" from "empty", and the header's field holds 32 bits.
    static constexpr std::uint32_t max_capacity = std::uint32_t{1}
                                                  << (std::min(std::numeric_limits<Position>::digits, 32) - 1);

    /// What separately built peers must agree on beyond the fields that the header spells out.
    [[nodiscard]] static constexpr std::uint64_t layout_hash() noexcept {
        return header_description::hash_of(
            {header::current_version, sizeof(T), alignof(T), sizeof(Position), cache_line_bytes, 3 * cache_line_bytes});
    }

    /// Free slots, or why there are none.
    struct grant {
        grant_result result;    ///< `granted`, or why not
        std::span<slot> slots;  ///< to be filled; nothing is published before `commit`

        /// Whether it was granted. A grant of no slots is one.
        explicit operator bool() const noexcept { return result == grant_result::granted; }
    };

    /// What `create` refuses of a capacity.
    [[nodiscard]] static constexpr std::optional<fault> wrong(std::size_t capacity) noexcept {
        return description().wrong(capacity);
    }

    class producer;
    class consumer;

    /// Makes an empty buffer over all of `slots`. The header's bytes must be zero. Of two creators, one is refused
    /// `already_created`. Both positions begin at `first_position`, which is 0 but where a test wants them elsewhere.
    [[nodiscard]] static result<bip_buffer_raw> create(header& shared, std::span<slot> slots,
                                                       Position first_position = 0) noexcept {
        const auto capacity = description().template create<Atomics>(shared, slots.size(), first_position);
        if (!capacity) return capacity.error();
        return bip_buffer_raw{shared, slots.data(), *capacity};
    }

    /// Attaches to the buffer in `shared`, whose slots must fit into `slots`. Waits for its creator until `until`; the
    /// default does not wait. Nothing of the header is believed before it has been checked, or read again after.
    [[nodiscard]] static result<bip_buffer_raw> attach(header& shared, std::span<slot> slots,
                                                       deadline until = {}) noexcept {
        const auto capacity = description().template attach<Atomics>(shared, slots.size(), until);
        if (!capacity) return capacity.error();
        return bip_buffer_raw{shared, slots.data(), *capacity};
    }

    /// The writing end. The caller sees to it that it is held once at a time and, when it is handed on, that all its
    /// last holder did happens before.
    [[nodiscard]] producer make_producer() const noexcept { return producer{*this}; }

    /// The reading end, on the same terms.
    [[nodiscard]] consumer make_consumer() const noexcept { return consumer{*this}; }

    /// In slots.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

    /// How many slots lie between the two positions, from 0 to `capacity()`; while the buffer is in use, about now.
    [[nodiscard]] std::uint32_t size_approx() const noexcept { return status().size; }

    /// Whether size_approx() is 0.
    [[nodiscard]] bool is_empty() const noexcept { return size_approx() == 0; }

    /// All that a third observer sees, at any time.
    [[nodiscard]] bip_buffer_status status() const noexcept {
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

    /// What is wrong with the words when an end that was made of them is `corrupt`, as they are now; for who holds that end.
    [[nodiscard]] fault nonsense() const noexcept {
        const bip_buffer_status now = status();
        const auto apart = static_cast<Position>(now.published - now.consumed);
        const auto offset = static_cast<std::uint32_t>(now.consumed & (capacity_ - 1));
        if (apart <= capacity_ && apart >= capacity_ - offset) {
            const std::uint32_t watermark = shared_->watermark.read();
            if (watermark < offset) return {fault_kind::watermark, offset, watermark};
            if (watermark > capacity_) return {fault_kind::watermark, capacity_, watermark};
        }
        return {fault_kind::positions, capacity_, apart};
    }

    /// The header, in shared memory.
    [[nodiscard]] header& shared() const noexcept { return *shared_; }

private:
    [[nodiscard]] static constexpr header_description description() noexcept {
        return {max_capacity, sizeof(T), alignof(T), layout_hash()};
    }

    bip_buffer_raw(header& shared, slot* slots, std::uint32_t capacity) noexcept
        : shared_{&shared}, slots_{slots}, capacity_{capacity} {}

    header* shared_;
    slot* slots_;
    std::uint32_t capacity_;
};

/// The writing end. Move-only.
template <shared_value T, class Position, atomics_layer Atomics>
class bip_buffer_raw<T, Position, Atomics>::producer {
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
        begin_ = other.begin_;
        granted_ = std::exchange(other.granted_, 0);
        corrupt_ = std::exchange(other.corrupt_, true);
        limit_ = std::exchange(other.limit_, other.position_);
        return *this;
    }

    /// Asks for `count` free slots side by side: all of them, or why not. A grant takes the place of the one before, as
    /// far as that was not committed.
    ///
    /// An empty buffer has the larger part of its slots on one side of where the two ends stand: at an offset of k it
    /// grants at once up to max(k, capacity - k), at least half. For more than that, an empty run is published that takes
    /// both ends to the start. It is `full` then, once, and granted after the consumer's next peek: who is about to sleep
    /// after a `full` wakes the consumer first.
    [[nodiscard]] grant try_grant(std::size_t count) noexcept {
        granted_ = 0;
        if (count > capacity_) return {grant_result::too_large, {}};
        const auto wanted = static_cast<std::uint32_t>(count);
        if (!place(wanted)) refresh();
        if (corrupt_) return {grant_result::corrupt, {}};
        if (!place(wanted)) {
            const std::uint32_t before_wrap = capacity_ - offset();
            const bool never_fits_from_here = wanted > std::max(offset(), before_wrap);
            if (never_fits_from_here && before_wrap <= free_seen()) {
                shared_->watermark.write(offset());
                position_ = static_cast<Position>(position_ + before_wrap);
                shared_->published.store(position_, release);  // [publish]
            }
            return {grant_result::full, {}};
        }
        granted_ = wanted;
        return {grant_result::granted, {slots_ + (begin_ & mask()), wanted}};
    }

    /// Publishes the first `count` slots of the grant, or nothing when `corrupt`, and gives the rest back. Precondition:
    /// that many were granted, and filled.
    void commit(std::size_t count) noexcept {
        assert(corrupt_ || count <= granted_);
        granted_ = 0;
        if (corrupt_ || count == 0) return;
        const std::uint32_t before_wrap = capacity_ - offset();
        const auto next = static_cast<Position>(begin_ + count);
        if (begin_ != position_)
            shared_->watermark.write(offset());
        else if (count == before_wrap)
            shared_->watermark.write(capacity_);
        position_ = next;
        shared_->published.store(position_, release);  // [publish]
    }

    /// The most that is ever granted: all slots.
    [[nodiscard]] std::uint32_t max_grant() const noexcept { return capacity_; }

    /// In slots.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

    /// What has been published so far. A grant that is refused may have moved it.
    [[nodiscard]] Position published() const noexcept { return position_; }

    /// Whether the consumer's position has ever been nonsense. Then this end grants nothing more.
    [[nodiscard]] bool corrupt() const noexcept { return corrupt_; }

private:
    friend class bip_buffer_raw;
    explicit producer(const bip_buffer_raw& whole) noexcept
        : shared_{whole.shared_},
          slots_{whole.slots_},
          capacity_{whole.capacity_},
          position_{whole.shared_->published.load(relaxed)},  // ours alone to write; the caller orders it
          begin_{position_},
          limit_{position_} {
        refresh();
    }

    [[nodiscard]] std::uint32_t mask() const noexcept { return capacity_ - 1; }
    [[nodiscard]] std::uint32_t offset() const noexcept { return static_cast<std::uint32_t>(position_ & mask()); }
    [[nodiscard]] std::uint32_t free_seen() const noexcept {
        return static_cast<std::uint32_t>(static_cast<Position>(limit_ - position_));
    }

    /// Where `count` slots would go: where we are, or if the lap has not that many left, to the start of the next. Whether
    /// they are free, as far as we know.
    bool place(std::uint32_t count) noexcept {
        const std::uint32_t before_wrap = capacity_ - offset();
        const std::uint32_t skipped = count <= before_wrap ? 0 : before_wrap;
        begin_ = static_cast<Position>(position_ + skipped);
        return std::uint64_t{skipped} + count <= free_seen();
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
    std::uint32_t granted_ = 0;
    bool corrupt_ = false;
    Position position_;  // of the next slot to publish, or to skip
    Position begin_;     // of the grant: position_, or the start of the next lap
    Position limit_;     // one capacity after where the consumer was last seen: there the buffer is full, or was
};

/// The reading end. Move-only.
template <shared_value T, class Position, atomics_layer Atomics>
class bip_buffer_raw<T, Position, Atomics>::consumer {
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
        end_ = std::exchange(other.end_, other.position_);
        return *this;
    }

    /// The oldest slots that lie side by side, to be read in place; none when there is none. They stay the buffer's until
    /// `consume`. It looks for more unless `enough` are known already: all that there are, if not said.
    ///
    /// A peek may give slots back by itself, also where it finds nothing: those that the producer has skipped. Who wakes
    /// a producer that sleeps does so after it.
    [[nodiscard]] std::span<const slot> peek(std::size_t enough = std::numeric_limits<std::size_t>::max()) noexcept {
        if (size_seen() < enough) refresh();
        return {slots_ + (position_ & mask()), size_seen()};
    }

    /// Gives the first `count` peeked slots back, or none when `corrupt`. Precondition: that many were peeked.
    void consume(std::size_t count) noexcept {
        if (corrupt_) return;  // nonsense was met after the peek
        assert(count <= size_seen());
        position_ = static_cast<Position>(position_ + count);
        if (position_ == end_) skip();
        shared_->consumed.store(position_, release);  // [recycle]
    }

    /// In slots.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

    /// What has been given back so far. A peek may have moved it.
    [[nodiscard]] Position consumed() const noexcept { return position_; }

    /// Whether the producer's position or watermark has ever been nonsense. Then this end shows nothing more.
    [[nodiscard]] bool corrupt() const noexcept { return corrupt_; }

    /// For who reads more out of the slots than their number, and met nonsense there: latches `corrupt`.
    void condemn() noexcept {
        corrupt_ = true;
        seen_ = end_ = position_;
        shared_->reported_corrupt.fetch_or(header::corrupt_by_consumer, relaxed);  // a diagnosis, carries nothing
    }

private:
    friend class bip_buffer_raw;
    explicit consumer(const bip_buffer_raw& whole) noexcept
        : shared_{whole.shared_},
          slots_{whole.slots_},
          capacity_{whole.capacity_},
          position_{whole.shared_->consumed.load(relaxed)},  // ours alone to write; the caller orders it
          seen_{position_},
          end_{position_} {
        refresh();
    }

    [[nodiscard]] std::uint32_t mask() const noexcept { return capacity_ - 1; }
    [[nodiscard]] std::uint32_t offset() const noexcept { return static_cast<std::uint32_t>(position_ & mask()); }
    [[nodiscard]] std::uint32_t size_seen() const noexcept {
        return static_cast<std::uint32_t>(static_cast<Position>(end_ - position_));
    }

    /// Looks where the producer is, and if it has left our lap, up to where that holds something. It can only have moved
    /// from where we saw it towards one capacity after us.
    void refresh() noexcept {
        if (corrupt_ || seen_ != end_) return;  // what is behind a wrap does not lie side by side with what is before
        const Position published = shared_->published.load(acquire);  // [publish]
        const auto ahead = static_cast<Position>(published - position_);
        if (ahead < size_seen() || ahead > capacity_) return condemn();
        auto size = static_cast<std::uint32_t>(ahead);
        if (size >= capacity_ - offset()) {
            const std::uint32_t watermark = shared_->watermark.read();
            if (watermark < offset() + size_seen() || watermark > capacity_) return condemn();
            size = watermark - offset();
        }
        seen_ = published;
        end_ = static_cast<Position>(position_ + size);
        if (size != 0 || seen_ == end_) return;
        skip();
        shared_->consumed.store(position_, release);  // [recycle]
    }

    /// With nothing left before a wrap, to the start of the next lap.
    void skip() noexcept {
        if (seen_ == end_) return;
        position_ = static_cast<Position>(position_ + ((capacity_ - offset()) & mask()));  // none from a lap's very end
        end_ = seen_;
    }

    header* shared_;
    slot* slots_;
    std::uint32_t capacity_;
    bool corrupt_ = false;
    Position position_;  // of the next slot to read
    Position seen_;      // where the producer was last seen; it may be further, never less far
    Position end_;       // of the slots that lie side by side with position_: seen_, or the watermark before a wrap
};

}  // namespace v1
}  // namespace shm
