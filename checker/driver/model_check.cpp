// SPDX-License-Identifier: MIT OR Apache-2.0
// Runs every scenario of this program under its engine and says what was proven, and how far.
#include <gtest/gtest.h>
#include <sys/time.h>
#include <unistd.h>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "checker/report/certificate.hpp"
#include "checker/report/orders.hpp"
#include "checker/report/trace.hpp"

namespace shm::model {
namespace {

enum exit_code : int { passed = 0, failed = 1, wrong_usage = 2, incomplete = 3 };

struct options {
    bool list = false;
    bool no_orders = false;
    std::string only;
    std::string engine;
    std::optional<unsigned> bound;
    std::optional<std::uint64_t> executions;
    std::uint64_t random = 0;
    std::uint64_t seed = 1;
    std::optional<double> seconds;
    unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
    unsigned ineffective_rounds = 0;
    std::string shard;
    std::vector<std::string> merge;
    std::string replay;
    std::string html;
    std::string json;
    std::string page;
    std::string write_orders;
    std::string compare_orders;
};
options chosen;
shard_of shard;

constexpr unsigned usual_bound = 3;

std::vector<row> rows;
std::vector<orders_report> orders;

using steady = std::chrono::steady_clock;

/// What runs now, as the how many'th of how many, and the time so far: one line that is rewritten on a terminal, and a line
/// every few seconds elsewhere.
class progress_line {
public:
    void will_take(int steps) { steps_ = steps; }

    /// The next step begins. Its search is stuck when nothing is shown of it for a long time.
    void next(const std::string& what) {
        ++step_;
        what_ = what;
        if (on_terminal_) write("");
    }
    void show(const std::string& how_far) {
        const auto now = steady::now();
        if (now - last_ < (on_terminal_ ? std::chrono::milliseconds{100} : std::chrono::milliseconds{5000})) return;
        write(": " + how_far);
    }
    void clear() const {
        if (on_terminal_) std::fputs("\r\033[K", stderr);
    }
    [[nodiscard]] double seconds() const { return std::chrono::duration<double>(steady::now() - began_).count(); }

private:
    void write(const std::string& how_far) {
        last_ = steady::now();
        const auto text = fmt::format("{} of {}, {:.0f} s: {}{}", step_, steps_, seconds(), what_, how_far);
        std::fprintf(stderr, on_terminal_ ? "\r\033[K%s" : "%s\n", text.c_str());
        std::fflush(stderr);
    }

    bool on_terminal_ = isatty(STDERR_FILENO) != 0;
    int step_ = 0, steps_ = 0;
    std::string what_;
    steady::time_point began_ = steady::now(), last_ = began_;
};
progress_line line;

/// Which tests run is known only then: --gtest_filter and shards leave some out.
class counts_steps : public testing::EmptyTestEventListener {
    void OnTestIterationStart(const testing::UnitTest& all, int) override { line.will_take(all.test_to_run_count()); }
};

/// Ends the program, with the name of what runs, when no execution comes to its end: a loop without an end in which no
/// atomic operation is, which no engine can interrupt. It counts CPU time, so that a busy machine is not mistaken for
/// that. A worker, which is another process, ends itself; the search then fails, and the program goes on.
class watchdog {
public:
    explicit watchdog(const std::string& watched) {
        std::snprintf(last_words, sizeof last_words,
                      "\nmodel-check: expected an execution of %s to end, found none that ends\nFAIL\n",
                      watched.c_str());
        std::signal(SIGPROF, [](int) { give_up(); });
        restart(cpu_seconds);
    }
    ~watchdog() { restart(0); }
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;

    void heard() { restart(cpu_seconds); }

    static constexpr long cpu_seconds = 60;

private:
    [[noreturn]] static void give_up() {
        (void)!::write(STDERR_FILENO, last_words, std::strlen(last_words));
        ::_exit(failed);
    }
    static void restart(long seconds) {
        const itimerval once{{0, 0}, {seconds, 0}};
        setitimer(ITIMER_PROF, &once, nullptr);
    }

    static inline char last_words[400];
};

std::vector<engine*> chosen_engines() {
    std::vector<engine*> found;
    for (engine* const by : engines())
        if (chosen.engine.empty() || chosen.engine == by->name()) found.push_back(by);
    return found;
}

bool selected(const entry& scenario) {
    return chosen.only.empty() || scenario.full_name().find(chosen.only) != std::string::npos;
}

/// Only explore knows which rounds are ineffective.
void go_on_ineffectively(search& how, const engine& by) {
    if (chosen.ineffective_rounds == 0 || &by != &explore_engine()) return;
    how.kind = search_kind::bounded;
    how.bound = chosen.ineffective_rounds;
}

/// How many executions a search may have, and how many seconds: these only when they are asked for, since they find less
/// on a slower machine.
void limit(search& how, const engine& by) {
    how.affordable = by.affordable();
    if (by.has_smaller_searches()) how.affordable = chosen.executions.value_or(how.affordable);
    if (!chosen.seconds) return;
    how.seconds = *chosen.seconds;
    if (!by.has_smaller_searches()) how.affordable = 0;
}

search search_for(const engine& by, const entry& scenario) {
    search how;
    how.kind = by.usual(scenario.how);
    how.bound = chosen.bound.value_or(usual_bound);
    go_on_ineffectively(how, by);
    limit(how, by);
    how.seed = chosen.seed;
    how.workers = chosen.jobs;
    how.cpu_seconds = watchdog::cpu_seconds;
    if (by.can_split() && !scenario.is_litmus()) {
        how.shard = shard.index;
        how.shards = shard.count;
    }
    if (chosen.random != 0 && !scenario.is_litmus() && by.can(search_kind::sampled)) {
        how.kind = search_kind::sampled;
        how.executions = chosen.random;
        how.affordable = 0;
    }
    return how;
}

/// A search that has come to its end, or failed, or has been cut off; and what had been asked for.
struct searched {
    search how;
    outcome result;
    std::optional<outcome> of_all{};  // of the complete search, though a smaller one came after it
};

/// Tries what is asked for. Where that has more executions than are affordable, and the engine knows smaller searches: all
/// executions with one preemption, however many they are, then with two, and so on up to the last that is affordable; one
/// more preemption has several times as many, so what will not be affordable is not tried. A bound that the user has asked
/// for is kept, whatever it costs.
searched search_as_far_as_affordable(engine& by, const entry& scenario, const search& asked, const progress& tell) {
    const auto try_out = [&](const search& how) { return searched{how, by.explore(scenario, how, tell)}; };
    const auto is_over = [](const searched& s) { return s.result.failed || s.result.exhausted; };
    const bool may_be_smaller = by.has_smaller_searches() && asked.kind != search_kind::sampled;
    std::optional<outcome> of_all;
    search largest = asked;
    if (largest.kind == search_kind::bounded && chosen.bound) largest.affordable = 0;
    if (!may_be_smaller || largest.kind != search_kind::bounded || largest.affordable == 0) {
        searched whole = try_out(largest);
        if (is_over(whole) || !may_be_smaller || largest.affordable == 0 ||
            whole.result.executions < largest.affordable)
            return whole;
        largest.kind = search_kind::bounded;
        of_all = whole.result;
    }
    search how = largest;
    how.affordable = 0;
    if (!chosen.bound) how.bound = std::min(1U, how.bound);
    searched found = try_out(how);
    how.affordable = asked.affordable;
    constexpr unsigned least_growth = 4;
    while (found.result.exhausted && how.bound < largest.bound &&
           found.result.executions <= how.affordable / least_growth) {
        ++how.bound;
        const searched more = try_out(how);
        if (!is_over(more) && more.result.executions >= how.affordable) break;
        found = more;
    }
    found.of_all = of_all;
    return found;
}

/// False, and one sentence, when the file cannot be written whole.
bool write_file(const std::string& path, const std::string& text) {
    std::ofstream file{path};
    file << text << std::flush;
    if (file) return true;
    fmt::print(stderr, "{}: expected a file that can be written, found: {}\n", path, std::strerror(errno));
    return false;
}

/// The trace of one execution; with --html, as a page too.
std::string explain(engine& by, const entry& scenario, const search& how, const std::string& token,
                    const std::string& choices, outcome& result) {
    recording execution;
    result = by.replay(scenario, how, choices, execution);
    if (!chosen.html.empty() && write_file(chosen.html, trace_page(scenario, execution, result, token)))
        fmt::print(stderr, "drawn in {}\n", chosen.html);
    return trace_of(scenario, execution, result);
}

/// A worker that has ended leaves no execution behind.
bool can_be_replayed(const outcome& result) { return result.failed && !(result.broken && result.choices.empty()); }

row judge(engine& by, const entry& scenario, const search& how, const outcome& result) {
    row judged{&scenario, &by, how, result, verdict::pass, "PASS", {}};
    if (can_be_replayed(result)) judged.token = token_for(by, scenario, how, {}, result);
    const auto decide = [&](verdict v, std::string says) {
        judged.judged = v;
        judged.says = std::move(says);
    };
    if (result.broken) {
        decide(verdict::fail, "FAIL: " + result.why);
    } else if (!result.failed && result.exhausted && result.executions == 0 && result.blocked != 0 && how.shards == 1) {
        decide(verdict::fail, "FAIL: no execution comes to its end");
    } else if (!result.failed && !result.exhausted) {
        decide(verdict::incomplete, "INCOMPLETE");
    } else if (!scenario.is_litmus()) {
        if (result.failed) decide(verdict::fail, "FAIL");
    } else if (!scenario.litmus_allowed) {
        decide(result.failed ? verdict::fail : verdict::pass,
               result.failed ? "FAIL: C++ forbids it, seen" : "PASS: forbidden, never seen");
    } else if (by.blind_to(scenario.name)) {
        decide(result.failed ? verdict::fail : verdict::pass,
               result.failed ? "FAIL: seen, though listed as not seen" : "PASS: allowed, NOT SEEN by this engine");
    } else {
        decide(result.failed ? verdict::pass : verdict::fail,
               result.failed ? "PASS: allowed, seen" : "FAIL: allowed, not seen: the engine has gone blind");
    }
    return judged;
}

std::size_t width_of_names = 8;

void print_header() {
    for (const entry& scenario : scenarios())
        if (selected(scenario)) width_of_names = std::max(width_of_names, scenario.full_name().size());
    fmt::print("{:<{}}  threads  engine   executions  search             seconds  verdict\n", "scenario",
               width_of_names);
    std::fflush(stdout);
}

void print_row(const row& r) {
    fmt::print("{:<{}}  {:>7}  {:<7}  {:>10}  {:<16}  {:>8.2f}  {}\n", r.scenario->full_name(), width_of_names,
               r.scenario->threads, r.by->name(), r.result.executions, in_words(r), r.seconds, r.says);
    std::fflush(stdout);
}

void print_orders(const orders_report& report) {
    fmt::print("{}: {} memory orders weakened one step", report.family, report.weakenings.size());
    for (std::size_t i = 0; i < report.engines.size(); ++i)
        fmt::print(", {} killed under {}",
                   std::count_if(report.weakenings.begin(), report.weakenings.end(),
                                 [i](const weakening& w) { return w.by_engine[i].killer != nullptr; }),
                   report.engines[i]->name());
    fmt::print(" (docs/orders.md)\n");
    std::fflush(stdout);
}

class scenario_test : public testing::Test {
public:
    scenario_test(engine& by, const entry& scenario) : by_{by}, scenario_{scenario} {}
    void TestBody() override {
        const std::string named = fmt::format("{} under {}", scenario_.full_name(), by_.name());
        const search asked = search_for(by_, scenario_);
        const auto began = steady::now();
        line.next(named);
        searched found;
        {
            watchdog over{named};
            sites.forget();
            found = search_as_far_as_affordable(by_, scenario_, asked, [&](const outcome& so_far) {
                over.heard();
                line.show(fmt::format("{} executions, {:.0f} s", so_far.executions, so_far.seconds));
            });
        }
        line.clear();
        const auto& [how, result, of_all] = found;
        row& judged = rows.emplace_back(judge(by_, scenario_, how, result));
        judged.asked = asked;
        if (asked.kind == search_kind::complete && (how.workers == 1 || !by_.can_split()) && how.shards == 1)
            remember(by_, scenario_, of_all.value_or(result), sites.seen());
        judged.seconds = std::chrono::duration<double>(steady::now() - began).count();
        print_row(judged);
        if (judged.judged == verdict::incomplete)
            ADD_FAILURE() << scenario_.full_name() << ": INCOMPLETE: " << result.executions << " executions in "
                          << result.seconds << " s did not exhaust the search; --seconds allows more";
        if (judged.judged != verdict::fail) return;
        std::string why = judged.says;
        if (can_be_replayed(result)) {
            outcome again;
            why = explain(by_, scenario_, how, judged.token, result.choices, again) + "\nreplay: --replay " +
                  judged.token;
        }
        ADD_FAILURE() << why;
    }

private:
    engine& by_;
    const entry& scenario_;
};

double seconds_of_orders = 0;

search weakened_search() {
    search how;
    if (chosen.seconds) how.seconds = *chosen.seconds;
    how.affordable = chosen.executions.value_or(0);
    how.workers = chosen.jobs;
    how.cpu_seconds = watchdog::cpu_seconds;
    go_on_ineffectively(how, explore_engine());
    return how;
}

class orders_test : public testing::Test {
public:
    orders_test(std::string family, bool all_families) : family_{std::move(family)}, all_families_{all_families} {}
    void TestBody() override {
        line.next("the memory orders of " + family_);
        std::optional<watchdog> over{std::in_place, "a scenario of " + family_};
        const auto tell = [&over](const std::string& tried) {
            over.reset();
            over.emplace("a scenario with " + tried);
            line.show("with " + tried);
        };
        const auto began = steady::now();
        const auto& report =
            orders.emplace_back(weaken_every_order(family_, chosen_engines(), weakened_search(), orders, all_families_,
                                                   tell, [&over](const outcome&) { over->heard(); }));
        over.reset();
        line.clear();
        seconds_of_orders += std::chrono::duration<double>(steady::now() - began).count();
        print_orders(report);
        if (!report.unsound.empty())
            ADD_FAILURE() << report.unsound << " does not pass as written, so no weakening says anything";
        for (const weakening& w : report.weakenings)
            for (std::size_t i = 0; i < w.by_engine.size(); ++i) {
                const auto& found = w.by_engine[i];
                if (found.killer != nullptr || report.may_miss(i, found)) continue;
                ADD_FAILURE() << w.token() << " " << w.of.comment << ": " << report.engines[i]->name() << ": "
                              << (!found.broken.empty() ? found.broken
                                  : found.gave_up       ? "INCOMPLETE: a search ran out of time"
                                                        : "NOT NEEDED by any scenario");
            }
        for (const auto& where : report.never_executed)
            ADD_FAILURE() << where << ": no scenario executes this ordered operation";
    }

private:
    std::string family_;
    bool all_families_;
};

void register_tests() {
    // A shard takes its part of each search that can be split, and every so many'th of the rest.
    unsigned turn = 0;
    const auto mine = [&turn] { return turn++ % shard.count == shard.index; };
    std::set<std::string> whole;
    for (const entry& scenario : scenarios())
        if (!scenario.is_litmus()) whole.insert(scenario.family);
    for (const entry& scenario : scenarios()) {
        if (!selected(scenario)) {
            whole.erase(scenario.family);
            continue;
        }
        for (engine* const by : chosen_engines()) {
            ++shard.searches;
            if ((!by->can_split() || scenario.is_litmus()) && !mine()) continue;
            testing::RegisterTest(scenario.family.c_str(), (scenario.full_name() + "/" + by->name()).c_str(), nullptr,
                                  nullptr, __FILE__, __LINE__,
                                  [&scenario, by]() -> testing::Test* { return new scenario_test{*by, scenario}; });
        }
    }
    if (chosen.random != 0 || chosen.no_orders) return;
    if (!mine()) return;
    for (const auto& family : whole)  // one after another: what they share may be needed by one of them alone
        testing::RegisterTest(
            family.c_str(), "every_order_is_needed", nullptr, nullptr, __FILE__, __LINE__,
            [family, all = are_all_primitives(whole)]() -> testing::Test* { return new orders_test{family, all}; });
}

/// "complete", "bounded 2", ...: how many searches of an engine there were of each.
std::string searches_of(const engine& by) {
    std::map<std::string, std::size_t> count;
    for (const row& r : rows)
        if (r.by == &by) ++count[in_words(r).substr(0, in_words(r).find(" of "))];
    std::string text;
    for (const auto& [kind, number] : count) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", number, kind);
    return text;
}

void print_summary() {
    for (const engine* const by : chosen_engines()) {
        double seconds = 0;
        std::size_t cut_down = 0;
        for (const row& r : rows) {
            if (r.by != by) continue;
            seconds += r.seconds;
            cut_down += r.was_cut_down() ? 1 : 0;
        }
        fmt::print("{}: {}; {:.1f} s", by->name(), searches_of(*by), seconds);
        if (cut_down != 0)
            fmt::print("; {} cut down, since a larger search has more than {} executions, or would (--executions)",
                       cut_down, chosen.executions.value_or(by->affordable()));
        fmt::print("\n");
    }
    if (!orders.empty()) fmt::print("memory orders weakened: {:.1f} s\n", seconds_of_orders);
    fmt::print("{} rows; {:.1f} s in all\n", rows.size(), line.seconds());
    fmt::print(
        "complete: every interleaving, and every value that the engine's model lets a load see; explore counts each\n"
        "execution once, Relacy each order of its steps. bounded n: all with at most n preemptions under Relacy, n\n"
        "ineffective rounds under explore; bounded n of m, or of all: the larger search has too many executions. "
        "sampled:\n"
        "that many at random. The litmus rows say what the engine cannot see.\n");
}

/// What decides what is found. --jobs does not, and --shard is said apart.
settings all_settings() {
    const auto said = [](const std::string& text) { return text.empty() ? "all" : text; };
    const auto variable = [](const char* name) { return std::getenv(name) != nullptr ? std::getenv(name) : "0"; };
    return {{"--only", said(chosen.only)},
            {"--engine", said(chosen.engine)},
            {"--seconds", chosen.seconds ? fmt::to_string(*chosen.seconds) : "any number"},
            {"--bound", chosen.bound ? fmt::to_string(*chosen.bound) : fmt::format("up to {}", usual_bound)},
            {"--executions", chosen.executions ? fmt::to_string(*chosen.executions) : "as usual"},
            {"--random", fmt::to_string(chosen.random)},
            {"--seed", fmt::to_string(chosen.seed)},
            {"--ineffective-rounds", fmt::to_string(chosen.ineffective_rounds)},
            {"--no-orders", chosen.no_orders ? "yes" : "no"},
            {"--gtest_filter", GTEST_FLAG_GET(filter)},
            {"GTEST_TOTAL_SHARDS", variable("GTEST_TOTAL_SHARDS")},
            {"GTEST_SHARD_INDEX", variable("GTEST_SHARD_INDEX")}};
}

std::string read_file(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream{path}.rdbuf();
    return text.str();
}

int replay_token(const std::string& token) {
    std::vector<std::string> parts;
    std::istringstream text{token};
    for (std::string part; std::getline(text, part, ',');) parts.push_back(part);
    if (parts.size() == 4) parts.emplace_back();
    if (parts.size() != 5) {
        fmt::print(stderr, "--replay: expected engine,scenario,search,weakening,choices, found \"{}\"\n", token);
        return wrong_usage;
    }
    const auto by =
        std::find_if(engines().begin(), engines().end(), [&](const engine* e) { return e->name() == parts.front(); });
    if (by == engines().end()) {
        fmt::print(stderr, "--replay: expected the name of an engine, found \"{}\"\n", parts.front());
        return wrong_usage;
    }
    parts.erase(parts.begin());
    const auto found = std::find_if(scenarios().begin(), scenarios().end(),
                                    [&](const entry& scenario) { return scenario.full_name() == parts[0]; });
    if (found == scenarios().end()) {
        fmt::print(stderr, "--replay: expected a scenario of --list, found \"{}\"\n", parts[0]);
        return wrong_usage;
    }
    search how;
    switch (parts[1].empty() ? '?' : parts[1][0]) {
        case 'c': how.kind = search_kind::complete; break;
        case 'f': how.kind = search_kind::full; break;
        case 's': how.kind = search_kind::sampled; break;
        case 'b':
            how.kind = search_kind::bounded;
            how.bound = static_cast<unsigned>(std::strtoul(parts[1].c_str() + 1, nullptr, 10));
            break;
        default:
            fmt::print(stderr, "--replay: expected the search c, f, s or b followed by its bound, found \"{}\"\n",
                       parts[1]);
            return wrong_usage;
    }
    try {
        if (parts[2] != "-") weaken(parts[2], sites_of(**by, found->family, weakened_search()).sites);
        outcome result;
        fmt::print("{}", explain(**by, *found, how, token, parts[3], result));
        fmt::print("\n{}\n", result.failed ? "FAIL, as the token promised" : "PASS: this execution does not fail");
        return result.failed ? failed : passed;
    } catch (const std::exception& e) {
        fmt::print(stderr, "--replay: {}\n", e.what());
        return wrong_usage;
    }
}

int conclude() {
    bool any_failed = false, any_incomplete = false;
    for (const row& r : rows) {
        any_failed = any_failed || r.judged == verdict::fail;
        any_incomplete = any_incomplete || r.judged == verdict::incomplete;
    }
    for (const orders_report& report : orders) {
        for (const weakening& w : report.weakenings)
            for (std::size_t i = 0; i < w.by_engine.size(); ++i) {
                const auto& found = w.by_engine[i];
                if (report.may_miss(i, found)) continue;
                const bool cut_off = found.killer == nullptr && found.gave_up && found.broken.empty();
                any_incomplete = any_incomplete || cut_off;
                any_failed = any_failed || (found.killer == nullptr && !cut_off);
            }
        any_failed = any_failed || !report.never_executed.empty() || !report.unsound.empty();
    }
    if (!chosen.json.empty() || !chosen.page.empty()) {
        const std::string text = certificate(rows, orders, shard, all_settings());
        if (!chosen.json.empty() && !write_file(chosen.json, text)) any_failed = true;
        if (!chosen.page.empty() && !write_file(chosen.page, page_of(text))) any_failed = true;
    }
    const bool sharded = std::getenv("GTEST_TOTAL_SHARDS") != nullptr || shard.count > 1;
    const bool whole = chosen.ineffective_rounds == 0 && !orders.empty() && chosen.only.empty() &&
                       chosen.engine.empty() && !sharded && !chosen.executions && !chosen.seconds;
    const std::string page = as_markdown(orders);
    for (const std::string& asked : {chosen.write_orders, chosen.compare_orders})
        if (!asked.empty() && !whole)
            fmt::print("{}: left alone, because this is not the whole run that it is about\n", asked);
    if (whole && !chosen.write_orders.empty() && !write_file(chosen.write_orders, page)) any_failed = true;
    if (whole && !chosen.compare_orders.empty() && read_file(chosen.compare_orders) != page) {
        fmt::print("{}: expected what this run found, found another text; `make orders` writes it\n",
                   chosen.compare_orders);
        any_failed = true;
    }
    if (rows.empty() && orders.empty()) {
        fmt::print("nothing ran{}\n", sharded ? " in this shard" : "");
        return sharded ? passed : wrong_usage;
    }
    return any_failed ? failed : any_incomplete ? incomplete : passed;
}

int merge_files() {
    try {
        const merged all = merge(chosen.merge);
        fmt::print("{}", all.table);
        if (!chosen.json.empty() && !write_file(chosen.json, all.text)) return wrong_usage;
        if (!chosen.page.empty() && !write_file(chosen.page, page_of(all.text))) return wrong_usage;
        fmt::print("{}\n", all.judged == verdict::pass ? "PASS" : all.judged == verdict::fail ? "FAIL" : "INCOMPLETE");
        return all.judged == verdict::pass ? passed : all.judged == verdict::fail ? failed : incomplete;
    } catch (const std::exception& e) {
        fmt::print(stderr, "--merge: {}\n", e.what());
        return wrong_usage;
    }
}

int run(int argc, char** argv) {
    CLI::App app{
        "Runs every scenario under each engine and says what was proven, and how far.\n"
        "Exit status: 0 all passed, 1 something failed, 2 wrong usage, 3 nothing failed but a search was "
        "incomplete.\nGTEST_TOTAL_SHARDS and GTEST_SHARD_INDEX spread the scenarios over machines."};
    app.add_flag("--list", chosen.list, "List the scenarios and what must always hold in each");
    app.add_option("--only", chosen.only, "Only scenarios whose name contains this");
    std::vector<std::string> names;
    for (const engine* const by : engines()) names.emplace_back(by->name());
    app.add_option("--engine", chosen.engine, "Only this engine")->check(CLI::IsMember(names));
    app.add_option("--bound", chosen.bound,
                   fmt::format("Relacy: exactly so many preemptions where it does not search completely, whatever that "
                               "costs; else up to {}",
                               usual_bound));
    app.add_option("--executions", chosen.executions,
                   fmt::format("Relacy: what a search may cost before a smaller one is made; else {}. That with one "
                               "preemption may cost more",
                               relacy_engine().affordable()))
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 60));
    app.add_option("--random", chosen.random, "Sample this many executions instead of searching");
    app.add_option("--seed", chosen.seed, "Of the sample");
    app.add_flag("--no-orders", chosen.no_orders, "Do not weaken the memory orders");
    app.add_option("--seconds", chosen.seconds,
                   fmt::format("For each search; then it is INCOMPLETE. Else it may have any number of them, and under "
                               "explore {} executions",
                               explore_engine().affordable()))
        ->check(CLI::Range(0.001, 1e6));
    app.add_option("-j,--jobs", chosen.jobs, "Processes for one search; every CPU if not said")
        ->check(CLI::Range(1, 1024));
    app.add_option("--ineffective-rounds", chosen.ineffective_rounds,
                   "explore: allow N ineffective rounds per execution before it is pruned");
    app.add_option("--shard", chosen.shard, "Only part i of n, as i/n from 0/n on; --json keeps what it found");
    app.add_option("--merge", chosen.merge, "Make one certificate of those of all shards; --json says where");
    app.add_option("--replay", chosen.replay, "Show the one execution that this token stands for");
    app.add_option("--html", chosen.html, "Draw the last failure, or what --replay shows, here");
    app.add_option("--json", chosen.json, "Write a certificate here");
    app.add_option("--page", chosen.page, "Write it for people to read here");
    app.add_option("--write-orders", chosen.write_orders, "Write what docs/orders.md must say here");
    app.add_option("--compare-orders", chosen.compare_orders, "Fail unless this file says what was found");
    if (std::any_of(argv + 1, argv + argc, [](const char* said) { return std::string_view{"--help"} == said; }))
        fmt::print("{}\nFurther options are those of GoogleTest:\n\n", app.help());
    GTEST_FLAG_SET(brief, true);           // the table says the rest
    testing::InitGoogleTest(&argc, argv);  // which prints its own help
    if (std::any_of(argv + 1, argv + argc, [](const char* said) { return std::string_view{"--help"} == said; }))
        return passed;
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? passed : wrong_usage;
    }
    if (!chosen.merge.empty()) return merge_files();
    if (!chosen.shard.empty()) {
        char rest = 0;
        if (std::sscanf(chosen.shard.c_str(), "%u/%u%c", &shard.index, &shard.count, &rest) != 2 ||
            shard.index >= shard.count) {
            fmt::print(stderr, "--shard: expected i/n with i from 0 to n - 1, found \"{}\"\n", chosen.shard);
            return wrong_usage;
        }
    }
    if (const auto newer = newer_source()) {
        fmt::print(stderr, "model-check: expected to be newer than its sources, found that {} is: build it again\n",
                   newer->string());
        return wrong_usage;
    }
    if (!chosen.replay.empty()) return replay_token(chosen.replay);
    if (chosen.list) {
        for (const entry& scenario : scenarios())
            if (selected(scenario))
                fmt::print("{:<46} {} threads  {}\n", scenario.full_name(), scenario.threads, scenario.invariant);
        return passed;
    }
    if (std::none_of(scenarios().begin(), scenarios().end(), selected)) {
        fmt::print(stderr, "--only: expected part of a scenario's name (--list shows them), found \"{}\"\n",
                   chosen.only);
        return wrong_usage;
    }
    register_tests();
    testing::UnitTest::GetInstance()->listeners().Append(new counts_steps);
    print_header();
    const int broken = RUN_ALL_TESTS();
    print_summary();
    const int verdict = conclude();
    if (verdict == passed && broken != 0) return failed;
    if (verdict != wrong_usage)
        fmt::print("{}\n", verdict == passed ? "PASS" : verdict == failed ? "FAIL" : "INCOMPLETE");
    return verdict;
}

}  // namespace
}  // namespace shm::model

int main(int argc, char** argv) { return shm::model::run(argc, argv); }
