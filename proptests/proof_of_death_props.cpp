// SPDX-License-Identifier: MIT OR Apache-2.0
// shm_test(proof_of_death_props WRAP open waitid waitpid ppoll syscall)
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <rapidcheck.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>

#include <shm/heap_region.hpp>
#include <shm/memfd_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/spsc_ring.hpp>

#include "testkit/child_process.hpp"
#include "testkit/failing_call.hpp"
#include "testkit/nothing_left.hpp"
#include "testkit/process_state.hpp"
#include "testkit/temporary_directory.hpp"
#include "testkit/word_pipe.hpp"

namespace {

failing_call failing_open, failing_read, failing_stat, failing_waitid, failing_waitpid, failing_ppoll, failing_syscall;
const char* opened_instead = nullptr;

}  // namespace

// The linker sends each call of f to __wrap_f, and knows the f of the C library as __real_f.
int real_open(const char* path, int flags, mode_t mode) asm("__real_open");
int wrapped_open(const char* path, int flags, mode_t mode) asm("__wrap_open");
int wrapped_open(const char* path, int flags, mode_t mode) {
    return failing_open.fails() ? -1 : real_open(opened_instead != nullptr ? opened_instead : path, flags, mode);
}
ssize_t real_read(int fd, void* bytes, std::size_t length) asm("__real_read");
ssize_t wrapped_read(int fd, void* bytes, std::size_t length) asm("__wrap_read");
ssize_t wrapped_read(int fd, void* bytes, std::size_t length) {
    return failing_read.fails() ? -1 : real_read(fd, bytes, length);
}
int real_stat(const char* path, struct stat* found) asm("__real_stat");
int wrapped_stat(const char* path, struct stat* found) asm("__wrap_stat");
int wrapped_stat(const char* path, struct stat* found) { return failing_stat.fails() ? -1 : real_stat(path, found); }
int real_waitid(idtype_t type, id_t id, siginfo_t* info, int options) asm("__real_waitid");
int wrapped_waitid(idtype_t type, id_t id, siginfo_t* info, int options) asm("__wrap_waitid");
int wrapped_waitid(idtype_t type, id_t id, siginfo_t* info, int options) {
    return failing_waitid.fails() ? -1 : real_waitid(type, id, info, options);
}
pid_t real_waitpid(pid_t pid, int* status, int options) asm("__real_waitpid");
pid_t wrapped_waitpid(pid_t pid, int* status, int options) asm("__wrap_waitpid");
pid_t wrapped_waitpid(pid_t pid, int* status, int options) {
    return failing_waitpid.fails() ? -1 : real_waitpid(pid, status, options);
}
int real_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) asm("__real_ppoll");
int wrapped_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) asm("__wrap_ppoll");
int wrapped_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
    return failing_ppoll.fails() ? -1 : real_ppoll(fds, count, timeout, mask);
}
long real_syscall(long number, long a, long b, long c, long d, long e, long f) asm("__real_syscall");
long wrapped_syscall(long number, long a, long b, long c, long d, long e, long f) asm("__wrap_syscall");
long wrapped_syscall(long number, long a, long b, long c, long d, long e, long f) {
    const bool ours = number == SYS_pidfd_open || number == SYS_pidfd_send_signal;
    return ours && failing_syscall.fails() ? -1 : real_syscall(number, a, b, c, d, e, f);
}

namespace {

const bool all_is_given_up = nothing_left::by_any_test();

using namespace std::chrono_literals;
using shm::deadline;
using shm::fault;
using shm::fault_kind;
using shm::peer_id;
using shm::process_watch;
using ring = shm::spsc_ring<std::uint64_t>;

fault system_call(int error) { return {fault_kind::system_call, 0, static_cast<std::uint64_t>(error)}; }
fault no_permission(int error) { return {fault_kind::access_denied, 0, static_cast<std::uint64_t>(error)}; }
fault gone(peer_id expected, peer_id found) { return {fault_kind::gone, expected.word(), found.word()}; }
fault not_dead(peer_id peer) { return {fault_kind::not_dead, peer.word(), peer.word()}; }

/// The start time as /proc says it, read another way than by the library: field 22 of a line whose second field is a
/// name without spaces.
std::uint64_t start_time(pid_t pid) {
    std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
    std::string text{std::istreambuf_iterator<char>{file}, {}};
    std::istringstream fields{text.substr(text.find_last_of(')') + 2)};
    std::string field;
    for (int number = 3; number <= 22; ++number) fields >> field;
    return std::stoull(field);
}

peer_id peer_of(pid_t pid) { return {static_cast<std::uint32_t>(pid), static_cast<std::uint32_t>(start_time(pid))}; }

/// A child that says who it is and then waits to be killed.
class waiting_child : public child_process {
public:
    explicit waiting_child(const char* name = nullptr, const word_pipe& answer = {})
        : child_process{[&] {
              if (name != nullptr) prctl(PR_SET_NAME, name);
              const auto me = shm::this_process();
              answer.say(me ? me->word() : 0);
              for (;;) pause();
              return 0;
          }},
          said_{peer_id::from_word(answer.hear())} {}
    [[nodiscard]] peer_id said() const { return said_; }

private:
    peer_id said_;
};

TEST(this_process, is_the_pid_and_the_start_time) {
    const peer_id me = shm::this_process().value();
    EXPECT_EQ(me, peer_of(getpid()));
    EXPECT_TRUE(me.valid());
    EXPECT_NE(me.incarnation, 0U);
    EXPECT_EQ(shm::this_process().value(), me);
}

TEST(this_pid_namespace, is_the_one_that_children_share) {
    struct stat found{};
    ASSERT_EQ(stat("/proc/self/ns/pid", &found), 0);
    const auto ours = shm::this_pid_namespace().value();
    EXPECT_EQ(ours, found.st_ino);
    child_process child([&] { return shm::this_pid_namespace().value() == ours ? 0 : 1; });
    EXPECT_EQ(child.wait(), exited(0));
}

TEST(this_pid_namespace, that_cannot_be_looked_at_is_reported) {
    failing_stat.fail(ENOENT);
    EXPECT_EQ(shm::this_pid_namespace().error(), system_call(ENOENT));
    failing_stat.fail(EACCES);
    EXPECT_EQ(shm::this_pid_namespace().error(), no_permission(EACCES));
}

TEST(this_process, that_cannot_be_read_of_is_reported_and_leaves_nothing) {
    const auto before = open_descriptors();
    failing_read.fail(EIO);
    EXPECT_EQ(shm::this_process().error(), system_call(EIO));
    EXPECT_EQ(open_descriptors(), before);
}

TEST(this_process, the_incarnation_is_the_low_half_of_field_22) {
    const temporary_directory directory;
    const std::string path = directory / "stat";
    std::ofstream{path} << "7 (name) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 81909798520 23 24\n";
    opened_instead = path.c_str();
    const auto me = shm::this_process();
    opened_instead = nullptr;
    EXPECT_EQ(me.value(), (peer_id{static_cast<std::uint32_t>(getpid()), 0x12345678}));  // 19 * 2^32 + 0x12345678
}

TEST(this_process, of_which_proc_tells_no_start_time_is_refused) {
    const temporary_directory directory;
    const std::string path = directory / "stat";
    const auto before = open_descriptors();
    for (const char* text :
         {"", "7", "7 (name", "7 (name)", "7 (name) S", "7 (name) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
          "7 (name) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21",
          "7 (name) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 ",
          "7 (name) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 x 23",
          "7 (name) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 18446744073709551616 23"}) {
        std::ofstream{path} << text;
        opened_instead = path.c_str();
        const auto me = shm::this_process();
        opened_instead = nullptr;
        ASSERT_FALSE(me.has_value()) << text;
        EXPECT_EQ(me.error(), system_call(EBADMSG)) << text;
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST(this_process, a_forked_child_is_another_peer) {
    const peer_id me = shm::this_process().value();
    const waiting_child child;
    EXPECT_EQ(child.said(), peer_of(child.pid()));
    EXPECT_NE(child.said(), me);
}

TEST(this_process, the_name_of_the_program_confuses_nobody) {
    for (const char* name : {"a b c d", "a) R 1 2 3", "((", "))) 1 (2", ")", " ", "1 2 3 4 5 6 7 8"}) {
        SCOPED_TRACE(name);
        const waiting_child child{name};
        EXPECT_EQ(child.said(), peer_of(child.pid()));
        EXPECT_TRUE(process_watch::open(child.said()));
    }
}

TEST(this_process, says_what_proc_refuses) {
    failing_open.fail(EMFILE);
    EXPECT_EQ(shm::this_process().error(), system_call(EMFILE));
    failing_open.fail(EACCES);
    EXPECT_EQ(shm::this_process().error(), no_permission(EACCES));
    failing_open.fail(EINTR, 5);
    EXPECT_TRUE(shm::this_process());
    EXPECT_TRUE(failing_open.all_failed());
}

TEST(reap, proves_the_death_of_a_child_and_says_how_it_ended) {
    waiting_child child;
    child.kill();
    const pid_t pid = child.release();
    const auto dead = shm::reap(pid).value();
    EXPECT_EQ(dead.proof.peer(), child.said());
    EXPECT_EQ(end_of(dead.status), killed_by(SIGKILL));
    EXPECT_EQ(kill(pid, 0), -1) << "it is still a zombie";
    EXPECT_EQ(end_of(shm::reap(child_process([] { return 3; }).release()).value().status), exited(3));
}

TEST(reap, waits_for_the_end) {
    const word_pipe gate;
    const pid_t child = child_process([&] { return static_cast<int>(gate.hear()); }).release();
    const peer_id peer = peer_of(child);
    std::thread opener{[&] { gate.say(0); }};
    EXPECT_EQ(shm::reap(child).value().proof.peer(), peer);
    opener.join();
}

TEST(reap, refuses_what_is_no_child) {
    EXPECT_EQ(shm::reap(getpid()).error(), system_call(ECHILD));
    EXPECT_EQ(shm::reap(0).error(), system_call(EINVAL));
    const pid_t reaped = child_process([] { return 0; }).release();
    ASSERT_TRUE(shm::reap(reaped));
    EXPECT_EQ(shm::reap(reaped).error(), system_call(ECHILD));
}

// Neither "any child" nor "any of a group": the proof would be another's.
TEST(reap, reaps_nobody_else) {
    child_process child([] { return 5; });
    EXPECT_EQ(shm::reap(-1).error(), system_call(EINVAL));
    EXPECT_EQ(shm::reap(-getpgrp()).error(), system_call(EINVAL));
    EXPECT_EQ(child.wait(), exited(5));
}

TEST(reap, interrupted_waits_go_on) {
    const pid_t child = child_process([] { return 0; }).release();
    failing_waitid.fail(EINTR, 5);
    failing_waitpid.fail(EINTR, 5);
    EXPECT_TRUE(shm::reap(child));
    EXPECT_TRUE(failing_waitid.all_failed() && failing_waitpid.all_failed());
}

TEST(reap, a_failure_leaves_the_child_to_be_reaped) {
    const pid_t child = child_process([] { return 0; }).release();
    const auto before = open_descriptors();
    failing_open.fail(EMFILE);
    EXPECT_EQ(shm::reap(child).error(), system_call(EMFILE));
    failing_waitpid.fail(ECHILD);
    EXPECT_EQ(shm::reap(child).error(), system_call(ECHILD));
    EXPECT_TRUE(shm::reap(child));
    EXPECT_EQ(open_descriptors(), before);
}

TEST(process_watch, proves_a_death_only_after_it) {
    waiting_child child;
    const auto watch = process_watch::open(child.said()).value();
    EXPECT_EQ(watch.wait().error(), not_dead(child.said())) << "the default looks once";
    EXPECT_EQ(watch.wait(deadline::min()).error(), not_dead(child.said()));
    EXPECT_EQ(watch.wait(std::chrono::steady_clock::now() + 1ms).error(), not_dead(child.said()));
    child.kill();
    EXPECT_EQ(watch.wait(deadline::max()).value().peer(), child.said());
    EXPECT_TRUE(watch.wait()) << "once dead, always dead";
    child.wait();
    EXPECT_TRUE(watch.wait()) << "a zombie or not";
}

TEST(process_watch, a_paused_process_is_not_dead) {
    waiting_child child;
    const auto watch = process_watch::open(child.said()).value();
    child.stop();
    EXPECT_EQ(watch.wait(std::chrono::steady_clock::now() + 1ms).error(), not_dead(child.said()));
}

TEST(process_watch, a_deadline_is_kept) {
    const waiting_child child;
    const auto watch = process_watch::open(child.said()).value();
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(watch.wait(start + 20ms));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms) << "given up early";
}

TEST(process_watch, its_descriptor_is_for_poll_and_is_close_on_exec) {
    waiting_child child;
    const auto watch = process_watch::open(child.said()).value();
    EXPECT_EQ(fcntl(watch.fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    pollfd event{watch.fd(), POLLIN, 0};
    EXPECT_EQ(poll(&event, 1, 0), 0);
    child.kill();
    EXPECT_EQ(poll(&event, 1, -1), 1);
    EXPECT_EQ(event.revents & POLLIN, POLLIN);
}

TEST(process_watch, a_zombie_is_dead) {
    waiting_child child;
    child.kill();
    child.wait_until_zombie();
    const auto watch = process_watch::open(child.said()).value();
    EXPECT_EQ(watch.wait().value().peer(), child.said());
}

TEST(process_watch, a_pid_that_has_been_given_out_again_is_gone) {
    const waiting_child child;
    EXPECT_TRUE(rc::check([&] {
        const peer_id earlier{child.said().id, *rc::gen::arbitrary<std::uint32_t>()};
        RC_PRE(earlier != child.said());
        const auto before = open_descriptors();
        RC_ASSERT(process_watch::open(earlier).error() == gone(earlier, child.said()));
        RC_ASSERT(open_descriptors() == before);
    }));
}

TEST(process_watch, a_process_that_is_no_more_is_gone) {
    waiting_child child;
    const peer_id peer = child.said();
    child.kill();
    child.wait();
    EXPECT_EQ(process_watch::open(peer).error(), gone(peer, {}));
    for (const std::uint32_t id : {0x7fffffffU, 0x80000000U, 0xffffffffU})
        EXPECT_EQ(process_watch::open({id, 1}).error(), gone({id, 1}, {}));
    EXPECT_EQ(process_watch::open({}).error(), (fault{fault_kind::peer_id, 1, 0}));
}

// Its pid may be another's by the time that the start time is read; the kernel is asked once more who it was.
TEST(process_watch, a_process_that_ends_while_the_watch_is_opened_is_gone) {
    const waiting_child child;
    const auto before = open_descriptors();
    failing_syscall.fail(ESRCH, 1, 1);
    EXPECT_EQ(process_watch::open(child.said()).error(), gone(child.said(), {}));
    EXPECT_TRUE(failing_syscall.all_failed());
    EXPECT_EQ(open_descriptors(), before);
}

// Which of them it is depends on the kernel, and on when in its end the process is asked for.
TEST(process_watch, that_the_kernel_knows_no_such_process_is_gone_in_all_its_words) {
    const waiting_child child;
    const auto before = open_descriptors();
    for (const int error : {ESRCH, EINVAL, ENOENT}) {
        failing_syscall.fail(error);
        EXPECT_EQ(process_watch::open(child.said()).error(), gone(child.said(), {})) << error;
        EXPECT_TRUE(failing_syscall.all_failed());
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST(process_watch, a_process_that_may_not_be_signalled_is_watched_all_the_same) {
    waiting_child child;
    failing_syscall.fail(EPERM, 1, 1);
    const auto watch = process_watch::open(child.said()).value();
    child.kill();
    EXPECT_TRUE(watch.wait(deadline::max()));
}

TEST(process_watch, a_failing_system_call_is_reported_and_leaves_nothing) {
    const waiting_child child;
    const auto before = open_descriptors();
    for (const int error : {ENOSYS, EMFILE, ENFILE, ENOMEM}) {
        failing_syscall.fail(error);
        const fault refused = process_watch::open(child.said()).error();
        EXPECT_EQ(refused, system_call(error));
        EXPECT_STREQ(refused.subject, "pidfd_open");
    }
    failing_syscall.fail(EPERM);
    EXPECT_EQ(process_watch::open(child.said()).error(), no_permission(EPERM));
    for (const int error : {EMFILE, ENFILE, ENOENT}) {  // the last one where /proc hides other users' processes
        failing_open.fail(error);
        EXPECT_EQ(process_watch::open(child.said()).error(), system_call(error));
    }
    failing_read.fail(EIO);
    EXPECT_EQ(process_watch::open(child.said()).error(), system_call(EIO));
    {
        const auto watch = process_watch::open(child.said()).value();
        failing_ppoll.fail(ENOMEM);
        EXPECT_EQ(watch.wait().error(), system_call(ENOMEM));
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST(process_watch, without_descriptors_it_is_refused) {
    const waiting_child watched;
    child_process child([&] {
        const rlimit limit{3, 3};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
        const auto watch = process_watch::open(watched.said());
        return !watch && watch.error() == system_call(EMFILE) ? 0 : 2;
    });
    EXPECT_EQ(child.wait(), exited(0));
}

TEST(process_watch, a_descriptor_closed_behind_its_back_proves_nothing) {
    const waiting_child child;
    const auto watch = process_watch::open(child.said()).value();
    const int fd = watch.fd();
    const int kept = dup(fd);
    close(fd);
    EXPECT_EQ(watch.wait(deadline::max()).error(), system_call(EBADF));
    ASSERT_EQ(dup2(kept, fd), fd);
    close(kept);
}

TEST(process_watch, interrupted_waits_go_on) {
    waiting_child child;
    const auto watch = process_watch::open(child.said()).value();
    failing_ppoll.fail(EINTR, 5);
    EXPECT_EQ(watch.wait(std::chrono::steady_clock::now() + 1ms).error(), not_dead(child.said()));
    EXPECT_TRUE(failing_ppoll.all_failed());
    child.kill();
    failing_ppoll.fail(EINTR, 5);
    EXPECT_TRUE(watch.wait(deadline::max()));
    EXPECT_TRUE(failing_ppoll.all_failed());
}

// Signals that come all the time neither end a wait early nor keep it from ending.
TEST(process_watch, a_deadline_is_kept_under_a_storm_of_signals) {
    const waiting_child watched;
    child_process child([&] {
        static volatile std::sig_atomic_t ticks = 0;
        struct sigaction count{};
        count.sa_handler = [](int) { ticks = ticks + 1; };
        sigaction(SIGALRM, &count, nullptr);
        const auto watch = process_watch::open(watched.said());
        if (!watch) return 1;
        constexpr itimerval often{{0, 500}, {0, 500}};
        setitimer(ITIMER_REAL, &often, nullptr);
        const auto until = std::chrono::steady_clock::now() + 50ms;
        const auto proof = watch->wait(until);
        if (proof || proof.error() != not_dead(watched.said())) return 2;
        if (std::chrono::steady_clock::now() < until) return 3;
        return ticks > 1 ? 0 : 4;
    });
    EXPECT_EQ(child.wait(), exited(0));
}

TEST(proof_of_death, the_dead_producers_role_is_taken_over_and_its_items_are_there) {
    const auto memory = shm::memfd_region::create(ring::required_size(4)).value();
    const auto placed = ring::create(memory.region(), 4).value();
    const peer_id me = shm::this_process().value();
    child_process child([&] {
        auto attached = shm::memfd_region::attach(shm::unique_fd{dup(memory.fd())});
        if (!attached) return 1;
        auto producer = ring::attach(attached->region()).value().claim_producer(shm::this_process().value());
        if (!producer || producer->try_push(1) != shm::push_result::pushed) return 2;
        if (producer->try_push(2) != shm::push_result::pushed) return 3;
        raise(SIGKILL);
        return 4;
    });
    const auto dead = child.reap();
    ASSERT_EQ(dead.end, killed_by(SIGKILL));

    EXPECT_EQ(placed.claim_producer(me).error(), (fault{fault_kind::busy, 0, dead.proof.peer().word()}));
    auto producer = placed.take_over_producer(me, dead.proof).value();
    EXPECT_EQ(producer.try_push(3), shm::push_result::pushed);
    EXPECT_EQ(placed.take_over_producer(me, dead.proof).error(),
              (fault{fault_kind::not_holder, dead.proof.peer().word(), me.word()}));
    auto consumer = placed.claim_consumer(me).value();
    for (const std::uint64_t item : {1U, 2U, 3U}) EXPECT_EQ(consumer.try_pop(), item);
}

TEST(proof_of_death, anothers_death_takes_nothing_over) {
    waiting_child holder;
    const auto memory = shm::heap_region::create(ring::required_size(4)).value();
    const auto placed = ring::create(memory.region(), 4).value();
    const auto held = placed.claim_consumer(holder.said()).value();
    const auto another = dead_child_that([] {});
    EXPECT_EQ(placed.take_over_consumer({1, 1}, another).error(),
              (fault{fault_kind::not_holder, another.peer().word(), holder.said().word()}));
}

// A jump of the wall clock moves no deadline, and while the machine is suspended this clock stands still.
TEST(deadline, knows_no_wall_clock) {
    static_assert(shm::deadline::clock::is_steady);
    unsigned sources = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator{SHM_SOURCE_DIR "/core"}) {
        if (!entry.is_regular_file()) continue;
        ++sources;
        std::ifstream file{entry.path()};
        const std::string text{std::istreambuf_iterator<char>{file}, {}};
        for (const char* const other : {"system_clock", "utc_clock", "CLOCK_REALTIME", "gettimeofday", "time(nullptr)"})
            EXPECT_EQ(text.find(other), text.npos) << entry.path() << " reads " << other;
    }
    EXPECT_GT(sources, 40U);
}

}  // namespace
