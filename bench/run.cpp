// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include <shm/memfd_region.hpp>
#include <shm/unique_fd.hpp>
#include <shm/unique_mapping.hpp>

#include "bench/run.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;

constexpr auto run_in = 1ms;
constexpr auto chunk = 100us;

struct child {
    pid_t pid;
    shm::unique_fd ended;  // a pidfd: readable then
};

long preemptions() noexcept {
    rusage used{};
    getrusage(RUSAGE_THREAD, &used);
    return used.ru_nivcsw;
}

[[nodiscard]] bool stay_on(const cpu_set_t& cpus) noexcept { return sched_setaffinity(0, sizeof cpus, &cpus) == 0; }

[[nodiscard]] bool stay_on(int cpu) noexcept {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    return stay_on(only);
}

const cpu_set_t allowed = [] {
    cpu_set_t all;
    CPU_ZERO(&all);
    sched_getaffinity(0, sizeof all, &all);
    return all;
}();

/// Takes the calling thread off the CPUs of the two sides, where it may use others.
void make_way(const conditions& how) noexcept {
    cpu_set_t others = allowed;
    CPU_CLR(how.first_cpu, &others);
    CPU_CLR(how.second_cpu, &others);
    (void)stay_on(CPU_COUNT(&others) != 0 ? others : allowed);
}

template <class Side>
void pinned(int cpu, run& shared, Side side) {
    if (!stay_on(cpu)) shared.fail(fmt::format("a side cannot be pinned to CPU {}: {}", cpu, std::strerror(errno)));
    const long before = preemptions();
    side();
    shared.preemptions += preemptions() - before;
}

template <class Body>
child fork_child(Body body) {
    std::fflush(nullptr);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        body();
        _exit(0);
    }
    child made{pid, shm::unique_fd{static_cast<int>(syscall(SYS_pidfd_open, pid, 0))}};
    if (!made.ended) {
        const int error = errno;
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
        throw std::system_error(error, std::generic_category(), "pidfd_open");
    }
    return made;
}

std::string how_it_ended(const run& shared, int status) {
    if (shared.failed) return shared.failure;
    if (WIFSIGNALED(status))
        return fmt::format("a side was killed by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
    return fmt::format("a side ended early: expected exit status 0, found {}", WEXITSTATUS(status));
}

/// What these have used of the CPUs. One that has ended counts no more.
std::chrono::nanoseconds cpu_time(const std::vector<child>& children) {
    std::chrono::nanoseconds all{};
    for (const child& each : children) {
        clockid_t its{};
        timespec used{};
        if (clock_getcpuclockid(each.pid, &its) == 0 && clock_gettime(its, &used) == 0)
            all += std::chrono::seconds{used.tv_sec} + std::chrono::nanoseconds{used.tv_nsec};
    }
    return all;
}

/// Waits for all children, kills those that are left when one fails or nothing moves, and leaves none behind. It sleeps
/// until one ends: to look more often would preempt a side where there are no other CPUs. On a busy machine nothing moves
/// for long, though nothing hangs: where the children run, the time that counts is theirs on the CPUs.
std::string watch(std::vector<child> children, const run& shared, std::chrono::nanoseconds patience) {
    const auto look_again = std::chrono::ceil<std::chrono::milliseconds>(patience / 4);
    std::string failure;
    std::uint64_t seen = 0;
    std::chrono::nanoseconds stalled{};
    auto looked = clock::now();
    auto used = cpu_time(children);
    while (!children.empty()) {
        std::vector<pollfd> waits;
        for (const child& each : children) waits.push_back({each.ended.get(), POLLIN, 0});
        poll(waits.data(), waits.size(), static_cast<int>(look_again.count()));
        std::erase_if(children, [&](const child& each) {
            int status = 0;
            if (waitpid(each.pid, &status, WNOHANG) != each.pid) return false;
            if (status != 0 && failure.empty()) failure = how_it_ended(shared, status);
            return true;
        });
        const auto looks = clock::now();
        const std::chrono::nanoseconds passed = looks - std::exchange(looked, looks);
        const auto used_now = cpu_time(children);
        const auto ran = used_now - std::exchange(used, used_now);
        stalled += ran < passed / 100 ? passed : std::min(passed, ran);
        if (const auto now = shared.elements.load(); now != seen) {
            seen = now;
            stalled = {};
        } else if (failure.empty() && stalled > patience) {
            failure = fmt::format("it hangs: no chunk for {:.3g} s, {} elements before",
                                  std::chrono::duration<double>(patience).count(), seen);
        }
        if (!failure.empty())
            for (const child& each : children) kill(each.pid, SIGKILL);
    }
    return failure;
}

}  // namespace

void run::meet() noexcept {
    ++arrived;
    while (arrived.load() < 2) sched_yield();  // both may be on one CPU
}

void run::fail(const std::string& sentence) noexcept {
    if (!failed.exchange(true)) sentence.copy(failure, sizeof failure - 1);
    _exit(1);
}

stopwatch::stopwatch(run& shared, std::uint64_t lap) : shared_{shared}, lap_{lap} {
    seconds_each_.reserve(static_cast<std::size_t>(4 * shared.duration / chunk) + 64);
}

std::uint64_t stopwatch::next_chunk(std::uint64_t done, clock::time_point now) {
    if (done > done_) {
        const auto took = std::max<clock::duration>(now - stamp_, 1ns);
        if (measured_from_)
            seconds_each_.push_back(std::chrono::duration<double>(took).count() / static_cast<double>(done - done_));
        const auto fitting = static_cast<std::uint64_t>(static_cast<double>(size_) * (1.0 * chunk / took));
        size_ = std::max<std::uint64_t>(std::clamp(fitting, size_ / 2, size_ * 2), 1);
    }
    if (!measured_from_ && now - started_ >= run_in && done >= lap_) measured_from_ = now;
    done_ = done;
    stamp_ = now;
    shared_.elements = done;
    if (!measured_from_ || seconds_each_.empty() || now - *measured_from_ < shared_.duration) return size_;
    shared_.seconds_each = median(seconds_each_);
    const auto slow = seconds_each_.begin() + static_cast<std::ptrdiff_t>((seconds_each_.size() * 95 + 99) / 100 - 1);
    std::nth_element(seconds_each_.begin(), slow, seconds_each_.end());
    shared_.slow_seconds_each = *slow;
    return 0;
}

outcome run_once(const contestant& who, sides where, const conditions& how) {
    (void)stay_on(how.first_cpu);  // the memory is taken near it
    const shm::unique_mapping control{
        ::mmap(nullptr, sizeof(run), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), sizeof(run)};
    if (control.data() == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    auto& shared = *new (control.data()) run{how.duration};  // a region's bytes would not be there in a child
    const auto memory = shm::memfd_region::create(who.size_bytes).value();

    std::vector<child> children;
    if (where == sides::threads) {
        children.push_back(fork_child([&] {
            const auto bytes = shm::memfd_region::attach(shm::unique_fd{dup(memory.fd())}).value();
            who.make(bytes.region());
            std::thread other{[&] { pinned(how.second_cpu, shared, [&] { who.second(bytes.region(), shared); }); }};
            pinned(how.first_cpu, shared, [&] { who.first(bytes.region(), shared); });
            other.join();
        }));
    } else {
        who.make(memory.region());
        const auto mapped_again = [&](int cpu, void (*side)(shm::region, run&)) {
            const auto bytes = shm::memfd_region::attach(shm::unique_fd{dup(memory.fd())}).value();
            pinned(cpu, shared, [&] { side(bytes.region(), shared); });
        };
        children.push_back(fork_child([&] { mapped_again(how.first_cpu, who.first); }));
        children.push_back(fork_child([&] { mapped_again(how.second_cpu, who.second); }));
    }

    make_way(how);
    outcome result;
    result.failure = watch(std::move(children), shared, how.patience);
    result.seconds_each = shared.seconds_each;
    result.slow_seconds_each = shared.slow_seconds_each;
    result.elements = shared.elements;
    result.preemptions = shared.preemptions;
    return result;
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    if (values.size() % 2 != 0) return *middle;
    return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

}  // namespace bench
