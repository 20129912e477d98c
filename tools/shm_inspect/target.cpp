// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "tools/shm_inspect/report.hpp"
#include "tools/shm_inspect/snapshot.hpp"
#include "tools/shm_inspect/target.hpp"

namespace inspect {
namespace {

namespace files = std::filesystem;

std::string text_of(int error) { return std::generic_category().message(error); }

/// A FIFO must not make us wait, nor a terminal become ours.
shm::unique_fd open_to_read(const std::string& path) {
    return shm::unique_fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
}

/// Where the links of such a folder lead: /proc/PID/fd, of descriptors, or map_files, of mappings.
void add_segments(const std::string& folder, std::vector<target>& found, std::set<std::pair<dev_t, ino_t>>& had,
                  std::size_t& looked_at, std::error_code& error) {
    auto entry = files::directory_iterator{folder, error};
    for (; !error && entry != files::directory_iterator{}; entry.increment(error)) {
        ++looked_at;
        struct stat file{};
        const std::string path = entry->path().string();
        if (::stat(path.c_str(), &file) != 0 || !S_ISREG(file.st_mode)) continue;
        if (!had.emplace(file.st_dev, file.st_ino).second) continue;
        auto opened = open_to_read(path);
        if (!opened || !is_segment(opened.get())) continue;
        std::error_code unnamed;
        const auto leads_to = files::read_symlink(path, unnamed).string();
        found.push_back({unnamed ? path : fmt::format("{} -> {}", path, printable(leads_to)), std::move(opened)});
    }
}

targets of_process(const std::string& pid) {
    const std::string folder = "/proc/" + pid;
    std::error_code error;
    if (!files::exists(folder, error))
        return fmt::format("process {}: expected one that runs, found none of that number in /proc", pid);
    std::vector<target> found;
    std::set<std::pair<dev_t, ino_t>> had;
    std::size_t looked_at = 0;
    add_segments(folder + "/fd", found, had, looked_at, error);
    if (error) return fmt::format("{}/fd: expected a folder that may be read, found: {}", folder, error.message());
    std::error_code not_allowed;  // of mappings whose descriptor is closed, more rights may be needed
    add_segments(folder + "/map_files", found, had, looked_at, not_allowed);
    if (found.empty())
        return fmt::format("process {}: expected a segment among its descriptors and mappings, found none among {}{}",
                           pid, looked_at, not_allowed ? ", not all of which may be looked at" : "");
    std::sort(found.begin(), found.end(), [](const target& a, const target& b) { return a.name < b.name; });
    return found;
}

}  // namespace

targets find(const std::string& asked) {
    if (!asked.empty() && asked.find_first_not_of("0123456789") == asked.npos) return of_process(asked);
    auto file = open_to_read(asked);
    if (!file) return fmt::format("{}: expected a file that can be read, found: {}", asked, text_of(errno));
    std::vector<target> found;
    found.push_back({asked, std::move(file)});
    return found;
}

}  // namespace inspect
