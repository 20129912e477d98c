// SPDX-License-Identifier: MIT OR Apache-2.0
// Measures every row that is linked in, and says what it found. docs/performance.md tells how to read it.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "bench/contest.hpp"
#include "bench/report.hpp"

namespace {

enum : int { fine = 0, failed = 1, misused = 2 };

struct options {
    int repetitions = 9;
    int milliseconds = 100;
    int patience_ms = 10'000;
    std::vector<int> cpus;
    std::string only;
    std::string json;
    std::string svg;
    std::string page;
    bool list = false;
};

/// A file that is written at the end, and is known from the beginning to be writable.
class file_at_end {
public:
    explicit file_at_end(const std::string& path) : path_{path} {
        if (!path.empty() && !std::ofstream{path, std::ios::app})
            throw std::invalid_argument(fmt::format("{}: {}", path, std::generic_category().message(errno)));
    }
    void write(const std::string& text) const {
        if (path_.empty()) return;
        if (!(std::ofstream{path_} << text << std::flush)) throw std::runtime_error(path_ + ": writing failed");
        fmt::print("{}: written\n", path_);
    }

private:
    std::string path_;
};

std::string contents(const std::string& path) {
    std::ifstream file{path};
    if (!file) throw std::invalid_argument(fmt::format("{}: {}", path, std::generic_category().message(errno)));
    return {std::istreambuf_iterator<char>{file}, {}};
}

void progress(const std::string& now) {
    static const bool watched = isatty(STDERR_FILENO) != 0;
    if (watched) fmt::print(stderr, "\r\x1b[K{}", now);
}

std::vector<bench::row> rows_with(const std::string& part) {
    std::vector<bench::row> chosen;
    for (const bench::row& each : bench::rows::all())
        if (each.name.find(part) != std::string::npos) chosen.push_back(each);
    if (chosen.empty())
        throw std::invalid_argument(
            fmt::format("--only: expected a part of a row's name, found \"{}\"; --list shows them", part));
    return chosen;
}

int list(const std::vector<bench::row>& chosen) {
    for (const bench::row& each : chosen) {
        fmt::print("{}\n", each.name);
        for (const bench::contestant& who : each.contestants)
            fmt::print("  {:<22}{}\n", who.name,
                       who.absent.empty() ? std::string{who.calls} : fmt::format("n/a: {}", who.absent));
    }
    return fine;
}

int measure(const options& asked) {
    auto chosen = rows_with(asked.only);
    if (asked.list) return list(chosen);
    const bench::settings how{bench::choose_cpus(asked.cpus), asked.repetitions,
                              std::chrono::milliseconds{asked.milliseconds},
                              std::chrono::milliseconds{asked.patience_ms}};
    const std::string page = asked.page.empty() ? "" : contents(asked.page);
    if (!asked.page.empty()) (void)bench::with_table(page, "");
    const file_at_end page_file{asked.page};
    const file_at_end page_picture{
        asked.page.empty() ? "" : std::filesystem::path{asked.page}.replace_extension("svg").string()};
    const file_at_end json_file{asked.json};
    const file_at_end picture{asked.svg};

    bench::report all = bench::begin_report(how, std::move(chosen));
    std::string text;
    const auto show = [&text](const std::string& more) {
        text += more;
        fmt::print("{}", more);
        std::fflush(stdout);
    };
    show(bench::head(all));
    bool everyone_right = true;
    for (const bench::row& each : all.rows) {
        all.results.push_back(bench::contest(each, how, progress));
        progress("");
        show(bench::table(each, all.results.back()));
        for (const bench::standing& stands : all.results.back().standings) everyone_right &= stands.failure.empty();
    }
    show(bench::tail(all));
    json_file.write(bench::json(all));
    if (!everyone_right) {
        fmt::print(stderr, "bench: a contestant was disqualified\n");
        return failed;
    }
    picture.write(bench::svg(all));
    page_picture.write(bench::svg(all));
    if (!asked.page.empty()) page_file.write(bench::with_table(page, "```\n" + text + "```\n"));
    return fine;
}

}  // namespace

int main(int argc, char** argv) {
    options asked;
    CLI::App app{"Measures the primitives of this library beside what people use today, all in one run."};
    app.add_option("--repetitions", asked.repetitions, "how often each contestant runs")
        ->check(CLI::Range(1, 10'000))
        ->capture_default_str();
    app.add_option("--milliseconds", asked.milliseconds, "how long each run lasts")
        ->check(CLI::Range(1, 600'000))
        ->capture_default_str();
    app.add_option("--patience-ms", asked.patience_ms, "a contestant from which nothing comes for so long hangs")
        ->check(CLI::Range(1, 600'000))
        ->capture_default_str();
    app.add_option("--cpus", asked.cpus, "the two CPUs to run on: A,B (A,A shows that it works, and measures nothing)")
        ->delimiter(',')
        ->expected(2);
    app.add_option("--only", asked.only, "measure the rows with this in their name");
    app.add_flag("--list", asked.list, "print the rows and their contestants");
    app.add_option("--json", asked.json, "write all that was measured to this file");
    app.add_option("--svg", asked.svg, "draw the speeds into this file");
    app.add_option("--page", asked.page, "replace the table in this Markdown page, and draw the picture beside it");
    try {
        app.parse(argc, argv);
        return measure(asked);
    } catch (const CLI::CallForHelp& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        fmt::print(stderr, "bench: {}\n", error.what());
        return misused;
    } catch (const std::invalid_argument& error) {
        fmt::print(stderr, "bench: {}\n", error.what());
        return misused;
    } catch (const std::exception& error) {
        fmt::print(stderr, "bench: {}\n", error.what());
        return failed;
    }
}
