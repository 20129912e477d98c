// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <shm/header_description.hpp>
#include <shm/object/arrays.hpp>
#include <shm/object/handshake.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/role.hpp>
#include <shm/segment_header.hpp>
#include <shm/segment_kind.hpp>

namespace shm {
inline namespace v1 {

/// Several things in one region, found by name, and a table of the peers that use them. `segment_builder` makes one.
///
///     auto plan = shm::segment_builder{}.add<shm::spsc_ring<int>>("jobs", 1024).add<shm::treiber_slab<>>(
///         "slots", {.slot_count = 100, .slot_size = 256});
///     auto bytes = shm::memfd_region::create(plan.required_size()).value();
///     auto made = plan.create(bytes.region()).value();
///     auto segment = shm::segment::attach(bytes.region()).value();  // elsewhere, of its own mapping
///     auto me = segment.join(shm::this_process().value()).value();
///     auto jobs = segment.find<shm::spsc_ring<int>>("jobs").value();
///
/// Promise    who attaches finds every block that was planned, made, or is refused. Who joins has a place in the table alone,
///            and sees all that was done before by who had that place, and by who removed that one when it was dead
/// Progress   wait-free, but for: `attach`, which may wait to its deadline; join, remove: as role, for each place
/// Callers    anyone, at any time; of two creators one is refused. A member is used by one thread at a time
/// Shape      segment_header (64 bytes) at the region's start, a segment_block (128 bytes) for each block, a segment_peer (64
///            bytes) for each peer, then the blocks, in the order of the table, aligned to 64 or more. The table is all that
///            there is to find them by, and is written once
/// Edges      those of handshake, [ready]: the table and the blocks that it names are whole; and of role, [hand-over],
///            for the places of peers
/// Refuses    attach: `too_small` (so also a file that has been cut off), `misaligned`, what handshake refuses, then
///            `layout_hash`, `count`, `block_name`, `block_twice`, `overlap`, `out_of_range`. find:
///            `no_block`, `block_kind`, and what attaching to that kind refuses. join: `access_denied`, `pid_namespace`,
///            `peer_id`, `count`
/// Fork       the place stays with the process that joined: a child's copy gives nothing up. find and join are refused to a
///            child, as attach is: `wrong_process`
/// Crash      a creator that dies leaves what attach refuses: `not_ready`. A peer that dies keeps its place until a member
///            removes it with a proof of its death. Recover what it had in the blocks first, and remove it last: then one
///            that dies while recovering leaves the dead one in the table, for the next
/// Trust      hostile: each line of the table is read once, and checked against the region's size before it is used; all
///            of it is private from then on, and nobody reads it again. Who may write the blocks may write anything there:
///            each kind says what it promises. Peers that are not there, or are there twice, are words that somebody wrote
/// Source     none; a table of contents, as in any file format
template <atomics_layer Atomics = std_atomics>
class basic_segment {
    using enum std::memory_order;

public:
    using header = segment_header<Atomics>;                       ///< what lies at the region's start
    using line = typename Atomics::template cell<segment_block>;  ///< of the table of blocks
    using place = segment_peer<Atomics>;                          ///< in the table of peers

    static constexpr std::uint32_t max_blocks = 255;  ///< of a segment
    static constexpr std::uint32_t max_peers = 255;   ///< at a time

    class member;

    /// What separately built peers must agree on beyond the fields that the header spells out.
    [[nodiscard]] static constexpr std::uint64_t layout_hash() noexcept {
        return header_description::hash_of({header::current_version, sizeof(header), sizeof(line), sizeof(place),
                                            segment_block::max_name_bytes, cache_line_bytes});
    }

    /// Where the first block may begin.
    [[nodiscard]] static constexpr std::size_t tables_size(std::size_t block_count, std::size_t peer_count) noexcept {
        return end_of_array(places_offset(block_count), peer_count, sizeof(place));
    }

    /// Attaches to the segment at the start of `bytes`. Waits for its creator until `until`; the default does not wait. A
    /// read-only region is enough for an observer.
    [[nodiscard]] static result<basic_segment> attach(region bytes, deadline until = {}) noexcept {
        if (const auto refused = too_small(bytes, sizeof(header))) return *refused;
        const auto found = bytes.get<header>();
        if (!found) return found.error();
        const header& shared = **found;
        if (const auto refused = handshake<Atomics, header>::expect_ready(shared, until)) return *refused;
        if (const auto hash = shared.layout_hash.read(); hash != layout_hash())
            return fault{fault_kind::layout_hash, layout_hash(), hash};

        const std::uint64_t size_bytes = shared.size_bytes.read();
        if (size_bytes > bytes.size_bytes()) return fault{fault_kind::too_small, size_bytes, bytes.size_bytes()};
        const std::uint32_t block_count = shared.block_count.read(), peer_count = shared.peer_count.read();
        if (const auto refused = wrong(block_count, peer_count)) return *refused;
        const std::size_t tables = tables_size(block_count, peer_count);
        if (size_bytes < tables) return fault{fault_kind::too_small, tables, size_bytes, "segment size"};

        basic_segment whole{*bytes.subregion(0, static_cast<std::size_t>(size_bytes)), block_count, peer_count,
                            shared.pid_namespace.read()};
        std::uint64_t end = tables;
        for (std::uint32_t i = 0; i < block_count; ++i) {
            const segment_block block = whole.lines()[i].read();
            if (const auto refused = whole.refuses(block, end)) return *refused;
            end = block.offset + block.size_bytes;
            whole.blocks_.push_back(block);
        }
        return whole;
    }

    /// What the table says, in the order of the offsets. A private copy, which has been checked.
    [[nodiscard]] std::span<const segment_block> blocks() const noexcept { return blocks_; }

    /// The bytes of a block of this segment.
    [[nodiscard]] region bytes_of(const segment_block& block) const noexcept {
        return *bytes_.subregion(static_cast<std::size_t>(block.offset), static_cast<std::size_t>(block.size_bytes));
    }

    /// Attaches to the block of that name: `find<spsc_ring<job>>("jobs")` is a result<spsc_ring<job>>, `find<limits>("limits")`
    /// of a value a result<limits*>, `find<float[]>("samples")` a result<std::span<float>>; of const, for who only reads.
    template <held_in_segment T>
    [[nodiscard]] result<typename segment_kind<T>::handle> find(std::string_view name) const noexcept {
        for (const segment_block& block : blocks_) {
            if (block.text() != name) continue;
            if (block.kind != segment_kind<T>::kind)
                return fault{fault_kind::block_kind, segment_kind<T>::kind, block.kind};
            return segment_kind<T>::attach(bytes_of(block), block);
        }
        return fault{fault_kind::no_block, 0, blocks_.size()};
    }

    /// Takes a place in the table of peers, which is given up when the member is destroyed. One peer may have several.
    [[nodiscard]] result<member> join(peer_id me) const noexcept {
        if (!bytes_.writable()) return fault{fault_kind::access_denied, 1, 0, "peer"};
        if (const auto here = bytes_.mapped_here(); !here) return here.error();
        if (pid_namespace_ != 0) {
            const auto ours = this_pid_namespace();
            if (!ours) return ours.error();
            if (*ours != pid_namespace_) return fault{fault_kind::pid_namespace, pid_namespace_, *ours};
        }
        for (std::uint32_t i = 0; i < peer_count_; ++i) {
            auto taken = role<Atomics>::claim(places()[i].claim, me, "peer");
            if (taken) return member{places(), i, me, *std::move(taken)};
            if (taken.error().what != fault_kind::busy) return taken.error();
        }
        return fault{fault_kind::count, peer_count_, std::uint64_t{peer_count_} + 1, "peers"};
    }

    /// How many peers there may be at a time.
    [[nodiscard]] std::uint32_t peer_count() const noexcept { return peer_count_; }

    /// Who is at that place now; invalid: nobody. Precondition: `number` is below peer_count().
    [[nodiscard]] peer_id peer_at(std::uint32_t number) const noexcept {
        assert(number < peer_count_);
        return peer_id::from_word(
            places()[number].claim.load(relaxed));  // for people to read, and to watch for its end
    }

    /// In which the peers' ids are pids: this_pid_namespace() there. 0: they vouch for their ids themselves.
    [[nodiscard]] std::uint64_t pid_namespace() const noexcept { return pid_namespace_; }

private:
    template <atomics_layer>
    friend class basic_segment_builder;

    basic_segment(region bytes, std::uint32_t block_count, std::uint32_t peer_count,
                  std::uint64_t pid_namespace) noexcept
        : bytes_{bytes}, block_count_{block_count}, peer_count_{peer_count}, pid_namespace_{pid_namespace} {}

    /// Makes a segment of all of `bytes`. `make(number, region)` makes each block.
    template <class Make>
    [[nodiscard]] static result<basic_segment> create(region bytes, std::vector<segment_block> blocks,
                                                      std::uint32_t peer_count, std::uint64_t pid_namespace,
                                                      Make make) noexcept {
        const auto found = bytes.get<header>();
        if (!found) return found.error();
        header& shared = **found;
        using object = handshake<Atomics, header>;
        if (const auto refused = object::begin_creation(shared, header::magic_value)) return *refused;
        shared.layout_version.write(header::current_version);
        shared.layout_hash.write(layout_hash());
        shared.size_bytes.write(bytes.size_bytes());
        shared.block_count.write(static_cast<std::uint32_t>(blocks.size()));
        shared.peer_count.write(peer_count);
        shared.pid_namespace.write(pid_namespace);
        basic_segment whole{bytes, static_cast<std::uint32_t>(blocks.size()), peer_count, pid_namespace};
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            whole.lines()[i].write(blocks[i]);
            if (const result<void> made = make(i, whole.bytes_of(blocks[i])); !made) return made.error();
        }
        object::finish_creation(shared);
        whole.blocks_ = std::move(blocks);
        return whole;
    }

    [[nodiscard]] static constexpr std::size_t places_offset(std::size_t block_count) noexcept {
        return aligned_up(end_of_array(sizeof(header), block_count, sizeof(line)), alignof(place));
    }
    [[nodiscard]] std::span<line> lines() const noexcept {
        return array_at<line>(bytes_, sizeof(header), block_count_);
    }
    [[nodiscard]] std::span<place> places() const noexcept {
        return array_at<place>(bytes_, places_offset(block_count_), peer_count_);
    }

    /// What is wrong with the tables.
    [[nodiscard]] static constexpr std::optional<fault> wrong(std::size_t blocks, std::size_t peers) noexcept {
        if (blocks == 0 || blocks > max_blocks) return fault{fault_kind::count, max_blocks, blocks, "blocks"};
        if (peers == 0 || peers > max_peers) return fault{fault_kind::count, max_peers, peers, "peers"};
        return std::nullopt;
    }

    /// What is wrong with a line of the table, if what is in front of it ends there.
    [[nodiscard]] std::optional<fault> refuses(const segment_block& block, std::uint64_t end) const noexcept {
        const std::size_t length = block.text().size();
        const auto padding = std::string_view{block.name.data(), block.name.size()}.substr(length);
        if (length == 0 || padding.empty() || padding.find_first_not_of('\0') != padding.npos)
            return fault{fault_kind::block_name, segment_block::max_name_bytes, length};
        for (std::size_t i = 0; i < blocks_.size(); ++i)
            if (blocks_[i].name == block.name) return fault{fault_kind::block_twice, i, blocks_.size()};
        if (block.offset % cache_line_bytes != 0)
            return fault{fault_kind::misaligned, cache_line_bytes, block.offset % cache_line_bytes,
                         "offset of a block"};
        if (block.offset < end) return fault{fault_kind::overlap, end, block.offset};
        const std::size_t size = bytes_.size_bytes();
        if (block.offset > size) return fault{fault_kind::out_of_range, size, block.offset, "offset of a block"};
        if (block.size_bytes > size - block.offset)
            return fault{fault_kind::out_of_range, size - block.offset, block.size_bytes, "size of a block"};
        return std::nullopt;
    }

    region bytes_;
    std::uint32_t block_count_;
    std::uint32_t peer_count_;
    std::uint64_t pid_namespace_;
    std::vector<segment_block> blocks_;
};

/// A peer that has joined. Move-only.
template <atomics_layer Atomics>
class basic_segment<Atomics>::member {
public:
    /// Removes a dead peer from the table, wherever it is there. Returns how many places it had, 0 when somebody else was
    /// faster. To be called last, when all that it had in the blocks has been recovered.
    std::uint32_t remove(const proof_of_death& dead) noexcept {
        std::uint32_t removed = 0;
        for (place& of : places_)  // what is taken over here is given up at once
            if (role<Atomics>::take_over(of.claim, me_, dead, "peer")) ++removed;
        return removed;
    }

    /// The place in the table: below peer_count(), and no other peer's at the same time.
    [[nodiscard]] std::uint32_t number() const noexcept { return number_; }

    /// Who joined.
    [[nodiscard]] peer_id peer() const noexcept { return me_; }

private:
    friend class basic_segment;
    member(std::span<place> places, std::uint32_t number, peer_id me, role<Atomics> taken) noexcept
        : places_{places}, number_{number}, me_{me}, role_{std::move(taken)} {}

    std::span<place> places_;
    std::uint32_t number_;
    peer_id me_;
    role<Atomics> role_;
};

/// A segment of this process's.
using segment = basic_segment<>;

}  // namespace v1
}  // namespace shm
