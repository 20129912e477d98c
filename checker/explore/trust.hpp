// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// The algorithm proper: how a graph grows by one event, and which other graphs are to be visited for that. It knows nothing of
// how a program is run.
#include <vector>

#include "checker/explore/execution_graph.hpp"
#include "checker/explore/locations.hpp"

namespace shm::explore {

class trust {
public:
    explicit trust(const locations& initially) : initially_{initially} {}

    execution_graph now;  // of the execution that is going on

    /// Takes the graph that was put aside last as `now`. False when there is none.
    bool next();
    [[nodiscard]] bool empty() const { return open_.empty(); }
    /// A copy that is to be visited.
    execution_graph& put_aside(const execution_graph& of);
    /// All that were put aside, the oldest first.
    [[nodiscard]] std::vector<execution_graph> take_all();

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
    bool add_write_of_rmw(event_id read);
    void add_choice(const event& c, unsigned asked);
    /// A fence, a spawn or a join.
    void add(const event& e) { now.append(e); }

private:
    void drop_last();
    [[nodiscard]] std::uint64_t value_of(event_id write, std::uint16_t location) const;
    [[nodiscard]] bool may_read(const event& wanted, event_id write);
    void put_first(unsigned asked);
    void revisit(event_id write, event_id conflicting_rmw);
    void revisit_one(event_id read, event_id write);
    [[nodiscard]] bool maximally_added(event_id s, event_id write) const;

    const locations& initially_;
    std::vector<execution_graph> open_;                        // to be visited
    std::vector<execution_graph> spare_;                       // the memory of those that were
    execution_graph kept_;                                     // what a revisit leaves
    std::vector<event_id> writes_;                             // to the location in question, by place
    std::vector<unsigned> mo_indices_;                         // that are possible
    std::array<std::vector<predicate>, max_threads> awaited_;  // by the index of the event
};

}  // namespace shm::explore
