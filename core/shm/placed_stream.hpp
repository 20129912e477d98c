// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <shm/object/arrays.hpp>
#include <shm/region.hpp>
#include <shm/role.hpp>

namespace shm {
inline namespace v1 {

/// Places a raw ring or bip buffer in a region, header first, and enforces its two roles: what `Placed`, which derives
/// from it, is beside its `Raw`.
///
/// Promise    each role has one holder at a time
/// Progress   claims as in role, all else that of Raw
/// Callers    anyone, at any time
/// Shape      Raw's header at the region's start, which must be aligned to 64, then the slots
/// Edges      those of Raw, and [hand-over] of role for the two claim words
/// Refuses    create: `misaligned`, `too_small`, `access_denied`, and what Raw refuses. attach: `misaligned`,
///            `too_small`, and what Raw refuses. Claims: `access_denied`, `peer_id`, `busy`, and what
///            Raw calls nonsense, `positions` or `watermark`, after which the role is nobody's; take-overs: `not_holder` in
///            place of `busy`. All: `wrong_process`
/// Fork       a child attaches anew. Its copies of the ends give nothing up when they are destroyed. No operation asks whose
///            they are: over a memfd_region or mmap_region the child has no such bytes, and using a copy is its SIGSEGV; over
///            other shared memory it is a second user of the role
/// Crash      the dead peer's role is taken over with a proof of its death
/// Trust      claims bind peers that use them, not hostile ones
/// Source     none
template <class Placed, class Raw, atomics_layer Atomics>
class placed_stream {
    using claims = role<Atomics>;
    static constexpr const char* producer_role = "producer role";
    static constexpr const char* consumer_role = "consumer role";

    /// One end of the raw stream, for as long as its role is held.
    template <class End>
    class held : public End {
    public:
        held(held&&) noexcept = default;
        held& operator=(held&&) noexcept = default;

    private:
        friend class placed_stream;
        held(claims role, End end) noexcept : End{std::move(end)}, role_{std::move(role)} {}
        claims role_;
    };

public:
    using position = typename Raw::position;        ///< counts slots for ever, and wraps
    using header = typename Raw::header;            ///< what lies at the region's start
    using slot = typename Raw::slot;                ///< what holds an item
    using producer = held<typename Raw::producer>;  ///< Raw's producer, and its role
    using consumer = held<typename Raw::consumer>;  ///< Raw's consumer, and its role

    /// In slots.
    static constexpr std::uint32_t max_capacity = Raw::max_capacity;

    /// What `create` refuses of a capacity, whatever the region.
    [[nodiscard]] static constexpr std::optional<fault> wrong(std::size_t capacity) noexcept {
        return Raw::wrong(capacity);
    }

    /// The bytes that `capacity` slots need; the largest number there is when no region could hold it.
    [[nodiscard]] static constexpr std::size_t required_size(std::size_t capacity) noexcept {
        return end_of_array(slots_offset, capacity, sizeof(slot));
    }

    /// Makes an empty one of `capacity` slots at the start of `bytes`, which must be zero there.
    [[nodiscard]] static result<Placed> create(region bytes, std::size_t capacity,
                                               position first_position = 0) noexcept {
        if (bytes.size_bytes() < required_size(capacity))
            return fault{fault_kind::too_small, required_size(capacity), bytes.size_bytes()};
        const auto shared = bytes.get<header>();
        if (!shared) return shared.error();
        if (!bytes.writable()) return read_only("creator");
        return placed(bytes, Raw::create(**shared, {first_slot(bytes), capacity}, first_position));
    }

    /// Attaches to the one at the start of `bytes`. A read-only region is enough for an observer.
    [[nodiscard]] static result<Placed> attach(region bytes, deadline until = {}) noexcept {
        if (bytes.size_bytes() < slots_offset) return fault{fault_kind::too_small, slots_offset, bytes.size_bytes()};
        const auto shared = bytes.get<header>();
        if (!shared) return shared.error();
        return placed(
            bytes,
            Raw::attach(**shared, {first_slot(bytes), (bytes.size_bytes() - slots_offset) / sizeof(slot)}, until));
    }

    /// Takes the producer's role, which nobody may hold. It is given up when the returned end is destroyed.
    [[nodiscard]] result<producer> claim_producer(peer_id me) const noexcept {
        if (const auto refused = refuses(producer_role)) return *refused;
        return hold<producer>(claims::claim(raw_.shared().producer_claim, me, producer_role), &Raw::make_producer);
    }

    /// Takes the consumer's role, likewise.
    [[nodiscard]] result<consumer> claim_consumer(peer_id me) const noexcept {
        if (const auto refused = refuses(consumer_role)) return *refused;
        return hold<consumer>(claims::claim(raw_.shared().consumer_claim, me, consumer_role), &Raw::make_consumer);
    }

    /// Takes the role of a producer that is proven dead, where it left off.
    [[nodiscard]] result<producer> take_over_producer(peer_id me, const proof_of_death& dead) const noexcept {
        if (const auto refused = refuses(producer_role)) return *refused;
        return hold<producer>(claims::take_over(raw_.shared().producer_claim, me, dead, producer_role),
                              &Raw::make_producer);
    }

    /// Takes the role of a consumer that is proven dead, likewise.
    [[nodiscard]] result<consumer> take_over_consumer(peer_id me, const proof_of_death& dead) const noexcept {
        if (const auto refused = refuses(consumer_role)) return *refused;
        return hold<consumer>(claims::take_over(raw_.shared().consumer_claim, me, dead, consumer_role),
                              &Raw::make_consumer);
    }

    /// Claims both roles for one peer, to hand one of them to another thread.
    [[nodiscard]] result<std::pair<producer, consumer>> split(peer_id me) const noexcept {
        auto writing = claim_producer(me);
        if (!writing) return writing.error();
        auto reading = claim_consumer(me);
        if (!reading) return reading.error();
        return std::pair{*std::move(writing), *std::move(reading)};
    }

    /// In slots.
    [[nodiscard]] std::uint32_t capacity() const noexcept { return raw_.capacity(); }

    /// How many slots a third observer sees in use, at any time; while somebody uses them, how many were about now.
    [[nodiscard]] std::uint32_t size_approx() const noexcept { return raw_.size_approx(); }

    /// Whether size_approx() is 0.
    [[nodiscard]] bool is_empty() const noexcept { return raw_.is_empty(); }

    /// All that a third observer sees, at any time.
    [[nodiscard]] auto status() const noexcept { return raw_.status(); }

private:
    static constexpr std::size_t slots_offset = aligned_up(sizeof(header), alignof(slot));

    friend Placed;
    placed_stream(region bytes, Raw made) noexcept : raw_{made}, bytes_{bytes} {}

    [[nodiscard]] static result<Placed> placed(region bytes, result<Raw> made) noexcept {
        if (!made) return made.error();
        return Placed{placed_stream{bytes, *made}};
    }
    [[nodiscard]] static slot* first_slot(region bytes) noexcept {
        return reinterpret_cast<slot*>(bytes.data() + slots_offset);
    }

    template <class Held, class Make>
    [[nodiscard]] result<Held> hold(result<claims> role, Make make) const noexcept {
        if (!role) return role.error();
        Held end{*std::move(role), (raw_.*make)()};
        if (end.corrupt()) return raw_.nonsense();
        return end;
    }
    [[nodiscard]] std::optional<fault> refuses(const char* wanted) const noexcept {
        if (!bytes_.writable()) return read_only(wanted);
        if (const auto here = bytes_.mapped_here(); !here) return here.error();
        return std::nullopt;
    }
    [[nodiscard]] static fault read_only(const char* wanted) noexcept {
        return {fault_kind::access_denied, 1, 0, wanted};
    }

    Raw raw_;
    region bytes_;
};

}  // namespace v1
}  // namespace shm
