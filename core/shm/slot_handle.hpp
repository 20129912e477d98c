// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstdint>
#include <string>

#include <shm/shm_safe.hpp>

namespace shm {
inline namespace v1 {

/// Names one allocation of one slot, in 64 bits that may be sent to another process: the index of the slot, and the
/// generation that tells this allocation from those before and after it.
///
/// Shape  bits 0 to 23 the index, 24 to 63 the generation. All zero is a handle of nothing, ever
/// Trust  a handle is checked where it is used; any 64 bits may be tried
class slot_handle {
public:
    static constexpr unsigned index_bits = 24;       ///< of its 64
    static constexpr unsigned generation_bits = 40;  ///< the others

    /// Of nothing.
    constexpr slot_handle() noexcept = default;

    /// Of that slot in that generation; what does not fit is cut off.
    constexpr slot_handle(std::uint32_t index, std::uint64_t generation) noexcept
        : word_{generation << index_bits | (index & ((std::uint32_t{1} << index_bits) - 1))} {}

    /// Which slot.
    [[nodiscard]] constexpr std::uint32_t index() const noexcept {
        return static_cast<std::uint32_t>(word_ & ((std::uint64_t{1} << index_bits) - 1));
    }

    /// Which of its allocations.
    [[nodiscard]] constexpr std::uint64_t generation() const noexcept { return word_ >> index_bits; }

    /// As it travels.
    [[nodiscard]] constexpr std::uint64_t word() const noexcept { return word_; }

    /// What `word()` was called for.
    [[nodiscard]] static constexpr slot_handle from_word(std::uint64_t word) noexcept {
        slot_handle handle;
        handle.word_ = word;
        return handle;
    }

    /// The same allocation.
    friend constexpr bool operator==(const slot_handle&, const slot_handle&) noexcept = default;

private:
    std::uint64_t word_ = 0;
};
static_assert(sizeof(slot_handle) == 8 && shared_value<slot_handle>);

/// Where a slot is in its life.
enum class slot_state : std::uint8_t {
    free = 0,       ///< in the free list, or on its way there
    allocated = 1,  ///< somebody fills or reads it
    in_flight = 2   ///< sent, and not yet received
};

/// Why an operation on a handle was refused, with both values. Nothing was changed, but for `contended`.
struct slot_error {
    /// What was wrong.
    enum class kind : std::uint8_t {
        invalid_index,        ///< no such slot: `expected` is how many there are, `actual` the index
        generation_mismatch,  ///< stale: `expected` is the handle's generation, `actual` the slot's
        invalid_state,        ///< `expected` and `actual` are of type slot_state
        contended,            ///< others were faster each of `expected` times; to be tried again with the same handle
        corrupt,        ///< a peer has written nonsense: of `expected` slots the list names `actual`, which is none
        wrong_process,  ///< of a forked child: process `expected` has joined, process `actual` is a mere copy
        no_such_slab    ///< of a pool: `expected` is how many slabs this member has joined, `actual` the number
    };
    kind what;               ///< the reason
    std::uint64_t expected;  ///< as `what` has it
    std::uint64_t actual;    ///< likewise

    /// One sentence that holds both values: "slot generation: expected 7, found 8".
    [[nodiscard]] std::string sentence() const;

    /// Prints the sentence on standard error and aborts.
    [[noreturn]] void die() const;

    /// The same reason and the same values.
    friend bool operator==(const slot_error&, const slot_error&) noexcept = default;
};

/// Why a slot was not given back.
using free_error = slot_error;

/// What became of an allocation.
enum class alloc_status : std::uint8_t {
    allocated,    ///< here is the handle
    would_block,  ///< no slot is free now
    too_large,    ///< no slot is ever that large; of a pool
    contended,    ///< others were faster too many times in a row; may be tried again at once
    corrupt       ///< a peer has written nonsense; this member allocates no more
};

/// The handle of a new allocation, or why there is none.
template <class Handle>
class [[nodiscard]] basic_alloc_result {
public:
    /// Allocated.
    constexpr basic_alloc_result(Handle handle) noexcept : handle_{handle}, status_{alloc_status::allocated} {}

    /// Refused. Precondition: not `allocated`.
    constexpr basic_alloc_result(alloc_status why) noexcept : status_{why} {}

    /// Whether there is a handle.
    [[nodiscard]] constexpr bool has_value() const noexcept { return status_ == alloc_status::allocated; }
    constexpr explicit operator bool() const noexcept { return has_value(); }  ///< has_value()

    /// The handle; of a refusal, one of nothing.
    [[nodiscard]] constexpr Handle operator*() const noexcept { return handle_; }

    /// Which of them it was.
    [[nodiscard]] constexpr alloc_status status() const noexcept { return status_; }

private:
    Handle handle_;
    alloc_status status_;
};

/// That of a slab.
using alloc_result = basic_alloc_result<slot_handle>;

}  // namespace v1
}  // namespace shm
