// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <string>

#include "tools/shm_inspect/report.hpp"

namespace inspect {

/// An earlier look, to tell rates by.
struct earlier {
    const report* seen = nullptr;  ///< null: none
    double seconds = 0;            ///< since then
};

/// For people.
[[nodiscard]] std::string as_text(const std::string& name, const report& all, const earlier& before);

/// For programs: one line.
[[nodiscard]] std::string as_json(const std::string& name, const report& all, const earlier& before);

}  // namespace inspect
