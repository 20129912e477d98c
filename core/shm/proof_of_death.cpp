// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <shm/proof_of_death.hpp>
#include <shm/system_call.hpp>

namespace shm {
inline namespace v1 {

/// The only maker of proofs: called where the kernel has just said that the process has ended.
template <>
class death_witness<struct kernel> {
public:
    [[nodiscard]] static proof_of_death ended(peer_id peer) noexcept { return proof_of_death{peer}; }
};

namespace {

constexpr const char* stat_file = "/proc/PID/stat";

/// The field of that number in a process's stat file, counted from 1 as proc(5) does. The second is the program's name
/// in parentheses, which may itself hold spaces and parentheses; those after it hold none.
std::string_view field(std::string_view stat, int number) noexcept {
    const auto name_end = stat.rfind(')');
    if (name_end == stat.npos) return {};
    stat.remove_prefix(name_end + 1);
    for (int at = 2; at < number; ++at) {
        const auto space = stat.find(' ');
        if (space == stat.npos) return {};
        stat.remove_prefix(space + 1);
    }
    return stat.substr(0, stat.find(' '));
}

/// The incarnation of the process of that pid: the low 32 bits of its start time.
result<std::uint32_t> incarnation_of(pid_t pid) noexcept {
    const std::string path = "/proc/" + std::to_string(pid) + "/stat";
    const unique_fd file{uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); })};
    if (!file) return refused(stat_file);
    char text[1024];  // the first 22 fields are at most about 500 characters
    std::size_t length = 0;
    while (length < sizeof text) {
        const auto count = uninterrupted([&] { return ::read(file.get(), text + length, sizeof text - length); });
        if (count < 0) return refused(stat_file);
        if (count == 0) break;
        length += static_cast<std::size_t>(count);
    }
    const std::string_view start_time = field({text, length}, 22);
    std::uint64_t ticks = 0;
    if (std::from_chars(start_time.data(), start_time.data() + start_time.size(), ticks).ec != std::errc{})
        return fault{fault_kind::system_call, 0, EBADMSG, stat_file};
    return static_cast<std::uint32_t>(ticks);
}

}  // namespace

result<peer_id> this_process() noexcept {
    const pid_t pid = ::getpid();
    const auto incarnation = incarnation_of(pid);
    if (!incarnation) return incarnation.error();
    return peer_id{static_cast<std::uint32_t>(pid), *incarnation};
}

result<std::uint64_t> this_pid_namespace() noexcept {
    constexpr const char* name = "/proc/self/ns/pid";
    struct stat found{};
    if (::stat(name, &found) != 0) return refused(name);
    return found.st_ino;
}

result<child_exit> reap(pid_t child) noexcept {
    // Its start time can be read as long as it is a zombie: until waitpid.
    siginfo_t ended{};
    if (uninterrupted([&] { return ::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT); }) != 0)
        return refused("waitid");
    const auto incarnation = incarnation_of(child);
    if (!incarnation) return incarnation.error();
    int status = 0;
    if (uninterrupted([&] { return ::waitpid(child, &status, 0); }) != child) return refused("waitpid");
    return child_exit{death_witness<kernel>::ended({static_cast<std::uint32_t>(child), *incarnation}), status};
}

result<process_watch> process_watch::open(peer_id peer) noexcept {
    if (!peer.valid()) return fault{fault_kind::peer_id, 1, peer.id};
    const fault gone{fault_kind::gone, peer.word(), 0, "process"};
    const auto pid = static_cast<pid_t>(peer.id);
    unique_fd process{static_cast<int>(uninterrupted([&] { return ::syscall(SYS_pidfd_open, pid, 0); }))};
    if (!process) {
        // The last two: no pid at all, or the id of a mere thread.
        if (errno == ESRCH || errno == EINVAL || errno == ENOENT) return gone;
        return refused("pidfd_open");
    }
    const auto incarnation = incarnation_of(pid);
    // If our process is still there now, then that pid was its own when the start time was read, and not a successor's.
    if (::syscall(SYS_pidfd_send_signal, process.get(), 0, nullptr, 0) != 0 && errno == ESRCH) return gone;
    if (!incarnation) return incarnation.error();
    const peer_id found{peer.id, *incarnation};
    if (found != peer) return fault{fault_kind::gone, peer.word(), found.word(), "process"};
    return process_watch{std::move(process), peer};
}

result<proof_of_death> process_watch::wait(deadline until) const noexcept {
    assert(fd_);
    pollfd process{fd_.get(), POLLIN, 0};
    const int ready = uninterrupted([&] {
        const timespec left = remaining(until);
        return ::ppoll(&process, 1, &left, nullptr);
    });
    if (ready < 0) return refused("ppoll");
    if (ready == 0) return fault{fault_kind::not_dead, peer_.word(), peer_.word()};
    if ((process.revents & POLLIN) == 0) return refused("ppoll", EBADF);  // somebody has closed our descriptor
    return death_witness<kernel>::ended(peer_);
}

}  // namespace v1
}  // namespace shm
