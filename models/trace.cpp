// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <source_text.hpp>
#include <trace.hpp>
#include <vector>

namespace shm::model {
namespace {

/// The lane in which a step is shown: what comes after the threads goes below the first one's.
unsigned lane_of(const event& step) { return step.when == phase::after ? 0 : step.thread; }

std::string edge_of(const event& step) {
    if (step.order.empty() || !in_core(step.at)) return {};
    const bool failure = step.what.find(" fails") != std::string::npos;
    const std::string comment = comment_of(step.at, failure ? op::cas_failure : op::load);
    return comment.starts_with('[') ? " " + comment.substr(0, comment.find(']') + 1) : std::string{};
}

std::string text_of(const event& step, const recording& execution) {
    std::string text = step.when == phase::after ? "after: " : "";
    if (step.object != nullptr) {
        const auto named = execution.names.find(step.object);
        text += (named == execution.names.end() ? std::string{"(unnamed)"} : named->second) + "  ";
    }
    text += step.what;
    if (!step.order.empty()) text += "  " + step.order + edge_of(step);
    if (!step.what.starts_with("load")) return text;
    text += step.reads_from < 0 ? "  initial"
                                : fmt::format("  from {}{}", step.reads_from + 1, step.ambiguous ? " or earlier" : "");
    if (step.stale != 0) text += fmt::format(" ({} {} stale)", step.stale, step.stale == 1 ? "store" : "stores");
    return text;
}

std::string source_of(const event& step) {
    constexpr std::size_t widest = 72;
    std::string line = line_of(step.at);
    if (const auto comment = line.find("//"); comment != std::string::npos) {
        line.resize(comment);
        line.resize(line.find_last_not_of(' ') + 1);
    }
    if (line.size() > widest) line = line.substr(0, widest - 3) + "...";
    return fmt::format("{}:{}  {}", file_of(step.at), step.at.line(), line);
}

std::string escaped(const std::string& text) {
    std::string safe;
    for (const char c : text) {
        switch (c) {
            case '<': safe += "&lt;"; break;
            case '>': safe += "&gt;"; break;
            case '&': safe += "&amp;"; break;
            case '\'': safe += "&#39;"; break;
            default: safe += c;
        }
    }
    return safe;
}

}  // namespace

std::string trace_of(const entry& scenario, const recording& execution, const outcome& how_it_ended) {
    std::vector<std::size_t> widths(scenario.threads, std::size_t{10});
    std::size_t steps_before = 0;
    for (const event& step : execution.events) {
        if (step.when == phase::before)
            ++steps_before;
        else
            widths[lane_of(step)] = std::max(widths[lane_of(step)], text_of(step, execution).size());
    }
    std::string table = fmt::format(
        "{}: {}\nmust always hold: {}\nsteps 1 to {} set the scenario up, before its threads start\n\n     ",
        scenario.full_name(), how_it_ended.why, scenario.holds, steps_before);
    for (unsigned lane = 0; lane < scenario.threads; ++lane)
        table += fmt::format("  {:<{}}", fmt::format("thread {}", lane), widths[lane]);
    table += '\n';
    for (std::size_t i = steps_before; i < execution.events.size(); ++i) {
        const event& step = execution.events[i];
        table += fmt::format("{:>5}", i + 1);
        for (unsigned lane = 0; lane < scenario.threads; ++lane)
            table += fmt::format("  {:<{}}", lane == lane_of(step) ? text_of(step, execution) : "", widths[lane]);
        table += "  " + source_of(step) + '\n';
    }
    return table + "       " + how_it_ended.why + '\n';
}

std::string trace_page(const entry& scenario, const recording& execution, const outcome& how_it_ended,
                       const std::string& token) {
    constexpr int row = 30, box = 22, lane_width = 430, gap = 70, left = 20, top = 40;
    const auto x_of = [](unsigned lane) { return left + static_cast<int>(lane) * (lane_width + gap); };
    std::size_t first = 0;
    while (first < execution.events.size() && execution.events[first].when == phase::before) ++first;
    const auto y_of = [first](std::size_t i) { return top + static_cast<int>(i - first) * row; };

    std::string drawing;
    for (unsigned lane = 0; lane < scenario.threads; ++lane)
        drawing += fmt::format("<text class='lane' x='{}' y='24'>thread {}</text>\n", x_of(lane), lane);
    for (std::size_t i = first; i < execution.events.size(); ++i) {
        const event& step = execution.events[i];
        const bool fatal = how_it_ended.failed && i + 1 == execution.events.size();
        const char* const look = fatal ? "end" : step.stale != 0 ? "old" : step.order.empty() ? "plain" : "atomic";
        drawing += fmt::format(
            "<g><title>{}</title><rect x='{}' y='{}' width='{}' height='{}' class='{}'/>"
            "<text x='{}' y='{}'>{}&#160; {}</text></g>\n",
            escaped(source_of(step)), x_of(lane_of(step)), y_of(i), lane_width, box, look, x_of(lane_of(step)) + 8,
            y_of(i) + 15, i + 1, escaped(text_of(step, execution)));

        const auto store = static_cast<std::size_t>(step.reads_from);
        if (step.reads_from < 0 || store < first) continue;
        const unsigned from = lane_of(execution.events[store]), to = lane_of(step);
        const int from_x = x_of(from) + (from <= to ? lane_width : 0), to_x = x_of(to) + (from < to ? 0 : lane_width);
        const int bend = from == to ? from_x + gap / 2 : (from_x + to_x) / 2;
        const int from_y = y_of(store) + box / 2, to_y = y_of(i) + box / 2;
        drawing += fmt::format("<path d='M{0} {1} C{2} {1} {2} {3} {4} {3}' class='{5}' marker-end='url(#tip)'/>\n",
                               from_x, from_y, bend, to_y, to_x, step.stale == 0 ? "fresh" : "stale");
    }
    return fmt::format(
        R"(<!doctype html><meta charset='utf-8'><title>{0}</title>
<style>body {{ font: 15px sans-serif; margin: 24px; background: #fff; color: #222 }}</style>
<h2>{0}: {1}</h2>
<p>Must always hold: {2}.</p>
<svg xmlns='http://www.w3.org/2000/svg' width='{3}' height='{4}'>
<style>
text {{ font: 12px monospace; fill: #222 }}
.lane {{ font-weight: bold; font-size: 14px }}
rect {{ rx: 4; stroke: #888; fill: #eef4ff }}
.plain {{ fill: #f5f5f0 }}
.old {{ fill: #fff0ee; stroke: #c22 }}
.end {{ fill: #ffd9d9; stroke: #b00; stroke-width: 2 }}
path {{ fill: none; stroke: #2a7; stroke-width: 1.5 }}
.stale {{ stroke: #c22; stroke-dasharray: 5 3 }}
</style>
<defs><marker id='tip' viewBox='0 0 8 8' refX='8' refY='4' markerWidth='7' markerHeight='7' orient='auto'>
<path d='M0 0 8 4 0 8z' style='fill:#555;stroke:none'/></marker></defs>
{5}</svg>
<p>Arrows lead from a store to the loads that read it; red: there was a newer store. Point at a step to see its line.</p>
<p>Replay: <code>--replay '{6}'</code></p>
)",
        escaped(scenario.full_name()), escaped(how_it_ended.why), escaped(scenario.holds), x_of(scenario.threads),
        y_of(execution.events.size()) + 10, drawing, escaped(token));
}

}  // namespace shm::model
