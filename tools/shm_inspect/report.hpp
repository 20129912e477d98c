// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <shm/peer_id.hpp>
#include <shm/result.hpp>
#include <shm/segment_header.hpp>

#include "tools/shm_inspect/snapshot.hpp"

namespace inspect {

/// What can be known of a peer's life.
enum class life : std::uint8_t { alive, dead, unknown };

/// Somebody whose id stands in the segment.
struct peer {
    shm::peer_id who;  ///< invalid: nobody
    life is = life::unknown;
    std::string because;  ///< how that is known
    std::string program;  ///< what /proc calls it, if it is alive
};

/// A ring or a bip buffer.
struct stream {
    std::uint32_t capacity = 0;      ///< in slots
    std::uint32_t element_size = 0;  ///< in bytes
    std::uint64_t published = 0;     ///< since it was made
    std::uint64_t consumed = 0;      ///< since it was made
    std::uint32_t depth = 0;         ///< slots in use, at most the capacity
    peer producer;
    peer consumer;
};

/// Slots of one owner.
struct owner {
    std::uint32_t member = 0;  ///< its entry in the slab's table
    peer who;  ///< who holds that entry, in the incarnation that owns the slots; nobody: somebody before
    std::uint32_t allocated = 0;
    std::uint32_t in_flight = 0;
};

/// A slab, or one of a pool's.
struct slab {
    std::uint32_t slot_count = 0;
    std::uint64_t slot_size = 0;  ///< in bytes
    std::uint32_t free = 0;
    std::uint32_t members = 0;  ///< how many entries are held
    std::uint32_t most_members = 0;
    std::vector<owner> owners;  ///< of slots that are not free
};

/// Slabs of a pool.
struct pool {
    std::vector<slab> slabs;
    bool more_in_an_annex = false;  ///< which is another region
};

/// What lies in a segment by one name.
struct block {
    std::string name;
    std::string kind;  ///< spsc_ring, ...; of an unknown one its magic
    shm::segment_block as_planned;
    std::variant<std::monostate, stream, slab, pool> holds;  ///< nothing: values, or of an unknown kind
    std::vector<std::string> faults;                         ///< what was refused of it, or latched by those who use it
};

/// All of it.
struct report {
    std::uint64_t size_bytes = 0;
    std::uint64_t pid_namespace = 0;
    std::uint32_t places = 0;  ///< for peers
    std::vector<peer> peers;   ///< who is there
    std::vector<block> blocks;
};

/// What a snapshot of that file shows. Refuses what basic_segment::attach refuses.
[[nodiscard]] shm::result<report> look_at(int fd);

/// Names come from a peer: what a terminal would take for a command is shown as a number.
[[nodiscard]] std::string printable(std::string_view text);

/// Whether a peer lives, from /proc: of the process of that pid the start time has to be the peer's incarnation.
[[nodiscard]] peer look_for(shm::peer_id who, std::uint64_t pid_namespace);

}  // namespace inspect
