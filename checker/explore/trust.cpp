// SPDX-License-Identifier: MIT OR Apache-2.0
#include <algorithm>
#include <utility>

#include "checker/explore/replay_token.hpp"
#include "checker/explore/trust.hpp"

namespace shm::explore {
namespace {

constexpr std::size_t most_spare = 1024;

}  // namespace

bool trust::next() {
    if (open_.empty()) return false;
    std::swap(now, open_.back());
    drop_last();
    return true;
}

execution_graph& trust::put_aside(const execution_graph& of) {
    if (spare_.empty()) {
        open_.emplace_back(of);
    } else {
        open_.push_back(std::move(spare_.back()));
        spare_.pop_back();
        open_.back() = of;
    }
    return open_.back();
}

void trust::drop_last() {
    if (spare_.size() < most_spare) spare_.push_back(std::move(open_.back()));
    open_.pop_back();
}

std::vector<execution_graph> trust::take_all() { return std::exchange(open_, {}); }

void trust::remember(unsigned thread, std::int16_t index, const predicate& awaited) {
    auto& of_thread = awaited_[thread];
    const auto at = static_cast<std::size_t>(index);
    if (of_thread.size() <= at) of_thread.resize(at + 1);
    of_thread[at] = awaited;
}

bool trust::satisfies(const event& read, std::uint64_t value) const {
    return awaited_[read.thread][static_cast<std::size_t>(read.index)](value);
}

std::uint64_t trust::value_of(event_id write, std::uint16_t location) const {
    return write == initial ? initially_.value(location) : now.events[write].value;
}

bool trust::satisfied_by_newest(const event& wait) const {
    return satisfies(wait, value_of(now.write_at(wait.location, now.newest_mo_index(wait.location)), wait.location));
}

bool trust::can_end(const event& wait) {
    const auto visible = now.writes_visible(wait.location, now.known_after(wait.previous), writes_);
    for (unsigned mo_index = visible.oldest; mo_index <= visible.newest; ++mo_index)
        if (satisfies(wait, value_of(writes_[mo_index], wait.location)) && may_read(wait, writes_[mo_index]))
            return true;
    return false;
}

/// Whether seq_cst events leave the thread that wants to read this write. If they do not now, they never will.
bool trust::may_read(const event& wanted, event_id write) {
    if (!now.has_seq_cst && wanted.order != std::memory_order_seq_cst) return true;
    const bool had_seq_cst = now.has_seq_cst;
    now.set_source(now.append(wanted), write, initially_.value(wanted.location));
    const bool may = now.seq_cst_consistent();
    now.events.pop_back();
    now.has_seq_cst = had_seq_cst;
    return may;
}

void trust::add_choice(const event& c, unsigned asked) {
    const event_id s = now.append(c);
    for (std::uint64_t other = c.operand; --other > 0;) put_aside(now).events[s].value = other;
    if (asked < c.operand) now.events[s].value = asked;
}

/// A read may take the value of every write that it is not bound to have seen overwritten.
bool trust::add_read(const event& r, bool others_go_on, unsigned asked) {
    const auto visible = now.writes_visible(r.location, now.known_after(r.previous), writes_);
    mo_indices_.clear();
    for (unsigned mo_index = visible.newest + 1; mo_index-- > visible.oldest;)
        if (!r.waits || (satisfies(r, value_of(writes_[mo_index], r.location)) && may_read(r, writes_[mo_index])))
            mo_indices_.push_back(mo_index);
    put_first(asked);

    const event_id s = now.append(r);
    if (r.waits) {
        // It may also not be awake while the others go on, and what it waits for may be gone after.
        const bool transient = !satisfies(r, value_of(writes_[visible.newest], r.location));
        event blocked = r;
        blocked.what = kind::blocked;
        if (asked == option_blocked) {
            now.events[s] = blocked;
            return true;
        }
        if (others_go_on || transient) put_aside(now).events[s] = blocked;
    }
    const auto take = [&](execution_graph& g, unsigned mo_index) {
        g.set_source(s, writes_[mo_index], initially_.value(r.location));
        return g.seq_cst_consistent();
    };
    for (std::size_t i = mo_indices_.size(); i-- > 1;)
        if (!take(put_aside(now), mo_indices_[i])) drop_last();
    return take(now, mo_indices_.front()) && (!now.events[s].succeeds || add_write_of_rmw(s));
}

/// A replay takes the option of its token first.
void trust::put_first(unsigned asked) {
    if (const auto found = std::find(mo_indices_.begin(), mo_indices_.end(), asked); found != mo_indices_.end())
        std::iter_swap(mo_indices_.begin(), found);
}

/// The second half of a read-modify-write, at once.
bool trust::add_write_of_rmw(event_id read) {
    const event& r = now.events[read];
    event w = r;
    w.what = kind::write;
    w.operation = rmw::none;
    w.part_of_rmw = true;
    w.succeeds = false;
    w.index = static_cast<std::int16_t>(r.index + 1);
    w.previous = read;
    w.source = initial;
    w.mo_index = 0;
    w.value = result_of(r);
    const unsigned mo_index = r.mo_index + 1U;
    const event_id conflicting_rmw = now.conflicting_rmw(r.location, r.source, read);
    const event_id s = now.append(w);
    revisit(s, conflicting_rmw);
    if (conflicting_rmw != nowhere) return false;  // two read-modify-writes of one write
    now.insert(s, mo_index);
    return true;  // what psc says against it, it has said against what was read
}

/// A write may come anywhere after what its thread knows of, but not between a read-modify-write and what that read.
bool trust::add_write(const event& w, unsigned asked) {
    const auto visible = now.writes_visible(w.location, now.known_after(w.previous), writes_);
    const event_id s = now.append(w);
    revisit(s, nowhere);
    mo_indices_.clear();
    for (unsigned mo_index = visible.newest + 1; mo_index > visible.oldest; --mo_index)
        if (mo_index > visible.newest || !now.events[writes_[mo_index]].part_of_rmw) mo_indices_.push_back(mo_index);
    put_first(asked);
    for (std::size_t i = mo_indices_.size(); i-- > 1;) {
        execution_graph& other = put_aside(now);
        other.insert(s, mo_indices_[i]);
        if (!other.seq_cst_consistent()) drop_last();
    }
    now.insert(s, mo_indices_.front());
    return now.seq_cst_consistent();
}

/// Reads that were added before `write` and do not depend on it may read from it after all, if what has been added since
/// then, and does not belong to the past of `write`, is what would be added anew in the same way: else another execution
/// revisits the same read. `rival` has read what `write`, as part of a read-modify-write, replaces; it must go, or change.
void trust::revisit(event_id write, event_id conflicting_rmw) {
    const view past = now.events[write].prefix;
    for (event_id s = write; s-- > 0;) {
        const event& r = now.events[s];
        if (r.is_in(past)) continue;
        if (!maximally_added(s, write)) return;
        if (r.what != kind::read || r.location != now.events[write].location) continue;
        if (conflicting_rmw != nowhere && s > conflicting_rmw) continue;
        if (r.waits && !satisfies(r, now.events[write].value)) continue;
        revisit_one(s, write);
    }
}

/// Whether an event that `write`'s revisit of an earlier read would delete is the one that the search adds first: it reads
/// from, or is, the newest write among those that were there when it was added or are in the past of `write`; a write,
/// moreover, is not read by what stays.
bool trust::maximally_added(event_id s, event_id write) const {
    const auto& events = now.events;
    const event& e = events[s];
    const view& past = events[write].prefix;
    const auto stays = [&](event_id other) { return other <= s || events[other].is_in(past); };
    switch (e.what) {
        case kind::choice: return e.value == 0;
        case kind::blocked: return false;
        case kind::read:
            if (e.source != initial && !stays(e.source)) return false;
            break;
        case kind::write:
            for (event_id r = 0; r < now.size(); ++r)
                if (events[r].what == kind::read && events[r].source == s && stays(r)) return false;
            break;
        default: return true;
    }
    for (event_id w = 0; w < now.size(); ++w) {
        const event& newer = events[w];
        if (newer.what != kind::write || newer.location != e.location || newer.mo_index <= e.mo_index) continue;
        if (stays(w) && (!e.waits || satisfies(e, newer.value))) return false;
    }
    return true;
}

void trust::revisit_one(event_id read, event_id write) {
    execution_graph& kept = kept_;
    now.restrict_to(read, now.events[write].prefix, kept);
    const auto w = static_cast<event_id>(kept.events.size() - 1);
    const event& written = kept.events[w];
    kept.set_source(read, w, 0);

    unsigned oldest, newest;
    if (written.part_of_rmw) {
        const event& first_half = kept.events[written.previous];
        if (kept.conflicting_rmw(written.location, first_half.source, written.previous) != nowhere) return;
        oldest = newest = first_half.mo_index;
    } else {
        view known = written.happens_before;
        known.count[written.thread] = written.index;
        oldest = kept.oldest_visible(written.location, known);
        newest = kept.newest_mo_index(written.location);
    }
    // What the reader knows of must not be newer than what it now reads.
    oldest = std::max(oldest, kept.oldest_visible(written.location, kept.known_after(kept.events[read].previous)));
    for (unsigned behind = oldest; behind <= newest; ++behind) {
        if (!written.part_of_rmw) {
            const event_id next = kept.write_at(written.location, behind + 1);
            if (next != initial && kept.events[next].part_of_rmw) continue;
        }
        execution_graph& revisited = put_aside(kept);
        revisited.insert(w, behind + 1);
        if (!revisited.seq_cst_consistent()) drop_last();
    }
}

}  // namespace shm::explore
