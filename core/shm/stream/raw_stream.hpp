// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <type_traits>

#include <shm/header_description.hpp>
#include <shm/peer_id.hpp>
#include <shm/region.hpp>
#include <shm/shm_safe.hpp>
#include <shm/std_atomics.hpp>
#include <shm/stream/stream_end.hpp>

namespace shm {
inline namespace v1 {

/// A third observer's view of a ring or bip buffer. The positions count slots since it was made, those that a bip
/// buffer skips included.
struct stream_status {
    std::uint64_t published;  ///< where the producer is
    std::uint64_t consumed;   ///< where the consumer is
    std::uint32_t capacity;   ///< in slots
    std::uint32_t size;       ///< slots between the two, never above capacity
    peer_id producer;         ///< who holds the role; invalid: nobody
    peer_id consumer;         ///< who holds the role; invalid: nobody
    bool reported_corrupt;    ///< some endpoint says so; a diagnosis, not evidence
};

/// A ring or bip buffer over a header and slots that the caller owns and vouches for, without its two ends: what `Raw`,
/// which derives from it, is beside them.
///
/// Promise    a process that attaches sees everything that the creator wrote, or is refused
/// Progress   wait-free; `attach` may wait to its deadline
/// Callers    anyone, at any time; of two creators one is refused
/// Shape      the header, 192 bytes, aligned to 64, then `capacity` slots of sizeof(T) bytes; capacity a power of two
/// Edges      those of stream_end, and [ready] of handshake
/// Refuses    create, attach: what header_description refuses
/// Crash      a creator that dies leaves a header that attach refuses as `not_ready`
/// Trust      hostile: geometry is private after attach, and was checked
/// Source     none
template <class Raw, class Header, shared_value T, class Position, atomics_layer Atomics>
class raw_stream {
    using enum std::memory_order;
    static_assert(std::is_unsigned_v<Position>);

public:
    using value_type = T;                             ///< what a slot holds
    using position = Position;                        ///< counts slots forever, and wraps
    using header = Header;                            ///< what lies in front of the slots
    using slot = typename Atomics::template cell<T>;  ///< what holds a T

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

    /// Makes an empty one over all of `slots`. The header's bytes must be zero. Of two creators, one is refused
    /// `already_created`. Both positions begin at `first_position`, which is 0 but where a test wants them elsewhere.
    [[nodiscard]] static result<Raw> create(header& shared, std::span<slot> slots,
                                            Position first_position = 0) noexcept {
        const auto capacity = description().template create<Atomics>(shared, slots.size(), first_position);
        if (!capacity) return capacity.error();
        return Raw{raw_stream{shared, slots.data(), *capacity}};
    }

    /// Attaches to the one in `shared`, whose slots must fit into `slots`. Waits for its creator until `until`; the
    /// default does not wait. Nothing of the header is believed before it has been checked, or read again after.
    [[nodiscard]] static result<Raw> attach(header& shared, std::span<slot> slots, deadline until = {}) noexcept {
        const auto capacity = description().template attach<Atomics>(shared, slots.size(), until);
        if (!capacity) return capacity.error();
        return Raw{raw_stream{shared, slots.data(), *capacity}};
    }

    /// In slots.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

    /// How many slots lie between the two positions, from 0 to `capacity()`; while they are in use, about now.
    [[nodiscard]] std::uint32_t size_approx() const noexcept { return status().size; }

    /// Whether size_approx() is 0.
    [[nodiscard]] bool is_empty() const noexcept { return size_approx() == 0; }

    /// All that a third observer sees, at any time.
    [[nodiscard]] stream_status status() const noexcept {
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

    /// The header, in shared memory.
    [[nodiscard]] header& shared() const noexcept { return *shared_; }

protected:
    header* shared_;
    slot* slots_;
    std::uint32_t capacity_;

private:
    friend Raw;
    raw_stream(header& shared, slot* slots, std::uint32_t capacity) noexcept
        : shared_{&shared}, slots_{slots}, capacity_{capacity} {}

    [[nodiscard]] static constexpr header_description description() noexcept {
        return {max_capacity, sizeof(T), alignof(T), layout_hash()};
    }
};

}  // namespace v1
}  // namespace shm
