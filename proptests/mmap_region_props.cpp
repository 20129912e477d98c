// SPDX-License-Identifier: MIT OR Apache-2.0
// shm_test(mmap_region_props WRAP open fchmod fchown getrlimit posix_fallocate mmap madvise mremap fstat lstat linkat unlink)
#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <shm/heap_region.hpp>
#include <shm/mmap_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/spsc_ring.hpp>

#include "testkit/child_process.hpp"
#include "testkit/failing_call.hpp"
#include "testkit/process_state.hpp"
#include "testkit/temporary_directory.hpp"
#include "testkit/terminal.hpp"

namespace {

failing_call failing_getrlimit, failing_open, failing_fchmod, failing_fchown, failing_posix_fallocate, failing_mmap,
    failing_madvise, failing_mremap, failing_fstat, failing_lstat, failing_linkat, failing_unlink;
std::function<void(int fd)> before_fchown;

}  // namespace

// The linker sends each call of f to __wrap_f, and knows the f of the C library as __real_f.
int real_open(const char* path, int flags, mode_t mode) asm("__real_open");
int wrapped_open(const char* path, int flags, mode_t mode) asm("__wrap_open");
int wrapped_open(const char* path, int flags, mode_t mode) {
    return failing_open.fails() ? -1 : real_open(path, flags, mode);
}
int real_fchmod(int fd, mode_t mode) asm("__real_fchmod");
int wrapped_fchmod(int fd, mode_t mode) asm("__wrap_fchmod");
int wrapped_fchmod(int fd, mode_t mode) { return failing_fchmod.fails() ? -1 : real_fchmod(fd, mode); }
int real_fchown(int fd, uid_t user, gid_t group) asm("__real_fchown");
int wrapped_fchown(int fd, uid_t user, gid_t group) asm("__wrap_fchown");
int wrapped_fchown(int fd, uid_t user, gid_t group) {
    if (before_fchown) before_fchown(fd);
    return failing_fchown.fails() ? -1 : real_fchown(fd, user, group);
}
int real_getrlimit(int resource, rlimit* limit) asm("__real_getrlimit");
int wrapped_getrlimit(int resource, rlimit* limit) asm("__wrap_getrlimit");
int wrapped_getrlimit(int resource, rlimit* limit) {
    return failing_getrlimit.fails() ? -1 : real_getrlimit(resource, limit);
}
int real_posix_fallocate(int fd, off_t offset, off_t length) asm("__real_posix_fallocate");
int wrapped_posix_fallocate(int fd, off_t offset, off_t length) asm("__wrap_posix_fallocate");
int wrapped_posix_fallocate(int fd, off_t offset, off_t length) {
    return failing_posix_fallocate.fails() ? errno : real_posix_fallocate(fd, offset, length);
}
void* real_mmap(void* at, std::size_t length, int protection, int flags, int fd, off_t offset) asm("__real_mmap");
void* wrapped_mmap(void* at, std::size_t length, int protection, int flags, int fd, off_t offset) asm("__wrap_mmap");
void* wrapped_mmap(void* at, std::size_t length, int protection, int flags, int fd, off_t offset) {
    return failing_mmap.fails() ? MAP_FAILED : real_mmap(at, length, protection, flags, fd, offset);
}
int real_madvise(void* at, std::size_t length, int advice) asm("__real_madvise");
int wrapped_madvise(void* at, std::size_t length, int advice) asm("__wrap_madvise");
int wrapped_madvise(void* at, std::size_t length, int advice) {
    return failing_madvise.fails() ? -1 : real_madvise(at, length, advice);
}
void* real_mremap(void* at, std::size_t length, std::size_t wanted, int flags) asm("__real_mremap");
void* wrapped_mremap(void* at, std::size_t length, std::size_t wanted, int flags) asm("__wrap_mremap");
void* wrapped_mremap(void* at, std::size_t length, std::size_t wanted, int flags) {
    return failing_mremap.fails() ? MAP_FAILED : real_mremap(at, length, wanted, flags);
}
int real_fstat(int fd, struct stat* found) asm("__real_fstat");
int wrapped_fstat(int fd, struct stat* found) asm("__wrap_fstat");
int wrapped_fstat(int fd, struct stat* found) { return failing_fstat.fails() ? -1 : real_fstat(fd, found); }
int real_lstat(const char* path, struct stat* found) asm("__real_lstat");
int wrapped_lstat(const char* path, struct stat* found) asm("__wrap_lstat");
int wrapped_lstat(const char* path, struct stat* found) { return failing_lstat.fails() ? -1 : real_lstat(path, found); }
int real_linkat(int from, const char* old_path, int to, const char* new_path, int flags) asm("__real_linkat");
int wrapped_linkat(int from, const char* old_path, int to, const char* new_path, int flags) asm("__wrap_linkat");
int wrapped_linkat(int from, const char* old_path, int to, const char* new_path, int flags) {
    return failing_linkat.fails() ? -1 : real_linkat(from, old_path, to, new_path, flags);
}
int real_unlink(const char* path) asm("__real_unlink");
int wrapped_unlink(const char* path) asm("__wrap_unlink");
int wrapped_unlink(const char* path) { return failing_unlink.fails() ? -1 : real_unlink(path); }

namespace {

using shm::access;
using shm::fault;
using shm::fault_kind;
using shm::file_cleanup;
using shm::mmap_options;
using shm::mmap_region;
using shm::region_change;
using ring = shm::spsc_ring<std::uint64_t>;

constexpr std::size_t page = 4096;
constexpr mmap_options automatic{.cleanup = file_cleanup::automatic};
const bool is_root = geteuid() == 0;

struct stat stat_of(const std::string& path) {
    struct stat found{};
    EXPECT_EQ(lstat(path.c_str(), &found), 0) << path;
    return found;
}

bool has_name(const std::string& path) {
    return std::filesystem::symlink_status(path).type() != std::filesystem::file_type::not_found;
}

std::size_t names_in(const temporary_directory& directory) {
    using entries = std::filesystem::directory_iterator;
    return static_cast<std::size_t>(std::distance(entries{directory.path()}, entries{}));
}

void write_file(const std::string& path, const std::string& content, mode_t mode = 0600) {
    std::ofstream{path} << content;
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
}

std::string content_of(const std::string& path) {
    std::ifstream file{path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

fault system_call(int error) { return {fault_kind::system_call, 0, static_cast<std::uint64_t>(error)}; }
fault no_permission(int error) { return {fault_kind::access_denied, 0, static_cast<std::uint64_t>(error)}; }

TEST(mmap_region, create_makes_a_file_of_that_size_with_storage_and_zeroes) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    const auto made = mmap_region::create(path, 100'001).value();
    EXPECT_EQ(made.size_bytes(), 100'001U);
    EXPECT_EQ(made.path(), path);
    const shm::region bytes = made.region();
    EXPECT_TRUE(bytes.writable());
    EXPECT_TRUE(std::all_of(bytes.data(), bytes.data() + bytes.size_bytes(), [](auto b) { return b == std::byte{0}; }));
    const struct stat found = stat_of(path);
    EXPECT_EQ(found.st_size, 100'001);
    EXPECT_GE(found.st_blocks * 512, 100'001) << "a sparse file: a full disk would be a SIGBUS later";
    EXPECT_TRUE(S_ISREG(found.st_mode));
}

TEST(mmap_region, the_mode_is_0600_whatever_the_umask) {
    const temporary_directory directory;
    for (const mode_t mask : {0U, 022U, 0277U, 0777U}) {
        const std::string path = directory / std::to_string(mask);
        const mode_t before = umask(mask);
        const auto made = mmap_region::create(path, 1);
        umask(before);
        ASSERT_TRUE(made) << made.error().sentence();
        EXPECT_EQ(stat_of(path).st_mode & 07777U, 0600U) << "umask " << mask;
    }
}

TEST(mmap_region, descriptors_are_close_on_exec) {
    const temporary_directory directory;
    const auto made = mmap_region::create(directory / "region", 1).value();
    const auto attached = mmap_region::attach(directory / "region").value();
    int found = 0;
    for (int fd = 0; fd < 1024; ++fd) {
        std::error_code none;
        const auto target = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), none);
        if (target.string().find(directory.path().string()) == std::string::npos) continue;
        ++found;
        EXPECT_EQ(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    }
    EXPECT_EQ(found, 2);
}

TEST(mmap_region, what_one_writes_the_other_reads) {
    const temporary_directory directory;
    const auto made = mmap_region::create(directory / "region", page).value();
    const auto attached = mmap_region::attach(directory / "region").value();
    EXPECT_EQ(attached.size_bytes(), page);
    EXPECT_NE(made.region().data(), attached.region().data());
    made.region().data()[0] = std::byte{1};
    attached.region().data()[page - 1] = std::byte{2};
    EXPECT_EQ(attached.region().data()[0], std::byte{1});
    EXPECT_EQ(made.region().data()[page - 1], std::byte{2});
}

TEST(mmap_region, no_bytes_and_too_many_are_refused) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    EXPECT_EQ(mmap_region::create(path, 0).error(), (fault{fault_kind::too_small, 1, 0}));
    EXPECT_EQ(mmap_region::create(path, std::numeric_limits<std::size_t>::max()).error(),
              (fault{fault_kind::out_of_range, PTRDIFF_MAX, std::numeric_limits<std::size_t>::max()}));
    EXPECT_EQ(mmap_region::create(path, page + 1, {.max_size_bytes = page}).error(),
              (fault{fault_kind::out_of_range, page, page + 1}));
    EXPECT_EQ(names_in(directory), 0U);
}

TEST(mmap_region, a_folder_that_is_not_there_is_an_error) {
    const temporary_directory directory;
    EXPECT_EQ(mmap_region::create(directory / "no/region", 1).error(), system_call(ENOENT));
}

TEST(mmap_region, bytes_can_be_left_out_of_core_dumps) {
    const temporary_directory directory;
    const auto kept = mmap_region::create(directory / "kept", page).value();
    auto secret = mmap_region::create(directory / "secret", page, {.dump = shm::core_dump::exclude}).value();
    const auto attached =
        mmap_region::attach(directory / "secret", access::read_write, {.dump = shm::core_dump::exclude}).value();
    EXPECT_FALSE(left_out_of_core_dumps(kept.region().data()));
    EXPECT_TRUE(left_out_of_core_dumps(secret.region().data()));
    EXPECT_TRUE(left_out_of_core_dumps(attached.region().data()));
    static_cast<void>(secret.resize(100 * page).value());
    EXPECT_TRUE(left_out_of_core_dumps(secret.region().data() + 99 * page)) << "lost by growing";
}

TEST(mmap_region, a_kill_before_publish_leaves_nothing) {
    const temporary_directory directory;
    child_process child([&] {
        const auto made = mmap_region::prepare(directory / "region", page);
        if (!made) return 1;
        raise(SIGKILL);
        return 2;
    });
    EXPECT_EQ(child.wait(), killed_by(SIGKILL));
    EXPECT_EQ(names_in(directory), 0U);
}

TEST(mmap_region, a_kill_at_any_system_call_leaves_nothing_or_the_whole) {
    int times_nothing = 0;
    for (int calls = 0;; ++calls) {
        const temporary_directory directory;
        const std::string path = directory / "region";
        child_process child([&] {
            failing_call::calls_before_kill = calls;
            auto made = mmap_region::prepare(path, ring::required_size(16));
            if (!made || !ring::create(made->region(), 16) || !made->publish()) return 1;
            // One more after the name is there.
            if (!made->check_and_remap()) return 1;
            return 0;
        });
        const process_end end = child.wait();
        if (has_name(path)) {
            EXPECT_TRUE(ring::attach(mmap_region::attach(path).value().region())) << "after " << calls << " calls";
        } else {
            ++times_nothing;
        }
        EXPECT_EQ(names_in(directory), has_name(path) ? 1U : 0U);
        if (end == exited(0)) break;
        ASSERT_EQ(end, killed_by(SIGKILL)) << "after " << calls << " calls";
    }
    EXPECT_GE(times_nothing, 6);
}

TEST(mmap_region, the_name_appears_with_publish_and_the_ring_is_ready_then) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    auto made = mmap_region::prepare(path, ring::required_size(16)).value();
    EXPECT_EQ(names_in(directory), 0U);
    EXPECT_EQ(mmap_region::attach(path).error(), (fault{fault_kind::gone, 0, 0}));
    static_cast<void>(ring::create(made.region(), 16).value());
    made.publish().value();
    made.publish().value();
    const auto attached = mmap_region::attach(path).value();
    EXPECT_EQ(ring::attach(attached.region()).value().capacity(), 16U);
}

TEST(mmap_region, of_many_creators_of_one_name_exactly_one_wins) {
    constexpr int creators = 8;
    for (int round = 0; round < 20; ++round) {
        const temporary_directory directory;
        const std::string path = directory / "region";
        std::array<int, 2> gate{};
        ASSERT_EQ(pipe(gate.data()), 0);
        std::vector<child_process> children;
        for (int i = 0; i < creators; ++i)
            children.emplace_back([&, i] {
                auto made = mmap_region::prepare(path, page);
                if (!made) return 2;
                made->region().data()[0] = static_cast<std::byte>(i + 1);
                close(gate[1]);
                char open = 0;
                static_cast<void>(read(gate[0], &open, 1));  // the end of file lets all of them go at once
                const auto published = made->publish();
                if (published) return 0;
                return published.error() == fault{fault_kind::exists, 0, 1} ? 1 : 2;
            });
        close(gate[0]);
        close(gate[1]);
        int winner = 0;
        for (int i = 0; i < creators; ++i) {
            const process_end end = children[static_cast<std::size_t>(i)].wait();
            ASSERT_TRUE(end == exited(0) || end == exited(1)) << end;
            if (end == exited(1)) continue;
            EXPECT_EQ(winner, 0) << "two have won";
            winner = i + 1;
        }
        ASSERT_NE(winner, 0) << "none has won";
        EXPECT_EQ(mmap_region::attach(path).value().region().data()[0], static_cast<std::byte>(winner));
    }
}

TEST(mmap_region, whatever_has_the_name_is_left_as_it_is) {
    const temporary_directory directory;
    const fault taken{fault_kind::exists, 0, 1};

    write_file(directory / "file", "precious");
    EXPECT_EQ(mmap_region::prepare(directory / "file", page).error(), taken) << "all the work for nothing";
    EXPECT_EQ(mmap_region::create(directory / "file", page).error(), taken);
    EXPECT_EQ(content_of(directory / "file"), "precious");

    std::filesystem::create_symlink(directory / "nowhere", directory / "link");
    EXPECT_EQ(mmap_region::create(directory / "link", page).error(), taken);
    EXPECT_FALSE(has_name(directory / "nowhere")) << "the link has been followed";

    std::filesystem::create_directory(directory / "folder");
    EXPECT_EQ(mmap_region::create(directory / "folder", page).error(), taken);
    ASSERT_EQ(mkfifo((directory / "fifo").c_str(), 0600), 0);
    EXPECT_EQ(mmap_region::create(directory / "fifo", page).error(), taken);

    // Taken between prepare and publish.
    auto late = mmap_region::prepare(directory / "late", page, automatic).value();
    write_file(directory / "late", "precious");
    EXPECT_EQ(late.publish().error(), taken);
    late = mmap_region::create(directory / "other", page).value();
    EXPECT_EQ(content_of(directory / "late"), "precious");
}

class without_unnamed_files : public testing::TestWithParam<int> {};

TEST_P(without_unnamed_files, the_file_is_made_under_its_name) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    failing_open.fail(GetParam());
    auto made = mmap_region::prepare(path, page).value();
    EXPECT_TRUE(failing_open.all_failed());
    EXPECT_TRUE(has_name(path));
    EXPECT_EQ(stat_of(path).st_mode & 07777U, 0600U);
    made.publish().value();
    made = mmap_region::create(directory / "other", page).value();
    EXPECT_EQ(mmap_region::attach(path).value().size_bytes(), page);
}

TEST_P(without_unnamed_files, an_unfinished_file_is_removed) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    {
        failing_open.fail(GetParam());
        const auto never_published = mmap_region::prepare(path, page).value();
        EXPECT_TRUE(has_name(path));
        child_process child([&] {
            const auto inherited = mmap_region{std::move(const_cast<mmap_region&>(never_published))};
            return 0;
        });
        EXPECT_EQ(child.wait(), exited(0));
        EXPECT_TRUE(has_name(path)) << "removed by a forked child";
    }
    EXPECT_FALSE(has_name(path));
    failing_open.fail(GetParam());
    failing_posix_fallocate.fail(ENOSPC);
    EXPECT_EQ(mmap_region::create(path, page).error(), system_call(ENOSPC));
    EXPECT_FALSE(has_name(path));
}

TEST_P(without_unnamed_files, a_name_that_has_just_been_taken_is_left_as_it_is) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    write_file(path, "precious");
    failing_lstat.fail(ENOENT);
    failing_open.fail(GetParam());
    EXPECT_EQ(mmap_region::create(path, page, automatic).error(), (fault{fault_kind::exists, 0, 1}));
    EXPECT_EQ(content_of(path), "precious");
}

TEST_P(without_unnamed_files, a_kill_leaves_what_is_not_ready) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    child_process child([&] {
        failing_open.fail(GetParam());
        const auto made = mmap_region::prepare(path, ring::required_size(16));
        raise(SIGKILL);
        return made.has_value() ? 0 : 1;
    });
    EXPECT_EQ(child.wait(), killed_by(SIGKILL));
    const auto left = mmap_region::attach(path).value();
    EXPECT_EQ(ring::attach(left.region()).error(), (fault{fault_kind::not_ready, 2, 0}));
}

INSTANTIATE_TEST_SUITE_P(mmap_region, without_unnamed_files, testing::Values(EOPNOTSUPP, EISDIR));

TEST(mmap_region, attach_to_nothing_is_gone) {
    const temporary_directory directory;
    EXPECT_EQ(mmap_region::attach(directory / "region").error(), (fault{fault_kind::gone, 0, 0}));
}

TEST(mmap_region, attach_refuses_what_is_no_regular_file) {
    const temporary_directory directory;
    write_file(directory / "file", "content");
    std::filesystem::create_symlink(directory / "file", directory / "link");
    std::filesystem::create_directory(directory / "folder");
    ASSERT_EQ(mkfifo((directory / "fifo").c_str(), 0600), 0);
    const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
    ASSERT_LT((directory / "socket").size(), sizeof name.sun_path);
    std::strcpy(name.sun_path, (directory / "socket").c_str());
    ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
    close(listener);

    const auto before = open_descriptors();
    for (const auto allowed : {access::read_write, access::read_only}) {
        const auto found = [&](const std::string& path) { return mmap_region::attach(path, allowed).error(); };
        EXPECT_EQ(found(directory / "link"), (fault{fault_kind::not_a_regular_file, S_IFREG, S_IFLNK}));
        EXPECT_EQ(found(directory / "folder"), (fault{fault_kind::not_a_regular_file, S_IFREG, S_IFDIR}));
        EXPECT_EQ(found(directory / "fifo"), (fault{fault_kind::not_a_regular_file, S_IFREG, S_IFIFO}));
        EXPECT_EQ(found(directory / "socket"), (fault{fault_kind::not_a_regular_file, S_IFREG, S_IFSOCK}));
        EXPECT_EQ(found("/dev/null"), (fault{fault_kind::not_a_regular_file, S_IFREG, S_IFCHR}));
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST(mmap_region, attach_takes_no_terminal_for_its_own) {
    EXPECT_TRUE(
        makes_a_terminal_its_own([](const std::string& path) { (void)open(path.c_str(), O_RDWR | O_CLOEXEC); }));
    for (const auto allowed : {access::read_write, access::read_only})
        EXPECT_FALSE(
            makes_a_terminal_its_own([&](const std::string& path) { (void)mmap_region::attach(path, allowed); }));
}

TEST(mmap_region, attach_refuses_a_foreign_owner) {
    const temporary_directory directory;
    std::string path = "/etc/passwd";
    uid_t owner = 0;
    if (is_root) {
        path = directory / "region";
        owner = 1;
        write_file(path, "content");
        ASSERT_EQ(chown(path.c_str(), owner, static_cast<gid_t>(-1)), 0);
    }
    EXPECT_EQ(mmap_region::attach(path, access::read_only).error(),
              (fault{fault_kind::foreign_owner, geteuid(), owner}));
}

TEST(mmap_region, a_group_may_have_the_file_whatever_the_umask) {
    const temporary_directory directory;
    for (const mode_t mask : {0U, 077U, 0777U}) {
        const std::string path = directory / std::to_string(mask);
        const mode_t before = umask(mask);
        const auto made = mmap_region::create(path, page, {.group = getegid()});
        umask(before);
        ASSERT_TRUE(made) << made.error().sentence();
        EXPECT_EQ(stat_of(path).st_mode & 07777U, 0660U) << "umask " << mask;
        EXPECT_EQ(stat_of(path).st_gid, getegid());
        EXPECT_TRUE(mmap_region::attach(path, access::read_write, {.group = getegid()}));
        EXPECT_EQ(mmap_region::attach(path).error(), (fault{fault_kind::permissions, 0640, 0660}));
        EXPECT_EQ(mmap_region::attach(path, access::read_write, {.group = getegid() + 1}).error(),
                  (fault{fault_kind::foreign_group, getegid() + 1, getegid()}));
    }
    ASSERT_EQ(chmod((directory / "0").c_str(), 0662), 0);
    EXPECT_EQ(mmap_region::attach(directory / "0", access::read_write, {.group = getegid()}).error(),
              (fault{fault_kind::permissions, 0660, 0662}));
    failing_fchown.fail(EPERM);
    EXPECT_EQ(mmap_region::create(directory / "not a member", page, {.group = 0}).error(),
              (fault{fault_kind::access_denied, 0, EPERM}));
    EXPECT_FALSE(std::filesystem::exists(directory / "not a member"));
}

/// The group that a file has at first, of the process or the folder, is never let in.
TEST(mmap_region, a_group_is_let_in_only_when_it_is_the_right_one) {
    const temporary_directory directory;
    for (const bool with_names : {false, true}) {
        std::vector<mode_t> modes;
        before_fchown = [&](int fd) {
            struct stat found{};
            EXPECT_EQ(fstat(fd, &found), 0);
            modes.push_back(found.st_mode & 07777U);
        };
        if (with_names) failing_open.fail(EOPNOTSUPP);
        const mode_t before = umask(0);
        const auto made =
            mmap_region::create(directory / (with_names ? "named" : "unnamed"), page, {.group = getegid()});
        umask(before);
        before_fchown = nullptr;
        EXPECT_TRUE(made) << made.error().sentence();
        EXPECT_EQ(modes, std::vector<mode_t>{0600}) << "before the group is changed";
    }
}

TEST(mmap_region, with_a_group_the_owner_may_be_anybody) {
    EXPECT_TRUE(mmap_region::attach("/etc/passwd", access::read_only, {.group = 0}));  // which is root's
    if (!is_root) return;
    const temporary_directory directory;
    constexpr uid_t others[] = {1, 2};
    constexpr gid_t group = 3;
    ASSERT_EQ(chmod(directory.path().c_str(), 0777), 0);
    const auto as = [](uid_t user, auto work) {
        child_process child([&] {
            if (setgid(group) != 0 || setuid(user) != 0) return 1;
            return work() ? 0 : 2;
        });
        EXPECT_EQ(child.wait(), exited(0)) << "as user " << user;
    };
    const std::string path = directory / "region";
    as(others[0], [&] {
        const auto made = mmap_region::create(path, ring::required_size(8), {.group = group});
        return made && ring::create(made->region(), 8);
    });
    as(others[1], [&] {
        const auto file = mmap_region::attach(path, access::read_write, {.group = group});
        auto producer = ring::attach(file.value().region()).value().claim_producer({2, 1}).value();
        return producer.try_push(42) == shm::push_result::pushed;
    });
    const auto file = mmap_region::attach(path, access::read_write, {.group = group}).value();
    auto numbers = ring::attach(file.region()).value().claim_consumer({1, 1}).value();
    EXPECT_EQ(numbers.try_pop(), 42U);
}

// A sparse file would be a SIGBUS at the first write for which there is no memory.
TEST(mmap_region, more_than_the_file_system_has_is_an_error_and_no_signal) {
    const std::string path = "/dev/shm/shm-primitives-" + std::to_string(getpid());
    struct statvfs all{};
    ASSERT_EQ(statvfs("/dev/shm", &all), 0);
    ASSERT_NE(all.f_blocks, 0U) << "/dev/shm has a size unless somebody mounts it without";
    const auto size_bytes = static_cast<std::size_t>(all.f_blocks * all.f_frsize) + page;
    EXPECT_EQ(mmap_region::create(path, size_bytes).error(),
              (fault{fault_kind::system_call, 0, ENOSPC, "posix_fallocate"}));
    EXPECT_FALSE(std::filesystem::exists(path));
    const auto made = mmap_region::create(path, page, {.cleanup = file_cleanup::automatic});
    EXPECT_TRUE(made) << "what was reserved in vain is given back";
}

TEST(mmap_region, attach_refuses_a_file_that_others_may_write) {
    const temporary_directory directory;
    for (const mode_t mode : {0620U, 0602U, 0666U, 0777U}) {
        const std::string path = directory / std::to_string(mode);
        write_file(path, "content", mode);
        EXPECT_EQ(mmap_region::attach(path).error(), (fault{fault_kind::permissions, mode & ~022U, mode}));
    }
    write_file(directory / "readable", "content", 0644);
    EXPECT_TRUE(mmap_region::attach(directory / "readable"));
}

TEST(mmap_region, attach_refuses_an_empty_file) {
    const temporary_directory directory;
    write_file(directory / "empty", "");
    EXPECT_EQ(mmap_region::attach(directory / "empty").error(), (fault{fault_kind::file_size, 1, 0}));
}

TEST(mmap_region, attach_says_what_may_not_be_opened) {
    const temporary_directory directory;
    write_file(directory / "region", "content");
    failing_open.fail(EACCES);
    EXPECT_EQ(mmap_region::attach(directory / "region").error(), no_permission(EACCES));
    failing_open.fail(ELOOP);  // of the folders on the way
    EXPECT_EQ(mmap_region::attach(directory / "region").error(), system_call(ELOOP));
}

TEST(mmap_region, a_read_only_observer_sees_the_ring_and_claims_no_role) {
    const temporary_directory directory;
    const auto made = mmap_region::create(directory / "region", ring::required_size(4)).value();
    auto producer = ring::create(made.region(), 4).value().claim_producer({1, 1}).value();
    EXPECT_EQ(producer.try_push(7), shm::push_result::pushed);

    const auto observing = mmap_region::attach(directory / "region", access::read_only).value();
    EXPECT_FALSE(observing.region().writable());
    const auto observed = ring::attach(observing.region()).value();
    EXPECT_EQ(observed.size_approx(), 1U);
    const fault read_only{fault_kind::access_denied, 1, 0};
    EXPECT_EQ(observed.claim_consumer({2, 1}).error(), read_only);
    EXPECT_EQ(observed.claim_producer({2, 1}).error(), read_only);
    EXPECT_EQ(ring::create(observing.region(), 4).error(), read_only);
}

TEST(mmap_region, automatic_cleanup_removes_the_name_at_the_end) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    {
        const auto made = mmap_region::create(path, page, automatic).value();
        EXPECT_TRUE(has_name(path));
    }
    EXPECT_FALSE(has_name(path));
    {
        const auto made = mmap_region::create(path, page).value();
    }
    EXPECT_TRUE(has_name(path)) << "manual is the default";
    {
        const auto attached = mmap_region::attach(path, access::read_write, automatic).value();
    }
    EXPECT_FALSE(has_name(path));
}

TEST(mmap_region, a_moved_or_replaced_region_removes_its_name_once) {
    const temporary_directory directory;
    auto first = mmap_region::create(directory / "first", page, automatic).value();
    auto second = mmap_region::create(directory / "second", page, automatic).value();
    second = std::move(first);
    EXPECT_TRUE(has_name(directory / "first"));
    EXPECT_FALSE(has_name(directory / "second"));
    EXPECT_EQ(second.path(), directory / "first");
    const auto third = std::move(second);
    EXPECT_TRUE(has_name(directory / "first"));
    EXPECT_EQ(third.size_bytes(), page);
}

TEST(mmap_region, close_name_leaves_mappings_and_a_new_attach_is_gone) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    auto made = mmap_region::create(path, page, automatic).value();
    const auto attached = mmap_region::attach(path).value();
    EXPECT_TRUE(made.close_name().value());
    EXPECT_FALSE(made.close_name().value()) << "it is removed once";
    EXPECT_EQ(mmap_region::attach(path).error(), (fault{fault_kind::gone, 0, 0}));
    made.region().data()[0] = std::byte{9};
    EXPECT_EQ(attached.region().data()[0], std::byte{9});
}

TEST(mmap_region, a_forked_child_removes_nothing) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    auto made = mmap_region::create(path, page, automatic).value();
    child_process child([&] {
        if (made.close_name().value()) return 1;
        const auto ends_here = std::move(made);
        return 0;
    });
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_TRUE(has_name(path));
}

TEST(mmap_region, a_name_that_is_anothers_by_now_is_left_alone) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    {
        auto made = mmap_region::create(path, page, automatic).value();
        std::filesystem::remove(path);
        EXPECT_FALSE(made.close_name().value());
        write_file(path, "precious");
        EXPECT_FALSE(made.close_name().value());
    }
    EXPECT_EQ(content_of(path), "precious");
}

TEST(mmap_region, ownership_is_taken_and_released) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    {
        auto made = mmap_region::create(path, page, automatic).value();
        made.release_ownership();
        EXPECT_FALSE(made.close_name().value());
    }
    EXPECT_TRUE(has_name(path));
    {
        auto attached = mmap_region::attach(path).value();
        EXPECT_FALSE(attached.close_name().value());
        attached.take_ownership();
    }
    EXPECT_FALSE(has_name(path));
    auto prepared = mmap_region::prepare(path, page).value();
    prepared.take_ownership();
    prepared.publish().value();
    EXPECT_TRUE(prepared.close_name().value());
}

TEST(mmap_region, a_relative_name_survives_a_change_of_folder) {
    const temporary_directory directory;
    child_process child([&] {
        if (chdir(directory.path().c_str()) != 0) return 1;
        auto made = mmap_region::create("region", page, automatic);
        if (!made || !has_name(directory / "region")) return 2;
        if (chdir("/") != 0) return 3;
        return made->close_name().value() ? 0 : 4;
    });
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_EQ(names_in(directory), 0U);
}

TEST(mmap_region, within_the_size_set_aside_a_region_grows_and_stays_where_it_is) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    auto made = mmap_region::create(path, 100, {.max_size_bytes = 1'000 * page}).value();
    auto attached = mmap_region::attach(path, access::read_only, {.max_size_bytes = 1'000 * page}).value();
    std::byte* const base = made.region().data();
    for (const std::size_t size_bytes : {std::size_t{101}, page, page + 1, 1'000 * page}) {
        EXPECT_EQ(made.resize(size_bytes).value(), region_change::grown);
        EXPECT_EQ(made.region().data(), base);
        EXPECT_EQ(made.size_bytes(), size_bytes);
        base[size_bytes - 1] = std::byte{5};
        EXPECT_EQ(attached.check_and_remap().value(), region_change::grown);
        EXPECT_EQ(attached.check_and_remap().value(), region_change::unchanged);
        EXPECT_EQ(attached.region().data()[size_bytes - 1], std::byte{5});
        EXPECT_GE(stat_of(path).st_blocks * 512, static_cast<blkcnt_t>(size_bytes));
    }
    EXPECT_EQ(made.resize(1'000 * page).value(), region_change::unchanged);
    EXPECT_EQ(made.resize(1'000 * page + 1).error(), (fault{fault_kind::out_of_range, 1'000 * page, 1'000 * page + 1}));
    EXPECT_EQ(stat_of(path).st_size, 1'000 * page) << "refused, and done all the same";
}

TEST(mmap_region, a_region_that_has_to_move_says_so) {
    const temporary_directory directory;
    auto made = mmap_region::create(directory / "region", page).value();
    std::byte* const base = made.region().data();
    // Something in its way, if there is not anyway.
    void* const neighbour =
        mmap(base + page, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    base[0] = std::byte{3};
    EXPECT_EQ(made.resize(3 * page).value(), region_change::moved);
    EXPECT_NE(made.region().data(), base);
    EXPECT_EQ(made.region().data()[0], std::byte{3});
    made.region().data()[3 * page - 1] = std::byte{4};
    if (neighbour != MAP_FAILED) munmap(neighbour, page);
}

TEST(mmap_region, a_peers_growth_beyond_our_maximum_is_refused_and_ours_stays) {
    const temporary_directory directory;
    auto made = mmap_region::create(directory / "region", page).value();
    auto attached = mmap_region::attach(directory / "region", access::read_write, {.max_size_bytes = page}).value();
    static_cast<void>(made.resize(2 * page).value());
    const fault too_long{fault_kind::out_of_range, page, 2 * page};
    EXPECT_EQ(attached.check_and_remap().error(), too_long);
    EXPECT_EQ(attached.resize(page).error(), too_long);
    EXPECT_EQ(attached.size_bytes(), page);
    attached.region().data()[0] = std::byte{8};
    EXPECT_EQ(made.region().data()[0], std::byte{8});
    EXPECT_EQ(mmap_region::attach(directory / "region", access::read_write, {.max_size_bytes = page}).error(),
              too_long);
}

TEST(mmap_region, a_region_does_not_shrink) {
    const temporary_directory directory;
    auto made = mmap_region::create(directory / "region", 2 * page).value();
    EXPECT_EQ(made.resize(page).error(), (fault{fault_kind::shrink_refused, 2 * page, page}));
    EXPECT_EQ(made.resize(0).error(), (fault{fault_kind::shrink_refused, 2 * page, 0}));
    EXPECT_EQ(stat_of(directory / "region").st_size, 2 * page);
}

TEST(mmap_region, a_read_only_region_is_not_resized) {
    const temporary_directory directory;
    const auto made = mmap_region::create(directory / "region", page).value();
    auto attached = mmap_region::attach(directory / "region", access::read_only).value();
    EXPECT_EQ(attached.resize(2 * page).error(), (fault{fault_kind::access_denied, 1, 0}));
}

TEST(mmap_region, a_file_that_has_shrunk_is_reported) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    auto made = mmap_region::create(path, 2 * page).value();
    ASSERT_EQ(truncate(path.c_str(), page), 0);
    const fault shrunk{fault_kind::file_size, 2 * page, page};
    EXPECT_EQ(made.check_and_remap().error(), shrunk);
    EXPECT_EQ(made.resize(4 * page).error(), shrunk);
}

// What files cannot be protected from, as the documentation says.
TEST(mmap_region, touching_what_was_cut_off_is_a_sigbus) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    const auto made = mmap_region::create(path, 2 * page).value();
    child_process child([&] {
        signal(SIGBUS, SIG_DFL);  // not the sanitizers'
        const auto mine = mmap_region::attach(path).value();
        if (truncate(path.c_str(), page) != 0) return 1;
        mine.region().data()[page] = std::byte{1};
        return 0;
    });
    EXPECT_EQ(child.wait(), killed_by(SIGBUS));
}

TEST(mmap_region, two_that_resize_one_file_never_lose_a_byte) {
    EXPECT_TRUE(rc::check([] {
        const temporary_directory directory;
        const std::string path = directory / "region";
        std::size_t file_bytes = *rc::gen::inRange<std::size_t>(1, 3 * page);
        constexpr std::size_t most = 64 * page;
        struct peer {
            mmap_region region;
            std::size_t size_bytes;
        };
        std::vector<peer> peers;
        peers.push_back({mmap_region::create(path, file_bytes, {.max_size_bytes = most}).value(), file_bytes});
        peers.push_back({mmap_region::attach(path).value(), file_bytes});
        std::vector<std::byte> reference(file_bytes);

        const auto steps = *rc::gen::inRange(1, 20);
        for (int step = 0; step < steps; ++step) {
            auto& [region, size_bytes] = peers[*rc::gen::inRange<std::size_t>(0, peers.size())];
            std::byte* const base = region.region().data();
            auto change = region_change::unchanged;
            if (*rc::gen::arbitrary<bool>()) {
                const auto wanted = *rc::gen::inRange<std::size_t>(1, most);
                const auto answer = region.resize(wanted);
                if (wanted < size_bytes) {
                    RC_ASSERT(answer.error() == (fault{fault_kind::shrink_refused, size_bytes, wanted}));
                    continue;
                }
                file_bytes = std::max(file_bytes, wanted);
                change = answer.value();
            } else {
                change = region.check_and_remap().value();
            }
            reference.resize(file_bytes);
            RC_ASSERT((change == region_change::unchanged) == (size_bytes == file_bytes));
            RC_ASSERT((change == region_change::moved) == (region.region().data() != base));
            size_bytes = file_bytes;
            RC_ASSERT(region.size_bytes() == file_bytes);
            RC_ASSERT(std::memcmp(region.region().data(), reference.data(), file_bytes) == 0);
            const auto at = *rc::gen::inRange<std::size_t>(0, file_bytes);
            const auto value = static_cast<std::byte>(*rc::gen::arbitrary<std::uint8_t>());
            region.region().data()[at] = value;
            reference[at] = value;
        }
    }));
}

TEST(mmap_region, the_file_size_limit_is_an_error_and_no_signal) {
    const temporary_directory directory;
    child_process child([&] {
        const rlimit limit{2 * page, 2 * page};
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
        const fault above{fault_kind::file_size_limit, 2 * page + 1, 2 * page};
        if (const auto made = mmap_region::create(directory / "a", 2 * page + 1); made || made.error() != above)
            return 2;
        auto made = mmap_region::create(directory / "b", 2 * page);
        if (!made) return 3;
        if (const auto change = made->resize(2 * page + 1); change || change.error() != above) return 4;
        return 0;
    });
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_FALSE(has_name(directory / "a"));
}

TEST(mmap_region, without_descriptors_it_is_refused) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    const auto made = mmap_region::create(path, page).value();
    child_process child([&] {
        const rlimit limit{3, 3};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
        if (const auto attached = mmap_region::attach(path); attached || attached.error() != system_call(EMFILE))
            return 2;
        if (const auto other = mmap_region::create(directory / "other", page);
            other || other.error() != system_call(EMFILE))
            return 3;
        return 0;
    });
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_EQ(names_in(directory), 1U);
}

/// Makes one system call fail with that error, in what is done, and looks at what is left.
struct failure {
    const char* name;
    failing_call& call;
    int error;
    std::function<std::optional<fault>(const std::string& path)> done;
};

template <class T>
std::optional<fault> fault_of(const shm::result<T>& outcome) {
    return outcome ? std::nullopt : std::optional{outcome.error()};
}
std::optional<fault> creating(const std::string& path) {
    return fault_of(mmap_region::create(
        path, page, {.cleanup = file_cleanup::manual, .max_size_bytes = 2 * page, .dump = shm::core_dump::exclude}));
}
std::optional<fault> attaching(const std::string& path) {
    return fault_of(mmap_region::attach(std::filesystem::path{path}.parent_path() / "peer"));
}
/// By a region that has not heard of its peer's growth.
std::optional<fault> resizing(const std::string& path) {
    auto attached = mmap_region::attach(std::filesystem::path{path}.parent_path() / "peer").value();
    const auto refused = fault_of(attached.resize(3 * page));
    EXPECT_EQ(attached.size_bytes(), page);
    attached.region().data()[page - 1] = std::byte{1};
    // Nothing is lost: as soon as the failure is over, it works.
    EXPECT_TRUE(attached.resize(3 * page));
    attached.region().data()[3 * page - 1] = std::byte{1};
    return refused;
}

TEST(mmap_region, a_failing_system_call_is_reported_and_leaves_nothing) {
    const failure failures[] = {
        {"open", failing_open, EMFILE, creating},
        {"open", failing_open, ENFILE, creating},
        {"open", failing_open, ENOMEM, creating},
        {"open", failing_open, EACCES, creating},
        {"open", failing_open, EROFS, creating},
        {"fchmod", failing_fchmod, EPERM, creating},
        {"getrlimit", failing_getrlimit, EFAULT, creating},
        {"posix_fallocate", failing_posix_fallocate, ENOSPC, creating},
        {"posix_fallocate", failing_posix_fallocate, EFBIG, creating},
        {"posix_fallocate", failing_posix_fallocate, EDQUOT, creating},
        {"posix_fallocate", failing_posix_fallocate, EIO, creating},
        {"mmap", failing_mmap, ENOMEM, creating},
        {"mmap", failing_mmap, EPERM, creating},
        {"madvise", failing_madvise, EINVAL, creating},
        {"linkat", failing_linkat, ENOENT, creating},
        {"linkat", failing_linkat, EACCES, creating},
        {"linkat", failing_linkat, ENOSPC, creating},
        {"open", failing_open, EMFILE, attaching},
        {"open", failing_open, ENFILE, attaching},
        {"open", failing_open, EACCES, attaching},
        {"fstat", failing_fstat, EIO, attaching},
        {"mmap", failing_mmap, ENOMEM, attaching},
        {"mmap", failing_mmap, EACCES, attaching},
        {"madvise", failing_madvise, ENOMEM, attaching},
        {"getrlimit", failing_getrlimit, EFAULT, resizing},
        {"posix_fallocate", failing_posix_fallocate, ENOSPC, resizing},
        {"mremap", failing_mremap, ENOMEM, resizing},
    };
    for (const auto& [name, call, error, done] : failures) {
        SCOPED_TRACE(std::string{name} + ": " + std::strerror(error));
        const temporary_directory directory;
        const auto peer = mmap_region::create(directory / "peer", page).value();
        const auto descriptors = open_descriptors();
        const auto mappings = mappings_of(directory.path().string());
        call.fail(error);
        const auto refused = done(directory / "region");
        EXPECT_TRUE(call.all_failed()) << "it has not been called";
        ASSERT_TRUE(refused);
        const bool denied = error == EACCES || error == EPERM;
        EXPECT_EQ(*refused, denied ? no_permission(error) : system_call(error));
        EXPECT_STREQ(refused->subject, name);
        EXPECT_EQ(open_descriptors(), descriptors);
        EXPECT_EQ(mappings_of(directory.path().string()), mappings);
        EXPECT_EQ(names_in(directory), 1U);
    }
}

TEST(mmap_region, a_failing_stat_is_reported) {
    const temporary_directory directory;
    auto made = mmap_region::create(directory / "region", page, automatic).value();
    failing_fstat.fail(EIO);
    EXPECT_EQ(made.check_and_remap().error(), system_call(EIO));
    failing_fstat.fail(EIO);
    EXPECT_EQ(made.resize(2 * page).error(), system_call(EIO));
    failing_fstat.fail(EIO);
    EXPECT_EQ(made.close_name().error(), system_call(EIO));
    failing_lstat.fail(EACCES);
    EXPECT_EQ(made.close_name().error(), no_permission(EACCES));
    failing_unlink.fail(EROFS);
    EXPECT_EQ(made.close_name().error(), system_call(EROFS));
    EXPECT_TRUE(made.close_name().value()) << "still ours to remove";
}

TEST(mmap_region, interrupted_calls_go_on) {
    const temporary_directory directory;
    const std::string path = directory / "region";
    failing_open.fail(EINTR, 5);
    failing_posix_fallocate.fail(EINTR, 50);
    const auto made = mmap_region::create(path, 1'000 * page);
    ASSERT_TRUE(made) << made.error().sentence();
    EXPECT_TRUE(failing_open.all_failed() && failing_posix_fallocate.all_failed());
    EXPECT_EQ(stat_of(path).st_size, 1'000 * page);
    EXPECT_GE(stat_of(path).st_blocks * 512, 1'000 * page);
    failing_open.fail(EINTR, 5);
    EXPECT_TRUE(mmap_region::attach(path));
    EXPECT_TRUE(failing_open.all_failed());
}

}  // namespace
