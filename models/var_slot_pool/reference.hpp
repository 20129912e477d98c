// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// The obvious reference of a pool: that of a slab for each of its slabs. An allocation takes the smallest slot that fits and is
// free. A call on a pool is one on the free lists that it looks at, and one on a slot.
#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <shm/pool_handle.hpp>

#include "models/treiber_slab/reference.hpp"

namespace shm::model {

struct pool_call {
    slab_call::kind what;
    std::size_t member = 0;  // who calls
    std::size_t bytes = 0;   // of an allocation
    bool latest = false;     // with the handle that this member has allocated last,
    pool_handle handle{};    // or else with this one, whoever has it
};

/// Makes the call on anything that has a pool's operations. The answer is as that of a slab, with the handle of a pool.
template <class Pool>
[[nodiscard]] slab_answer perform(const pool_call& call, Pool& pool) {
    if (call.what == slab_call::try_alloc) {
        const pool_alloc_result taken = pool.try_alloc(call.member, call.bytes);
        return {static_cast<std::uint64_t>(taken.status()), (*taken).word()};
    }
    const pool_handle handle = call.latest ? pool.latest(call.member) : call.handle;
    return answer_of(handle.word(), pool.change(call.what, call.member, handle));
}

struct pool_reference {
    using call = pool_call;
    using part = slab_part;

    struct slab {
        std::size_t slot_size;
        slab_reference slots;

        auto operator<=>(const slab&) const = default;
    };
    std::vector<slab> slabs{};                  // by their numbers
    std::vector<pool_handle> allocated_last{};  // by each member

    pool_reference() = default;
    explicit pool_reference(std::size_t members) : allocated_last(members) {}

    /// Another slab, of slots that are that large.
    void add(std::uint32_t slot_count, std::size_t slot_size) {
        slabs.push_back({slot_size, slab_reference{slot_count, allocated_last.size()}});
    }

    // Of handles there is no order; all else tells where the execution has got to.
    friend auto operator<=>(const pool_reference& a, const pool_reference& b) { return a.key() <=> b.key(); }

    pool_alloc_result try_alloc(std::size_t member, std::size_t bytes) {
        alloc_status why = alloc_status::too_large;
        for (const std::size_t number : by_size()) {
            if (slabs[number].slot_size < bytes) continue;
            if (const auto taken = slabs[number].slots.try_alloc(member))
                return allocated_last[member] = pool_handle{static_cast<std::uint32_t>(number), *taken};
            why = alloc_status::would_block;
        }
        return why;
    }
    [[nodiscard]] pool_handle latest(std::size_t member) const { return allocated_last[member]; }
    slot_change change(slab_call::kind how, std::size_t member, pool_handle handle) {
        if (handle.slab() >= slabs.size())
            return slot_error{slot_error::kind::no_such_slab, slabs.size(), handle.slab()};
        return slabs[handle.slab()].slots.change(how, member, handle.slot());
    }

    /// The parts of each slab.
    [[nodiscard]] std::size_t part_count() const {
        std::size_t count = 0;
        for (const slab& each : slabs) count += each.slots.part_count();
        return count;
    }
    [[nodiscard]] const slab_part& at(std::size_t number) const {
        const auto [of, there] = place(number);
        return slabs[of].slots.at(there);
    }
    [[nodiscard]] std::string part_name(std::size_t number) const {
        const auto [of, there] = place(number);
        return slabs[of].slots.part_name(there) + " of slab " + std::to_string(of);
    }

    /// Whether a call that was told that is a call on the part, and what it was told there. An allocation looks at the free
    /// lists of the sizes that fit up to that of the slot that it got; one that is refused, at the last in any case.
    [[nodiscard]] std::optional<std::pair<slab_part_call, slab_answer>> on_part(std::size_t number,
                                                                                const pool_call& made,
                                                                                const slab_answer& told) const {
        const auto [of, there] = place(number);
        const bool allocates = made.what == slab_call::try_alloc;
        const auto handle = pool_handle::from_word(told[allocates ? 1 : 0]);
        slab_answer told_there = told;
        told_there[allocates ? 1 : 0] = handle.slot().word();
        if (!allocates) {
            if (of != handle.slab()) return std::nullopt;
            return slabs[of].slots.on_part(there, {made.what}, told_there);
        }
        const std::vector<std::size_t> order = by_size();
        const std::size_t last = handle == pool_handle{} ? order.back() : handle.slab();
        const bool fits = slabs[of].slot_size >= made.bytes;
        if (of != last) {
            const auto at = [&](std::size_t which) { return std::ranges::find(order, which); };
            if (!fits || at(of) > at(last)) return std::nullopt;
            if (handle != pool_handle{}) told_there = {static_cast<std::uint64_t>(alloc_status::would_block), 0};
        }
        auto asked = slabs[of].slots.on_part(there, {slab_call::try_alloc}, told_there);
        if (asked) asked->first.fits = fits;
        return asked;
    }

private:
    /// The numbers of the slabs, smallest slots first.
    [[nodiscard]] std::vector<std::size_t> by_size() const {
        std::vector<std::size_t> order(slabs.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::ranges::sort(order, {}, [this](std::size_t number) { return std::pair{slabs[number].slot_size, number}; });
        return order;
    }
    /// Which slab a part is of, and which part of it.
    [[nodiscard]] std::pair<std::size_t, std::size_t> place(std::size_t number) const {
        std::size_t of = 0;
        for (; number >= slabs[of].slots.part_count(); ++of) number -= slabs[of].slots.part_count();
        return {of, number};
    }
    [[nodiscard]] std::pair<std::vector<slab>, std::vector<std::uint64_t>> key() const {
        std::pair<std::vector<slab>, std::vector<std::uint64_t>> all{slabs, {}};
        for (const pool_handle handle : allocated_last) all.second.push_back(handle.word());
        return all;
    }
};

/// What a call answered, for people.
[[nodiscard]] inline std::string handle_text(pool_handle handle) {
    if (handle == pool_handle{}) return "nothing";
    return handle_text(handle.slot()) + " of slab " + std::to_string(handle.slab());
}
[[nodiscard]] inline std::string answer_text(const pool_call& made, const slab_answer& told) {
    const auto handle = pool_handle::from_word(told[made.what == slab_call::try_alloc ? 1 : 0]);
    return answer_text(made.what, made.latest, handle_text(handle), told);
}

inline std::ostream& operator<<(std::ostream& out, const pool_reference& shown) {
    out << "a pool";
    const char* between = " of ";
    for (const auto& each : shown.slabs)
        out << std::exchange(between, " and ") << each.slots.slots.size() << " of " << each.slot_size << " bytes";
    return out;
}

inline std::ostream& operator<<(std::ostream& out, const pool_call& shown) {
    out << name_of(shown.what) << '(';
    if (shown.what == slab_call::try_alloc)
        out << shown.bytes;
    else
        out << (shown.latest ? "latest" : handle_text(shown.handle));
    return out << ')';
}

}  // namespace shm::model
