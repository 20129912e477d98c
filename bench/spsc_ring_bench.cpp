// SPDX-License-Identifier: MIT OR Apache-2.0
// The ring beside three queues that people use today, each in the configuration that its documentation calls the
// fastest for one producer and one consumer.
#include <atomic_queue/atomic_queue.h>
#include <fmt/format.h>
#include <readerwriterqueue/readerwriterqueue.h>

#include <array>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <shm/proof_of_death.hpp>
#include <shm/spsc_ring.hpp>

#include "bench/contest.hpp"
#include "bench/streams.hpp"

namespace {

using bench::element;
using bench::line;
using std::size_t;
using std::uint64_t;

constexpr size_t batch = 32;

// Ours, as a user has it: created, attached to by each side, roles claimed.
template <class T, size_t Capacity>
struct ours {
    using value_type = T;
    using ring = shm::spsc_ring<T>;
    static constexpr std::string_view name = "shm::spsc_ring";
    static constexpr size_t capacity = Capacity;
    static constexpr size_t size_bytes = ring::required_size(Capacity);
    static void make(shm::region bytes) { (void)ring::create(bytes, Capacity).value(); }

    struct producer : ring::producer {
        explicit producer(shm::region bytes)
            : ring::producer{ring::attach(bytes).value().claim_producer(shm::this_process().value()).value()} {}
    };
    struct consumer : ring::consumer {
        explicit consumer(shm::region bytes)
            : ring::consumer{ring::attach(bytes).value().claim_consumer(shm::this_process().value()).value()} {}
    };
};

template <class T, size_t Capacity>
struct ours_one : ours<T, Capacity> {
    static constexpr std::string_view calls = "try_push, try_pop";
    static size_t put(auto& to, uint64_t next, size_t) {
        return to.try_push(element<T>(next)) == shm::push_result::pushed ? 1 : 0;
    }
    static size_t take(auto& from, auto& check) {
        const auto value = from.try_pop();
        if (!value) return 0;
        check(*value);
        return 1;
    }
};

/// The elements from number `next` on, to be copied into a queue.
template <class T>
std::span<const T> filled(std::array<T, batch>& buffer, uint64_t next, size_t most) {
    const size_t count = std::min(batch, most);
    for (size_t i = 0; i < count; ++i) buffer[i] = element<T>(next + i);
    return {buffer.data(), count};
}

template <class T, size_t Capacity>
struct ours_batch : ours<T, Capacity> {
    static constexpr std::string_view calls = "try_push_n, try_pop_n";
    static size_t put(auto& to, uint64_t next, size_t most) {
        std::array<T, batch> buffer;
        return to.try_push_n(filled(buffer, next, most));
    }
    static size_t take(auto& from, auto& check) {
        std::array<T, batch> buffer;
        const size_t count = from.try_pop_n(buffer);
        for (size_t i = 0; i < count; ++i) check(buffer[i]);
        return count;
    }
};

template <class T, size_t Capacity>
struct ours_in_place : ours<T, Capacity> {
    static constexpr std::string_view calls = "reserve, peek";
    static size_t put(auto& to, uint64_t next, size_t most) {
        const auto slots = shm::values(to.reserve(std::min(batch, most)));
        for (size_t i = 0; i < slots.size(); ++i) slots[i] = element<T>(next + i);
        to.commit(slots.size());
        return slots.size();
    }
    static size_t take(auto& from, auto& check) {
        const auto slots = shm::values(from.peek(batch));
        for (const T& value : slots) check(value);
        from.consume(slots.size());
        return slots.size();
    }
};

// A queue that is an object without pointers into itself: made in the shared memory, used from there.
template <class Queue>
struct placed {
    static constexpr size_t size_bytes = sizeof(Queue);
    static void make(shm::region bytes) { new (bytes.data()) Queue; }
    struct producer {
        explicit producer(shm::region bytes) : queue{*reinterpret_cast<Queue*>(bytes.data())} {}
        Queue& queue;
    };
    using consumer = producer;
};

template <class T, size_t Capacity>
struct boost_queue : placed<boost::lockfree::spsc_queue<T, boost::lockfree::capacity<Capacity>>> {
    using value_type = T;
    static constexpr std::string_view name = "boost spsc_queue";
    static constexpr size_t capacity = Capacity;
};

template <class T, size_t Capacity>
struct boost_one : boost_queue<T, Capacity> {
    static constexpr std::string_view calls = "push, pop";
    static size_t put(auto& to, uint64_t next, size_t) { return to.queue.push(element<T>(next)) ? 1 : 0; }
    static size_t take(auto& from, auto& check) {
        T value;
        if (!from.queue.pop(value)) return 0;
        check(value);
        return 1;
    }
};

template <class T, size_t Capacity>
struct boost_batch : boost_queue<T, Capacity> {
    static constexpr std::string_view calls = "push(p, n), pop(p, n)";
    static size_t put(auto& to, uint64_t next, size_t most) {
        std::array<T, batch> buffer;
        const auto values = filled(buffer, next, most);
        return to.queue.push(values.data(), values.size());
    }
    static size_t take(auto& from, auto& check) {
        std::array<T, batch> buffer;
        const size_t count = from.queue.pop(buffer.data(), batch);
        for (size_t i = 0; i < count; ++i) check(buffer[i]);
        return count;
    }
};

template <class T, size_t Capacity>
struct boost_in_place : boost_batch<T, Capacity> {
    static constexpr std::string_view calls = "push(p, n), consume_all";
    static size_t take(auto& from, auto& check) {
        return from.queue.consume_all([&check](const T& value) { check(value); });
    }
};

// One block on the heap, from the beginning: try_ never allocates. Of its slots one stays free. Several blocks would hold
// up to twice as many elements as the other queues.
template <class T, size_t Capacity>
struct reader_writer {
    using value_type = T;
    using queue = moodycamel::ReaderWriterQueue<T, Capacity>;
    static constexpr std::string_view name = "readerwriterqueue";
    static constexpr std::string_view calls = "try_enqueue, try_dequeue";
    static constexpr size_t capacity = Capacity - 1;
    static constexpr size_t size_bytes = sizeof(queue);
    static void make(shm::region bytes) {
        if (const size_t holds = (new (bytes.data()) queue{capacity})->max_capacity(); holds != capacity)
            throw std::logic_error(fmt::format("readerwriterqueue: expected room for {}, found {}", capacity, holds));
    }
    using producer = typename placed<queue>::producer;
    using consumer = producer;

    static size_t put(auto& to, uint64_t next, size_t) { return to.queue.try_enqueue(element<T>(next)) ? 1 : 0; }
    static size_t take(auto& from, auto& check) {
        T value;
        if (!from.queue.try_dequeue(value)) return 0;
        check(value);
        return 1;
    }
};

template <class T, size_t Capacity>
struct reader_writer_in_place : reader_writer<T, Capacity> {
    static constexpr std::string_view calls = "try_emplace, peek";
    static size_t put(auto& to, uint64_t next, size_t) { return to.queue.try_emplace(element<T>(next)) ? 1 : 0; }
    static size_t take(auto& from, auto& check) {
        const T* value = from.queue.peek();
        if (value == nullptr) return 0;
        check(*value);
        from.queue.pop();
        return 1;
    }
};

// Two queues behind one name: AtomicQueue for elements that are an atomic word themselves, of which 0 says "none", and
// AtomicQueue2 for all others. MINIMIZE_CONTENTION is for many producers; with two sides its shuffle costs throughput.
template <class T, size_t Capacity>
struct atomic_queue_for {
    using type = atomic_queue::AtomicQueue2<T, Capacity, /*MINIMIZE_CONTENTION=*/false, /*MAXIMIZE_THROUGHPUT=*/true,
                                            /*TOTAL_ORDER=*/false, /*SPSC=*/true>;
};
template <size_t Capacity>
struct atomic_queue_for<uint64_t, Capacity> {
    using type = atomic_queue::AtomicQueue<uint64_t, Capacity, 0, false, true, false, true>;
};

template <class T, size_t Capacity>
struct atomic_try : placed<typename atomic_queue_for<T, Capacity>::type> {
    using value_type = T;
    static constexpr std::string_view name = "atomic_queue";
    static constexpr std::string_view calls = "try_push, try_pop";
    static constexpr size_t capacity = Capacity;
    static size_t put(auto& to, uint64_t next, size_t) { return to.queue.try_push(element<T>(next)) ? 1 : 0; }
    static size_t take(auto& from, auto& check) {
        T value;
        if (!from.queue.try_pop(value)) return 0;
        check(value);
        return 1;
    }
};

// What its documentation recommends: calls that wait inside the queue and cannot give up.
template <class T, size_t Capacity>
struct atomic_waits : atomic_try<T, Capacity> {
    static constexpr std::string_view name = "atomic_queue, waiting";
    static constexpr std::string_view calls = "push, pop";
    static size_t put(auto& to, uint64_t next, size_t) {
        to.queue.push(element<T>(next));
        return 1;
    }
    static size_t take(auto& from, auto& check) {
        check(from.queue.pop());
        return 1;
    }
};

using contestants = std::vector<bench::contestant>;

template <class T, size_t Capacity, template <class, size_t> class... Queue>
contestants streams() {
    return {bench::driven_by<Queue<T, Capacity>, bench::stream<Queue<T, Capacity>>>()...};
}
template <template <class, size_t> class... Queue>
contestants slow_consumers() {
    return {bench::driven_by<Queue<uint64_t, 1024>, bench::stream<Queue<uint64_t, 1024>, bench::some_work>>()...,
            bench::driven_by<bench::nothing<uint64_t>, bench::stream<bench::nothing<uint64_t>, bench::some_work>>()};
}
template <template <class, size_t> class... Queue>
contestants round_trips() {
    return {bench::driven_by<Queue<uint64_t, 1024>, bench::round_trip<Queue<uint64_t, 1024>>>()...,
            bench::driven_by<bench::bare_word, bench::round_trip<bench::bare_word>>()};
}
contestants with(contestants some, const contestants& more) {
    some.insert(some.end(), more.begin(), more.end());
    return some;
}

const contestants only_threads = {bench::absent("readerwriterqueue", "its blocks are on the heap of one process")};
const contestants no_batches = {bench::absent("readerwriterqueue", "it has no batches"),
                                bench::absent("atomic_queue", "it has no batches")};
const contestants no_view = {bench::absent("atomic_queue", "it copies elements in and out")};

using enum bench::sides;
using enum bench::unit;
constexpr auto a_word = "atomic_queue takes no element that is 0";
constexpr auto slowly = "the consumer works about 13 ns on each element";

const bench::rows spsc_ring_rows{
    {
        {"u64, 1 Ki, one at a time, threads", threads, million_per_second,
         streams<uint64_t, 1024, ours_one, boost_one, reader_writer, atomic_try, atomic_waits>(), a_word},
        {"u64, 1 Ki, one at a time, processes", processes, million_per_second,
         with(streams<uint64_t, 1024, ours_one, boost_one, atomic_try, atomic_waits>(), only_threads), a_word},
        {"u64, 64 Ki, one at a time, threads", threads, million_per_second,
         streams<uint64_t, 65536, ours_one, boost_one, reader_writer, atomic_try, atomic_waits>(), a_word},
        {"u64, 1 Ki, batches of 32, threads", threads, million_per_second,
         with(streams<uint64_t, 1024, ours_batch, boost_batch>(), no_batches)},
        {"u64, 1 Ki, batches of 32, processes", processes, million_per_second,
         with(streams<uint64_t, 1024, ours_batch, boost_batch>(), no_batches)},
        {"u64, 1 Ki, in place, threads", threads, million_per_second,
         with(streams<uint64_t, 1024, ours_in_place, boost_in_place, reader_writer_in_place>(), no_view)},
        {"u64, 1 Ki, in place, processes", processes, million_per_second,
         with(with(streams<uint64_t, 1024, ours_in_place, boost_in_place>(), only_threads), no_view)},
        {"64 bytes, 1 Ki, one at a time, threads", threads, million_per_second,
         streams<line, 1024, ours_one, boost_one, reader_writer, atomic_try, atomic_waits>()},
        {"64 bytes, 1 Ki, in place, threads", threads, million_per_second,
         with(streams<line, 1024, ours_in_place, boost_in_place, reader_writer_in_place>(), no_view)},
        {"u64, 1 Ki, one at a time, slow consumer, threads", threads, million_per_second,
         slow_consumers<ours_one, boost_one, reader_writer, atomic_try, atomic_waits>(), slowly},
        {"u64, 1 Ki, in place, slow consumer, threads", threads, million_per_second,
         with(slow_consumers<ours_in_place, boost_in_place, reader_writer_in_place>(), no_view), slowly},
        {"u64, round trip, threads", threads, nanoseconds,
         round_trips<ours_one, boost_one, reader_writer, atomic_try, atomic_waits>(), a_word},
        {"u64, round trip, processes", processes, nanoseconds,
         with(round_trips<ours_one, boost_one, atomic_try, atomic_waits>(), only_threads), a_word},
    },
    {
        {"boost", BOOST_VERSION_STRING},
        {"readerwriterqueue", READERWRITERQUEUE_VERSION},
        {"atomic_queue", ATOMIC_QUEUE_VERSION},
    }};

}  // namespace
