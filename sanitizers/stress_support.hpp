// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What the stress tests are made of.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

#include <shm/memfd_region.hpp>
#include <shm/mmap_region.hpp>
#include <shm/proof_of_death.hpp>

#include "../proptests/temporary_directory.hpp"

[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t value) noexcept {
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;  // splitmix64
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

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

/// A word that a child and its parent share, to tell what the child had done when it died.
class shared_word {
public:
    shared_word()
        : word_{static_cast<std::atomic<std::uint64_t>*>(
              mmap(nullptr, sizeof(std::uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))} {}
    shared_word(const shared_word&) = delete;
    shared_word& operator=(const shared_word&) = delete;
    ~shared_word() { munmap(word_, sizeof(std::uint64_t)); }
    [[nodiscard]] std::atomic<std::uint64_t>& operator*() const noexcept { return *word_; }

private:
    std::atomic<std::uint64_t>* word_;
};

/// Runs `work` in a child, which ends with its parent if not before; 0 is success. There must be no other thread.
template <class Work>
pid_t in_a_child(Work work) {
    const pid_t child = fork();
    if (child != 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(work());
}

inline void expect_success(pid_t child, const char* whose) {
    const auto ended = shm::reap(child).value();
    EXPECT_TRUE(WIFEXITED(ended.status) && WEXITSTATUS(ended.status) == 0) << whose << " ended with " << ended.status;
}
