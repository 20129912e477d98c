// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include <shm/bip_buffer_raw.hpp>
#include <shm/placed_stream.hpp>

namespace shm {
inline namespace v1 {

/// A queue of runs of any length, each contiguous, filled and read where they lie, from one process to another; placed in a
/// region, with one producer and one consumer at a time. Of bytes, if not said. `message_framing` makes messages of it.
///
///     auto bytes = shm::heap_region::create(shm::bip_buffer<>::required_size(4096)).value();
///     auto buffer = shm::bip_buffer<>::create(bytes.region(), 4096).value();
///     auto [producer, consumer] = buffer.split(shm::this_process().value()).value();
///     const auto grant = producer.try_grant(1000);  // so many bytes in one piece, or why not
///     if (grant) std::memcpy(shm::values(grant.slots).data(), "hello", 5);
///     if (grant) producer.commit(5);
///     const auto found = shm::values(consumer.peek());
///     consumer.consume(found.size());
///
/// Promise    that of bip_buffer_raw, whose code this is; and that each role has one holder at a time
/// Progress   that of bip_buffer_raw; claims as in role
/// Callers    that of bip_buffer_raw; claim, take_over and split: anyone, at any time
/// Shape      bip_buffer_header (192 bytes) at the region's start, which must be aligned to 64, then the slots
/// Edges      those of bip_buffer_raw, and [hand-over] of role for the two claim words
/// Refuses    what placed_stream and bip_buffer_raw refuse
/// Fork       as placed_stream
/// Crash      that of bip_buffer_raw; the dead peer's role is taken over with a proof of its death
/// Trust      that of bip_buffer_raw. Claims bind peers that use them, not hostile ones
/// Source     as bip_buffer_raw
template <shared_value T = std::byte, class Position = std::uint64_t, atomics_layer Atomics = std_atomics>
class bip_buffer
    : public placed_stream<bip_buffer<T, Position, Atomics>, bip_buffer_raw<T, Position, Atomics>, Atomics> {
public:
    using value_type = T;  ///< what a slot holds

private:
    using stream = placed_stream<bip_buffer, bip_buffer_raw<T, Position, Atomics>, Atomics>;
    friend stream;
    explicit bip_buffer(stream made) noexcept : stream{made} {}
};

}  // namespace v1
}  // namespace shm
