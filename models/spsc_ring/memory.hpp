// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <string>

#include <shm/checking.hpp>
#include <shm/peer_id.hpp>
#include <shm/region.hpp>

#include "testkit/named_fields.hpp"

namespace shm::model {

inline constexpr peer_id writer{1, 1}, reader{2, 1};

/// The bytes of a ring, as typed objects with names for the traces. There may be more slots than the ring uses.
template <class Ring, std::size_t Slots>
struct ring_memory {
    typename Ring::header header;
    std::array<typename Ring::slot, Slots> slots;

    ring_memory() {
        name_fields(header);
        for (std::size_t i = 0; i < Slots; ++i) name(&slots[i], "slot[" + std::to_string(i) + "]");
    }
    region bytes() { return {this, sizeof *this}; }
};

}  // namespace shm::model
