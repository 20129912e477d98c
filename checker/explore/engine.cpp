// SPDX-License-Identifier: MIT OR Apache-2.0
// The engine `explore` behind the interface that all engines share.
#include <chrono>

#include <shm/explore_atomics.hpp>

#include "checker/driver/search.hpp"
#include "checker/explore/parallel.hpp"

namespace shm::model {
namespace {

class explore_of_graphs final : public engine {
public:
    [[nodiscard]] const char* name() const override { return "explore"; }

    // RC11 orders every cycle of program order and reads-from: no load sees a store that depends on it.
    [[nodiscard]] bool blind_to(const std::string& litmus) const override {
        return litmus == "load_buffering" || litmus == "load_buffering_3";
    }
    [[nodiscard]] search_kind usual(form) const override { return search_kind::complete; }
    [[nodiscard]] std::uint64_t affordable() const override { return 5'000'000; }  // 80 times the largest of today
    [[nodiscard]] bool can(search_kind kind) const override { return kind == search_kind::complete; }
    [[nodiscard]] bool can_split() const override { return true; }

    [[nodiscard]] outcome explore(const entry& scenario, const search& how, const progress& tell) override {
        const auto began = std::chrono::steady_clock::now();
        const auto outcome_of = [&](const explore::totals& counted) {
            outcome so_far;
            so_far.executions = counted.complete;
            so_far.blocked = counted.blocked;
            so_far.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
            return so_far;
        };
        host::running = this;
        const auto found = explore::search(
            program_of(scenario), settings_of(how), {how.shard, how.shards, how.workers, how.cpu_seconds},
            [&](const explore::totals& counted) {
                const outcome so_far = outcome_of(counted);
                if (tell) tell(so_far);
                return so_far.seconds < how.seconds && (how.affordable == 0 || counted.visited < how.affordable);
            });
        outcome result = outcome_of(found.counted);
        result.exhausted = found.exhausted;
        report_failure(found.failed, found.broken, found.why, found.token, result);
        return result;
    }

    [[nodiscard]] outcome replay(const entry& scenario, const search& how, const std::string& choices,
                                 recording& into) override {
        explore::scheduler search{program_of(scenario), settings_of(how)};
        host::running = this;
        {
            const recording_into steps_of{into};
            search.replay(choices);
        }
        outcome result;
        result.executions = 1;
        report_failure(search.failed(), search.broken(), search.why(), choices, result);
        return result;
    }

    void failed(const std::source_location& at) override { explore::scheduler::running().fail("check failed", &at); }
    unsigned choose(unsigned count) override { return explore_atomics::choose(count); }
    void make_mortal(std::jmp_buf* last_breath) override { explore::scheduler::running().make_mortal(last_breath); }
    [[nodiscard]] round begin_round() override { return explore::scheduler::running().begin_round(); }
    void ineffective(round& failed, const std::source_location& at) override {
        explore::scheduler::running().ineffective(failed, at);
    }

private:
    static explore::program program_of(const entry& scenario) { return {scenario.threads, scenario.make.front()}; }
    static explore::settings settings_of(const search& how) {
        explore::settings settings;
        if (how.kind == search_kind::full) settings.ineffective_rounds = settings.any_number;
        if (how.kind == search_kind::bounded) settings.ineffective_rounds = how.bound;
        return settings;
    }
    static void report_failure(bool failed, bool broken, const std::string& why, const std::string& token,
                               outcome& result) {
        if (!failed) return;
        ++result.executions;  // the one that failed
        result.failed = true;
        result.broken = broken;
        result.why = why;
        result.choices = token;
    }
};

}  // namespace

engine& explore_engine() {
    static explore_of_graphs only;
    return only;
}

}  // namespace shm::model
