// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>

/// Words from one process to another that has forked meanwhile.
class word_pipe {
public:
    word_pipe() {
        if (pipe2(ends_.data(), O_CLOEXEC) != 0) std::abort();
    }
    word_pipe(const word_pipe&) = delete;
    word_pipe& operator=(const word_pipe&) = delete;
    ~word_pipe() {
        close(ends_[0]);
        close(ends_[1]);
    }
    void say(std::uint64_t word) const {
        if (write(ends_[1], &word, sizeof word) != sizeof word) std::abort();
    }
    /// Waits for it.
    [[nodiscard]] std::uint64_t hear() const {
        std::uint64_t word = 0;
        if (read(ends_[0], &word, sizeof word) != sizeof word) std::abort();
        return word;
    }

private:
    std::array<int, 2> ends_{};
};
