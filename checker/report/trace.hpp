// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <string>

#include "checker/driver/search.hpp"

namespace shm::model {

/// A recorded execution as a table: a column per thread, and for each step the named word, what was done, the order, the
/// [edge], where a value came from and how stale it was, and the line of source.
[[nodiscard]] std::string trace_of(const entry& scenario, const recording& execution, const outcome& how_it_ended);

/// The same as a page that needs nothing from anywhere: a lane per thread, an arrow from each store to the loads that read
/// it, red where it is stale; below it every step with its line of source.
[[nodiscard]] std::string trace_page(const entry& scenario, const recording& execution, const outcome& how_it_ended,
                                     const std::string& token);

}  // namespace shm::model
