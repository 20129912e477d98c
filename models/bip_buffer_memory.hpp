// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <string>

#include <shm/checking.hpp>
#include <shm/peer_id.hpp>
#include <shm/region.hpp>

namespace shm::model {

/// The bytes of a bip buffer, as typed objects with names for the traces. There may be more slots than it uses.
template <class Buffer, std::size_t Slots>
struct buffer_memory {
    typename Buffer::header header;
    std::array<typename Buffer::slot, Slots> slots;

    buffer_memory() {
        name(&header.published, "published");
        name(&header.watermark, "watermark");
        name(&header.consumed, "consumed");
        name(&header.capacity, "capacity");
        name(&header.state, "state");
        name(&header.magic, "magic");
        name(&header.layout_version, "layout_version");
        name(&header.element_size, "element_size");
        name(&header.element_alignment, "element_alignment");
        name(&header.reported_corrupt, "reported_corrupt");
        name(&header.layout_hash, "layout_hash");
        name(&header.producer_claim, "producer_claim");
        name(&header.consumer_claim, "consumer_claim");
        for (std::size_t i = 0; i < Slots; ++i) name(&slots[i], "slot[" + std::to_string(i) + "]");
    }
    region bytes() { return {this, sizeof *this}; }
};

}  // namespace shm::model
