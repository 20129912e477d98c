// SPDX-License-Identifier: MIT OR Apache-2.0
#include <algorithm>
#include <map>
#include <utility>

#include "checker/tests/brute_force.hpp"

namespace shm::explore {
namespace {

enum class type : unsigned char { read, write, fence, choice, start, join };

struct node {
    type what;
    unsigned thread, index, location, value;  // of a choice, which; of start and join, the other thread
    std::memory_order order;
    int source;  // of a read: the node that it reads from; -1: the initial value
    bool second_half;
    [[nodiscard]] bool accesses() const { return what == type::read || what == type::write; }
};

/// A relation as a square of bools: slow and plain.
struct square {
    std::size_t n;
    std::vector<std::uint8_t> bits;
    explicit square(std::size_t size) : n{size}, bits(size * size) {}
    std::uint8_t& at(std::size_t i, std::size_t j) { return bits[i * n + j]; }
    [[nodiscard]] std::uint8_t at(std::size_t i, std::size_t j) const { return bits[i * n + j]; }
};
square then(const square& a, const square& b) {
    square c{a.n};
    for (std::size_t i = 0; i < a.n; ++i)
        for (std::size_t j = 0; j < a.n; ++j)
            for (std::size_t k = 0; a.at(i, j) && k < a.n; ++k)
                if (b.at(j, k)) c.at(i, k) = 1;
    return c;
}
square either(square a, const square& b) {
    for (std::size_t i = 0; i < a.bits.size(); ++i) a.bits[i] |= b.bits[i];
    return a;
}
square identity(std::size_t n) {
    square a{n};
    for (std::size_t i = 0; i < n; ++i) a.at(i, i) = 1;
    return a;
}
square closure(square a) {
    for (std::size_t k = 0; k < a.n; ++k)
        for (std::size_t i = 0; i < a.n; ++i)
            for (std::size_t j = 0; a.at(i, k) && j < a.n; ++j)
                if (a.at(k, j)) a.at(i, j) = 1;
    return a;
}
bool reflexive_somewhere(const square& a) {
    for (std::size_t i = 0; i < a.n; ++i)
        if (a.at(i, i)) return true;
    return false;
}
template <class Set>
square on(std::size_t n, Set set) {
    square a{n};
    for (std::size_t i = 0; i < n; ++i) a.at(i, i) = set(i);
    return a;
}

class enumeration {
public:
    explicit enumeration(const program_text& program)
        : program_{program},
          next_(program.size()),
          last_(program.size()),
          steps_(program.size()),
          started_(program.size()),
          called_(program.size()),
          waits_(program.size()) {
        for (unsigned t = 0; t < threads_at_first(program); ++t) {
            called_[t] = t;
            runs_.insert(t);
        }
    }

    enumerated run() {
        step();
        return std::move(found_);
    }

private:
    void step() {
        bool ended = true;
        for (unsigned t = 0; t < program_.size(); ++t) {
            const std::size_t was = next_[t];
            if (waits_[t] != nullptr || !runs_.contains(t)) continue;
            skip(t);
            if (next_[t] < program_[t].size() && !waits_for_a_thread(t)) {
                ended = false;
                next(t, program_[t][next_[t]]);
            }
            next_[t] = was;
        }
        if (!ended || !consistent()) return;
        bool all_ended = true, ineffective = true;
        for (const unsigned t : runs_) all_ended = all_ended && has_ended(t);
        for (const operation* const waits : waits_) {
            if (waits == nullptr) continue;
            const auto& written = order_[waits->location];
            ineffective = ineffective &&
                          (written.empty() ? 0 : nodes_[static_cast<std::size_t>(written.back())].value) != waits->a;
        }
        if (all_ended)
            found_.graphs.insert(name());
        else
            found_.waits_for_ever = found_.waits_for_ever || ineffective;
    }

    /// Goes past what is not performed.
    void skip(unsigned t) {
        const auto& thread = program_[t];
        while (next_[t] < thread.size() && ((thread[next_[t]].conditional && last_[t] == 0) ||
                                            (thread[next_[t]].kind == 'J' && !runs_.contains(thread[next_[t]].a))))
            ++next_[t];
    }
    bool has_ended(unsigned t) {
        const std::size_t was = next_[t];
        skip(t);
        const bool at_its_end = std::exchange(next_[t], was) == program_[t].size();
        return at_its_end && waits_[t] == nullptr;
    }
    bool waits_for_a_thread(unsigned t) {
        const operation& o = program_[t][next_[t]];
        return o.kind == 'J' && !has_ended(o.a);
    }

    void choose(unsigned t, unsigned count, auto then_do) {
        for (unsigned which = 0; which < count; ++which)
            add(t, {type::choice, t, 0, 0, which, std::memory_order_relaxed, -1, false}, [&] { then_do(which); });
    }

    void next(unsigned t, const operation& o) {
        ++next_[t];
        if (o.kind == 'D') {
            step();
        } else if (o.kind == 'Q') {
            choose(t, 2, [&](unsigned fails) { live_or_die(t, o, fails != 0); });
        } else if (o.kind == 'N') {
            const unsigned was = last_[t];
            choose(t, o.a, [&](unsigned which) {
                last_[t] = which;
                step();
            });
            last_[t] = was;
        } else {
            live_or_die(t, o, false);
        }
        --next_[t];
    }

    void live_or_die(unsigned t, const operation& o, bool fails) {
        if (program_[t].front().kind != 'D') return perform(t, o, fails);
        choose(t, 2, [&](unsigned dies) {
            if (dies == 0) return perform(t, o, fails);
            const std::size_t was = std::exchange(next_[t], program_[t].size());
            step();
            next_[t] = was;
        });
    }

    void perform(unsigned t, const operation& o, bool fails) {
        if (o.kind == 'S') {
            called_[o.a] = 8 * (called_[t] + 1) + started_[t]++;
            runs_.insert(o.a);
            add(t, {type::start, t, 0, 0, o.a, std::memory_order_relaxed, -1, false}, [&] { step(); });
            runs_.erase(o.a);
            --started_[t];
        } else if (o.kind == 'J') {
            add(t, {type::join, t, 0, 0, o.a, std::memory_order_relaxed, -1, false}, [&] { step(); });
        } else if (o.kind == 'F') {
            add(t, {type::fence, t, 0, 0, 0, o.order, -1, false}, [&] { step(); });
        } else if (o.kind == 'W') {
            write(t, o.location, o.a, o.order, false, -1, [&] { step(); });
        } else {
            const unsigned was = last_[t];
            for (int source = -1; source < static_cast<int>(nodes_.size()); ++source) {
                if (source >= 0 && (nodes_[static_cast<std::size_t>(source)].what != type::write ||
                                    nodes_[static_cast<std::size_t>(source)].location != o.location))
                    continue;
                const unsigned value = source < 0 ? 0 : nodes_[static_cast<std::size_t>(source)].value;
                if (o.kind == 'U' && value != o.a) continue;
                last_[t] = value;
                const bool swaps = o.kind == 'A' || o.kind == 'X' || (o.compares() && !fails && value == o.a);
                const unsigned written = o.kind == 'A' ? value + o.a : o.kind == 'X' ? o.a : o.b;
                const auto order = o.compares() && !swaps ? o.failure_order() : o.order;
                add(t, {type::read, t, 0, o.location, value, order, source, false}, [&] {
                    if (swaps)
                        write(t, o.location, written, o.order, true, source, [&] { step(); });
                    else
                        step();
                });
            }
            last_[t] = was;
            if (o.kind != 'U') return;
            waits_[t] = &o;
            step();
            waits_[t] = nullptr;
        }
    }

    template <class Then>
    void add(unsigned t, node n, Then then_do) {
        n.index = steps_[t]++;
        nodes_.push_back(n);
        then_do();
        nodes_.pop_back();
        --steps_[t];
    }

    template <class Then>
    void write(unsigned t, unsigned location, unsigned value, std::memory_order order, bool second_half, int source,
               Then then_do) {
        auto& written = order_[location];
        const auto me = static_cast<int>(nodes_.size());
        for (std::size_t mo_index = 0; mo_index <= written.size(); ++mo_index) {
            if (second_half && (mo_index == 0 ? -1 : written[mo_index - 1]) != source) continue;
            written.insert(written.begin() + static_cast<std::ptrdiff_t>(mo_index), me);
            add(t, {type::write, t, 0, location, value, order, -1, second_half}, then_do);
            written.erase(written.begin() + static_cast<std::ptrdiff_t>(mo_index));
        }
    }

    [[nodiscard]] std::size_t mo_index(int w, unsigned location) const {
        if (w < 0) return 0;
        const auto& written = order_.at(location);
        return static_cast<std::size_t>(std::find(written.begin(), written.end(), w) - written.begin()) + 1;
    }

    [[nodiscard]] bool consistent() const {
        const std::size_t n = nodes_.size();
        square po{n}, forks{n}, rf{n}, rmw{n}, mo{n}, rb{n}, same_place{n}, other_place{n};
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t j = 0; j < n; ++j) {
                const node &a = nodes_[i], &b = nodes_[j];
                const bool accesses = a.accesses() && b.accesses() && a.location == b.location;
                same_place.at(i, j) = accesses;
                other_place.at(i, j) = !accesses;
                po.at(i, j) = a.thread == b.thread && a.index < b.index;
                forks.at(i, j) =
                    (a.what == type::start && a.value == b.thread) || (b.what == type::join && b.value == a.thread);
                rf.at(i, j) = b.what == type::read && b.source == static_cast<int>(i);
                rmw.at(i, j) = b.second_half && a.thread == b.thread && a.index + 1 == b.index;
                if (!accesses || b.what != type::write || i == j) continue;
                const std::size_t from = mo_index(a.what == type::write ? static_cast<int>(i) : a.source, a.location);
                (a.what == type::write ? mo : rb).at(i, j) = from < mo_index(static_cast<int>(j), b.location);
            }
        // Atomicity: nothing between a read-modify-write's source and its write.
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t j = 0; j < n; ++j)
                if (rmw.at(i, j) && then(rb, mo).at(i, j)) return false;

        using enum std::memory_order;
        const auto is = [&](type what) { return on(n, [&, what](std::size_t i) { return nodes_[i].what == what; }); };
        const auto releases_here = [&](std::size_t i) {
            return nodes_[i].order == release || nodes_[i].order == acq_rel || nodes_[i].order == seq_cst;
        };
        const auto acquires_here = [&](std::size_t i) {
            return nodes_[i].order == acquire || nodes_[i].order == acq_rel || nodes_[i].order == seq_cst;
        };
        const square self = identity(n), reads = is(type::read), writes = is(type::write), fences = is(type::fence);
        const square sequence = then(writes, either(self, closure(then(rf, rmw))));
        const square begins = then(on(n, releases_here), either(self, then(fences, po)));
        const square ends = then(either(self, then(po, fences)), on(n, acquires_here));
        const square synchronizes = then(then(then(begins, sequence), then(rf, reads)), ends);
        const square hb = closure(either(either(po, forks), synchronizes));
        const square eco = closure(either(either(rf, mo), rb));
        if (reflexive_somewhere(then(hb, either(self, eco)))) return false;
        if (reflexive_somewhere(closure(either(either(po, forks), rf)))) return false;

        const auto both = [](square a, const square& b) {
            for (std::size_t i = 0; i < a.bits.size(); ++i) a.bits[i] &= b.bits[i];
            return a;
        };
        const square apart = both(po, other_place);
        const square scb =
            either(either(po, then(then(apart, hb), apart)), either(either(both(hb, same_place), mo), rb));
        const square sc = on(n, [&](std::size_t i) { return nodes_[i].order == seq_cst; });
        const square sc_fences = then(sc, fences);
        const square hb_or_self = either(self, hb);
        const square from = either(sc, then(sc_fences, hb_or_self)), to = either(sc, then(hb_or_self, sc_fences));
        const square by_fences = then(then(sc_fences, either(hb, then(then(hb, eco), hb))), sc_fences);
        return !reflexive_somewhere(closure(either(then(then(from, scb), to), by_fences)));
    }

    [[nodiscard]] std::string name() const {
        std::vector<std::string> parts;
        const auto called = [&](int i) {
            return i < 0 ? std::string{"-"}
                         : std::to_string(called_[nodes_[static_cast<std::size_t>(i)].thread]) + "." +
                               std::to_string(nodes_[static_cast<std::size_t>(i)].index);
        };
        for (std::size_t i = 0; i < nodes_.size(); ++i)
            if (nodes_[i].what == type::read)
                parts.push_back(called(static_cast<int>(i)) + "<" + called(nodes_[i].source));
            else if (nodes_[i].what == type::choice)
                parts.push_back(called(static_cast<int>(i)) + "=" + std::to_string(nodes_[i].value));
        std::sort(parts.begin(), parts.end());
        std::string text;
        for (const auto& part : parts) text += part + " ";
        for (const auto& [location, written] : order_) {
            if (written.empty()) continue;
            text += std::to_string(location) + ":";
            for (const int w : written) text += called(w) + " ";
        }
        return text;
    }

    const program_text& program_;
    std::vector<std::size_t> next_;
    std::vector<unsigned> last_, steps_, started_, called_;
    std::set<unsigned> runs_;
    std::vector<node> nodes_;
    std::map<unsigned, std::vector<int>> order_;
    std::vector<const operation*> waits_;  // for what never comes
    enumerated found_;
};

}  // namespace

enumerated brute_force(const program_text& program) { return enumeration{program}.run(); }

std::string name_of(const execution_graph& g) {
    const auto names = g.names();
    const auto called = [&](event_id s) {
        return s == initial ? std::string{"-"}
                            : std::to_string(names[g.events[s].thread]) + "." + std::to_string(g.events[s].index);
    };
    std::vector<std::string> parts;
    std::map<unsigned, std::map<unsigned, event_id>> order;
    for (event_id s = 0; s < g.size(); ++s) {
        const event& e = g.events[s];
        if (e.what == kind::read) parts.push_back(called(s) + "<" + called(e.source));
        if (e.what == kind::choice) parts.push_back(called(s) + "=" + std::to_string(e.value));
        if (e.what == kind::write) order[e.location][e.mo_index] = s;
    }
    std::sort(parts.begin(), parts.end());
    std::string text;
    for (const auto& part : parts) text += part + " ";
    for (const auto& [location, written] : order) {
        text += std::to_string(location) + ":";
        for (const auto& [mo_index, s] : written) text += called(s) + " ";
    }
    return text;
}

}  // namespace shm::explore
