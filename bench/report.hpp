// SPDX-License-Identifier: MIT OR Apache-2.0
// What the bench shows: text for people, JSON for programs, a picture for pages.
#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "bench/contest.hpp"

namespace bench {

/// All that was measured, and where.
struct report {
    settings how;
    std::string cpu;
    std::string kernel;
    std::string build;    // compiler and flags
    std::string library;  // its version, and the commit where there is one
    double load = 0;      // the machine's, before the bench began
    std::vector<peer> peers;
    std::vector<row> rows;
    std::vector<row_result> results;  // as many as rows that are done
};

[[nodiscard]] report begin_report(settings how, std::vector<row> chosen);

[[nodiscard]] std::string head(const report&);
[[nodiscard]] std::string table(const row&, const row_result&);
[[nodiscard]] std::string tail(const report&);  // with a warning when the machine was busy
[[nodiscard]] std::string json(const report&);
[[nodiscard]] std::string svg(const report&);

/// `page` with what stands between the two lines that mark the table's place replaced by `text`. Throws
/// std::invalid_argument where these lines are missing.
[[nodiscard]] std::string with_table(const std::string& page, const std::string& text);

}  // namespace bench
