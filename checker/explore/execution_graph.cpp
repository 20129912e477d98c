// SPDX-License-Identifier: MIT OR Apache-2.0
#include <algorithm>
#include <bit>

#include "checker/explore/execution_graph.hpp"

namespace shm::explore {
namespace {

/// A relation between the events of one graph, with the operators of the papers.
class relation {
public:
    explicit relation(std::size_t events)
        : locations_{(events + 63) / 64}, rows_(events * locations_), events_{events} {}

    void add(std::size_t from, std::size_t to) { rows_[from * locations_ + to / 64] |= std::uint64_t{1} << to % 64; }
    [[nodiscard]] bool has(std::size_t from, std::size_t to) const {
        return (rows_[from * locations_ + to / 64] >> to % 64 & 1) != 0;
    }

    relation& operator|=(const relation& other) {
        for (std::size_t i = 0; i < rows_.size(); ++i) rows_[i] |= other.rows_[i];
        return *this;
    }
    friend relation operator|(relation a, const relation& b) { return a |= b; }

    /// One after the other.
    friend relation operator*(const relation& a, const relation& b) {
        relation both{a.events_};
        for (std::size_t from = 0; from < a.events_; ++from)
            a.each(from, [&](std::size_t middle) { both.include(from, b, middle); });
        return both;
    }

    /// Only the pairs that `keep` agrees to.
    template <class Keep>
    [[nodiscard]] relation where(Keep keep) const {
        relation kept{events_};
        for (std::size_t from = 0; from < events_; ++from)
            each(from, [&](std::size_t to) {
                if (keep(from, to)) kept.add(from, to);
            });
        return kept;
    }

    /// Destroys the relation.
    [[nodiscard]] bool has_cycle() {
        for (std::size_t middle = 0; middle < events_; ++middle)
            for (std::size_t from = 0; from < events_; ++from)
                if (has(from, middle)) include(from, *this, middle);
        for (std::size_t i = 0; i < events_; ++i)
            if (has(i, i)) return true;
        return false;
    }

private:
    template <class Do>
    void each(std::size_t from, Do what) const {
        for (std::size_t w = 0; w < locations_; ++w)
            for (std::uint64_t bits = rows_[from * locations_ + w]; bits != 0; bits &= bits - 1)
                what(w * 64 + static_cast<std::size_t>(std::countr_zero(bits)));
    }
    void include(std::size_t from, const relation& other, std::size_t row) {
        for (std::size_t w = 0; w < locations_; ++w) rows_[from * locations_ + w] |= other.rows_[row * locations_ + w];
    }

    std::size_t locations_;
    std::vector<std::uint64_t> rows_;
    std::size_t events_;
};

}  // namespace

std::uint64_t result_of(const event& read) noexcept {
    const std::uint64_t mask = read.bytes == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * read.bytes) - 1;
    switch (read.operation) {
        case rmw::exchange: return read.operand;
        case rmw::add: return (read.value + read.operand) & mask;
        case rmw::sub: return (read.value - read.operand) & mask;
        case rmw::bit_and: return read.value & read.operand;
        case rmw::bit_or: return read.value | read.operand;
        case rmw::compare_exchange: return read.desired;
        case rmw::none: break;
    }
    return read.value;
}

void execution_graph::clear() {
    events.clear();
    before.clear();
    after.clear();
    has_seq_cst = false;
}

void execution_graph::derive(event& e) const noexcept {
    if (e.previous != nowhere) {
        const event& p = events[e.previous];
        e.happens_before = p.happens_before;
        e.prefix = p.prefix;
        if (p.thread == e.thread) {
            e.pending = p.pending;
            e.released = p.released;
        } else {  // a thread begins with what its parent had done
            e.pending = p.happens_before;
            e.released = {};
        }
    } else {
        e.happens_before = e.prefix = e.pending = e.released = {};
    }
    if (e.what == kind::read && e.source != initial) {
        const event& w = events[e.source];
        e.prefix.join(w.prefix);
        e.pending.join(w.carried);
        if (acquires(e.order)) e.happens_before.join(w.carried);
    }
    if (e.what == kind::join) {
        const event& last = events[e.source];
        const auto child = static_cast<unsigned>(e.value);
        e.prefix.join(last.prefix);
        e.happens_before.join(last.happens_before);
        ++e.happens_before.count[child];  // with what it did after its last event
    }
    if (e.what == kind::fence && acquires(e.order)) e.happens_before.join(e.pending);
    e.happens_before.count[e.thread] = e.prefix.count[e.thread] = static_cast<std::int16_t>(e.index + 1);
    if (e.what == kind::fence && releases(e.order)) e.released = e.happens_before;
    if (e.what != kind::write) return;
    e.carried = releases(e.order) ? e.happens_before : e.released;
    if (!e.part_of_rmw) return;
    const event& read = events[e.previous];  // a release sequence goes on through it
    if (read.source != initial) e.carried.join(events[read.source].carried);
}

event_id execution_graph::append(const event& e) {
    const auto added = static_cast<event_id>(events.size());
    events.push_back(e);
    derive(events.back());
    has_seq_cst = has_seq_cst || e.order == std::memory_order_seq_cst;
    return added;
}

void execution_graph::set_source(event_id read, event_id write, std::uint64_t initial_value) {
    event& r = events[read];
    r.source = write;
    r.value = write == initial ? initial_value : events[write].value;
    r.mo_index = write == initial ? std::uint16_t{0} : events[write].mo_index;
    r.succeeds = r.operation != rmw::none && (r.operation != rmw::compare_exchange || r.value == r.operand);
    if (r.operation == rmw::compare_exchange) r.order = r.succeeds ? r.success_order : r.failure_order;
    derive(r);
    has_seq_cst = has_seq_cst || r.order == std::memory_order_seq_cst;
}

void execution_graph::insert(event_id write, unsigned mo_index) {
    const std::uint16_t location = events[write].location;
    for (event& e : events)
        if (e.accesses(location) && e.mo_index >= mo_index) ++e.mo_index;
    events[write].mo_index = static_cast<std::uint16_t>(mo_index);
    for (event& e : events)
        if (e.what == kind::read && e.source == write) e.mo_index = static_cast<std::uint16_t>(mo_index);
}

unsigned execution_graph::oldest_visible(std::uint16_t location, const view& known) const noexcept {
    unsigned oldest = 0;
    for (const event& e : events)
        if (e.accesses(location) && e.is_in(known) && e.mo_index > oldest) oldest = e.mo_index;
    return oldest;
}

execution_graph::choice execution_graph::writes_visible(std::uint16_t location, const view& known,
                                                        std::vector<event_id>& by_mo_index) const {
    if (by_mo_index.size() <= events.size()) by_mo_index.resize(events.size() + 1);
    by_mo_index[0] = initial;
    choice found{0, 0};
    for (event_id s = 0; s < size(); ++s) {
        const event& e = events[s];
        if (!e.accesses(location)) continue;
        if (e.is_in(known) && e.mo_index > found.oldest) found.oldest = e.mo_index;
        if (e.what != kind::write || e.mo_index == 0) continue;
        by_mo_index[e.mo_index] = s;
        if (e.mo_index > found.newest) found.newest = e.mo_index;
    }
    return found;
}

unsigned execution_graph::newest_mo_index(std::uint16_t location) const noexcept {
    unsigned newest = 0;
    for (const event& e : events)
        if (e.accesses(location) && e.mo_index > newest) newest = e.mo_index;
    return newest;
}

event_id execution_graph::write_at(std::uint16_t location, unsigned mo_index) const noexcept {
    if (mo_index != 0)
        for (event_id s = 0; s < size(); ++s)
            if (events[s].what == kind::write && events[s].location == location && events[s].mo_index == mo_index)
                return s;
    return initial;
}

event_id execution_graph::conflicting_rmw(std::uint16_t location, event_id source, event_id except) const noexcept {
    for (event_id s = 0; s < size(); ++s) {
        const event& e = events[s];
        if (e.what == kind::read && e.succeeds && e.location == location && e.source == source && s != except) return s;
    }
    return nowhere;
}

void execution_graph::restrict_to(event_id last, const view& kept, execution_graph& into) const {
    into.clear();
    into.before = before;
    into.has_seq_cst = has_seq_cst;
    thread_local std::vector<event_id> renamed;
    thread_local std::vector<event_id> removed_writes;
    renamed.assign(events.size(), nowhere);
    removed_writes.clear();
    for (event_id s = 0; s < size(); ++s) {
        if (s > last && !events[s].is_in(kept)) {
            if (events[s].what == kind::write) removed_writes.push_back(s);
            continue;
        }
        renamed[s] = static_cast<event_id>(into.events.size());
        into.events.push_back(events[s]);
    }
    for (event& e : into.events) {
        if (e.previous != nowhere) e.previous = renamed[e.previous];
        if (e.source != initial) e.source = renamed[e.source];
        if (e.what != kind::read && e.what != kind::write) continue;
        unsigned older = 0;
        for (const event_id w : removed_writes)
            if (events[w].location == e.location && events[w].mo_index < e.mo_index) ++older;
        e.mo_index = static_cast<std::uint16_t>(e.mo_index - older);
    }
}

std::array<unsigned, max_threads> execution_graph::names() const noexcept {
    std::array<unsigned, max_threads> names{}, started{};
    for (unsigned t = 0; t < max_threads; ++t) names[t] = t;
    for (const event& e : events)
        if (e.what == kind::spawn) names[e.value] = name_of_child(names[e.thread], started[e.thread]++);
    return names;
}

bool execution_graph::seq_cst_consistent() const {
    if (!has_seq_cst) return true;
    const std::size_t n = events.size();
    const auto is_sc = [&](std::size_t i) { return events[i].order == std::memory_order_seq_cst; };
    const auto is_sc_fence = [&](std::size_t i) { return is_sc(i) && events[i].what == kind::fence; };
    const auto is_access = [&](std::size_t i) { return events[i].what == kind::read || events[i].what == kind::write; };
    const auto same_location = [&](std::size_t i, std::size_t j) {
        return is_access(i) && is_access(j) && events[i].location == events[j].location;
    };

    relation po{n}, hb{n}, mo{n}, rf{n}, rb{n}, self{n};
    for (std::size_t i = 0; i < n; ++i) {
        const event& a = events[i];
        self.add(i, i);
        for (std::size_t j = 0; j < n; ++j) {
            const event& b = events[j];
            if (i == j) continue;
            if (a.is_in(b.happens_before)) hb.add(i, j);
            if (a.thread == b.thread && a.index < b.index) po.add(i, j);
            if (b.what == kind::read && b.source == i) rf.add(i, j);
            if (same_location(i, j) && b.what == kind::write && b.mo_index > a.mo_index)
                (a.what == kind::write ? mo : rb).add(i, j);
        }
    }
    const auto elsewhere = [&](std::size_t i, std::size_t j) { return !same_location(i, j); };
    const relation po_elsewhere = po.where(elsewhere);
    const relation onward = mo | rb;
    const relation eco = onward | rf | onward * rf;
    const relation scb = po | po_elsewhere * hb * po_elsewhere | hb.where(same_location) | onward;

    const auto from_sc = [&](std::size_t i, std::size_t j) { return i == j ? is_sc(i) : is_sc_fence(i); };
    const auto to_sc = [&](std::size_t i, std::size_t j) { return i == j ? is_sc(j) : is_sc_fence(j); };
    const relation hb_or_self = hb | self;
    relation psc = hb_or_self.where(from_sc) * scb * hb_or_self.where(to_sc);
    psc |= (hb | hb * eco * hb).where([&](std::size_t i, std::size_t j) { return is_sc_fence(i) && is_sc_fence(j); });
    return !psc.has_cycle();
}

}  // namespace shm::explore
