// SPDX-License-Identifier: MIT OR Apache-2.0
#include <algorithm>
#include <vector>

#include "checker/report/source_text.hpp"
#include "checker/report/trace.hpp"

namespace shm::model {
namespace {

template <class... Parts>
std::string joined(const Parts&... parts) {
    std::string text;
    const auto add = [&text]<class Part>(const Part& part) {
        if constexpr (std::is_arithmetic_v<Part>)
            text += std::to_string(part);
        else
            text += part;
    };
    (add(parts), ...);
    return text;
}

std::string padded(std::string text, std::size_t width) {
    text.resize(std::max(width, text.size()), ' ');
    return text;
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

std::string edge_of(const event& step) {
    if (step.order.empty()) return {};
    const bool failure = step.what.find(" fails") != std::string::npos;
    const std::string comment = comment_of(step.at, failure ? op::cas_failure : op::load);
    return comment.starts_with('[') ? " " + comment.substr(0, comment.find(']') + 1) : std::string{};
}

/// A step as a reader sees it. Lanes are threads; what comes after the threads goes below the first one's.
struct shown_step {
    std::size_t number;  // from 1
    unsigned lane;
    std::string what;    // "published  load 1"
    std::string how;     // "acquire [publish]  from 18 (1 store stale)"
    std::string place;   // "spsc_ring_raw.hpp:354"
    std::string source;  // the line there, without its comment
    const event* step;

    [[nodiscard]] std::string text() const { return how.empty() ? what : what + "  " + how; }
};

std::string source_of(const event& step) {
    std::string line = line_of(step.at);
    if (const auto comment = line.find("//"); comment != std::string::npos) {
        line.resize(comment);
        line.resize(line.find_last_not_of(' ') + 1);
    }
    return line;
}

std::vector<shown_step> steps_of(const recording& execution) {
    std::map<const void*, std::string> names = execution.names;
    unsigned unnamed = 0;
    std::vector<shown_step> steps;
    for (const event& step : execution.events) {
        shown_step shown{steps.size() + 1,
                         step.when == phase::after ? 0 : step.thread,
                         {},
                         step.order + edge_of(step),
                         joined(file_of(step.at), ":", step.at.line()),
                         source_of(step),
                         &step};
        if (step.when == phase::after) shown.what = "after: ";
        if (step.object != nullptr) {
            const auto [named, fresh] = names.try_emplace(step.object);
            if (fresh) named->second = joined("object ", ++unnamed);
            shown.what += named->second + "  ";
        }
        shown.what += step.what;
        const bool reads = !step.what.starts_with("store") && !step.what.starts_with("fence") && !step.order.empty();
        if (reads) {
            shown.how += step.reads_from < 0
                             ? "  initial"
                             : joined("  from ", step.reads_from + 1, step.ambiguous ? " or earlier" : "");
            if (step.stale != 0)
                shown.how += joined(" (", step.stale, step.stale == 1 ? " store" : " stores", " stale)");
        }
        steps.push_back(std::move(shown));
    }
    return steps;
}

/// Those of the scenario, and those that they have started.
unsigned lanes_of(const entry& scenario, const std::vector<shown_step>& steps) {
    unsigned lanes = scenario.threads;
    for (const shown_step& s : steps) lanes = std::max(lanes, s.lane + 1);
    return lanes;
}

std::size_t steps_before(const std::vector<shown_step>& steps) {
    return static_cast<std::size_t>(
        std::count_if(steps.begin(), steps.end(), [](const shown_step& s) { return s.step->when == phase::before; }));
}

/// An arrow from each store to the loads that read it, as `draw` makes a path from lane and row to lane and row. What was
/// there before the threads has row -1, and an arrow only where a load should have seen something newer.
template <class Draw>
std::string arrows(const std::vector<shown_step>& steps, std::size_t first, Draw draw) {
    std::string drawing;
    for (std::size_t i = first; i < steps.size(); ++i) {
        const event& load = *steps[i].step;
        const int row = static_cast<int>(i - first), store = load.reads_from - static_cast<int>(first);
        const int lane = static_cast<int>(steps[i].lane);
        if (store < 0 && load.stale == 0) continue;
        const int from = store < 0 ? lane : static_cast<int>(steps[static_cast<std::size_t>(load.reads_from)].lane);
        drawing += joined("<path d='", draw(from, std::max(store, -1), lane, row), "' class='",
                          load.stale == 0 ? "fresh" : "stale", "'/>\n");
    }
    return drawing;
}

std::string svg(const char* name, int width, int height, const std::string& content) {
    return joined("<svg class='", name, "' width='", width, "' height='", height,
                  "' aria-hidden='true'>\n<defs><marker id='tip-", name,
                  "' viewBox='0 0 8 8' refX='8' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
                  "<path d='M0 0 8 4 0 8z'/></marker></defs>\n",
                  content, "</svg>\n");
}

/// What depends on nothing but how many lanes there are is in the page's second style sheet.
constexpr const char* style = R"(
:root { color-scheme: light dark; --page: #fff; --ink: #1d2126; --dim: #5c6570; --line: #c9d0d8; --box: #eef4ff;
  --plain: #f6f6f2; --fresh: #16803c; --stale: #c2211b; --old: #fff0ee; --end: #ffd9d6 }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --ink: #e4e8ed; --dim: #9aa5b1; --line: #3c4550;
  --box: #1b2a42; --plain: #22262b; --fresh: #4cc27a; --stale: #ff7a72; --old: #3a2020; --end: #5a1f1c } }
* { box-sizing: border-box }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 20px; background: var(--page); color: var(--ink) }
h1 { font-size: 20px; line-height: 1.25; margin: 0 0 8px }
h2 { font-size: 16px; margin: 28px 0 8px }
h1, p, code, li, summary { overflow-wrap: anywhere }
code, .trace, .steps { font: 12px/1.35 ui-monospace, monospace }
.token { display: block; padding: 8px; border: 1px solid var(--line); border-radius: 4px; user-select: all }
.trace { position: relative }
.trace a { position: absolute; display: block; padding: 3px 8px; border: 1px solid var(--line); border-radius: 4px;
  background: var(--box); color: inherit; text-decoration: none; white-space: pre; overflow: hidden; text-overflow: ellipsis }
.trace a .place { display: block; font-size: 11px; color: var(--dim); overflow: hidden; text-overflow: ellipsis }
.trace a.plain { background: var(--plain) }
.trace a.old { background: var(--old); border-color: var(--stale) }
.trace a.end { background: var(--end); border: 2px solid var(--stale); padding: 2px 7px }
.trace a:focus-visible, .steps li:target { outline: 2px solid var(--fresh) }
.lane { position: absolute; top: 0; font-weight: bold }
svg { position: absolute; left: 0; top: 0; overflow: visible; pointer-events: none }
svg path { fill: none; stroke-width: 1.5 }
svg .fresh { stroke: var(--fresh) }
svg .stale { stroke: var(--stale); stroke-dasharray: 5 3 }
svg .rail { stroke: var(--line) }
svg circle { fill: var(--ink) }
marker path { fill: var(--dim) }
.wide path { marker-end: url(#tip-wide) }
.narrow .fresh, .narrow .stale { marker-end: url(#tip-narrow) }
marker path { marker-end: none !important }
.fresh-word { color: var(--fresh) }
.stale-word { color: var(--stale) }
.steps { margin: 0; padding-left: 4.5ch }
.steps li { padding: 3px 4px; white-space: pre-wrap }
.steps .place { display: block; color: var(--dim) }
)";

}  // namespace

std::string trace_of(const entry& scenario, const recording& execution, const outcome& how_it_ended) {
    constexpr std::size_t widest_source = 72;
    const auto steps = steps_of(execution);
    const unsigned lanes = lanes_of(scenario, steps);
    const std::size_t first = steps_before(steps);
    std::vector<std::size_t> widths(lanes, std::size_t{10});
    for (std::size_t i = first; i < steps.size(); ++i)
        widths[steps[i].lane] = std::max(widths[steps[i].lane], steps[i].text().size());

    std::string table =
        joined(scenario.full_name(), ": ", how_it_ended.why, "\nmust always hold: ", scenario.invariant, "\n");
    if (first > 0) table += joined("steps 1 to ", first, " set the scenario up, before its threads start\n");
    table += "\n     ";
    for (unsigned lane = 0; lane < lanes; ++lane) table += "  " + padded(joined("thread ", lane), widths[lane]);
    table += '\n';
    for (std::size_t i = first; i < steps.size(); ++i) {
        const shown_step& s = steps[i];
        const std::string number = std::to_string(s.number);
        table += padded("", 5 - std::min<std::size_t>(5, number.size())) + number;
        for (unsigned lane = 0; lane < lanes; ++lane)
            table += "  " + padded(lane == s.lane ? s.text() : "", widths[lane]);
        table +=
            joined("  ", s.place, "  ",
                   s.source.size() > widest_source ? s.source.substr(0, widest_source - 3) + "..." : s.source, "\n");
    }
    return table + "       " + how_it_ended.why + '\n';
}

/// Where there is room the threads stand side by side, as columns. Where there is not, the steps stand below each other
/// and the threads are rails to their left. Both drawings are there, and the width chooses.
std::string trace_page(const entry& scenario, const recording& execution, const outcome& how_it_ended,
                       const std::string& token) {
    constexpr int column = 464, box = 420, row = 46, box_height = 38, header = 26;
    constexpr int rail = 18, tall_row = 64, tall_box = 56;
    const auto steps = steps_of(execution);
    const std::size_t first = steps_before(steps);
    const int rows = static_cast<int>(steps.size() - first), lanes = static_cast<int>(lanes_of(scenario, steps));
    const int width = lanes * column - (column - box);

    std::string drawing;
    for (int lane = 0; lane < lanes; ++lane)
        drawing += joined("<div class='lane' style='left:", lane * column, "px'>thread ", lane, "</div>\n");
    for (std::size_t i = first; i < steps.size(); ++i) {
        const shown_step& s = steps[i];
        const bool fatal = how_it_ended.failed && i + 1 == steps.size();
        drawing += joined("<a href='#", s.number, "' class='",
                          fatal                   ? "end"
                          : s.step->stale != 0    ? "old"
                          : s.step->order.empty() ? "plain"
                                                  : "atomic",
                          "' style='--row:", i - first, ";--lane:", s.lane, "'><span>", s.number,
                          "<span class='who'> thread ", s.lane, "</span>  ", escaped(s.what),
                          "</span><span class='how'>", s.how.empty() ? "" : "  ", escaped(s.how),
                          "</span><span class='place'>", escaped(s.place), "  ", escaped(s.source), "</span></a>\n");
    }

    const auto between_columns = [](int from, int store, int to, int load) {
        const auto y_of = [](int at) { return at < 0 ? header - 6 : header + at * row + box_height / 2; };
        const int from_x = from * column + (from <= to ? box : 0), to_x = to * column + (from < to ? 0 : box);
        const int bend = from == to ? from_x + (column - box) / 2 : (from_x + to_x) / 2;
        return joined("M", from_x, " ", y_of(store), " C", bend, " ", y_of(store), " ", bend, " ", y_of(load), " ",
                      to_x, " ", y_of(load));
    };
    const auto x_of = [](int lane) { return rail / 2 + lane * rail; };
    const auto y_of = [](int at) { return at < 0 ? 0 : at * tall_row + tall_box / 2; };
    const auto between_rails = [&](int from, int store, int to, int load) {
        // Along its own rail it makes room for the dots.
        const int out = from == to ? rail / 2 : 0, from_y = y_of(store) + 4, to_y = y_of(load) - 5;
        return joined("M", x_of(from), " ", from_y, " C", x_of(from) + out, " ", from_y + tall_row / 2, " ",
                      x_of(to) + out, " ", to_y - tall_row / 2, " ", x_of(to), " ", to_y);
    };
    std::string rails, dots;
    for (int lane = 0; lane < lanes; ++lane)
        rails += joined("<path class='rail' d='M", x_of(lane), " 0V", rows * tall_row, "'/>\n");
    for (int at = 0; at < rows; ++at)
        dots += joined("<circle cx='", x_of(static_cast<int>(steps[first + static_cast<std::size_t>(at)].lane)),
                       "' cy='", y_of(at), "' r='4'/>\n");
    drawing += svg("wide", width, header + rows * row, arrows(steps, first, between_columns));
    drawing += svg("narrow", lanes * rail, rows * tall_row, rails + arrows(steps, first, between_rails) + dots);

    const auto listed = [&steps](std::size_t from, std::size_t to) {
        std::string list = joined("<ol class='steps' start='", from + 1, "'>\n");
        for (std::size_t i = from; i < to; ++i) {
            const shown_step& s = steps[i];
            const std::string who = s.step->when == phase::threads ? joined("thread ", s.lane, "  ") : "";
            list += joined("<li id='", s.number, "'>", who, escaped(s.text()), "<span class='place'>", escaped(s.place),
                           "  ", escaped(s.source), "</span></li>\n");
        }
        return list + "</ol>\n";
    };
    const std::string by_width = joined(
        ".trace { height: ", rows * tall_row, "px }\n.wide, .lane { display: none }\n",
        ".trace a { left: ", lanes * rail + 6, "px; right: 0; height: ", tall_box, "px; top: calc(var(--row) * ",
        tall_row,
        "px) }\n.trace a span { display: block; overflow: hidden; text-overflow: ellipsis }\n.trace a .who { display: "
        "inline }\n",
        "@media (min-width: ", width + 40, "px) {\nbody, .trace { width: ", width, "px }\nbody { width: ", width + 40,
        "px }\n.trace { height: ", header + rows * row, "px }\n.narrow, .trace a .who { display: none }\n",
        ".wide, .lane { display: block }\n.trace a { left: calc(var(--lane) * ", column,
        "px); right: auto; width: ", box, "px; height: ", box_height, "px; top: calc(var(--row) * ", row, "px + ",
        header,
        "px); padding-top: 1px; padding-bottom: 1px }\n.trace a > span { display: inline }\n.trace a .place { display: "
        "block }\n}\n");

    std::string page =
        joined("<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n",
               "<meta name='viewport' content='width=device-width, initial-scale=1'>\n<title>",
               escaped(scenario.full_name()), "</title>\n<style>", style, by_width, "</style>\n</head>\n<body>\n");
    page +=
        joined("<h1>", escaped(scenario.full_name()), ": ", escaped(how_it_ended.why),
               "</h1>\n<p>Must always hold: ", escaped(scenario.invariant),
               ".</p>\n<p>An arrow leads from a store to a load that read it: ",
               "<span class='fresh-word'>green</span>, or <span class='stale-word'>red and dashed</span> ",
               "where there was a newer store. A step leads to its line of source, below.</p>\n<div class='trace'>\n",
               drawing, "</div>\n<h2>Every step</h2>\n");
    if (first > 0)
        page += joined("<details><summary>Steps 1 to ", first,
                       " set the scenario up, before its threads start</summary>\n", listed(0, first), "</details>\n");
    page += listed(first, steps.size());
    page += joined("<p>", escaped(how_it_ended.why),
                   "</p>\n<h2>This execution again</h2>\n<code class='token'>--replay &#39;", escaped(token),
                   "&#39;</code>\n</body>\n</html>\n");
    return page;
}

}  // namespace shm::model
