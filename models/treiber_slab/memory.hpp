// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <string>

#include <shm/checking.hpp>
#include <shm/region.hpp>

#include "testkit/named_fields.hpp"

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
        name_fields(header, whose);
        name_fields_of_each(members, whose);
        name_fields_of_each(slots, whose);
    }
    region bytes() { return {this, sizeof *this}; }
};

}  // namespace shm::model
