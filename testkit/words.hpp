// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstring>

/// The word that lies at that offset, aligned or not.
template <class Word>
[[nodiscard]] Word word_at(const void* bytes, std::size_t offset) {
    Word word;
    std::memcpy(&word, static_cast<const std::byte*>(bytes) + offset, sizeof(Word));
    return word;
}
/// Overwrites it, as a peer does that may write what it likes.
template <class Word>
void put_word(void* bytes, std::size_t offset, const Word& word) {
    std::memcpy(static_cast<std::byte*>(bytes) + offset, &word, sizeof(Word));
}
