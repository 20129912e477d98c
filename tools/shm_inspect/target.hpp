// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <string>
#include <variant>
#include <vector>

#include <shm/unique_fd.hpp>

namespace inspect {

/// A file that may hold a segment, open for reading.
struct target {
    std::string name;
    shm::unique_fd file;
};

/// The files that somebody has asked for, or one sentence that says why there are none.
using targets = std::variant<std::vector<target>, std::string>;

/// A number is a process: the segments that it has open or mapped. Anything else is a path; /proc/PID/fd/N is one.
[[nodiscard]] targets find(const std::string& asked);

}  // namespace inspect
