// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <unistd.h>

#include <utility>

namespace shm {
inline namespace v1 {

/// Owns a file descriptor and closes it. -1 is none.
class unique_fd {
public:
    unique_fd() noexcept = default;                                     ///< owns none
    explicit unique_fd(int fd) noexcept : fd_{fd} {}                    ///< takes `fd` over
    unique_fd(unique_fd&& other) noexcept : fd_{other.release_fd()} {}  ///< what was moved from owns none

    /// Closes the one that was here.
    unique_fd& operator=(unique_fd&& other) noexcept {
        if (this != &other) {
            close();
            fd_ = other.release_fd();
        }
        return *this;
    }
    ~unique_fd() { close(); }

    [[nodiscard]] int get() const noexcept { return fd_; }        ///< the descriptor, still owned here
    explicit operator bool() const noexcept { return fd_ >= 0; }  ///< whether there is one

    /// Gives up ownership without closing.
    [[nodiscard]] int release_fd() noexcept { return std::exchange(fd_, -1); }

private:
    void close() noexcept {
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
    }
    int fd_ = -1;
};

}  // namespace v1
}  // namespace shm
