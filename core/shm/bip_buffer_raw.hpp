// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include <shm/bip_buffer_header.hpp>
#include <shm/fault.hpp>
#include <shm/shm_safe.hpp>
#include <shm/std_atomics.hpp>
#include <shm/stream/raw_stream.hpp>
#include <shm/stream/stream_end.hpp>

namespace shm {
inline namespace v1 {

/// What became of a request for free slots. `full` may be granted later, `too_large` never.
enum class grant_result : std::uint8_t { granted, full, too_large, corrupt };

/// A third observer's view of a bip buffer. The positions count slots since it was made, skipped ones included.
using bip_buffer_status = stream_status;

/// A queue of runs of any length, each contiguous, filled and read where they lie, from one producer to one consumer,
/// over a header and slots that the caller owns and vouches for. `bip_buffer` is the same placed in a region, with its
/// roles enforced: prefer it. `create`, `attach` and what an observer sees are in raw_stream, what both ends do is in
/// stream_end.
///
///     position   0 . . . . . 6 | 8 . .         capacity 8. What does not fit behind 6 goes to the start of the next
///     slots     [. . r r r r x x]              lap, position 8. The producer first writes the watermark, 6: so many
///                    |       |                 slots of the lap it leaves hold something. A consumer that sees
///               consumed 2  watermark 6        `published` in the next lap reads up to there, and goes on at 8
///
/// Promise    what was committed is read in order, each slot once, with all that its producer wrote before. A commit or
///            consume is visible to the other side when it returns. After a consumer's death its successor sees again
///            what was read and not yet consumed. What is asked for and is not `too_large` is granted at some time, if
///            the consumer goes on to peek and consumes what it gets
/// Progress   every operation wait-free. `attach` may wait to its deadline
/// Callers    one thread at a time uses the producer, one the consumer; `status` and `size_approx` anyone, at any time
/// Shape      bip_buffer_header (192 bytes, aligned to 64), then `capacity` slots of sizeof(T) bytes; capacity a power
///            of two, so that positions may wrap: they count forever, and a slot is position modulo capacity. A grant
///            is aligned as T; to any larger power of two that divides the bytes of every commit, as far as the first
///            slot is. A full buffer holds `capacity` slots: no slot is kept free to tell full from empty
/// Edges      those of stream_end: [publish], the slots before `published` and the watermark of the lap before are
///            written, and [recycle], the slots before `consumed` and the watermarks of the laps before have been read;
///            and [ready] of handshake
/// Refuses    create, attach: what header_description refuses
/// Crash      a producer that dies before its commit has published nothing of it; a consumer that dies before its
///            consume has consumed nothing of it. A wrap is published with what lies behind it, by one store: there is
///            no half
/// Trust      hostile: no write of a peer makes an endpoint touch anything but its slots, or loop. Geometry and own
///            positions are private after attach; the peer's position is read once per refresh, the watermark at most
///            once, and both are checked; nonsense latches `corrupt`, and the endpoint then grants and shows nothing
///            any more. The contents are as untrusted as their sender: `read` a slot once, do not parse it in place
/// Source     Cooke's bip buffer (2003); positions and their caches as in spsc_ring_raw. In most versions an empty
///            buffer is where both offsets meet, one slot stays free, and a wrap is published by two stores
template <shared_value T, class Position = std::uint64_t, atomics_layer Atomics = std_atomics>
class bip_buffer_raw : public raw_stream<bip_buffer_raw<T, Position, Atomics>, bip_buffer_header<Position, Atomics>, T,
                                         Position, Atomics> {
    using stream = typename bip_buffer_raw::raw_stream;

public:
    using header = typename stream::header;  ///< what lies in front of the slots
    using slot = typename stream::slot;      ///< what holds a T

    /// Free slots, or why there are none.
    struct grant {
        grant_result result;    ///< `granted`, or why not
        std::span<slot> slots;  ///< to be filled; nothing is published before `commit`

        /// Whether it was granted. A grant of no slots is one.
        explicit operator bool() const noexcept { return result == grant_result::granted; }
    };

    class producer;
    class consumer;

    /// The writing end. The caller sees to it that it is held once at a time and, when it is handed on, that all its
    /// last holder did happens before.
    [[nodiscard]] producer make_producer() const noexcept { return producer{*this}; }

    /// The reading end, on the same terms.
    [[nodiscard]] consumer make_consumer() const noexcept { return consumer{*this}; }

    /// What is wrong with the words when an end that was made of them is `corrupt`, as they are now; for the
    /// holder of that end.
    [[nodiscard]] fault nonsense() const noexcept {
        const bip_buffer_status now = this->status();
        const auto apart = static_cast<Position>(now.published - now.consumed);
        const auto offset = static_cast<std::uint32_t>(now.consumed & (now.capacity - 1));
        if (apart <= now.capacity && apart >= now.capacity - offset) {
            const std::uint32_t watermark = this->shared_->watermark.read();
            if (watermark < offset) return {fault_kind::watermark, offset, watermark};
            if (watermark > now.capacity) return {fault_kind::watermark, now.capacity, watermark};
        }
        return {fault_kind::positions, now.capacity, apart};
    }

private:
    friend stream;
    explicit bip_buffer_raw(stream made) noexcept : stream{made} {}
};

/// The writing end. Move-only: a moved-from producer reports `corrupt`; otherwise there would be two.
template <shared_value T, class Position, atomics_layer Atomics>
class bip_buffer_raw<T, Position, Atomics>::producer : public stream_producer<header, slot, Position> {
    using base = stream_producer<header, slot, Position>;
    using base::available, base::before_wrap, base::capacity_, base::corrupt_, base::index, base::publish,
        base::refresh, base::shared_;

public:
    /// Asks for `count` free slots side by side: all of them, or why not. A grant takes the place of the one before, as
    /// far as that was not committed.
    ///
    /// An empty buffer has the larger part of its slots on one side of where the two ends stand: at an offset of k it
    /// grants at once up to max(k, capacity - k), at least half. For more than that, an empty run is published that
    /// takes both ends to the start. The call then returns `full` once, and the slots are granted after the
    /// consumer's next peek: a producer that is about to sleep after a `full` must wake the consumer first.
    [[nodiscard]] grant try_grant(std::size_t count) noexcept {
        granted_ = 0;
        if (count > capacity_) return {grant_result::too_large, {}};
        const auto wanted = static_cast<std::uint32_t>(count);
        if (!place(wanted)) refresh();
        if (corrupt_) return {grant_result::corrupt, {}};
        if (!place(wanted)) {
            const auto before_us = static_cast<std::uint32_t>(index());
            const bool never_fits_from_here = wanted > std::max(before_us, before_wrap());
            if (never_fits_from_here && before_wrap() <= available()) {
                shared_->watermark.write(before_us);
                publish(before_wrap());
            }
            return {grant_result::full, {}};
        }
        granted_ = wanted;
        return {grant_result::granted, {this->slots_ + index(skipped_), wanted}};
    }

    /// Publishes the first `count` slots of the grant, or nothing when `corrupt`, and gives the rest back.
    /// Precondition: that many were granted, and filled.
    void commit(std::size_t count) noexcept {
        assert(corrupt_ || count <= granted_);
        granted_ = 0;
        if (corrupt_ || count == 0) return;
        if (skipped_ != 0)
            shared_->watermark.write(static_cast<std::uint32_t>(index()));
        else if (count == before_wrap())
            shared_->watermark.write(capacity_);
        publish(skipped_ + count);
    }

    /// The most that is ever granted: all slots.
    [[nodiscard]] std::uint32_t max_grant() const noexcept { return capacity_; }

    /// What has been published so far. A grant that is refused may have moved it.
    [[nodiscard]] Position published() const noexcept { return this->position_; }

private:
    friend class bip_buffer_raw;
    explicit producer(const bip_buffer_raw& whole) noexcept : base{*whole.shared_, whole.slots_, whole.capacity_} {
        refresh();
    }

    /// Where `count` slots would go: where we are, or if the lap has not that many left, to the start of the next.
    /// Whether they are free, as far as we know.
    bool place(std::uint32_t count) noexcept {
        skipped_ = count <= before_wrap() ? 0 : before_wrap();
        return std::uint64_t{skipped_} + count <= available();
    }

    std::uint32_t granted_ = 0;
    std::uint32_t skipped_ = 0;  // before the grant: none, or the rest of our lap
};

/// The reading end. Move-only: a moved-from consumer reports `corrupt`; otherwise there would be two.
template <shared_value T, class Position, atomics_layer Atomics>
class bip_buffer_raw<T, Position, Atomics>::consumer : public stream_consumer<header, slot, Position> {
    using base = stream_consumer<header, slot, Position>;
    using base::available, base::before_wrap, base::capacity_, base::corrupt_, base::index, base::mask, base::position_,
        base::reach_, base::recycle;

public:
    /// The oldest slots that lie side by side, to be read in place; none when there is none. They stay the buffer's
    /// until `consume`. It looks for more unless `enough` are known already: all that there are, if not said.
    ///
    /// A peek may give slots back by itself, also where it finds nothing: those that the producer has skipped. Who
    /// wakes a producer that sleeps does so after it.
    [[nodiscard]] std::span<const slot> peek(std::size_t enough = std::numeric_limits<std::size_t>::max()) noexcept {
        if (available() < enough) refresh();
        return {this->slots_ + index(), available()};
    }

    /// Gives the first `count` peeked slots back, or none when `corrupt`. Precondition: that many were peeked.
    void consume(std::size_t count) noexcept {
        if (corrupt_) return;  // nonsense was met after the peek
        assert(count <= available());
        recycle(count == available() ? count + skip() : count);
    }

    /// What has been given back so far. A peek may have moved it.
    [[nodiscard]] Position consumed() const noexcept { return position_; }

    /// For a caller that reads more out of the slots than their number, and met nonsense there: latches `corrupt`.
    using base::condemn;

private:
    friend class bip_buffer_raw;
    explicit consumer(const bip_buffer_raw& whole) noexcept
        : base{*whole.shared_, whole.slots_, whole.capacity_}, seen_{position_} {
        refresh();
    }

    /// Looks where the producer is, and if it has left our lap, up to where that holds something.
    void refresh() noexcept {
        if (seen_ != reach_) return;  // what is behind a wrap does not lie side by side with what is before
        const std::uint32_t known = available();
        base::refresh();
        seen_ = reach_;
        if (available() < before_wrap()) return;
        const std::uint32_t watermark = this->shared_->watermark.read();
        if (watermark < index() + known || watermark > capacity_) return condemn();
        reach_ = static_cast<Position>(position_ + (watermark - index()));
        if (position_ == reach_ && seen_ != reach_) recycle(skip());
    }

    /// With nothing left before a wrap, on to the next lap. Returns how many slots that skips.
    std::size_t skip() noexcept {
        if (seen_ == reach_) return 0;
        const std::size_t rest = capacity_ - index(available());
        reach_ = seen_;
        return rest & mask();  // none from a lap's very end
    }

    Position seen_;  // where the producer was last seen: reach_, or where reach_ is a watermark, behind the wrap
};

}  // namespace v1
}  // namespace shm
