// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include <shm/header_description.hpp>
#include <shm/treiber_slab.hpp>
#include <shm/var_slot_pool_header.hpp>

namespace shm {
inline namespace v1 {

/// Slots of one size.
struct pool_class {
    std::uint32_t slot_count = 0;  ///< 1 to 2^20 - 1
    std::uint64_t slot_size = 0;   ///< in bytes; rounded up to a multiple of the pool's alignment
};

/// What a pool is made of.
struct pool_shape {
    std::span<const pool_class> classes;  ///< 1 to 16, in any order, one slab each
    std::uint32_t slot_alignment = 64;    ///< in bytes, a power of two up to 4096
    std::uint32_t member_count = 16;      ///< 1 to 255: threads, of all processes together, that allocate and give back
};

/// Slots of several sizes in a region, which any thread of any process allocates and gives back: a table of slabs, each a
/// treiber_slab. It may grow, slab by slab, up to 16.
///
///     constexpr shm::pool_class classes[] = {{.slot_count = 100, .slot_size = 64}, {.slot_count = 10, .slot_size = 4096}};
///     auto bytes = shm::heap_region::create(shm::var_slot_pool<>::required_size({classes})).value();
///     auto pool = shm::var_slot_pool<>::create(bytes.region(), {classes}).value();
///     auto member = pool.join(shm::this_process().value()).value();
///     if (const auto slot = member.try_alloc(1000)) {
///         member.data(*slot)[999] = std::byte{42};
///         member.free_allocated(*slot).value();
///     }
///
/// It grows within its region, when that has become longer at the same address (mmap_region, with max_size_bytes):
/// `pool.grow(file.region(), more)` after `file.resize(pool.grown_size(more))`; elsewhere `file.check_and_remap()`, then
/// `member.extend(file.region())`. Or by an annex, a region of its own (memfd_region, which is sealed):
/// `pool.add_annex(memory.region(), more)`; elsewhere `member.attach_annex(memory.region())`.
///
/// Promise    that of treiber_slab, for each slot. try_alloc takes a slot of the smallest size that fits and is free. A slab
///            that is added is seen whole, or not at all
/// Progress   of each operation on a slot, that of treiber_slab_raw. grow is `contended` when somebody else grows at the same
///            time, and never waits for anybody
/// Callers    each member, and each pool object that grows, is used by one thread at a time; anyone may join, and anyone
///            may grow it, at any time. `data` of a slot: who allocated it, or received its handle
/// Shape      at the region's start, which must be aligned to 64 and to the slots' alignment: var_slot_pool_header, then the
///            slabs, each aligned likewise. An annex: pool_annex_header, then one slab
/// Edges      [ready]  state, from create to attach:                 the header and the table are whole
///            [added]  a word of the table, from adding a slab to whoever looks for more:  the slab is whole
/// Refuses    create: `count`, `capacity`, `element_size`, `too_small`, `misaligned`, `access_denied`, `already_created`.
///            attach: `too_small`, `misaligned`, `not_ready`, `magic`, `layout_version`, `layout_hash`, `count`, `capacity`,
///            `out_of_range` (a slab beyond the region), and what treiber_slab refuses. join: what treiber_slab refuses.
///            grow, add_annex: `access_denied`, `too_small`, `contended`, `count`, and what create refuses. attach_annex:
///            `not_ready`, `too_small`, `misaligned`, `magic`, `slab_number`, and what treiber_slab refuses
/// Fork       as treiber_slab
/// Crash      of a member, as treiber_slab: reclaim does it for each slab. Who dies while it grows the pool leaves the table
///            as it was; the bytes that it had set aside in the region are lost
/// Trust      as treiber_slab. Each place in the table is read once, checked, and private from then on; a slab is checked as
///            any other. Whoever may write the table can let slabs lie over each other: the slots' bytes are untrusted
/// Source     size classes as in any segregated-fit allocator; none is copied
template <slab_widths Widths = slab_widths{}, atomics_layer Atomics = std_atomics>
class var_slot_pool {
    using enum std::memory_order;

public:
    using header = var_slot_pool_header<Atomics>;     ///< what lies at the region's start
    using annex_header = pool_annex_header<Atomics>;  ///< what lies at an annex's start
    using slab = treiber_slab<Widths, Atomics>;       ///< the slots of one size

    static constexpr std::uint32_t max_slabs = header::max_slabs;                    ///< of a pool
    static constexpr std::uint32_t max_slots = (1U << pool_handle::index_bits) - 1;  ///< of a slab

    class member;

    /// What separately built peers must agree on beyond the fields that the headers spell out.
    [[nodiscard]] static constexpr std::uint64_t layout_hash() noexcept {
        return header_description::hash_of({header::current_version, sizeof(header), sizeof(annex_header), max_slabs,
                                            pool_handle::index_bits, treiber_slab_raw<Widths, Atomics>::layout_hash()});
    }

    /// What `create` refuses of a shape, whatever the region.
    [[nodiscard]] static constexpr std::optional<fault> wrong(pool_shape shape) noexcept {
        if (shape.classes.empty() || shape.classes.size() > max_slabs)
            return fault{fault_kind::count, max_slabs, shape.classes.size(), "slabs"};
        for (const pool_class& of : shape.classes)
            if (const auto refused = wrong(slab_shape_of(of, shape))) return refused;
        return std::nullopt;
    }

    /// The bytes that a pool of that shape needs; the largest number there is when no region could hold it.
    [[nodiscard]] static constexpr std::size_t required_size(pool_shape shape) noexcept {
        std::size_t end = sizeof(header);
        for (const pool_class& of : shape.classes) end = end_of_slab(end, slab_shape_of(of, shape));
        return end;
    }

    /// Makes a pool at the start of `bytes`, which must be zero. All slots are free.
    [[nodiscard]] static result<var_slot_pool> create(region bytes, pool_shape shape) noexcept {
        if (const auto refused = wrong(shape)) return *refused;
        if (bytes.size_bytes() < required_size(shape))
            return fault{fault_kind::too_small, required_size(shape), bytes.size_bytes()};
        const auto shared = aligned_header(bytes, shape.slot_alignment);
        if (!shared) return shared.error();
        if (!bytes.writable()) return fault{fault_kind::access_denied, 1, 0, "creator"};

        header& made = **shared;
        std::uint32_t state = header::state_none;
        if (!made.state.compare_exchange_strong(state, header::state_initialising, relaxed,  // nothing to see yet
                                                relaxed))                                    // refused all the same
            return fault{fault_kind::already_created, header::state_none, state};
        made.magic.write(header::magic_value);
        made.layout_hash.write(layout_hash());
        made.slot_alignment.write(shape.slot_alignment);
        made.member_count.write(shape.member_count);
        made.layout_version.write(header::current_version);
        std::size_t end = sizeof(header);
        for (std::uint32_t number = 0; number < shape.classes.size(); ++number) {
            const slab_shape of = slab_shape_of(shape.classes[number], shape);
            const std::size_t place = aligned(end, shape.slot_alignment);
            end = end_of_slab(end, of);
            if (const auto filled = slab::create(*bytes.subregion(place, end - place), of); !filled)
                return filled.error();
            made.places[number].store(place | header::in_region, relaxed);  // [ready] follows
        }
        made.used.store(end, relaxed);                   // [ready] follows
        made.state.store(header::state_ready, release);  // [ready]
        return attached(bytes, made, shape.slot_alignment, shape.member_count);
    }

    /// Attaches to the pool at the start of `bytes`, and to its slabs up to the first that lies in an annex. Waits for the
    /// creator until `until`; the default does not wait. A read-only region is enough for an observer.
    [[nodiscard]] static result<var_slot_pool> attach(region bytes, deadline until = {}) noexcept {
        if (bytes.size_bytes() < sizeof(header))
            return fault{fault_kind::too_small, sizeof(header), bytes.size_bytes()};
        const auto found = bytes.get<header>();
        if (!found) return found.error();
        header& shared = **found;
        const auto settled = [](std::uint32_t state) {
            return state != header::state_none && state != header::state_initialising;
        };
        const auto state = Atomics::await_until(shared.state, acquire, settled, until);  // [ready]
        if (!state)
            return fault{fault_kind::not_ready, header::state_ready,
                         shared.state.load(relaxed)};  // to say how far it got
        if (const auto magic = shared.magic.read(); magic != header::magic_value)
            return fault{fault_kind::magic, header::magic_value, magic};
        if (*state != header::state_ready) return fault{fault_kind::not_ready, header::state_ready, *state};
        if (const auto version = shared.layout_version.read(); version != header::current_version)
            return fault{fault_kind::layout_version, header::current_version, version};
        if (const auto hash = shared.layout_hash.read(); hash != layout_hash())
            return fault{fault_kind::layout_hash, layout_hash(), hash};
        const std::uint32_t alignment = shared.slot_alignment.read(), member_count = shared.member_count.read();
        if (const auto refused = wrong({1, alignment, alignment, member_count})) return *refused;
        if (const auto fits = aligned_header(bytes, alignment); !fits) return fits.error();
        return attached(bytes, shared, alignment, member_count);
    }

    /// Takes an entry in each slab that there is, up to the first that lies in an annex which this object has not, for one
    /// thread. They are given up when the member is destroyed. A slab that is added later the member joins when it meets it.
    [[nodiscard]] result<member> join(peer_id me) const noexcept {
        if (const auto here = base_.mapped_here(); !here) return here.error();
        member joined{*this, me};
        if (const auto all = joined.meet(); !all) return all.error();
        return joined;
    }

    /// Attaches to the slabs that have been added since, up to the first whose bytes this object does not have: of one beyond
    /// the region it says `out_of_range` or `too_small`; one in an annex waits for `attach_annex`.
    [[nodiscard]] result<void> meet() noexcept {
        if (const auto here = base_.mapped_here(); !here) return here.error();
        while (count_ < max_slabs) {
            const std::uint64_t place = shared_->places[count_].load(acquire);  // [added]
            if (place == header::no_slab || place == header::in_annex) break;
            if (place % cache_line_bytes != header::in_region)
                return fault{fault_kind::misaligned, cache_line_bytes, place % cache_line_bytes, "place of a slab"};
            const std::uint64_t offset = place - header::in_region;
            const std::size_t last = base_.size_bytes() - sizeof(typename slab::header);  // the pool's is longer
            if (offset > last) return fault{fault_kind::out_of_range, last, offset, "place of a slab"};
            const auto begin = static_cast<std::size_t>(offset);
            const auto there = base_.subregion(begin, base_.size_bytes() - begin);
            if (const auto done = take_on(*there); !done) return done;
        }
        return {};
    }

    /// Takes note that the region has become longer at the same address, and meets the slabs there.
    [[nodiscard]] result<void> extend(region bytes) noexcept {
        assert(bytes.data() == base_.data() && bytes.size_bytes() >= base_.size_bytes());
        base_ = bytes;
        return meet();
    }

    /// How long the region has to be, as it is used now, for `grow` to add that slab; the largest number there is if none
    /// could be.
    [[nodiscard]] std::size_t grown_size(pool_class of) const noexcept {
        const std::uint64_t used = shared_->used.load(relaxed);  // the compare-exchange of grow decides
        constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
        return used > most ? most : end_of_slab(static_cast<std::size_t>(used), slab_shape_of(of));
    }

    /// Adds a slab behind what is in use of `bytes`: the pool's region, at the same address, as long as it is now. Returns the
    /// slab's number. `too_small` names the length that it takes; after `contended` there is a slab more already.
    [[nodiscard]] result<std::uint32_t> grow(region bytes, pool_class of) noexcept {
        if (const auto done = extend(bytes); !done) return done.error();
        const slab_shape shape = slab_shape_of(of);
        if (const auto refused = refuses_growth(shape)) return *refused;
        std::uint64_t used = shared_->used.load(relaxed);  // the compare-exchange decides
        if (used < sizeof(header)) return fault{fault_kind::too_small, sizeof(header), used, "bytes in use"};
        const std::size_t end = used > bytes.size_bytes() ? std::numeric_limits<std::size_t>::max()
                                                          : end_of_slab(static_cast<std::size_t>(used), shape);
        if (end > bytes.size_bytes()) return fault{fault_kind::too_small, end, bytes.size_bytes()};
        const std::uint64_t expected = used;
        if (!shared_->used.compare_exchange_strong(used, end, relaxed,  // the bytes beyond are nobody's, and zero
                                                   relaxed))            // to say what was found
            return fault{fault_kind::contended, expected, used};
        const std::size_t place = aligned(static_cast<std::size_t>(expected), alignment_);
        if (const auto made = slab::create(*bytes.subregion(place, end - place), shape); !made) return made.error();
        return publish(place | header::in_region, [](std::uint32_t) {});
    }

    /// The bytes that an annex for that slab needs.
    [[nodiscard]] std::size_t annex_size(pool_class of) const noexcept {
        return end_of_slab(sizeof(annex_header), slab_shape_of(of));
    }

    /// Adds a slab that lies in `annex`, whose bytes must be zero. Returns its number. Whoever is to use the slab, or those
    /// after it, has to attach to the annex, in this process too.
    [[nodiscard]] result<std::uint32_t> add_annex(region annex, pool_class of) noexcept {
        const slab_shape shape = slab_shape_of(of);
        if (const auto refused = refuses_growth(shape)) return *refused;
        if (annex.size_bytes() < annex_size(of))
            return fault{fault_kind::too_small, annex_size(of), annex.size_bytes()};
        const auto shared = annex.get<annex_header>();
        if (!shared) return shared.error();
        if (!annex.writable()) return fault{fault_kind::access_denied, 1, 0, "creator"};
        if (const auto made = slab::create(slab_of(annex), shape); !made) return made.error();
        (*shared)->magic.write(annex_header::magic_value);
        return publish(header::in_annex, [&](std::uint32_t number) { (*shared)->slab_number.write(number); });
    }

    /// Attaches to the next slab, which lies in `annex`, and meets those after it. `slab_number`: it is another one's annex.
    [[nodiscard]] result<void> attach_annex(region annex) noexcept {
        if (annex.size_bytes() < slab_offset_in_annex())
            return fault{fault_kind::too_small, slab_offset_in_annex(), annex.size_bytes()};
        if (const auto here = base_.mapped_here(); !here) return here.error();
        const auto found = annex.get<annex_header>();
        if (!found) return found.error();
        const annex_header& shared = **found;
        const std::uint64_t place = count_ < max_slabs ? shared_->places[count_].load(acquire)  // [added]
                                                       : header::no_slab;
        if (place != header::in_annex) return fault{fault_kind::not_ready, header::in_annex, place, "place of a slab"};
        if (const auto magic = shared.magic.read(); magic != annex_header::magic_value)
            return fault{fault_kind::magic, annex_header::magic_value, magic};
        if (const auto number = shared.slab_number.read(); number != count_)
            return fault{fault_kind::slab_number, count_, number};
        if (const auto done = take_on(slab_of(annex)); !done) return done;
        return meet();
    }

    /// The bytes of the slot that a handle names; none when this object has attached to no such slot, and in a read-only
    /// region. Whether the handle is fresh is not looked at: who holds it knows, or is refused when it gives it back.
    [[nodiscard]] std::span<std::byte> data(pool_handle handle) const noexcept {
        if (handle.slab() >= count_) return {};
        return slabs_[handle.slab()]->data(handle.slot());
    }

    /// How many slabs this object has attached to; their numbers are below.
    [[nodiscard]] std::uint32_t slab_count() const noexcept { return count_; }

    /// One of them: its slots' size and count, and how many are free. Precondition: `number` is below slab_count().
    [[nodiscard]] const slab& slab_at(std::uint32_t number) const noexcept {
        assert(number < count_);
        return *slabs_[number];
    }

private:
    var_slot_pool(region bytes, header& shared, std::uint32_t alignment, std::uint32_t member_count) noexcept
        : base_{bytes}, shared_{&shared}, alignment_{alignment}, member_count_{member_count} {}

    [[nodiscard]] static result<var_slot_pool> attached(region bytes, header& shared, std::uint32_t alignment,
                                                        std::uint32_t member_count) noexcept {
        var_slot_pool pool{bytes, shared, alignment, member_count};
        if (const auto all = pool.meet(); !all) return all.error();
        return pool;
    }

    [[nodiscard]] static constexpr std::size_t aligned(std::size_t offset, std::size_t alignment) noexcept {
        const std::size_t to = alignment < cache_line_bytes ? cache_line_bytes : alignment;
        return offset > std::numeric_limits<std::size_t>::max() - to ? offset : (offset + to - 1) / to * to;
    }
    [[nodiscard]] static constexpr slab_shape slab_shape_of(pool_class of, pool_shape in) noexcept {
        return {of.slot_count, of.slot_size, in.slot_alignment, in.member_count};
    }
    [[nodiscard]] slab_shape slab_shape_of(pool_class of) const noexcept {
        return {of.slot_count, of.slot_size, alignment_, member_count_};
    }

    /// Where a slab ends that is placed behind `offset`.
    [[nodiscard]] static constexpr std::size_t end_of_slab(std::size_t offset, slab_shape shape) noexcept {
        constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
        const std::size_t place = aligned(offset, shape.slot_alignment), size = slab::required_size(shape);
        return size > most - place ? most : place + size;
    }

    [[nodiscard]] static constexpr std::optional<fault> wrong(slab_shape shape) noexcept {
        if (shape.slot_count > max_slots) return fault{fault_kind::count, max_slots, shape.slot_count, "slots"};
        return slab::wrong(shape);
    }

    [[nodiscard]] static result<header*> aligned_header(region bytes, std::uint32_t alignment) noexcept {
        const auto past = reinterpret_cast<std::uintptr_t>(bytes.data()) % alignment;
        if (past != 0) return fault{fault_kind::misaligned, alignment, past};
        return bytes.get<header>();
    }

    [[nodiscard]] std::size_t slab_offset_in_annex() const noexcept {
        return aligned(sizeof(annex_header), alignment_);
    }
    [[nodiscard]] region slab_of(region annex) const noexcept {
        return *annex.subregion(slab_offset_in_annex(), annex.size_bytes() - slab_offset_in_annex());
    }

    /// Why no slab of that shape can be added.
    [[nodiscard]] std::optional<fault> refuses_growth(slab_shape shape) const noexcept {
        if (!base_.writable()) return fault{fault_kind::access_denied, 1, 0, "creator"};
        if (const auto here = base_.mapped_here(); !here) return here.error();
        if (const auto refused = wrong(shape)) return refused;
        if (shared_->places[max_slabs - 1].load(relaxed) != header::no_slab)  // the compare-exchange decides
            return fault{fault_kind::count, max_slabs, max_slabs + 1, "slabs"};
        return std::nullopt;
    }

    /// Puts a whole slab into the first place that is free; `told` is told the number before anybody can see it.
    template <class Told>
    [[nodiscard]] result<std::uint32_t> publish(std::uint64_t place, Told told) noexcept {
        for (std::uint32_t number = count_; number < max_slabs; ++number) {
            told(number);
            std::uint64_t before = header::no_slab;
            if (shared_->places[number].compare_exchange_strong(before, place, release,  // [added]
                                                                relaxed))                // taken: the next one
                return number;
        }
        return fault{fault_kind::count, max_slabs, max_slabs + 1, "slabs"};
    }

    /// Attaches to the next slab, at the start of `bytes`.
    [[nodiscard]] result<void> take_on(region bytes) noexcept {
        const auto found = slab::attach(bytes);
        if (!found) return found.error();
        if (found->slot_count() > max_slots) return fault{fault_kind::count, max_slots, found->slot_count(), "slots"};
        slabs_[count_] = *found;
        std::uint32_t at = count_;
        for (; at > 0 && slabs_[by_size_[at - 1]]->slot_size() > found->slot_size(); --at)
            by_size_[at] = by_size_[at - 1];
        by_size_[at] = static_cast<std::uint8_t>(count_);
        ++count_;
        return {};
    }

    region base_;
    header* shared_;
    std::uint32_t alignment_;
    std::uint32_t member_count_;
    std::uint32_t count_ = 0;                        // of the slabs attached to
    std::array<std::uint8_t, max_slabs> by_size_{};  // their numbers, smallest slots first
    std::array<std::optional<slab>, max_slabs> slabs_{};
};

/// Who allocates and gives back: an entry in each slab. Move-only.
///
/// A handle may be freed by any member. An owner is there for `reclaim`, not for permission. Each operation on a handle
/// returns what treiber_slab_raw's does, or `no_such_slab`: of a slab that does not exist, or that this member cannot join,
/// for the reason that `meet` says.
template <slab_widths Widths, atomics_layer Atomics>
class var_slot_pool<Widths, Atomics>::member {
public:
    /// Takes a slot of at least `bytes` bytes, of the smallest size that has one free: a handle; `too_large` when no slab that
    /// this member has joined has such slots; `would_block`, `contended` or `corrupt`.
    [[nodiscard]] pool_alloc_result try_alloc(std::size_t bytes) noexcept {
        pool_alloc_result taken = take(bytes);
        while (!taken && taken.status() != alloc_status::corrupt) {
            const std::uint32_t before = joined_;
            (void)meet();  // what it cannot join is not there
            if (joined_ == before) break;
            taken = take(bytes);
        }
        return taken;
    }

    /// Says that an allocated slot has been sent: from now on `free` gives it back, and `adopt` takes it on.
    [[nodiscard]] result<void, slot_error> mark_in_flight(pool_handle handle) noexcept {
        return in_slab(handle, &slab_member::mark_in_flight);
    }

    /// Takes on what another has sent: the slot is allocated, and this member's.
    [[nodiscard]] result<void, slot_error> adopt(pool_handle handle) noexcept {
        return in_slab(handle, &slab_member::adopt);
    }

    /// Gives back a slot that is in flight. After `contended` it may be called again with the same handle; other calls for
    /// this slab first finish this one.
    [[nodiscard]] result<void, free_error> free(pool_handle handle) noexcept {
        return in_slab(handle, &slab_member::free);
    }

    /// Gives back a slot that is allocated, likewise.
    [[nodiscard]] result<void, free_error> free_allocated(pool_handle handle) noexcept {
        return in_slab(handle, &slab_member::free_allocated);
    }

    /// The bytes of the slot that a handle names, as var_slot_pool::data.
    [[nodiscard]] std::span<std::byte> data(pool_handle handle) const noexcept { return pool_.data(handle); }

    /// Gives back what a dead peer had in any slab, as the slab's reclaim does; `lost` is asked with a pool_handle. It is not
    /// complete while there is a slab that this member cannot join. An error is the first slab's that has one; the others
    /// have been seen to.
    template <class Lost>
    [[nodiscard]] result<reclaimed, slot_error> reclaim(const proof_of_death& dead, Lost lost) noexcept {
        return in_each_slab([&](slab_member& there, std::uint32_t number) {
            return there.reclaim(dead, [&](slot_handle slot) { return lost(pool_handle{number, slot}); });
        });
    }

    /// The same; what the dead has sent stays in flight.
    [[nodiscard]] result<reclaimed, slot_error> reclaim(const proof_of_death& dead) noexcept {
        return reclaim(dead, [](pool_handle) { return false; });
    }

    /// Gives back each slot in flight of which `lost(pool_handle)` says that nobody can receive it any more, as the slab's
    /// reclaim_in_flight does. It is not complete while there is a slab that this member cannot join.
    template <class Lost>
    [[nodiscard]] result<reclaimed, slot_error> reclaim_in_flight(Lost lost) noexcept {
        return in_each_slab([&](slab_member& there, std::uint32_t number) {
            return there.reclaim_in_flight([&](slot_handle slot) { return lost(pool_handle{number, slot}); });
        });
    }

    /// Joins the slabs that have been added since; operations that need one do it themselves. Says what keeps it from one.
    [[nodiscard]] result<void> meet() noexcept { return join_after(pool_.meet()); }

    /// Takes note that the region has become longer at the same address, and joins the slabs there.
    [[nodiscard]] result<void> extend(region bytes) noexcept { return join_after(pool_.extend(bytes)); }

    /// Joins the next slab, which lies in `annex`, and those after it. The annex has to outlive the member, as the region has.
    [[nodiscard]] result<void> attach_annex(region annex) noexcept { return join_after(pool_.attach_annex(annex)); }

    /// How many slabs this member has joined; their numbers are below.
    [[nodiscard]] std::uint32_t slab_count() const noexcept { return joined_; }

    /// Whether this member has ever met nonsense in a slab. Where a slot of that slab's would be next, it allocates no more.
    [[nodiscard]] bool corrupt() const noexcept {
        for (std::uint32_t number = 0; number < joined_; ++number)
            if (members_[number]->corrupt()) return true;
        return false;
    }

private:
    friend class var_slot_pool;
    using slab_member = typename slab::member;

    member(const var_slot_pool& pool, peer_id me) noexcept : pool_{pool}, peer_{me} {}

    /// Whether the table names a slab that is not joined.
    [[nodiscard]] bool more() const noexcept {
        return joined_ < max_slabs &&
               pool_.shared_->places[joined_].load(relaxed) != header::no_slab;  // nothing of it is used
    }

    [[nodiscard]] result<void> join_after(result<void> met) noexcept {
        for (; joined_ < pool_.count_; ++joined_) {
            auto joined = pool_.slabs_[joined_]->join(peer_);
            if (!joined) return joined.error();
            members_[joined_].emplace(*std::move(joined));
        }
        return met;
    }

    [[nodiscard]] pool_alloc_result take(std::size_t bytes) noexcept {
        alloc_status why = alloc_status::too_large;
        for (std::uint32_t at = 0; at < pool_.count_; ++at) {
            const std::uint32_t number = pool_.by_size_[at];
            if (number >= joined_ || pool_.slabs_[number]->slot_size() < bytes) continue;
            const alloc_result taken = members_[number]->try_alloc();
            if (taken) return pool_handle{number, *taken};
            if (taken.status() == alloc_status::corrupt) return alloc_status::corrupt;
            if (why != alloc_status::contended) why = taken.status();
        }
        return why;
    }

    /// What a reclaim has done in all slabs; its first error, when all have been seen to.
    template <class Reclaim>
    [[nodiscard]] result<reclaimed, slot_error> in_each_slab(Reclaim reclaim) noexcept {
        if (const auto here = pool_.base_.mapped_here(); !here)
            return slot_error{slot_error::kind::wrong_process, here.error().expected, here.error().found};
        reclaimed all;
        all.complete = meet().has_value() && !more();
        std::optional<slot_error> refused;
        for (std::uint32_t number = 0; number < joined_; ++number) {
            const result<reclaimed, slot_error> done = reclaim(*members_[number], number);
            if (!done) {
                if (!refused) refused = done.error();
                continue;
            }
            all.returned += done->returned;
            all.in_flight += done->in_flight;
            all.complete = all.complete && done->complete;
        }
        if (refused) return *refused;
        return all;
    }

    template <class Operation>
    [[nodiscard]] result<void, slot_error> in_slab(pool_handle handle, Operation operation) noexcept {
        if (handle.slab() >= joined_) (void)meet();  // what it cannot join is not there
        if (handle.slab() >= joined_) return slot_error{slot_error::kind::no_such_slab, joined_, handle.slab()};
        return ((*members_[handle.slab()]).*operation)(handle.slot());
    }

    var_slot_pool pool_;
    peer_id peer_;
    std::uint32_t joined_ = 0;  // the slabs below that number
    std::array<std::optional<slab_member>, max_slabs> members_{};
};

}  // namespace v1
}  // namespace shm
