// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <shm/object/handshake.hpp>
#include <shm/slab/pool_geometry.hpp>
#include <shm/slab/pool_growth.hpp>
#include <shm/slab/pool_member.hpp>
#include <shm/slab/pool_slabs.hpp>

namespace shm {
inline namespace v1 {

/// Slots of several sizes in a region, which any thread of any process allocates and gives back: a table of slabs, each
/// a treiber_slab. It may grow, slab by slab, up to 16.
///
///     constexpr shm::pool_class classes[] = {{.slot_count = 100, .slot_size = 64},
///                                            {.slot_count = 10, .slot_size = 4096}};
///     auto bytes = shm::heap_region::create(shm::var_slot_pool<>::required_size({classes})).value();
///     auto pool = shm::var_slot_pool<>::create(bytes.region(), {classes}).value();
///     auto member = pool.join(shm::this_process().value()).value();
///     if (const auto slot = member.try_alloc(1000)) {
///         member.data(*slot)[999] = std::byte{42};
///         member.free_allocated(*slot).value();
///     }
///
/// It grows within its region, when that has become longer at the same address (mmap_region, with max_size_bytes):
/// `pool.grow(file.region(), more)` after `file.resize(pool.grown_size(more))`; elsewhere `file.check_and_remap()`,
/// then `member.extend(file.region())`. Or by an annex, a region of its own (memfd_region, which is sealed):
/// `pool.add_annex(memory.region(), more)`; elsewhere `member.attach_annex(memory.region())`.
///
/// Promise    that of treiber_slab, for each slot. try_alloc takes a slot of the smallest size that fits and is free. A
///            slab that is added is seen whole, or not at all
/// Progress   of each operation on a slot, that of treiber_slab_raw. grow is `contended` when somebody else grows at
///            the same time, and never waits for anybody
/// Callers    each member, and each pool object that grows, is used by one thread at a time; anyone may join, and
///            anyone may grow it, at any time. `data` of a slot: who allocated it, or received its handle
/// Shape      at the region's start, which must be aligned to 64 and to the slots' alignment: var_slot_pool_header,
///            then the slabs, each aligned to the slots' alignment. An annex: pool_annex_header, then one slab
/// Edges      those of pool_slabs, [added]; and of handshake, [ready]: the header and the table are whole
/// Refuses    create: `count`, `capacity`, `element_size`, `too_small`, `misaligned`, `access_denied`, and what
///            handshake refuses. attach: `too_small`, `misaligned`, what handshake refuses, then `layout_hash`,
///            `count`, `capacity`, `out_of_range` (a slab beyond the region), and what treiber_slab refuses. join: what
///            treiber_slab refuses. grow, add_annex: `access_denied`, `too_small`, `contended`, `count`, and what
///            create refuses. attach_annex: `not_ready`, `too_small`, `misaligned`, `magic`, `slab_number`, and what
///            treiber_slab refuses
/// Fork       as treiber_slab
/// Crash      of a member, as treiber_slab: reclaim does it for each slab. Who dies while it grows the pool leaves the
///            table as it was; the bytes that it had set aside in the region are lost
/// Trust      as treiber_slab. Each place in the table is read once, checked, and private from then on; a slab is
///            checked as any other. Whoever may write the table can let slabs lie over each other: the slots' bytes are
///            untrusted
/// Source     size classes as in any segregated-fit allocator; none is copied
template <slab_widths Widths = slab_widths{}, atomics_layer Atomics = std_atomics>
class var_slot_pool {
    using enum std::memory_order;
    using geometry = pool_geometry<Widths, Atomics>;
    using slabs = pool_slabs<Widths, Atomics>;
    using growth = pool_growth<Widths, Atomics>;

public:
    using header = typename geometry::header;              ///< what lies at the region's start
    using annex_header = typename geometry::annex_header;  ///< what lies at an annex's start
    using slab = typename geometry::slab;                  ///< the slots of one size
    using member = pool_member<Widths, Atomics>;           ///< allocates and frees

    static constexpr std::uint32_t max_slabs = geometry::max_slabs;  ///< of a pool: 16
    static constexpr std::uint32_t max_slots = geometry::max_slots;  ///< of a slab: 2^20 - 1

    /// What separately built peers must agree on beyond the fields that the headers spell out.
    [[nodiscard]] static constexpr std::uint64_t layout_hash() noexcept { return geometry::layout_hash(); }

    /// What `create` refuses of a shape, whatever the region.
    [[nodiscard]] static constexpr std::optional<fault> wrong(pool_shape shape) noexcept {
        return geometry::wrong(shape);
    }

    /// The bytes that a pool of that shape needs; the largest number there is when no region could hold it.
    [[nodiscard]] static constexpr std::size_t required_size(pool_shape shape) noexcept {
        return geometry::required_size(shape);
    }

    /// Makes a pool at the start of `bytes`, which must be zero. All slots are free.
    [[nodiscard]] static result<var_slot_pool> create(region bytes, pool_shape shape) noexcept {
        if (const auto refused = wrong(shape)) return *refused;
        if (const auto refused = too_small(bytes, required_size(shape))) return *refused;
        const auto shared = geometry::header_in(bytes, shape.slot_alignment);
        if (!shared) return shared.error();
        if (!bytes.writable()) return fault{fault_kind::access_denied, 1, 0, "creator"};

        header& made = **shared;
        using object = handshake<Atomics, header>;
        if (const auto refused = object::begin_creation(made, header::magic_value)) return *refused;
        made.layout_hash.write(layout_hash());
        made.slot_alignment.write(shape.slot_alignment);
        made.member_count.write(shape.member_count);
        made.layout_version.write(header::current_version);
        std::size_t end = sizeof(header);
        for (std::uint32_t number = 0; number < shape.classes.size(); ++number) {
            const slab_shape of =
                geometry::slab_shape_of(shape.classes[number], shape.slot_alignment, shape.member_count);
            const std::size_t place = geometry::slab_offset(end, shape.slot_alignment);
            end = geometry::end_of_slab(end, of);
            if (const auto filled = slab::create(*bytes.subregion(place, end - place), of); !filled)
                return filled.error();
            made.places[number].store(place | header::in_region, relaxed);  // [ready] follows
        }
        made.used.store(end, relaxed);  // [ready] follows
        object::finish_creation(made);
        return attached(bytes, made, shape.slot_alignment, shape.member_count);
    }

    /// Attaches to the pool at the start of `bytes`, and to its slabs up to the first that lies in an annex. Waits for
    /// the creator until `until`; the default does not wait. A read-only region is enough for an observer.
    [[nodiscard]] static result<var_slot_pool> attach(region bytes, deadline until = {}) noexcept {
        if (const auto refused = too_small(bytes, sizeof(header))) return *refused;
        const auto found = bytes.get<header>();
        if (!found) return found.error();
        header& shared = **found;
        if (const auto refused = handshake<Atomics, header>::expect_ready(shared, until)) return *refused;
        if (const auto hash = shared.layout_hash.read(); hash != layout_hash())
            return fault{fault_kind::layout_hash, layout_hash(), hash};
        const std::uint32_t alignment = shared.slot_alignment.read(), member_count = shared.member_count.read();
        if (const auto refused = geometry::wrong(slab_shape{1, alignment, alignment, member_count})) return *refused;
        if (const auto refused = misaligned(bytes, alignment)) return *refused;
        return attached(bytes, shared, alignment, member_count);
    }

    /// Takes an entry in each slab that there is, up to the first that lies in an annex which this object has not, for
    /// one thread. They are given up when the member is destroyed. A slab that is added later the member joins when it
    /// meets it.
    [[nodiscard]] result<member> join(peer_id me) const noexcept {
        if (const auto here = slabs_.bytes().mapped_here(); !here) return here.error();
        member joined{slabs_, me};
        if (const auto all = joined.meet(); !all) return all.error();
        return joined;
    }

    /// Attaches to the slabs that have been added since, up to the first whose bytes this object does not have: of one
    /// beyond the region it says `out_of_range` or `too_small`; one in an annex waits for `attach_annex`.
    [[nodiscard]] result<void> meet() noexcept { return slabs_.meet(); }

    /// Takes note that the region has become longer at the same address, and meets the slabs there.
    [[nodiscard]] result<void> extend(region bytes) noexcept { return slabs_.extend(bytes); }

    /// How long the region has to be, as it is used now, for `grow` to add that slab; the largest number there is if
    /// none could be.
    [[nodiscard]] std::size_t grown_size(pool_class of) const noexcept { return growth::grown_size(slabs_, of); }

    /// Adds a slab behind what is in use of `bytes`: the pool's region, at the same address, as long as it is now.
    /// Returns the slab's number. `too_small` names the length that it takes; after `contended` there is a slab more
    /// already.
    [[nodiscard]] result<std::uint32_t> grow(region bytes, pool_class of) noexcept {
        return growth{slabs_}.grow(bytes, of);
    }

    /// The bytes that an annex for that slab needs.
    [[nodiscard]] std::size_t annex_size(pool_class of) const noexcept { return growth::annex_size(slabs_, of); }

    /// Adds a slab that lies in `annex`, whose bytes must be zero. Returns its number. A process that is to use the
    /// slab, or those after it, has to attach to the annex: this one, too.
    [[nodiscard]] result<std::uint32_t> add_annex(region annex, pool_class of) noexcept {
        return growth{slabs_}.add_annex(annex, of);
    }

    /// Attaches to the next slab, which lies in `annex`, and meets those after it. `slab_number`: it is another one's
    /// annex.
    [[nodiscard]] result<void> attach_annex(region annex) noexcept { return slabs_.attach_annex(annex); }

    /// The bytes of the slot that a handle names; none when this object has attached to no such slot, and in a
    /// read-only region. Whether the handle is fresh is not looked at: who holds it knows, or is refused when it gives
    /// it back.
    [[nodiscard]] std::span<std::byte> data(pool_handle handle) const noexcept { return slabs_.data(handle); }

    /// How many slabs this object has attached to; their numbers are below.
    [[nodiscard]] std::uint32_t slab_count() const noexcept { return slabs_.count(); }

    /// One of them: its slots' size and count, and how many are free. Precondition: `number` is below slab_count().
    [[nodiscard]] const slab& slab_at(std::uint32_t number) const noexcept { return slabs_.at(number); }

private:
    explicit var_slot_pool(const slabs& known) noexcept : slabs_{known} {}

    [[nodiscard]] static result<var_slot_pool> attached(region bytes, header& shared, std::uint32_t alignment,
                                                        std::uint32_t member_count) noexcept {
        var_slot_pool pool{slabs{bytes, shared, alignment, member_count}};
        if (const auto all = pool.meet(); !all) return all.error();
        return pool;
    }

    slabs slabs_;
};

}  // namespace v1
}  // namespace shm
