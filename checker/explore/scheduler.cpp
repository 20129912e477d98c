// SPDX-License-Identifier: MIT OR Apache-2.0
#include <algorithm>
#include <deque>
#include <exception>
#include <stdexcept>

#include "checker/explore/arena.hpp"
#include "checker/explore/replay_token.hpp"
#include "checker/explore/scheduler.hpp"

namespace shm::explore {
namespace {

using enum std::memory_order;

constexpr unsigned most_choices = 256;  // before and after the threads
constexpr std::int16_t never = 0x7fff;  // a position that no thread reaches
constexpr unsigned nobody = ~0U;        // the name of a thread that was not started

rmw rmw_of(action a) {
    switch (a) {
        case action::exchange: return rmw::exchange;
        case action::add: return rmw::add;
        case action::sub: return rmw::sub;
        case action::bit_and: return rmw::bit_and;
        case action::bit_or: return rmw::bit_or;
        case action::compare_exchange: return rmw::compare_exchange;
        default: return rmw::none;
    }
}

kind kind_of(action a) {
    switch (a) {
        case action::store: return kind::write;
        case action::fence: return kind::fence;
        case action::choose: return kind::choice;
        case action::spawn: return kind::spawn;
        case action::join: return kind::join;
        default: return kind::read;
    }
}

bool accesses(action a) { return kind_of(a) == kind::read || kind_of(a) == kind::write; }

std::string place_of(const std::source_location& at) {
    const std::string file = at.file_name();
    return file.substr(file.rfind('/') + 1) + ":" + std::to_string(at.line());
}

scheduler* running_scheduler;

}  // namespace

scheduler& scheduler::running() { return *running_scheduler; }

scheduler::scheduler(const program& subject, const settings& how)
    : subject_{subject}, how_{how}, trust_{locations_}, graph_{trust_.now} {
    if (subject.threads < 1 || subject.threads > max_threads)
        throw std::invalid_argument("threads of a scenario: expected 1 to " + std::to_string(max_threads) + ", found " +
                                    std::to_string(subject.threads));
}
scheduler::~scheduler() = default;

void scheduler::run(const std::function<bool(const totals&)>& go_on) { run_from({}, go_on); }

void scheduler::run_from(const execution_graph& root, const std::function<bool(const totals&)>& go_on) {
    trust_.put_aside(root);
    while (trust_.next()) {
        execute();
        if (failed_) return;
        if (totals_.visited % how_.between_looks == 0 && go_on && !go_on(totals_)) break;
    }
    exhausted_ = trust_.empty();
}

std::vector<execution_graph> scheduler::run_until(std::size_t graphs, const std::function<bool(const totals&)>& go_on) {
    std::deque<execution_graph> waiting(1);
    while (!waiting.empty() && waiting.size() < graphs) {
        graph_ = std::move(waiting.front());
        waiting.pop_front();
        execute();
        for (execution_graph& other : trust_.take_all()) waiting.push_back(std::move(other));
        if (failed_) return {};
        if (totals_.visited % how_.between_looks == 0 && go_on && !go_on(totals_)) break;
    }
    exhausted_ = waiting.empty();
    return {std::move_iterator{waiting.begin()}, std::move_iterator{waiting.end()}};
}

void scheduler::replay(const std::string& token) {
    script_ = std::make_unique<script>(token);
    graph_.clear();
    graph_.before = script_->before;
    graph_.after = script_->after;
    execute();
    if (phase_ == model::phase::threads) {
        alone_choices_ = 0;
        check_choices("after", script_->after);
    }
    // What failed may have done so before the last step.
    if (!failed_ && this->token() != token)
        throw std::invalid_argument("the token: expected one of an execution, which says \"" + this->token() +
                                    "\", found another");
}

void scheduler::begin() {
    ++totals_.visited;
    arena::reset(was_recording_);
    was_recording_ = model::recorder != nullptr;
    locations_.clear();
    recorder_.clear();
    ineffective_rounds_ = 0;
    for (unsigned i = 0; i < max_threads; ++i) {
        thread& t = threads_[i];
        t.name = i < subject_.threads ? i : nobody;
        t.started = 0;
        t.is = state::ended;
        t.position = 0;
        t.slots.clear();
        t.parent = nowhere;
        t.effects = 0;
        t.crash_point = nullptr;
    }
    for (event_id s = 0; s < graph_.size(); ++s) threads_[graph_.events[s].thread].slots.push_back(s);
    running_scheduler = this;
}

/// Runs the program along the graph, and from there on makes the graph longer until nothing more can happen. What else
/// could have been done at each step is put aside.
void scheduler::execute() {
    begin();
    phase_ = model::phase::before;
    alone_choices_ = 0;
    main_.start([](unsigned) { running_scheduler->run_main(); }, 0);
    main_.resume();
    if (script_) check_choices("before", script_->before);
    if (failed_) return;

    phase_ = model::phase::threads;
    for (unsigned t = 0; t < subject_.threads; ++t) start(t);
    settle();
    for (thread& t : threads_)
        if (t.is == state::half_way && !extend(t)) return;
    settle();
    while (!failed_) {
        thread* const t = next();
        if (failed_) return;
        if (t == nullptr) return conclude();
        if (graph_.events.size() >= how_.most_events) {
            set_failure("more than " + std::to_string(how_.most_events) +
                            " events in an execution: a loop that waits for a thread is an await, one that tries again "
                            "says that a round was ineffective; the last",
                        &t->at, true);
            return;
        }
        if (!extend(*t)) return;
        settle();
    }
}

/// Runs scenario code. What it throws must be gone before the thread is abandoned for it.
template <class Code>
void scheduler::run_code(unsigned arena_index, Code code) {
    std::string escaped;
    arena::current = arena_index;
    try {
        code();
    } catch (const std::exception& e) {
        arena::current = arena::none;
        escaped = std::string{"an exception escaped: "} + e.what();
    }
    arena::current = arena::none;
    if (!escaped.empty()) fail(std::exchange(escaped, {}), nullptr, true);
}

void scheduler::run_main() {
    run_code(max_threads, [this] {
        const auto scenario = subject_.make();
        scenario->before();
        arena::current = arena::none;
        for (unsigned t = 0; t < subject_.threads; ++t) threads_[t].body = [&s = *scenario, t] { s.thread(t); };
        fiber::suspend();
        arena::current = max_threads;
        scenario->after();
    });
}

void scheduler::run_thread(unsigned index) {
    run_code(index, [this, index] { threads_[index].body(); });
    threads_[index].is = state::ended;
}

void scheduler::start(unsigned index) {
    threads_in_use_ = std::max(threads_in_use_, index + 1);
    threads_[index].is = state::ready;
    threads_[index].on.start([](unsigned me) { running_scheduler->run_thread(me); }, index);
}

/// Lets every thread run until it wants something new or can go no further.
void scheduler::settle() {
    for (bool moved = true; moved && !failed_;) {
        moved = false;
        for (unsigned i = 0; i < threads_in_use_ && !failed_; ++i) {
            thread& t = threads_[i];
            if (t.is == state::behind && !is_behind(t)) t.is = state::ready;
            if (t.is != state::ready) continue;
            current_ = i;
            t.on.resume();
            moved = true;
        }
    }
}

bool scheduler::is_behind(const thread& t) const {
    const thread& other = threads_[t.other];
    return other.position < t.until && other.is != state::ended;
}

answer scheduler::perform(const request& wanted) {
    if (phase_ != model::phase::threads) return perform_alone(wanted);
    thread& me = threads_[current_];
    if (me.crash_point != nullptr && wanted.what != action::choose) {
        std::jmp_buf* const bed = std::exchange(me.crash_point, nullptr);
        if (perform({.what = action::choose, .operand = 2, .desired = of_death, .at = wanted.at}).value != 0)
            std::longjmp(*bed, 1);
        me.crash_point = bed;
    }
    const arena::paused engine_code;
    me.at = wanted.at;
    if (wanted.awaited != nullptr) trust_.remember(current_, me.position, *wanted.awaited);
    const auto suspend_as = [&me](state why) {
        me.is = why;
        fiber::suspend();
    };
    for (;;) {
        const auto here = static_cast<std::size_t>(me.position);
        if (here == me.slots.size()) {
            if (accesses(wanted.what) && !locations_.has(wanted.location)) use(wanted.location, wanted.at);
            me.wanted = event_for(wanted);
            suspend_as(state::wants);
            continue;
        }
        const event& e = graph_.events[me.slots[here]];
        if (e.what == kind::blocked) {
            suspend_as(state::blocked);
            continue;
        }
        if (e.what != kind_of(wanted.what) || e.location != wanted.location || e.operation != rmw_of(wanted.what))
            fail("the scenario is not deterministic: the same choices lead to another operation", &wanted.at, true);
        if (e.source != initial) {
            const event& source = graph_.events[e.source];
            me.other = e.what == kind::join ? static_cast<unsigned>(e.value) : source.thread;
            me.until = e.what == kind::join ? never : static_cast<std::int16_t>(source.index + 1);
            if (is_behind(me)) {
                suspend_as(state::behind);
                continue;
            }
        }
        if (e.succeeds && here + 1 == me.slots.size()) {
            suspend_as(state::half_way);
            continue;
        }
        me.position = static_cast<std::int16_t>(me.position + (e.succeeds ? 2 : 1));
        if ((e.what == kind::write && !wanted.prepares) || e.what == kind::spawn || e.succeeds) ++me.effects;
        if (e.what == kind::read || e.what == kind::write) use(e.location, wanted.at);
        if (e.what == kind::spawn) {
            thread& child = threads_[e.value];
            child.body = *static_cast<const std::function<void()>*>(wanted.object);
            child.parent = me.slots[here];
            child.name = name_of_child(me.name, me.started++);
            start(static_cast<unsigned>(e.value));
        }
        if (model::recorder != nullptr) recorder_.tell(e, wanted, phase_, current_, me.position, graph_);
        return {e.what == kind::spawn ? threads_[e.value].name : e.value, e.succeeds};
    }
}

event scheduler::event_for(const request& wanted) {
    const thread& me = threads_[current_];
    event e{};
    e.what = kind_of(wanted.what);
    e.thread = static_cast<std::uint8_t>(current_);
    e.index = me.position;
    e.previous = me.slots.empty() ? me.parent : me.slots.back();
    e.location = wanted.location;
    e.operation = rmw_of(wanted.what);
    e.waits = wanted.what == action::await;
    e.bytes = wanted.bytes;
    e.operand = wanted.operand;
    e.desired = wanted.desired;
    if (e.what == kind::write) e.value = wanted.operand;
    const auto order_of = [&](model::op o, std::memory_order written) {
        return model::effective(o, written, wanted.at);
    };
    switch (wanted.what) {
        case action::load:
        case action::await:
            e.order = order_of(wanted.fails ? model::op::cas_failure : model::op::load, wanted.order);
            break;
        case action::store: e.order = order_of(model::op::store, wanted.order); break;
        case action::fence: e.order = order_of(model::op::fence, wanted.order); break;
        case action::compare_exchange:
            e.success_order = order_of(model::op::rmw, wanted.order);
            e.failure_order = order_of(model::op::cas_failure, wanted.failure_order);
            break;
        case action::choose:
        case action::spawn: break;
        case action::join: e.value = number_of(static_cast<unsigned>(wanted.operand), wanted.at); break;
        default: e.order = order_of(model::op::rmw, wanted.order);
    }
    return e;
}

/// Whether what the thread wants can happen now. Only waits and joins cannot always.
bool scheduler::enabled(const thread& t) {
    const event& e = t.wanted;
    if (e.what == kind::join) return threads_[e.value].is == state::ended;
    return !e.waits || trust_.can_end(e);
}

/// Whose turn it is: any order is right that depends on the graph alone. Reads come after writes, because what is written
/// later revisits what was read; waits come last, so that whoever can run on has done so before somebody is left waiting.
scheduler::thread* scheduler::next() {
    if (script_ && script_->next < script_->steps.size()) {
        const auto [name, option] = script_->steps[script_->next];
        for (thread& t : threads_)
            if (t.name == name && t.is == state::wants && (enabled(t) || (t.wanted.waits && option == option_blocked)))
                return &t;
        throw std::invalid_argument("step " + std::to_string(script_->next + 1) +
                                    " of the token: expected a thread that can go on, found " + std::to_string(name));
    }
    thread* best = nullptr;
    const auto rank = [](const thread& t) {
        return std::pair{t.wanted.what != kind::read ? 0 : t.wanted.waits ? 2 : 1, t.name};
    };
    for (thread& t : threads_)
        if (t.is == state::wants && (best == nullptr || rank(t) < rank(*best)) && enabled(t)) best = &t;
    return best;
}

unsigned scheduler::asked() const {
    return script_ && script_->next < script_->steps.size() ? script_->steps[script_->next].second : trust::none_asked;
}

/// A token has a step for each event, and what was asked for has been done.
void scheduler::check_step(const event& taken, bool consistent) {
    const std::size_t number = script_->next++;
    if (number >= script_->steps.size())
        throw std::invalid_argument("step " + std::to_string(number + 1) +
                                    " of the token: expected one, found its end");
    unsigned option = taken.mo_index;
    if (taken.what == kind::choice) option = static_cast<unsigned>(taken.value);
    if (taken.what == kind::blocked) option = option_blocked;
    if (const unsigned wanted = script_->steps[number].second; wanted != option || !consistent)
        throw std::invalid_argument("step " + std::to_string(number + 1) +
                                    " of the token: expected an option that there is, found " + std::to_string(wanted));
}

void scheduler::check_choices(const char* when, const std::vector<std::uint8_t>& asked) const {
    if (!script_->refusal.empty()) throw std::invalid_argument(script_->refusal);
    if (alone_choices_ != asked.size())
        throw std::invalid_argument("choices of the token " + std::string{when} + " the threads: expected " +
                                    std::to_string(alone_choices_) + ", found " + std::to_string(asked.size()));
}

/// Adds the event that the thread wants, or the second half of the one it has. False when what has come about is no
/// execution.
bool scheduler::extend(thread& t) {
    const event_id first_new = graph_.size();
    bool consistent = true;
    if (t.is == state::half_way) {
        consistent = trust_.add_write_of_rmw(t.slots.back());
    } else {
        event& e = t.wanted;
        switch (e.what) {
            case kind::read: consistent = trust_.add_read(e, e.waits && others_go_on(t), asked()); break;
            case kind::write: consistent = trust_.add_write(e, asked()); break;
            case kind::choice: trust_.add_choice(e, asked()); break;
            case kind::spawn:
                if (!number_child(e)) return false;
                trust_.add(e);
                break;
            case kind::join: {
                const thread& child = threads_[e.value];
                e.source = child.slots.empty() ? child.parent : child.slots.back();
                trust_.add(e);
                break;
            }
            default: trust_.add(e);
        }
        if (script_) check_step(graph_.events[first_new], consistent);
    }
    for (event_id s = first_new; s < graph_.size(); ++s) t.slots.push_back(s);
    t.is = state::ready;
    return consistent;
}

bool scheduler::others_go_on(const thread& than) {
    return std::any_of(threads_.begin(), threads_.end(),
                       [&](const thread& t) { return &t != &than && t.is == state::wants && enabled(t); });
}

std::uint64_t scheduler::number_of(unsigned name, const std::source_location& at) {
    for (std::uint64_t i = subject_.threads; i < max_threads; ++i)
        if (threads_[i].name == name) return i;
    fail("waits for the end of a thread that was not started", &at, true);
}

/// The lowest number that is free, whoever had it before. What depends on the graph alone asks for the name.
bool scheduler::number_child(event& spawn) {
    std::array<bool, max_threads> taken{};
    for (unsigned i = 0; i < subject_.threads; ++i) taken[i] = true;
    for (const event& other : graph_.events)
        if (other.what == kind::spawn) taken[other.value] = true;
    const auto* const id = std::find(taken.begin(), taken.end(), false);
    if (id == taken.end()) {
        set_failure("threads at one time: expected at most " + std::to_string(max_threads) + ", found one more",
                    nullptr, true);
        return false;
    }
    spawn.value = static_cast<std::uint64_t>(id - taken.begin());
    return true;
}

/// Nobody can go on: all have ended, or some wait for what another execution brings, or for ever.
void scheduler::conclude() {
    bool all_ended = true, all_hopeless = true;
    std::string waiting;
    for (unsigned i = 0; i < max_threads; ++i) {
        const thread& t = threads_[i];
        if (t.is == state::ended) continue;
        all_ended = false;
        all_hopeless = all_hopeless && hopeless(t);
        waiting += (waiting.empty() ? "" : ", ") + std::string{"thread "} + std::to_string(i) + " at " + place_of(t.at);
    }
    if (!all_ended) {
        if (all_hopeless) set_failure("waits for ever: " + waiting, nullptr, false);
        ++totals_.blocked;
        return;
    }
    locations_.take_newest_of(graph_);
    phase_ = model::phase::after;
    alone_choices_ = 0;
    main_.resume();
    if (script_) check_choices("after", script_->after);
    if (failed_) return;
    ++totals_.complete;
    if (how_.find_duplicates && !seen_.insert(signature_of(graph_)).second) ++totals_.duplicates;
    if (on_complete) on_complete(graph_);
}

/// Whether a thread that waits would wait for ever if the others did nothing more: each thread comes to see the newest
/// write of every location in the end.
bool scheduler::hopeless(const thread& t) const {
    switch (t.is) {
        case state::wants: return t.wanted.what == kind::join || !trust_.satisfied_by_newest(t.wanted);
        case state::blocked:
            return !trust_.satisfied_by_newest(graph_.events[t.slots[static_cast<std::size_t>(t.position)]]);
        case state::ineffective:
            for (auto i = t.failed_round.began_at; i < t.position; ++i) {
                const event& e = graph_.events[t.slots[static_cast<std::size_t>(i)]];
                // A weak compare-exchange that failed fails again, for whatever reason; and who lives may live on.
                if (e.what == kind::choice && !(e.desired != of_the_scenario && e.value == 0)) return false;
                if (e.what == kind::read && e.mo_index != graph_.newest_mo_index(e.location)) return false;
            }
            return true;
        default: return true;
    }
}

answer scheduler::perform_alone(const request& wanted) {
    const arena::paused engine_code;
    if (wanted.what == action::spawn || wanted.what == action::join)
        fail("threads are started and joined by threads only", &wanted.at, true);
    event e = event_for(wanted);
    if (e.what == kind::choice) {
        e.value = choose_alone(phase_ == model::phase::before ? &execution_graph::before : &execution_graph::after,
                               static_cast<unsigned>(wanted.operand));
    } else if (e.what != kind::fence) {
        use(wanted.location, wanted.at);
        std::uint64_t& value = locations_.value(wanted.location);
        if (e.what == kind::write) {
            value = e.value;
        } else {
            e.value = value;
            if (e.waits && !(*wanted.awaited)(value)) fail("waits for ever", &wanted.at);
            e.succeeds = e.operation != rmw::none && (e.operation != rmw::compare_exchange || e.value == e.operand);
            if (e.operation == rmw::compare_exchange) e.order = e.succeeds ? e.success_order : e.failure_order;
            if (e.succeeds) value = result_of(e);
        }
    }
    if (model::recorder != nullptr) recorder_.tell(e, wanted, phase_, 0, 0, graph_);
    return {e.value, e.succeeds};
}

unsigned scheduler::choose_alone(std::vector<std::uint8_t> execution_graph::* made, unsigned count) {
    std::vector<std::uint8_t>& choices = graph_.*made;
    if (alone_choices_ == choices.size()) {
        if (count > most_choices)
            fail("choices at one point: expected at most " + std::to_string(most_choices) + ", found " +
                     std::to_string(count),
                 nullptr, true);
        choices.push_back(0);
        for (unsigned other = count; --other > 0;)
            (trust_.put_aside(graph_).*made).back() = static_cast<std::uint8_t>(other);
    }
    const unsigned made_here = choices[alone_choices_++];
    if (made_here >= count) {
        if (script_)
            script_->refusal = "choices of the token: expected one of " + std::to_string(count) + ", found " +
                               std::to_string(made_here);
        fail("the scenario is not deterministic: fewer choices are to be had than before", nullptr, true);
    }
    return made_here;
}

std::uint16_t scheduler::begin_location(std::uint64_t value) {
    const arena::paused engine_code;
    if (phase_ == model::phase::threads) ++threads_[current_].effects;
    const std::uint16_t number = locations_.begin(value, now());
    if (number == locations::too_many)
        fail("atomic objects of a scenario: expected at most " + std::to_string(locations::most) + ", found one more",
             nullptr, true);
    return number;
}

void scheduler::end_location(std::uint16_t number) {
    const arena::paused engine_code;
    if (phase_ == model::phase::threads) ++threads_[current_].effects;
    if (std::string wrong = locations_.end(number, now()); !wrong.empty())
        fail(std::move(wrong), phase_ == model::phase::threads ? &threads_[current_].at : nullptr);
}

void scheduler::use(std::uint16_t number, const std::source_location& at) {
    if (const char* const misuse = locations_.use(number, now())) fail(misuse, &at);
}

moment scheduler::now() const {
    static constexpr view nothing{};
    if (phase_ != model::phase::threads) return {0, 0, nothing, true};
    const thread& t = threads_[current_];
    const event_id last = t.position > 0 ? t.slots[static_cast<std::size_t>(t.position) - 1] : t.parent;
    return {current_, t.position, last == nowhere ? nothing : graph_.events[last].happens_before, false};
}

void scheduler::touch_cell(cell_history& history, touch how, const void* object, const std::source_location& at,
                           std::string (*shown)(const void* value), const void* value) {
    const arena::paused engine_code;
    const bool alone = phase_ != model::phase::threads;
    const bool used = how == touch::read || how == touch::written;
    thread& me = threads_[current_];
    if (used) me.at = at;
    if (model::recorder != nullptr && (used || !alone))
        trace_recorder::tell(how, object, used ? shown(value) : "", phase_, current_, me.at);
    if (how == touch::made) make(history);
    if (const char* const misuse = misuse_of(history)) fail(misuse, &me.at);
    if (how != touch::read && !alone) ++me.effects;
    if (races(history, how, now())) fail("data race");
}

model::round scheduler::begin_round() const {
    if (phase_ != model::phase::threads) return {};
    return {threads_[current_].position, threads_[current_].effects};
}

void scheduler::ineffective(model::round& failed, const std::source_location& at) {
    if (phase_ != model::phase::threads) fail("waits for ever", &at);
    const arena::paused engine_code;
    thread& me = threads_[current_];
    if (me.effects != failed.effects) {
        const bool stored_what_was_there =
            std::any_of(me.slots.begin() + failed.began_at, me.slots.begin() + me.position, [&](event_id s) {
                return graph_.events[s].succeeds && result_of(graph_.events[s]) == graph_.events[s].value;
            });
        fail(stored_what_was_there ? "an ineffective round changes nothing: this one stored what was there, and a "
                                     "compare-exchange would not"
                                   : "an ineffective round changes nothing: this one stored, made or ended something",
             &at, true);
    }
    if (ineffective_rounds_ < how_.ineffective_rounds) {
        ++ineffective_rounds_;
        failed = begin_round();
        return;
    }
    me.failed_round = failed;
    me.at = at;
    me.is = state::ineffective;
    for (;;) fiber::suspend();
}

std::string scheduler::token() const { return token_of(graph_); }

void scheduler::make_mortal(std::jmp_buf* last_breath) {
    if (phase_ == model::phase::threads) threads_[current_].crash_point = last_breath;
}

void scheduler::set_failure(const std::string& why, const std::source_location* at, bool broken) {
    if (failed_) return;
    failed_ = true;
    broken_ = broken;
    why_ = why;  // copied: the argument may lie in a simulated thread's memory
    if (at != nullptr) why_ += " at " + place_of(*at);
}

// The thread does not come back, so nothing that owns memory may be left on its stack.
void scheduler::fail(std::string why, const std::source_location* at, bool broken) {
    arena::current = arena::none;
    set_failure(why, at, broken);
    {
        std::string gone;
        gone.swap(why);
    }
    for (;;) fiber::suspend();
}

}  // namespace shm::explore
