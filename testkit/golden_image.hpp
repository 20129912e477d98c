// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <shm/fault.hpp>
#include <shm/object/fields.hpp>
#include <shm/region.hpp>

#include "testkit/guarded_bytes.hpp"

/// What lies in memory, and its text in golden/.
using byte_image = std::vector<std::uint8_t>;

inline const std::filesystem::path golden_folder = std::filesystem::path{SHM_SOURCE_DIR} / "proptests/golden";

/// A line of an image, and what attach says when a byte of it is not what it should be.
struct image_line {
    std::size_t offset;
    std::size_t size_bytes;
    std::string name;
    std::optional<shm::fault_kind> damaged = std::nullopt;
};

/// What an image calls a field that it does not call by the name in its table; with no text it leaves the field out.
struct image_label {
    std::string_view field;
    std::optional<std::string> text;
    std::optional<shm::fault_kind> damaged = std::nullopt;
};

/// The lines of what begins at `begin`, from the table of its fields.
inline void add_lines(std::vector<image_line>& image, std::span<const shm::field> fields, std::size_t begin,
                      const std::vector<image_label>& labels, const std::string& before = "") {
    for (const shm::field& each : fields) {
        const auto found = std::ranges::find(labels, std::string_view{each.name}, &image_label::field);
        if (found != labels.end() && !found->text) continue;
        std::string name = found == labels.end() ? each.name : *found->text;
        std::ranges::replace(name, '_', ' ');
        image.push_back({begin + each.offset, each.size_bytes, before + name,
                         found == labels.end() ? std::nullopt : found->damaged});
    }
}

/// In the form that `xxd -r` takes, a field or a slot a line: offset, bytes, and behind two spaces what they are. Bytes
/// that no line names are zero.
inline std::string text_of(const byte_image& bytes, const std::vector<image_line>& image, std::size_t header_bytes,
                           std::size_t slot_bytes) {
    std::ostringstream text;
    text << std::hex << std::setfill('0');
    const auto line = [&](std::size_t offset, std::size_t size_bytes, const std::string& name) {
        text << std::setw(8) << offset << ":";
        for (std::size_t i = 0; i < size_bytes; ++i)
            text << (i % 2 == 0 ? " " : "") << std::setw(2) << unsigned{bytes.at(offset + i)};
        text << (name.empty() ? "" : "  ") << name << '\n';
    };
    for (const image_line& f : image) line(f.offset, f.size_bytes, f.name);
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

inline std::unique_ptr<guarded_bytes> placed(const byte_image& image) {
    auto bytes = std::make_unique<guarded_bytes>(image.size());
    std::memcpy(bytes->data(), image.data(), image.size());
    return bytes;
}
inline byte_image copy_of(const guarded_bytes& bytes) {
    byte_image image(bytes.size_bytes());
    std::memcpy(image.data(), bytes.data(), image.size());
    return image;
}

template <class Placed>
std::optional<shm::fault> refusal_of(shm::region bytes) {
    const auto found = Placed::attach(bytes);
    return found ? std::nullopt : std::optional{found.error()};
}

/// `refusal(region)` says what is said of the image when a byte of a field is damaged.
template <class Refusal>
void expect_damage_refused(const byte_image& image, const std::vector<image_line>& lines, Refusal refusal) {
    for (const image_line& f : lines)
        for (std::size_t offset = f.offset; f.damaged && offset < f.offset + f.size_bytes; ++offset) {
            byte_image damaged = image;
            damaged.at(offset) ^= 0xff;
            const auto refused = refusal(placed(damaged)->region());
            ASSERT_TRUE(refused) << f.name << ", byte " << offset;
            EXPECT_EQ(refused->what, *f.damaged) << f.name << ", byte " << offset;
        }
}

/// And when it is of another layout version, which lies at that offset.
template <class Refusal>
void expect_other_versions_refused(byte_image image, std::size_t offset, Refusal refusal) {
    for (const std::uint32_t version : {0u, 2u, 0x01000000u}) {
        for (unsigned i = 0; i < 4; ++i) image.at(offset + i) = static_cast<std::uint8_t>(version >> 8 * i);
        const auto refused = refusal(placed(image)->region());
        ASSERT_TRUE(refused) << version;
        EXPECT_EQ(*refused, (shm::fault{shm::fault_kind::layout_version, 1, version}));
    }
}

/// The name of the file as a test's.
inline std::string test_name(const std::string& file) {
    std::string name = file.substr(0, file.size() - std::strlen(".hex"));
    std::replace(name.begin(), name.end(), '.', '_');
    return name;
}
