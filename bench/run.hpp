// SPDX-License-Identifier: MIT OR Apache-2.0
// One run of one contestant: two pinned sides in processes of their own, watched from outside.
#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <shm/region.hpp>

namespace bench {

using clock = std::chrono::steady_clock;

/// Where the two sides live. Either way they run in children of the bench, so that a hang or a crash ends one run.
enum class sides : std::uint8_t { threads, processes };

struct conditions {
    int first_cpu;
    int second_cpu;
    std::chrono::nanoseconds duration;
    std::chrono::nanoseconds patience;  // without a chunk for so long, the contestant hangs
};

/// What the two sides of a run and their parent share.
class run {
public:
    explicit run(std::chrono::nanoseconds measured) noexcept : duration{measured} {}

    /// The barrier: returns when both sides are there.
    void meet() noexcept;

    /// Ends the run with this sentence. The other side is killed.
    [[noreturn]] void fail(const std::string& sentence) noexcept;

    const std::chrono::nanoseconds duration;
    std::atomic<int> arrived = 0;
    std::atomic<long> preemptions = 0;  // involuntary context switches of both sides
    std::atomic<bool> failed = false;
    char failure[400] = {};

    // How many elements there will be. The receiving side decides it late; until then the sender reads it all the time,
    // so it has a line of its own.
    alignas(2 * shm::cache_line_bytes) std::atomic<std::uint64_t> limit = std::numeric_limits<std::uint64_t>::max();

    alignas(2 * shm::cache_line_bytes) std::atomic<std::uint64_t> elements = 0;  // checked so far
    double seconds_each = 0;                                                     // in the median chunk
    double slow_seconds_each = 0;                                                // 95 % of the chunks took no longer
};

/// Cuts the elements that pass one side into chunks of about 100 µs and times each. Preemption distorts a mean. The median
/// hides it, but stalls of the queue itself as well: these show in the time that 95 % of the chunks keep.
class stopwatch {
public:
    /// The first millisecond is not kept, nor the first `lap` elements: by then pages, caches and clocks are warm.
    stopwatch(run& shared, std::uint64_t lap);

    /// Called between two chunks, after `done` elements: how many the next chunk has; none when the time is up.
    [[nodiscard]] std::uint64_t next_chunk(std::uint64_t done, clock::time_point now = clock::now());

private:
    run& shared_;
    std::uint64_t lap_;
    std::uint64_t done_ = 0;
    std::uint64_t size_ = 64;
    clock::time_point started_ = clock::now();
    std::optional<clock::time_point> measured_from_;
    clock::time_point stamp_ = started_;
    std::vector<double> seconds_each_;
};

/// Something to be measured. Its memory is `size_bytes` of zeroed sealed shared memory, which each process maps for
/// itself; `make` prepares it once, then the sides run. One of them uses a stopwatch.
struct contestant {
    std::string_view name;
    std::string_view calls;    // what it is driven by
    std::string_view absent;   // why it cannot take part; empty when it can
    std::size_t capacity = 0;  // how many elements it holds at most; 0 where there is no queue
    std::size_t size_bytes = 0;
    void (*make)(shm::region) = nullptr;
    void (*first)(shm::region, run&) = nullptr;
    void (*second)(shm::region, run&) = nullptr;
};

/// What a run has shown, or the sentence of its failure.
struct outcome {
    double seconds_each = 0;
    double slow_seconds_each = 0;
    std::uint64_t elements = 0;
    long preemptions = 0;
    std::string failure;
};

[[nodiscard]] outcome run_once(const contestant&, sides, const conditions&);

/// The middle one of `values`, or the mean of the middle two. There is at least one.
[[nodiscard]] double median(std::vector<double> values);

}  // namespace bench
