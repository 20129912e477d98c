// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What is sent: bytes that tell whether they are whole.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t value) noexcept {
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;  // splitmix64
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

/// Words that follow from the first.
inline void fill(std::span<std::byte> bytes, std::uint64_t number) noexcept {
    for (std::size_t at = 0; at < bytes.size(); at += sizeof number) {
        const std::uint64_t word = at == 0 ? number : mixed(number + at);
        std::memcpy(bytes.data() + at, &word, std::min(sizeof word, bytes.size() - at));
    }
}

/// That first word, if all the others follow from it.
[[nodiscard]] inline std::optional<std::uint64_t> number_of(std::span<const std::byte> bytes) noexcept {
    std::uint64_t number = 0;
    if (bytes.size() < sizeof number) return std::nullopt;
    std::memcpy(&number, bytes.data(), sizeof number);
    for (std::size_t at = sizeof number; at < bytes.size(); at += sizeof number) {
        const std::uint64_t word = mixed(number + at);
        if (std::memcmp(bytes.data() + at, &word, std::min(sizeof word, bytes.size() - at)) != 0) return std::nullopt;
    }
    return number;
}
