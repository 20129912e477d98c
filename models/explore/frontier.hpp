// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// The algorithm proper: how a graph grows by one event, and which other graphs are to be visited for that. It knows nothing of
// how a program is run.
#include <explore/graph.hpp>
#include <explore/words.hpp>
#include <vector>

namespace shm::explore {

class frontier {
public:
    explicit frontier(const words& initially) : initially_{initially} {}

    graph now;  // of the execution that is going on

    /// Takes the graph that was put aside last as `now`. False when there is none.
    bool next();
    [[nodiscard]] bool empty() const { return open_.empty(); }
    /// A copy that is to be visited.
    graph& put_aside(const graph& of);
    /// All that were put aside, the oldest first.
    [[nodiscard]] std::vector<graph> take_all();

    /// What a wait, as an event of its thread, waits for.
    void remember(unsigned thread, std::int16_t index, const predicate& awaited);
    [[nodiscard]] bool satisfies(const event& read, std::uint64_t value) const;
    /// Whether it would be over if it saw the newest value.
    [[nodiscard]] bool satisfied_by_newest(const event& wait) const;
    /// Whether there is a write that ends it.
    [[nodiscard]] bool can_end(const event& wait);

    // Each adds an event to `now`, in the first of all ways, and puts `now` aside with it in each other. A replay asks for an
    // option to be the first. False when what has come about is no execution.
    static constexpr unsigned none_asked = ~0U;
    bool add_read(const event& r, bool others_go_on, unsigned asked);
    bool add_write(const event& w, unsigned asked);
    bool add_write_of_rmw(slot read);
    void add_choice(const event& c, unsigned asked);
    /// A fence, a spawn or a join.
    void add(const event& e) { now.append(e); }

private:
    void drop_last();
    [[nodiscard]] std::uint64_t value_of(slot write, std::uint16_t location) const;
    [[nodiscard]] bool may_read(const event& wanted, slot write);
    void put_first(unsigned asked);
    void revisit(slot write, slot rival);
    void revisit_one(slot read, slot write);
    [[nodiscard]] bool maximally_added(slot s, slot write) const;

    const words& initially_;
    std::vector<graph> open_;                                  // to be visited
    std::vector<graph> spare_;                                 // the memory of those that were
    graph kept_;                                               // what a revisit leaves
    std::vector<slot> writes_;                                 // to the location in question, by place
    std::vector<unsigned> places_;                             // that are possible
    std::array<std::vector<predicate>, max_threads> awaited_;  // by the index of the event
};

}  // namespace shm::explore
