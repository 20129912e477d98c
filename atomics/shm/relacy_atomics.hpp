// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <bit>
#include <csetjmp>
#include <cstdint>
#include <optional>
#include <type_traits>

#include <shm/atomics_layer.hpp>
#include <shm/checking.hpp>
#include <shm/relacy.hpp>

namespace shm {
namespace relacy {

/// What the operation that a thread is about to do touches, for the scheduler to tell which ones commute.
enum class touch : std::uint8_t { start, read, write, fence, yield };
struct pending_operation {
    const void* object = nullptr;
    touch kind = touch::start;
    const unsigned* version = nullptr;  // of the object: how many stores it has seen
    unsigned version_when_pending = 0;
};
inline constexpr unsigned max_threads = 8;
inline std::array<pending_operation, max_threads> pending;
inline unsigned steps_begun;  // in this execution, by all threads

/// Where each simulated thread goes when it dies; null while it is immortal.
inline std::array<std::jmp_buf*, max_threads> crash_point;

inline unsigned this_thread() { return static_cast<unsigned>(rl::ctx().threadx_->index_); }

inline rl::debug_info info(const std::source_location& at) {
    return rl::debug_info(at.function_name(), at.file_name(), at.line());
}

/// Called before each operation: a mortal thread may die here, and the scheduler learns what comes.
inline void about_to(touch kind, const void* object, const unsigned* version = nullptr) {
    const unsigned me = this_thread();
    if (crash_point[me] != nullptr && rl::rand(2) != 0) std::longjmp(*std::exchange(crash_point[me], nullptr), 1);
    pending[me] = {object, kind, version, version != nullptr ? *version : 0};
    ++steps_begun;
}

inline void record(const void* object, std::string what, std::string order, const std::source_location& at,
                   model::recording::source source = {}) {
    if (model::recorder != nullptr)
        model::recorder->add({model::recorder->now, this_thread(), object, std::move(what), std::move(order),
                              source.event, source.stale, source.ambiguous, at});
}

constexpr rl::memory_order to_relacy(std::memory_order order) {
    static_assert(static_cast<int>(std::memory_order_relaxed) == rl::mo_relaxed);
    static_assert(static_cast<int>(std::memory_order_acquire) == rl::mo_acquire);
    static_assert(static_cast<int>(std::memory_order_release) == rl::mo_release);
    static_assert(static_cast<int>(std::memory_order_acq_rel) == rl::mo_acq_rel);
    static_assert(static_cast<int>(std::memory_order_seq_cst) == rl::mo_seq_cst);
    return static_cast<rl::memory_order>(static_cast<int>(order));
}

/// Relacy wants integers: every T is held as the unsigned integer of its size.
template <std::size_t Bytes>
using bits_of_size = std::conditional_t<
    Bytes == 1, std::uint8_t,
    std::conditional_t<Bytes == 2, std::uint16_t, std::conditional_t<Bytes == 4, std::uint32_t, std::uint64_t>>>;

}  // namespace relacy

/// The layer under Relacy: each operation names its site, may run weakened, and is a scheduling point.
struct relacy_atomics {
    using at = std::source_location;

    template <class T>
        requires(std::is_trivially_copyable_v<T> && sizeof(T) <= 8 && std::has_single_bit(sizeof(T)))
    class atomic {
        using bits = relacy::bits_of_size<sizeof(T)>;
        using order = std::memory_order;
        using op = model::op;
        using touch = relacy::touch;

    public:
        atomic(at where = at::current()) : atomic{T{}, where} {}
        explicit atomic(T initial, at where = at::current()) {
            word_.store(std::bit_cast<bits>(initial), rl::mo_relaxed, relacy::info(where));
            if (model::recorder != nullptr) model::recorder->wrote(this, model::shown(initial), true);
        }

        // No operation has a default order: a primitive that forgets one does not compile here.
        T load(order written, at where = at::current()) const {
            relacy::about_to(touch::read, this, &version_);
            const order mo = model::effective(op::load, written, where);
            const T value = std::bit_cast<T>(word_.load(relacy::to_relacy(mo), relacy::info(where)));
            if (model::recorder != nullptr) {
                const auto text = model::shown(value);
                relacy::record(this, "load " + text, model::name_of(mo), where, model::recorder->source_of(this, text));
            }
            return value;
        }

        void store(T value, order written, at where = at::current()) {
            relacy::about_to(touch::write, this, &version_);
            const order mo = model::effective(op::store, written, where);
            word_.store(std::bit_cast<bits>(value), relacy::to_relacy(mo), relacy::info(where));
            wrote(value, "store " + text(value), mo, where);
        }

        T exchange(T value, order written, at where = at::current()) {
            return modify(
                "exchange ", value, written, where,
                [&](auto mo, const auto& info) { return word_.exchange(std::bit_cast<bits>(value), mo, info); },
                [](T, T operand) { return operand; });
        }
        T fetch_add(T value, order written, at where = at::current())
            requires std::is_integral_v<T>
        {
            return modify(
                "fetch_add ", value, written, where,
                [&](auto mo, const auto& info) { return word_.fetch_add(std::bit_cast<bits>(value), mo, info); },
                [](T old, T operand) { return static_cast<T>(old + operand); });
        }
        T fetch_sub(T value, order written, at where = at::current())
            requires std::is_integral_v<T>
        {
            return modify(
                "fetch_sub ", value, written, where,
                [&](auto mo, const auto& info) { return word_.fetch_sub(std::bit_cast<bits>(value), mo, info); },
                [](T old, T operand) { return static_cast<T>(old - operand); });
        }
        T fetch_and(T value, order written, at where = at::current())
            requires std::is_integral_v<T>
        {
            return modify(
                "fetch_and ", value, written, where,
                [&](auto mo, const auto& info) { return word_.fetch_and(std::bit_cast<bits>(value), mo, info); },
                [](T old, T operand) { return static_cast<T>(old & operand); });
        }
        T fetch_or(T value, order written, at where = at::current())
            requires std::is_integral_v<T>
        {
            return modify(
                "fetch_or ", value, written, where,
                [&](auto mo, const auto& info) { return word_.fetch_or(std::bit_cast<bits>(value), mo, info); },
                [](T old, T operand) { return static_cast<T>(old | operand); });
        }

        bool compare_exchange_weak(T& expected, T desired, order success, order failure, at where = at::current()) {
            return compare_exchange<true>(expected, desired, success, failure, where);
        }
        bool compare_exchange_strong(T& expected, T desired, order success, order failure, at where = at::current()) {
            return compare_exchange<false>(expected, desired, success, failure, where);
        }

        atomic(const atomic&) = delete;
        atomic& operator=(const atomic&) = delete;

    private:
        template <class Perform, class Compute>
        T modify(const char* what, T operand, order written, const at& where, Perform perform, Compute compute) {
            relacy::about_to(touch::write, this, &version_);
            const order mo = model::effective(op::rmw, written, where);
            const T old = std::bit_cast<T>(perform(relacy::to_relacy(mo), relacy::info(where)));
            wrote(compute(old, operand), what + text(operand) + ", was " + text(old), mo, where, newest());
            return old;
        }

        // Relacy knows only failure orders no stronger than the success order, as C++14 did; since C++17 any pair is
        // legal. A stronger failure is taken relaxed and followed, before anybody else can move, by a load of that order:
        // a compare-exchange has seen the newest value, so the load can see no other.
        template <bool Weak>
        bool compare_exchange(T& expected, T desired, order success, order failure, const at& where) {
            relacy::about_to(touch::write, this, &version_);
            success = model::effective(op::rmw, success, where);
            failure = model::effective(op::cas_failure, failure, where);
            const bool success_acquires = success == order::acquire || success == order::acq_rel;
            const bool expressible = failure == order::relaxed || success == order::seq_cst ||
                                     (failure == order::acquire && success_acquires);
            const auto on_success = relacy::to_relacy(success);
            const auto on_failure = expressible ? relacy::to_relacy(failure) : rl::mo_relaxed;
            const auto before = text(expected);
            auto found = std::bit_cast<bits>(expected);
            const auto wanted = std::bit_cast<bits>(desired);
            const auto here = relacy::info(where);
            const bool done = Weak ? word_.compare_exchange_weak(found, wanted, on_success, here, on_failure, here)
                                   : word_.compare_exchange_strong(found, wanted, on_success, here, on_failure, here);
            expected = std::bit_cast<T>(found);
            if (done) {
                wrote(desired, "compare-exchange " + before + " -> " + text(desired), success, where, newest());
            } else {
                relacy::record(this,
                               "compare-exchange " + before + " -> " + text(desired) + " fails, is " + text(expected),
                               model::name_of(failure), where, newest());
                if (!expressible) {
                    const rl::preemption_disabler at_once{rl::ctx()};
                    (void)word_.load(relacy::to_relacy(failure), here);
                }
            }
            return done;
        }

        void wrote(T value, std::string what, order mo, const at& where, model::recording::source source = {}) {
            ++version_;
            if (model::recorder == nullptr) return;
            model::recorder->wrote(this, text(value));
            relacy::record(this, std::move(what), model::name_of(mo), where, source);
        }
        [[nodiscard]] model::recording::source newest() const {
            return model::recorder == nullptr ? model::recording::source{} : model::recorder->newest_of(this);
        }

        /// Only a replay is worth the formatting.
        [[nodiscard]] static std::string text(const T& value) {
            return model::recorder == nullptr ? std::string{} : model::shown(value);
        }

        rl::atomic<bits> word_;
        unsigned version_ = 0;
    };

    /// Plain data. The value itself is kept beside a shadow variable that carries Relacy's race check.
    template <class T>
    class cell {
    public:
        cell(at where = at::current()) { shadow_(relacy::info(where)).store(0); }

        T read(at where = at::current()) const {
            if (model::recorder != nullptr) relacy::record(this, "read " + model::shown(value_), {}, where);
            (void)shadow_(relacy::info(where)).load();
            return value_;
        }
        void write(const T& value, at where = at::current()) {
            if (model::recorder != nullptr) relacy::record(this, "write " + model::shown(value), {}, where);
            shadow_(relacy::info(where)).store(++writes_);
            value_ = value;
        }

        cell(const cell&) = delete;
        cell& operator=(const cell&) = delete;

    private:
        T value_{};
        rl::var<unsigned> shadow_;
        unsigned writes_ = 0;
    };

    static void fence(std::memory_order written, at where = at::current()) {
        relacy::about_to(relacy::touch::fence, nullptr);
        const auto mo = model::effective(model::op::fence, written, where);
        if (mo != std::memory_order::relaxed) rl::atomic_thread_fence(relacy::to_relacy(mo), relacy::info(where));
        relacy::record(nullptr, "fence", model::name_of(mo), where);
    }

    template <class T, class Predicate>
    static T await(const atomic<T>& word, std::memory_order order, Predicate satisfied, at where = at::current()) {
        for (;;) {
            const T value = word.load(order, where);
            if (satisfied(value)) return value;
            pause(where);
        }
    }

    /// A deadline may pass at any look; the default one has passed at the first, and the last one never does.
    template <class T, class Predicate>
    static std::optional<T> await_until(const atomic<T>& word, std::memory_order order, Predicate satisfied,
                                        deadline until, at where = at::current()) {
        for (;;) {
            const T value = word.load(order, where);
            if (satisfied(value)) return value;
            if (until != deadline::max() && (until == deadline{} || rl::rand(2) != 0)) return std::nullopt;
            pause(where);
        }
    }

    /// Nothing: yielding after a failed compare-exchange would hide interleavings.
    struct retry_loop {
        static void retry(at = at::current()) {}

        template <class T>
        static void prepare(atomic<T>& word, std::type_identity_t<T> value, at where = at::current()) {
            word.store(value, std::memory_order_relaxed, where);
        }
    };

    static void pause(at where = at::current()) {
        relacy::about_to(relacy::touch::yield, nullptr);
        rl::yield(1, relacy::info(where));
        relacy::record(nullptr, "pause", {}, where);
    }
};

static_assert(atomics_layer<relacy_atomics>);

}  // namespace shm
