// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <tuple>

#include "checker/report/orders.hpp"
#include "checker/report/source_text.hpp"

namespace shm::model {
namespace {

std::vector<const entry*> searched_completely(const engine& by, const std::string& family) {
    std::vector<const entry*> found;
    for (const entry& scenario : scenarios()) {
        if (scenario.family == family && by.usual(scenario.how) == search_kind::complete) found.push_back(&scenario);
    }
    return found;
}

/// The names of all primitives, whether their scenarios are here or not.
std::set<std::string> primitives() {
    std::istringstream names{SHM_PRIMITIVES};
    return {std::istream_iterator<std::string>{names}, {}};
}

std::string file_name_of(const std::source_location& at) {
    const std::string path = at.file_name();
    return path.substr(path.rfind('/') + 1);
}

/// Whether a file is of this family: no other primitive's.
bool is_of(const std::string& family, const std::source_location& at) {
    const std::string file = file_name_of(at);
    const auto all = primitives();
    return file.starts_with(family) ||
           std::none_of(all.begin(), all.end(), [&](const std::string& other) { return file.starts_with(other); });
}

/// The two orders of a compare-exchange are two sites of one operation.
auto position_of(const site& s) { return std::make_tuple(file_of(s.at), s.at.line(), s.at.column()); }

std::vector<named_site> name_sites(const std::string& family, const std::map<site_key, site>& met) {
    std::vector<site> all;
    for (const auto& [key, s] : met)
        if (in_core(s.at) && is_of(family, s.at)) all.push_back(s);
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
std::vector<std::string> never_executed(const std::vector<named_site>& known,
                                        const std::vector<orders_report>& others) {
    static const std::regex ordered{R"(\b(relaxed|acquire|release|acq_rel|seq_cst)\b)"};
    static const std::regex operation{R"((\.|->)(load|store|exchange|compare_exchange_\w+|fetch_\w+)\(|await)"};
    std::map<std::string, std::set<std::uint_least32_t>> executed;
    const auto insert = [&executed](const named_site& s) {
        executed[s.where.at.file_name()].insert(s.where.at.line());
    };
    std::for_each(known.begin(), known.end(), insert);
    for (const orders_report& report : others) {
        std::for_each(report.relaxed.begin(), report.relaxed.end(), insert);
        for (const weakening& w : report.weakenings) insert(w.of);
    }
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

std::map<std::pair<const engine*, const entry*>, std::pair<outcome, std::map<site_key, site>>> remembered;

/// How many executions a search may have when `how` leaves that open.
search affordable_for(const engine& by, search how) {
    if (how.affordable == 0 || !by.has_smaller_searches()) how.affordable = by.affordable();
    return how;
}

}  // namespace

bool are_all_primitives(const std::set<std::string>& families) { return families == primitives(); }

void remember(const engine& by, const entry& scenario, const outcome& as_written, const std::map<site_key, site>& met) {
    remembered[{&by, &scenario}] = {as_written, met};
}

known_sites sites_of(engine& by, const std::string& family, search how, const progress& tell) {
    known_sites known;
    how = affordable_for(by, how);
    how.workers = 1;  // others would meet sites that this process does not hear of
    std::map<site_key, site> met;
    for (const entry* scenario : searched_completely(by, family)) {
        auto& [as_written, of_this_one] = remembered[{&by, scenario}];
        if (as_written.executions == 0) {
            sites.forget();
            as_written = by.explore(*scenario, how, tell);
            of_this_one = sites.seen();
        }
        met.insert(of_this_one.begin(), of_this_one.end());
        if (as_written.exhausted) {
            known.scenarios.push_back(scenario);
            auto& of_this = known.met.emplace_back();
            for (const auto& [key, s] : of_this_one) of_this.insert(key);
        } else if (as_written.failed || as_written.executions < how.affordable || !by.has_smaller_searches()) {
            known.unsound = known.unsound.empty() ? scenario->full_name() : known.unsound;
        } else {
            known.too_large = true;
        }
    }
    known.sites = name_sites(family, met);
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
                                 const std::vector<orders_report>& others, bool all_families,
                                 const std::function<void(const std::string&)>& tell, const progress& of_a_search) {
    // What several primitives share may be needed by one of them alone.
    const auto found_in_another = [&others](const std::string& token, const engine* by) {
        weakening::finding nothing;
        for (const orders_report& report : others)
            for (const weakening& w : report.weakenings)
                for (std::size_t i = 0; i < w.by_engine.size(); ++i) {
                    if (report.engines[i] != by || w.token() != token) continue;
                    if (w.by_engine[i].killer != nullptr) return w.by_engine[i];
                    nothing.elsewhere = nothing.elsewhere || report.may_miss(i, w.by_engine[i]);
                }
        return nothing;
    };
    orders_report report{family, engines, {}, {}, {}, {}, {}};
    std::vector<named_site> known;
    std::vector<known_sites> searched;
    for (engine* const by : engines) {
        const auto& met = searched.emplace_back(sites_of(*by, family, how, of_a_search));
        if (report.unsound.empty()) report.unsound = met.unsound;
        if (known.empty()) known = met.sites;
        report.has_searched_all.push_back(!met.too_large);
    }
    if (!report.unsound.empty()) return report;
    // A primitive whose scenarios are not run may be the one that needs what is shared.
    const auto left_to_others = [&](const std::string& file) { return !all_families && !file.starts_with(family); };
    report.never_executed = never_executed(known, others);
    std::erase_if(report.never_executed, left_to_others);
    for (const named_site& s : known) {
        const auto weaker = one_step_weaker(s.where.kind, s.where.order);
        if (weaker.empty()) report.relaxed.push_back(s);
        for (const auto order : weaker) {
            weakening& tried = report.weakenings.emplace_back(weakening{s, order, {}});
            if (tell) tell(tried.token());
            weaken(tried.token(), known);
            for (std::size_t i = 0; i < engines.size(); ++i) {
                auto& found = tried.by_engine.emplace_back(found_in_another(tried.token(), engines[i]));
                if (found.killer != nullptr) continue;
                const search affordable = affordable_for(*engines[i], how);
                for (std::size_t n = 0; n < searched[i].scenarios.size(); ++n) {
                    if (!searched[i].met[n].contains(key_of(s.where.at, s.where.kind))) continue;  // nothing changes
                    const entry* const scenario = searched[i].scenarios[n];
                    const auto result = engines[i]->explore(*scenario, affordable, of_a_search);
                    if (result.broken) found.broken = scenario->full_name() + ": " + result.why;
                    if (result.failed && !result.broken) {
                        found.killer = scenario;
                        found.how = result;
                        break;
                    }
                    found.gave_up = found.gave_up || (!result.failed && !result.exhausted);
                }
            }
            const bool survives = std::all_of(tried.by_engine.begin(), tried.by_engine.end(), [](const auto& found) {
                return found.killer == nullptr && found.broken.empty();
            });
            if (survives && left_to_others(file_name_of(s.where.at))) report.weakenings.pop_back();
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
    const auto killed_by = [](const weakening::finding& found, bool all) {
        if (found.killer == nullptr) return std::string{all ? "**nothing**" : "nothing that it can search"};
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
            for (std::size_t i = 0; i < w.by_engine.size(); ++i)
                page += " " + killed_by(w.by_engine[i], !report.may_miss(i, w.by_engine[i])) + " |";
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
