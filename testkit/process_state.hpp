// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

/// How many descriptors this process has open.
inline std::ptrdiff_t open_descriptors() {
    using entries = std::filesystem::directory_iterator;
    return std::distance(entries{"/proc/self/fd"}, entries{}) - 1;  // one reads the folder
}

/// How many of this process's mappings `counts(line of /proc/self/maps)`.
template <class Counts>
std::size_t mappings_that(Counts counts) {
    std::ifstream maps{"/proc/self/maps"};
    std::size_t count = 0;
    for (std::string line; std::getline(maps, line);) count += counts(line) ? 1 : 0;
    return count;
}
/// Of a file whose name holds `text`.
inline std::size_t mappings_of(const std::string& text) {
    return mappings_that([&](const std::string& line) { return line.find(text) != line.npos; });
}
/// Shared with other processes, whatever of.
inline std::size_t shared_mappings() {
    return mappings_that([](const std::string& line) { return line.at(line.find(' ') + 4) == 's'; });
}

/// Whether the mapping at that address is left out of core dumps.
inline bool left_out_of_core_dumps(const void* address) {
    std::ifstream maps{"/proc/self/smaps"};
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    bool here = false;
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t begin = 0;
        std::uintptr_t end = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) here = begin <= wanted && wanted < end;
        if (here && line.starts_with("VmFlags:")) return (line + ' ').find(" dd ") != line.npos;
    }
    return false;
}
