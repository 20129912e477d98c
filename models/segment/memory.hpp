// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <string>

#include <shm/checking.hpp>
#include <shm/region.hpp>
#include <shm/segment.hpp>

#include "testkit/named_fields.hpp"

namespace shm::model {

/// The bytes of a segment of one block, which is a `Block`, as typed objects with names for the traces.
template <class Segment, std::size_t Peers, class Block>
struct segment_memory {
    typename Segment::header header;
    typename Segment::line line;
    std::array<typename Segment::place, Peers> places;
    alignas(cache_line_bytes) Block block;

    segment_memory() {
        name_fields(header, "segment.");
        name(&line, "line");
        name_fields_of_each(places, "place.");
    }
    region bytes() { return {this, sizeof *this}; }
};

}  // namespace shm::model
