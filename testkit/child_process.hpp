// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <concepts>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <utility>

#include <shm/proof_of_death.hpp>

/// How a process ended: EXPECT_EQ(child.wait(), exited(0)) tells what it found instead.
struct process_end {
    int status;  // as waitpid reports it, but for the core dump
    [[nodiscard]] bool operator==(const process_end&) const = default;
    friend std::ostream& operator<<(std::ostream& out, process_end end) {
        if (WIFEXITED(end.status)) return out << "exited with " << WEXITSTATUS(end.status);
        return out << "killed by signal " << WTERMSIG(end.status);
    }
};
[[nodiscard]] constexpr process_end exited(int code) { return {code << 8}; }
[[nodiscard]] constexpr process_end killed_by(int signal) { return {signal}; }
[[nodiscard]] inline process_end end_of(int status) {
    return WIFSIGNALED(status) ? killed_by(WTERMSIG(status)) : process_end{status};
}

/// A child of this process. The destructor kills and reaps a child that has not been reaped; a child does not outlive a
/// test that is killed, either.
class child_process {
public:
    /// None.
    child_process() = default;

    /// Runs `body` in a fork, which exits with what that returns.
    template <std::invocable Body>
    explicit child_process(Body body) {
        std::fflush(nullptr);
        pid_ = require(fork(), "fork");
        if (pid_ != 0) return;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit([&]() noexcept -> int { return body(); }());  // noexcept: what it throws must not go on as another test
    }

    /// One that something else has started, and that is now ours to reap.
    explicit child_process(pid_t adopted) : pid_{adopted} {}

    child_process(child_process&& other) noexcept : pid_{std::exchange(other.pid_, 0)} {}
    child_process& operator=(child_process&& other) noexcept {
        const child_process old{std::exchange(pid_, std::exchange(other.pid_, 0))};
        return *this;
    }
    ~child_process() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }

    /// 0 once it has been reaped or released.
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    /// From now on the caller reaps it.
    [[nodiscard]] pid_t release() {
        const pid_t released = some();
        pid_ = 0;
        return released;
    }

    void kill() const { require(::kill(some(), SIGKILL), "kill"); }
    /// Returns once it is stopped.
    void stop() const {
        require(::kill(some(), SIGSTOP), "kill");
        int status = 0;
        require(waitpid(some(), &status, WUNTRACED), "waitpid");
        require(WIFSTOPPED(status) ? 0 : -1, "expected a stopped child, found one that has ended");
    }
    void resume() const { require(::kill(some(), SIGCONT), "kill"); }

    /// Neither of the two reaps it.
    [[nodiscard]] bool has_ended() const { return look(WNOHANG); }
    void wait_until_zombie() const { look(0); }

    /// Waits until it has ended, and reaps it.
    process_end wait() {
        int status = 0;
        require(waitpid(release(), &status, 0), "waitpid");
        return end_of(status);
    }

    struct dead {
        shm::proof_of_death proof;
        process_end end;
    };
    /// As `wait`, by shm::reap.
    [[nodiscard]] dead reap() {
        const auto ended = shm::reap(release()).value();
        return {ended.proof, end_of(ended.status)};
    }

private:
    static int require(int result, const char* call) {
        if (result >= 0) return result;
        std::perror(call);
        std::abort();
    }
    /// What is not one process's pid would mean several to the kernel.
    [[nodiscard]] pid_t some() const { return pid_ > 0 ? pid_ : require(-1, "expected a child, found none"); }
    bool look(int how) const {
        siginfo_t end{};
        require(waitid(P_PID, static_cast<id_t>(some()), &end, WEXITED | WNOWAIT | how), "waitid");
        return end.si_pid == pid_;
    }

    pid_t pid_ = 0;
};

/// The proof that a child has died which did `body`.
template <class Body>
[[nodiscard]] shm::proof_of_death dead_child_that(Body body) {
    const auto dead = child_process([&] { return body(), 0; }).reap();
    if (dead.end != exited(0)) std::abort();
    return dead.proof;
}
