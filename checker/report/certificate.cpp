// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "checker/report/certificate.hpp"
#include "checker/report/sources.hpp"

namespace shm::model {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;

/// Of the families that this program holds. Their shards hold parts of any of them.
std::set<std::string> families() {
    std::set<std::string> names;
    for (const entry& scenario : scenarios()) names.insert(scenario.family);
    return names;
}

/// Throws when a part is not of the run that `first` is a part of.
void expect_same_run(const std::string& path, const json& part, const json& first) {
    const auto expect_same = [&path](const std::string& what, const json& expected, const json& found) {
        if (found != expected)
            throw std::invalid_argument(fmt::format("{}: expected a shard of a run with {} {}, found {}", path, what,
                                                    expected.dump(), found.dump()));
    };
    for (const auto& [family, hash] : first["sources_sha256"].items())
        expect_same("the sources of " + family, hash, part["sources_sha256"].value(family, json{}));
    expect_same("the compiler", first["compiler"], part["compiler"]);
    for (const auto& [option, value] : first["settings"].items())
        expect_same(option, value, part["settings"].value(option, json{}));
    expect_same("settings", first["settings"], part["settings"]);
    expect_same("a number of shards of", first["shard"]["of"], part["shard"]["of"]);
}

json read_certificate(const std::string& path) {
    std::ifstream file{path};
    json found = json::parse(file, nullptr, false);
    if (found.is_discarded() || !found.contains("sources_sha256") || !found.contains("settings") ||
        !found.contains("shard"))
        throw std::invalid_argument(fmt::format("{}: expected a certificate, found {}", path,
                                                file.is_open() ? "something else" : "no file that can be read"));
    return found;
}

}  // namespace

std::string in_words(const row& r) {
    if (r.judged == verdict::incomplete) return "cut off";
    if (r.how.shards != 1) return fmt::format("part {}/{}", r.how.shard, r.how.shards);
    switch (r.how.kind) {
        case search_kind::complete: return "complete";
        case search_kind::full: return "full";
        case search_kind::bounded:
            if (!r.was_cut_down()) return fmt::format("bounded {}", r.how.bound);
            if (r.asked.kind == search_kind::complete) return fmt::format("bounded {} of all", r.how.bound);
            return fmt::format("bounded {} of {}", r.how.bound, r.asked.bound);
        case search_kind::sampled: return "sampled";
    }
    return "";
}

std::string token_for(const engine& by, const entry& scenario, const search& how, const std::string& weakened,
                      const outcome& result) {
    const std::string kind = how.kind == search_kind::bounded    ? fmt::format("b{}", how.bound)
                             : how.kind == search_kind::complete ? "c"
                             : how.kind == search_kind::full     ? "f"
                                                                 : "s";
    return fmt::format("{},{},{},{},{}", by.name(), scenario.full_name(), kind, weakened.empty() ? "-" : weakened,
                       result.choices);
}

std::optional<fs::path> newer_source() {
    const auto built = fs::last_write_time("/proc/self/exe");
    for (const std::string& family : families())
        for (const auto& file : sources_of(family))
            if (fs::last_write_time(file) > built) return file;
    return std::nullopt;
}

std::string certificate(const std::vector<row>& rows, const std::vector<orders_report>& orders, shard_of shard,
                        const settings& asked) {
    json report;
    for (const std::string& family : families()) report["sources_sha256"][family] = hash_of_sources(family);
    report["compiler"] = __VERSION__;
    report["settings"] = json::object();
    for (const auto& [option, value] : asked) report["settings"][option] = value;
    report["shard"] = {{"index", shard.index}, {"of", shard.count}};
    report["searches"] = shard.searches;
    report["scenarios"] = json::array();
    for (const row& r : rows)
        report["scenarios"].push_back({{"family", r.scenario->family},
                                       {"scenario", r.scenario->full_name()},
                                       {"invariant", r.scenario->invariant},
                                       {"threads", r.scenario->threads},
                                       {"engine", r.by->name()},
                                       {"search", in_words(r)},
                                       {"cut_down", r.was_cut_down()},
                                       {"larger_search_given_up_after", r.was_cut_down() ? r.asked.affordable : 0},
                                       {"executions", r.result.executions},
                                       {"redundant", r.result.redundant},
                                       {"blocked", r.result.blocked},
                                       {"exhausted", r.result.exhausted},
                                       {"seconds", r.seconds},
                                       {"verdict", r.says},
                                       {"why", r.result.why},
                                       {"replay", r.token}});
    report["weakenings"] = json::array();
    for (const orders_report& family : orders)
        for (const weakening& w : family.weakenings)
            for (std::size_t i = 0; i < w.by_engine.size(); ++i) {
                const auto& found = w.by_engine[i];
                const engine& by = *family.engines[i];
                const bool killed = found.killer != nullptr;
                report["weakenings"].push_back(
                    {{"family", family.family},
                     {"site", w.of.name()},
                     {"edge", w.of.comment},
                     {"order", name_of(w.of.where.order)},
                     {"weakened_to", name_of(w.to)},
                     {"engine", by.name()},
                     {"killed_by", killed ? found.killer->full_name() : ""},
                     {"may_miss", family.may_miss(i, found)},
                     {"why", killed ? found.how.why : ""},
                     {"executions", found.how.executions},
                     {"replay", killed ? token_for(by, *found.killer, search{}, w.token(), found.how) : ""}});
            }
    return report.dump(2) + "\n";
}

std::string page_of(const std::string& certificate) {
    const json report = json::parse(certificate);
    const auto shard = report["shard"]["index"].get<unsigned>(), of = report["shard"]["of"].get<unsigned>();
    std::vector<std::string> asked;
    for (const auto& [option, value] : report["settings"].items())
        asked.push_back(fmt::format("{} `{}`", option, value.get<std::string>()));
    std::string page = fmt::format(
        "# What the model check has shown\n\n"
        "Compiled by {}{}; {}.\n\n"
        "| scenario | must always hold | threads | engine | search | executions | seconds | verdict |\n"
        "|---|---|---|---|---|---|---|---|\n",
        report["compiler"].get<std::string>(), of == 1 ? "" : fmt::format(", **shard {} of {}**", shard, of),
        fmt::join(asked, ", "));
    for (const json& r : report["scenarios"])
        page +=
            fmt::format("| `{}` | {} | {} | {} | {} | {} | {:.2f} | {} |\n", r["scenario"].get<std::string>(),
                        r["invariant"].get<std::string>(), r["threads"].get<unsigned>(), r["engine"].get<std::string>(),
                        r["search"].get<std::string>(), r["executions"].get<std::uint64_t>(),
                        r["seconds"].get<double>(), r["verdict"].get<std::string>());
    page += "\n| model | SHA-256 over the sources that its verdicts depend on |\n|---|---|\n";
    for (const auto& [family, hash] : report["sources_sha256"].items())
        page += fmt::format("| {} | `{}` |\n", family, hash.get<std::string>());
    page += "\n| order | weakened to | engine | killed by | as |\n|---|---|---|---|---|\n";
    for (const json& w : report["weakenings"])
        page += fmt::format("| `{}` {} {} | {} | {} | {} | {} |\n", w["site"].get<std::string>(),
                            w["edge"].get<std::string>(), w["order"].get<std::string>(),
                            w["weakened_to"].get<std::string>(), w["engine"].get<std::string>(),
                            w["killed_by"] == "" ? "**nothing**" : "`" + w["killed_by"].get<std::string>() + "`",
                            w["why"].get<std::string>());
    return page;
}

merged merge(const std::vector<std::string>& files) {
    std::map<unsigned, json> parts;
    for (const std::string& path : files) {
        json part = read_certificate(path);
        if (!parts.empty()) expect_same_run(path, part, parts.begin()->second);
        const auto index = part["shard"]["index"].get<unsigned>();
        if (!parts.emplace(index, std::move(part)).second)
            throw std::invalid_argument(fmt::format("{}: expected another shard, found {} again", path, index));
    }
    const auto count = parts.begin()->second["shard"]["of"].get<unsigned>();
    std::string missing;
    for (unsigned index = 0; index < count; ++index)
        if (!parts.contains(index)) missing += fmt::format("{}{}", missing.empty() ? "" : ", ", index);

    json whole = parts.begin()->second;
    whole["shard"] = {{"index", 0}, {"of", 1}};
    whole["scenarios"] = json::array();
    whole["weakenings"] = json::array();
    std::map<std::string, std::size_t> known;
    std::map<std::string, unsigned> parts_of;
    for (const auto& [index, part] : parts) {
        for (const json& w : part["weakenings"]) whole["weakenings"].push_back(w);
        for (const json& more : part["scenarios"]) {
            const std::string key = more["scenario"].get<std::string>() + "/" + more["engine"].get<std::string>();
            const auto [place, fresh] = known.try_emplace(key, whole["scenarios"].size());
            ++parts_of[key];
            if (fresh) {
                whole["scenarios"].push_back(more);
                continue;
            }
            json& sum = whole["scenarios"][place->second];
            for (const char* number : {"executions", "redundant", "blocked"})
                sum[number] = sum[number].get<std::uint64_t>() + more[number].get<std::uint64_t>();
            sum["seconds"] = sum["seconds"].get<double>() + more["seconds"].get<double>();
            sum["exhausted"] = sum["exhausted"].get<bool>() && more["exhausted"].get<bool>();
            const auto fails = [](const json& r) { return r["verdict"].get<std::string>().starts_with("FAIL"); };
            if (!fails(sum) && more["verdict"] != "PASS")
                for (const char* text : {"verdict", "why", "replay", "search"}) sum[text] = more[text];
        }
    }

    merged result{{}, {}, verdict::pass};
    std::set<std::string> verdicts;
    std::size_t width = 8;
    for (const json& r : whole["scenarios"]) width = std::max(width, r["scenario"].get<std::string>().size());
    result.table = fmt::format("{:<{}}  engine   executions  search       verdict\n", "scenario", width);
    for (json& r : whole["scenarios"]) {
        const bool split = r["search"].get<std::string>().starts_with("part ");
        const bool all = parts_of[r["scenario"].get<std::string>() + "/" + r["engine"].get<std::string>()] == count;
        if (split) r["search"] = all ? "complete" : "cut off";
        if (split && !all && r["verdict"] == "PASS") r["verdict"] = "INCOMPLETE";
        const auto says = r["verdict"].get<std::string>();
        if (says.starts_with("FAIL")) result.judged = verdict::fail;
        if (says == "INCOMPLETE" && result.judged == verdict::pass) result.judged = verdict::incomplete;
        result.table += fmt::format("{:<{}}  {:<7}  {:>10}  {:<11}  {}\n", r["scenario"].get<std::string>(), width,
                                    r["engine"].get<std::string>(), r["executions"].get<std::uint64_t>(),
                                    r["search"].get<std::string>(), says);
    }
    std::size_t killed = 0, missed = 0;
    for (const json& w : whole["weakenings"]) {
        killed += w["killed_by"] != "" ? 1 : 0;
        missed += w["may_miss"].get<bool>() ? 1 : 0;
    }
    if (killed + missed != whole["weakenings"].size()) result.judged = verdict::fail;
    result.table += fmt::format("memory orders weakened: {}, {} killed\n", whole["weakenings"].size(), killed);
    if (const auto expected = whole["searches"].get<std::size_t>(); whole["scenarios"].size() != expected) {
        result.table += fmt::format("searches: expected {}, found {}\n", expected, whole["scenarios"].size());
        if (result.judged == verdict::pass) result.judged = verdict::incomplete;
    }
    if (!missing.empty()) {
        result.table += fmt::format("of {} shards missing: {}\n", count, missing);
        if (result.judged == verdict::pass) result.judged = verdict::incomplete;
    }
    whole["missing_shards"] = missing;
    result.text = whole.dump(2) + "\n";
    return result;
}

}  // namespace shm::model
