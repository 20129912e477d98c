// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstdint>

#include <shm/placed_stream.hpp>
#include <shm/spsc_ring_raw.hpp>

namespace shm {
inline namespace v1 {

/// A queue of T from one process to another, placed in a region, with one producer and one consumer at a time.
///
///     auto bytes = shm::heap_region::create(shm::spsc_ring<int>::required_size(16)).value();
///     auto ring = shm::spsc_ring<int>::create(bytes.region(), 16).value();
///     auto [producer, consumer] = ring.split(shm::this_process().value()).value();
///     if (producer.try_push(42) == shm::push_result::pushed) assert(consumer.try_pop() == 42);
///
/// Promise    that of spsc_ring_raw, whose code this is; and that each role has one holder at a time
/// Progress   that of spsc_ring_raw; claims as in role
/// Callers    that of spsc_ring_raw; claim, take_over and split: anyone, at any time
/// Shape      spsc_ring_header (192 bytes) at the region's start, which must be aligned to 64, then the slots
/// Edges      those of spsc_ring_raw, and [hand-over] of role for the two claim words
/// Refuses    what placed_stream and spsc_ring_raw refuse
/// Fork       as placed_stream
/// Crash      that of spsc_ring_raw; the dead peer's role is taken over with a proof of its death
/// Trust      that of spsc_ring_raw. Claims bind peers that use them: not hostile ones, and not the Rust crate's
/// Source     as spsc_ring_raw
template <shared_value T, class Position = std::uint64_t, atomics_layer Atomics = std_atomics>
class spsc_ring : public placed_stream<spsc_ring<T, Position, Atomics>, spsc_ring_raw<T, Position, Atomics>, Atomics> {
public:
    using value_type = T;  ///< an item

private:
    using stream = placed_stream<spsc_ring, spsc_ring_raw<T, Position, Atomics>, Atomics>;
    friend stream;
    explicit spsc_ring(stream made) noexcept : stream{made} {}
};

}  // namespace v1
}  // namespace shm
