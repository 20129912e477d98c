// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <shm/region.hpp>
#include <shm/std_atomics.hpp>

namespace shm {
inline namespace v1 {

/// OWED: one sentence: what it is and for whom.
///
/// Promise    OWED: what each side sees after a call returns
/// Progress   OWED: wait-free | lock-free | may block, for each operation. `attach` may wait to its deadline
/// Callers    OWED: who may call what at the same time
/// Shape      OWED: the bytes: sizes, alignments, what lies where. At the region's start, which must be aligned to 64
/// Edges      [ready]  state, from create to attach:  the header describes what lies there
///            OWED: [name]  variable, from operation to operation:  what it carries
/// Refuses    create: `too_small`, `misaligned`, `access_denied`, `already_created`. attach: `too_small`, `misaligned`,
///            `access_denied`, `not_ready`, `magic`, `layout_version`
/// Crash      a creator that dies leaves what attach refuses: `not_ready`. OWED: what a peer that dies inside an
///            operation leaves behind
/// Trust      OWED: trusted | crash-prone | hostile peer: what is promised for each
/// Source     OWED: the paper or page that the algorithm is from, and where this differs
template <atomics_layer Atomics = std_atomics>
class new_primitive {
    using enum std::memory_order;
    template <class T>
    using atomic = typename Atomics::template atomic<T>;
    template <class T>
    using cell = typename Atomics::template cell<T>;

public:
    /// What lies in shared memory. Its bytes are a promise to peers that are built apart.
    struct header {
        static constexpr std::uint64_t magic_value = 0x831285aff16e7157;  ///< of this primitive alone
        static constexpr std::uint32_t current_version = 1;               ///< of the layout, not of the library

        /// What `state` may say.
        enum : std::uint32_t { state_none = 0, state_initialising = 1, state_ready = 2 };

        alignas(cache_line_bytes) atomic<std::uint32_t> state;  ///<  0  0 nothing, 1 being initialised, 2 ready
        cell<std::uint32_t> layout_version;                     ///<  4  current_version
        cell<std::uint64_t> magic;                              ///<  8  magic_value
        // OWED: what the operations share: each an `atomic` or a `cell`, with its offset; one line for each writer
    };

    /// The bytes that it needs.
    [[nodiscard]] static constexpr std::size_t required_size() noexcept { return sizeof(header); }

    /// Makes one at the start of `bytes`, which must be zero there.
    [[nodiscard]] static result<new_primitive> create(region bytes) noexcept {
        const auto shared = header_in(bytes);
        if (!shared) return shared.error();
        return create(**shared);
    }

    /// Attaches to the one at the start of `bytes`. Waits for its creator until `until`; the default does not wait.
    [[nodiscard]] static result<new_primitive> attach(region bytes, deadline until = {}) noexcept {
        const auto shared = header_in(bytes);
        if (!shared) return shared.error();
        return attach(**shared, until);
    }

    /// Makes one in a header that the caller owns and vouches for.
    [[nodiscard]] static result<new_primitive> create(header& shared) noexcept {
        std::uint32_t state = header::state_none;
        if (!shared.state.compare_exchange_strong(state, header::state_initialising, relaxed,  // nothing to see yet
                                                  relaxed))                                    // refused all the same
            return fault{fault_kind::already_created, header::state_none, state};
        shared.magic.write(header::magic_value);
        shared.layout_version.write(header::current_version);
        shared.state.store(header::state_ready, release);  // [ready]
        return new_primitive{shared};
    }

    /// Attaches to the one in a header that the caller owns and vouches for.
    [[nodiscard]] static result<new_primitive> attach(header& shared, deadline until = {}) noexcept {
        const auto settled = [](std::uint32_t state) {
            return state != header::state_none && state != header::state_initialising;
        };
        const auto state = Atomics::await_until(shared.state, acquire, settled, until);  // [ready]
        if (!state)
            return fault{fault_kind::not_ready, header::state_ready,
                         shared.state.load(relaxed)};  // to say how far it got
        if (const std::uint64_t magic = shared.magic.read(); magic != header::magic_value)
            return fault{fault_kind::magic, header::magic_value, magic};
        if (*state != header::state_ready) return fault{fault_kind::not_ready, header::state_ready, *state};
        if (const std::uint32_t version = shared.layout_version.read(); version != header::current_version)
            return fault{fault_kind::layout_version, header::current_version, version};
        return new_primitive{shared};
    }

    // OWED: the operations: [[nodiscard]] noexcept. What may fail now and succeed later is a `try_`, and never waits.

    /// Where it lies, for whoever vouches for it.
    [[nodiscard]] header& shared() const noexcept { return *shared_; }

private:
    explicit new_primitive(header& shared) noexcept : shared_{&shared} {}

    [[nodiscard]] static result<header*> header_in(region bytes) noexcept {
        if (bytes.size_bytes() < required_size())
            return fault{fault_kind::too_small, required_size(), bytes.size_bytes()};
        if (!bytes.writable()) return fault{fault_kind::access_denied, 1, 0};
        return bytes.get<header>();
    }

    header* shared_;
};

static_assert(sizeof(new_primitive<>::header) == 64 && alignof(new_primitive<>::header) == 64);
static_assert(offsetof(new_primitive<>::header, state) == 0 && offsetof(new_primitive<>::header, layout_version) == 4);
static_assert(offsetof(new_primitive<>::header, magic) == 8);

}  // namespace v1
}  // namespace shm
