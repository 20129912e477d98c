// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <iomanip>
#include <ostream>
#include <type_traits>

#include "testkit/payload.hpp"

/// Items of every shape that matters to a layout. None has a byte of padding, so that two are equal when their bytes
/// are.
struct three_bytes {
    std::array<std::uint8_t, 3> bytes;
};
struct forty_eight_bytes {
    std::array<std::uint64_t, 6> words;
};
struct alignas(64) whole_line {
    std::array<std::uint8_t, 64> bytes;
};
static_assert(sizeof(three_bytes) == 3 && sizeof(forty_eight_bytes) == 48 && sizeof(whole_line) == 64);

template <class T>
concept test_item =
    std::is_same_v<T, three_bytes> || std::is_same_v<T, forty_eight_bytes> || std::is_same_v<T, whole_line>;

template <test_item T>
[[nodiscard]] bool operator==(const T& a, const T& b) noexcept {
    return std::memcmp(&a, &b, sizeof(T)) == 0;
}

template <test_item T>
std::ostream& operator<<(std::ostream& out, const T& item) {
    std::array<std::uint8_t, sizeof(T)> bytes;
    std::memcpy(bytes.data(), &item, sizeof(T));
    out << std::hex << std::setfill('0');
    for (const unsigned byte : bytes) out << std::setw(2) << byte;
    return out << std::dec;
}

/// The item that belongs to `seed`: every byte of it depends on every bit of the seed.
template <class T>
[[nodiscard]] T item_of(std::uint64_t seed) noexcept {
    std::array<std::uint8_t, sizeof(T)> bytes;
    for (auto& byte : bytes) {
        seed += 0x9e3779b97f4a7c15;
        byte = static_cast<std::uint8_t>(mixed(seed) >> 56);
    }
    T item;
    std::memcpy(&item, bytes.data(), sizeof(T));
    return item;
}

/// Differs, as good as always, when a byte does.
template <class T>
[[nodiscard]] std::uint64_t fingerprint_of(const T& item) noexcept {
    std::array<std::uint8_t, sizeof(T)> bytes;
    std::memcpy(bytes.data(), &item, sizeof(T));
    std::uint64_t hash = 0;
    for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3 + 1;
    return hash;
}
