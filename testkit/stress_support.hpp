// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What the stress tests are made of.
#include <fcntl.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

#include <shm/memfd_region.hpp>
#include <shm/mmap_region.hpp>

#include "testkit/payload.hpp"
#include "testkit/temporary_directory.hpp"

/// Lets others run while there is nothing to do, and gives up after a minute in which nothing happened: what hangs has to
/// fail.
class patience {
public:
    void progress() noexcept { rounds_ = 0; }
    [[nodiscard]] bool wait() noexcept {
        if (++rounds_ % 16 != 0) return shm::std_atomics::pause(), true;
        std::this_thread::yield();
        if (rounds_ % 4096 != 0) return true;
        const auto now = std::chrono::steady_clock::now();
        if (rounds_ == 4096) since_ = now;
        return now - since_ < std::chrono::minutes{1};
    }

private:
    unsigned rounds_ = 0;
    std::chrono::steady_clock::time_point since_;
};

[[nodiscard]] inline std::chrono::milliseconds seconds_for_all() {
    const char* const asked = std::getenv("SHM_STRESS_SECONDS");
    return std::chrono::milliseconds{static_cast<std::int64_t>(1000 * (asked != nullptr ? std::atof(asked) : 10))};
}

/// Below the wrap of 2^64 by a few laps, so that every test crosses it and goes on from 0.
[[nodiscard]] inline std::uint64_t just_below_the_wrap(std::uint32_t capacity) noexcept {
    return 0 - 3 * (capacity + 7ull);
}

enum class medium { file, memfd };

/// Bytes that are shared, and how another process comes to its own mapping of them.
class shared_bytes {
public:
    shared_bytes(medium kind, std::size_t size_bytes) {
        if (kind == medium::file) {
            directory_ = std::make_unique<temporary_directory>();
            file_.emplace(shm::mmap_region::create(*directory_ / "bytes", size_bytes).value());
        } else {
            memory_.emplace(shm::memfd_region::create(size_bytes).value());
        }
    }
    [[nodiscard]] shared_bytes attach() const {
        shared_bytes other;
        if (file_)
            other.file_.emplace(shm::mmap_region::attach(file_->path()).value());
        else
            other.memory_.emplace(
                shm::memfd_region::attach(shm::unique_fd{fcntl(memory_->fd(), F_DUPFD_CLOEXEC, 0)}).value());
        return other;
    }
    [[nodiscard]] shm::region region() const { return file_ ? file_->region() : memory_->region(); }

private:
    shared_bytes() = default;
    std::unique_ptr<temporary_directory> directory_;
    std::optional<shm::mmap_region> file_;
    std::optional<shm::memfd_region> memory_;
};
