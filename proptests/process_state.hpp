// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

/// How many descriptors this process has open.
inline std::ptrdiff_t open_descriptors() {
    using entries = std::filesystem::directory_iterator;
    return std::distance(entries{"/proc/self/fd"}, entries{}) - 1;  // one reads the folder
}

/// How many of this process's mappings are of a file whose name holds `text`.
inline std::size_t mappings_of(const std::string& text) {
    std::ifstream maps{"/proc/self/maps"};
    std::size_t count = 0;
    for (std::string line; std::getline(maps, line);)
        if (line.find(text) != line.npos) ++count;
    return count;
}

/// Whether the mapping at that address is left out of core dumps.
inline bool left_out_of_core_dumps(const void* address) {
    std::ifstream maps{"/proc/self/smaps"};
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    bool here = false;
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t begin = 0;
        std::uintptr_t end = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) here = begin <= wanted && wanted < end;
        if (here && line.starts_with("VmFlags:")) return (line + ' ').find(" dd ") != line.npos;
    }
    return false;
}

/// Starts a child that runs `body` and exits with what it returns. It does not outlive a test that is killed.
template <class Body>
pid_t start_child(Body body) {
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child < 0) {
        std::perror("fork");
        std::abort();
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(body());
    }
    return child;
}

/// How a child ended, as waitpid says it.
inline int ended(pid_t child) {
    int status = 0;
    if (waitpid(child, &status, 0) != child) {
        std::perror("waitpid");
        std::abort();
    }
    return status;
}

inline bool exited_with(int status, int code) { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
inline bool killed_by(int status, int signal) { return WIFSIGNALED(status) && WTERMSIG(status) == signal; }
