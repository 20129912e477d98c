// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>

#include <shm/atomics_layer.hpp>
#include <shm/result.hpp>

namespace shm {
inline namespace v1 {

/// What the word `state` of a header may say. Every header derives from it.
struct init_state {
    enum : std::uint32_t { state_none = 0, state_initialising = 1, state_ready = 2 };
};

/// How a header comes to lie in shared memory: one process creates it, others attach. A header derives from
/// `init_state` and has the words `state`, `magic` and `layout_version`, at any offset. `first_written()` is the word
/// that its creator writes before all others but `state`; it is never 0.
///
/// Promise    a process that attaches sees everything that the creator wrote before `finish_creation`, or is refused
/// Progress   wait-free; `expect_ready` may wait to its deadline
/// Callers    anyone, at any time; of two creators one is refused
/// Shape      none of its own: the words are the header's
/// Edges      [begun]  first_written(), from begin_creation to made_by_something_else:  the state is no longer none
///            [ready]  state, from finish_creation to expect_ready:  everything the creator wrote
/// Refuses    begin_creation: `already_created`, `foreign_header`. expect_ready: `foreign_header`, `not_ready`,
///            `magic`, `layout_version`
/// Crash      a creator that dies leaves a header that `expect_ready` refuses as `not_ready`
/// Trust      hostile: each word is read once after the state is known, and checked
/// Source     none
template <atomics_layer Atomics, class Header>
struct handshake {
    /// Claims a header of zero bytes for its one creator. The caller then writes the other fields.
    [[nodiscard]] static std::optional<fault> begin_creation(Header& shared, auto first_word) noexcept {
        using enum std::memory_order;
        if (const auto refused = made_by_something_else(shared)) return refused;
        std::uint32_t state = Header::state_none;
        if (!shared.state.compare_exchange_strong(state, Header::state_initialising, relaxed,  // nothing to see yet
                                                  relaxed))                                    // refused all the same
            return fault{fault_kind::already_created, Header::state_none, state};
        Header::first_written(shared).store(first_word, release);  // [begun]
        return std::nullopt;
    }

    /// Makes what the creator has written visible to everybody who attaches.
    static void finish_creation(Header& shared) noexcept {
        shared.state.store(Header::state_ready, std::memory_order::release);  // [ready]
    }

    /// Waits for the creator until `until`. Refuses a header that is not there, or not of this kind and version.
    [[nodiscard]] static std::optional<fault> expect_ready(const Header& shared, deadline until) noexcept {
        using enum std::memory_order;
        std::uint32_t state = shared.state.load(acquire);  // [ready]
        if (!settled(state)) {
            if (const auto refused = made_by_something_else(shared)) return refused;
            const auto found = Atomics::await_until(shared.state, acquire, settled, until);  // [ready]
            if (!found)
                return fault{fault_kind::not_ready, Header::state_ready, shared.state.load(relaxed)};  // how far it got
            state = *found;
        }
        const std::uint64_t magic = shared.magic.load(relaxed);  // [ready] has ordered it
        if (const auto f = differs(fault_kind::magic, Header::magic_value, magic)) return f;
        if (const auto f = differs(fault_kind::not_ready, Header::state_ready, state)) return f;
        return differs(fault_kind::layout_version, Header::current_version, shared.layout_version.read());
    }

    /// A field that has one right value.
    [[nodiscard]] static std::optional<fault> differs(fault_kind what, std::uint64_t expected,
                                                      std::uint64_t found) noexcept {
        if (expected == found) return std::nullopt;
        return fault{what, expected, found};
    }

private:
    static bool settled(std::uint32_t state) noexcept {
        return state != Header::state_none && state != Header::state_initialising;
    }

    /// A creator of this library changes the state first. A ring of the Rust crate has a capacity and never a state.
    [[nodiscard]] static std::optional<fault> made_by_something_else(const Header& shared) noexcept {
        using enum std::memory_order;
        const std::uint64_t first = Header::first_written(shared).load(acquire);  // [begun]
        if (first == 0) return std::nullopt;
        if (shared.state.load(relaxed) != Header::state_none) return std::nullopt;  // [begun] has ordered it
        return fault{fault_kind::foreign_header, 0, first};
    }
};

}  // namespace v1
}  // namespace shm
