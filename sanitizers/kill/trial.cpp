// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <sstream>
#include <system_error>

#include "sanitizers/kill/trial.hpp"

namespace kill_test {
namespace {

constexpr unsigned patience_seconds = 60;  // of whatever hangs

[[noreturn]] void give_up(const char* call) { throw std::system_error{errno, std::generic_category(), call}; }

}  // namespace

void require(bool right, const std::string& otherwise) {
    if (!right) throw finding{otherwise};
}

shared_memory::shared_memory(std::size_t size_bytes)
    : made_{shm::memfd_region::create(size_bytes, {.name = "kill-test"}).value()} {}

shm::memfd_region shared_memory::attach() const {
    return shm::memfd_region::attach(shm::unique_fd{::fcntl(made_.fd(), F_DUPFD_CLOEXEC, 0)}).value();
}

child::now child::look(bool wait) const {
    siginfo_t change{};
    const int how = WEXITED | WSTOPPED | WNOWAIT | (wait ? 0 : WNOHANG);
    if (::waitid(P_PID, static_cast<id_t>(process_.pid()), &change, how) != 0) give_up("waitid");
    if (change.si_pid == 0) return now::runs;
    return change.si_code == CLD_STOPPED ? now::is_stopped : now::is_dead;
}

void child::end_stop() const {
    siginfo_t change{};
    if (::waitid(P_PID, static_cast<id_t>(process_.pid()), &change, WSTOPPED | WNOHANG) != 0) give_up("waitid");
    chosen_.more == life::for_ever ? process_.kill() : process_.resume();
}

shm::proof_of_death child::bury(bool may_end) {
    const auto dead = process_.reap();
    require(dead.proof.peer() == peer(), "a proof: expected of the child that died, found of another peer");
    if (dead.end == exited(0) && may_end) return dead.proof;
    require(mine_->complaint[0] == '\0', mine_->complaint.data());
    require(dead.end != killed_by(SIGALRM), "a child: expected to get to its end, found that it hangs");
    std::ostringstream found;
    found << "a child: expected to be killed by SIGKILL, found that it was " << dead.end;
    require(dead.end == killed_by(SIGKILL), found.str());
    killed_ = true;
    of_->note(*mine_);
    return dead.proof;
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
    child_process started([&] {
        ::alarm(patience_seconds);
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
            return 1;
        }
        return 0;
    });
    return {*this, std::move(started), mine, chosen};
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
