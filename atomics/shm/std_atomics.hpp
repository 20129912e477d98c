// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <thread>
#include <type_traits>

#include <shm/atomics_layer.hpp>

namespace shm {
inline namespace v1 {

/// A copy of `shared` that the compiler has fetched exactly once: a peer that rewrites the bytes meanwhile can make the
/// copy any mixture, but cannot make it differ between its check and its use.
template <class T>
    requires std::is_trivially_copyable_v<T>
[[nodiscard]] T copy_out(const T& shared) noexcept {
    // The empty assembly may have changed the copy, for all the compiler knows; so it cannot fetch `shared` again.
    const auto once = []<class Bits>(Bits bits) noexcept {
        asm volatile("" : "+r"(bits));
        return std::bit_cast<T>(bits);
    };
    if constexpr (sizeof(T) == sizeof(std::uint8_t)) {
        return once(std::bit_cast<std::uint8_t>(shared));
    } else if constexpr (sizeof(T) == sizeof(std::uint16_t)) {
        return once(std::bit_cast<std::uint16_t>(shared));
    } else if constexpr (sizeof(T) == sizeof(std::uint32_t)) {
        return once(std::bit_cast<std::uint32_t>(shared));
    } else if constexpr (sizeof(T) == sizeof(std::uint64_t) && sizeof(void*) == sizeof(std::uint64_t)) {
        return once(std::bit_cast<std::uint64_t>(shared));
    } else {
        T copy = shared;
        asm volatile("" : "+m"(copy));
        return copy;
    }
}

/// One T in shared memory and nothing else, with every access spelled out. `value` is there for filling or parsing a
/// slot in place; what an untrusted peer may still be writing is fetched by `read`.
template <class T>
struct plain_cell {
    T value;                                                           ///< the bytes themselves
    [[nodiscard]] T read() const noexcept { return copy_out(value); }  ///< a copy, fetched exactly once
    void write(const T& from) noexcept { value = from; }               ///< replaces the value
};

/// The values of a run of cells, for filling or draining them in place by `memcpy`, `read` or `write`.
template <class T>
[[nodiscard]] std::span<T> values(std::span<plain_cell<T>> cells) noexcept {
    static_assert(sizeof(plain_cell<T>) == sizeof(T) && alignof(plain_cell<T>) == alignof(T));
    return {reinterpret_cast<T*>(cells.data()), cells.size()};
}

/// Likewise, for reading only.
template <class T>
[[nodiscard]] std::span<const T> values(std::span<const plain_cell<T>> cells) noexcept {
    static_assert(sizeof(plain_cell<T>) == sizeof(T) && alignof(plain_cell<T>) == alignof(T));
    return {reinterpret_cast<const T*>(cells.data()), cells.size()};
}

/// Production: std::atomic itself, refused where it would need a lock that another process cannot see.
struct std_atomics {
    /// A word that more than one peer may touch at a time.
    template <class T>
        requires(std::atomic<T>::is_always_lock_free)
    using atomic = std::atomic<T>;

    /// Plain data that an edge orders.
    template <class T>
    using cell = plain_cell<T>;

    /// std::atomic_thread_fence.
    static void fence(std::memory_order order) noexcept { std::atomic_thread_fence(order); }

    /// Polls `word` until its value satisfies the predicate, and returns that value.
    template <class T, class Predicate>
    static T await(const std::atomic<T>& word, std::memory_order order, Predicate satisfied) noexcept {
        return *await_until(word, order, satisfied, deadline::max());
    }

    /// Likewise, or nothing once `until` has passed. Looks at least once; the default once, and at no clock.
    template <class T, class Predicate>
    static std::optional<T> await_until(const std::atomic<T>& word, std::memory_order order, Predicate satisfied,
                                        deadline until) noexcept {
        for (unsigned round = 0;; ++round) {
            const T value = word.load(order);
            if (satisfied(value)) return value;
            if (until == deadline{}) return std::nullopt;
            if (round % polls_per_look_at_the_clock != 0) {
                pause();
                continue;
            }
            if (until != deadline::max() && std::chrono::steady_clock::now() >= until) return std::nullopt;
            if (round != 0) std::this_thread::yield();  // whoever we wait for may need this very core
        }
    }

    /// A loop that tries until its compare-exchange succeeds.
    struct retry_loop {
        /// After a round that failed: a pause.
        static void retry() noexcept { pause(); }

        /// A relaxed store that nobody counts on before this round has succeeded, or this thread has died.
        template <class T>
        static void prepare(std::atomic<T>& word, std::type_identity_t<T> value) noexcept {
            word.store(value, std::memory_order_relaxed);
            // What follows must not be moved before it: a process that is killed in between would not have said it.
            std::atomic_signal_fence(std::memory_order_seq_cst);
        }
    };

    /// Tells the core that this is a waiting loop.
    static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
        asm volatile("yield");
#endif
    }

private:
    static constexpr unsigned polls_per_look_at_the_clock = 64;
};

static_assert(atomics_layer<std_atomics>);

}  // namespace v1
}  // namespace shm
