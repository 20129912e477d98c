// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <shm/slab/pool_slabs.hpp>

namespace shm {
inline namespace v1 {

/// Adds slabs to a pool: behind those in its region, or in annexes. A slab is made first, and then put into the table.
///
/// Promise    a process that meets the slab finds it whole
/// Progress   wait-free: `contended` when another process grows the pool at the same time
/// Callers    any process, at any time; each object by one thread
/// Shape      none of its own: the words are var_slot_pool_header and pool_annex_header
/// Edges      those of pool_slabs: [added]
/// Refuses    `access_denied`, `wrong_process`, `too_small`, `contended`, `count`, and what treiber_slab::create
///            refuses
/// Crash      the table is as it was, or the slab is in it, whole. The bytes set aside in the region are lost
/// Trust      hostile: the number of bytes in use is read once, and checked
/// Source     none
template <slab_widths Widths, atomics_layer Atomics>
class pool_growth {
    using enum std::memory_order;
    using slabs = pool_slabs<Widths, Atomics>;
    using geometry = typename slabs::geometry;
    using header = typename slabs::header;
    using annex_header = typename slabs::annex_header;
    using slab = typename slabs::slab;
    static constexpr std::uint32_t max_slabs = geometry::max_slabs;

public:
    /// Of the pool that this process knows by `known`.
    explicit pool_growth(slabs& known) noexcept : known_{known}, shared_{known.shared()} {}

    /// How long the region has to be, as it is used now, for `grow` to add that slab; `beyond_any_region` if none could
    /// be.
    [[nodiscard]] static std::size_t grown_size(const slabs& known, pool_class of) noexcept {
        const std::uint64_t used = known.shared().used.load(relaxed);  // the compare-exchange of grow decides
        if (used > beyond_any_region) return beyond_any_region;
        return geometry::end_of_slab(static_cast<std::size_t>(used), known.slab_shape_of(of));
    }

    /// The bytes that an annex for that slab needs.
    [[nodiscard]] static std::size_t annex_size(const slabs& known, pool_class of) noexcept {
        return geometry::end_of_slab(sizeof(annex_header), known.slab_shape_of(of));
    }

    /// Adds a slab behind what is in use of `bytes`, the pool's region. Returns its number.
    [[nodiscard]] result<std::uint32_t> grow(region bytes, pool_class of) noexcept {
        if (const auto done = known_.extend(bytes); !done) return done.error();
        const slab_shape shape = known_.slab_shape_of(of);
        if (const auto refused = refuses_growth(shape)) return *refused;
        std::uint64_t used = shared_.used.load(relaxed);  // the compare-exchange decides
        if (used < sizeof(header)) return fault{fault_kind::too_small, sizeof(header), used, "bytes in use"};
        const std::size_t end = used > bytes.size_bytes()
                                    ? beyond_any_region
                                    : geometry::end_of_slab(static_cast<std::size_t>(used), shape);
        if (const auto refused = too_small(bytes, end)) return *refused;
        const std::uint64_t expected = used;
        if (!shared_.used.compare_exchange_strong(used, end, relaxed,  // the bytes beyond are nobody's, and zero
                                                  relaxed))            // to say what was found
            return fault{fault_kind::contended, expected, used};
        const std::size_t place = geometry::slab_offset(static_cast<std::size_t>(expected), shape.slot_alignment);
        if (const auto made = slab::create(*bytes.subregion(place, end - place), shape); !made) return made.error();
        return publish(place | header::in_region, [](std::uint32_t) {});
    }

    /// Adds a slab that lies in `annex`, whose bytes must be zero. Returns its number.
    [[nodiscard]] result<std::uint32_t> add_annex(region annex, pool_class of) noexcept {
        const slab_shape shape = known_.slab_shape_of(of);
        if (const auto refused = refuses_growth(shape)) return *refused;
        if (const auto refused = too_small(annex, annex_size(known_, of))) return *refused;
        const auto shared = annex.get<annex_header>();
        if (!shared) return shared.error();
        if (!annex.writable()) return fault{fault_kind::access_denied, 1, 0, "creator"};
        if (const auto made = slab::create(geometry::slab_of(annex, shape.slot_alignment), shape); !made)
            return made.error();
        (*shared)->magic.write(annex_header::magic_value);
        return publish(header::in_annex, [&](std::uint32_t number) { (*shared)->slab_number.write(number); });
    }

private:
    /// Why no slab of that shape can be added.
    [[nodiscard]] std::optional<fault> refuses_growth(slab_shape shape) const noexcept {
        if (!known_.bytes().writable()) return fault{fault_kind::access_denied, 1, 0, "creator"};
        if (const auto here = known_.bytes().mapped_here(); !here) return here.error();
        if (const auto refused = geometry::wrong(shape)) return refused;
        if (shared_.places[max_slabs - 1].load(relaxed) != header::no_slab)  // the compare-exchange decides
            return fault{fault_kind::count, max_slabs, max_slabs + 1, "slabs"};
        return std::nullopt;
    }

    /// Puts a whole slab into the first place that is free; `told` is told the number before anybody can see it.
    template <class Told>
    [[nodiscard]] result<std::uint32_t> publish(std::uint64_t place, Told told) noexcept {
        for (std::uint32_t number = known_.count(); number < max_slabs; ++number) {
            told(number);
            std::uint64_t before = header::no_slab;
            if (shared_.places[number].compare_exchange_strong(before, place, release,  // [added]
                                                               relaxed))                // taken: the next one
                return number;
        }
        return fault{fault_kind::count, max_slabs, max_slabs + 1, "slabs"};
    }

    slabs& known_;
    header& shared_;
};

}  // namespace v1
}  // namespace shm
