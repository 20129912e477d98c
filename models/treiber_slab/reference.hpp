// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// The obvious reference of a slab: a pile of free slots, and of each slot its generation and state. A call on a slab is one
// on the pile, one on a slot, or one of each; the generated clients hold each of these against what was told.
#include <compare>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <shm/slot_handle.hpp>

namespace shm::model {

struct slab_call {
    enum kind : std::uint8_t { try_alloc, mark_in_flight, adopt, free, free_allocated };
    kind what;
    std::size_t member = 0;  // who calls
    bool latest = false;     // with the handle that this member has allocated last,
    std::uint32_t index = 0;
    std::uint64_t generation = 0;  // or else with this one, whoever has it
};

/// What a call answers: of an allocation its status and handle; else the handle that it was called with, and the error.
using slab_answer = std::vector<std::uint64_t>;

using slot_change = std::optional<slot_error>;

[[nodiscard]] inline slab_answer answer_of(std::uint64_t handle, const slot_change& refused) {
    if (!refused) return {handle};
    return {handle, static_cast<std::uint64_t>(refused->what), refused->expected, refused->actual};
}

/// The call on a handle, by a member of a slab or of a pool.
template <class Member, class Handle>
[[nodiscard]] slot_change change_by(Member& by, slab_call::kind how, Handle handle) {
    const auto done = how == slab_call::mark_in_flight ? by.mark_in_flight(handle)
                      : how == slab_call::adopt        ? by.adopt(handle)
                      : how == slab_call::free         ? by.free(handle)
                                                       : by.free_allocated(handle);
    return done ? slot_change{} : done.error();
}

/// Makes the call on anything that has a slab's operations.
template <class Slab>
[[nodiscard]] slab_answer perform(const slab_call& call, Slab& slab) {
    if (call.what == slab_call::try_alloc) {
        const alloc_result taken = slab.try_alloc(call.member);
        return {static_cast<std::uint64_t>(taken.status()), (*taken).word()};
    }
    const slot_handle handle = call.latest ? slab.latest(call.member) : slot_handle{call.index, call.generation};
    return answer_of(handle.word(), slab.change(call.what, call.member, handle));
}

/// A call on the pile, or on one slot.
struct slab_part_call {
    enum kind : std::uint8_t { take, put, begin, change };
    kind what;
    slab_call::kind how = slab_call::try_alloc;  // of a change
    slot_handle handle{};
    bool fits = true;  // of a take: the slot is not too small
};

/// The pile, or one slot.
struct slab_part {
    using call = slab_part_call;

    std::vector<std::uint32_t> pile{};  // the last one is taken first
    std::uint64_t generation = 1;
    slot_state state = slot_state::free;

    auto operator<=>(const slab_part&) const = default;

    std::optional<std::uint32_t> take() {
        if (pile.empty()) return std::nullopt;
        const std::uint32_t top = pile.back();
        pile.pop_back();
        return top;
    }
    std::uint64_t begin() {
        const bool was_free = std::exchange(state, slot_state::allocated) == slot_state::free;
        return was_free ? generation : 0;
    }
    slot_change change(slab_call::kind how, slot_handle handle) {
        using enum slot_state;
        const auto number = [](slot_state of) { return static_cast<std::uint64_t>(of); };
        const slot_state from = how == slab_call::adopt || how == slab_call::free ? in_flight : allocated;
        if (generation != handle.generation())
            return slot_error{slot_error::kind::generation_mismatch, handle.generation(), generation};
        if (state != from) return slot_error{slot_error::kind::invalid_state, number(from), number(state)};
        state = how == slab_call::mark_in_flight ? in_flight : how == slab_call::adopt ? allocated : slot_state::free;
        if (state == slot_state::free) ++generation;
        return std::nullopt;
    }
};

[[nodiscard]] inline slab_answer perform(const slab_part_call& call, slab_part& part) {
    switch (call.what) {
        case slab_part_call::take: {
            if (!call.fits) return {static_cast<std::uint64_t>(alloc_status::too_large)};
            const auto top = part.take();
            if (!top) return {static_cast<std::uint64_t>(alloc_status::would_block)};
            return {static_cast<std::uint64_t>(alloc_status::allocated), *top};
        }
        case slab_part_call::put: part.pile.push_back(call.handle.index()); return {};
        case slab_part_call::begin: return {part.begin()};
        case slab_part_call::change: {
            const slot_change refused = part.change(call.how, call.handle);
            if (!refused) return {};
            return {static_cast<std::uint64_t>(refused->what), refused->expected, refused->actual};
        }
    }
    return {};
}

struct slab_reference {
    using call = slab_call;
    using part = slab_part;

    std::vector<slab_part> slots{};
    slab_part pile{};
    std::vector<slot_handle> allocated_last{};  // by each member

    slab_reference() = default;
    slab_reference(std::uint32_t slot_count, std::size_t members) : slots(slot_count), allocated_last(members) {
        while (slot_count-- != 0) pile.pile.push_back(slot_count);
    }

    // Of handles there is no order; all else tells where the execution has got to.
    friend auto operator<=>(const slab_reference& a, const slab_reference& b) { return a.key() <=> b.key(); }

    alloc_result try_alloc(std::size_t member) {
        const auto top = pile.take();
        if (!top) return alloc_status::would_block;
        return allocated_last[member] = slot_handle{*top, slots[*top].begin()};
    }
    [[nodiscard]] slot_handle latest(std::size_t member) const { return allocated_last[member]; }
    slot_change change(slab_call::kind how, std::size_t, slot_handle handle) {
        if (handle.index() >= slots.size())
            return slot_error{slot_error::kind::invalid_index, slots.size(), handle.index()};
        slab_part& slot = slots[handle.index()];
        const slot_change refused = slot.change(how, handle);
        if (!refused && slot.state == slot_state::free) pile.pile.push_back(handle.index());
        return refused;
    }

    /// The slots, then the pile.
    [[nodiscard]] std::size_t part_count() const { return slots.size() + 1; }
    [[nodiscard]] const slab_part& at(std::size_t number) const { return number < slots.size() ? slots[number] : pile; }
    [[nodiscard]] std::string part_name(std::size_t number) const {
        return number < slots.size() ? "slot " + std::to_string(number) : "the free list";
    }

    /// Whether a call that was told that is a call on the part, and what it was told there.
    [[nodiscard]] std::optional<std::pair<slab_part_call, slab_answer>> on_part(std::size_t number,
                                                                                const slab_call& made,
                                                                                const slab_answer& told) const {
        const bool allocates = made.what == slab_call::try_alloc;
        const auto handle = slot_handle::from_word(told[allocates ? 1 : 0]);
        const bool refused = allocates ? handle == slot_handle{} : told.size() > 1;
        const bool is_pile = number == slots.size();
        if (!is_pile && (number != handle.index() || (allocates && refused))) return std::nullopt;
        if (allocates && is_pile)
            return std::pair{slab_part_call{slab_part_call::take},
                             refused ? slab_answer{told[0]} : slab_answer{told[0], handle.index()}};
        if (allocates) return std::pair{slab_part_call{slab_part_call::begin}, slab_answer{handle.generation()}};
        if (!is_pile)
            return std::pair{slab_part_call{slab_part_call::change, made.what, handle},
                             slab_answer{told.begin() + 1, told.end()}};
        const bool gives_back = made.what == slab_call::free || made.what == slab_call::free_allocated;
        if (refused || !gives_back) return std::nullopt;
        return std::pair{slab_part_call{slab_part_call::put, made.what, handle}, slab_answer{}};
    }

private:
    [[nodiscard]] std::pair<std::vector<slab_part>, std::vector<std::uint64_t>> key() const {
        std::pair<std::vector<slab_part>, std::vector<std::uint64_t>> all{slots, {}};
        all.first.push_back(pile);
        for (const slot_handle handle : allocated_last) all.second.push_back(handle.word());
        return all;
    }
};

/// What a call answered, for people.
[[nodiscard]] inline std::string handle_text(slot_handle handle) {
    if (handle == slot_handle{}) return "nothing";
    return "slot " + std::to_string(handle.index()) + " generation " + std::to_string(handle.generation());
}
[[nodiscard]] inline std::string answer_text(slab_call::kind what, bool latest, const std::string& handle,
                                             const slab_answer& told) {
    constexpr const char* results[] = {"", "would block", "too large", "contended", "corrupt"};
    if (what == slab_call::try_alloc) return told[0] == 0 ? handle : results[told[0]];
    const std::string with = latest ? "of " + handle + ": " : "";
    if (told.size() == 1) return with + "done";
    return with + slot_error{static_cast<slot_error::kind>(told[1]), told[2], told[3]}.sentence();
}
[[nodiscard]] inline std::string answer_text(const slab_call& made, const slab_answer& told) {
    const auto handle = slot_handle::from_word(told[made.what == slab_call::try_alloc ? 1 : 0]);
    return answer_text(made.what, made.latest, handle_text(handle), told);
}
[[nodiscard]] inline const char* name_of(slab_call::kind what) {
    constexpr const char* names[] = {"try_alloc", "mark_in_flight", "adopt", "free", "free_allocated"};
    return names[what];
}

inline std::ostream& operator<<(std::ostream& out, const slab_reference& shown) {
    return out << "a slab of " << shown.slots.size();
}

inline std::ostream& operator<<(std::ostream& out, const slab_call& shown) {
    out << name_of(shown.what) << '(';
    if (shown.what != slab_call::try_alloc)
        out << (shown.latest ? "latest" : handle_text({shown.index, shown.generation}));
    return out << ')';
}

}  // namespace shm::model
