// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>

namespace shm {
inline namespace v1 {

/// When a bounded wait gives up. The default, the clock's epoch, has always passed: look once, do not wait.
using deadline = std::chrono::steady_clock::time_point;

/// Everything that a primitive may ask of the machine: nothing else in core/ touches shared memory. A layer may offer
/// more, for scenarios and for your own code: fences, other read-modify-writes, waits without a deadline.
///
/// atomic<T>    loads, stores and read-modify-writes, each with its order spelled out
/// cell<T>      plain shared data; `read` fetches it exactly once, so what was checked is what is used
/// await_until  returns the first value that satisfies the predicate, or nothing once the deadline has passed; core/
///              waits for another thread in no other way
/// retry_loop   declared where a loop begins that retries until its compare-exchange succeeds. `retry` says that an
///              attempt has failed without any effect and that another follows; a caller that gives up does not call
///              it. `prepare` is a relaxed store that counts once this attempt has succeeded or the thread has died;
///              the next attempt stores again
template <class Layer>
concept atomics_layer = requires(
    typename Layer::template atomic<std::uint64_t>& word, const typename Layer::template atomic<std::uint64_t>& seen,
    typename Layer::template cell<std::uint64_t>& cell, const typename Layer::template cell<std::uint64_t>& read_cell,
    std::uint64_t value, std::memory_order order, bool (*satisfied)(std::uint64_t), deadline until,
    typename Layer::retry_loop loop) {
    { seen.load(order) } -> std::same_as<std::uint64_t>;
    { word.store(value, order) } -> std::same_as<void>;
    { word.exchange(value, order) } -> std::same_as<std::uint64_t>;
    { word.compare_exchange_strong(value, value, order, order) } -> std::same_as<bool>;
    { word.fetch_or(value, order) } -> std::same_as<std::uint64_t>;
    { read_cell.read() } -> std::same_as<std::uint64_t>;
    { cell.write(value) } -> std::same_as<void>;
    { Layer::await_until(seen, order, satisfied, until) } -> std::same_as<std::optional<std::uint64_t>>;
    { loop.retry() } -> std::same_as<void>;
    { loop.prepare(word, value) } -> std::same_as<void>;
};

}  // namespace v1
}  // namespace shm
