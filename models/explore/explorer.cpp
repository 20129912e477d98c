// SPDX-License-Identifier: MIT OR Apache-2.0
#include <algorithm>
#include <deque>
#include <exception>
#include <explore/arena.hpp>
#include <explore/explorer.hpp>
#include <stdexcept>

namespace shm::explore {
namespace {

using enum std::memory_order;

constexpr std::size_t most_spare = 1024;
constexpr std::size_t most_locations = 1024;
constexpr unsigned most_choices = 256;  // before and after the threads
constexpr std::int16_t never = 0x7fff;  // a position that no thread reaches
constexpr std::int16_t always = -1;     // one that every thread knows of
constexpr unsigned none_scripted = ~0U;
constexpr unsigned stuck_scripted = 9999;

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

std::string name_of(touch t) {
    switch (t) {
        case touch::made: return "make";
        case touch::read: return "read";
        case touch::written: return "write";
        case touch::ended: break;
    }
    return "end";
}

std::string place_of(const std::source_location& at) {
    const std::string file = at.file_name();
    return file.substr(file.rfind('/') + 1) + ":" + std::to_string(at.line());
}

constexpr std::string_view digits = "0123456789abcdefghijklmnopqrstuvwxyz";

/// One digit where that is enough, else a number in parentheses.
std::string number(unsigned n) { return n < digits.size() ? std::string(1, digits[n]) : "(" + std::to_string(n) + ")"; }

explorer* running_explorer;

}  // namespace

explorer& explorer::running() { return *running_explorer; }

/// The decisions of one execution, in an order in which each thread can take them: the sequential choices before, for each
/// event its thread and its option, the sequential choices after.
struct explorer::script {
    std::vector<std::uint8_t> before, after;
    std::vector<std::pair<unsigned, unsigned>> steps;
    std::size_t next = 0;

    explicit script(const std::string& token) {
        std::size_t at = 0;
        const auto read = [&] {
            if (at < token.size() && token[at] == '(') {
                const auto end = token.find(')', at);
                if (end == std::string::npos) wrong(token, at);
                const auto value = std::strtoul(token.c_str() + at + 1, nullptr, 10);
                at = end + 1;
                return static_cast<unsigned>(value);
            }
            const auto digit = at < token.size() ? digits.find(token[at]) : std::string_view::npos;
            if (digit == std::string_view::npos) wrong(token, at);
            ++at;
            return static_cast<unsigned>(digit);
        };
        const auto skip_colon = [&] {
            if (at >= token.size() || token[at] != ':') wrong(token, at);
            ++at;
        };
        while (at < token.size() && token[at] != ':') before.push_back(static_cast<std::uint8_t>(read()));
        skip_colon();
        while (at < token.size() && token[at] != ':') {
            const unsigned thread = read();
            steps.emplace_back(thread, read());
        }
        skip_colon();
        while (at < token.size()) after.push_back(static_cast<std::uint8_t>(read()));
    }

private:
    [[noreturn]] static void wrong(const std::string& token, std::size_t at) {
        throw std::invalid_argument("character " + std::to_string(at + 1) +
                                    " of the token: expected a digit or a colon, found " +
                                    (at < token.size() ? "\"" + token.substr(at, 1) + "\"" : "its end"));
    }
};

explorer::explorer(const program& subject, const settings& how) : subject_{subject}, how_{how} {
    if (subject.threads < 1 || subject.threads > max_threads)
        throw std::invalid_argument("threads of a scenario: expected 1 to " + std::to_string(max_threads) + ", found " +
                                    std::to_string(subject.threads));
}
explorer::~explorer() = default;

void explorer::run(const std::function<bool(const totals&)>& go_on) { run_from({}, go_on); }

void explorer::run_from(const graph& root, const std::function<bool(const totals&)>& go_on) {
    push_copy(root);
    while (!open_.empty()) {
        std::swap(graph_, open_.back());
        drop_last();
        execute();
        if (failed_) return;
        if (totals_.visited % how_.between_looks == 0 && go_on && !go_on(totals_)) return;
    }
    exhausted_ = true;
}

std::vector<graph> explorer::run_until(std::size_t graphs, const std::function<bool(const totals&)>& go_on) {
    std::deque<graph> waiting(1);
    while (!waiting.empty() && waiting.size() < graphs) {
        graph_ = std::move(waiting.front());
        waiting.pop_front();
        execute();
        std::move(open_.begin(), open_.end(), std::back_inserter(waiting));
        open_.clear();
        if (failed_) return {};
        if (totals_.visited % how_.between_looks == 0 && go_on && !go_on(totals_)) break;
    }
    exhausted_ = waiting.empty();
    return {std::move_iterator{waiting.begin()}, std::move_iterator{waiting.end()}};
}

void explorer::replay(const std::string& token) {
    script_ = std::make_unique<script>(token);
    graph_.clear();
    graph_.before = script_->before;
    graph_.after = script_->after;
    execute();
}

graph& explorer::push_copy(const graph& of) {
    if (spare_.empty()) {
        open_.emplace_back(of);
    } else {
        open_.push_back(std::move(spare_.back()));
        spare_.pop_back();
        open_.back() = of;
    }
    return open_.back();
}

void explorer::drop_last() {
    if (spare_.size() < most_spare) spare_.push_back(std::move(open_.back()));
    open_.pop_back();
}

void explorer::begin() {
    ++totals_.visited;
    arena::reset(was_recording_);
    was_recording_ = model::recorder != nullptr;
    for (auto& of_thread : recorded_) of_thread.clear();
    begun_.fill(0);
    for (thread& t : threads_) {
        t.is = state::ended;
        t.position = 0;
        t.slots.clear();
        t.parent = nowhere;
        t.effects = 0;
        t.deathbed = nullptr;
    }
    for (slot s = 0; s < graph_.size(); ++s) threads_[graph_.events[s].thread].slots.push_back(s);
    running_explorer = this;
}

/// Runs the program along the graph, and from there on makes the graph longer until nothing more can happen. What else
/// could have been done at each step is left in `open_`.
void explorer::execute() {
    begin();
    phase_ = model::phase::before;
    alone_choices_ = 0;
    main_.start([](unsigned) { running_explorer->run_main(); }, 0);
    main_.resume();
    if (failed_) return;

    phase_ = model::phase::threads;
    for (unsigned t = 0; t < subject_.threads; ++t) start(t);
    settle();
    for (thread& t : threads_)
        if (t.is == state::half_way && !add_write_of_rmw(t)) return;
    settle();
    while (!failed_) {
        thread* const t = next();
        if (t == nullptr) return conclude();
        if (graph_.events.size() >= how_.most_events) {
            set_failure("more than " + std::to_string(how_.most_events) +
                            " events in an execution: a loop that waits for a thread is an await, one that tries again "
                            "says that a round was in vain; the last",
                        &t->at, true);
            return;
        }
        if (!extend(*t)) return;
        settle();
    }
}

/// Runs scenario code. What it throws must be gone before the thread is abandoned for it.
template <class Code>
void explorer::run_code(unsigned arena_index, Code code) {
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

void explorer::run_main() {
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

void explorer::run_thread(unsigned index) {
    run_code(index, [this, index] { threads_[index].body(); });
    threads_[index].is = state::ended;
}

void explorer::start(unsigned index) {
    threads_in_use_ = std::max(threads_in_use_, index + 1);
    threads_[index].is = state::ready;
    threads_[index].on.start([](unsigned me) { running_explorer->run_thread(me); }, index);
}

/// Lets every thread run until it wants something new or can go no further.
void explorer::settle() {
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

bool explorer::is_behind(const thread& t) const {
    const thread& other = threads_[t.other];
    return other.position < t.until && other.is != state::ended;
}

answer explorer::perform(const request& wanted) {
    if (phase_ != model::phase::threads) return perform_alone(wanted);
    thread& me = threads_[current_];
    if (me.deathbed != nullptr && wanted.what != action::choose) {
        std::jmp_buf* const bed = std::exchange(me.deathbed, nullptr);
        if (perform({.what = action::choose, .operand = 2, .desired = of_death, .at = wanted.at}).value != 0)
            std::longjmp(*bed, 1);
        me.deathbed = bed;
    }
    const arena::paused engine_code;
    me.at = wanted.at;
    if (wanted.awaited != nullptr) remember(me, wanted);
    const auto suspend_as = [&me](state why) {
        me.is = why;
        fiber::suspend();
    };
    for (;;) {
        const auto here = static_cast<std::size_t>(me.position);
        if (here == me.slots.size()) {
            me.wanted = event_for(wanted);
            suspend_as(state::wants);
            continue;
        }
        const event& e = graph_.events[me.slots[here]];
        if (e.what == kind::stuck) {
            suspend_as(state::stuck);
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
        if (e.what == kind::write || e.what == kind::spawn || e.succeeds) ++me.effects;
        if (e.what == kind::read || e.what == kind::write) use(e.location, wanted.at);
        if (e.what == kind::spawn) {
            thread& child = threads_[e.value];
            child.body = *static_cast<const std::function<void()>*>(wanted.object);
            child.parent = me.slots[here];
            start(static_cast<unsigned>(e.value));
        }
        if (model::recorder != nullptr) record(e, wanted);
        return {e.value, e.succeeds};
    }
}

event explorer::event_for(const request& wanted) const {
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
        case action::await: e.order = order_of(model::op::load, wanted.order); break;
        case action::store: e.order = order_of(model::op::store, wanted.order); break;
        case action::fence: e.order = order_of(model::op::fence, wanted.order); break;
        case action::compare_exchange:
            e.success_order = order_of(model::op::rmw, wanted.order);
            e.failure_order = order_of(model::op::cas_failure, wanted.failure_order);
            break;
        case action::choose:
        case action::spawn: break;
        case action::join: e.value = wanted.operand; break;
        default: e.order = order_of(model::op::rmw, wanted.order);
    }
    return e;
}

void explorer::remember(thread& t, const request& wanted) {
    const auto index = static_cast<std::size_t>(t.position);
    if (t.awaited.size() <= index) t.awaited.resize(index + 1);
    t.awaited[index] = *wanted.awaited;
}

bool explorer::satisfies(const event& read, std::uint64_t value) const {
    return threads_[read.thread].awaited[static_cast<std::size_t>(read.index)](value);
}

std::uint64_t explorer::value_of(slot write, std::uint16_t location) const {
    return write == initial ? words_[location].value : graph_.events[write].value;
}

/// Whether what the thread wants can happen now. Only waits and joins cannot always.
bool explorer::enabled(const thread& t) {
    const event& e = t.wanted;
    if (e.what == kind::join) return threads_[e.value].is == state::ended;
    if (!e.waits) return true;
    const auto visible = graph_.writes_visible(e.location, known_to(t), writes_);
    for (unsigned place = visible.oldest; place <= visible.newest; ++place)
        if (satisfies(e, value_of(writes_[place], e.location)) && may_read(e, writes_[place])) return true;
    return false;
}

/// Whether seq_cst events leave the thread that wants to read this write. If they do not now, they never will.
bool explorer::may_read(const event& wanted, slot write) {
    if (!graph_.has_seq_cst && wanted.order != seq_cst) return true;
    restricted_ = graph_;
    restricted_.set_source(restricted_.append(wanted), write, words_[wanted.location].value);
    return restricted_.seq_cst_consistent();
}

/// Whose turn it is: any order is right that depends on the graph alone. Reads come after writes, because what is written
/// later revisits what was read; waits come last, so that whoever can run on has done so before somebody is left waiting.
explorer::thread* explorer::next() {
    if (script_ && script_->next < script_->steps.size()) {
        const unsigned index = script_->steps[script_->next].first;
        if (index < max_threads && threads_[index].is == state::wants) return &threads_[index];
        set_failure("the token is of another program", nullptr, true);
        return nullptr;
    }
    thread* best = nullptr;
    const auto rank = [](const thread& t) { return t.wanted.what != kind::read ? 0 : t.wanted.waits ? 2 : 1; };
    for (thread& t : threads_)
        if (t.is == state::wants && (best == nullptr || rank(t) < rank(*best)) && enabled(t)) best = &t;
    return best;
}

unsigned explorer::scripted() const {
    return script_ && script_->next < script_->steps.size() ? script_->steps[script_->next].second : none_scripted;
}

/// Adds the event that the thread wants. False when what has come about is no execution.
bool explorer::extend(thread& t) {
    event e = t.wanted;
    bool consistent = true;
    switch (e.what) {
        case kind::read: consistent = add_read(t, e); break;
        case kind::write: consistent = add_write(t, e); break;
        case kind::choice: add_choice(t, e); break;
        case kind::spawn: {
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
            e.value = static_cast<std::uint64_t>(id - taken.begin());
            add(t, e);
            break;
        }
        case kind::join: {
            const thread& child = threads_[e.value];
            e.source = child.slots.empty() ? child.parent : child.slots.back();
            add(t, e);
            break;
        }
        default: add(t, e); consistent = e.order != seq_cst || graph_.seq_cst_consistent();
    }
    if (script_) ++script_->next;
    t.is = state::ready;
    return consistent;
}

slot explorer::add(thread& t, event e) {
    t.slots.push_back(graph_.append(e));
    return t.slots.back();
}

void explorer::add_choice(thread& t, const event& c) {
    const slot s = add(t, c);
    for (std::uint64_t other = c.operand; --other > 0;) push_copy(graph_).events[s].value = other;
    if (scripted() < c.operand) graph_.events[s].value = scripted();
}

/// A read may take the value of every write that it is not bound to have seen overwritten.
bool explorer::add_read(thread& t, const event& r) {
    bool others_go_on = false;
    if (r.waits)
        for (const thread& other : threads_)
            others_go_on = others_go_on || (&other != &t && other.is == state::wants && enabled(other));

    const auto visible = graph_.writes_visible(r.location, known_to(t), writes_);
    places_.clear();
    for (unsigned place = visible.newest + 1; place-- > visible.oldest;)
        if (!r.waits || (satisfies(r, value_of(writes_[place], r.location)) && may_read(r, writes_[place])))
            places_.push_back(place);
    prefer_scripted();

    const slot s = add(t, r);
    if (r.waits) {
        // It may also not be awake while the others go on, and what it waits for may be gone after.
        const bool transient = !satisfies(r, value_of(writes_[visible.newest], r.location));
        event stuck = r;
        stuck.what = kind::stuck;
        if (scripted() == stuck_scripted) {
            graph_.events[s] = stuck;
            return true;
        }
        if (others_go_on || transient) push_copy(graph_).events[s] = stuck;
    }
    const auto take = [&](graph& g, unsigned place) {
        g.set_source(s, writes_[place], words_[r.location].value);
        return g.seq_cst_consistent();
    };
    for (std::size_t i = places_.size(); i-- > 1;)
        if (!take(push_copy(graph_), places_[i])) drop_last();
    return take(graph_, places_.front()) && (!graph_.events[s].succeeds || add_write_of_rmw(t));
}

/// A replay takes the option of its token first.
void explorer::prefer_scripted() {
    if (const auto asked = std::find(places_.begin(), places_.end(), scripted()); asked != places_.end())
        std::iter_swap(places_.begin(), asked);
}

/// The second half of a read-modify-write, at once.
bool explorer::add_write_of_rmw(thread& t) {
    const slot read = t.slots.back();
    const event& r = graph_.events[read];
    event w = r;
    w.what = kind::write;
    w.operation = rmw::none;
    w.part_of_rmw = true;
    w.succeeds = false;
    w.index = static_cast<std::int16_t>(r.index + 1);
    w.previous = read;
    w.source = initial;
    w.place = 0;
    w.value = result_of(r);
    const unsigned place = r.place + 1U;
    const slot rival = graph_.rival(r.location, r.source, read);
    const slot s = add(t, w);
    revisit(s, rival);
    if (rival != nowhere) return false;  // two read-modify-writes of one write
    graph_.insert(s, place);
    t.is = state::ready;
    return graph_.seq_cst_consistent();
}

/// A write may come anywhere after what its thread knows of, but not between a read-modify-write and what that read.
bool explorer::add_write(thread& t, const event& w) {
    const auto visible = graph_.writes_visible(w.location, known_to(t), writes_);
    const slot s = add(t, w);
    revisit(s, nowhere);
    places_.clear();
    for (unsigned place = visible.newest + 1; place > visible.oldest; --place)
        if (place > visible.newest || !graph_.events[writes_[place]].part_of_rmw) places_.push_back(place);
    prefer_scripted();
    for (std::size_t i = places_.size(); i-- > 1;) {
        graph& other = push_copy(graph_);
        other.insert(s, places_[i]);
        if (!other.seq_cst_consistent()) drop_last();
    }
    graph_.insert(s, places_.front());
    return graph_.seq_cst_consistent();
}

/// Reads that were added before `write` and do not depend on it may read from it after all, if what has been added since
/// then, and does not belong to the past of `write`, is what would be added anew in the same way: else another execution
/// revisits the same read. `rival` has read what `write`, as part of a read-modify-write, replaces; it must go, or change.
void explorer::revisit(slot write, slot rival) {
    const view past = graph_.events[write].prefix;
    for (slot s = write; s-- > 0;) {
        const event& r = graph_.events[s];
        if (r.is_in(past)) continue;
        if (!maximally_added(s, write)) return;
        if (r.what != kind::read || r.location != graph_.events[write].location) continue;
        if (rival != nowhere && s > rival) continue;
        if (r.waits && !satisfies(r, graph_.events[write].value)) continue;
        revisit_one(s, write);
    }
}

/// Whether an event that `write`'s revisit of an earlier read would delete is the one that the search adds first: it reads
/// from, or is, the newest write among those that were there when it was added or are in the past of `write`; a write,
/// moreover, is not read by what stays.
bool explorer::maximally_added(slot s, slot write) const {
    const auto& events = graph_.events;
    const event& e = events[s];
    const view& past = events[write].prefix;
    const auto stays = [&](slot other) { return other <= s || events[other].is_in(past); };
    switch (e.what) {
        case kind::choice: return e.value == 0;
        case kind::stuck: return false;
        case kind::read:
            if (e.source != initial && !stays(e.source)) return false;
            break;
        case kind::write:
            for (slot r = 0; r < graph_.size(); ++r)
                if (events[r].what == kind::read && events[r].source == s && stays(r)) return false;
            break;
        default: return true;
    }
    for (slot w = 0; w < graph_.size(); ++w) {
        const event& newer = events[w];
        if (newer.what != kind::write || newer.location != e.location || newer.place <= e.place || w == write) continue;
        if (newer.part_of_rmw && newer.previous == s) continue;  // its own second half
        if (stays(w) && (!e.waits || satisfies(e, newer.value))) return false;
    }
    return true;
}

void explorer::revisit_one(slot read, slot write) {
    graph& kept = restricted_;
    graph_.restrict_to(read, graph_.events[write].prefix, kept);
    const auto w = static_cast<slot>(kept.events.size() - 1);
    const event& written = kept.events[w];
    kept.set_source(read, w, 0);

    unsigned oldest, newest;
    if (written.part_of_rmw) {
        const event& first_half = kept.events[written.previous];
        if (kept.rival(written.location, first_half.source, written.previous) != nowhere) return;
        oldest = newest = first_half.place;
    } else {
        view known = written.happens_before;
        known.count[written.thread] = written.index;
        oldest = kept.oldest_visible(written.location, known);
        newest = kept.newest_place(written.location);
    }
    // What the reader knows of must not be newer than what it now reads.
    oldest = std::max(oldest, kept.oldest_visible(written.location, kept.known_after(kept.events[read].previous)));
    for (unsigned behind = oldest; behind <= newest; ++behind) {
        if (!written.part_of_rmw) {
            const slot next = kept.write_at(written.location, behind + 1);
            if (next != initial && kept.events[next].part_of_rmw) continue;
        }
        graph& revisited = push_copy(kept);
        revisited.insert(w, behind + 1);
        if (!revisited.seq_cst_consistent()) drop_last();
    }
}

/// Nobody can go on: all have ended, or some wait for what another execution brings, or for ever.
void explorer::conclude() {
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
    std::vector<std::uint16_t> newest(words_.size());
    for (const event& e : graph_.events) {
        if (e.what != kind::write || e.place <= newest[e.location]) continue;
        newest[e.location] = e.place;
        words_[e.location].value = e.value;
    }
    phase_ = model::phase::after;
    alone_choices_ = 0;
    main_.resume();
    if (failed_) return;
    ++totals_.complete;
    if (how_.find_duplicates && !seen_.insert(signature()).second) ++totals_.duplicates;
    if (on_complete) on_complete(graph_);
}

/// Whether a thread that waits would wait for ever if the others did nothing more: each thread comes to see the newest
/// write of every location in the end.
bool explorer::hopeless(const thread& t) const {
    const auto satisfied_by_newest = [&](const event& wait) {
        const slot newest = graph_.write_at(wait.location, graph_.newest_place(wait.location));
        return satisfies(wait, value_of(newest, wait.location));
    };
    switch (t.is) {
        case state::wants: return t.wanted.what == kind::join || !satisfied_by_newest(t.wanted);
        case state::stuck: return !satisfied_by_newest(graph_.events[t.slots[static_cast<std::size_t>(t.position)]]);
        case state::in_vain:
            for (auto i = t.vain.began_at; i < t.position; ++i) {
                const event& e = graph_.events[t.slots[static_cast<std::size_t>(i)]];
                // A weak compare-exchange that was tried in vain fails again, for whatever reason; and who lives may live on.
                if (e.what == kind::choice && !(e.desired != of_the_scenario && e.value == 0)) return false;
                if (e.what == kind::read && e.place != graph_.newest_place(e.location)) return false;
            }
            return true;
        default: return true;
    }
}

answer explorer::perform_alone(const request& wanted) {
    const arena::paused engine_code;
    event e = event_for(wanted);
    if (e.what == kind::choice) {
        e.value = choose_alone(phase_ == model::phase::before ? &graph::before : &graph::after,
                               static_cast<unsigned>(wanted.operand));
    } else if (e.what == kind::spawn || e.what == kind::join) {
        fail("threads are started and joined by threads only", &wanted.at, true);
    } else if (e.what != kind::fence) {
        use(wanted.location, wanted.at);
        std::uint64_t& value = words_[wanted.location].value;
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
    if (model::recorder != nullptr) record(e, wanted);
    return {e.value, e.succeeds};
}

unsigned explorer::choose_alone(std::vector<std::uint8_t> graph::* made, unsigned count) {
    std::vector<std::uint8_t>& choices = graph_.*made;
    if (alone_choices_ == choices.size()) {
        if (count > most_choices)
            fail("choices at one point: expected at most " + std::to_string(most_choices) + ", found " +
                     std::to_string(count),
                 nullptr, true);
        choices.push_back(0);
        for (unsigned other = count; --other > 0;) (push_copy(graph_).*made).back() = static_cast<std::uint8_t>(other);
    }
    return choices[alone_choices_++];
}

std::uint16_t explorer::begin_location(std::uint64_t value) {
    const arena::paused engine_code;
    const bool alone = phase_ != model::phase::threads;
    const unsigned creator = alone ? max_threads : current_;
    auto& numbers = numbers_[creator];
    if (begun_[creator] == numbers.size()) {
        if (words_.size() == most_locations)
            fail(
                "atomic objects of a scenario: expected at most " + std::to_string(most_locations) + ", found one more",
                nullptr, true);
        numbers.push_back(static_cast<std::uint16_t>(words_.size()));
        words_.emplace_back();
    }
    const std::uint16_t number = numbers[begun_[creator]++];
    words_[number] = {
        value, true, alone ? always : threads_[current_].position, static_cast<std::int16_t>(creator), {}};
    words_[number].used_at.fill(always);
    return number;
}

void explorer::end_location(std::uint16_t number) {
    word& ended = words_[number];
    if (phase_ == model::phase::threads) {
        use(number, threads_[current_].at);
        const view& known = known_to(threads_[current_]);
        for (unsigned other = 0; other < max_threads; ++other)
            if (other != current_ && ended.used_at[other] >= known.count[other])
                fail("destroyed while thread " + std::to_string(other) + " may be using it");
    }
    ended.alive = false;
}

/// A use of an atomic object is a race with its beginning and its end.
void explorer::use(std::uint16_t number, const std::source_location& at) {
    word& used = words_[number];
    if (!used.alive) fail("used after its end", &at);
    if (phase_ != model::phase::threads) return;
    const thread& me = threads_[current_];
    const auto creator = static_cast<unsigned>(used.begun_by);
    if (used.begun_at != always && creator != current_ && used.begun_at >= known_to(me).count[creator])
        fail("used while it is being made", &at);
    used.used_at[current_] = me.position;
}

/// What has happened before the next operation of a thread.
const view& explorer::known_to(const thread& t) const {
    static constexpr view nothing{};
    const slot last = t.position > 0 ? t.slots[static_cast<std::size_t>(t.position) - 1] : t.parent;
    return last == nowhere ? nothing : graph_.events[last].happens_before;
}

void explorer::touch_cell(cell_history& history, touch how, const void* object, const std::source_location& at,
                          std::string (*shown)(const void* value), const void* value) {
    const arena::paused engine_code;
    const bool alone = phase_ != model::phase::threads;
    const bool used = how == touch::read || how == touch::written;
    const std::source_location& where = used ? at : threads_[current_].at;
    if (model::recorder != nullptr && (used || !alone)) {
        const std::string what = used ? name_of(how) + " " + shown(value) : name_of(how);
        model::recorder->add({phase_, alone ? 0 : current_, object, what, {}, -1, 0, false, where});
    }
    if (how == touch::made) {
        history = {};
        history.made_in = arena::execution;
    }
    if (history.made_in != arena::execution) fail("plain data that was never made is used", &where);
    if (history.ended) fail("plain data is used after its end", &where);
    history.ended = how == touch::ended;
    if (alone) return;
    thread& me = threads_[current_];
    me.at = where;
    const view& known = known_to(me);
    const auto unknown = [&](std::int16_t when, unsigned who) { return who != current_ && when >= known.count[who]; };
    bool race = unknown(history.written_at, static_cast<unsigned>(history.written_by));
    if (how == touch::read) {
        history.read_at[current_] = me.position;
    } else {
        if (how == touch::written) ++me.effects;
        for (unsigned other = 0; other < max_threads; ++other) race = race || unknown(history.read_at[other], other);
        history.written_at = me.position;
        history.written_by = static_cast<std::int16_t>(current_);
    }
    if (race) fail("data race");
}

model::round explorer::begin_round() const {
    if (phase_ != model::phase::threads) return {};
    return {threads_[current_].position, threads_[current_].effects};
}

void explorer::in_vain(model::round& failed, const std::source_location& at) {
    if (phase_ != model::phase::threads) fail("waits for ever", &at);
    const arena::paused engine_code;
    thread& me = threads_[current_];
    if (me.effects != failed.effects)
        fail("a round that is in vain has no effect: this one stored something", &at, true);
    if (!how_.prune_vain_rounds) {
        failed = begin_round();
        return;
    }
    me.vain = failed;
    me.at = at;
    me.is = state::in_vain;
    for (;;) fiber::suspend();
}

void explorer::make_mortal(std::jmp_buf* last_breath) {
    if (phase_ == model::phase::threads) threads_[current_].deathbed = last_breath;
}

void explorer::set_failure(const std::string& why, const std::source_location* at, bool broken) {
    if (failed_) return;
    failed_ = true;
    broken_ = broken;
    why_ = why;  // copied: the argument may lie in a simulated thread's memory
    if (at != nullptr) why_ += " at " + place_of(*at);
}

// The thread does not come back, so nothing that owns memory may be left on its stack.
void explorer::fail(std::string why, const std::source_location* at, bool broken) {
    arena::current = arena::none;
    set_failure(why, at, broken);
    {
        std::string gone;
        gone.swap(why);
    }
    for (;;) fiber::suspend();
}

void explorer::record(const event& e, const request& wanted) {
    if (e.what == kind::choice || e.what == kind::spawn || e.what == kind::join) {
        const bool weak = e.what == kind::choice && e.desired == of_weak_exchange;
        if (weak && e.value == 0) return;  // as is to be expected
        const std::string what = weak                     ? "fails for no reason"
                                 : e.what == kind::choice ? "choose " + std::to_string(e.value)
                                 : e.what == kind::spawn  ? "spawn thread " + std::to_string(e.value)
                                                          : "join thread " + std::to_string(e.value);
        const unsigned who = phase_ == model::phase::threads ? current_ : 0;
        model::recorder->add({phase_, who, nullptr, what, {}, -1, 0, false, wanted.at});
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
    model::event shown{phase_, 0, wanted.object, what, model::name_of(e.order), -1, 0, false, wanted.at};
    if (phase_ == model::phase::threads) {
        shown.thread = current_;
        auto& mine = recorded_[current_];
        mine.resize(static_cast<std::size_t>(threads_[current_].position),
                    static_cast<int>(model::recorder->events.size()));
        if (e.what == kind::read && e.source != initial) {
            const event& w = graph_.events[e.source];
            shown.reads_from = recorded_[w.thread][static_cast<std::size_t>(w.index)];
        }
        if (e.what == kind::read) {
            const unsigned newest = graph_.newest_place(e.location);
            shown.stale = newest - e.place - (e.succeeds ? 1 : 0);
        }
    }
    model::recorder->add(std::move(shown));
}

/// Two executions are the same when their reads read from the same writes and their writes have the same order.
std::string explorer::signature() const {
    std::string text;
    const auto put = [&](unsigned number) {
        text += static_cast<char>(number & 0xff);
        text += static_cast<char>(number >> 8 & 0xff);
    };
    for (const std::uint8_t choice : graph_.before) put(choice);
    for (const thread& t : threads_) {
        put(static_cast<unsigned>(t.slots.size()));
        for (const slot s : t.slots) {
            const event& e = graph_.events[s];
            put(static_cast<unsigned>(e.what) * 16 + e.location);
            put(e.what == kind::choice ? static_cast<unsigned>(e.value) : e.place);
            if (e.what != kind::read) continue;
            put(e.source == initial ? initial : graph_.events[e.source].thread);
            put(e.source == initial ? initial : static_cast<unsigned>(graph_.events[e.source].index));
        }
    }
    for (const std::uint8_t choice : graph_.after) put(choice);
    return text;
}

std::string explorer::token() const {
    const auto& events = graph_.events;
    std::string text;
    for (const std::uint8_t choice : graph_.before) text += number(choice);
    text += ':';
    std::vector<bool> told(events.size());
    const auto can_be_told = [&](const event& e) {
        return (e.previous == nowhere || told[e.previous]) && (e.source == initial || told[e.source]);
    };
    for (std::size_t left = events.size(); left > 0;) {
        const std::size_t was_left = left;
        for (slot s = 0; s < graph_.size(); ++s) {
            const event& e = events[s];
            if (told[s] || !can_be_told(e)) continue;
            told[s] = true;
            --left;
            if (e.part_of_rmw) continue;
            unsigned option = 0;
            if (e.what == kind::choice) option = static_cast<unsigned>(e.value);
            if (e.what == kind::stuck) option = stuck_scripted;
            if (e.what == kind::read || e.what == kind::write)
                for (slot w = 0; w < graph_.size(); ++w)
                    if (told[w] && events[w].what == kind::write && events[w].location == e.location &&
                        events[w].place <= e.place)
                        ++option;
            text += number(e.thread) + number(option);
            // The second half of a read-modify-write follows at once.
            if (e.succeeds)
                for (slot w = 0; w < graph_.size(); ++w)
                    if (!told[w] && events[w].previous == s && events[w].part_of_rmw) told[w] = true, --left;
        }
        if (left == was_left) break;
    }
    text += ':';
    for (const std::uint8_t choice : graph_.after) text += number(choice);
    return text;
}

// What the layer calls.
answer perform(const request& wanted) { return explorer::running().perform(wanted); }
std::uint16_t begin_location(std::uint64_t value) { return explorer::running().begin_location(value); }
void end_location(std::uint16_t location) { explorer::running().end_location(location); }
void touch_cell(cell_history& history, touch how, const void* object, const std::source_location& at,
                std::string (*shown)(const void* value), const void* value) {
    explorer::running().touch_cell(history, how, object, at, shown, value);
}
bool spurious_failures() { return explorer::running().spurious_failures(); }
model::round begin_round() { return explorer::running().begin_round(); }
void in_vain(model::round& failed, const std::source_location& at) { explorer::running().in_vain(failed, at); }
unsigned spawn(const std::function<void()>& body, const std::source_location& at) {
    return static_cast<unsigned>(perform({.what = action::spawn, .object = &body, .at = at}).value);
}
void join(unsigned thread, const std::source_location& at) {
    perform({.what = action::join, .operand = thread, .at = at});
}
void fail(std::string why) { explorer::running().fail(std::move(why)); }

}  // namespace shm::explore
