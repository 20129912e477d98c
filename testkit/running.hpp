// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the tests of the examples need to run the real programs: real files, real kills. Whatever waits has a deadline, so
// that a hang fails.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <shm/unique_fd.hpp>

#include "testkit/child_process.hpp"

namespace support {

constexpr std::chrono::seconds patience{30};

/// Asks until it is so, and says whether it has become so in time.
template <class Condition>
bool becomes(Condition condition) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::yield();
    }
    return true;
}

/// A program under way, with all that it prints on either stream.
class running {
public:
    running(const char* program, std::vector<std::string> arguments, int descriptor_3 = -1,
            rlim_t file_size_limit = RLIM_INFINITY) {
        arguments.insert(arguments.begin(), program);
        std::vector<char*> words;
        for (auto& argument : arguments) words.push_back(argument.data());
        words.push_back(nullptr);
        std::array<int, 2> ends{};
        EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
        printed_ = shm::unique_fd{ends[0]};
        process = child_process([&] {
            setpgid(0, 0);  // to be interrupted as a terminal does it
            dup2(ends[1], STDOUT_FILENO);
            dup2(ends[1], STDERR_FILENO);
            if (descriptor_3 == 3) fcntl(3, F_SETFD, 0);
            if (descriptor_3 > 3) dup2(descriptor_3, 3);
            const rlimit limit{file_size_limit, file_size_limit};
            setrlimit(RLIMIT_FSIZE, &limit);
            execv(program, words.data());
            return 127;
        });
        close(ends[1]);
    }
    running(const running&) = delete;
    running& operator=(const running&) = delete;
    ~running() {
        if (process.pid() != 0) static_cast<void>(finish());  // which reports a hang
    }

    /// Waits for the pids that --verbose prints. They come when a consumer has been started; the next call waits for those
    /// of the next one.
    void await_pids() {
        const std::regex pids{"producer [0-9]+, consumer ([0-9]+)\n"};
        std::smatch found;
        while (!std::regex_search(output.cbegin() + seen_, output.cend(), found, pids))
            ASSERT_TRUE(read_some()) << output;
        consumer = std::stoi(found[1]);
        seen_ += found.position() + found.length();
    }

    /// Waits for the end. A program that does not end in time is killed.
    process_end finish() {
        if (!becomes([&] { return process.has_ended(); })) {
            ADD_FAILURE() << "process " << process.pid() << " hangs";
            process.kill();
        }
        return process.wait();
    }

    /// As `finish`; then the program is its consumer, which has become our child.
    process_end finish_producer() {
        const process_end end = finish();
        process = child_process{consumer};
        return end;
    }

    /// All that was printed, once all who could print have ended.
    const std::string& everything() {
        while (read_some()) {
        }
        return output;
    }

    /// The next line, once it is printed; what there is of one at the end.
    std::string line() {
        for (;;) {
            const auto from = static_cast<std::size_t>(seen_);
            const auto end = output.find('\n', from);
            if (end != output.npos || !read_some()) {
                std::string next = output.substr(from, end - from);
                seen_ = static_cast<std::ptrdiff_t>(end == output.npos ? output.size() : end + 1);
                return next;
            }
        }
    }

    child_process process;
    pid_t consumer = -1;
    std::string output;

private:
    bool read_some() {
        pollfd ready{printed_.get(), POLLIN, 0};
        constexpr int milliseconds = std::chrono::milliseconds{patience}.count();
        if (poll(&ready, 1, milliseconds) != 1) {
            ADD_FAILURE() << "nothing more is printed, and the end does not come";
            return false;
        }
        std::array<char, 4096> text{};
        const ssize_t count = read(printed_.get(), text.data(), text.size());
        if (count > 0) output.append(text.data(), static_cast<std::size_t>(count));
        return count > 0;
    }
    shm::unique_fd printed_;
    std::ptrdiff_t seen_ = 0;  // of the output, by await_pids and line
};

inline std::string contents(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

inline bool says(const std::string& text, const std::string& pattern) {
    return std::regex_search(text, std::regex{pattern});
}

}  // namespace support
