// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Every small client of a primitive: RapidCheck makes up who calls what, `explore` exhausts it, and each execution must be
// explained by the primitive's reference. docs/clients.md says what a primitive brings to join.
#include <rapidcheck.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>

#include "checker/clients/linearizable.hpp"
#include "checker/explore/arena.hpp"
#include "checker/explore/scheduler.hpp"

namespace shm::model {

struct clients_budget {
    unsigned programs = 1000;
    std::uint64_t seed = 1;
    std::uint64_t most_executions = 1'000'000;  // of one program
};

struct clients_report {
    std::string family;
    std::uint64_t seed = 0;
    std::uint64_t programs = 0, calls = 0, executions = 0;
    std::uint64_t linearizable = 0;  // histories that one order explains
    std::uint64_t late = 0;          // others, in which each thread has one of its own
    std::string failure;             // the smallest program, its history, its execution; empty when all were explained
    double seconds = 0;
};

using clients_progress = std::function<void(const clients_report& so_far)>;

/// Stands for one execution of one client: which of those of a seed, which of the smaller ones was tried instead of each,
/// and the choices of the engine.
struct client_token {
    std::string family;
    std::uint64_t seed = 0;
    std::uint64_t client = 0;
    std::vector<std::size_t> shrinks;
    std::string choices;

    client_token() = default;
    explicit client_token(const std::string& text);  // throws std::invalid_argument for what is none
};
[[nodiscard]] std::string text_of(const client_token& token);

struct clients_replay {
    std::string text;
    bool fails;
};

/// A primitive that has joined. To replay throws std::invalid_argument for a token that stands for nothing.
struct clients_family {
    std::string name;
    std::function<clients_report(const clients_budget&, const clients_progress&)> check;
    std::function<clients_replay(const client_token&)> replay;
};
inline std::vector<clients_family>& clients_families() {
    static std::vector<clients_family> all;
    return all;
}

/// A small concurrent program.
template <class Reference>
struct client {
    using call = typename Reference::call;
    Reference start;
    std::vector<call> before;  // by nobody else than these
    std::vector<std::vector<call>> threads;
    std::vector<call> after;
};

/// What a thread did, as the events that it did it with: from `began` up to, and not with, `ended`.
struct told_call {
    std::int16_t began = 0, ended = 0;
    answer told;
    bool returned = false;

    [[nodiscard]] bool has_events() const { return began < ended; }
};

/// Runs a client's calls on a primitive, and keeps what they were told: before the threads, theirs, after them.
template <class Subject, class Reference>
class client_run final : public instance {
public:
    client_run(const client<Reference>& run, std::vector<told_call>& told) : client_{run}, told_{told} {
        for (told_call& each : told) each.returned = false;
    }

    void before() override {
        subject_.emplace(client_.start);
        make(client_.before, 0);
    }
    void thread(unsigned index) override { make(client_.threads[index], first_of(index)); }
    void after() override { make(client_.after, first_of(client_.threads.size())); }

private:
    [[nodiscard]] std::size_t first_of(std::size_t thread) const {
        std::size_t first = client_.before.size();
        for (std::size_t t = 0; t < thread; ++t) first += client_.threads[t].size();
        return first;
    }
    void make(const std::vector<typename Reference::call>& calls, std::size_t first) {
        for (const auto& call : calls) {
            told_call& kept = told_[first++];
            kept.began = explore::scheduler::running().position();
            const answer told = perform(call, *subject_);
            const explore::arena::paused outlives_the_execution;
            kept.ended = explore::scheduler::running().position();
            kept.told = told;
            kept.returned = true;
        }
    }

    const client<Reference>& client_;
    std::vector<told_call>& told_;
    std::optional<Subject> subject_;
};

/// All calls of a client, before it has run.
template <class Reference>
history<typename Reference::call> calls_of(const client<Reference>& run) {
    history<typename Reference::call> all;
    for (const auto& call : run.before) all.push_back({alone, call, {}});
    for (unsigned t = 0; t < run.threads.size(); ++t)
        for (const auto& call : run.threads[t]) all.push_back({t, call, {}});
    for (const auto& call : run.after) all.push_back({alone, call, {}});
    return all;
}

/// The history of one execution: a call happened before another when its last event happens before the other's first. One
/// without an event of its own stands between those around it.
template <class Reference>
history<typename Reference::call> history_of(const client<Reference>& run, const std::vector<told_call>& told,
                                             const explore::execution_graph& execution) {
    std::vector<std::vector<const explore::event*>> events(run.threads.size());
    for (const explore::event& e : execution.events) events[e.thread].push_back(&e);
    for (auto& of_thread : events)
        std::sort(of_thread.begin(), of_thread.end(), [](auto* a, auto* b) { return a->index < b->index; });

    auto made = calls_of(run);
    for (std::size_t later = 0; later < made.size(); ++later) {
        made[later].told = told[later].told;
        const unsigned thread = made[later].thread;
        if (thread == alone) {
            made[later].after = bit(later) - 1;
            continue;
        }
        const int first = told[later].has_events() ? told[later].began : told[later].began - 1;
        const explore::view known =
            first < 0 ? explore::view{} : events[thread][static_cast<std::size_t>(first)]->happens_before;
        for (std::size_t other = 0; other < made.size() - run.after.size(); ++other) {
            const int last = told[other].has_events() ? told[other].ended - 1 : told[other].ended;
            const unsigned by = made[other].thread;
            const bool happened = by == alone || by == thread ? other < later : last < known.count[by];
            if (happened) made[later].after |= bit(other);
        }
    }
    return made;
}

/// A program and what it was told, as text: calls and answers in columns, and what happened before what.
struct failed_client {
    std::string title;
    std::vector<std::string> lanes;                       // the names of the threads
    std::vector<std::pair<unsigned, std::string>> calls;  // thread or `alone`, call and answer
    std::vector<bits> after;
    std::string why;
};
[[nodiscard]] std::string text_of(const failed_client& failed);
[[nodiscard]] std::string trace_of(const std::string& family, unsigned threads, const recording& execution,
                                   const std::string& why);

/// Exhausts clients, one after the other, until one fails.
template <class Subject, class Reference>
class clients_check {
public:
    clients_check(std::string family, const clients_budget& budget) : budget_{budget} {
        report_.family = std::move(family);
        report_.seed = budget.seed;
    }

    clients_report run(const rc::Gen<client<Reference>>& any, const clients_progress& tell) {
        const auto began = std::chrono::steady_clock::now();
        const auto look = [&] {
            report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
            if (tell) tell(report_);
        };
        rc::Random random{budget_.seed};
        while (report_.programs < budget_.programs && report_.failure.empty()) {
            rc::Shrinkable<client<Reference>> made = any(random.split(), rc::kNominalSize);
            ++report_.programs;
            token_ = {};
            token_.family = report_.family;
            token_.seed = budget_.seed;
            token_.client = report_.programs;
            if (fails(made.value())) {
                while (const auto smaller = smaller_that_fails(made)) made = *smaller, look();
                (void)fails(made.value());  // once more, since ones that pass were tried in between
                report_.failure = execution(made.value(), token_);
            } else if (too_large_) {
                report_.failure = without_an_end(made.value());
            }
            look();
        }
        return report_;
    }

    clients_replay replay(const rc::Gen<client<Reference>>& any, const client_token& token) {
        rc::Random random{token.seed};
        for (std::uint64_t other = 1; other < token.client; ++other) (void)random.split();
        rc::Shrinkable<client<Reference>> made = any(random.split(), rc::kNominalSize);
        for (const std::size_t step : token.shrinks) {
            auto candidates = made.shrinks();
            auto chosen = candidates.next();
            for (std::size_t i = 0; i < step && chosen; ++i) chosen = candidates.next();
            if (!chosen)
                throw std::invalid_argument("expected smaller clients, found none of number " + std::to_string(step) +
                                            " in \"" + text_of(token) + "\"");
            made = *chosen;
        }
        std::string text = execution(made.value(), token);
        return {std::move(text), !why_.empty()};
    }

private:
    std::optional<rc::Shrinkable<client<Reference>>> smaller_that_fails(
        const rc::Shrinkable<client<Reference>>& large) {
        auto candidates = large.shrinks();
        for (std::size_t i = 0; const auto candidate = candidates.next(); ++i) {
            if (!fails(candidate->value())) continue;
            token_.shrinks.push_back(i);
            return *candidate;
        }
        return std::nullopt;
    }

    explore::program program_of(const client<Reference>& run) {
        return {static_cast<unsigned>(run.threads.size()),
                [&run, this] { return std::make_unique<client_run<Subject, Reference>>(run, told_); }};
    }

    /// Runs every execution of the client, up to the first whose history nothing explains; that one's choices are then in
    /// `token_`. Histories that have been judged before are known.
    bool fails(const client<Reference>& run) {
        begin(run);
        report_.calls += told_.size();
        std::set<std::vector<std::uint64_t>> judged;
        explore::settings how;
        how.between_looks = 1;
        explore::scheduler search{program_of(run), how};
        search.on_complete = [&](const explore::execution_graph& execution) {
            auto seen = history_of(run, told_, execution);
            std::vector<std::uint64_t> key;
            for (const auto& call : seen) {
                key.push_back(call.after | std::uint64_t{call.told.size()} << 32);
                key.insert(key.end(), call.told.begin(), call.told.end());
            }
            if (judged.insert(std::move(key)).second) judge(run, std::move(seen));
        };
        const auto executions = [](const explore::totals& all) { return all.complete + all.blocked; };
        search.run([&](const explore::totals& so_far) {
            return why_.empty() && executions(so_far) <= budget_.most_executions;
        });
        report_.executions += executions(search.so_far());
        if (search.failed()) why_ = search.why();
        too_large_ = why_.empty() && !search.exhausted();
        if (!why_.empty()) token_.choices = search.token();
        return !why_.empty();
    }

    void begin(const client<Reference>& run) {
        seen_ = calls_of(run);
        if (seen_.size() > most_calls)
            throw std::invalid_argument("calls of a client: expected at most " + std::to_string(most_calls) +
                                        ", found " + std::to_string(seen_.size()));
        told_.assign(seen_.size(), {});
        why_.clear();
    }

    void judge(const client<Reference>& run, history<typename Reference::call> seen) {
        seen_ = std::move(seen);
        if (linearizable(run.start, seen_)) {
            ++report_.linearizable;
            return;
        }
        if constexpr (requires { typename Reference::part; }) {
            const auto part = unexplained_part(run.start, seen_);
            if (!part)
                ++report_.late;
            else
                why_ = "no order of the calls explains what was told of " + run.start.part_name(*part);
            return;
        }
        const unsigned victim = misled(run.start, seen_, static_cast<unsigned>(run.threads.size()));
        if (victim == alone)
            ++report_.late;
        else
            why_ = std::string{"no order of the calls explains what the "} + Subject::lanes[victim] + " was told";
    }

    /// Runs and shows one execution; `why_` says what is wrong with it.
    std::string execution(const client<Reference>& run, const client_token& token) {
        begin(run);
        explore::scheduler search{program_of(run), {}};
        search.on_complete = [&](const explore::execution_graph& execution) {
            judge(run, history_of(run, told_, execution));
        };
        recording steps;
        {
            const recording_into steps_of{steps};
            search.replay(token.choices);
        }
        if (search.failed()) why_ = search.why();
        for (std::size_t i = 0; i < seen_.size(); ++i) seen_[i].told = told_[i].told;

        failed_client shown = shown_calls(run, token);
        for (std::size_t i = 0; i < seen_.size(); ++i) {
            const auto& call = seen_[i];
            shown.calls[i].second +=
                told_[i].returned ? " -> " + answer_text(call.made, call.told) : " does not return";
            shown.after.push_back(call.after);
        }
        shown.why = why_.empty() ? "explained" : why_;
        return text_of(shown) + '\n' +
               trace_of(report_.family, static_cast<unsigned>(run.threads.size()), steps, why_) + "replay: --replay '" +
               text_of(token) + "'\n";
    }

    /// A client with so many executions is none to exhaust: the generator has to make smaller ones.
    std::string without_an_end(const client<Reference>& run) {
        failed_client shown = shown_calls(run, token_);
        shown.after.resize(shown.calls.size());
        shown.why = "expected at most " + std::to_string(budget_.most_executions) + " executions, found more";
        return text_of(shown);
    }

    failed_client shown_calls(const client<Reference>& run, const client_token& token) const {
        failed_client shown;
        std::ostringstream title;
        title << token.family << ", client " << token.client << " of seed " << token.seed << ", made smaller "
              << token.shrinks.size() << " times: " << run.start;
        shown.title = title.str();
        shown.lanes.assign(std::begin(Subject::lanes), std::begin(Subject::lanes) + run.threads.size());
        for (const auto& call : calls_of(run)) {
            std::ostringstream text;
            text << call.made;
            shown.calls.emplace_back(call.thread, text.str());
        }
        return shown;
    }

    clients_budget budget_;
    clients_report report_;
    std::vector<told_call> told_;             // of the execution that is going on,
    history<typename Reference::call> seen_;  // and its history, if it has come to an end
    std::string why_;                         // it is wrong
    bool too_large_ = false;
    client_token token_;
};

/// Adds a primitive. `Subject` is made from the reference at its start, over explore_atomics, and has the reference's
/// operations; `Subject::lanes` are the names of its threads. `any` makes up a client.
template <class Subject, class Reference>
void add_clients(const std::string& family, rc::Gen<client<Reference>> (*any)()) {
    clients_families().push_back({family,
                                  [=](const clients_budget& budget, const clients_progress& tell) {
                                      return clients_check<Subject, Reference>{family, budget}.run(any(), tell);
                                  },
                                  [=](const client_token& token) {
                                      return clients_check<Subject, Reference>{family, {}}.replay(any(), token);
                                  }});
}

}  // namespace shm::model
