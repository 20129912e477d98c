// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <shm/fault.hpp>

/// What lies in memory, and its text in golden/.
using byte_image = std::vector<std::uint8_t>;

inline const std::filesystem::path golden_folder = std::filesystem::path{SHM_SOURCE_DIR} / "proptests/golden";

/// A field of a header, and what attach says when a byte of it is not what it should be.
struct field {
    std::size_t offset;
    std::size_t size_bytes;
    const char* name;
    std::optional<shm::fault_kind> damaged = std::nullopt;
};

/// In the form that `xxd -r` takes, a field or a slot a line: offset, bytes, and behind two spaces what they are. Bytes
/// that no line names are zero.
inline std::string text_of(const byte_image& bytes, const std::vector<field>& header_fields, std::size_t header_bytes,
                           std::size_t slot_bytes) {
    std::ostringstream text;
    text << std::hex << std::setfill('0');
    const auto line = [&](std::size_t offset, std::size_t size_bytes, const std::string& name) {
        text << std::setw(8) << offset << ":";
        for (std::size_t i = 0; i < size_bytes; ++i)
            text << (i % 2 == 0 ? " " : "") << std::setw(2) << unsigned{bytes.at(offset + i)};
        text << (name.empty() ? "" : "  ") << name << '\n';
    };
    for (const field& f : header_fields) line(f.offset, f.size_bytes, f.name);
    for (std::size_t at = header_bytes; at < bytes.size(); at += slot_bytes)
        for (std::size_t part = 0; part < slot_bytes; part += 16)
            line(at + part, std::min<std::size_t>(16, slot_bytes - part),
                 part == 0 ? "slot " + std::to_string((at - header_bytes) / slot_bytes) : "");
    return text.str();
}

inline byte_image bytes_of(const std::string& text) {
    byte_image bytes;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        std::size_t at = std::stoul(line.substr(0, 8), nullptr, 16);
        const std::string digits = line.substr(9, line.find("  ") - 9);
        for (std::size_t i = 0; i < digits.size(); ++i) {
            if (digits[i] == ' ') continue;
            bytes.resize(std::max(bytes.size(), at + 1));
            bytes[at++] = static_cast<std::uint8_t>(std::stoul(digits.substr(i++, 2), nullptr, 16));
        }
    }
    return bytes;
}

inline std::string stored(const std::string& name) {
    std::ifstream file{golden_folder / name};
    EXPECT_TRUE(file) << "expected the image " << golden_folder / name << ", found none";
    return {std::istreambuf_iterator<char>{file}, {}};
}
