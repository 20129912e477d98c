// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

/// The consuming side of the Rust crate `shm-primitives` 0.6.0, as far as its layout of a ring goes: byte offsets and
/// nothing else. Includes no header of this library, on purpose.
class rust_layout_reader {
public:
    explicit rust_layout_reader(std::byte* ring) noexcept
        : visible_head_{*reinterpret_cast<std::uint64_t*>(ring)},
          tail_{*reinterpret_cast<std::uint64_t*>(ring + 64)},
          capacity_{*reinterpret_cast<std::uint32_t*>(ring + 128)},
          entries_{reinterpret_cast<const std::uint64_t*>(ring + 192)} {}

    [[nodiscard]] std::optional<std::uint64_t> dequeue() noexcept {
        const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
        if (tail >= visible_head_.load(std::memory_order_acquire)) return std::nullopt;
        const std::uint64_t entry = entries_[tail & (capacity_ - 1)];
        tail_.store(tail + 1, std::memory_order_release);
        return entry;
    }

private:
    std::atomic_ref<std::uint64_t> visible_head_;
    std::atomic_ref<std::uint64_t> tail_;
    std::uint32_t capacity_;
    const std::uint64_t* entries_;
};
