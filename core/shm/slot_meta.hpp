// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <shm/object/fields.hpp>
#include <shm/result.hpp>
#include <shm/slot_handle.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// How wide the counters of a slab count before they wrap, and how often a loop tries. A model narrows them, to see what a
/// wrap does; their places in the words do not move.
struct slab_widths {
    unsigned generation_bits = slot_handle::generation_bits;  ///< of a slot
    unsigned tag_bits = 40;                                   ///< of the head
    unsigned incarnation_bits = 14;                           ///< of a member
    std::uint32_t attempts = std::uint32_t{1} << 16;  ///< of a compare-exchange in a row, before it is `contended`
    std::uint32_t walks = 16;                         ///< of the list in a row, before it is said never to hold still
};

/// Who owns a slot: an entry of the slab's table of members, and the incarnation that tells its holder from those who had
/// that entry before.
struct slot_owner {
    std::uint8_t entry = 0;         ///< in the table
    std::uint16_t incarnation = 0;  ///< of 14 bits; 0 is nobody's

    /// The same entry and the same incarnation.
    friend constexpr bool operator==(const slot_owner&, const slot_owner&) noexcept = default;
};

/// A slot's word: generation, owner and state, which change together.
///
/// Shape  bits 0 and 1 the state, 2 to 15 the owner's incarnation, 16 to 23 its entry, 24 to 63 the generation
struct slot_word {
    std::uint64_t generation = 0;         ///< of the allocation, or of the next one while free
    slot_owner owner;                     ///< who allocated it, or gave it back
    slot_state state = slot_state::free;  ///< where it is in its life

    /// As it stands in shared memory.
    [[nodiscard]] constexpr std::uint64_t word() const noexcept {
        return generation << 24 | std::uint64_t{owner.entry} << 16 | std::uint64_t{owner.incarnation} << 2 |
               static_cast<std::uint64_t>(state);
    }

    /// What `word()` was called for.
    [[nodiscard]] static constexpr slot_word from_word(std::uint64_t word) noexcept {
        return {word >> 24,
                {static_cast<std::uint8_t>(word >> 16), static_cast<std::uint16_t>((word >> 2) & 0x3fff)},
                static_cast<slot_state>(word & 3)};
    }
};

/// What a slab keeps of each slot, apart from the slot's bytes: in those, a link would be a race with whoever still reads
/// them.
///
/// Promise    a transition happens once, to the allocation that it names: of two that try, one is refused
/// Progress   lock-free; `contended` after `attempts` tries that others spoilt
/// Callers    anyone, at any time
/// Shape      16 bytes: the word, the link of the free list, a link that is kept for magazines
/// Edges      [allocated]  word, from who has allocated the slot, by way of all changes of the word, to who changes it: the
///                         links that the slot has had. A handle may come by a way that orders nothing
/// Refuses    `generation_mismatch`, `invalid_state`, `contended`
/// Crash      a transition has happened or has not
/// Trust      hostile: a word may say anything, and only that slot's bytes are then shared by those who should not
/// Source     generation and state in one word, as an ABA-safe reference; the Rust crate checks one and swaps the other
template <slab_widths Widths = slab_widths{}, atomics_layer Atomics = std_atomics>
struct slot_meta {
    using enum std::memory_order;

    typename Atomics::template atomic<std::uint64_t> word;        ///< a slot_word
    typename Atomics::template atomic<std::uint32_t> next;        ///< the slot below in the free list
    typename Atomics::template atomic<std::uint32_t> next_chain;  ///< kept for magazines; zero

    /// Where they lie: a promise.
    static constexpr std::array<field, 3> fields() noexcept {
        using h = slot_meta;
        return {{
            {"word", 0, offsetof(h, word), sizeof(h::word)},
            {"next", 8, offsetof(h, next), sizeof(h::next)},
            {"next_chain", 12, offsetof(h, next_chain), sizeof(h::next_chain)},
        }};
    }

    /// The generation that a slot begins with, so that a handle of zeros is never right.
    static constexpr std::uint64_t first_generation = 1;

    /// The generation after `generation`.
    [[nodiscard]] static constexpr std::uint64_t after(std::uint64_t generation) noexcept {
        constexpr std::uint64_t mask = (std::uint64_t{1} << Widths.generation_bits) - 1;
        const std::uint64_t next = (generation + 1) & mask;
        return next == 0 ? first_generation : next;
    }

    /// Makes the slot free, in its first generation, above `below` in the list. Before anybody else knows of it.
    void init(std::uint32_t below) noexcept {
        const slot_word begins{first_generation, {}, slot_state::free};
        word.store(begins.word(), relaxed);  // whoever makes the slab publishes it
        next.store(below, relaxed);          // published with it
    }

    /// What it is now.
    [[nodiscard]] slot_word now() const noexcept {
        return slot_word::from_word(word.load(relaxed));  // a compare-exchange decides
    }

    /// The generation now.
    [[nodiscard]] std::uint64_t generation() const noexcept { return now().generation; }

    /// The state now.
    [[nodiscard]] slot_state state() const noexcept { return now().state; }

    /// Whether `expected` is the generation now. Says nothing about the next moment: `try_transition` does.
    [[nodiscard]] bool check_generation(std::uint64_t expected) const noexcept { return generation() == expected; }

    /// Changes the state of the allocation `generation` from `from` to `to`, and its owner to `owner` if there is one. To
    /// free it begins the next generation: the handle is stale from then on.
    [[nodiscard]] result<void, slot_error> try_transition(std::uint64_t generation, slot_state from, slot_state to,
                                                          std::optional<slot_owner> owner = {}) noexcept {
        using enum slot_error::kind;
        const std::uint64_t generation_after = to == slot_state::free ? after(generation) : generation;
        for (std::uint32_t tries = 0; tries < Widths.attempts; ++tries) {
            typename Atomics::retry_loop round;
            std::uint64_t found = word.load(relaxed);  // the compare-exchange decides
            const auto is = slot_word::from_word(found);
            if (is.generation != generation) return slot_error{generation_mismatch, generation, is.generation};
            if (is.state != from)
                return slot_error{invalid_state, static_cast<std::uint64_t>(from),
                                  static_cast<std::uint64_t>(is.state)};
            const slot_word wanted{generation_after, owner.value_or(is.owner), to};
            if (word.compare_exchange_strong(found, wanted.word(),
                                             acquire,   // [allocated]
                                             relaxed))  // looked at again
                return {};
            if (tries + 1 < Widths.attempts) round.retry();
        }
        return slot_error{contended, Widths.attempts, 0};
    }
};

/// What the variable-size pool keeps of a slot: the same, for it has owner and link already.
template <slab_widths Widths = slab_widths{}, atomics_layer Atomics = std_atomics>
using var_slot_meta = slot_meta<Widths, Atomics>;

static_assert(sizeof(slot_meta<>) == 16 && alignof(slot_meta<>) == 8 && lie_where_promised(slot_meta<>::fields(), 16));

}  // namespace v1
}  // namespace shm
