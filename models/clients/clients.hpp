// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Every small client of a primitive: RapidCheck makes up who calls what, `explore` exhausts it, and each execution must be
// explained by the primitive's reference. docs/clients.md says what a primitive brings to join.
#include <rapidcheck.h>

#include <chrono>
#include <clients/linearizable.hpp>
#include <explore/arena.hpp>
#include <explore/explorer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>

namespace shm::model {

struct clients_budget {
    unsigned programs = 1000;
    std::uint64_t seed = 1;
    std::uint64_t most_executions = 1'000'000;  // of one program
};

struct clients_report {
    std::string family;
    std::uint64_t seed = 0;
    std::uint64_t programs = 0, calls = 0, executions = 0, histories = 0, cut_off = 0;
    unsigned shrunk = 0;  // how often the program that failed was made smaller
    std::string failure;  // the smallest program, its history, its execution; empty when all were explained
    double seconds = 0;
};

using clients_progress = std::function<void(const clients_report& so_far)>;

/// A primitive that has joined.
struct clients_family {
    std::string name;
    std::function<clients_report(const clients_budget&, const clients_progress&)> check;
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
            kept.began = explore::explorer::running().position();
            const answer told = perform(call, *subject_);
            const explore::arena::paused outlives_the_execution;
            kept.ended = explore::explorer::running().position();
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
                                             const explore::graph& execution) {
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

/// A program that failed, as text: the calls and answers in columns, what happened before what, and the trace.
struct failed_client {
    std::string title;
    std::vector<std::string> lanes;                       // the names of the threads
    std::vector<std::pair<unsigned, std::string>> calls;  // thread or `alone`, call and answer
    std::vector<bits> after;
    std::string why;
};
[[nodiscard]] std::string text_of(const failed_client& failed);
[[nodiscard]] std::string trace_of(const std::string& family, const explore::program& program, const std::string& token,
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
            if (fails(made.value())) {
                while (const auto smaller = smaller_that_fails(made)) made = *smaller, ++report_.shrunk, look();
                report_.failure = explanation(made.value());
            }
            look();
        }
        return report_;
    }

private:
    std::optional<rc::Shrinkable<client<Reference>>> smaller_that_fails(
        const rc::Shrinkable<client<Reference>>& large) {
        auto candidates = large.shrinks();
        while (const auto candidate = candidates.next())
            if (fails(candidate->value())) return *candidate;
        return std::nullopt;
    }

    explore::program program_of(const client<Reference>& run) {
        return {static_cast<unsigned>(run.threads.size()),
                [&run, this] { return std::make_unique<client_run<Subject, Reference>>(run, told_); }};
    }

    /// Runs every execution of the client, up to the first whose history nothing explains; that one is then in `why_`,
    /// `token_` and `failed_`. Histories that have been judged before are known.
    bool fails(const client<Reference>& run) {
        const std::size_t calls = calls_of(run).size();
        if (calls > most_calls)
            throw std::invalid_argument("calls of a client: expected at most " + std::to_string(most_calls) +
                                        ", found " + std::to_string(calls));
        told_.assign(calls, {});
        report_.calls += calls;
        why_.clear();

        std::set<std::vector<std::uint64_t>> judged;
        explore::settings how;
        how.between_looks = 1;
        explore::explorer search{program_of(run), how};
        search.on_complete = [&](const explore::graph& execution) {
            const auto seen = history_of(run, told_, execution);
            std::vector<std::uint64_t> key;
            for (const auto& call : seen) {
                key.push_back(call.after | std::uint64_t{call.told.size()} << 32);
                key.insert(key.end(), call.told.begin(), call.told.end());
            }
            if (!judged.insert(std::move(key)).second) return;
            const unsigned victim = misled(run.start, seen, static_cast<unsigned>(run.threads.size()));
            if (victim == alone) return;
            why_ = std::string{"no order of the calls explains what the "} + Subject::lanes[victim] + " was told";
            failed_ = seen;
        };
        search.run(
            [&](const explore::totals& so_far) { return why_.empty() && so_far.visited < budget_.most_executions; });
        report_.executions += search.so_far().complete;
        report_.histories += judged.size();
        if (search.failed()) {
            why_ = search.why();
            failed_ = calls_of(run);
            for (std::size_t i = 0; i < failed_.size(); ++i) failed_[i].told = told_[i].told;
        } else if (why_.empty() && !search.exhausted()) {
            ++report_.cut_off;
        }
        if (!why_.empty()) token_ = search.token();
        return !why_.empty();
    }

    std::string explanation(const client<Reference>& smallest) {
        (void)fails(smallest);  // once more, since larger ones and ones that pass were tried in between
        failed_client shown;
        std::ostringstream title;
        title << report_.family << ", client " << report_.programs << " of seed " << budget_.seed << ", made smaller "
              << report_.shrunk << " times: " << smallest.start;
        shown.title = title.str();
        shown.lanes.assign(std::begin(Subject::lanes), std::begin(Subject::lanes) + smallest.threads.size());
        for (std::size_t i = 0; i < failed_.size(); ++i) {
            const auto& call = failed_[i];
            std::ostringstream text;
            text << call.made << (told_[i].returned ? " -> " + answer_text(call.made, call.told) : " does not return");
            shown.calls.emplace_back(call.thread, text.str());
            shown.after.push_back(call.after);
        }
        shown.why = why_;
        return text_of(shown) + '\n' + trace_of(report_.family, program_of(smallest), token_, why_);
    }

    clients_budget budget_;
    clients_report report_;
    std::vector<told_call> told_;  // of the execution that is going on
    history<typename Reference::call> failed_;
    std::string why_, token_;
};

/// Adds a primitive. `Subject` is made from the reference at its start, over explore_atomics, and has the reference's
/// operations; `Subject::lanes` are the names of its threads. `any` makes up a client.
template <class Subject, class Reference>
void add_clients(const std::string& family, rc::Gen<client<Reference>> (*any)()) {
    clients_families().push_back({family, [=](const clients_budget& budget, const clients_progress& tell) {
                                      return clients_check<Subject, Reference>{family, budget}.run(any(), tell);
                                  }});
}

}  // namespace shm::model
