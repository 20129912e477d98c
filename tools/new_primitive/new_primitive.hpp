// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <shm/object/fields.hpp>
#include <shm/object/handshake.hpp>
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
/// Edges      OWED: [name]  variable, from operation to operation:  what it carries
///            and [ready] of handshake: the header describes what lies there
/// Refuses    create, attach: `too_small`, `misaligned`, `access_denied`, and what handshake refuses
/// Fork       OWED: what a forked child may do with what its parent attached to
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
    struct header : init_state {
        static constexpr std::uint64_t magic_value = 0x831285aff16e7157;  ///< of this primitive alone
        static constexpr std::uint32_t current_version = 1;               ///< of the layout, not of the library

        /// What its creator writes first.
        static auto& first_written(auto& header) noexcept { return header.magic; }

        alignas(cache_line_bytes) atomic<std::uint32_t> state;  ///< 0 nothing, 1 being initialised, 2 ready
        cell<std::uint32_t> layout_version;                     ///< current_version
        atomic<std::uint64_t> magic;                            ///< magic_value
        // OWED: what the operations share: each an `atomic` or a `cell`; one line for each writer

        /// Where they lie: a promise.
        static constexpr std::array<field, 3> fields() noexcept {
            using h = header;
            return {{
                {"state", 0, offsetof(h, state), sizeof(h::state)},
                {"layout_version", 4, offsetof(h, layout_version), sizeof(h::layout_version)},
                {"magic", 8, offsetof(h, magic), sizeof(h::magic)},
            }};
        }
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
        using object = handshake<Atomics, header>;
        if (const auto refused = object::begin_creation(shared, header::magic_value)) return *refused;
        shared.layout_version.write(header::current_version);
        object::finish_creation(shared);
        return new_primitive{shared};
    }

    /// Attaches to the one in a header that the caller owns and vouches for.
    [[nodiscard]] static result<new_primitive> attach(header& shared, deadline until = {}) noexcept {
        if (const auto refused = handshake<Atomics, header>::expect_ready(shared, until)) return *refused;
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

static_assert(sizeof(new_primitive<>::header) == 64 && alignof(new_primitive<>::header) == 64 &&
              lie_where_promised(new_primitive<>::header::fields(), 64));

}  // namespace v1
}  // namespace shm
