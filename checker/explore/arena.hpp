// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

namespace shm::explore {

/// The memory that simulated threads obtain by `new`: one arena for each, so that an address depends on nothing but the
/// thread and its past, and all of it is back when the next execution begins. A block that is freed is not given out again
/// in the same execution: freeing it twice is found, and a use of it finds what was there.
namespace arena {

/// Whose arena `new` takes from, from now on; `none`: the ordinary heap.
inline constexpr unsigned none = ~0U;
inline constexpr unsigned most = 9;  // eight threads, and what comes before and after them
inline unsigned current = none;

inline std::uint64_t execution = 0;  // how many have begun

/// A stretch of engine code within a simulated thread.
class paused {
public:
    paused() : was_{current} { current = none; }
    ~paused() { current = was_; }
    paused(const paused&) = delete;
    paused& operator=(const paused&) = delete;

private:
    unsigned was_;
};

/// A new execution begins. With `keep`, what the last one obtained stays as it is, for ever.
void reset(bool keep);

}  // namespace arena
}  // namespace shm::explore
