// SPDX-License-Identifier: MIT OR Apache-2.0
// Clients of a ring: one producer, one consumer, sometimes an observer; capacities 1, 2 and 4, positions about to wrap.
#include <shm/spsc_ring.hpp>

#include <shm/explore_atomics.hpp>

#include "checker/clients/clients.hpp"
#include "models/spsc_ring/memory.hpp"
#include "models/spsc_ring/reference.hpp"

namespace shm::model {
namespace {

using ring = spsc_ring<std::uint64_t, std::uint8_t, explore_atomics>;

/// A ring with the operations of its reference.
class ring_of_a_client {
public:
    static constexpr const char* lanes[] = {"producer", "consumer", "observer"};

    explicit ring_of_a_client(const ring_reference& start)
        : ring_{ring::create(shared_.bytes(), start.capacity, static_cast<std::uint8_t>(start.published)).value()},
          producer_{ring_.claim_producer(writer).value()},
          consumer_{ring_.claim_consumer(reader).value()} {}

    push_result try_push(std::uint64_t item) { return producer_.try_push(item); }
    std::size_t try_push_n(std::uint64_t first, std::size_t count) {
        ring_answer items;
        for (std::size_t i = 0; i < count; ++i) items.push_back(first + i);
        return producer_.try_push_n(items);
    }
    std::size_t reserve_and_fill(std::uint64_t first, std::size_t count) {
        const auto slots = producer_.reserve(count);
        for (std::size_t i = 0; i < slots.size(); ++i) slots[i].write(first + i);
        return slots.size();
    }
    void commit(std::size_t count) { producer_.commit(count); }
    bool is_full() { return producer_.is_full(); }
    std::size_t available_capacity() { return producer_.available_capacity(); }

    std::optional<std::uint64_t> try_pop() { return consumer_.try_pop(); }
    ring_answer try_pop_n(std::size_t count) {
        ring_answer items(count);
        items.resize(consumer_.try_pop_n(items));
        return items;
    }
    ring_answer peek(std::size_t count) {
        ring_answer items;
        for (const auto& slot : consumer_.peek(count)) items.push_back(slot.read());
        return items;
    }
    void consume(std::size_t count) { consumer_.consume(count); }
    bool is_empty() { return consumer_.is_empty(); }
    std::size_t size() { return consumer_.size(); }

    [[nodiscard]] std::size_t size_approx() const { return ring_.size_approx(); }
    [[nodiscard]] bool is_empty_approx() const { return ring_.is_empty(); }

private:
    ring_memory<ring, 4> shared_;
    ring ring_;
    ring::producer producer_;
    ring::consumer consumer_;
};

/// Up to `most` calls of kinds `first` to `last`.
std::vector<ring_call> calls(ring_call::kind first, ring_call::kind last, int most, std::size_t capacity) {
    const auto full_size = [](auto gen) { return rc::gen::resize(rc::kNominalSize, std::move(gen)); };
    const auto count = rc::gen::inRange<std::size_t>(0, capacity + 2);
    return *rc::gen::resize(most, rc::gen::container<std::vector<ring_call>>(full_size(rc::gen::apply(
                                      [](int kind, std::size_t asked, std::size_t moved) {
                                          return ring_call{static_cast<ring_call::kind>(kind), 0, asked, moved};
                                      },
                                      rc::gen::inRange<int>(first, last + 1), count, count))));
}

/// Each item is another number, in the order in which they would be pushed.
client<ring_reference> numbered(client<ring_reference> made) {
    std::uint64_t next = 1;
    for (auto* const calls : {&made.before, &made.threads.front(), &made.after})
        for (ring_call& call : *calls) {
            if (call.what > ring_call::reserve_commit) continue;
            call.item = next;
            next += call.what == ring_call::try_push ? 1 : call.count;
        }
    return made;
}

rc::Gen<client<ring_reference>> any_client() {
    return rc::gen::exec([] {
        client<ring_reference> made;
        const auto capacity = std::size_t{1} << *rc::gen::inRange(0, 3);
        made.start.capacity = static_cast<std::uint32_t>(capacity);
        const auto until_wrap = *rc::gen::inRange<std::uint64_t>(0, 2 * capacity);
        made.start.published = made.start.consumed = until_wrap == 0 ? 0 : 256 - until_wrap;
        made.before = calls(ring_call::try_push, ring_call::size, 4, capacity);
        made.threads.push_back(calls(ring_call::try_push, ring_call::available_capacity, 4, capacity));
        made.threads.push_back(calls(ring_call::try_pop, ring_call::size, 4, capacity));
        if (auto observer = calls(ring_call::size_approx, ring_call::is_empty_approx, 2, capacity); !observer.empty())
            made.threads.push_back(std::move(observer));
        made.after = {{ring_call::size_approx}, {ring_call::available_capacity}, {ring_call::try_pop_n, 0, capacity}};
        return numbered(std::move(made));
    });
}

const bool added = [] {
    add_clients<ring_of_a_client, ring_reference>("spsc_ring", any_client);
    return true;
}();

}  // namespace
}  // namespace shm::model
