// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <orders.hpp>
#include <regex>
#include <set>
#include <source_text.hpp>
#include <stdexcept>
#include <tuple>

namespace shm::model {
namespace {

std::vector<const entry*> searched_completely(const engine& by, const std::string& family, const search& how) {
    std::vector<const entry*> found;
    for (const entry& scenario : scenarios()) {
        const bool ends = how.prune || scenario.how == form::tries;
        if (scenario.family == family && ends && by.usual(scenario.how) == search_kind::complete)
            found.push_back(&scenario);
    }
    return found;
}

/// The two orders of a compare-exchange are two sites of one operation.
auto position_of(const site& s) { return std::make_tuple(file_of(s.at), s.at.line(), s.at.column()); }

std::vector<named_site> name_sites() {
    std::vector<site> all;
    for (const auto& [key, s] : sites.seen())
        if (in_core(s.at)) all.push_back(s);
    std::sort(all.begin(), all.end(), [](const site& a, const site& b) {
        return std::tuple{position_of(a), a.kind} < std::tuple{position_of(b), b.kind};
    });
    std::vector<named_site> named;
    std::map<std::string, unsigned> count;
    for (const site& s : all) {
        const std::string function = function_of(s.at);
        named.push_back({function, ++count[function], s, comment_of(s.at, s.kind)});
    }
    return named;
}

/// Lines of the files that hold `known` sites on which an order stands that no scenario has executed.
std::vector<std::string> never_executed(const std::vector<named_site>& known) {
    static const std::regex ordered{R"(\b(relaxed|acquire|release|acq_rel|seq_cst)\b)"};
    static const std::regex operation{R"((\.|->)(load|store|exchange|compare_exchange_\w+|fetch_\w+)\(|await)"};
    std::map<std::string, std::set<std::uint_least32_t>> executed;
    for (const named_site& s : known) executed[s.where.at.file_name()].insert(s.where.at.line());
    std::vector<std::string> missing;
    for (const auto& [path, lines] : executed) {
        std::ifstream file{path};
        std::string text;
        for (std::uint_least32_t line = 1; std::getline(file, text); ++line) {
            const std::string code = text.substr(0, text.find("//"));
            if (std::regex_search(code, operation) && std::regex_search(code, ordered) && !lines.contains(line))
                missing.push_back(fmt::format("{}:{}", path.substr(path.rfind('/') + 1), line));
        }
    }
    return missing;
}

const char* operation_of(op kind) {
    switch (kind) {
        case op::load: return "load";
        case op::store: return "store";
        case op::rmw: return "read-modify-write";
        case op::cas_failure: return "compare-exchange, failure";
        case op::fence: return "fence";
    }
    return "";
}

}  // namespace

known_sites sites_of(engine& by, const std::string& family, const search& how) {
    known_sites known;
    sites.forget();
    for (const entry* scenario : searched_completely(by, family, how)) {
        const auto as_written = by.explore(*scenario, how);
        if (known.unsound.empty() && (as_written.failed || !as_written.exhausted))
            known.unsound = scenario->full_name();
    }
    known.sites = name_sites();
    return known;
}

void weaken(const std::string& token, const std::vector<named_site>& known) {
    sites.restore();
    if (token.empty()) return;
    for (const named_site& s : known)
        for (const auto order : one_step_weaker(s.where.kind, s.where.order))
            if (token == weakening{s, order, {}}.token()) {
                sites.weaken(key_of(s.where.at, s.where.kind), order);
                return;
            }
    throw std::invalid_argument("weakening: expected a site of docs/orders.md, found \"" + token + "\"");
}

orders_report weaken_every_order(const std::string& family, const std::vector<engine*>& engines, const search& how,
                                 const std::function<void(const std::string&)>& tell) {
    orders_report report{family, engines, {}, {}, {}, {}};
    std::vector<named_site> known;
    for (engine* const by : engines) {
        const auto met = sites_of(*by, family, how);
        if (report.unsound.empty()) report.unsound = met.unsound;
        if (known.empty()) known = met.sites;
    }
    if (!report.unsound.empty()) return report;
    report.never_executed = never_executed(known);
    for (const named_site& s : known) {
        const auto weaker = one_step_weaker(s.where.kind, s.where.order);
        if (weaker.empty()) report.relaxed.push_back(s);
        for (const auto order : weaker) {
            weakening& tried = report.weakenings.emplace_back(weakening{s, order, {}});
            if (tell) tell(tried.token());
            weaken(tried.token(), known);
            for (engine* const by : engines) {
                auto& found = tried.by_engine.emplace_back();
                for (const entry* scenario : searched_completely(*by, family, how)) {
                    const auto result = by->explore(*scenario, how);
                    if (result.broken) found.broken = scenario->full_name() + ": " + result.why;
                    if (result.failed && !result.broken) {
                        found.killer = scenario;
                        found.how = result;
                        break;
                    }
                    found.gave_up = found.gave_up || (!result.failed && !result.exhausted);
                }
            }
        }
    }
    weaken({}, known);
    return report;
}

std::string as_markdown(const std::vector<orders_report>& reports) {
    std::string page =
        "# Every memory order, and what fails without it\n\n"
        "Generated by `make orders` from the sites that the models execute; `make model-check` compares it. Each "
        "ordered\n"
        "operation of the library is run one step weaker than written. The scenario named is the first that fails "
        "then;\n"
        "an order that no scenario needed would be a finding, not a style. *Operation* counts the atomic operations "
        "of\n"
        "the function from 1; the success and the failure of a compare-exchange count apart.\n";
    const auto killed_by = [](const weakening::finding& found) {
        if (found.killer == nullptr) return std::string{"**nothing**"};
        const auto& why = found.how.why;
        return fmt::format("`{}`: {}", found.killer->full_name(),
                           why.starts_with("check failed")     ? "a check that failed"
                           : why.starts_with("waits for ever") ? "waits for ever"
                                                               : why);
    };
    for (const orders_report& report : reports) {
        page += fmt::format("\n## {}\n\n| edge | function | operation | order | weakened to |", report.family);
        for (const engine* by : report.engines) page += fmt::format(" killed under {} by |", by->name());
        page += "\n|---|---|---|---|---|";
        for (std::size_t i = 0; i < report.engines.size(); ++i) page += "---|";
        page += '\n';
        for (const weakening& w : report.weakenings) {
            page += fmt::format("| `{}` | `{}` | {} {} | {} | {} |", w.of.comment, w.of.function, w.of.ordinal,
                                operation_of(w.of.where.kind), name_of(w.of.where.order), name_of(w.to));
            for (const auto& found : w.by_engine) page += " " + killed_by(found) + " |";
            page += '\n';
        }
        page += "\nRelaxed, and why that is enough:\n\n| function | operation | because |\n|---|---|---|\n";
        for (const named_site& s : report.relaxed)
            page +=
                fmt::format("| `{}` | {} {} | {} |\n", s.function, s.ordinal, operation_of(s.where.kind), s.comment);
    }
    return page;
}

}  // namespace shm::model
