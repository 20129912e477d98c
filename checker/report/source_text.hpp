// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What the source says about an operation: its line, its [edge] or reason, and its function under a short name.
#include <string>

#include <shm/checking.hpp>

namespace shm::model {

/// "spsc_ring_raw.hpp"
[[nodiscard]] std::string file_of(const std::source_location& at);

/// The line of source, without its indentation; empty when the file cannot be read.
[[nodiscard]] std::string line_of(const std::source_location& at);

/// The comment that ends the operation: "[publish]", or why a relaxed order is enough. Of a compare-exchange whose orders
/// stand on two lines, the first comment is the success's and the last the failure's.
[[nodiscard]] std::string comment_of(const std::source_location& at, op kind);

/// "spsc_ring_raw::producer::try_push", whichever compiler wrote the name.
[[nodiscard]] std::string function_of(const std::source_location& at);

/// Whether the operation stands in the library, and not in a scenario.
[[nodiscard]] bool in_core(const std::source_location& at);

}  // namespace shm::model
