// SPDX-License-Identifier: MIT OR Apache-2.0
// Rings and bip buffers: one process writes, one reads; the writer, the reader or both die, again and again.
#include <sched.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <shm/message_framing.hpp>
#include <shm/spsc_ring.hpp>

#include "sanitizers/kill/creation.hpp"
#include "sanitizers/kill/trial.hpp"
#include "testkit/payload.hpp"

namespace kill_test {
namespace {

/// So near to the wrap of 2^64 that it is passed.
constexpr std::uint64_t first_position(std::uint32_t capacity) { return 0 - 2 * (capacity + 3ull); }

struct item {
    std::array<std::byte, 56> bytes;
};

/// Items, each written at once.
struct ring_stream {
    using placed = shm::spsc_ring<item, std::uint64_t, mortal_atomics>;
    static constexpr std::uint32_t capacity = 8;

    struct writer {
        writer(const placed&, placed::producer made) : end{std::move(made)} {}
        placed::producer end;

        /// Sends so many numbers after `last` in one call, or none: how many. Fewer cannot be: only this end adds items.
        std::size_t send(diary& mine, std::uint64_t last, std::size_t count, dice& random) {
            if (end.available_capacity() < count) return 0;
            std::array<item, 3> items;
            for (std::size_t i = 0; i < count; ++i) fill(items[i].bytes, last + 1 + i);
            mine.doing = count;
            switch (random.below(3)) {
                case 0: return end.try_push_n(std::span{items}.first(count));
                case 1: {
                    const auto slots = end.reserve(count);
                    if (slots.size() < count) return 0;  // not side by side
                    for (std::size_t i = 0; i < count; ++i) slots[i].write(items[i]);
                    end.commit(count);
                    return count;
                }
                default: mine.doing = 1; return end.try_push(items[0]) == shm::push_result::pushed ? 1 : 0;
            }
        }
        [[nodiscard]] bool corrupt() const { return end.corrupt(); }
    };

    struct reader {
        placed::consumer end;

        /// The first that is there; it stays.
        std::optional<std::uint64_t> first() {
            const auto slots = end.peek(1);
            if (slots.empty()) return std::nullopt;
            return number(slots[0].read());
        }

        /// Tells `told(number)` what it takes, in one call: how many.
        template <class Told>
        std::size_t take(diary& mine, dice& random, Told told) {
            const std::size_t most = std::min<std::size_t>(end.size(), 1 + random.below(3));
            if (most == 0) return 0;
            switch (random.below(3)) {
                case 0: {
                    mine.doing = 1;
                    const auto one = end.try_pop();
                    if (one) told(number(*one));
                    return one ? 1 : 0;
                }
                case 1: {
                    std::array<item, 3> items;
                    mine.doing = most;
                    const std::size_t count = end.try_pop_n(std::span{items}.first(most));
                    for (std::size_t i = 0; i < count; ++i) told(number(items[i]));
                    return count;
                }
                default: {
                    const auto slots = end.peek(most);
                    for (const auto& each : slots) told(number(each.read()));
                    mine.doing = slots.size();
                    end.consume(slots.size());
                    return slots.size();
                }
            }
        }
        [[nodiscard]] bool corrupt() const { return end.corrupt(); }
        static std::uint64_t number(const item& of) {
            const auto whole = number_of(of.bytes);
            require(whole.has_value(), "an item: expected a whole one, found one that is torn");
            return *whole;
        }
    };
};

/// Messages of any length, written word by word.
struct bip_stream {
    using framing = shm::message_framing<std::uint64_t, mortal_atomics>;
    using placed = framing::buffer;
    static constexpr std::uint32_t capacity = 32;

    struct writer {
        writer(const placed& whole, placed::producer made) : stream{&whole}, end{std::move(made)} {}
        const placed* stream;
        framing::sender end;
        std::size_t send(diary& mine, std::uint64_t last, std::size_t, dice& random) {
            std::array<std::byte, (capacity - 1) * sizeof last> bytes;
            std::size_t size = sizeof last + random.below(bytes.size() - sizeof last + 1);
            if (random.one_in(3)) {  // one that ends where the lap ends
                const auto left = capacity - stream->status().published % capacity;
                if (left > 1) size = (left - 1) * sizeof last;
            }
            if (random.one_in(3)) {  // where it will lie
                const auto place = end.try_prepare(size + random.below(9));
                if (!place) return 0;
                fill(place.bytes.first(size), last + 1);
                mine.doing = 1;
                return end.commit(size) ? 1 : 0;
            }
            const auto message = std::span{bytes}.first(size);
            fill(message, last + 1);
            mine.doing = 1;
            return end.try_send(message) == shm::send_result::sent ? 1 : 0;
        }
        [[nodiscard]] bool corrupt() const { return end.corrupt(); }
    };

    struct reader {
        explicit reader(placed::consumer made) : end{std::move(made)} {}
        framing::receiver end;
        std::optional<std::uint64_t> first() {
            const auto found = end.try_receive();
            if (!found) return std::nullopt;
            const auto number = number_of(found->bytes());
            require(number.has_value(), "a message: expected a whole one, found one that is torn");
            return number;
        }
        template <class Told>
        std::size_t take(diary& mine, dice&, Told told) {
            const auto number = first();
            if (!number) return 0;
            told(*number);
            mine.doing = 1;
            end.consume();
            return 1;
        }
        [[nodiscard]] bool corrupt() const { return end.corrupt(); }
    };
};

/// One stream, until its children have died some times.
///
/// A writer's diary says which number it has sent last, and how many it was sending; a reader's, which it has consumed last,
/// and how many it was consuming. What was being sent has been sent whole or not at all; what was being consumed has been, or
/// is seen again. Nothing else may be missing or come twice.
template <class Stream>
class stream_world {
    using placed = typename Stream::placed;

public:
    stream_world(trial& on, const diaries& all) : on_{on}, writes_{all[0]}, reads_{all[1]} {
        for (diary* each : {&writes_, &reads_}) each->done = each->doing = each->again = 0;
    }

    void run() {
        const std::uint64_t kind = on_.random().below(3);
        const bool writer_dies = kind != 1, reader_dies = kind != 0;
        if (!writer_dies) here_writes_.emplace(writer());
        if (!reader_dies) here_reads_.emplace(reader());
        for (int rounds = 0; rounds < 12 && !on_.over(); ++rounds) {
            std::vector<child> children;
            if (writer_dies) children.push_back(start_writer());
            if (reader_dies) children.push_back(start_reader());
            for (const auto& proof : on_.outlive(children, [&](bool) { work_here(); })) dead_.push_back(proof);
            check_roles();
            if (writer_dies) settle();
        }
        here_writes_.reset();
        settle();

        // Whoever comes now finds it empty, and as good as new.
        here_reads_.reset();
        auto last = writer();
        for (int i = 0; i < 3; ++i) send(last, 1);
        settle();
        on_.counts().redelivered += reads_.again;
        const auto now = here_.status();
        require(now.size == 0 && !now.reported_corrupt,
                "the stream: expected empty, found " + std::to_string(now.size) + " in it");
    }

private:
    [[nodiscard]] typename Stream::writer writer() const { return writer(here_); }
    [[nodiscard]] typename Stream::reader reader() const { return reader(here_); }

    /// The roles, of whoever of the dead holds them.
    [[nodiscard]] typename Stream::writer writer(const placed& stream) const {
        const auto me = shm::this_process().value();
        for (const auto& proof : dead_)
            if (proof.peer() == stream.status().producer) return {stream, stream.take_over_producer(me, proof).value()};
        return {stream, stream.claim_producer(me).value()};
    }
    [[nodiscard]] typename Stream::reader reader(const placed& stream) const {
        const auto me = shm::this_process().value();
        for (const auto& proof : dead_)
            if (proof.peer() == stream.status().consumer)
                return typename Stream::reader{stream.take_over_consumer(me, proof).value()};
        return typename Stream::reader{stream.claim_consumer(me).value()};
    }

    bool send(typename Stream::writer& with, std::size_t count) { return send(with, count, on_.random()); }
    bool send(typename Stream::writer& with, std::size_t count, dice& random) const {
        const std::size_t sent = with.send(writes_, writes_.done, count, random);
        writes_.done += sent;
        writes_.doing = 0;
        return sent != 0;
    }

    /// Whoever reads on first looks how far the one before had come.
    bool resolve(typename Stream::reader& with) const {
        if (reads_.doing == 0) return true;
        const auto number = with.first();
        if (!number) return false;
        const std::uint64_t done = reads_.done, doing = reads_.doing;
        require(*number == done + 1 || *number == done + doing + 1,
                "after a reader's death: expected number " + std::to_string(done + 1) + " or " +
                    std::to_string(done + doing + 1) + ", found " + std::to_string(*number));
        if (*number == done + 1) ++reads_.again;
        reads_.done = *number - 1;
        reads_.doing = 0;
        return true;
    }
    bool receive(typename Stream::reader& with, dice& random) const {
        if (!resolve(with)) return false;
        std::uint64_t next = reads_.done + 1;
        const auto told = [&](std::uint64_t number) {
            require(number == next,
                    "the stream: expected number " + std::to_string(next) + ", found " + std::to_string(number));
            ++next;
        };
        const std::size_t count = with.take(reads_, random, told);
        reads_.done += count;
        reads_.doing = 0;
        return count != 0;
    }

    [[nodiscard]] child start_writer() {
        return on_.start(writes_, on_.draw(120), [this](dice& random) {
            const auto bytes = memory_.attach();
            const placed stream = placed::attach(bytes.region()).value();
            for (;;) {
                auto end = writer(stream);
                for (auto calls = random.below(12); calls > 0; --calls) {
                    if (!send(end, 1 + random.below(3), random)) ::sched_yield();
                    if (random.one_in(8)) require(stream.size_approx() <= stream.capacity(), "size above capacity");
                    require(!end.corrupt(), "a writer: expected sound positions, found nonsense");
                }
            }
        });
    }
    [[nodiscard]] child start_reader() {
        return on_.start(reads_, on_.draw(120), [this](dice& random) {
            const auto bytes = memory_.attach();
            const placed stream = placed::attach(bytes.region()).value();
            for (;;) {
                auto end = reader(stream);
                for (auto calls = random.below(12); calls > 0; --calls) {
                    if (!receive(end, random)) ::sched_yield();
                    require(!end.corrupt(), "a reader: expected sound positions, found nonsense");
                }
            }
        });
    }

    /// The side that no child has.
    void work_here() {
        bool worked = false;
        if (here_writes_) worked = send(*here_writes_, 1 + on_.random().below(3));
        if (here_reads_) worked = receive(*here_reads_, on_.random()) || worked;
        if (!worked) ::sched_yield();
    }

    /// A role is the dead one's, or nobody's: it had not come to claim it, or had given it up.
    void check_roles() const {
        const auto now = here_.status();
        const auto me = shm::this_process().value();
        for (const shm::peer_id holder : {now.producer, now.consumer}) {
            bool known = !holder.valid() || holder == me;
            for (const auto& proof : dead_) known = known || proof.peer() == holder;
            require(known,
                    "a role: expected a dead one's or nobody's, found that of process " + std::to_string(holder.id));
        }
        if (dead_.empty() || dead_.front().peer() == now.producer) return;
        const auto others = here_.take_over_producer(me, dead_.front());
        require(!others && others.error().what == shm::fault_kind::not_holder,
                "a proof of another's death: expected to take nothing over, found that it did");
    }

    /// With the writer dead: all that it has sent is there, and what it was sending is there whole or not at all.
    void settle() {
        std::optional<typename Stream::reader> taken;
        if (!here_reads_) taken.emplace(reader());
        auto& with = here_reads_ ? *here_reads_ : *taken;
        while (receive(with, on_.random())) {
        }
        require(!with.corrupt(), "a reader: expected sound positions, found nonsense");
        // What was left to be resolved was consumed, and was the last.
        if (reads_.doing != 0) reads_.done += reads_.doing.exchange(0);
        const std::uint64_t sent = writes_.done, sending = writes_.doing, read = reads_.done;
        require(read == sent || read == sent + sending,
                "after a writer's death: expected " + std::to_string(sent) +
                    (sending == 0 ? "" : " or " + std::to_string(sent + sending)) + " numbers, found " +
                    std::to_string(read));
        writes_.done = read;
        writes_.doing = 0;
    }

    trial& on_;
    diary& writes_;
    diary& reads_;
    const shared_memory memory_{placed::required_size(Stream::capacity)};
    const shm::memfd_region bytes_ = memory_.attach();
    const placed here_ = placed::create(bytes_.region(), Stream::capacity, first_position(Stream::capacity)).value();
    std::vector<shm::proof_of_death> dead_;
    std::optional<typename Stream::writer> here_writes_;
    std::optional<typename Stream::reader> here_reads_;
};

template <class Stream>
void try_stream(trial& on) {
    using placed = typename Stream::placed;
    const diaries all;
    while (!on.over()) {
        try_creation(
            on, all[0], placed::required_size(Stream::capacity),
            [](shm::region bytes) { return placed::create(bytes, Stream::capacity); },
            [](shm::region bytes) { return placed::attach(bytes); },
            [](const placed& made) { require(made.is_empty(), "a new stream: expected empty, found items"); });
        stream_world<Stream>{on, all}.run();
    }
}

}  // namespace

void try_spsc_ring(trial& on) { try_stream<ring_stream>(on); }
void try_bip_buffer(trial& on) { try_stream<bip_stream>(on); }

}  // namespace kill_test
