// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Shows a segment of processes that run, hang or have been killed. It copies what it shows with pread and maps nothing, so that
// it changes nothing and cannot be killed by a file that is cut off meanwhile.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include <shm/version.hpp>

#include "tools/shm_inspect/print.hpp"
#include "tools/shm_inspect/report.hpp"
#include "tools/shm_inspect/target.hpp"

namespace {

using std::chrono::duration;
using std::chrono::steady_clock;

struct options {
    std::string asked;
    bool json = false;
    bool watch = false;
    double seconds = 1;  // between two looks
    unsigned looks = 0;  // 0: until it is ended
};

struct watched {
    inspect::target file;
    std::optional<inspect::report> before;
    steady_clock::time_point when;
};

/// Looks once at each. Says whether one could be shown.
bool show(std::vector<watched>& all, const options& chosen) {
    bool shown = false;
    std::string text = all.front().before && !chosen.json ? "\n" : "";
    for (watched& one : all) {
        const auto now = steady_clock::now();
        auto found = inspect::look_at(one.file.file.get());
        if (!found) {
            std::fflush(stdout);
            fmt::print(stderr, "shm-inspect: {}: {}\n", one.file.name, found.error().sentence());
            continue;
        }
        const inspect::earlier before{one.before ? &*one.before : nullptr, duration<double>(now - one.when).count()};
        if (shown && !chosen.json) text += '\n';
        text += chosen.json ? inspect::as_json(one.file.name, *found, before)
                            : inspect::as_text(one.file.name, *found, before);
        one.before = *std::move(found);
        one.when = now;
        shown = true;
    }
    // From the top of the screen on, so that it stands still; what is longer than the screen scrolls.
    if (chosen.watch && !chosen.json && ::isatty(STDOUT_FILENO) != 0) fmt::print("\x1b[H\x1b[2J");
    fmt::print("{}", text);
    return shown && std::fflush(stdout) == 0;
}

int run(const options& chosen) {
    auto found = inspect::find(chosen.asked);
    if (const auto* const why = std::get_if<std::string>(&found)) {
        fmt::print(stderr, "shm-inspect: {}\n", *why);
        return 1;
    }
    std::vector<watched> all;
    for (auto& file : std::get<0>(found)) all.push_back({std::move(file), {}, {}});
    bool shown = show(all, chosen);
    for (unsigned looks = 1; chosen.watch && looks != chosen.looks; ++looks) {
        std::this_thread::sleep_for(duration<double>{chosen.seconds});
        shown = show(all, chosen);
        if (std::ferror(stdout) != 0) return 1;
    }
    return shown ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
    options chosen;
    CLI::App app{
        "Shows the segments of a file, a descriptor or a process: blocks, rings, slots, peers alive or dead, faults.",
        "shm-inspect"};
    app.add_option("TARGET", chosen.asked, "A path, /proc/PID/fd/N, or a PID: all that this process has open or mapped")
        ->required();
    app.add_flag("--json", chosen.json, "One line of JSON for each segment");
    app.add_flag("--watch", chosen.watch, "Look again and again, and show rates");
    app.add_option("--every", chosen.seconds, "With --watch: so many seconds between two looks")
        ->check(CLI::Range(0.01, 86400.0))
        ->capture_default_str()
        ->needs("--watch");
    app.add_option("--looks", chosen.looks, "With --watch: how often to look before it ends; 0 is for ever")
        ->check(CLI::NonNegativeNumber)
        ->needs("--watch");
    app.set_version_flag("--version", std::string{shm::version});
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int status = app.exit(error);
        return status == 0 ? 0 : 2;
    }
    return run(chosen);
} catch (const std::exception& error) {
    std::fprintf(stderr, "shm-inspect: %s\n", error.what());
    return 1;
}
