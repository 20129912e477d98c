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
    if (const auto comment = line.find("  //"); comment != std::string::npos) line.resize(comment);
    if (line.size() > widest) line = line.substr(0, widest - 3) + "...";
    return file_of(step.at) + ":" + std::to_string(step.at.line()) + "  " + line;
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

}  // namespace shm::model
