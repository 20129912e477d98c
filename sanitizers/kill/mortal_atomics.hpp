// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// The layer under which a process kills or stops itself between two operations of a primitive. What operates is
// std::atomic, on memory that real processes share.
#include <atomic>
#include <csignal>
#include <cstdint>
#include <optional>
#include <set>
#include <source_location>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <shm/std_atomics.hpp>

namespace kill_test {

/// A line of the library on which an operation stands.
struct site {
    std::string_view file;  // without its folders
    std::uint32_t line = 0;
    friend auto operator<=>(const site&, const site&) = default;
};

[[nodiscard]] inline site site_of(const std::source_location& at) noexcept {
    const std::string_view path = at.file_name();
    return {path.substr(path.rfind('/') + 1), at.line()};
}

/// When this process is to die. It is the process's own: a child draws it before it touches anything.
struct life {
    static constexpr std::uint64_t for_ever = ~std::uint64_t{0};

    std::uint64_t operations = 0;            // begun so far
    std::uint64_t last = for_ever;           // that one is not begun
    const std::set<site>* common = nullptr;  // if there is one: nor is one at a site that is not among these
    int signal = SIGKILL;                    // or SIGSTOP, after which `more` operations are left
    std::uint64_t more = for_ever;
    std::source_location* end = nullptr;  // told where it was

    /// Before each operation.
    void go_on(const std::source_location& at) noexcept {
        const bool over = operations++ >= last;
        if (!over && (common == nullptr || common->contains(site_of(at)))) [[likely]]
            return;
        *end = at;
        common = nullptr;
        last = signal == SIGSTOP && more != for_ever ? operations + more : for_ever;
        std::raise(std::exchange(signal, SIGKILL));
    }
};
inline life this_life;

struct mortal_atomics {
    using at = std::source_location;
    using order = std::memory_order;

    /// What std::atomic does, if the process lives to do it.
    template <class T>
        requires(std::atomic<T>::is_always_lock_free)
    class atomic {
    public:
        T load(order how, at where = at::current()) const noexcept { return alive(where).load(how); }
        void store(T value, order how, at where = at::current()) noexcept { alive(where).store(value, how); }
        T exchange(T value, order how, at where = at::current()) noexcept { return alive(where).exchange(value, how); }
        bool compare_exchange_weak(T& expected, T value, order success, order failure,
                                   at where = at::current()) noexcept {
            return alive(where).compare_exchange_weak(expected, value, success, failure);
        }
        bool compare_exchange_strong(T& expected, T value, order success, order failure,
                                     at where = at::current()) noexcept {
            return alive(where).compare_exchange_strong(expected, value, success, failure);
        }
        T fetch_add(T value, order how, at where = at::current()) noexcept {
            return alive(where).fetch_add(value, how);
        }
        T fetch_sub(T value, order how, at where = at::current()) noexcept {
            return alive(where).fetch_sub(value, how);
        }
        T fetch_and(T value, order how, at where = at::current()) noexcept {
            return alive(where).fetch_and(value, how);
        }
        T fetch_or(T value, order how, at where = at::current()) noexcept { return alive(where).fetch_or(value, how); }

    private:
        std::atomic<T>& alive(const at& where) noexcept { return this_life.go_on(where), word_; }
        const std::atomic<T>& alive(const at& where) const noexcept { return this_life.go_on(where), word_; }
        std::atomic<T> word_;
    };

    template <class T>
    struct cell {
        T value;
        [[nodiscard]] T read(at where = at::current()) const noexcept {
            return this_life.go_on(where), shm::copy_out(value);
        }
        void write(const T& from, at where = at::current()) noexcept { this_life.go_on(where), value = from; }
    };

    static void fence(order how, at where = at::current()) noexcept {
        this_life.go_on(where);
        std::atomic_thread_fence(how);
    }

    template <class T, class Predicate>
    static T await(const atomic<T>& word, order how, Predicate satisfied, at where = at::current()) noexcept {
        return *await_until(word, how, satisfied, shm::deadline::max(), where);
    }

    template <class T, class Predicate>
    static std::optional<T> await_until(const atomic<T>& word, order how, Predicate satisfied, shm::deadline until,
                                        at where = at::current()) noexcept {
        for (;;) {
            const T value = word.load(how, where);
            if (satisfied(value)) return value;
            if (until == shm::deadline{} || std::chrono::steady_clock::now() >= until) return std::nullopt;
            std::this_thread::yield();
        }
    }

    struct retry_loop {
        static void retry() noexcept { pause(); }
        template <class T>
        static void prepare(atomic<T>& word, std::type_identity_t<T> value, at where = at::current()) noexcept {
            word.store(value, std::memory_order_relaxed, where);
        }
    };

    static void pause() noexcept { shm::std_atomics::pause(); }
};
static_assert(shm::atomics_layer<mortal_atomics>);

/// As of plain cells.
template <class T>
[[nodiscard]] std::span<T> values(std::span<mortal_atomics::cell<T>> cells) noexcept {
    static_assert(sizeof(mortal_atomics::cell<T>) == sizeof(T));
    return {reinterpret_cast<T*>(cells.data()), cells.size()};
}

/// Likewise.
template <class T>
[[nodiscard]] std::span<const T> values(std::span<const mortal_atomics::cell<T>> cells) noexcept {
    static_assert(sizeof(mortal_atomics::cell<T>) == sizeof(T));
    return {reinterpret_cast<const T*>(cells.data()), cells.size()};
}

}  // namespace kill_test
