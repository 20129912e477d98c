// SPDX-License-Identifier: MIT OR Apache-2.0
#include <cxxabi.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string_view>

#include <shm/model/verify.hpp>

#include "checker/driver/search.hpp"
#include "checker/report/trace.hpp"

namespace shm::model {
namespace {

enum exit_code : int { passed = 0, failed = 1, wrong_usage = 2, incomplete = 3 };

constexpr const char* help =
    "Runs each scenario in every execution that C++ allows it (RC11: no load buffering).\n"
    "  --seconds S      for each; then it is INCOMPLETE (120)\n"
    "  --jobs N         processes (1)\n"
    "  --unpruned       rounds that change nothing are executions too\n"
    "  --replay TOKEN   runs and shows that one execution\n"
    "  --html FILE      draws it, or the one that failed\n"
    "Exit status: 0 passed, 1 failed, 2 wrong usage, 3 nothing failed but a search was incomplete.\n";

struct bad_usage : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

template <class Number>
Number number(std::string_view option, std::string_view text, Number least, Number most) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !(value >= least && value <= most))
        throw bad_usage{std::string{option} + ": expected a number from " + std::to_string(least) + " to " +
                        std::to_string(most) + ", found \"" + std::string{text} + "\""};
    return value;
}

search search_of(const verify_options& how) {
    search wanted;
    wanted.seconds = how.seconds;
    wanted.workers = how.jobs;
    wanted.kind = how.prune ? search_kind::complete : search_kind::full;
    return wanted;
}

/// scenario,search,choices
std::string token_of(const entry& scenario, const search& how, const std::string& choices) {
    return scenario.name + (how.kind == search_kind::complete ? ",c," : ",f,") + choices;
}

/// Prints one execution, and draws it where that is wanted.
outcome show(const entry& scenario, const search& how, const std::string& choices, const std::string& html) {
    recording execution;
    outcome result = explore_engine().replay(scenario, how, choices, execution);
    std::fputs(trace_of(scenario, execution, result).c_str(), stdout);
    const std::string token = token_of(scenario, how, choices);
    std::printf("replay: --replay '%s'\n", token.c_str());
    if (html.empty()) return result;
    std::ofstream file{html};
    file << trace_page(scenario, execution, result, token) << std::flush;
    if (!file) throw bad_usage{html + ": expected a file that can be written, found: " + std::strerror(errno)};
    std::printf("drawn in %s\n", html.c_str());
    return result;
}

int replay(const std::vector<entry>& scenarios, const verify_options& how) {
    const auto first = how.replay.find(','), second = how.replay.find(',', first + 1);
    if (second == std::string::npos)
        throw bad_usage{"--replay: expected scenario,search,choices, found \"" + how.replay + "\""};
    const std::string name = how.replay.substr(0, first), kind = how.replay.substr(first + 1, second - first - 1);
    const auto scenario =
        std::find_if(scenarios.begin(), scenarios.end(), [&name](const entry& e) { return e.name == name; });
    if (scenario == scenarios.end())
        throw bad_usage{"--replay: expected a scenario of this program, found \"" + name + "\""};
    if (kind != "c" && kind != "f") throw bad_usage{"--replay: expected the search c or f, found \"" + kind + "\""};
    search wanted = search_of(how);
    wanted.kind = kind == "c" ? search_kind::complete : search_kind::full;
    const outcome result = show(*scenario, wanted, how.replay.substr(second + 1), how.html);
    std::puts(result.failed ? "FAIL, as the token promised" : "PASS: this execution does not fail");
    return result.failed ? failed : passed;
}

int verify_one(const entry& scenario, const verify_options& how) {
    const search wanted = search_of(how);
    double told = 0;
    const outcome result = explore_engine().explore(scenario, wanted, [&](const outcome& so_far) {
        constexpr double between_lines = 5;
        if (so_far.seconds < told + between_lines) return;
        told = so_far.seconds;
        std::fprintf(stderr, "%s: %llu executions, %.0f s\n", scenario.name.c_str(),
                     static_cast<unsigned long long>(so_far.executions), so_far.seconds);
    });
    const char* const verdict = result.failed ? "FAIL" : result.exhausted ? "PASS" : "INCOMPLETE";
    std::printf("%s: %u threads, %llu execution%s%s, %.2f s: %s: %s\n", scenario.name.c_str(), scenario.threads,
                static_cast<unsigned long long>(result.executions), result.executions == 1 ? "" : "s",
                result.exhausted ? ", which are all" : "", result.seconds, verdict,
                result.failed ? result.why.c_str() : scenario.invariant);
    if (!result.failed) return result.exhausted ? passed : incomplete;
    std::puts("");
    if (!result.choices.empty()) (void)show(scenario, wanted, result.choices, how.html);
    return failed;
}

}  // namespace

std::string name_of(const std::type_info& scenario) {
    int status = 0;
    char* const readable = abi::__cxa_demangle(scenario.name(), nullptr, nullptr, &status);
    std::string name = status == 0 ? readable : scenario.name();
    std::free(readable);
    name = name.substr(0, name.find('<'));
    const auto scope = name.rfind("::");
    return scope == std::string::npos ? name : name.substr(scope + 2);
}

int verify_entries(const std::vector<entry>& scenarios, const verify_options& how) {
    try {
        if (!how.replay.empty()) return replay(scenarios, how);
        bool any_failed = false, any_incomplete = false;
        for (const entry& scenario : scenarios) {
            const int ended = verify_one(scenario, how);
            any_failed = any_failed || ended == failed;
            any_incomplete = any_incomplete || ended == incomplete;
        }
        return any_failed ? failed : any_incomplete ? incomplete : passed;
    } catch (const std::invalid_argument& refused) {  // options, a token, the number of threads
        std::fprintf(stderr, "%s\n", refused.what());
        return wrong_usage;
    }
}

int verify_entries(const std::vector<entry>& scenarios, int argc, char** argv) {
    verify_options how;
    try {
        for (int i = 1; i < argc; ++i) {
            const std::string option = argv[i];
            const auto value = [&]() -> std::string {
                if (++i == argc) throw bad_usage{option + ": expected a value, found none"};
                return argv[i];
            };
            constexpr double most_seconds = 1e6;
            constexpr unsigned most_jobs = 1024;
            if (option == "--help") {
                std::fputs(help, stdout);
                return passed;
            }
            if (option == "--seconds") {
                how.seconds = number<double>(option, value(), 0, most_seconds);
            } else if (option == "--jobs") {
                how.jobs = number<unsigned>(option, value(), 1, most_jobs);
            } else if (option == "--unpruned") {
                how.prune = false;
            } else if (option == "--replay") {
                how.replay = value();
            } else if (option == "--html") {
                how.html = value();
            } else {
                throw bad_usage{"expected an option of --help, found \"" + option + "\""};
            }
        }
    } catch (const bad_usage& refused) {
        std::fprintf(stderr, "%s\n", refused.what());
        return wrong_usage;
    }
    return verify_entries(scenarios, how);
}

}  // namespace shm::model
