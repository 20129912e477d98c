// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// An execution in a line of text.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "checker/explore/execution_graph.hpp"

namespace shm::explore {

/// What a token says of a wait that is not woken, in place of what it reads.
inline constexpr unsigned option_blocked = 9999;

/// The token: the decisions of an execution, in an order in which each thread can take them. The sequential choices before,
/// for each event its thread and its option, the sequential choices after.
[[nodiscard]] std::string token_of(const execution_graph& g);

/// A token, to be followed.
struct script {
    std::vector<std::uint8_t> before, after;
    std::vector<std::pair<unsigned, unsigned>> steps;
    std::size_t next = 0;
    std::string refusal;  // what the scenario says against it, where it cannot throw

    /// Throws std::invalid_argument for what is no token.
    explicit script(const std::string& token);
};

/// Equal for two executions in which the reads read from the same writes and the writes have the same order.
[[nodiscard]] std::string signature_of(const execution_graph& g);

}  // namespace shm::explore
