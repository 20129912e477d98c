// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <shm/object/arrays.hpp>
#include <shm/region.hpp>
#include <shm/slab/slab_geometry.hpp>
#include <shm/treiber_slab_raw.hpp>

namespace shm {
inline namespace v1 {

/// Slots of one size in a region, which any thread of any process allocates and gives back: `malloc` for what is handed
/// from one process to another.
///
///     constexpr shm::slab_shape shape{.slot_count = 100, .slot_size = 256};
///     auto bytes = shm::heap_region::create(shm::treiber_slab<>::required_size(shape)).value();
///     auto slab = shm::treiber_slab<>::create(bytes.region(), shape).value();
///     auto member = slab.join(shm::this_process().value()).value();
///     if (const auto slot = member.try_alloc()) {
///         slab.data(*slot)[0] = std::byte{42};
///         member.free_allocated(*slot).value();
///     }
///
/// Promise    that of treiber_slab_raw, whose code this is
/// Progress   that of treiber_slab_raw
/// Callers    that of treiber_slab_raw; `data` of a slot: who allocated it, or received its handle
/// Shape      at the region's start, which must be aligned to 64 and to the slots' alignment: treiber_slab_header, the
///            members, the slots' slot_meta, bytes up to the slots' alignment, the slots' bytes
/// Edges      those of treiber_slab_raw
/// Refuses    create: `misaligned`, `too_small`, `access_denied`, and what treiber_slab_raw refuses. attach:
///            `misaligned`, `too_small`, and what treiber_slab_raw refuses. join: `access_denied`, and what it refuses.
///            All: `wrong_process`
/// Fork       as placed_stream, of members; and a child's copy reclaims nothing: `wrong_process`
/// Crash      that of treiber_slab_raw
/// Trust      that of treiber_slab_raw
/// Source     as treiber_slab_raw
template <slab_widths Widths = slab_widths{}, atomics_layer Atomics = std_atomics>
class treiber_slab {
    using raw = treiber_slab_raw<Widths, Atomics>;
    using geometry = slab_geometry<Widths, Atomics>;

public:
    using header = typename raw::header;  ///< what lies at the region's start
    using entry = typename raw::entry;    ///< of the table of members
    using meta = typename raw::meta;      ///< what is kept of each slot
    using member = typename raw::member;  ///< who allocates and gives back

    /// What `create` refuses of a shape, whatever the region.
    [[nodiscard]] static constexpr std::optional<fault> wrong(slab_shape shape) noexcept {
        return geometry::wrong(geometry::rounded(shape));
    }

    /// The bytes that a slab of that shape needs; the largest number there is when no region could hold it.
    [[nodiscard]] static constexpr std::size_t required_size(slab_shape shape) noexcept {
        return geometry::required_size(shape);
    }

    /// Makes a slab at the start of `bytes`, which must be zero there. All slots are free.
    [[nodiscard]] static result<treiber_slab> create(region bytes, slab_shape shape) noexcept {
        if (const auto refused = wrong(shape)) return *refused;
        shape = geometry::rounded(shape);
        const auto parts = divide(bytes, shape);
        if (!parts) return parts.error();
        if (!bytes.writable()) return fault{fault_kind::access_denied, 1, 0, "creator"};
        const auto made =
            raw::create(*parts->shared, parts->members, parts->slots, shape.slot_size, shape.slot_alignment);
        if (!made) return made.error();
        return treiber_slab{*made, *parts, shape.slot_size, bytes};
    }

    /// Attaches to the slab at the start of `bytes`. A read-only region is enough for an observer.
    [[nodiscard]] static result<treiber_slab> attach(region bytes, deadline until = {}) noexcept {
        if (const auto refused = too_small(bytes, sizeof(header))) return *refused;
        const auto shared = bytes.get<header>();
        if (!shared) return shared.error();
        const auto shape = raw::shape_of(**shared, until);
        if (!shape) return shape.error();
        const auto parts = divide(bytes, *shape);
        if (!parts) return parts.error();
        return treiber_slab{raw{**shared, parts->members, parts->slots}, *parts, shape->slot_size, bytes};
    }

    /// Takes an entry of the table of members, for one thread. It is given up when the member is destroyed.
    [[nodiscard]] result<member> join(peer_id me) const noexcept {
        if (!bytes_.writable()) return fault{fault_kind::access_denied, 1, 0, "member"};
        if (const auto here = bytes_.mapped_here(); !here) return here.error();
        return raw_.join(me);
    }

    /// The bytes of the slot that a handle names; none when there is no such slot, of a handle of nothing, and in a
    /// read-only region, where nobody holds a slot. Whether the handle is fresh is not looked at: who holds it knows,
    /// or is refused when it gives it back.
    [[nodiscard]] std::span<std::byte> data(slot_handle handle) const noexcept {
        if (handle.index() >= raw_.slot_count() || handle == slot_handle{} || !bytes_.writable()) return {};
        return {data_ + handle.index() * slot_size_, slot_size_};
    }

    /// In bytes, of each slot: what was asked for, rounded up to the alignment.
    [[nodiscard]] std::size_t slot_size() const noexcept { return slot_size_; }

    /// How many slots there are.
    [[nodiscard]] std::uint32_t slot_count() const noexcept { return raw_.slot_count(); }

    /// How many slots are free; while the slab is in use, how many there were about now. Looks at every slot.
    [[nodiscard]] std::uint32_t free_count_approx() const noexcept { return raw_.free_count_approx(); }

    /// The coordination alone.
    [[nodiscard]] const raw& inner() const noexcept { return raw_; }

private:
    /// Where a slab's parts lie.
    struct parts {
        header* shared;
        std::span<entry> members;
        std::span<meta> slots;
        std::byte* data;
    };

    treiber_slab(raw made, const parts& of, std::uint64_t slot_size, region bytes) noexcept
        : raw_{made}, data_{of.data}, slot_size_{static_cast<std::size_t>(slot_size)}, bytes_{bytes} {}

    /// The parts of a slab of that shape, which has been checked.
    [[nodiscard]] static result<parts> divide(region bytes, slab_shape shape) noexcept {
        if (const auto refused = too_small(bytes, required_size(shape))) return *refused;
        const auto shared = bytes.get<header>();
        if (!shared) return shared.error();
        if (const auto refused = misaligned(bytes, shape.slot_alignment)) return *refused;
        return parts{*shared, array_at<entry>(bytes, geometry::members_offset, shape.member_count),
                     array_at<meta>(bytes, geometry::slots_offset(shape), shape.slot_count),
                     bytes.data() + geometry::data_offset(shape)};
    }

    raw raw_;
    std::byte* data_;
    std::size_t slot_size_;
    region bytes_;
};

}  // namespace v1
}  // namespace shm
