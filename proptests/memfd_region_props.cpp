// SPDX-License-Identifier: MIT OR Apache-2.0
// shm_test(memfd_region_props WRAP memfd_create posix_fallocate fcntl mmap madvise fstat fstatfs)
#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include <shm/memfd_region.hpp>
#include <shm/spsc_ring.hpp>

#include "testkit/child_process.hpp"
#include "testkit/failing_call.hpp"
#include "testkit/nothing_left.hpp"
#include "testkit/process_state.hpp"
#include "testkit/temporary_directory.hpp"

namespace {

failing_call failing_getrlimit, failing_sysinfo, failing_memfd_create, failing_posix_fallocate, failing_fcntl,
    failing_mmap, failing_madvise, failing_fstat, failing_fstatfs;
bool huge_pages_in_stock = true;  // when not, a file of them is made, but holds nothing
bool huge_file_made = false;
void (*before_the_seals_are_asked)(int fd) = nullptr;         // what somebody else does just then
off_t interrupted_above = std::numeric_limits<off_t>::max();  // a signal comes before that many bytes are reserved

}  // namespace

// The linker sends each call of f to __wrap_f, and knows the f of the C library as __real_f.
int real_memfd_create(const char* name, unsigned flags) asm("__real_memfd_create");
int wrapped_memfd_create(const char* name, unsigned flags) asm("__wrap_memfd_create");
int wrapped_memfd_create(const char* name, unsigned flags) {
    huge_file_made = (flags & MFD_HUGETLB) != 0;
    return failing_memfd_create.fails() ? -1 : real_memfd_create(name, flags);
}
int real_posix_fallocate(int fd, off_t offset, off_t length) asm("__real_posix_fallocate");
int wrapped_posix_fallocate(int fd, off_t offset, off_t length) asm("__wrap_posix_fallocate");
int wrapped_posix_fallocate(int fd, off_t offset, off_t length) {
    if (huge_file_made && !huge_pages_in_stock) return ENOMEM;
    if (length > interrupted_above) return EINTR;
    return failing_posix_fallocate.fails() ? errno : real_posix_fallocate(fd, offset, length);
}
int real_fcntl(int fd, int command, int argument) asm("__real_fcntl");
int wrapped_fcntl(int fd, int command, int argument) asm("__wrap_fcntl");
int wrapped_fcntl(int fd, int command, int argument) {
    if (command == F_GET_SEALS && before_the_seals_are_asked) std::exchange(before_the_seals_are_asked, nullptr)(fd);
    return failing_fcntl.fails() ? -1 : real_fcntl(fd, command, argument);
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
off_t size_told = 0;  // by the next fstat in place of the file's; 0: the file's
int real_fstat(int fd, struct stat* found) asm("__real_fstat");
int wrapped_fstat(int fd, struct stat* found) asm("__wrap_fstat");
int wrapped_fstat(int fd, struct stat* found) {
    if (failing_fstat.fails()) return -1;
    const int answer = real_fstat(fd, found);
    if (size_told != 0) found->st_size = std::exchange(size_told, 0);
    return answer;
}
int real_getrlimit(int resource, rlimit* limit) asm("__real_getrlimit");
int wrapped_getrlimit(int resource, rlimit* limit) asm("__wrap_getrlimit");
int wrapped_getrlimit(int resource, rlimit* limit) {
    return failing_getrlimit.fails() ? -1 : real_getrlimit(resource, limit);
}
int real_sysinfo(struct sysinfo* machine) asm("__real_sysinfo");
int wrapped_sysinfo(struct sysinfo* machine) asm("__wrap_sysinfo");
int wrapped_sysinfo(struct sysinfo* machine) { return failing_sysinfo.fails() ? -1 : real_sysinfo(machine); }
int real_fstatfs(int fd, struct statfs* found) asm("__real_fstatfs");
int wrapped_fstatfs(int fd, struct statfs* found) asm("__wrap_fstatfs");
int wrapped_fstatfs(int fd, struct statfs* found) { return failing_fstatfs.fails() ? -1 : real_fstatfs(fd, found); }

namespace {

const bool all_is_given_up = nothing_left::by_any_test();

using shm::access;
using shm::fault;
using shm::fault_kind;
using shm::huge_pages;
using shm::memfd_region;
using shm::unique_fd;
using ring = shm::spsc_ring<std::uint64_t>;

constexpr std::size_t page = 4096;
constexpr int all_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

fault system_call(int error) { return {fault_kind::system_call, 0, static_cast<std::uint64_t>(error)}; }
fault no_permission(int error) { return {fault_kind::access_denied, 0, static_cast<std::uint64_t>(error)}; }

/// A descriptor of a peer's own, as if it had come over a socket.
unique_fd sent(int fd) { return unique_fd{fcntl(fd, F_DUPFD_CLOEXEC, 0)}; }

unique_fd memory_with_seals(std::size_t size_bytes, int seals) {
    unique_fd memory{memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    EXPECT_EQ(ftruncate(memory.get(), static_cast<off_t>(size_bytes)), 0);
    EXPECT_EQ(fcntl(memory.get(), F_ADD_SEALS, seals), 0);
    return memory;
}

TEST(memfd_region, create_makes_sealed_zeroed_storage_of_that_size) {
    const auto made = memfd_region::create(100'001).value();
    const shm::region bytes = made.region();
    EXPECT_EQ(bytes.size_bytes(), 100'001U);
    EXPECT_TRUE(bytes.writable());
    struct stat found{};  // first: a look at bytes that have no storage gets them some
    ASSERT_EQ(fstat(made.fd(), &found), 0);
    EXPECT_EQ(found.st_size, 100'001);
    EXPECT_GE(found.st_blocks * 512, 100'001) << "memory would be asked for at the first write, and might not be had";
    EXPECT_TRUE(std::all_of(bytes.data(), bytes.data() + bytes.size_bytes(), [](auto b) { return b == std::byte{0}; }));
    EXPECT_EQ(fcntl(made.fd(), F_GET_SEALS, 0) & all_seals, all_seals);
    EXPECT_EQ(fcntl(made.fd(), F_GETFD, 0) & FD_CLOEXEC, FD_CLOEXEC);
    EXPECT_FALSE(made.huge_pages_used());
}

TEST(memfd_region, nobody_can_cut_it_off) {
    const auto made = memfd_region::create(2 * page).value();
    EXPECT_EQ(ftruncate(made.fd(), page), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(ftruncate(made.fd(), 3 * page), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(fcntl(made.fd(), F_ADD_SEALS, F_SEAL_WRITE), -1);
    EXPECT_EQ(errno, EPERM);
}

TEST(memfd_region, what_another_process_writes_is_read) {
    const auto made = memfd_region::create(ring::required_size(8)).value();
    const auto placed = ring::create(made.region(), 8).value();
    auto consumer = placed.claim_consumer({1, 1}).value();
    child_process child([&] {
        const auto attached = memfd_region::attach(sent(made.fd()));
        if (!attached) return 1;
        auto producer = ring::attach(attached->region()).value().claim_producer({2, 1}).value();
        return producer.try_push(42) == shm::push_result::pushed ? 0 : 2;
    });
    EXPECT_EQ(child.wait(), exited(0));
    EXPECT_EQ(consumer.try_pop(), 42U);
}

TEST(memfd_region, mappings_outlive_their_maker) {
    auto made = std::optional{memfd_region::create(page).value()};
    const auto attached = memfd_region::attach(sent(made->fd())).value();
    made->region().data()[0] = std::byte{6};
    made.reset();
    EXPECT_EQ(attached.region().data()[0], std::byte{6});
}

TEST(memfd_region, a_move_hands_the_same_bytes_on) {
    auto first = memfd_region::create(page).value();
    std::byte* const bytes = first.region().data();
    auto second = memfd_region::create(page).value();
    const auto descriptors = open_descriptors();
    const auto mappings = shared_mappings();
    second = std::move(first);
    EXPECT_EQ(second.region().data(), bytes);
    EXPECT_EQ(open_descriptors(), descriptors - 1);
    EXPECT_EQ(shared_mappings(), mappings - 1) << "of what was assigned to";
    auto& itself = second;
    second = std::move(itself);
    EXPECT_EQ(second.region().data(), bytes);
    EXPECT_EQ(shared_mappings(), mappings - 1);
    bytes[0] = std::byte{1};
}

TEST(memfd_region, no_bytes_and_too_many_are_refused) {
    EXPECT_EQ(memfd_region::create(0).error(), (fault{fault_kind::too_small, 1, 0}));
    struct sysinfo machine{};
    ASSERT_EQ(sysinfo(&machine), 0);
    const std::size_t all = (machine.totalram + machine.totalswap) * machine.mem_unit;
    // If the refusal were missing, the kernel would kill processes, this one perhaps not among them.
    failing_posix_fallocate.fail(ENOSPC, -1);
    for (const std::size_t more : {all + 1, std::size_t{PTRDIFF_MAX}, std::numeric_limits<std::size_t>::max()})
        for (const auto pages : {huge_pages::none, huge_pages::try_, huge_pages::require})
            EXPECT_EQ(memfd_region::create(more, {.pages = pages}).error(),
                      (fault{fault_kind::out_of_range, all, more}));
    failing_posix_fallocate.fail(0, 0);
}

TEST(memfd_region, attach_refuses_every_set_of_seals_that_lacks_one) {
    EXPECT_TRUE(rc::check([] {
        const int seals = *rc::gen::inRange(0, 0x20);
        const auto before = open_descriptors();
        const auto attached = memfd_region::attach(memory_with_seals(page, seals), access::read_only);
        if ((seals & all_seals) == all_seals) {
            RC_ASSERT(attached.has_value());
            return;
        }
        RC_ASSERT(attached.error() == (fault{fault_kind::seals, all_seals, static_cast<std::uint64_t>(seals)}));
        RC_ASSERT(open_descriptors() == before);
    }));
}

// Until it is sealed, its size may change: who asks for it before the seals maps what is there no more.
TEST(memfd_region, attach_asks_for_the_size_when_it_can_change_no_more) {
    before_the_seals_are_asked = [](int fd) {
        ASSERT_EQ(ftruncate(fd, page), 0);
        ASSERT_EQ(real_fcntl(fd, F_ADD_SEALS, all_seals), 0);
    };
    const auto attached = memfd_region::attach(memory_with_seals(2 * page, 0));
    before_the_seals_are_asked = nullptr;
    ASSERT_TRUE(attached.has_value()) << attached.error().sentence();
    EXPECT_EQ(attached->region().size_bytes(), page);
}

TEST(memfd_region, attach_refuses_memory_that_cannot_be_sealed) {
    unique_fd memory{memfd_create("test", MFD_CLOEXEC)};
    ASSERT_EQ(ftruncate(memory.get(), page), 0);
    EXPECT_EQ(memfd_region::attach(std::move(memory)).error(), (fault{fault_kind::seals, all_seals, F_SEAL_SEAL}));
}

TEST(memfd_region, attach_refuses_what_is_no_memory) {
    const auto before = open_descriptors();
    EXPECT_EQ(memfd_region::attach(unique_fd{}).error(), system_call(EBADF));

    const temporary_directory directory;
    unique_fd file{open((directory / "file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)};
    ASSERT_EQ(ftruncate(file.get(), page), 0);
    const auto refused = memfd_region::attach(std::move(file)).error();
    EXPECT_EQ(refused.what, fault_kind::seals);

    std::array<int, 2> ends{};
    ASSERT_EQ(pipe(ends.data()), 0);
    EXPECT_EQ(memfd_region::attach(unique_fd{ends[0]}).error(),
              (fault{fault_kind::not_a_regular_file, S_IFREG, S_IFIFO}));
    close(ends[1]);
    EXPECT_EQ(memfd_region::attach(unique_fd{socket(AF_UNIX, SOCK_STREAM, 0)}).error(),
              (fault{fault_kind::not_a_regular_file, S_IFREG, S_IFSOCK}));
    EXPECT_EQ(memfd_region::attach(unique_fd{open("/", O_RDONLY | O_DIRECTORY)}).error(),
              (fault{fault_kind::not_a_regular_file, S_IFREG, S_IFDIR}));
    EXPECT_EQ(open_descriptors(), before);
}

TEST(memfd_region, attach_refuses_no_bytes) {
    EXPECT_EQ(memfd_region::attach(memory_with_seals(0, all_seals)).error(), (fault{fault_kind::file_size, 1, 0}));
}

TEST(memfd_region, what_may_not_be_written_is_not_attached_for_writing) {
    EXPECT_EQ(memfd_region::attach(memory_with_seals(page, all_seals | F_SEAL_WRITE)).error(), no_permission(EPERM));
    const auto made = memfd_region::create(page).value();
    const std::string path = "/proc/self/fd/" + std::to_string(made.fd());
    EXPECT_EQ(memfd_region::attach(unique_fd{open(path.c_str(), O_RDONLY | O_CLOEXEC)}).error(), no_permission(EACCES));
    EXPECT_TRUE(memfd_region::attach(unique_fd{open(path.c_str(), O_RDONLY | O_CLOEXEC)}, access::read_only));
}

TEST(memfd_region, a_read_only_observer_claims_no_role) {
    const auto made = memfd_region::create(ring::required_size(4)).value();
    static_cast<void>(ring::create(made.region(), 4).value());
    const auto observing = memfd_region::attach(sent(made.fd()), access::read_only).value();
    EXPECT_FALSE(observing.region().writable());
    const auto observed = ring::attach(observing.region()).value();
    EXPECT_EQ(observed.claim_producer({1, 1}).error(), (fault{fault_kind::access_denied, 1, 0}));
    EXPECT_EQ(observed.claim_consumer({1, 1}).error(), (fault{fault_kind::access_denied, 1, 0}));
}

TEST(memfd_region, bytes_can_be_left_out_of_core_dumps) {
    const auto kept = memfd_region::create(page).value();
    const auto secret = memfd_region::create(page, {.dump = shm::core_dump::exclude}).value();
    const auto attached = memfd_region::attach(sent(kept.fd()), access::read_write, shm::core_dump::exclude).value();
    EXPECT_FALSE(left_out_of_core_dumps(kept.region().data()));
    EXPECT_TRUE(left_out_of_core_dumps(secret.region().data()));
    EXPECT_TRUE(left_out_of_core_dumps(attached.region().data()));
}

TEST(memfd_region, a_size_that_no_mapping_can_have_is_refused) {
    const auto made = memfd_region::create(page).value();
    auto received = sent(made.fd());
    size_told = -1;
    EXPECT_EQ(memfd_region::attach(std::move(received)).error(),
              (fault{fault_kind::out_of_range, PTRDIFF_MAX, ~std::uint64_t{0}, "file size"}));
}

TEST(memfd_region, it_has_no_name_that_could_remain) {
    const auto made = memfd_region::create(page).value();
    struct stat found{};
    ASSERT_EQ(fstat(made.fd(), &found), 0);
    EXPECT_EQ(found.st_nlink, 0U) << "the kernel frees it with its last holder, however that ends";
}

TEST(memfd_region, huge_pages_that_are_missing_are_reported) {
    huge_pages_in_stock = false;
    const auto before = open_descriptors();
    EXPECT_EQ(memfd_region::create(page, {.pages = huge_pages::require}).error(),
              (fault{fault_kind::huge_pages, page, ENOMEM}));
    EXPECT_EQ(open_descriptors(), before);
    const auto tried = memfd_region::create(page, {.pages = huge_pages::try_}).value();
    huge_pages_in_stock = true;
    EXPECT_FALSE(tried.huge_pages_used());
    EXPECT_EQ(tried.region().size_bytes(), page);
    tried.region().data()[page - 1] = std::byte{1};

    // A kernel that knows none.
    failing_memfd_create.fail(EINVAL);
    EXPECT_EQ(memfd_region::create(page, {.pages = huge_pages::require}).error(),
              (fault{fault_kind::huge_pages, page, EINVAL}));
    failing_memfd_create.fail(EINVAL);
    EXPECT_TRUE(memfd_region::create(page, {.pages = huge_pages::try_}));
}

// Whichever the machine has: what is said is what is.
TEST(memfd_region, huge_pages_are_used_exactly_when_it_says_so) {
    const auto tried = memfd_region::create(page + 1, {.name = "huge", .pages = huge_pages::try_}).value();
    struct statfs where{};
    ASSERT_EQ(fstatfs(tried.fd(), &where), 0);
    constexpr auto hugetlbfs = 0x958458f6;
    EXPECT_EQ(tried.huge_pages_used(), where.f_type == hugetlbfs);
    EXPECT_EQ(tried.region().size_bytes(), page + 1);
    std::memset(tried.region().data(), 1, page + 1);
    const auto attached = memfd_region::attach(sent(tried.fd())).value();
    EXPECT_EQ(attached.huge_pages_used(), tried.huge_pages_used());
    EXPECT_EQ(attached.region().data()[page], std::byte{1});
    EXPECT_GE(attached.region().size_bytes(), page + 1);
}

TEST(memfd_region, the_file_size_limit_is_an_error_and_no_signal) {
    child_process child([] {
        const rlimit limit{page, page};
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
        const auto made = memfd_region::create(page + 1);
        if (made || made.error() != fault{fault_kind::file_size_limit, page + 1, page}) return 2;
        return memfd_region::create(page) ? 0 : 3;
    });
    EXPECT_EQ(child.wait(), exited(0));
}

TEST(memfd_region, without_descriptors_it_is_refused) {
    child_process child([] {
        const rlimit limit{3, 3};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
        const auto made = memfd_region::create(page);
        return !made && made.error() == system_call(EMFILE) ? 0 : 2;
    });
    EXPECT_EQ(child.wait(), exited(0));
}

TEST(memfd_region, more_than_the_address_space_is_refused) {
    const auto before = open_descriptors();
    EXPECT_EQ(memfd_region::attach(memory_with_seals(std::size_t{1} << 62, all_seals)).error(), system_call(ENOMEM));
    EXPECT_EQ(open_descriptors(), before);
}

/// Makes one system call fail with that error, in what is done, and looks at what is left.
struct failure {
    const char* name;
    failing_call& call;
    int error;
    int spared;
    std::function<shm::result<memfd_region>(int fd)> done;
};

shm::result<memfd_region> creating(int) {
    return memfd_region::create(page, {.name = "failing", .dump = shm::core_dump::exclude});
}
shm::result<memfd_region> attaching(int fd) { return memfd_region::attach(sent(fd)); }

TEST(memfd_region, without_an_answer_how_much_memory_there_is_all_is_asked_for) {
    failing_sysinfo.fail(EFAULT);
    EXPECT_TRUE(memfd_region::create(page).has_value());
    EXPECT_TRUE(failing_sysinfo.all_failed());
}

TEST(memfd_region, a_failing_system_call_is_reported_and_leaves_nothing) {
    const failure failures[] = {
        {"memfd_create", failing_memfd_create, ENOSYS, 0, creating},
        {"memfd_create", failing_memfd_create, EMFILE, 0, creating},
        {"memfd_create", failing_memfd_create, ENFILE, 0, creating},
        {"memfd_create", failing_memfd_create, ENOMEM, 0, creating},
        {"memfd_create", failing_memfd_create, EPERM, 0, creating},
        {"getrlimit", failing_getrlimit, EFAULT, 0, creating},
        {"posix_fallocate", failing_posix_fallocate, ENOSPC, 0, creating},
        {"posix_fallocate", failing_posix_fallocate, ENOMEM, 0, creating},
        {"posix_fallocate", failing_posix_fallocate, EFBIG, 0, creating},
        {"fcntl", failing_fcntl, EBUSY, 0, creating},
        {"fcntl", failing_fcntl, EPERM, 0, creating},
        {"mmap", failing_mmap, ENOMEM, 0, creating},
        {"madvise", failing_madvise, EINVAL, 0, creating},
        {"fcntl", failing_fcntl, EIO, 1, attaching},  // the first one makes the descriptor
        {"fstat", failing_fstat, EIO, 0, attaching},
        {"fstatfs", failing_fstatfs, EIO, 0, attaching},
        {"mmap", failing_mmap, ENOMEM, 0, attaching},
        {"mmap", failing_mmap, EACCES, 0, attaching},
        {"madvise", failing_madvise, ENOMEM, 0, attaching},
    };
    const auto peer = memfd_region::create(page, {.name = "failing"}).value();
    for (const auto& [name, call, error, spared, done] : failures) {
        SCOPED_TRACE(std::string{name} + ": " + std::strerror(error));
        const auto descriptors = open_descriptors();
        const auto mappings = mappings_of("memfd:failing");
        call.fail(error, 1, spared);
        const auto outcome = done(peer.fd());
        EXPECT_TRUE(call.all_failed()) << "it has not been called";
        ASSERT_FALSE(outcome);
        const bool denied = error == EACCES || error == EPERM;
        EXPECT_EQ(outcome.error(), denied ? no_permission(error) : system_call(error));
        EXPECT_STREQ(outcome.error().subject, name);
        EXPECT_EQ(open_descriptors(), descriptors);
        EXPECT_EQ(mappings_of("memfd:failing"), mappings);
    }
}

TEST(memfd_region, interrupted_calls_go_on) {
    failing_memfd_create.fail(EINTR, 5);
    failing_posix_fallocate.fail(EINTR, 50);
    const auto made = memfd_region::create(1'000 * page);
    ASSERT_TRUE(made) << made.error().sentence();
    EXPECT_TRUE(failing_memfd_create.all_failed() && failing_posix_fallocate.all_failed());
    struct stat found{};
    ASSERT_EQ(fstat(made->fd(), &found), 0);
    EXPECT_EQ(found.st_size, 1'000 * page);
    EXPECT_GE(found.st_blocks * 512, 1'000 * page);
}

// On kernels where a signal makes tmpfs throw away what it has reserved so far, starting again from the first byte would
// take for ever under a fast timer.
TEST(memfd_region, a_reservation_too_long_for_the_time_between_signals_is_made_in_steps) {
    interrupted_above = 64 * page;
    const auto made = memfd_region::create(1'001 * page + 1);
    interrupted_above = std::numeric_limits<off_t>::max();
    ASSERT_TRUE(made) << made.error().sentence();
    struct stat found{};
    ASSERT_EQ(fstat(made->fd(), &found), 0);
    EXPECT_EQ(found.st_size, 1'001 * page + 1);
    EXPECT_GE(found.st_blocks * 512, 1'001 * page + 1);
}

}  // namespace
