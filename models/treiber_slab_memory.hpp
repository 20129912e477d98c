// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <string>

#include <shm/checking.hpp>
#include <shm/region.hpp>

namespace shm::model {

/// The bytes of a slab, as typed objects with names for the traces. There may be more slots than the slab uses.
template <class Slab, std::size_t Members, std::size_t Slots>
struct slab_memory {
    typename Slab::header header;
    std::array<typename Slab::entry, Members> members;
    std::array<typename Slab::meta, Slots> slots;
    alignas(cache_line_bytes) std::array<std::byte, Slots * cache_line_bytes> data;

    slab_memory() {
        name(&header.head, "head");
        name(&header.magic, "magic");
        name(&header.layout_hash, "layout_hash");
        name(&header.slot_size, "slot_size");
        name(&header.slot_alignment, "slot_alignment");
        name(&header.slot_count, "slot_count");
        name(&header.member_count, "member_count");
        name(&header.layout_version, "layout_version");
        name(&header.state, "state");
        name(&header.reported_corrupt, "reported_corrupt");
        for (std::size_t i = 0; i < Members; ++i) {
            const std::string of = "[" + std::to_string(i) + "]";
            name(&members[i].claim, "claim" + of);
            name(&members[i].taking, "taking" + of);
            name(&members[i].giving, "giving" + of);
            name(&members[i].incarnation, "incarnation" + of);
        }
        for (std::size_t i = 0; i < Slots; ++i) {
            const std::string of = "[" + std::to_string(i) + "]";
            name(&slots[i].word, "word" + of);
            name(&slots[i].next, "next" + of);
        }
    }
    region bytes() { return {this, sizeof *this}; }
};

}  // namespace shm::model
