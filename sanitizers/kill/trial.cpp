// SPDX-License-Identifier: MIT OR Apache-2.0
#include "trial.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <system_error>

namespace kill_test {
namespace {

constexpr unsigned patience_seconds = 60;  // of whatever hangs

[[noreturn]] void give_up(const char* call) { throw std::system_error{errno, std::generic_category(), call}; }

}  // namespace

void require(bool right, const std::string& otherwise) {
    if (!right) throw finding{otherwise};
}

diaries::diaries(std::size_t count) : count_{count} {
    void* const bytes =
        ::mmap(nullptr, count * sizeof(diary), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) give_up("mmap");
    all_ = static_cast<diary*>(bytes);
    for (std::size_t i = 0; i < count; ++i) new (&all_[i]) diary;
}

diaries::~diaries() { ::munmap(all_, count_ * sizeof(diary)); }

shared_memory::shared_memory(std::size_t size_bytes)
    : made_{shm::memfd_region::create(size_bytes, {.name = "kill-test"}).value()} {}

shm::memfd_region shared_memory::attach() const {
    return shm::memfd_region::attach(shm::unique_fd{::fcntl(made_.fd(), F_DUPFD_CLOEXEC, 0)}).value();
}

child::~child() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

child::now child::look(bool wait) const {
    siginfo_t change{};
    const int how = WEXITED | WSTOPPED | WNOWAIT | (wait ? 0 : WNOHANG);
    if (::waitid(P_PID, static_cast<id_t>(pid_), &change, how) != 0) give_up("waitid");
    if (change.si_pid == 0) return now::runs;
    return change.si_code == CLD_STOPPED ? now::is_stopped : now::is_dead;
}

void child::resume() const {
    siginfo_t change{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &change, WSTOPPED | WNOHANG) != 0) give_up("waitid");
    if (::kill(pid_, SIGCONT) != 0) give_up("kill");
}

void child::kill() const {
    siginfo_t change{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &change, WSTOPPED | WNOHANG) != 0) give_up("waitid");
    if (::kill(pid_, SIGKILL) != 0) give_up("kill");
}

shm::proof_of_death child::bury(bool may_end) {
    const auto ended = shm::reap(std::exchange(pid_, 0)).value();
    require(ended.proof.peer() == peer(), "a proof: expected of the child that died, found of another peer");
    if (WIFEXITED(ended.status)) {
        if (WEXITSTATUS(ended.status) == 0 && may_end) return ended.proof;
        throw finding{mine_->complaint[0] != '\0' ? std::string{mine_->complaint.data()}
                                                  : "a child: expected to be killed, found exit code " +
                                                        std::to_string(WEXITSTATUS(ended.status))};
    }
    const int signal = WIFSIGNALED(ended.status) ? WTERMSIG(ended.status) : 0;
    require(signal == SIGKILL,
            signal == SIGALRM ? "a child: expected to get to its end, found that it hangs"
                              : "a child: expected to be killed by SIGKILL, found signal " + std::to_string(signal));
    killed_ = true;
    of_->note(*mine_);
    return ended.proof;
}

trial::trial(std::string name, std::uint64_t seed, std::uint64_t kills, std::function<void(const tally&)> tell)
    : wanted_{kills}, random_{seed}, tell_{std::move(tell)} {
    counts_.name = std::move(name);
}

fate trial::draw(std::uint64_t operations, std::uint64_t one_in_rare) {
    fate chosen;
    const std::uint64_t fewer = operations >> random_.below(5);  // where a life begins there is more to be seen
    chosen.operations = random_.below(fewer + 1);
    if (random_.one_in(one_in_rare)) {
        chosen.operations += operations;
        chosen.at_rare_site = true;
        const std::uint64_t few = random_.one_in(2) ? 0 : counts_.kills / 400;
        common_.clear();
        for (const auto& [at, deaths] : counts_.deaths)
            if (deaths > few) common_.insert(at);
    }
    if (random_.one_in(10)) {
        chosen.signal = SIGSTOP;
        if (random_.one_in(2)) chosen.more = random_.below(operations);
    }
    return chosen;
}

child trial::launch(diary& mine, const fate& chosen, const std::function<void(std::uint64_t)>& work) {
    const std::uint64_t seed = random_.number();
    mine.self = 0;
    mine.complaint[0] = '\0';
    std::fflush(nullptr);
    const pid_t pid = ::fork();
    if (pid < 0) give_up("fork");
    if (pid > 0) return {*this, pid, mine, chosen};

    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(patience_seconds);
    int code = 0;
    try {
        mine.self = shm::this_process().value().word();
        this_life = {.last = chosen.operations,
                     .common = chosen.at_rare_site ? &common_ : nullptr,
                     .signal = chosen.signal,
                     .more = chosen.more,
                     .end = &mine.end};
        work(seed);
    } catch (const std::exception& wrong) {
        std::snprintf(mine.complaint.data(), mine.complaint.size(), "%s", wrong.what());
        code = 1;
    }
    ::_exit(code);
}

void trial::stopped(const child& who) {
    ++counts_.stops;
    const auto watch = shm::process_watch::open(who.peer()).value();
    const auto proof = watch.wait();
    require(!proof && proof.error().what == shm::fault_kind::not_dead,
            "a stopped process: expected no proof of its death, found one");
}

void trial::note(const diary& of) {
    ++counts_.deaths[site_of(of.end)];
    ++counts_.kills;
    tell_(counts_);
}

}  // namespace kill_test
