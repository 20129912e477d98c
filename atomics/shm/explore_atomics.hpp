// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

#include <shm/atomics_layer.hpp>
#include <shm/checking.hpp>
#include <shm/explore.hpp>

namespace shm {

/// The layer under `explore`, the engine that visits every execution graph: each operation is a request to it.
struct explore_atomics {
    using at = std::source_location;

    template <class T>
        requires(std::is_trivially_copyable_v<T> && sizeof(T) <= 8 && std::has_single_bit(sizeof(T)))
    class atomic {
        using order = std::memory_order;
        using action = explore::action;

    public:
        atomic() : atomic{T{}} {}
        explicit atomic(T value) : location_{explore::begin_location(bits(value))} {}
        ~atomic() { explore::end_location(location_); }
        atomic(const atomic&) = delete;
        atomic& operator=(const atomic&) = delete;

        // No operation has a default order: a primitive that forgets one does not compile here.
        T load(order o, at where = at::current()) const { return value(ask(action::load, o, {}, 0, 0, where)); }
        void store(T desired, order o, at where = at::current()) { ask(action::store, o, {}, bits(desired), 0, where); }
        T exchange(T desired, order o, at where = at::current()) {
            return value(ask(action::exchange, o, {}, bits(desired), 0, where));
        }
        T fetch_add(T operand, order o, at where = at::current())
            requires std::is_integral_v<T>
        {
            return value(ask(action::add, o, {}, bits(operand), 0, where));
        }
        T fetch_sub(T operand, order o, at where = at::current())
            requires std::is_integral_v<T>
        {
            return value(ask(action::sub, o, {}, bits(operand), 0, where));
        }
        T fetch_and(T operand, order o, at where = at::current())
            requires std::is_integral_v<T>
        {
            return value(ask(action::bit_and, o, {}, bits(operand), 0, where));
        }
        T fetch_or(T operand, order o, at where = at::current())
            requires std::is_integral_v<T>
        {
            return value(ask(action::bit_or, o, {}, bits(operand), 0, where));
        }
        bool compare_exchange_strong(T& expected, T desired, order success, order failure, at where = at::current()) {
            const auto got = ask(action::compare_exchange, success, failure, bits(expected), bits(desired), where);
            expected = value(got);
            return got.succeeded;
        }
        bool compare_exchange_weak(T& expected, T desired, order success, order failure, at where = at::current()) {
            const explore::request fails_for_no_reason{
                .what = action::choose, .operand = 2, .desired = explore::of_weak_exchange, .at = where};
            if (!explore::spurious_failures() || explore::perform(fails_for_no_reason).value == 0)
                return compare_exchange_strong(expected, desired, success, failure, where);
            auto fails = request_for(action::load, failure, {}, 0, 0, where);
            fails.fails = true;
            expected = value(explore::perform(fails));
            return false;
        }

    private:
        friend struct explore_atomics;
        struct alone {
            T value;
        };
        static constexpr std::uint8_t bytes = sizeof(alone);
        using word = explore::word_of_size<bytes>;
        static std::uint64_t bits(T value) { return std::bit_cast<word>(value); }
        static T value(std::uint64_t bits) { return std::bit_cast<T>(static_cast<word>(bits)); }
        static T value(explore::answer got) { return value(got.value); }
        static std::string shown(std::uint64_t bits) { return model::shown(value(bits)); }

        explore::request request_for(action what, order o, order failure, std::uint64_t operand, std::uint64_t desired,
                                     const at& where) const {
            return {what, bytes, location_, o, failure, operand, desired, false, false, nullptr, this, shown, where};
        }
        explore::answer ask(action what, order o, order failure, std::uint64_t operand, std::uint64_t desired,
                            const at& where) const {
            return explore::perform(request_for(what, o, failure, operand, desired, where));
        }

        std::uint16_t location_;
    };

    /// Plain data, with the clocks that find races on it.
    template <class T>
    class cell {
    public:
        cell() { explore::touch_cell(history_, explore::touch::made, this, {}, shown, &value_); }
        ~cell() { explore::touch_cell(history_, explore::touch::ended, this, {}, shown, &value_); }
        cell(const cell&) = delete;
        cell& operator=(const cell&) = delete;

        T read(at where = at::current()) const {
            explore::touch_cell(history_, explore::touch::read, this, where, shown, &value_);
            return value_;
        }
        void write(const T& value, at where = at::current()) {
            explore::touch_cell(history_, explore::touch::written, this, where, shown, &value);
            value_ = value;
        }

    private:
        static std::string shown(const void* value) { return model::shown(*static_cast<const T*>(value)); }
        T value_{};
        mutable explore::cell_history history_;
    };

    static void fence(std::memory_order order, at where = at::current()) {
        if (order == std::memory_order_relaxed) return;
        explore::perform({.what = explore::action::fence, .order = order, .at = where});
    }

    /// One of 0 .. count - 1, each in some execution.
    static unsigned choose(unsigned count, at where = at::current()) {
        return static_cast<unsigned>(
            explore::perform({.what = explore::action::choose, .operand = count, .at = where}).value);
    }

    template <class T, class Predicate>
    static T await(const atomic<T>& word, std::memory_order order, Predicate satisfied, at where = at::current()) {
        static_assert(std::is_trivially_copyable_v<Predicate> && sizeof(Predicate) <= explore::predicate::most_bytes,
                      "an awaited predicate is asked again later: capture a few values, no references");
        explore::predicate waited;
        waited.holds = [](const void* closure, std::uint64_t value) {
            return static_cast<bool>((*static_cast<const Predicate*>(closure))(atomic<T>::value(value)));
        };
        std::memcpy(waited.closure, static_cast<const void*>(&satisfied), sizeof satisfied);
        auto wanted = word.request_for(explore::action::await, order, {}, 0, 0, where);
        wanted.awaited = &waited;
        return atomic<T>::value(explore::perform(wanted));
    }

    /// A wait that may give up has the outcomes of one look: what it saw before it gave up left no trace.
    template <class T, class Predicate>
    static std::optional<T> await_until(const atomic<T>& word, std::memory_order order, Predicate satisfied,
                                        deadline until, at where = at::current()) {
        if (until == deadline::max()) return await(word, order, satisfied, where);
        const T value = word.load(order, where);
        return satisfied(value) ? std::optional<T>{value} : std::nullopt;
    }

    /// The round ends this execution: in another one it succeeds, with the same effect.
    class retry_loop {
    public:
        void retry(at where = at::current()) { explore::ineffective(round_, where); }

        template <class T>
        void prepare(atomic<T>& word, std::type_identity_t<T> value, at where = at::current()) {
            auto wanted = word.request_for(explore::action::store, std::memory_order_relaxed, {},
                                           atomic<T>::bits(value), 0, where);
            wanted.prepares = true;
            explore::perform(wanted);
        }

    private:
        model::round round_ = explore::begin_round();
    };

    static void pause(at = at::current()) {}
};

static_assert(atomics_layer<explore_atomics>);

}  // namespace shm
