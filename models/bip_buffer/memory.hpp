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

/// The bytes of a bip buffer, as typed objects with names for the traces. There may be more slots than it uses.
template <class Buffer, std::size_t Slots>
struct buffer_memory {
    typename Buffer::header header;
    std::array<typename Buffer::slot, Slots> slots;

    buffer_memory() {
        name_fields(header);
        for (std::size_t i = 0; i < Slots; ++i) name(&slots[i], "slot[" + std::to_string(i) + "]");
    }
    region bytes() { return {this, sizeof *this}; }
};

}  // namespace shm::model
