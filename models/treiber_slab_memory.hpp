// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <string>

#include <shm/checking.hpp>
#include <shm/region.hpp>

namespace shm::model {

/// The bytes of a slab, as typed objects with names for the traces. There may be more slots than the slab uses. A slot has
/// that many lines.
template <class Slab, std::size_t Members, std::size_t Slots, std::size_t Lines = 1>
struct slab_memory {
    typename Slab::header header;
    std::array<typename Slab::entry, Members> members;
    std::array<typename Slab::meta, Slots> slots;
    alignas(cache_line_bytes) std::array<std::byte, Slots * Lines * cache_line_bytes> data;

    explicit slab_memory(const std::string& whose = "") {
        const auto element = [&](const char* what, std::size_t i) {
            return whose + what + "[" + std::to_string(i) + "]";
        };
        name(&header.head, whose + "head");
        name(&header.magic, whose + "magic");
        name(&header.layout_hash, whose + "layout_hash");
        name(&header.slot_size, whose + "slot_size");
        name(&header.slot_alignment, whose + "slot_alignment");
        name(&header.slot_count, whose + "slot_count");
        name(&header.member_count, whose + "member_count");
        name(&header.layout_version, whose + "layout_version");
        name(&header.state, whose + "state");
        name(&header.reported_corrupt, whose + "reported_corrupt");
        for (std::size_t i = 0; i < Members; ++i) {
            name(&members[i].claim, element("claim", i));
            name(&members[i].taking, element("taking", i));
            name(&members[i].giving, element("giving", i));
            name(&members[i].incarnation, element("incarnation", i));
        }
        for (std::size_t i = 0; i < Slots; ++i) {
            name(&slots[i].word, element("word", i));
            name(&slots[i].next, element("next", i));
        }
    }
    region bytes() { return {this, sizeof *this}; }
};

}  // namespace shm::model
