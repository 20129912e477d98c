// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "bench/contest.hpp"
#include "bench/streams.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;

constexpr auto transfer_duration = 3ms;

double in_unit(unit wanted, double seconds_each) {
    return wanted == unit::nanoseconds ? seconds_each * 1e9 : 1e-6 / seconds_each;
}

std::string first_line(const std::string& path) {
    std::string line;
    std::getline(std::ifstream{path}, line);
    return line;
}

/// What of the machine a CPU shares with others, as the kernel lists it; empty where it does not say.
struct place {
    int cpu;
    std::string core;   // the CPUs of the same core
    std::string cache;  // the CPUs of the same last cache
};

place place_of(int cpu) {
    const auto folder = fmt::format("/sys/devices/system/cpu/cpu{}/", cpu);
    place found{cpu, first_line(folder + "topology/thread_siblings_list"), {}};
    for (int level = 0;; ++level) {
        const auto shared = first_line(fmt::format("{}cache/index{}/shared_cpu_list", folder, level));
        if (shared.empty()) return found;
        found.cache = shared;
    }
}

std::string relation(const place& a, const place& b) {
    if (a.core.empty() || b.core.empty()) return "the kernel does not say how they are connected";
    if (a.core == b.core) return "two threads of one core";
    return a.cache == b.cache ? "two cores that share a cache" : "two cores that share no cache";
}

}  // namespace

rows::rows(std::vector<row> more, std::vector<peer> beside) {
    std::ranges::move(more, std::back_inserter(all()));
    std::ranges::move(beside, std::back_inserter(peers()));
}

std::vector<row>& rows::all() {
    static std::vector<row> registered;
    return registered;
}

std::vector<peer>& rows::peers() {
    static std::vector<peer> registered;
    return registered;
}

two_cpus choose_cpus(const std::vector<int>& wanted) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        throw std::invalid_argument(fmt::format("sched_getaffinity: {}", std::strerror(errno)));
    std::vector<place> places;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &allowed) && (wanted.empty() || std::ranges::count(wanted, cpu) != 0))
            places.push_back(place_of(cpu));
    const std::set<int> different{wanted.begin(), wanted.end()};
    if (!wanted.empty() && places.size() != different.size())
        throw std::invalid_argument(
            fmt::format("--cpus: expected CPUs that this process may use, found {}", fmt::join(wanted, ",")));
    if (different.size() == 1) return {wanted[0], wanted[0], "one CPU; no figure means anything"};
    if (places.size() < 2)
        throw std::invalid_argument(
            fmt::format("expected two CPUs that this process may use, found {}", places.size()));

    const auto fitness = [](const place& a, const place& b) {
        return std::tuple{a.core != b.core, a.cache == b.cache};
    };
    std::pair<const place*, const place*> best{&places[0], &places[1]};
    for (const place& a : places)
        for (const place& b : places)
            if (a.cpu < b.cpu && fitness(a, b) > fitness(*best.first, *best.second)) best = {&a, &b};
    if (!wanted.empty() && best.first->cpu != wanted[0]) std::swap(best.first, best.second);
    return {best.first->cpu, best.second->cpu, relation(*best.first, *best.second)};
}

spread spread_of(const std::vector<double>& values) {
    if (values.empty()) return {};
    const auto [least, most] = std::ranges::minmax(values);
    return {median(values), least, most};
}

row_result contest(const row& what, const settings& how, const std::function<void(const std::string&)>& progress) {
    const conditions usual{how.cpus.first, how.cpus.second, how.duration, how.patience};
    conditions brief = usual;
    brief.duration = std::min<std::chrono::nanoseconds>(transfer_duration, how.duration);
    const contestant transfer = how.cpus.first != how.cpus.second
                                    ? driven_by<bare_word, round_trip<bare_word>>()
                                    : driven_by<bare_word, round_trip<bare_word, yields>>();

    row_result result;
    result.standings.resize(what.contestants.size());
    const auto run_counted = [&](const contestant& who, const conditions& under) {
        outcome made = run_once(who, what.where, under);
        ++result.runs;
        result.seconds += std::chrono::duration<double>(under.duration).count();
        result.elements += made.elements;
        result.preemptions += made.preemptions;
        return made;
    };
    for (int repetition = 0; repetition < how.repetitions; ++repetition) {
        const outcome way = run_counted(transfer, brief);
        if (!way.failure.empty()) throw std::runtime_error("one cache line, to and fro: " + way.failure);
        result.transfer_ns.push_back(way.seconds_each * 1e9 / 2);

        std::vector<outcome> shown(what.contestants.size());
        for (std::size_t turn = 0; turn < shown.size(); ++turn) {
            const std::size_t i = (turn + static_cast<std::size_t>(repetition)) % shown.size();
            const contestant& who = what.contestants[i];
            standing& stands = result.standings[i];
            if (!who.absent.empty() || !stands.failure.empty()) continue;
            progress(fmt::format("{}: repetition {} of {}, {}", what.name, repetition + 1, how.repetitions, who.name));
            shown[i] = run_counted(who, usual);
            stands.failure = shown[i].failure;
        }
        for (std::size_t i = 0; i < shown.size(); ++i) {
            if (shown[i].seconds_each == 0 || !shown[i].failure.empty()) continue;
            standing& stands = result.standings[i];
            stands.figures.push_back(in_unit(what.shown_in, shown[i].seconds_each));
            stands.slow.push_back(in_unit(what.shown_in, shown[i].slow_seconds_each));
            if (result.standings[0].failure.empty())
                stands.speeds.push_back(shown[0].seconds_each / shown[i].seconds_each);
        }
    }
    return result;
}

}  // namespace bench
