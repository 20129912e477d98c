// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Runs the real send_file: real files, real kills, real errors.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <shm/memfd_region.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/unique_fd.hpp>

#include "testkit/running.hpp"
#include "testkit/temporary_directory.hpp"

namespace {

namespace fs = std::filesystem;
using support::becomes, support::contents, support::says;
using testing::Test;

constexpr int peer_died = 3;
constexpr std::uintmax_t endless = std::uintmax_t{1} << 36;  // a sparse file that no test sees the end of

struct running : support::running {
    explicit running(std::vector<std::string> arguments, int descriptor_3 = -1, rlim_t file_size_limit = RLIM_INFINITY)
        : support::running{SEND_FILE, std::move(arguments), descriptor_3, file_size_limit} {}
};

class send_file : public Test {
protected:
    void SetUp() override {
        ASSERT_EQ(setenv("TMPDIR", directory_.c_str(), 1), 0);    // what send_file forgets to remove is seen here
        ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);  // a consumer without its parent becomes our child
    }
    void TearDown() override { unsetenv("TMPDIR"); }

    void make_source(std::size_t size_bytes) const {
        std::mt19937 random{static_cast<std::uint32_t>(size_bytes)};
        std::string bytes(size_bytes, '\0');
        std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<char>(random()); });
        std::ofstream{source_, std::ios::binary} << bytes;
    }
    void make_endless_source() const {
        const std::ofstream empty{source_};
        fs::resize_file(source_, endless);
    }

    /// The names in the directory: what was there, and what was left.
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> found;
        for (const auto& entry : fs::directory_iterator{directory_}) found.push_back(entry.path().filename());
        std::sort(found.begin(), found.end());
        return found;
    }
    [[nodiscard]] bool something_written(pid_t consumer) const {
        std::error_code none;
        const auto size = fs::file_size(target_.string() + ".partial-" + std::to_string(consumer), none);
        return !none && size > 0;
    }

    const temporary_directory folder_;
    const fs::path directory_ = folder_.path(), source_ = directory_ / "source";
    fs::path target_ = directory_ / "target";
    const std::vector<std::string> only_source_{"source"};
};

class send_file_over : public send_file, public testing::WithParamInterface<const char*> {
protected:
    [[nodiscard]] std::vector<std::string> arguments() const {
        std::vector<std::string> all{source_, "--to", target_, "--rounds", "0", "--verbose"};
        if (GetParam() == std::string{"pipe"}) all.emplace_back("--pipe");
        return all;
    }
};
INSTANTIATE_TEST_SUITE_P(All, send_file_over, testing::Values("ring", "pipe"),
                         [](const auto& over) { return std::string{over.param}; });

TEST_P(send_file_over, FilesOfAnySizeArriveWhole) {
    constexpr std::size_t chunk = 65472;
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, chunk - 1, chunk, chunk + 1, 4 * chunk, std::size_t{10'000'003}}) {
        make_source(size);
        running sending{arguments()};
        EXPECT_EQ(sending.finish(), exited(0)) << sending.everything();
        EXPECT_TRUE(contents(source_) == contents(target_)) << "of " << size << " bytes";
        EXPECT_TRUE(
            says(sending.everything(), "producer .* SHA-256 ([0-9a-f]{64})\n(.*\n)*consumer .* SHA-256 \\1\n") ||
            says(sending.everything(), "consumer .* SHA-256 ([0-9a-f]{64})\n(.*\n)*producer .* SHA-256 \\1\n"))
            << sending.everything();
        EXPECT_EQ(names(), (std::vector<std::string>{"source", "target"}));
    }
}

TEST_P(send_file_over, ConsumerKilledAtOnceIsSaidByTheProducer) {
    make_endless_source();
    running sending{arguments()};
    sending.await_pids();
    kill(sending.consumer, SIGKILL);
    EXPECT_EQ(sending.finish(), exited(peer_died));
    EXPECT_TRUE(says(sending.everything(), "the consumer \\(process [0-9]+\\) died after [0-9]+ of 68719 MB\n"))
        << sending.output;
    EXPECT_EQ(names(), only_source_);
}

TEST_P(send_file_over, ConsumerKilledInTheMiddleIsSaidByTheProducer) {
    make_endless_source();
    running sending{arguments()};
    sending.await_pids();
    EXPECT_TRUE(becomes([&] { return something_written(sending.consumer); }));
    kill(sending.consumer, SIGKILL);
    EXPECT_EQ(sending.finish(), exited(peer_died));
    EXPECT_TRUE(says(sending.everything(), "the consumer \\(process [0-9]+\\) died after [0-9]+ of 68719 MB\n"))
        << sending.output;
    EXPECT_EQ(names(), only_source_);
}

TEST_P(send_file_over, ProducerKilledInTheMiddleIsSaidByTheConsumer) {
    for (const int signal : {SIGKILL, SIGINT, SIGTERM, SIGHUP}) {
        make_endless_source();
        running sending{arguments()};
        sending.await_pids();
        EXPECT_TRUE(becomes([&] { return something_written(sending.consumer); }));
        const pid_t pid = sending.process.pid();
        const std::string producer = std::to_string(pid);
        kill(signal == SIGKILL ? pid : -pid, signal);  // this one, or both at once
        EXPECT_EQ(sending.finish_producer(), killed_by(signal));
        EXPECT_EQ(sending.finish(), exited(peer_died));
        EXPECT_TRUE(
            says(sending.everything(), "the producer \\(process " + producer + "\\) died after [0-9]+ of 68719 MB\n"))
            << sending.output;
        EXPECT_EQ(names(), only_source_);
    }
}

TEST_P(send_file_over, ProducerKilledAtOnceLeavesNothing) {
    make_endless_source();
    running sending{arguments()};
    sending.await_pids();
    const std::string producer = std::to_string(sending.process.pid());
    sending.process.kill();
    EXPECT_EQ(sending.finish_producer(), killed_by(SIGKILL));
    EXPECT_EQ(sending.finish(), exited(peer_died));
    EXPECT_TRUE(says(sending.everything(), "the producer \\(process " + producer + "\\) died ")) << sending.output;
    EXPECT_EQ(names(), only_source_);
}

// Nobody reads from the FIFO until the file has changed, so the transfer cannot be over before.
TEST_P(send_file_over, FileThatChangesMeanwhileIsRefused) {
    ASSERT_EQ(mkfifo(target_.c_str(), 0600), 0);
    for (const std::uintmax_t new_size : {std::uintmax_t{1'000'000}, std::uintmax_t{3'000'000}}) {
        make_source(2'000'000);
        const shm::unique_fd fifo{open(target_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
        running sending{arguments()};
        sending.await_pids();
        fs::resize_file(source_, new_size);
        EXPECT_TRUE(becomes([&] {
            std::array<char, 4096> ignored{};
            while (read(fifo.get(), ignored.data(), ignored.size()) > 0) {
            }
            return sending.process.has_ended();
        }));
        EXPECT_EQ(sending.finish(), exited(1));
        EXPECT_TRUE(
            says(sending.everything(), "source changed while it was sent: size in bytes: expected 2000000, found"))
            << sending.output;
    }
}

TEST_P(send_file_over, FullDeviceIsSaidOnce) {
    make_source(2'000'000);
    target_ = "/dev/full";
    running sending{arguments()};
    EXPECT_EQ(sending.finish(), exited(1));
    EXPECT_TRUE(says(sending.everything(), "send_file: cannot write /dev/full: No space left on device\n$"))
        << sending.output;
    EXPECT_EQ(sending.output.find("send_file:"), sending.output.rfind("send_file:"));
}

TEST_P(send_file_over, FileSizeLimitLeavesNoHalfFile) {
    make_source(4'000'000);
    running sending{arguments(), -1, 1'000'000};
    EXPECT_EQ(sending.finish(), exited(1));
    EXPECT_TRUE(says(sending.everything(), "send_file: cannot write .*target: File too large\n")) << sending.output;
    EXPECT_EQ(names(), only_source_);
}

TEST_P(send_file_over, WhatIsNotWrittenLeavesTheOldFileAlone) {
    make_source(4'000'000);
    std::ofstream{target_} << "old";
    running sending{arguments(), -1, 1'000'000};
    EXPECT_EQ(sending.finish(), exited(1));
    EXPECT_EQ(contents(target_), "old");
}

TEST_F(send_file, SourcesThatCannotBeSent) {
    ASSERT_EQ(mkfifo((directory_ / "fifo").c_str(), 0600), 0);
    const std::vector<std::pair<fs::path, std::string>> cases{
        {directory_ / "none", "cannot read .*none: No such file or directory"},
        {directory_, "expected a regular file, found a directory"},
        {directory_ / "fifo", "expected a regular file, found a FIFO"},
    };
    for (const auto& [path, sentence] : cases) {
        running sending{{path}};
        EXPECT_EQ(sending.finish(), exited(1));
        EXPECT_TRUE(says(sending.everything(), "^send_file: .*" + sentence + "\n$")) << sending.output;
    }
    EXPECT_EQ(names(), std::vector<std::string>{"fifo"});
}

TEST_F(send_file, TargetsThatCannotBeWritten) {
    make_source(1'000'000);
    const std::vector<std::pair<fs::path, std::string>> cases{
        {directory_ / "none" / "target", "No such file or directory"},
        {directory_, "Is a directory"},
        {source_ / "target", "Not a directory"},
    };
    for (const auto& [path, sentence] : cases) {
        running sending{{source_, "--to", path, "--rounds", "0", "--quiet"}};
        EXPECT_EQ(sending.finish(), exited(1));
        EXPECT_TRUE(says(sending.everything(), "^send_file: cannot write .*: " + sentence + "\n$")) << sending.output;
    }
    EXPECT_EQ(names(), only_source_);
}

TEST_F(send_file, ComparesAndLeavesNothing) {
    running sending{{"--size-mb", "3", "--rounds", "2"}};
    EXPECT_EQ(sending.finish(), exited(0));
    EXPECT_TRUE(says(sending.everything(), "ring +pipe +ratio\nfile to file.* MB/s.*\nfile to memory.* MB/s"))
        << sending.output;
    EXPECT_TRUE(names().empty());
}

TEST_F(send_file, WrongUsageHasItsOwnStatus) {
    for (const char* wrong : {"--no-such-option", "--rounds=-1", "--size-mb=many"}) {
        running sending{{wrong}};
        EXPECT_EQ(sending.finish(), exited(2)) << wrong;
    }
    running asking{{"--help"}};
    EXPECT_EQ(asking.finish(), exited(0));
    EXPECT_TRUE(says(asking.everything(), "Exit status: 0 .* 3 the other process died"));
}

/// A consumer of memory that this test, and not send_file, has made.
class send_file_consumer : public send_file {
protected:
    /// As large and as aligned as what send_file sends. Its first words are named there: kind, bytes, offset, file size.
    struct alignas(64) chunk {
        std::uint32_t kind = 0;
        std::uint32_t size_bytes = 0;
        std::uint64_t offset = 0;
        std::uint64_t file_size_bytes = 0;
        std::array<std::byte, 65536 - 24> rest{};
    };
    using ring = shm::spsc_ring<chunk>;

    void expect_refusal(int descriptor, const std::string& sentence) const {
        running consuming{{"--consume-fd", "3", "--to", target_}, descriptor};
        EXPECT_EQ(consuming.finish(), exited(1));
        EXPECT_TRUE(says(consuming.everything(), "^send_file: " + sentence + "\n$")) << consuming.output;
        EXPECT_TRUE(names().empty());
    }
    void expect_refusal_of(const chunk& sent, const std::string& sentence) const {
        auto memory = shm::memfd_region::create(ring::required_size(4)).value();
        auto made = ring::create(memory.region(), 4).value();
        auto producer = made.claim_producer(shm::this_process().value()).value();
        ASSERT_EQ(producer.try_push(sent), shm::push_result::pushed);
        expect_refusal(memory.fd(), sentence);
    }
};

TEST_F(send_file_consumer, RefusesWhatIsNoSealedMemory) {
    const shm::unique_fd null{open("/dev/null", O_RDWR | O_CLOEXEC)};
    expect_refusal(null.get(), ".*expected a regular file, found a character device");
    const shm::unique_fd unsealed{memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    ASSERT_EQ(ftruncate(unsealed.get(), 1 << 20), 0);
    expect_refusal(unsealed.get(), "seals: expected .*shrink.*, found none");
}

TEST_F(send_file_consumer, RefusesForeignMemory) {
    const auto empty = shm::memfd_region::create(ring::required_size(4)).value();
    expect_refusal(empty.fd(), "init state: expected 2 \\(ready\\), found 0 \\(nothing there\\)");

    const auto tiny = shm::memfd_region::create(100).value();
    expect_refusal(tiny.fd(), "region size in bytes: expected at least 192, found 100");

    using numbers = shm::spsc_ring<std::uint64_t>;
    const auto other = shm::memfd_region::create(numbers::required_size(16)).value();
    ASSERT_TRUE(numbers::create(other.region(), 16));
    expect_refusal(other.fd(), "element size: expected 65536 bytes, found 8");

    const auto noise = shm::memfd_region::create(ring::required_size(4)).value();
    std::memset(noise.region().data(), 0x5a, noise.region().size_bytes());
    expect_refusal(noise.fd(), "magic: expected 0x[0-9a-f]{16}, found 0x5a5a5a5a5a5a5a5a");
}

TEST_F(send_file_consumer, RefusesDamagedMemory) {
    const auto memory = shm::memfd_region::create(ring::required_size(4)).value();
    ASSERT_TRUE(ring::create(memory.region(), 4));
    ring::header& header = **memory.region().get<ring::header>();
    header.published = 1000;
    expect_refusal(memory.fd(), "positions: expected at most 4 apart, found 1000");
    header.published = 0;
    header.capacity = 8;
    expect_refusal(memory.fd(), "slots: expected at least 8, found 4");
    header.capacity = 5;
    expect_refusal(memory.fd(), "capacity: expected a power of two from 1 to [0-9]+, found 5");
}

TEST_F(send_file_consumer, RefusesNonsenseThatComesLater) {
    const auto memory = shm::memfd_region::create(ring::required_size(4)).value();
    auto made = ring::create(memory.region(), 4).value();
    const auto producer = made.claim_producer(shm::this_process().value()).value();
    running consuming{{"--consume-fd", "3", "--to", target_}, memory.fd()};
    EXPECT_TRUE(becomes([&] { return made.status().consumer.valid(); }));
    (**memory.region().get<ring::header>()).published = 1000;
    EXPECT_EQ(consuming.finish(), exited(1));
    EXPECT_TRUE(says(consuming.everything(), "^send_file: positions: expected at most 4 apart, found 1000\n$"))
        << consuming.output;
    EXPECT_TRUE(names().empty());
}

TEST_F(send_file_consumer, RefusesChunksThatLie) {
    expect_refusal_of({0, 65473, 0, 1'000'000}, "bytes in a chunk: expected 65472, found 65473");
    expect_refusal_of({0, 100, 100, 1'000'000}, "offset of a chunk in the file: expected 0, found 100");
    expect_refusal_of({1, 0, 0, 1'000'000}, "bytes in the file: expected 1000000, found 0");
    expect_refusal_of({1, 0, 0, 0}, "SHA-256: expected 0{64}, found e3b0c44298fc1c149afbf4c8996fb924[0-9a-f]{32}");
}

TEST_F(send_file_consumer, RefusesASecondConsumer) {
    const auto memory = shm::memfd_region::create(ring::required_size(4)).value();
    const auto made = ring::create(memory.region(), 4).value();
    const auto held = made.claim_consumer(shm::this_process().value()).value();
    expect_refusal(memory.fd(), "consumer role: expected nobody, found peer [0-9]+ .*");
}

}  // namespace
