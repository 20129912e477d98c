// SPDX-License-Identifier: MIT OR Apache-2.0
#include <utility>

#include "checker/explore/trace_recorder.hpp"

namespace shm::explore {
namespace {

std::string name_of(touch t) {
    switch (t) {
        case touch::made: return "make";
        case touch::read: return "read";
        case touch::written: return "write";
        case touch::ended: break;
    }
    return "end";
}

}  // namespace

void trace_recorder::tell(touch how, const void* object, const std::string& value, model::phase phase, unsigned thread,
                          const std::source_location& at) {
    const std::string what = value.empty() ? name_of(how) : name_of(how) + " " + value;
    model::recorder->add({phase, phase == model::phase::threads ? thread : 0, object, what, {}, -1, 0, false, at});
}

void trace_recorder::tell(const event& e, const request& wanted, model::phase phase, unsigned thread,
                          std::int16_t position, const execution_graph& g) {
    if (e.what == kind::choice || e.what == kind::spawn || e.what == kind::join) {
        const bool weak = e.what == kind::choice && e.desired == of_weak_exchange;
        if (weak && e.value == 0) return;  // as is to be expected
        const std::string what = weak                     ? "fails for no reason"
                                 : e.what == kind::choice ? "choose " + std::to_string(e.value)
                                 : e.what == kind::spawn  ? "spawn thread " + std::to_string(e.value)
                                                          : "join thread " + std::to_string(e.value);
        model::recorder->add(
            {phase, phase == model::phase::threads ? thread : 0, nullptr, what, {}, -1, 0, false, wanted.at});
        return;
    }
    const auto text = [&](std::uint64_t value) { return wanted.shown(value); };
    std::string what;
    switch (wanted.what) {
        case action::load:
        case action::await: what = "load " + text(e.value); break;
        case action::store: what = "store " + text(e.value); break;
        case action::fence: what = "fence"; break;
        case action::compare_exchange:
            what = "compare-exchange " + text(e.operand) + " -> " + text(e.desired);
            if (!e.succeeds) what += " fails, is " + text(e.value);
            break;
        case action::exchange: what = "exchange " + text(e.operand) + ", was " + text(e.value); break;
        case action::add: what = "fetch_add " + text(e.operand) + ", was " + text(e.value); break;
        case action::sub: what = "fetch_sub " + text(e.operand) + ", was " + text(e.value); break;
        case action::bit_and: what = "fetch_and " + text(e.operand) + ", was " + text(e.value); break;
        case action::bit_or: what = "fetch_or " + text(e.operand) + ", was " + text(e.value); break;
        default: break;
    }
    model::event shown{phase, 0, wanted.object, what, model::name_of(e.order), -1, 0, false, wanted.at};
    if (phase == model::phase::threads) {
        shown.thread = thread;
        auto& mine = told_[thread];
        mine.resize(static_cast<std::size_t>(position), static_cast<int>(model::recorder->events.size()));
        if (e.what == kind::read && e.source != initial) {
            const event& w = g.events[e.source];
            shown.reads_from = told_[w.thread][static_cast<std::size_t>(w.index)];
        }
        if (e.what == kind::read) {
            const unsigned newest = g.newest_mo_index(e.location);
            shown.stale = newest - e.mo_index - (e.succeeds ? 1 : 0);
        }
    }
    model::recorder->add(std::move(shown));
}

}  // namespace shm::explore
