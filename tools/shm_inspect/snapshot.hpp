// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include <shm/region.hpp>
#include <shm/result.hpp>
#include <shm/unique_mapping.hpp>

namespace inspect {

/// A private copy of a segment's bytes, as far as they were asked for; the rest is zero, and costs nothing. Copied by
/// pread and never mapped: a peer that cuts the file off cannot kill who looks on, and what has been checked stays as it
/// was. The descriptor has to outlive the snapshot.
class snapshot {
public:
    /// Copies the header and the tables. Refuses what is no segment, by its magic, and what is no regular file.
    [[nodiscard]] static shm::result<snapshot> take(int fd) noexcept;

    /// Copies those bytes. Refuses `out_of_range`, `file_size` (the file has been cut off), `system_call`.
    [[nodiscard]] shm::result<void> fetch(std::size_t offset, std::size_t size_bytes) const noexcept;

    /// All of the bytes; those that were not fetched are zero.
    [[nodiscard]] shm::region bytes() const noexcept {
        return {bytes_.data(), bytes_.size_bytes(), shm::access::read_only};
    }

    /// How long the file is.
    [[nodiscard]] std::uint64_t file_size() const noexcept { return file_size_; }

private:
    snapshot(int fd, shm::unique_mapping bytes, std::uint64_t file_size) noexcept
        : fd_{fd}, bytes_{std::move(bytes)}, file_size_{file_size} {}

    int fd_;
    shm::unique_mapping bytes_;
    std::uint64_t file_size_;
};

/// Whether the file behind the descriptor begins like a segment.
[[nodiscard]] bool is_segment(int fd) noexcept;

}  // namespace inspect
