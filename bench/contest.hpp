// SPDX-License-Identifier: MIT OR Apache-2.0
// Rows of contestants, each measured against the row's first.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/run.hpp"

namespace bench {

enum class unit : std::uint8_t { million_per_second, nanoseconds };

/// One thing that is measured, and those who do it. The first is what the others are compared with.
struct row {
    std::string name;  // element, capacity, how it is driven, threads or processes
    sides where;
    unit shown_in;
    std::vector<contestant> contestants;
    std::string_view note = {};
};

/// What rows are measured beside.
struct peer {
    std::string name;
    std::string version;
};

/// All rows of this program. A file of rows adds its own: `const bench::rows mine{{...}, {...}};`
class rows {
public:
    rows(std::vector<row> more, std::vector<peer> beside = {});
    [[nodiscard]] static std::vector<row>& all();
    [[nodiscard]] static std::vector<peer>& peers();
};

/// The two CPUs on which everything runs.
struct two_cpus {
    int first = 0;
    int second = 0;
    std::string relation;  // "two cores that share a cache"
};

/// Of the CPUs that this process may use, two of different cores that share a cache, or what comes nearest to it.
/// Throws std::invalid_argument when there are fewer than two, or when a wanted one is not allowed. The same one may be
/// wanted twice, to see the bench work and not to measure.
[[nodiscard]] two_cpus choose_cpus(const std::vector<int>& wanted);

struct settings {
    two_cpus cpus;
    int repetitions;
    std::chrono::milliseconds duration;
    std::chrono::milliseconds patience;
};

struct spread {
    double middle = 0;
    double least = 0;
    double most = 0;
};
[[nodiscard]] spread spread_of(const std::vector<double>& values);

/// What one contestant of a row has shown: a value for each repetition.
struct standing {
    std::vector<double> figures;  // of the median chunk, in the row's unit
    std::vector<double> slow;     // what 95 % of the chunks reach
    std::vector<double> speeds;   // how many times as fast as the first contestant in the same repetition
    std::string failure;          // why it is out; empty when it is not
};

struct row_result {
    std::vector<standing> standings;  // in the row's order
    std::vector<double> transfer_ns;  // one way of one cache line between the two CPUs, in each repetition
    std::uint64_t elements = 0;       // checked
    std::size_t runs = 0;
    double seconds = 0;  // measured, in all of them
    long preemptions = 0;
};

/// Lets each contestant run once in each repetition, in an order that rotates. A failed one is out.
[[nodiscard]] row_result contest(const row&, const settings&, const std::function<void(const std::string&)>& progress);

}  // namespace bench
