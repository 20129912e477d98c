// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace shm {
inline namespace v1 {

/// One end of a stream of slots, a ring or a bip buffer, in private memory: where we are, how far we may go by what we
/// last saw of the peer, and whether the peer has ever written nonsense. `stream_producer` and `stream_consumer` derive
/// from it, and from these the ends of each stream.
///
/// Promise    the producer never gets more than a capacity ahead of the consumer, the consumer never gets past the
///            producer
/// Progress   wait-free
/// Callers    one thread at a time uses an end; an end has one copy, and is handed on by moving it
/// Shape      none in shared memory: `published`, `consumed` and `reported_corrupt` are the header's. Positions count
///            forever and may wrap; a slot is position modulo capacity, a power of two
/// Edges      [publish]  published, from the producer to the consumer:  the slots before it are written, and the
///                       watermark of a bip buffer's lap before
///            [recycle]  consumed, from the consumer to the producer:   the slots before it have been read, and that
///                       watermark; to an observer: at least as much was published
/// Refuses    none
/// Crash      an end that dies has moved its position or not: each position is published by one store
/// Trust      hostile: the peer's position is read once per look and checked. A peer can only have moved forward, and
///            at most to where all slots are ours; anything else latches `corrupt`, after which nothing is ever
///            available
/// Source     Lamport's queue (1977) with cached peer positions (FastForward, MCRingBuffer, rigtorp). Own positions are
///            never read back from the shared line either: reading one's own position costs a transfer of the line
template <class Header, class Slot, class Position>
class stream_end {
public:
    /// In slots.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

    /// Whether the peer has ever written nonsense. Then this end moves no more.
    [[nodiscard]] bool corrupt() const noexcept { return corrupt_; }

protected:
    stream_end(Header& shared, Slot* slots, std::uint32_t capacity, Position position) noexcept
        : shared_{&shared}, slots_{slots}, capacity_{capacity}, position_{position}, reach_{position} {}

    /// A moved-from end reports `corrupt`; otherwise there would be two.
    stream_end(stream_end&& other) noexcept { *this = std::move(other); }
    stream_end& operator=(stream_end&& other) noexcept {
        if (this == &other) return *this;
        shared_ = other.shared_;
        slots_ = other.slots_;
        capacity_ = other.capacity_;
        position_ = other.position_;
        corrupt_ = std::exchange(other.corrupt_, true);
        reach_ = std::exchange(other.reach_, other.position_);
        return *this;
    }
    ~stream_end() = default;

    [[nodiscard]] std::uint32_t mask() const noexcept { return capacity_ - 1; }

    /// The index of our slot, and of the one that many further on.
    [[nodiscard]] std::size_t index(std::size_t further = 0) const noexcept {
        return static_cast<std::size_t>((position_ + further) & mask());
    }

    /// How many slots there are from ours to the last.
    [[nodiscard]] std::uint32_t before_wrap() const noexcept { return static_cast<std::uint32_t>(capacity_ - index()); }

    /// How many slots are ours, by what we last saw.
    [[nodiscard]] std::uint32_t available() const noexcept {
        return static_cast<std::uint32_t>(static_cast<Position>(reach_ - position_));
    }

    /// How many were the peer's when we last looked. It can only have handed some of them over since.
    [[nodiscard]] std::uint32_t peers() const noexcept { return capacity_ - available(); }

    /// Ends this end: nothing is available any more.
    void latch() noexcept {
        corrupt_ = true;
        reach_ = position_;
    }

    Header* shared_;
    Slot* slots_;
    std::uint32_t capacity_;
    bool corrupt_ = false;
    Position position_;  // of the next slot to publish or recycle
    Position reach_;     // up to where the slots were ours when we last looked; it may be further, never less far
};

/// The end that writes: the free slots are its own.
template <class Header, class Slot, class Position>
class stream_producer : public stream_end<Header, Slot, Position> {
    using enum std::memory_order;
    using base = stream_end<Header, Slot, Position>;

protected:
    using base::capacity_, base::corrupt_, base::position_, base::reach_, base::shared_;

    stream_producer(Header& shared, Slot* slots, std::uint32_t capacity) noexcept
        : base{shared, slots, capacity, shared.published.load(relaxed)} {}  // ours alone to write; the caller orders it

    /// Hands the next `count` slots to the consumer.
    void publish(std::size_t count) noexcept {
        position_ = static_cast<Position>(position_ + count);
        shared_->published.store(position_, release);  // [publish]
    }

    /// Looks where the consumer is: no more than the slots that were its own can still be.
    void refresh() noexcept {
        if (corrupt_) return;
        const Position consumed = shared_->consumed.load(acquire);  // [recycle]
        if (static_cast<Position>(position_ - consumed) > this->peers()) return condemn();
        reach_ = static_cast<Position>(consumed + capacity_);
    }

    /// Latches `corrupt`: what the consumer wrote is nonsense.
    void condemn() noexcept {
        this->latch();
        shared_->reported_corrupt.fetch_or(Header::corrupt_by_producer, relaxed);  // a diagnosis, carries nothing
    }
};

/// The end that reads: the slots that are published are its own.
template <class Header, class Slot, class Position>
class stream_consumer : public stream_end<Header, Slot, Position> {
    using enum std::memory_order;
    using base = stream_end<Header, Slot, Position>;

protected:
    using base::corrupt_, base::position_, base::reach_, base::shared_;

    stream_consumer(Header& shared, Slot* slots, std::uint32_t capacity) noexcept
        : base{shared, slots, capacity, shared.consumed.load(relaxed)} {}  // ours alone to write; the caller orders it

    /// Gives the next `count` slots back to the producer.
    void recycle(std::size_t count) noexcept {
        position_ = static_cast<Position>(position_ + count);
        shared_->consumed.store(position_, release);  // [recycle]
    }

    /// Looks where the producer is: it can have published no more than the slots that were its own.
    void refresh() noexcept {
        if (corrupt_) return;
        const Position published = shared_->published.load(acquire);  // [publish]
        if (static_cast<Position>(published - reach_) > this->peers()) return condemn();
        reach_ = published;
    }

    /// Latches `corrupt`: what the producer wrote is nonsense.
    void condemn() noexcept {
        this->latch();
        shared_->reported_corrupt.fetch_or(Header::corrupt_by_consumer, relaxed);  // a diagnosis, carries nothing
    }
};

}  // namespace v1
}  // namespace shm
