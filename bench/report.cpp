// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include <shm/version.hpp>

#include "bench/report.hpp"

namespace bench {
namespace {

constexpr std::string_view begin_mark = "<!-- make bench writes from here -->\n";
constexpr std::string_view end_mark = "<!-- to here -->\n";

std::string cpu_model() {
    std::ifstream cpus{"/proc/cpuinfo"};
    for (std::string line; std::getline(cpus, line);)
        if (line.starts_with("model name"))
            if (const auto colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
    return "a CPU whose model the kernel does not name";
}

// What follows names a build, which tells nobody else anything.
std::string_view major_and_minor(std::string_view release) {
    return release.substr(0, release.find('.', release.find('.') + 1));
}

// Three digits tell enough; more would only be read as if they meant something.
std::string digits(double value) {
    const int decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2;
    return fmt::format("{:.{}f}", value, decimals);
}
std::string range(const spread& values) { return fmt::format("{}–{}", digits(values.least), digits(values.most)); }
bool unsteady(const spread& transfer) { return transfer.most > 1.5 * transfer.least; }
std::string_view name_of(unit shown_in) { return shown_in == unit::nanoseconds ? "ns" : "M/s"; }

std::string bar(double speed) {
    constexpr double width_of_ours = 8;
    constexpr std::size_t most = 16;
    const auto eighths = static_cast<std::size_t>(std::lround(speed * width_of_ours * 8));
    std::string drawn;
    for (std::size_t i = 0; i < std::min(eighths / 8, most); ++i) drawn += "█";
    if (eighths / 8 >= most) return drawn + "…";
    constexpr const char* parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    return drawn + parts[eighths % 8];
}

std::string escaped(std::string_view text) {
    std::string safe;
    for (const char c : text) safe += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
    return safe;
}

}  // namespace

report begin_report(settings how, std::vector<row> chosen) {
    report made;
    made.how = std::move(how);
    made.cpu = cpu_model();
    made.build = BENCH_BUILD;
    made.rows = std::move(chosen);
    made.library = fmt::format("{}{}", shm::version, BENCH_COMMIT);
    made.peers = rows::peers();
    utsname system{};
    if (uname(&system) == 0)
        made.kernel = fmt::format("{} {} {}", system.sysname, major_and_minor(system.release), system.machine);
    getloadavg(&made.load, 1);
    return made;
}

std::string head(const report& about) {
    std::string peers;
    for (const peer& each : about.peers)
        peers += fmt::format("{}{} {}", peers.empty() ? "beside    " : ", ", each.name, each.version);
    if (!peers.empty()) peers += '\n';
    return fmt::format(
        "machine   {}; CPUs {} and {}: {}\n"
        "kernel    {}; load average {:.2f} before the start\n"
        "compiler  {}\n"
        "library   shm-primitives {}\n{}"
        "method    each contestant {} times for {} ms, in turn; the rate of the median 100-µs chunk; median, "
        "least–most\n"
        "95 %      of the chunks are at least so fast; median of the turns\n"
        "speed     times as fast as the first of the row in the same turn; below 1 is slower\n",
        about.cpu, about.how.cpus.first, about.how.cpus.second, about.how.cpus.relation, about.kernel, about.load,
        about.build, about.library, peers, about.how.repetitions, about.how.duration.count());
}

std::string table(const row& what, const row_result& shown) {
    const spread transfer = spread_of(shown.transfer_ns);
    std::string text = fmt::format("\n{}; a line travels in {} ns ({}{})\n", what.name, digits(transfer.middle),
                                   range(transfer), unsteady(transfer) ? ": the CPUs were moved or busy" : "");
    constexpr auto columns = "  {:<22}{:<25}{:>6} {:>10} {:>6} {:>6} {:>10}  {}\n";
    text += fmt::format("  {:<22}{:<25}{:>6} {:>10} {:>6} {:>6}\n", "contestant", "driven by", name_of(what.shown_in),
                        "", "95 %", "speed");
    for (std::size_t i = 0; i < what.contestants.size(); ++i) {
        const contestant& who = what.contestants[i];
        const standing& stands = shown.standings[i];
        if (!who.absent.empty()) {
            text += fmt::format("  {:<22}n/a: {}\n", who.name, who.absent);
        } else if (!stands.failure.empty()) {
            text += fmt::format("  {:<22}DISQUALIFIED: {}\n", who.name, stands.failure);
        } else {
            const spread figures = spread_of(stands.figures);
            const spread speeds = spread_of(stands.speeds);
            text += fmt::format(columns, who.name, who.calls, digits(figures.middle), range(figures),
                                digits(spread_of(stands.slow).middle), i == 0 ? "1" : digits(speeds.middle),
                                i == 0 ? "" : range(speeds), bar(speeds.middle));
            text.erase(text.find_last_not_of(" \n") + 1);
            text += '\n';
        }
    }
    for (const contestant& who : what.contestants)
        if (who.capacity != 0 && who.capacity != what.contestants[0].capacity)
            text += fmt::format("  ({} holds {} elements, {} {})\n", who.name, who.capacity, what.contestants[0].name,
                                what.contestants[0].capacity);
    if (!what.note.empty()) text += fmt::format("  ({})\n", what.note);
    return text;
}

std::string tail(const report& about) {
    std::size_t runs = 0;
    std::uint64_t elements = 0;
    long preemptions = 0;
    double seconds = 0;
    for (const row_result& shown : about.results) {
        runs += shown.runs;
        elements += shown.elements;
        preemptions += shown.preemptions;
        seconds += shown.seconds;
    }
    std::string text = fmt::format("\n{} runs, {:.3g} elements, each of them checked; preempted {} times in {:.3g} s\n",
                                   runs, static_cast<double>(elements), preemptions, seconds);
    if (static_cast<double>(preemptions) > 10 * seconds)
        text += "warning: other programs ran on these CPUs; do not quote these figures\n";
    return text;
}

std::string json(const report& about) {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (std::size_t r = 0; r < about.results.size(); ++r) {
        const row& what = about.rows[r];
        const row_result& shown = about.results[r];
        nlohmann::ordered_json contestants = nlohmann::ordered_json::array();
        for (std::size_t i = 0; i < what.contestants.size(); ++i) {
            nlohmann::ordered_json one{{"name", what.contestants[i].name}, {"calls", what.contestants[i].calls}};
            if (!what.contestants[i].absent.empty()) one["absent"] = what.contestants[i].absent;
            if (!shown.standings[i].failure.empty()) one["failure"] = shown.standings[i].failure;
            if (what.contestants[i].capacity != 0) one["capacity"] = what.contestants[i].capacity;
            one["figures"] = shown.standings[i].figures;
            one["figures_of_95_percent"] = shown.standings[i].slow;
            one["speeds"] = shown.standings[i].speeds;
            contestants.push_back(one);
        }
        rows.push_back({{"name", what.name},
                        {"unit", name_of(what.shown_in)},
                        {"transfer_ns", shown.transfer_ns},
                        {"transfer_unsteady", unsteady(spread_of(shown.transfer_ns))},
                        {"elements", shown.elements},
                        {"preemptions", shown.preemptions},
                        {"contestants", contestants}});
    }
    nlohmann::ordered_json versions{{"shm-primitives", about.library}};
    for (const peer& each : about.peers) versions[each.name] = each.version;
    const nlohmann::ordered_json all{{"cpu", about.cpu},
                                     {"cpus", {about.how.cpus.first, about.how.cpus.second}},
                                     {"relation", about.how.cpus.relation},
                                     {"kernel", about.kernel},
                                     {"load", about.load},
                                     {"compiler", about.build},
                                     {"versions", versions},
                                     {"repetitions", about.how.repetitions},
                                     {"milliseconds", about.how.duration.count()},
                                     {"rows", rows}};
    return all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string svg(const report& about) {
    constexpr int width = 380;  // a telephone shows it whole
    constexpr int bars_at = 152;
    const auto x_of = [](double speed) { return bars_at + std::min(speed * 76, width - bars_at - 40.0); };
    std::string drawn;
    int y = 66;
    for (std::size_t r = 0; r < about.results.size(); ++r) {
        const row& what = about.rows[r];
        const int top = y + 6;
        std::string bars;
        for (std::size_t i = 0; i < what.contestants.size(); ++i) {
            const standing& stands = about.results[r].standings[i];
            if (stands.speeds.empty()) continue;
            y += 18;
            const spread speeds = spread_of(stands.speeds);
            const std::string figure =
                fmt::format("{} {}", digits(spread_of(stands.figures).middle), name_of(what.shown_in));
            bars += fmt::format(
                "<g><title>{0}: {1}</title><text class='name' x='{2}' y='{3}'>{0}</text>"
                "<rect class='{4}' x='{5}' y='{6}' width='{7:.1f}' height='12'/>"
                "<path d='M{8:.1f} {9}H{10:.1f}'/><text x='{11:.1f}' y='{3}'>{12}</text></g>\n",
                escaped(what.contestants[i].name), figure, bars_at - 6, y, i == 0 ? "ours" : "peer", bars_at, y - 10,
                x_of(speeds.middle) - bars_at, x_of(speeds.least), y - 4, x_of(speeds.most), x_of(speeds.most) + 5,
                i == 0 ? figure : digits(speeds.middle));
        }
        drawn += fmt::format("<text class='row' x='10' y='{}'>{}</text><path class='one' d='M{:.0f} {}V{}'/>\n{}",
                             top - 6, escaped(what.name), x_of(1), top, y + 4, bars);
        y += 30;
    }
    return fmt::format(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{0}' height='{1}' viewBox='0 0 {0} {1}'>\n"
        "<style>\n"
        "text {{ font: 12px sans-serif; fill: #222; paint-order: stroke; stroke: #fff; stroke-width: 3px }}\n"
        ".row {{ font-weight: bold }}\n"
        ".name {{ text-anchor: end }}\n"
        ".ours {{ fill: #2a7 }}\n"
        ".peer {{ fill: #9ab }}\n"
        "path {{ stroke: #345; stroke-width: 1.5 }}\n"
        ".one {{ stroke: #2a7; stroke-dasharray: 3 3; stroke-width: 1 }}\n"
        "</style>\n"
        "<rect width='{0}' height='{1}' fill='#fff'/>\n"
        "<text x='10' y='20'>Speed (first of each row = 1): median, least to most</text>\n"
        "<text x='10' y='38'>{2}, {3} runs each; longer is faster</text>\n"
        "{4}</svg>\n",
        width, y - 16, escaped(about.cpu), about.how.repetitions, drawn);
}

std::string with_table(const std::string& page, const std::string& text) {
    const auto begin = page.find(begin_mark);
    const auto end = page.find(end_mark);
    if (begin == std::string::npos || end == std::string::npos || end < begin)
        throw std::invalid_argument(fmt::format("expected the lines {} and {} in that order, found: no",
                                                begin_mark.substr(0, begin_mark.size() - 1),
                                                end_mark.substr(0, end_mark.size() - 1)));
    return page.substr(0, begin + begin_mark.size()) + text + page.substr(end);
}

}  // namespace bench
