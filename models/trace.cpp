// SPDX-License-Identifier: MIT OR Apache-2.0
#include <algorithm>
#include <cstdio>
#include <source_text.hpp>
#include <trace.hpp>
#include <vector>

namespace shm::model {
namespace {

struct row {
    std::string number, text, source;
    unsigned thread;
};

std::string padded(const std::string& text, std::size_t width) {
    return text.size() >= width ? text : text + std::string(width - text.size(), ' ');
}

std::string edge_of(const event& step) {
    if (step.order.empty() || !in_core(step.at)) return {};
    const bool failure = step.what.find(" fails") != std::string::npos;
    const std::string comment = comment_of(step.at, failure ? op::cas_failure : op::load);
    return comment.starts_with('[') ? " " + comment.substr(0, comment.find(']') + 1) : std::string{};
}

std::string text_of(const event& step, const recording& execution) {
    std::string text;
    if (step.object != nullptr) {
        const auto named = execution.names.find(step.object);
        text = (named == execution.names.end() ? std::string{"(unnamed)"} : named->second) + "  ";
    }
    text += step.what;
    if (!step.order.empty()) text += "  " + step.order + edge_of(step);
    if (!step.what.starts_with("load")) return text;
    text += step.reads_from < 0 ? "  initial" : "  from " + std::to_string(step.reads_from + 1);
    if (step.stale != 0)
        text += " (" + std::to_string(step.stale) + (step.stale == 1 ? " store" : " stores") + " stale)";
    return text;
}

std::string source_of(const event& step) {
    constexpr std::size_t widest = 72;
    std::string line = line_of(step.at);
    if (const auto comment = line.find("//"); comment != std::string::npos)
        line.erase(line.find_last_not_of(' ', comment - 1) + 1);
    if (line.size() > widest) line = line.substr(0, widest - 3) + "...";
    return file_of(step.at) + ":" + std::to_string(step.at.line()) + "  " + line;
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
    std::vector<row> rows;
    std::vector<std::size_t> widths(scenario.threads, std::size_t{10});
    std::size_t steps_before = 0;
    for (std::size_t i = 0; i < execution.events.size(); ++i) {
        const event& step = execution.events[i];
        if (step.when == phase::before) {
            ++steps_before;
            continue;
        }
        const unsigned column = step.when == phase::after ? 0 : step.thread;
        rows.push_back({std::to_string(i + 1), (step.when == phase::after ? "after: " : "") + text_of(step, execution),
                        source_of(step), column});
        widths[column] = std::max(widths[column], rows.back().text.size());
    }

    std::string table = scenario.full_name() + ": " + how_it_ended.why + "\n";
    table += std::string{"must always hold: "} + scenario.holds + "\n";
    table += "steps 1 to " + std::to_string(steps_before) + " set the scenario up, before its threads start\n\n";
    table += "     ";
    for (unsigned thread = 0; thread < scenario.threads; ++thread)
        table += "  " + padded("thread " + std::to_string(thread), widths[thread]);
    table += "\n";
    for (const row& r : rows) {
        table += std::string(5 - std::min<std::size_t>(5, r.number.size()), ' ') + r.number;
        for (unsigned thread = 0; thread < scenario.threads; ++thread)
            table += "  " + padded(thread == r.thread ? r.text : "", widths[thread]);
        table += "  " + r.source + "\n";
    }
    table += "       " + how_it_ended.why + "\n";
    return table;
}

std::string trace_page(const entry& scenario, const recording& execution, const outcome& how_it_ended,
                       const std::string& token) {
    constexpr int row_height = 30, lane_width = 430, lane_gap = 70, left = 20, top = 40;
    const auto lane_of = [](const event& step) { return step.when == phase::after ? 0U : step.thread; };
    const auto x_of = [&](unsigned lane) { return left + static_cast<int>(lane) * (lane_width + lane_gap); };

    std::vector<int> y_of(execution.events.size(), -1);
    std::string boxes, arrows;
    int y = top;
    for (std::size_t i = 0; i < execution.events.size(); ++i) {
        const event& step = execution.events[i];
        if (step.when == phase::before) continue;
        y_of[i] = y;
        const int x = x_of(lane_of(step));
        const bool last = i + 1 == execution.events.size();
        boxes += "<g><title>" + escaped(source_of(step)) + "</title><rect x='" + std::to_string(x) + "' y='" +
                 std::to_string(y) + "' width='" + std::to_string(lane_width) + "' height='" +
                 std::to_string(row_height - 8) + "' class='" +
                 (last && how_it_ended.failed ? "end"
                  : step.order.empty()        ? "plain"
                                              : "atomic") +
                 "'/><text x='" + std::to_string(x + 8) + "' y='" + std::to_string(y + 15) + "'>" +
                 std::to_string(i + 1) + "&#160; " + escaped(text_of(step, execution)) + "</text></g>\n";
        if (step.reads_from >= 0 && y_of[static_cast<std::size_t>(step.reads_from)] >= 0) {
            const event& store = execution.events[static_cast<std::size_t>(step.reads_from)];
            const int from_y = y_of[static_cast<std::size_t>(step.reads_from)] + (row_height - 8) / 2;
            const int to_y = y + (row_height - 8) / 2;
            const bool rightwards = lane_of(store) < lane_of(step);
            const int from_x = x_of(lane_of(store)) + (rightwards || lane_of(store) == lane_of(step) ? lane_width : 0);
            const int to_x = x_of(lane_of(step)) + (rightwards ? 0 : lane_width);
            const int bend = lane_of(store) == lane_of(step) ? from_x + 40 : (from_x + to_x) / 2;
            arrows += "<path d='M" + std::to_string(from_x) + " " + std::to_string(from_y) + " C" +
                      std::to_string(bend) + " " + std::to_string(from_y) + " " + std::to_string(bend) + " " +
                      std::to_string(to_y) + " " + std::to_string(to_x) + " " + std::to_string(to_y) + "' class='" +
                      (step.stale == 0 ? "fresh" : "stale") + "' marker-end='url(#tip)'/>\n";
        }
        y += row_height;
    }
    std::string lanes;
    for (unsigned thread = 0; thread < scenario.threads; ++thread)
        lanes += "<text class='lane' x='" + std::to_string(x_of(thread)) + "' y='24'>thread " + std::to_string(thread) +
                 "</text>\n";
    const std::string width = std::to_string(x_of(scenario.threads)), height = std::to_string(y + 10);
    return "<!doctype html><meta charset='utf-8'><title>" + escaped(scenario.full_name()) +
           "</title>\n<style>body{font:15px sans-serif;margin:24px;background:#fff;color:#222}"
           "text{font:12px monospace;fill:#222}.lane{font-weight:bold;font-size:14px}"
           "rect{rx:4;stroke:#888;fill:#eef4ff}.plain{fill:#f5f5f0}.old{fill:#fff0ee;stroke:#c22}.end{fill:#ffd9d9;"
           "stroke:#b00;stroke-width:2}"
           "path{fill:none;stroke:#2a7;stroke-width:1.5}.stale{stroke:#c22;stroke-dasharray:5 3}</style>\n<h2>" +
           escaped(scenario.full_name()) + ": " + escaped(how_it_ended.why) +
           "</h2>\n<p>Must always hold: " + escaped(scenario.holds) + ".</p>\n<svg width='" + width + "' height='" +
           height +
           "'><defs><marker id='tip' viewBox='0 0 8 8' refX='8' refY='4' markerWidth='7' markerHeight='7' "
           "orient='auto'><path d='M0 0 8 4 0 8z' style='fill:#555;stroke:none'/></marker></defs>\n" +
           lanes + boxes + arrows +
           "</svg>\n<p>Arrows lead from a store to the loads that read it; red: there was a newer store. Point "
           "at "
           "a step to see its line.</p>\n<p>Replay: <code>--replay '" +
           escaped(token) + "'</code></p>\n";
}

}  // namespace shm::model
