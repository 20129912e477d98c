// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <string>

#include <shm/checking.hpp>
#include <shm/region.hpp>

#include "models/treiber_slab/memory.hpp"
#include "testkit/named_fields.hpp"

namespace shm::model {

/// The bytes of a pool of a class of small slots and one of slots twice as large, and behind them room for as many slabs of
/// large slots, as typed objects with names for the traces.
template <class Pool, std::size_t Members, std::size_t Slots>
struct pool_memory {
    typename Pool::header header;
    slab_memory<typename Pool::slab, Members, Slots> small{"small."};
    slab_memory<typename Pool::slab, Members, Slots, 2> large{"large."};
    slab_memory<typename Pool::slab, Members, Slots, 2> third{"third."};
    slab_memory<typename Pool::slab, Members, Slots, 2> fourth{"fourth."};

    pool_memory() {
        name_fields(header, "pool.");
        for (std::size_t i = 0; i < Pool::max_slabs; ++i) name(&header.places[i], "places[" + std::to_string(i) + "]");
    }
    region bytes() { return {this, sizeof *this}; }
};

/// The bytes of an annex, likewise.
template <class Pool, std::size_t Members, std::size_t Slots>
struct annex_memory {
    typename Pool::annex_header header;
    slab_memory<typename Pool::slab, Members, Slots> slab{"annex."};

    annex_memory() { name_fields(header, "annex."); }
    region bytes() { return {this, sizeof *this}; }
};

}  // namespace shm::model
