// SPDX-License-Identifier: MIT OR Apache-2.0
// Every interleaving of small bip buffers. What is written are the numbers 1, 2, 3, ... so that each slot says which it is;
// what a scenario is there for is said in its sentence, and shown by the weakenings (docs/orders.md) and mistakes
// (mistakes.toml) that only it finds.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <shm/bip_buffer.hpp>
#include <shm/message_framing.hpp>

#include "checker/driver/scenario.hpp"
#include "models/bip_buffer/memory.hpp"
#include "testkit/staged_death.hpp"

namespace shm::model {
namespace {

using enum std::memory_order;

constexpr peer_id writer{1, 1}, reader{2, 1}, successor{3, 1};

/// A buffer with both of its roles held.
template <class Buffer, std::size_t Capacity, std::size_t Slots = Capacity>
struct buffer_and_ends {
    buffer_memory<Buffer, Slots> shared;
    std::optional<typename Buffer::producer> producer;
    std::optional<typename Buffer::consumer> consumer;

    void make(std::uint64_t first_position) {
        const auto made =
            Buffer::create(shared.bytes(), Capacity, static_cast<typename Buffer::position>(first_position));
        producer.emplace(made->claim_producer(writer).value());
        consumer.emplace(made->claim_consumer(reader).value());
    }
};

/// Asks for so many slots and, once granted, writes the next numbers into the first `used` and commits those.
template <class Producer>
[[nodiscard]] grant_result write(Producer& producer, std::size_t asked, std::size_t used, int& written) {
    const auto grant = producer.try_grant(asked);
    check(grant.slots.size() == (grant ? asked : 0));
    if (!grant) return grant.result;
    for (auto& slot : grant.slots.first(used)) slot.write(++written);
    producer.commit(used);
    return grant.result;
}

/// Reads what there is and gives back at most `most` of it. Whether there was anything.
template <class Consumer>
bool read(Consumer& consumer, std::size_t most, int& seen) {
    const auto found = consumer.peek();
    int next = seen;
    for (const auto& slot : found) check(slot.read() == ++next);
    if (found.empty()) return false;
    const auto taken = std::min(most, found.size());
    consumer.consume(taken);
    seen += static_cast<int>(taken);
    return true;
}

template <class Consumer>
void drain(Consumer& consumer, int& seen, int written) {
    while (read(consumer, 100, seen)) {
    }
    check(seen == written);
}

/// An empty buffer grants what it ever grants after at most one look of the consumer.
template <class Ends>
void grants_everything(Ends& ends, std::size_t capacity) {
    auto grant = ends.producer->try_grant(capacity);
    if (!grant) {
        check(grant.result == grant_result::full && ends.consumer->peek().empty());
        grant = ends.producer->try_grant(capacity);
    }
    check(grant && grant.slots.size() == capacity);
    check(ends.producer->try_grant(capacity + 1).result == grant_result::too_large);
    check(!ends.producer->corrupt() && !ends.consumer->corrupt());
}

/// Tries until it succeeds, or once. A call that fails and has moved its side's position all the same, past a wrap, was not
/// ineffective: it is made again.
template <form Form, class Word, class Call>
bool attempt_or_move(const Word& own_position, Call call) {
    for (;;) {
        bool succeeded = false;
        const bool moved = attempt<Form>([&] {
            const auto before = own_position.load(relaxed);
            succeeded = call();
            return succeeded || own_position.load(relaxed) != before;
        });
        if (succeeded || !moved) return succeeded;
    }
}

/// One run: how many slots are asked for, and how many of them used.
struct run {
    std::size_t asked, used;
};

/// One producer, one consumer. What varies: capacity, first position, the runs, how many looks the consumer takes, how much
/// it gives back after each.
template <class A, form Form, std::size_t Capacity, class Position, std::size_t Runs>
struct transfer {
    static constexpr unsigned threads = 2;
    using buffer = bip_buffer<int, Position, A>;
    buffer_and_ends<buffer, Capacity> ends;
    std::array<run, Runs> runs;
    std::size_t unread = 0, most = Capacity;  // slots before the first run
    int written = 0, seen = 0;

    void thread(unsigned index) {
        if (index == 0) {
            for (const run& each : runs) {
                grant_result result{};
                const auto once = [&] {
                    result = write(*ends.producer, each.asked, each.used, written);
                    return result != grant_result::full;
                };
                if (!attempt_or_move<Form>(ends.shared.header.published, once)) return;
                check(result == (each.asked <= Capacity ? grant_result::granted : grant_result::too_large));
            }
            return;
        }
        // With fewer looks than runs when it gives up: the rest is read after.
        std::size_t expected = unread;
        for (const run& each : runs)
            if (each.asked <= Capacity) expected += each.used;
        for (std::size_t look = 0; look < (Form == form::waits ? 100 : Runs); ++look) {
            if (static_cast<std::size_t>(seen) == expected) return;
            (void)attempt_or_move<Form>(ends.shared.header.consumed, [&] { return read(*ends.consumer, most, seen); });
        }
    }
    void after() {
        drain(*ends.consumer, seen, written);
        grants_everything(ends, Capacity);
    }
};

/// From every position, any two runs.
template <class A>
struct two_runs : transfer<A, form::tries, 4, std::uint64_t, 2> {
    static constexpr const char* invariant =
        "from any position any two runs arrive whole, in order, and in one piece each";
    void before() {
        this->ends.make(choose(4));
        for (run& each : this->runs) {
            const std::size_t length = choose(6);
            each = {length, length};
        }
    }
};

/// Three runs, used in part; the consumer gives back in part.
template <class A>
struct three_runs : transfer<A, form::tries, 2, std::uint64_t, 3> {
    static constexpr const char* invariant =
        "what is not committed is never read, and what is not consumed is read again";
    void before() {
        this->ends.make(choose(2));
        this->most = 1 + choose(2);
        for (run& each : this->runs) {
            const std::size_t length = choose(3);
            each = {length, length - (length != 0 ? choose(2) : 0)};
        }
    }
};

/// From every position, behind a run of any length that is still unread, any run.
template <class A, form Form>
struct granted_at_last : transfer<A, Form, 4, std::uint64_t, 1> {
    static constexpr const char* invariant =
        "what the capacity allows is granted at some time, whatever lies in the buffer";
    void before() {
        this->ends.make(choose(4));
        this->unread = choose(5);
        if (put_unread() != grant_result::granted) {
            check(!read(*this->ends.consumer, 4, this->seen));  // past an empty wrap
            check(put_unread() == grant_result::granted);
        }
        const std::size_t length = 1 + choose(4);
        this->runs = {run{length, length}};
    }

private:
    [[nodiscard]] grant_result put_unread() {
        return write(*this->ends.producer, this->unread, this->unread, this->written);
    }
};

/// The largest run there is, from where it does not fit though the buffer is empty.
template <class A, form Form>
struct largest_runs : transfer<A, Form, 2, std::uint64_t, 2> {
    static constexpr const char* invariant =
        "all slots are granted at some time, wherever the two ends are, lap after lap";
    void before() {
        this->ends.make(1);
        this->runs = {run{2, 1}, run{2, 2}};
    }
};

template <class A>
struct positions_wrap : transfer<A, form::tries, 4, std::uint8_t, 3> {
    static constexpr const char* invariant = "positions that wrap are positions like others";
    void before() {
        this->ends.make(250 + choose(6));
        this->runs = {run{3, 3}, run{3, 3}, run{2, 2}};
    }
};

/// The creator is still at it when the other side attaches.
template <class A, form Form>
struct attach_while_created {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "who can attach finds a whole buffer; who cannot is told that it is not ready";
    using buffer = bip_buffer<int, std::uint64_t, A>;
    buffer_memory<buffer, 2> shared;
    int written = 0, seen = 0;

    void before() {}
    void thread(unsigned index) {
        if (index == 0) {
            auto producer = buffer::create(shared.bytes(), 2)->claim_producer(writer).value();
            check(write(producer, 2, 2, written) == grant_result::granted);
            return;
        }
        const auto attached = buffer::attach(shared.bytes(), Form == form::waits ? deadline::max() : deadline{});
        if (!attached) {
            check(Form == form::tries && attached.error().what == fault_kind::not_ready);
            return;
        }
        check(attached->capacity() == 2);
        auto consumer = attached->claim_consumer(reader).value();
        (void)read(consumer, 2, seen);
    }
    void after() {
        auto consumer = buffer::attach(shared.bytes())->claim_consumer(reader).value();
        drain(consumer, seen, written);
    }
};

/// Two peers hold the producer's role one after the other, and the second goes on before the wrap or behind it.
template <class A, form Form>
struct producer_reattaches {
    static constexpr unsigned threads = 3;
    static constexpr const char* invariant = "a new producer goes on where the last one stopped";
    using buffer = bip_buffer<int, std::uint64_t, A>;
    buffer_and_ends<buffer, 4> ends;
    std::array<int, 2> written{0, 2};  // the second writes from 3 on
    int seen = 0;

    void before() { ends.make(1); }
    void thread(unsigned index) {
        if (index == 0) {
            check(write(*ends.producer, 2, 2, written[0]) == grant_result::granted);
            ends.producer.reset();
        } else if (index == 1) {
            const auto attached = buffer::attach(ends.shared.bytes());
            std::optional<typename buffer::producer> second;
            (void)attempt<Form>([&] {
                auto claimed = attached->claim_producer(successor);
                if (claimed) second.emplace(*std::move(claimed));
                return second.has_value();
            });
            if (second) (void)write(*second, 2, 2, written[1]);
        } else {
            for (int look = 0; look < 2; ++look) (void)read(*ends.consumer, 4, seen);
        }
    }
    void after() { drain(*ends.consumer, seen, written[1]); }
};

/// Two peers hold the consumer's role one after the other, across a wrap.
template <class A, form Form>
struct consumer_reattaches {
    static constexpr unsigned threads = 3;
    static constexpr const char* invariant = "a new consumer goes on where the last one stopped, also past a wrap";
    using buffer = bip_buffer<int, std::uint64_t, A>;
    buffer_and_ends<buffer, 4> ends;
    int written = 0, first_saw = 0;
    std::optional<int> second_saw;

    void before() {
        ends.make(2);
        check(write(*ends.producer, 1, 1, written) == grant_result::granted);
        check(write(*ends.producer, 2, 2, written) == grant_result::granted);
    }
    void thread(unsigned index) {
        if (index == 0) {
            (void)write(*ends.producer, 2, 2, written);
        } else if (index == 1) {
            check(read(*ends.consumer, 4, first_saw) && first_saw == 1);
            ends.consumer.reset();
        } else {
            const auto attached = buffer::attach(ends.shared.bytes());
            std::optional<typename buffer::consumer> second;
            (void)attempt<Form>([&] {
                auto claimed = attached->claim_consumer(successor);
                if (claimed) second.emplace(*std::move(claimed));
                return second.has_value();
            });
            if (!second) return;
            second_saw = 1;
            check(read(*second, 2, *second_saw) && *second_saw == 3);
        }
    }
    void after() {
        auto consumer = buffer::attach(ends.shared.bytes())->claim_consumer(reader).value();
        int seen = second_saw.value_or(first_saw);
        drain(consumer, seen, written);
    }
};

template <class A>
struct observer {
    static constexpr unsigned threads = 3;
    static constexpr const char* invariant = "an observer never sees a negative size, or one above the capacity";
    using buffer = bip_buffer<int, std::uint64_t, A>;
    buffer_and_ends<buffer, 2> ends;
    int written = 0, seen = 0;

    void before() { ends.make(1); }
    void thread(unsigned index) {
        if (index == 0) {
            for (int i = 0; i < 2; ++i) (void)write(*ends.producer, 1, 1, written);
        } else if (index == 1) {
            for (int i = 0; i < 2; ++i) (void)read(*ends.consumer, 2, seen);
        } else {
            const auto now = buffer::attach(ends.shared.bytes())->status();
            check(now.published >= now.consumed && now.size <= 2);
            check(now.producer == writer && now.consumer == reader && !now.reported_corrupt);
        }
    }
    void after() {}
};

/// The producer dies anywhere in its work, in a wrap too, or lives; its successor has a proof or is turned away.
template <class A>
struct producer_taken_over {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "whatever instruction a producer dies at, each of its runs arrives whole or not";
    using buffer = bip_buffer<int, std::uint64_t, A>;
    buffer_and_ends<buffer, 4> ends;
    typename A::template atomic<bool> ended{false};
    int read_by_consumer = 0, written_by_successor = 100;
    int first_of_successor = 0;

    void before() {
        name(&ended, "ended");
        ends.consumer.emplace(buffer::create(ends.shared.bytes(), 4, 3)->claim_consumer(reader).value());
    }
    void thread(unsigned index) {
        const auto attached = buffer::attach(ends.shared.bytes());
        if (index == 0) {
            (void)survives([&] {
                int written = 0;
                auto claimed = attached->claim_producer(writer);
                (void)write(*claimed, 2, 2, written);  // to the start of the next lap
                (void)write(*claimed, 4, 4, written);  // once an empty wrap is read
                (void)write(*claimed, 4, 4, written);
            });
            ended.store(true, release);  // the death, which happens before every proof of it
            return;
        }
        look();
        if (!ended.load(acquire)) return;
        auto taken = attached->take_over_producer(successor, death_witness<scenario>::saw(writer));
        if (!taken) taken = attached->claim_producer(successor);
        check(taken.has_value());
        (void)write(*taken, 2, 2, written_by_successor);
        ends.producer.emplace(*std::move(taken));
    }
    void after() {
        while (look()) {
        }
        check(first_of_successor == (written_by_successor == 102 ? 102 : 0));
        if (ends.producer) grants_everything(ends, 4);
    }

    /// Runs are read as they were committed: two slots, four slots, or the successor's two.
    bool look() {
        const auto found = ends.consumer->peek();
        for (const auto& slot : found) {
            const int next = slot.read();
            if (next > 100) {
                check(next == (first_of_successor == 0 ? 101 : first_of_successor + 1));
                first_of_successor = next;
            } else {
                check(first_of_successor == 0 && next == ++read_by_consumer);
            }
        }
        check(read_by_consumer == 0 || read_by_consumer == 2 || read_by_consumer == 6 || read_by_consumer == 10);
        check(first_of_successor == 0 || first_of_successor == 102);
        ends.consumer->consume(found.size());
        return !found.empty();
    }
};

/// The consumer dies anywhere in its work, between a wrap and what lies behind it too. What it had read and not consumed is
/// seen again, and what it gave back is granted again.
template <class A>
struct consumer_taken_over {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "whatever instruction a consumer dies at, its successor reads on from the first slot not consumed";
    using buffer = bip_buffer<int, std::uint64_t, A>;
    buffer_and_ends<buffer, 4> ends;
    typename A::template atomic<bool> ended{false};
    int written = 0, consumed = 0;

    void before() {
        name(&ended, "ended");
        ends.producer.emplace(buffer::create(ends.shared.bytes(), 4, 2)->claim_producer(writer).value());
        check(write(*ends.producer, 1, 1, written) == grant_result::granted);
        check(write(*ends.producer, 2, 2, written) == grant_result::granted);
    }
    void thread(unsigned index) {
        const auto attached = buffer::attach(ends.shared.bytes());
        if (index == 0) {
            (void)survives([&] {
                auto consumer = attached->claim_consumer(reader);
                for (int look = 0; look < 2; ++look) {
                    const auto found = consumer->peek();
                    int next = consumed;
                    for (const auto& slot : found) check(slot.read() == ++next);
                    consumer->consume(found.size());
                    consumed = next;
                }
            });
            ended.store(true, release);  // the death, which happens before every proof of it
            return;
        }
        (void)write(*ends.producer, 3, 3, written);
        if (!ended.load(acquire)) return;
        auto taken = attached->take_over_consumer(successor, death_witness<scenario>::saw(reader));
        if (!taken) taken = attached->claim_consumer(successor);
        check(taken.has_value());
        drain(*taken, consumed, written);
        ends.consumer.emplace(*std::move(taken));
        grants_everything(ends, 4);
    }
    void after() {}
};

/// A consumer that lies about where it is.
template <class A>
struct hostile_consumer {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "a nonsense consumed position latches corrupt, and no slot is granted for it";
    using buffer = bip_buffer<int, std::uint64_t, A>;
    buffer_and_ends<buffer, 2, 4> ends;
    int written = 0;

    void before() {
        ends.make(5);
        check(write(*ends.producer, 1, 1, written) == grant_result::granted);
    }
    void thread(unsigned index) {
        constexpr std::uint64_t nonsense[] = {0, 4, 9, 1ULL << 31, 1ULL << 63, ~0ULL};
        if (index == 0) {
            for (int i = 0; i < 3; ++i) {
                const auto grant = ends.producer->try_grant(2);
                check(grant.result == (ends.producer->corrupt() ? grant_result::corrupt : grant_result::full));
            }
        } else {
            ends.shared.header.consumed.store(nonsense[choose(std::size(nonsense))], relaxed);
            for (std::size_t beyond = 2; beyond < 4; ++beyond) ends.shared.slots[beyond].write(-1);
        }
    }
    void after() {
        check(ends.producer->try_grant(2).result == grant_result::corrupt && ends.producer->corrupt());
        check(ends.producer->try_grant(0).result == grant_result::corrupt);
        check(ends.producer->try_grant(3).result == grant_result::too_large);
        ends.producer->commit(0);
    }
};

/// A producer that lies about where it is, and about where it has wrapped.
template <class A>
struct hostile_producer {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "whatever position and watermark are published, nobody reads beyond the slots";
    using buffer = bip_buffer<int, std::uint64_t, A>;
    buffer_and_ends<buffer, 4, 8> ends;
    bool nonsense = false;

    void before() {
        ends.make(6);
        int written = 0;
        check(write(*ends.producer, 1, 1, written) == grant_result::granted);
    }
    void thread(unsigned index) {
        constexpr std::uint32_t watermarks[] = {0, 2, 3, 4, 5, 1U << 31, ~0U};
        constexpr std::uint64_t positions[] = {5, 7, 8, 10, 12, 1ULL << 63, ~0ULL};
        if (index == 0) {
            for (int look = 0; look < 3; ++look) {
                const auto found = ends.consumer->peek();
                check(found.size() <= 4 && (found.empty() || inside(&found.front(), &found.back())));
                for (const auto& slot : found) (void)slot.read();
                check(!ends.consumer->corrupt() || found.empty());
                check(ends.consumer->peek().size() >= found.size() || ends.consumer->corrupt());
                ends.consumer->consume(found.size());
            }
        } else {
            const std::uint32_t watermark = watermarks[choose(std::size(watermarks))];
            const std::uint64_t position = positions[choose(std::size(positions))];
            const bool wraps = position >= 8 && position <= 10;
            nonsense = position < 7 || position > 10 || (wraps && (watermark < 2 || watermark > 4));
            ends.shared.header.watermark.write(watermark);
            ends.shared.header.published.store(position, release);
            for (std::size_t beyond = 4; beyond < 8; ++beyond) ends.shared.slots[beyond].write(-1);
        }
    }
    void after() {
        (void)ends.consumer->peek();
        if (nonsense) check(ends.consumer->corrupt() && ends.consumer->peek().empty());
    }

private:
    template <class Slot>
    [[nodiscard]] bool inside(const Slot* first, const Slot* last) const {
        return first >= ends.shared.slots.data() && last < ends.shared.slots.data() + 4;
    }
};

/// A peer that writes anything into any word, twice, so that a lie can be taken back.
template <class A>
struct hostile_words {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "whatever is written into the header, no operation leaves the slots or its counts";
    using buffer = bip_buffer<int, std::uint64_t, A>;
    buffer_and_ends<buffer, 2, 4> ends;

    void before() {
        int written = 0;
        ends.make(0);
        check(write(*ends.producer, 1, 1, written) == grant_result::granted);
    }
    void thread(unsigned index) {
        if (index == 0) {
            for (const std::size_t count : {std::size_t{1}, std::size_t{2}}) {
                auto grant = ends.producer->try_grant(count);
                check(grant.slots.size() <= count);
                for (auto& slot : grant.slots) slot.write(5);
                ends.producer->commit(grant.slots.size());
                const auto found = ends.consumer->peek();
                check(found.size() <= 2);
                for (const auto& slot : found) (void)slot.read();
                ends.consumer->consume(found.size());
            }
            ends.producer.reset();
            ends.consumer.reset();
        } else {
            ends.shared.slots[2].write(-1);
            ends.shared.slots[3].write(-1);
            constexpr std::uint64_t values[] = {0, 1, 3, ~0ULL};
            for (int twice = 0; twice < 2; ++twice) {
                const auto value = values[choose(std::size(values))];
                switch (choose(5)) {
                    case 0: ends.shared.header.published.store(value, relaxed); break;
                    case 1: ends.shared.header.consumed.store(value, relaxed); break;
                    case 2: ends.shared.header.producer_claim.store(value, relaxed); break;
                    case 3: ends.shared.header.consumer_claim.store(value, relaxed); break;
                    default: ends.shared.header.state.store(static_cast<std::uint32_t>(value), relaxed); break;
                }
            }
        }
    }
    void after() {
        if (const auto attached = buffer::attach(ends.shared.bytes())) check(attached->status().size <= 2);
    }
};

/// The same buffer over pointers that the caller owns; the threads attach for themselves.
template <class A>
struct raw_concurrent {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "every run arrives whole, in order, and in one piece";
    using buffer = bip_buffer_raw<int, std::uint64_t, A>;
    buffer_memory<buffer, 4> shared;
    int written = 0, seen = 0;

    void before() { buffer::create(shared.header, shared.slots).value(); }
    void thread(unsigned index) {
        const auto attached = buffer::attach(shared.header, shared.slots);
        if (index == 0) {
            auto producer = attached->make_producer();
            for (int i = 0; i < 3; ++i)
                if (!attempt_or_move<form::tries>(shared.header.published, [&] {
                        return write(producer, 3, 2, written) == grant_result::granted;
                    }))
                    return;
        } else {
            auto consumer = attached->make_consumer();
            for (int look = 0; look < 3 && seen < 6; ++look)
                (void)attempt_or_move<form::tries>(shared.header.consumed, [&] { return read(consumer, 4, seen); });
        }
    }
    void after() {
        auto consumer = buffer::attach(shared.header, shared.slots)->make_consumer();
        drain(consumer, seen, written);
    }
};

/// Two messages of any lengths, one after the other.
template <class A>
struct messages {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a message arrives whole or not at all, with its length, in order";
    using framing = message_framing<std::uint64_t, A>;
    buffer_memory<typename framing::buffer, 4> shared;
    std::optional<typename framing::sender> sender;
    std::optional<typename framing::receiver> receiver;
    std::array<std::size_t, 2> lengths{};
    std::size_t sent = 0, received = 0;

    void before() {
        auto [producer, consumer] = framing::buffer::create(shared.bytes(), 4, choose(4))->split(writer).value();
        sender.emplace(std::move(producer));
        receiver.emplace(std::move(consumer));
        constexpr std::size_t any[] = {0, 8, 15, 24};
        for (std::size_t& length : lengths) length = any[choose(std::size(any))];
    }
    void thread(unsigned index) {
        if (index == 0) {
            for (const std::size_t length : lengths) {
                std::array<std::byte, 24> bytes;
                bytes.fill(std::byte(sent + 1));
                if (!attempt_or_move<form::tries>(shared.header.published, [&] {
                        return sender->try_send(std::span{bytes}.first(length)) == send_result::sent;
                    }))
                    return;
                ++sent;
            }
        } else {
            for (std::size_t look = 0; look < lengths.size(); ++look)
                (void)attempt_or_move<form::tries>(shared.header.consumed, [&] { return receive(); });
        }
    }
    void after() {
        while (receive()) {
        }
        check(received == sent && !sender->corrupt() && !receiver->corrupt());
    }

    bool receive() {
        const auto message = receiver->try_receive();
        if (!message) return false;
        check(message->size_bytes == lengths[received] && message->slots.size() == (lengths[received] + 7) / 8);
        const std::uint64_t whole = 0x0101010101010101 * (received + 1);
        std::size_t rest = message->size_bytes;
        for (const auto& slot : message->slots) {
            check(slot.read() == (rest >= 8 ? whole : whole & 0x00ffffffffffffff));
            rest -= std::min<std::size_t>(rest, 8);
        }
        check(receiver->try_receive()->slots.data() == message->slots.data());
        receiver->consume();
        ++received;
        return true;
    }
};

/// A sender that lies about how long its message is.
template <class A>
struct hostile_sender {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a length that reaches past what was published latches corrupt";
    using framing = message_framing<std::uint64_t, A>;
    buffer_and_ends<typename framing::buffer, 4> ends;
    std::optional<typename framing::receiver> receiver;
    std::uint64_t length = 0;

    void before() {
        ends.make(0);
        receiver.emplace(*std::move(ends.consumer));
    }
    void thread(unsigned index) {
        constexpr std::uint64_t lengths[] = {0, 8, 9, 16, 1ULL << 31, 1ULL << 32, ~0ULL - 7, ~0ULL};
        if (index == 0) {
            length = lengths[choose(std::size(lengths))];
            const auto grant = ends.producer->try_grant(2);
            grant.slots[0].write(length);
            grant.slots[1].write(0);
            ends.producer->commit(2);
        } else {
            (void)receiver->try_receive();
        }
    }
    void after() {
        const auto message = receiver->try_receive();
        check(message.has_value() == (length <= 8) && receiver->corrupt() == (length > 8));
        if (message) check(message->size_bytes == length && message->slots.size() == (length + 7) / 8);
        receiver->consume();
        check(ends.shared.header.reported_corrupt.load(relaxed) == (length > 8 ? 2 : 0));
    }
};

const bool added = [] {
    add<two_runs>("bip_buffer", "bip_buffer_two_runs");
    add<three_runs>("bip_buffer", "bip_buffer_three_runs");
    add<granted_at_last>("bip_buffer", "bip_buffer_granted_at_last");
    add<largest_runs>("bip_buffer", "bip_buffer_largest_runs");
    add<positions_wrap>("bip_buffer", "bip_buffer_positions_wrap");
    add<attach_while_created>("bip_buffer", "bip_buffer_attach_while_created");
    add<producer_reattaches>("bip_buffer", "bip_buffer_producer_reattaches");
    add<consumer_reattaches>("bip_buffer", "bip_buffer_consumer_reattaches");
    add<observer>("bip_buffer", "bip_buffer_observer");
    add<producer_taken_over>("bip_buffer", "bip_buffer_producer_taken_over");
    add<consumer_taken_over>("bip_buffer", "bip_buffer_consumer_taken_over");
    add<hostile_consumer>("bip_buffer", "bip_buffer_hostile_consumer");
    add<hostile_producer>("bip_buffer", "bip_buffer_hostile_producer");
    add<hostile_words>("bip_buffer", "bip_buffer_hostile_words");
    add<raw_concurrent>("bip_buffer", "bip_buffer_raw_concurrent");
    add<messages>("bip_buffer", "bip_buffer_messages");
    add<hostile_sender>("bip_buffer", "bip_buffer_hostile_sender");
    return true;
}();

}  // namespace
}  // namespace shm::model
