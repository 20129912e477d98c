// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <string>

#include <shm/checking.hpp>
#include <shm/region.hpp>
#include <shm/segment.hpp>

namespace shm::model {

/// The bytes of a segment of one block, which is a `Block`, as typed objects with names for the traces.
template <class Segment, std::size_t Peers, class Block>
struct segment_memory {
    typename Segment::header header;
    typename Segment::line line;
    std::array<typename Segment::place, Peers> places;
    alignas(cache_line_bytes) Block block;

    segment_memory() {
        name(&header.magic, "segment.magic");
        name(&header.layout_version, "segment.layout_version");
        name(&header.state, "segment.state");
        name(&header.layout_hash, "segment.layout_hash");
        name(&header.size_bytes, "segment.size_bytes");
        name(&header.block_count, "block_count");
        name(&header.peer_count, "peer_count");
        name(&header.pid_namespace, "pid_namespace");
        name(&line, "line");
        for (std::size_t i = 0; i < Peers; ++i) name(&places[i].claim, "place[" + std::to_string(i) + "]");
    }
    region bytes() { return {this, sizeof *this}; }
};

}  // namespace shm::model
