// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Runs the real messages: real logs, real kills, real errors.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <shm/unique_fd.hpp>

#include "testkit/running.hpp"
#include "testkit/temporary_directory.hpp"

namespace {

namespace fs = std::filesystem;
using support::becomes, support::contents, support::says;

constexpr int peer_died = 3;

struct running : support::running {
    explicit running(std::vector<std::string> arguments, rlim_t file_size_limit = RLIM_INFINITY)
        : support::running{MESSAGES, std::move(arguments), -1, file_size_limit} {}
};

/// Lines of many lengths, some of which hold ERROR.
std::string some_lines(std::size_t size_bytes, std::uint32_t seed) {
    std::mt19937 random{seed};
    std::string all;
    for (unsigned number = 0; all.size() < size_bytes; ++number) {
        const std::size_t length = random() % 100 == 0 ? random() % 20'000 : random() % 300;
        all += std::to_string(number) + (random() % 4 == 0 ? " ERROR " : " INFO ");
        all += std::string(length, static_cast<char>('a' + random() % 26)) + '\n';
    }
    return all;
}

class messages : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);  // a consumer without its parent becomes our child
        ASSERT_NE(std::signal(SIGPIPE, SIG_IGN), SIG_ERR);        // who writes a FIFO that nobody reads hears of it
    }

    void make_log(const std::string& text) const { std::ofstream{log_, std::ios::binary} << text; }
    /// To write to, once somebody reads it.
    [[nodiscard]] shm::unique_fd open_log_fifo() const {
        shm::unique_fd log;
        EXPECT_TRUE(becomes([&] {
            log = shm::unique_fd{open(log_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)};
            return bool{log};
        }));
        fcntl(log.get(), F_SETFL, 0);
        return log;
    }

    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> found;
        for (const auto& entry : fs::directory_iterator{directory_}) found.push_back(entry.path().filename());
        std::sort(found.begin(), found.end());
        return found;
    }
    [[nodiscard]] std::uintmax_t written(const running& sending) const {
        std::error_code none;
        const auto size = fs::file_size(out_.string() + ".partial-" + std::to_string(sending.process.pid()), none);
        return none ? 0 : size;
    }

    const temporary_directory folder_;
    const fs::path directory_ = folder_.path(), log_ = directory_ / "log", out_ = directory_ / "out";
    const std::vector<std::string> only_log_{"log"};
};

TEST_F(messages, LinesOfAnyKindArrive) {
    std::string around_each_size;
    for (const std::size_t size : {64U, 128U, 512U, 4096U, 65536U})
        for (const std::size_t length : {size - 2, size - 1, size})
            around_each_size += std::string(length - 1, 'x') + '\n';
    for (const std::string& text :
         {std::string{}, std::string{"\n"}, std::string{"no newline"}, std::string{"one\n\n\nfour"},
          std::string(300, '\n'), std::string{"zero\0byte\n", 10}, around_each_size, some_lines(5'000'000, 1),
          some_lines(1'000'000, 2) + "x"}) {
        make_log(text);
        running sending{{log_, out_}};
        EXPECT_EQ(sending.finish(), exited(0)) << sending.everything();
        EXPECT_TRUE(contents(out_) == text) << "of " << text.size() << " bytes";
        const auto newlines = std::count(text.begin(), text.end(), '\n');
        const auto lines = newlines + (text.empty() || text.back() == '\n' ? 0 : 1);
        EXPECT_TRUE(says(sending.everything(), "^" + std::to_string(lines) + " lines, .* " +
                                                   std::to_string(text.size()) + " bytes in .*\n1 consumers, 0 slots"))
            << sending.output;
        EXPECT_TRUE(says(sending.output, "\nSHA-256 of both files [0-9a-f]{64}\n$")) << sending.output;
        EXPECT_EQ(names(), (std::vector<std::string>{"log", "out"}));
    }
}

TEST_F(messages, CountsTheLinesThatHoldAText) {
    make_log("an ERROR\nnone\nERROR and ERROR\nERR\nOR\nERROR");
    running sending{{log_}};
    EXPECT_EQ(sending.finish(), exited(0));
    EXPECT_TRUE(says(sending.everything(), "^6 lines, 3 with ERROR, 42 bytes")) << sending.output;
    running other{{log_, "--find", "no"}};
    EXPECT_EQ(other.finish(), exited(0));
    EXPECT_TRUE(says(other.everything(), "^6 lines, 1 with no, 42 bytes")) << other.output;
    EXPECT_EQ(names(), only_log_);
}

// The log is a FIFO that is written until twenty consumers have been killed, so the end cannot come before.
TEST_F(messages, KillsLoseNothingAndDoubleNothing) {
    ASSERT_EQ(mkfifo(log_.c_str(), 0600), 0);
    running sending{{log_, out_, "--verbose"}};
    std::atomic<bool> enough = false;
    std::string sent;
    std::thread feeder{[&] {
        const shm::unique_fd log = open_log_fifo();
        for (std::uint32_t seed = 1; !enough || sent.size() < 100'000'000; ++seed) {
            const std::string some = some_lines(500'000, seed);
            sent += some;
            for (std::size_t done = 0; done < some.size();) {
                const ssize_t count = write(log.get(), some.data() + done, some.size() - done);
                if (count < 0) return;  // nobody reads it any more
                done += static_cast<std::size_t>(count);
            }
        }
    }};
    for (int kills = 0; kills < 20; ++kills) {
        sending.await_pids();
        const std::uintmax_t before = written(sending);
        EXPECT_TRUE(becomes([&] { return written(sending) > before + 50'000; }));  // so some lines are done
        kill(sending.consumer, SIGKILL);
    }
    enough = true;
    feeder.join();
    EXPECT_EQ(sending.finish(), exited(0)) << sending.everything();
    EXPECT_TRUE(contents(out_) == sent);
    EXPECT_TRUE(says(sending.everything(), "\n" + std::to_string(std::count(sent.begin(), sent.end(), '\n')) +
                                               " lines, .* " + std::to_string(sent.size()) +
                                               " bytes in .*\n21 consumers, [0-9]+ slots reclaimed\n"))
        << sending.output;
}

/// A line on which a consumer works for about a second: at each place it finds nearly all of what it looks for.
class messages_slow_line : public messages {
protected:
    void SetUp() override {
        messages::SetUp();
        make_log("first\n" + std::string(8'000'000, 'a') + "\nlast\n");
        arguments_ = {log_, out_, "--verbose", "--longest", "9000000", "--find", std::string(4'000, 'a') + 'b'};
    }
    std::vector<std::string> arguments_;
};

TEST_F(messages_slow_line, LineInWorkAtADeathIsSentAgain) {
    running sending{arguments_};
    sending.await_pids();
    EXPECT_TRUE(becomes([&] { return written(sending) > 8'000'000; }));  // which comes before the search
    kill(sending.consumer, SIGKILL);
    EXPECT_EQ(sending.finish(), exited(0)) << sending.everything();
    EXPECT_TRUE(contents(out_) == contents(log_));
    EXPECT_TRUE(
        says(sending.everything(), "\n3 lines, 0 with a+b, 8000012 bytes in .*\n2 consumers, 1 slots reclaimed\n"));
}

TEST_F(messages_slow_line, LineThatKillsEveryConsumerIsGivenUp) {
    make_log(contents(log_).substr(6, 8'000'001));  // that line alone
    running sending{arguments_};
    for (int kills = 0; kills < 3; ++kills) {
        sending.await_pids();
        EXPECT_TRUE(becomes([&] { return written(sending) >= 8'000'000; }));
        kill(sending.consumer, SIGKILL);
    }
    EXPECT_EQ(sending.finish(), exited(peer_died));
    EXPECT_TRUE(says(sending.everything(),
                     "messages: three consumers in a row were killed before they were done with a line\n$"))
        << sending.output;
    EXPECT_EQ(names(), only_log_);
}

TEST_F(messages, IdleConsumerMayBeKilled) {
    ASSERT_EQ(mkfifo(log_.c_str(), 0600), 0);
    running sending{{log_, out_, "--verbose"}};
    {
        const shm::unique_fd log = open_log_fifo();
        sending.await_pids();
        kill(sending.consumer, SIGKILL);
        ASSERT_EQ(write(log.get(), "one\ntwo\n", 8), 8);
    }
    EXPECT_EQ(sending.finish(), exited(0)) << sending.everything();
    EXPECT_EQ(contents(out_), "one\ntwo\n");
    EXPECT_TRUE(says(sending.everything(), "\n2 lines, .*\n2 consumers, 0 slots reclaimed\n")) << sending.output;
}

TEST_F(messages, ProducerKilledIsSaidByTheConsumer) {
    ASSERT_EQ(mkfifo(log_.c_str(), 0600), 0);
    for (const int signal : {SIGKILL, SIGINT, SIGTERM, SIGHUP}) {
        running sending{{log_, out_, "--verbose"}};
        const shm::unique_fd log = open_log_fifo();
        sending.await_pids();
        ASSERT_EQ(write(log.get(), "one\ntwo\n", 8), 8);
        EXPECT_TRUE(becomes([&] { return written(sending) == 8; }));
        kill(signal == SIGKILL ? sending.process.pid() : -sending.process.pid(), signal);  // this one, or both at once
        EXPECT_EQ(sending.finish_producer(), killed_by(signal));
        EXPECT_EQ(sending.finish(), exited(peer_died));
        EXPECT_TRUE(says(sending.everything(), "messages: the producer died after line 2\n$")) << sending.output;
        EXPECT_EQ(names(), only_log_);
    }
}

TEST_F(messages, LineLongerThanTheLargestSlotIsRefused) {
    make_log("one\n" + std::string(70'000, 'x') + "\nthree\n");
    running sending{{log_, out_}};
    EXPECT_EQ(sending.finish(), exited(1));
    EXPECT_TRUE(says(sending.everything(),
                     "^messages: bytes in line 2: expected at most 65536, found at least 70001; "
                     "--longest makes room for more\n$"))
        << sending.output;
    EXPECT_EQ(names(), only_log_);

    running longer{{log_, out_, "--longest", "70001"}};
    EXPECT_EQ(longer.finish(), exited(0)) << longer.everything();
    EXPECT_TRUE(contents(out_) == contents(log_));
}

TEST_F(messages, LineWithoutEndIsRefusedBeforeItIsRead) {
    make_log("one\n");
    fs::resize_file(log_, std::uintmax_t{1} << 36);
    running sending{{log_, out_}};
    EXPECT_EQ(sending.finish(), exited(1));
    EXPECT_TRUE(says(sending.everything(), "bytes in line 2: expected at most 65536, found at least 1048"))
        << sending.output;
    EXPECT_EQ(names(), only_log_);
}

TEST_F(messages, LogsThatCannotBeRead) {
    running none{{directory_ / "none", out_}};
    EXPECT_EQ(none.finish(), exited(1));
    EXPECT_TRUE(says(none.everything(), "^messages: cannot read .*none: No such file or directory\n$")) << none.output;
    running directory{{directory_, out_}};
    EXPECT_EQ(directory.finish(), exited(1));
    EXPECT_TRUE(says(directory.everything(), "^messages: cannot read .*: Is a directory\n$")) << directory.output;
    EXPECT_TRUE(names().empty());
}

TEST_F(messages, OutputsThatCannotBeWritten) {
    make_log("one\n");
    const std::vector<std::pair<fs::path, std::string>> cases{
        {directory_ / "none" / "out", "cannot write .*: No such file or directory"},
        {directory_, ".*: expected a regular file, found a directory"},
        {"/dev/null", "/dev/null: expected a regular file, found a character device"},
    };
    for (const auto& [path, sentence] : cases) {
        running sending{{log_, path}};
        EXPECT_EQ(sending.finish(), exited(1));
        EXPECT_TRUE(says(sending.everything(), "^messages: " + sentence + "\n$")) << sending.output;
    }
    EXPECT_EQ(names(), only_log_);
}

TEST_F(messages, FileSizeLimitIsSaidOnceAndLeavesTheOldFileAlone) {
    make_log(some_lines(8'000'000, 3));
    std::ofstream{out_} << "old";
    running sending{{log_, out_}, 4'000'000};
    EXPECT_EQ(sending.finish(), exited(1));
    EXPECT_TRUE(says(sending.everything(), "^messages: cannot write .*out: File too large\n$")) << sending.output;
    EXPECT_EQ(contents(out_), "old");
    EXPECT_EQ(names(), (std::vector<std::string>{"log", "out"}));
}

TEST_F(messages, WrongUsageHasItsOwnStatus) {
    make_log("one\n");
    const std::vector<std::vector<std::string>> wrong{
        {}, {log_, "--no-such-option"}, {log_, "--longest=many"}, {log_, "--longest=0"}, {log_, out_, "third"}};
    for (const auto& arguments : wrong) {
        running sending{arguments};
        EXPECT_EQ(sending.finish(), exited(2)) << sending.everything();
    }
    running asking{{"--help"}};
    EXPECT_EQ(asking.finish(), exited(0));
    EXPECT_TRUE(says(asking.everything(), "Exit status: 0 .* 3 "));
    EXPECT_EQ(names(), only_log_);
}

}  // namespace
