// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <type_traits>

#include <shm/std_atomics.hpp>

/// How shared memory is accessed.
enum class way { read, written, exchanged };

/// Told of each access to shared memory, before it happens. What it writes there meanwhile, the access finds.
class watcher {
public:
    watcher() = default;
    watcher(const watcher&) = delete;
    watcher& operator=(const watcher&) = delete;
    virtual ~watcher() = default;
    virtual void before(std::byte* word, std::size_t size_bytes, way accessed) = 0;
};

/// std_atomics, where a watcher is told of each access: it counts them, or is the peer that writes between two of them.
struct watched_atomics : shm::std_atomics {
    static inline watcher* watching = nullptr;

    static void tell(const void* word, std::size_t size_bytes, way accessed) {
        if (watching == nullptr) return;
        watching->before(static_cast<std::byte*>(const_cast<void*>(word)), size_bytes, accessed);
    }

    template <class T>
    struct atomic : std::atomic<T> {
        using order = std::memory_order;
        using truly = std::atomic<T>;

        [[nodiscard]] T load(order by) const noexcept { return told(way::read), truly::load(by); }
        void store(T value, order by) noexcept { told(way::written), truly::store(value, by); }
        T exchange(T value, order by) noexcept { return told(way::exchanged), truly::exchange(value, by); }
        bool compare_exchange_weak(T& expected, T desired, order success, order failure) noexcept {
            return compare_exchange_strong(expected, desired, success, failure);
        }
        bool compare_exchange_strong(T& expected, T desired, order success, order failure) noexcept {
            return told(way::exchanged), truly::compare_exchange_strong(expected, desired, success, failure);
        }
        T fetch_add(T value, order by) noexcept { return told(way::exchanged), truly::fetch_add(value, by); }
        T fetch_sub(T value, order by) noexcept { return told(way::exchanged), truly::fetch_sub(value, by); }
        T fetch_and(T value, order by) noexcept { return told(way::exchanged), truly::fetch_and(value, by); }
        T fetch_or(T value, order by) noexcept { return told(way::exchanged), truly::fetch_or(value, by); }

    private:
        void told(way accessed) const noexcept { tell(this, sizeof(T), accessed); }
    };

    template <class T>
    struct cell {
        T value;
        [[nodiscard]] T read() const noexcept {
            tell(&value, sizeof(T), way::read);
            return shm::copy_out(value);
        }
        void write(const T& from) noexcept {
            tell(&value, sizeof(T), way::written);
            value = from;
        }
    };

    template <class T, class Predicate>
    static T await(const atomic<T>& word, std::memory_order order, Predicate satisfied) noexcept {
        return *await_until(word, order, satisfied, shm::deadline::max());
    }
    /// Looks once, whatever the deadline: nobody else runs.
    template <class T, class Predicate>
    static std::optional<T> await_until(const atomic<T>& word, std::memory_order order, Predicate satisfied,
                                        shm::deadline) noexcept {
        const T value = word.load(order);
        return satisfied(value) ? std::optional{value} : std::nullopt;
    }

    struct retry_loop {
        static void retry() noexcept {}
        template <class T>
        static void prepare(atomic<T>& word, std::type_identity_t<T> value) noexcept {
            word.store(value, std::memory_order_relaxed);
        }
    };
};
static_assert(shm::atomics_layer<watched_atomics>);

template <class T>
[[nodiscard]] std::span<T> values(std::span<watched_atomics::cell<T>> cells) noexcept {
    return {reinterpret_cast<T*>(cells.data()), cells.size()};
}
template <class T>
[[nodiscard]] std::span<const T> values(std::span<const watched_atomics::cell<T>> cells) noexcept {
    return {reinterpret_cast<const T*>(cells.data()), cells.size()};
}

/// While it lives, that watcher is told.
class while_watching {
public:
    explicit while_watching(watcher& by) { watched_atomics::watching = &by; }
    while_watching(const while_watching&) = delete;
    while_watching& operator=(const while_watching&) = delete;
    ~while_watching() { watched_atomics::watching = nullptr; }
};
