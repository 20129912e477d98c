// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <cerrno>
#include <csignal>

/// A system call that does what a test has told it: for use in the function that the linker puts in its place
/// (--wrap). Until it is told, it does what it always does.
class failing_call {
public:
    /// The call after the next `spared` ones fails with that error, and as many after it as to make `times`.
    void fail(int error, int times = 1, int spared = 0) noexcept {
        error_ = error;
        times_ = times;
        spared_ = spared;
    }

    /// Whether every failure that was told has happened.
    [[nodiscard]] bool all_failed() const noexcept { return times_ == 0; }

    /// For the wrapper: whether this call is to fail; then errno is set. AddressSanitizer itself makes some of these calls
    /// before it is ready to watch anybody.
    [[nodiscard, gnu::no_sanitize_address]] bool fails() noexcept {
        if (calls_before_kill >= 0 && calls_before_kill-- == 0) std::raise(SIGKILL);
        if (times_ == 0 || spared_-- > 0) return false;
        --times_;
        errno = error_;
        return true;
    }

    /// This process kills itself where it would have made the wrapped call after that many. Negative is never.
    static inline int calls_before_kill = -1;

private:
    int error_ = 0;
    int times_ = 0;
    int spared_ = 0;
};
