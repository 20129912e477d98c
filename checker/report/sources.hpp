// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Which files a verdict depends on. A certificate holds as long as none of them changes.
#include <filesystem>
#include <set>
#include <string>

namespace shm::model {

/// The model of that family, the engines and what judges them, with all that they include, and what of the library is
/// compiled for it.
[[nodiscard]] std::set<std::filesystem::path> sources_of(const std::string& family);

/// SHA-256 over names and contents of sources_of(family).
[[nodiscard]] std::string hash_of_sources(const std::string& family);

}  // namespace shm::model
