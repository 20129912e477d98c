// SPDX-License-Identifier: MIT OR Apache-2.0
// Every interleaving of the two sides of a channel. Its orders are those of the bip buffer and of the wakeup: what is shown
// here is that they fit together. Who waits is woken by whatever ends the wait, also by the room that a peek gives back; who
// survives is told so, and loses nothing.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <shm/channel_end.hpp>

#include "checker/driver/scenario.hpp"
#include "models/bip_buffer/memory.hpp"
#include "models/wakeup/modelled_bell.hpp"
#include "testkit/staged_death.hpp"

namespace shm {

/// A model's cells are not bytes side by side. So a scenario prepares a place, and commits no bytes of it: whether a
/// side is left asleep does not depend on what a message says.
template <class Cell>
    requires requires(Cell& cell) { cell.read(); }
std::span<std::uint64_t> values(std::span<Cell> cells) {
    static std::array<std::uint64_t, 3> apart;
    return std::span{apart}.first(cells.size());
}

}  // namespace shm

namespace shm::model {
namespace {

constexpr std::size_t most_bytes = 24;
constexpr std::array<peer_id, 3> peers{peer_id{1, 1}, peer_id{2, 1}, peer_id{3, 1}};

/// Both sides of a channel of so many words in each direction, and what they sleep by. Nobody spins.
template <class A, std::size_t Words>
struct two_ends {
    using end = channel_end<modelled_bell<A>, std::uint64_t, A>;
    using buffer = typename end::framing::buffer;
    std::array<buffer_memory<buffer, Words>, 2> to_side;
    std::array<typename end::waker::word, 2> words;
    std::array<line<A>, 2> lines;
    std::array<unsigned, 2> refusals{};
    std::array<std::optional<end>, 2> ends;

    two_ends() {
        for (unsigned i = 0; i < 2; ++i) {
            name(&words[i], "sleeper " + std::to_string(i));
            name(&lines[i], "bell " + std::to_string(i));
        }
    }
    void make(std::uint64_t first_position = 0) {
        for (auto& direction : to_side) check(buffer::create(direction.bytes(), Words, first_position).has_value());
        for (unsigned side = 0; side < 2; ++side) {
            ends[side].emplace(
                take(side, [&](const buffer& of, bool writes) { return claimed(of, writes, peers[side]); }));
        }
    }
    /// What a successor of that side does when the bell has told of its end.
    end successor(unsigned side) {
        const auto dead = death_witness<struct scenario>::saw(peers[side]);
        return take(side, [&](const buffer& of, bool writes) { return taken_over(of, writes, dead); });
    }
    end& operator[](unsigned side) { return *ends[side]; }

    /// The kernel's part of a process's end.
    void close(unsigned side) { ends[side]->bell().close(); }

private:
    struct pair {
        std::optional<typename buffer::producer> producer;
        std::optional<typename buffer::consumer> consumer;
    };
    static pair claimed(const buffer& of, bool writes, peer_id me) {
        pair got;
        if (writes) got.producer.emplace(of.claim_producer(me).value());
        if (!writes) got.consumer.emplace(of.claim_consumer(me).value());
        return got;
    }
    static pair taken_over(const buffer& of, bool writes, const proof_of_death& dead) {
        pair got;
        if (writes) got.producer.emplace(of.take_over_producer(peers[2], dead).value());
        if (!writes) got.consumer.emplace(of.take_over_consumer(peers[2], dead).value());
        return got;
    }
    template <class Get>
    end take(unsigned side, Get get) {
        auto out = get(buffer::attach(to_side[1 - side].bytes()).value(), true);
        auto in = get(buffer::attach(to_side[side].bytes()).value(), false);
        return end{typename end::waker{words[side], words[1 - side],
                                       modelled_bell<A>{&lines[side], &lines[1 - side], &refusals[side]},
                                       std::chrono::nanoseconds{0}},
                   typename end::framing::sender{*std::move(out.producer)},
                   typename end::framing::receiver{*std::move(in.consumer)}};
    }
};

/// Sends a message of so many times that byte. Whether it was sent; else its deadline came first, or the peer's end.
template <form Form, class End>
bool send(End& end, unsigned number, std::size_t size_bytes = 8) {
    std::array<std::byte, most_bytes> bytes;
    bytes.fill(std::byte(number));
    const auto sent = end.send(std::span{bytes}.first(size_bytes), until<Form>);
    if (sent) return true;
    const auto why = sent.error().what;
    check(why == fault_kind::peer_dead || (Form == form::tries && why == fault_kind::timed_out));
    return false;
}

/// Receives that message, and nothing else. Nothing: why not.
template <form Form, class End>
std::optional<fault_kind> receive(End& end, unsigned number, std::size_t size_bytes = 8) {
    const auto message = end.receive(until<Form>);
    if (!message) {
        const auto why = message.error().what;
        check(why == fault_kind::peer_dead || (Form == form::tries && why == fault_kind::timed_out));
        return why;
    }
    check(message->size_bytes == size_bytes);
    for (const auto& slot : message->slots) check(slot.read() == 0x0101010101010101 * number);
    end.consume();
    return std::nullopt;
}

/// Room for one message at a time: the sender waits as often as the receiver.
template <class A, form Form>
struct stream {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "messages come whole and in order, and neither side sleeps on";
    static constexpr unsigned messages = 2;
    two_ends<A, 2> both;
    unsigned received = 0;

    void before() { both.make(); }
    void thread(unsigned index) {
        for (unsigned number = 1; number <= messages; ++number) {
            if (index == 0 ? !send<Form>(both[0], number) : receive<Form>(both[1], number).has_value()) return;
            if (index == 1) ++received;
        }
    }
    void after() { check(Form == form::tries || received == messages); }
};

/// A request, and the answer to it.
template <class A, form Form>
struct request {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a request is answered";
    two_ends<A, 2> both;
    bool answered = false;

    void before() { both.make(); }
    void thread(unsigned index) {
        if (index == 0) {
            if (send<Form>(both[0], 1)) answered = !receive<Form>(both[0], 2);
        } else if (!receive<Form>(both[1], 1)) {
            (void)send<Form>(both[1], 2);
        }
    }
    void after() { check(Form == form::tries || answered); }
};

/// Each sends to the other, and then receives.
template <class A, form Form>
struct both_send {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "both directions are on their own, and share the bell";
    two_ends<A, 2> both;

    void before() { both.make(); }
    void thread(unsigned index) {
        if (!send<Form>(both[index], 1 + index)) return;
        const auto why_not = receive<Form>(both[index], 2 - index);
        check(Form == form::tries || !why_not);
    }
    void after() {}
};

/// A message of the whole buffer does not fit from where the ends stand: an empty run goes first, which only a look of the
/// receiver's goes past.
template <class A, form Form>
struct longest_message {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "the longest message there can be is sent from anywhere, though both sides sleep";
    two_ends<A, 4> both;
    bool after_another = false;
    bool received = false;

    void before() {
        after_another = choose(2) != 0;
        both.make(after_another ? 0 : 1 + choose(3));
    }
    void thread(unsigned index) {
        if (index == 0) {
            if (after_another && !send<Form>(both[0], 1)) return;
            (void)send<Form>(both[0], 2, 24);
        } else {
            if (after_another && receive<Form>(both[1], 1)) return;
            received = !receive<Form>(both[1], 2, 24);
        }
    }
    void after() { check(Form == form::tries || received); }
};

/// The same, and the receiver's first wait is over before anything comes: its last look may give room back too.
template <class A, form Form>
struct received_in_time {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a wait that ends at its deadline leaves nobody asleep";
    two_ends<A, 4> both;
    bool received = false;

    void before() { both.make(1 + choose(3)); }
    void thread(unsigned index) {
        if (index == 0) {
            (void)send<Form>(both[0], 2, 24);
        } else {
            received = !receive<form::tries>(both[1], 2, 24);
            if (!received) received = !receive<Form>(both[1], 2, 24);
        }
    }
    void after() {
        check(Form == form::tries || received);
        check(both[1].stats().messages_received == (received ? 1 : 0));
    }
};

/// In the other form of waiting, of an event loop, nobody blocks. What was announced is rung.
template <class A>
struct announced {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "who has announced his sleep and found nothing is rung for a message, and for room";
    two_ends<A, 2> both;
    bool sleeps = false;

    void before() { both.make(); }
    void thread(unsigned index) {
        if (index == 0)
            (void)send<form::tries>(both[0], 1);
        else
            sleeps = both[1].announce();
    }
    void after() {
        check(!sleeps || both.lines[1].load(std::memory_order_relaxed) == pending);
        check(both[1].try_receive().has_value());
    }
};

/// The sender is killed anywhere. What it has sent is received, then its end.
template <class A, form Form>
struct sender_killed {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "what a dead sender has sent is received, and then its end";
    two_ends<A, 2> both;
    unsigned sent = 0, received = 0;
    bool told = false;

    void before() { both.make(); }
    void thread(unsigned index) {
        if (index == 0) {
            (void)survives([&] {
                for (unsigned number = 1; number <= 2; ++number) sent += send<Form>(both[0], number) ? 1 : 0;
            });
            both.close(0);
            return;
        }
        for (unsigned number = 1; !told; ++number) {
            const auto why = receive<Form>(both[1], number);
            if (why == fault_kind::timed_out) return;
            told = why.has_value();
            received += told ? 0 : 1;
        }
    }
    void after() {
        check(Form == form::tries || told);
        // It may have died between publishing and knowing it.
        check(!told || received == sent || received == sent + 1);
    }
};

/// The receiver is killed anywhere. The sender is told when it would wait for room; a successor goes on where it stopped.
template <class A, form Form>
struct receiver_killed {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "a successor receives what the dead receiver has not consumed, and nothing else";
    two_ends<A, 2> both;
    unsigned sent = 0, received = 0;

    void before() { both.make(); }
    void thread(unsigned index) {
        if (index == 0) {
            for (unsigned number = 1; number <= 3 && send<Form>(both[0], number); ++number) ++sent;
            return;
        }
        (void)survives([&] {
            while (received < 2 && !receive<Form>(both[1], received + 1)) ++received;
        });
        both.close(1);
    }
    void after() {
        auto successor = both.successor(1);
        // What was consumed, though the dead one did not come to count it, does not come again.
        for (unsigned number = received + 1; auto message = successor.try_receive(); ++number) {
            const auto found = static_cast<unsigned>(message->slots[0].read() & 0xff);
            check(found == number || (found == number + 1 && number == received + 1));
            number = found;
            received = found - 1;
            successor.consume();
        }
        check(successor.try_send({}) == send_result::sent);
    }
};

/// The system has no memory for a bell just now.
template <class A, form Form>
struct bell_refused {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "a bell that the system refused is told by the next call, which rings again";
    two_ends<A, 2> both;

    void before() {
        both.make();
        both.refusals[0] = 1;
    }
    void thread(unsigned index) {
        if (index == 1) {
            const auto why_not = receive<Form>(both[1], 1);
            check(Form == form::tries || !why_not);
        } else if (send<form::tries>(both[0], 1)) {
            const auto found = both[0].receive(deadline{});
            check(!found &&
                  (found.error().what == fault_kind::timed_out || found.error().what == fault_kind::system_call));
        }
    }
    void after() {}
};

/// The bell of a request was refused, and the other side may sleep: a side that waited for the answer would wait
/// forever.
template <class A, form Form>
struct request_bell_refused {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "a side that waits for an answer gets an error when the bell of its request was refused";
    two_ends<A, 2> both;
    bool answered = false;

    void before() {
        both.make();
        both.refusals[0] = 1;
    }
    void thread(unsigned index) {
        if (index == 1) {
            if (!receive<Form>(both[1], 1)) (void)send<Form>(both[1], 2);
        } else if (send<Form>(both[0], 1)) {
            auto answer = both[0].receive(until<Form>);
            if (!answer && answer.error().what == fault_kind::system_call) answer = both[0].receive(until<Form>);
            answered = answer.has_value();
            check(answered || (Form == form::tries && answer.error().what == fault_kind::timed_out));
        }
    }
    void after() { check(Form == form::tries || answered); }
};

/// Messages are written in place. Each place is as large as the buffer, and its message takes one word of it: an empty
/// run has to precede the next place.
template <class A, form Form>
struct made_in_place {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "each message that was committed is received, and no side is left asleep";
    static constexpr unsigned messages = 2;
    two_ends<A, 2> both;
    unsigned received = 0;

    void before() { both.make(); }
    void thread(unsigned index) {
        for (unsigned number = 1; number <= messages; ++number) {
            if (index == 1) {
                if (receive<Form>(both[1], number, 0)) return;
                ++received;
            } else if (const auto place = both[0].prepare(8, until<Form>)) {
                both[0].commit(0);
            } else {
                check(Form == form::tries && place.error().what == fault_kind::timed_out);
                return;
            }
        }
    }
    void after() { check(Form == form::tries || received == messages); }
};

/// A sender that never waits in a call: it tries, announces its sleep, tries once more, and sleeps on the bell's
/// descriptor. The message is the longest that fits, so an empty run precedes it.
template <class A, form Form>
struct loop_sends {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "when a sender tries and sleeps in its own loop, no side is left asleep";
    two_ends<A, 4> both;
    bool received = false;

    void before() { both.make(1 + choose(3)); }
    void thread(unsigned index) {
        if (index == 0)
            (void)sends_in_a_loop(both[0]);
        else
            received = !receive<Form>(both[1], 0, 24);
    }
    void after() { check(Form == form::tries || received); }

private:
    static bool sends_in_a_loop(auto& end) {
        constexpr std::array<std::byte, 24> longest{};
        for (;;) {
            if (end.try_send(longest) == send_result::sent) return true;
            check(end.announce());
            const bool now = end.try_send(longest) == send_result::sent;
            const bool rung = !now && end.bell().wait(until<Form>).value() == wait_result::rung;
            end.awake();
            if (now || !rung) return now;
        }
    }
};

/// The system has no memory for the bell that an empty run needs: the sender must not wait for room that the receiver,
/// still asleep, does not make.
template <class A, form Form>
struct bell_for_room_refused {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant =
        "a sender does not wait for room when the bell that asks for it was refused";
    two_ends<A, 4> both;
    bool received = false;

    void before() {
        both.make(1 + choose(3));
        both.refusals[0] = 1;
    }
    void thread(unsigned index) {
        constexpr std::array<std::byte, 24> longest{};
        if (index == 1) {
            received = !receive<Form>(both[1], 0, 24);
        } else if (const auto sent = both[0].send(longest, until<Form>);
                   !sent && sent.error().what == fault_kind::system_call) {
            (void)send<Form>(both[0], 0, 24);
        } else {
            check(sent || (Form == form::tries && sent.error().what == fault_kind::timed_out));
            (void)both[0].receive(deadline{});  // rings, if it was the message's bell that was refused
        }
    }
    void after() { check(Form == form::tries || received); }
};

/// A peer that writes nonsense, and rings: a position or a length when the victim waits for a message, a position when
/// it waits for room.
template <class A, form Form>
struct nonsense {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "a side that waits is woken by nonsense, and its call returns corrupt";
    two_ends<A, 2> both;
    bool for_room = false;
    unsigned lie = 0;

    void before() {
        both.make();
        for_room = choose(2) != 0;
        lie = choose(for_room ? 3 : 5);
        if (for_room) check(both[1].try_send(std::array<std::byte, 8>{}) == send_result::sent);
    }
    void thread(unsigned index) {
        if (index == 0) {
            constexpr std::uint64_t positions[] = {5, 1ULL << 32, ~0ULL};
            auto& of = both.to_side[for_room ? 0 : 1];
            if (lie < 3) {
                (for_room ? of.header.consumed : of.header.published).store(positions[lie], std::memory_order_release);
            } else {
                of.slots[0].write(lie == 3 ? 9 : 1ULL << 32);
                of.header.published.store(2, std::memory_order_release);
            }
            both.words[1].exchange(0, std::memory_order_release);
            (void)both[0].bell().signal().value();
        } else {
            const auto why = for_room ? both[1].send(std::array<std::byte, 8>{}, until<Form>).error()
                                      : both[1].receive(until<Form>).error();
            check(why.what == fault_kind::corrupt || (Form == form::tries && why.what == fault_kind::timed_out));
            check(both[1].corrupt() || why.what != fault_kind::corrupt);
        }
    }
    void after() {}
};

const bool added = [] {
    add<stream>("channel", "channel_stream");
    add<request>("channel", "channel_request");
    add<both_send>("channel", "channel_both_send");
    add<longest_message>("channel", "channel_longest_message");
    add<received_in_time>("channel", "channel_received_in_time");
    add<announced>("channel", "channel_announced");
    add<sender_killed>("channel", "channel_sender_killed");
    add<receiver_killed>("channel", "channel_receiver_killed");
    add<bell_refused>("channel", "channel_bell_refused");
    add<request_bell_refused>("channel", "channel_request_bell_refused");
    add<made_in_place>("channel", "channel_made_in_place");
    add<loop_sends>("channel", "channel_loop_sends");
    add<bell_for_room_refused>("channel", "channel_bell_for_room_refused");
    add<nonsense>("channel", "channel_nonsense");
    return true;
}();

}  // namespace
}  // namespace shm::model
