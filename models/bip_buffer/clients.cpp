// SPDX-License-Identifier: MIT OR Apache-2.0
// Clients of a bip buffer: one producer, one consumer, sometimes an observer; capacities 1, 2 and 4, positions from anywhere
// and about to wrap.
#include <shm/bip_buffer.hpp>

#include <shm/explore_atomics.hpp>

#include "checker/clients/clients.hpp"
#include "models/bip_buffer/memory.hpp"
#include "models/bip_buffer/reference.hpp"

namespace shm::model {
namespace {

using buffer = bip_buffer<std::uint64_t, std::uint8_t, explore_atomics>;

/// A bip buffer with the operations of its reference.
class buffer_of_a_client {
public:
    static constexpr const char* lanes[] = {"producer", "consumer", "observer"};

    explicit buffer_of_a_client(const buffer_reference& start)
        : buffer_{buffer::create(shared_.bytes(), start.capacity, static_cast<std::uint8_t>(start.published)).value()},
          producer_{buffer_.claim_producer({1, 1}).value()},
          consumer_{buffer_.claim_consumer({2, 1}).value()},
          published_{static_cast<std::uint8_t>(start.published)},
          consumed_{published_} {}

    buffer_answer grant_commit(std::uint64_t first, std::size_t count, std::size_t used) {
        const auto grant = producer_.try_grant(count);
        if (grant) {
            for (auto& slot : grant.slots.first(used)) slot.write(first++);
            producer_.commit(used);
        }
        return {static_cast<std::uint64_t>(grant.result), moved(published_, shared_.header.published)};
    }
    buffer_answer peek_consume(std::size_t most) {
        buffer_answer told{0};
        for (const auto& slot : consumer_.peek()) told.push_back(slot.read());
        consumer_.consume(std::min(most, told.size() - 1));
        told.front() = moved(consumed_, shared_.header.consumed);
        return told;
    }
    [[nodiscard]] std::size_t size_approx() const { return buffer_.size_approx(); }

private:
    [[nodiscard]] static std::uint64_t moved(std::uint8_t& last, const buffer::header::atomic<std::uint8_t>& word) {
        const std::uint8_t now = word.load(std::memory_order_relaxed);  // its own thread's
        return static_cast<std::uint8_t>(now - std::exchange(last, now));
    }

    buffer_memory<buffer, 4> shared_;
    buffer buffer_;
    buffer::producer producer_;
    buffer::consumer consumer_;
    std::uint8_t published_, consumed_;
};

/// Up to `most` calls of that kind.
std::vector<buffer_call> calls(buffer_call::kind what, int most, std::size_t capacity) {
    const auto full_size = [](auto gen) { return rc::gen::resize(rc::kNominalSize, std::move(gen)); };
    const auto count = rc::gen::inRange<std::size_t>(0, capacity + 2);
    return *rc::gen::resize(
        most, rc::gen::container<std::vector<buffer_call>>(full_size(rc::gen::apply(
                  [what](std::size_t asked, std::size_t moved) { return buffer_call{what, 0, asked, moved}; }, count,
                  count))));
}

/// Each item is another number, in the order in which they would be written.
client<buffer_reference> numbered(client<buffer_reference> made) {
    std::uint64_t next = 1;
    for (auto* const calls : {&made.before, &made.threads.front(), &made.after})
        for (buffer_call& call : *calls)
            if (call.what == buffer_call::grant_commit) call.item = std::exchange(next, next + call.count);
    return made;
}

rc::Gen<client<buffer_reference>> any_client() {
    return rc::gen::exec([] {
        client<buffer_reference> made;
        const auto capacity = std::size_t{1} << *rc::gen::inRange(0, 3);
        made.start.capacity = static_cast<std::uint32_t>(capacity);
        const auto until_wrap = *rc::gen::inRange<std::uint64_t>(0, 2 * capacity);
        made.start.published = made.start.consumed = until_wrap == 0 ? 0 : 256 - until_wrap;
        made.before = calls(buffer_call::grant_commit, 2, capacity);
        for (const auto& call : calls(buffer_call::peek_consume, 2, capacity)) made.before.push_back(call);
        made.threads.push_back(calls(buffer_call::grant_commit, 4, capacity));
        made.threads.push_back(calls(buffer_call::peek_consume, 4, capacity));
        if (auto observer = calls(buffer_call::size_approx, 2, capacity); !observer.empty())
            made.threads.push_back(std::move(observer));
        made.after = {{buffer_call::size_approx},
                      {buffer_call::peek_consume, 0, 0, capacity},
                      {buffer_call::peek_consume, 0, 0, capacity},
                      {buffer_call::grant_commit, 0, capacity, 0}};
        return numbered(std::move(made));
    });
}

const bool added = [] {
    add_clients<buffer_of_a_client, buffer_reference>("bip_buffer", any_client);
    return true;
}();

}  // namespace
}  // namespace shm::model
