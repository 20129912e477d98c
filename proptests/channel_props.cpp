// SPDX-License-Identifier: MIT OR Apache-2.0
// shm_primitive(channel WRAP fcntl memfd_create mmap send socketpair)
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <rapidcheck.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <shm/channel.hpp>

#include "testkit/child_process.hpp"
#include "testkit/failing_call.hpp"
#include "testkit/nothing_left.hpp"
#include "testkit/process_state.hpp"
#include "testkit/words.hpp"

namespace {

failing_call failing_fcntl, failing_memfd_create, failing_mmap, failing_send, failing_socketpair;

}  // namespace

// The linker sends each call of f to __wrap_f, and knows the f of the C library as __real_f.
int real_fcntl(int fd, int command, long argument) asm("__real_fcntl");
int wrapped_fcntl(int fd, int command, long argument) asm("__wrap_fcntl");
int wrapped_fcntl(int fd, int command, long argument) {
    return failing_fcntl.fails() ? -1 : real_fcntl(fd, command, argument);
}
int real_memfd_create(const char* name, unsigned flags) asm("__real_memfd_create");
int wrapped_memfd_create(const char* name, unsigned flags) asm("__wrap_memfd_create");
int wrapped_memfd_create(const char* name, unsigned flags) {
    return failing_memfd_create.fails() ? -1 : real_memfd_create(name, flags);
}
void* real_mmap(void* at, std::size_t size, int allowed, int flags, int fd, off_t offset) asm("__real_mmap");
void* wrapped_mmap(void* at, std::size_t size, int allowed, int flags, int fd, off_t offset) asm("__wrap_mmap");
void* wrapped_mmap(void* at, std::size_t size, int allowed, int flags, int fd, off_t offset) {
    return failing_mmap.fails() ? MAP_FAILED : real_mmap(at, size, allowed, flags, fd, offset);
}
ssize_t real_send(int fd, const void* bytes, std::size_t size, int flags) asm("__real_send");
ssize_t wrapped_send(int fd, const void* bytes, std::size_t size, int flags) asm("__wrap_send");
ssize_t wrapped_send(int fd, const void* bytes, std::size_t size, int flags) {
    return failing_send.fails() ? -1 : real_send(fd, bytes, size, flags);
}
int real_socketpair(int family, int type, int protocol, int ends[2]) asm("__real_socketpair");
int wrapped_socketpair(int family, int type, int protocol, int ends[2]) asm("__wrap_socketpair");
int wrapped_socketpair(int family, int type, int protocol, int ends[2]) {
    return failing_socketpair.fails() ? -1 : real_socketpair(family, type, protocol, ends);
}

namespace {

const bool all_is_given_up = nothing_left::by_any_test();

using shm::channel;
using shm::fault;
using shm::fault_kind;
using shm::send_result;
using text = std::string_view;

std::span<const std::byte> bytes_of(text what) { return std::as_bytes(std::span{what}); }
text text_of(const channel::message& message) {
    return {reinterpret_cast<const char*>(message.bytes().data()), message.size_bytes};
}
/// Receives one message and consumes it.
std::string take(channel& from) {
    const std::string what{text_of(from.receive().value())};
    from.consume();
    return what;
}
shm::channel_options of_capacity(std::size_t bytes) { return {.capacity_bytes = bytes, .memory = {}}; }

/// Both sides of a channel, in this process.
struct a_channel : testing::Test {
    channel mine = channel::create(of_capacity(256)).value();
    std::optional<channel> theirs = channel::join(mine.invite().value()).value();
    static void expect(const fault& refused, const fault& wanted) { EXPECT_EQ(refused, wanted) << refused.sentence(); }
};

TEST_F(a_channel, carries_messages_both_ways) {
    mine.send(bytes_of("hello")).value();
    theirs->send(bytes_of("")).value();
    EXPECT_EQ(take(*theirs), "hello");
    EXPECT_EQ(take(mine), "");
    EXPECT_FALSE(mine.try_receive().has_value());
    EXPECT_EQ(mine.stats().messages_sent, 1U);
    EXPECT_EQ(mine.stats().bytes_sent, 5U);
    EXPECT_EQ(theirs->stats().messages_received, 1U);
    EXPECT_EQ(theirs->stats().bytes_received, 5U);
    EXPECT_EQ(mine.stats().bells_rung, 0U) << "nobody slept";
}

TEST_F(a_channel, counts_each_message_once_however_often_it_is_looked_at) {
    for (std::uint64_t number = 1; number <= 5; ++number) {
        mine.send(bytes_of("12")).value();
        for (int look = 0; look < 3; ++look) EXPECT_TRUE(theirs->try_receive().has_value());
        (void)theirs->wait().value();
        theirs->consume();
        EXPECT_EQ(mine.stats().messages_sent, number);
        EXPECT_EQ(mine.stats().bytes_sent, 2 * number);
        EXPECT_EQ(theirs->stats().messages_received, number);
        EXPECT_EQ(theirs->stats().bytes_received, 2 * number);
    }
}

TEST_F(a_channel, shows_a_message_where_it_lies_until_it_is_consumed) {
    const auto place = mine.prepare(100).value();
    EXPECT_EQ(place.size(), 100U);
    std::ranges::fill(place, std::byte{7});
    EXPECT_FALSE(theirs->try_receive().has_value()) << "nothing is sent before the commit";
    mine.commit(10);
    const auto once = theirs->receive().value(), again = theirs->receive().value();
    EXPECT_EQ(once.size_bytes, 10U);
    EXPECT_EQ(once.bytes().data(), again.bytes().data());
    EXPECT_TRUE(std::ranges::all_of(once.bytes(), [](std::byte of) { return of == std::byte{7}; }));
    EXPECT_EQ(theirs->stats().messages_received, 1U);
    theirs->consume();
    EXPECT_FALSE(theirs->try_receive().has_value());
}

TEST_F(a_channel, tells_what_never_fits_from_what_does_not_fit_now) {
    const std::string longest(mine.max_size_bytes(), 'x'), longer(mine.max_size_bytes() + 1, 'x');
    EXPECT_EQ(mine.max_size_bytes(), 248U);
    expect(mine.send(bytes_of(longer)).error(), {fault_kind::message_size, 248, 249});
    EXPECT_EQ(mine.try_send(bytes_of(longer)), send_result::too_large);
    mine.send(bytes_of(longest)).value();
    EXPECT_EQ(mine.try_send(bytes_of("")), send_result::full);
    const auto soon = shm::deadline::clock::now() + std::chrono::milliseconds{1};
    expect(mine.send(bytes_of(""), soon).error(), {fault_kind::timed_out, 1, 0});
    expect(mine.prepare(1, soon).error(), {fault_kind::timed_out, 1, 0});
    EXPECT_EQ(take(*theirs), longest);
    mine.send(bytes_of("")).value();
}

TEST_F(a_channel, keeps_its_deadlines) {
    expect(mine.receive(shm::deadline{}).error(), {fault_kind::timed_out, 1, 0});
    const auto before = shm::deadline::clock::now();
    const auto until = before + std::chrono::milliseconds{20};
    expect(mine.receive(until).error(), {fault_kind::timed_out, 1, 0});
    EXPECT_GE(shm::deadline::clock::now(), until);
    EXPECT_EQ(mine.wait(shm::deadline{}).value(), shm::wakeup_result::timed_out);
}

TEST_F(a_channel, is_over_when_the_other_side_has_left_and_its_messages_are_received) {
    theirs->send(bytes_of("last words")).value();
    theirs.reset();
    EXPECT_TRUE(mine.is_peer_dead());
    EXPECT_EQ(take(mine), "last words");
    expect(mine.receive().error(), {fault_kind::peer_dead, 1, 0});
    while (mine.try_send(bytes_of("unheard")) == send_result::sent) continue;
    expect(mine.send(bytes_of("unheard")).error(), {fault_kind::peer_dead, 1, 0});
}

TEST_F(a_channel, has_a_successor_that_goes_on_where_the_other_side_stopped) {
    for (const text what : {"one", "two", "three"}) mine.send(bytes_of(what)).value();
    EXPECT_EQ(take(*theirs), "one");
    EXPECT_EQ(text_of(theirs->receive().value()), "two") << "and not consumed";
    theirs.reset();
    theirs = channel::join(mine.invite().value()).value();
    EXPECT_FALSE(mine.is_peer_dead());
    EXPECT_EQ(take(*theirs), "two");
    EXPECT_EQ(take(*theirs), "three");
    theirs->send(bytes_of("four")).value();
    EXPECT_EQ(take(mine), "four");
}

TEST_F(a_channel, whose_creator_has_left_goes_on_with_another) {
    {
        const auto left = std::move(mine);
    }
    mine = channel::join(theirs->invite().value()).value();
    mine.send(bytes_of("hello")).value();
    EXPECT_EQ(take(*theirs), "hello");
}

TEST(channel, whose_creator_has_left_before_the_other_side_joined_loses_nothing) {
    std::optional mine{channel::create().value()};
    mine->send(bytes_of("hello")).value();
    auto invited = mine->invite().value();
    mine.reset();
    auto theirs = channel::join(std::move(invited)).value();
    EXPECT_EQ(take(theirs), "hello");
    EXPECT_EQ(theirs.receive().error().what, fault_kind::peer_dead);
    theirs.send(bytes_of("too late")).value();
    mine.emplace(channel::join(theirs.invite().value()).value());
    EXPECT_EQ(take(*mine), "too late");
}

TEST_F(a_channel, commits_what_was_prepared_last_and_nothing_else) {
    (void)mine.prepare(8).value();
    mine.send(bytes_of("sent")).value();
    (void)mine.prepare(8).value();
    EXPECT_EQ(mine.try_send(bytes_of(std::string(300, 'x'))), send_result::too_large);
    EXPECT_DEBUG_DEATH(mine.commit(8), "size");
    EXPECT_EQ(mine.stats().messages_sent, 1U);
    (void)mine.prepare(8).value();
    EXPECT_DEBUG_DEATH(mine.commit(9), "size");
    EXPECT_EQ(take(*theirs), "sent");
    EXPECT_FALSE(theirs->try_receive().has_value());
}

TEST_F(a_channel, is_not_there_in_a_forked_child) {
    child_process child([&] {
        std::signal(SIGSEGV, SIG_DFL);  // not the sanitizers'
        return mine.try_send(bytes_of("from a copy")) == send_result::sent ? 0 : 1;
    });
    EXPECT_EQ(child.wait(), killed_by(SIGSEGV));
    EXPECT_FALSE(theirs->try_receive().has_value());
    mine.send(bytes_of("hello")).value();
    EXPECT_EQ(take(*theirs), "hello");
}

TEST_F(a_channel, has_two_sides) {
    const auto refused = mine.invite();
    ASSERT_FALSE(refused.has_value());
    expect(refused.error(), {fault_kind::busy, 0, shm::this_process().value().word()});
    auto bells = shm::doorbell::create_pair().value();
    const auto third =
        channel::join({shm::unique_fd{fcntl(mine.memory().fd(), F_DUPFD_CLOEXEC, 0L)}, std::move(bells.second)});
    ASSERT_FALSE(third.has_value());
    EXPECT_EQ(third.error().what, fault_kind::busy) << third.error().sentence();
}

TEST_F(a_channel, rings_only_for_who_sleeps) {
    EXPECT_TRUE(theirs->announce());
    mine.send(bytes_of("1")).value();
    mine.send(bytes_of("2")).value();
    EXPECT_EQ(mine.stats().bells_rung, 1U);
    theirs->awake();
    EXPECT_FALSE(theirs->announce()) << "there is something";
}

TEST_F(a_channel, rings_for_what_was_prepared_and_for_what_was_tried) {
    EXPECT_TRUE(theirs->announce());
    (void)mine.prepare(8).value();
    EXPECT_EQ(mine.stats().bells_rung, 0U) << "nothing is sent before the commit";
    mine.commit(8);
    EXPECT_EQ(mine.stats().bells_rung, 1U);
    theirs->awake();
    (void)take(*theirs);
    EXPECT_TRUE(theirs->announce());
    EXPECT_EQ(mine.try_send(bytes_of("a")), send_result::sent);
    EXPECT_EQ(mine.stats().bells_rung, 2U);
    theirs->awake();
    (void)take(*theirs);
    EXPECT_TRUE(theirs->announce());
    EXPECT_EQ(mine.try_send(bytes_of(std::string(mine.max_size_bytes(), 'x'))), send_result::full)
        << "an empty run goes first";
    EXPECT_EQ(mine.stats().bells_rung, 3U);
    theirs->awake();
    EXPECT_TRUE(theirs->announce()) << "the look has made room";
    EXPECT_EQ(mine.try_send(bytes_of(std::string(mine.max_size_bytes(), 'x'))), send_result::sent);
    EXPECT_EQ(mine.stats().bells_rung, 4U);
}

// What is sent is there, but nobody may know of it: the next call that can says so, and rings.
TEST_F(a_channel, tells_of_a_bell_that_was_refused_in_the_next_call_and_rings_once_more) {
    const fault no_memory{fault_kind::system_call, 0, ENOMEM};
    for (const bool sends : {false, true}) {
        EXPECT_TRUE(theirs->announce());
        failing_send.fail(ENOMEM);
        mine.send(bytes_of("hello")).value();
        EXPECT_EQ(mine.stats().bells_rung, 0U);
        const std::string longest(mine.max_size_bytes(), 'x');
        expect(sends ? mine.send(bytes_of(longest)).error() : mine.receive().error(), no_memory);
        EXPECT_EQ(mine.stats().bells_rung, 1U);
        theirs->awake();
        EXPECT_EQ(take(*theirs), "hello");
        expect(mine.receive(shm::deadline{}).error(), {fault_kind::timed_out, 1, 0});
        mine = channel::create(of_capacity(256)).value();
        theirs = channel::join(mine.invite().value()).value();
    }
}

// The bell of an empty run was refused: a sender that waited for the room all the same could wait for ever.
TEST_F(a_channel, does_not_wait_for_room_when_the_bell_that_makes_some_was_refused) {
    mine.send(bytes_of("")).value();
    (void)take(*theirs);
    EXPECT_TRUE(theirs->announce());
    failing_send.fail(ENOMEM);
    const std::string longest(mine.max_size_bytes(), 'x');
    const auto soon = shm::deadline::clock::now() + std::chrono::seconds{5};
    expect(mine.send(bytes_of(longest), soon).error(), {fault_kind::system_call, 0, ENOMEM});
    theirs->awake();
    EXPECT_FALSE(theirs->try_receive().has_value());
    mine.send(bytes_of(longest), shm::deadline{}).value();
}

/// What a hostile peer can write: all of it.
struct a_hostile_channel : a_channel {
    static constexpr std::size_t consumed_at = 64, slots_at = 192, invited_at = 128;
    shm::segment table = shm::segment::attach(mine.memory().region()).value();

    [[nodiscard]] shm::region block(text name) const {
        for (const auto& of : table.blocks())
            if (of.text() == name) return table.bytes_of(of);
        std::abort();
    }
    void write(text name, std::size_t at, std::uint64_t word) const { put_word(block(name).data(), at, word); }
    /// Both sides anew.
    void make(std::size_t capacity) {
        mine = channel::create(of_capacity(capacity)).value();
        theirs = channel::join(mine.invite().value()).value();
        table = shm::segment::attach(mine.memory().region()).value();
    }
};

TEST_F(a_hostile_channel, ends_a_wait_with_nonsense_and_not_with_its_deadline) {
    for (const std::uint64_t position : {33ULL, 1ULL << 32, 1ULL << 63, ~0ULL}) {
        write("to side 0", 0, position);
        EXPECT_EQ(mine.wait(shm::deadline{}).value(), shm::wakeup_result::ready) << "to be told";
        expect(mine.receive(shm::deadline{}).error(), {fault_kind::corrupt, 0, 1});
        EXPECT_FALSE(mine.announce()) << "there is something to be told";
        EXPECT_TRUE(mine.corrupt());
        mine.send(bytes_of("the other direction")).value();
        EXPECT_EQ(take(*theirs), "the other direction");

        write("to side 1", consumed_at, position);
        while (mine.try_send(bytes_of("x")) == send_result::sent) continue;
        expect(mine.send(bytes_of("x"), shm::deadline{}).error(), {fault_kind::corrupt, 0, 1});
        expect(mine.prepare(8, shm::deadline{}).error(), {fault_kind::corrupt, 0, 1});
        EXPECT_EQ(mine.try_send(bytes_of("x")), send_result::corrupt);
        make(256);
    }
    for (const std::uint64_t length : {9ULL, 1ULL << 32, ~0ULL - 7, ~0ULL}) {
        theirs->send(bytes_of("12345678")).value();
        write("to side 0", slots_at, length);
        expect(mine.receive(shm::deadline{}).error(), {fault_kind::corrupt, 0, 1});
        make(256);
    }
}

TEST_F(a_hostile_channel, wakes_who_sleeps_in_receive_to_tell_of_nonsense) {
    std::thread reader{[&] {
        const auto refused = theirs->receive(shm::deadline::clock::now() + std::chrono::seconds{20});
        EXPECT_FALSE(refused.has_value());
        if (!refused) expect(refused.error(), {fault_kind::corrupt, 0, 1});
    }};
    reinterpret_cast<std::atomic<std::uint64_t>*>(block("to side 1").data())->store(~0ULL);
    EXPECT_EQ(real_send(mine.fd(), "x", 1, MSG_NOSIGNAL), 1);
    reader.join();
}

TEST(channel, gives_who_joins_one_of_two_sides_whatever_is_written_there) {
    for (const std::uint32_t number : {0U, 1U, 2U, 3U, 1U << 16, 1U << 31, ~0U - 1, ~0U}) {
        auto mine = channel::create().value();
        auto invited = mine.invite().value();
        const auto table = shm::segment::attach(mine.memory().region()).value();
        table.find<shm::channel_sleepers<>>("sleepers").value()->invited.word = number;
        auto theirs = channel::join(std::move(invited));
        EXPECT_EQ(theirs.has_value(), number % 2 == 1) << "the other side is taken";
        if (theirs) {
            mine.send(bytes_of("hello")).value();
            EXPECT_EQ(take(*theirs), "hello");
        } else {
            EXPECT_EQ(theirs.error().what, fault_kind::busy) << theirs.error().sentence();
        }
    }
}

/// Whatever stands in the memory when somebody joins: refused, or harmless.
TEST(channel, whose_memory_is_damaged_is_refused_or_harmless) {
    EXPECT_TRUE(rc::check([](const std::vector<std::pair<std::uint16_t, std::uint32_t>>& damage) {
        auto mine = channel::create(of_capacity(64)).value();
        auto invited = mine.invite().value();
        const shm::region bytes = mine.memory().region();
        for (const auto& [at, word] : damage) put_word(bytes.data(), at % (bytes.size_bytes() - sizeof word + 1), word);
        auto theirs = channel::join(std::move(invited));
        if (!theirs) {
            RC_ASSERT(theirs.error().sentence().find(", found ") != std::string::npos);
            return;
        }
        for (int i = 0; i < 5; ++i) {
            (void)theirs->try_send(bytes_of("hello"));
            if (const auto found = theirs->try_receive()) RC_ASSERT(found->size_bytes <= theirs->max_size_bytes());
            theirs->consume();
        }
    }));
}

/// Whatever a peer writes at any time, anywhere: each call comes back by its deadline, shows and touches nothing but what is
/// its own, and once it has met nonsense it stays with that.
TEST_F(a_hostile_channel, stays_safe_whatever_is_written_anywhere) {
    EXPECT_TRUE(rc::check([&] {
        make(std::size_t{16} << *rc::gen::inRange(0, 5));
        const shm::region in = block("to side 0"), out = block("to side 1"), all = mine.memory().region();
        const auto slots = [](shm::region of) { return std::span{of.data(), of.size_bytes()}.subspan(slots_at); };
        const auto lies_in = [&](shm::region of, std::span<const std::byte> bytes) {
            return bytes.empty() || (bytes.data() >= slots(of).data() &&
                                     bytes.data() + bytes.size() <= slots(of).data() + slots(of).size());
        };
        const auto near = [] { return rc::gen::inRange<std::uint64_t>(0, 40); };
        for (int i = *rc::gen::inRange(0, 4); i > 0; --i) (void)theirs->try_send(bytes_of("12345678"));
        for (int step = 0; step < 12; ++step) {
            const auto word = *rc::gen::oneOf(near(), rc::gen::arbitrary<std::uint64_t>(),
                                              rc::gen::map(near(), [](std::uint64_t some) { return ~some; }));
            switch (*rc::gen::inRange(0, 6)) {
                case 0: write("to side 0", *rc::gen::element<std::size_t>(0, 8, consumed_at), word); break;
                case 1: write("to side 1", *rc::gen::element<std::size_t>(0, 8, consumed_at), word); break;
                case 2:
                    write("to side 0", slots_at + 8 * *rc::gen::inRange<std::size_t>(0, slots(in).size() / 8), word);
                    break;
                case 3: write("sleepers", *rc::gen::element<std::size_t>(0, 64, invited_at), word); break;
                case 4: write("to side 0", 8 * *rc::gen::inRange<std::size_t>(0, slots_at / 8), word); break;
                default: put_word(all.data(), 8 * *rc::gen::inRange<std::size_t>(0, all.size_bytes() / 8), word);
            }
            const std::vector<std::byte> before{all.data(), all.data() + all.size_bytes()};
            const bool was_corrupt = mine.corrupt();
            const auto soon = *rc::gen::arbitrary<bool>() ? shm::deadline{}
                                                          : shm::deadline::clock::now() + std::chrono::microseconds{1};
            const std::string what(*rc::gen::inRange<std::size_t>(0, 300), 'x');
            switch (*rc::gen::inRange(0, 7)) {
                case 0: (void)mine.send(bytes_of(what), soon); break;
                case 1: (void)mine.try_send(bytes_of(what)); break;
                case 2:
                    if (const auto place = mine.prepare(what.size(), soon)) {
                        RC_ASSERT(place->size() == what.size() && lies_in(out, *place));
                        std::memcpy(place->data(), what.data(), what.size());
                        mine.commit(what.size());
                    }
                    break;
                case 3:
                    if (const auto message = mine.receive(soon))
                        RC_ASSERT(lies_in(in, message->bytes()));
                    else
                        RC_ASSERT(message.error().what == fault_kind::timed_out ||
                                  message.error().what == fault_kind::corrupt);
                    break;
                case 4:
                    if (const auto message = mine.try_receive()) RC_ASSERT(lies_in(in, message->bytes()));
                    break;
                case 5: mine.consume(); break;
                default: (void)mine.announce(), mine.awake();
            }
            RC_ASSERT(mine.corrupt() || !was_corrupt);
            // Ours to write: the slots, position and watermark of one direction, the position of the other, what says that
            // either was nonsense, and the words of sleep.
            const auto is_ours = [&](const std::byte* at) {
                const auto within = [&](shm::region of, std::size_t from, std::size_t to) {
                    return at >= of.data() + from && at < of.data() + to;
                };
                return within(out, 0, 12) || within(out, 156, 160) || within(out, slots_at, out.size_bytes()) ||
                       within(in, consumed_at, consumed_at + 8) || within(in, 156, 160) ||
                       within(block("sleepers"), 0, 4) || within(block("sleepers"), 64, 68);
            };
            for (std::size_t at = 0; at < before.size(); ++at)
                RC_ASSERT(all.data()[at] == before[at] || is_ours(all.data() + at));
        }
    }));
}

TEST_F(a_channel, fits_into_a_loop_over_epoll) {
    const shm::unique_fd loop{epoll_create1(EPOLL_CLOEXEC)};
    epoll_event wanted{.events = EPOLLIN, .data = {.u64 = 1}}, found{};
    ASSERT_EQ(epoll_ctl(loop.get(), EPOLL_CTL_ADD, theirs->fd(), &wanted), 0);
    const auto wakes = [&] { return epoll_wait(loop.get(), &found, 1, 0) == 1; };
    EXPECT_TRUE(theirs->announce());
    EXPECT_FALSE(wakes());
    mine.send(bytes_of("a")).value();
    EXPECT_TRUE(wakes());
    theirs->awake();
    EXPECT_EQ(take(*theirs), "a");
    EXPECT_FALSE(theirs->try_receive().has_value());
    EXPECT_TRUE(theirs->announce());
    EXPECT_FALSE(wakes());
    {
        const auto left = std::move(mine);
    }
    EXPECT_TRUE(wakes());
    EXPECT_TRUE((found.events & EPOLLHUP) != 0);
}

TEST(channel, carries_any_messages) {
    EXPECT_TRUE(rc::check([] {
        const auto capacity = std::size_t{16} << *rc::gen::inRange(0, 5);
        auto mine = channel::create(of_capacity(capacity)).value();
        auto theirs = channel::join(mine.invite().value()).value();
        struct direction {
            channel* from;
            channel* to;
            std::deque<std::string> under_way;
        };
        std::array<direction, 2> both{direction{&mine, &theirs, {}}, direction{&theirs, &mine, {}}};
        for (int step = 0; step < 60; ++step) {
            direction& at = both[*rc::gen::inRange<std::size_t>(0, 2)];
            if (*rc::gen::arbitrary<bool>()) {
                const auto size = static_cast<std::size_t>(*rc::gen::inRange(0, 300));
                const std::string what(size, static_cast<char>('a' + step % 26));
                auto outcome = send_result::full;
                if (*rc::gen::arbitrary<bool>()) {
                    outcome = at.from->try_send(bytes_of(what));
                } else {
                    const auto place = at.from->prepare(what.size(), shm::deadline{});
                    if (place) std::memcpy(place->data(), what.data(), what.size()), at.from->commit(what.size());
                    outcome = place                                            ? send_result::sent
                              : place.error().what == fault_kind::message_size ? send_result::too_large
                                                                               : send_result::full;
                }
                RC_ASSERT((outcome == send_result::too_large) == (size > at.from->max_size_bytes()));
                if (outcome == send_result::sent) at.under_way.push_back(what);
                if (outcome == send_result::full) RC_ASSERT(!at.under_way.empty() || !at.to->try_receive().has_value());
            } else {
                const auto message = at.to->try_receive();
                RC_ASSERT(message.has_value() == !at.under_way.empty());
                if (!message) continue;
                RC_ASSERT(text_of(*message) == at.under_way.front());
                at.to->consume();
                at.under_way.pop_front();
            }
        }
        RC_ASSERT(!mine.corrupt() && !theirs.corrupt());
    }));
}

TEST(channel, wakes_a_sleeper_and_one_that_waits_for_room) {
    auto mine = channel::create(of_capacity(256)).value();
    auto theirs = channel::join(mine.invite().value()).value();
    constexpr int count = 2000;
    std::thread other{[&] {
        for (int i = 0; i < count; ++i) EXPECT_EQ(take(theirs), std::to_string(i));
        theirs.send(bytes_of("done")).value();
    }};
    for (int i = 0; i < count; ++i) mine.send(bytes_of(std::to_string(i))).value();
    EXPECT_EQ(take(mine), "done");
    other.join();
}

TEST(channel, tells_of_a_kill_at_once_and_takes_a_successor) {
    const auto descriptors = open_descriptors();
    {
        auto mine = channel::create().value();
        const auto start = [&](auto body) {
            auto invited = mine.invite().value();
            return child_process([&] {
                {
                    const auto of_parent = std::move(mine);
                }
                auto theirs = channel::join(std::move(invited)).value();
                return body(theirs);
            });
        };
        child_process first = start([](channel& theirs) {
            (void)theirs.receive().value();
            theirs.send(bytes_of("received")).value();
            for (;;) pause();
            return 0;
        });
        mine.send(bytes_of("job")).value();
        EXPECT_EQ(take(mine), "received");
        first.kill();
        const auto over = mine.receive(shm::deadline::clock::now() + std::chrono::minutes{1});
        ASSERT_FALSE(over.has_value());
        EXPECT_EQ(over.error().what, fault_kind::peer_dead) << over.error().sentence();
        EXPECT_EQ(first.wait(), killed_by(SIGKILL));

        child_process second = start([](channel& theirs) { return take(theirs) == "job" ? 0 : 1; });
        EXPECT_EQ(second.wait(), exited(0)) << "what was not consumed is received again";
    }
    EXPECT_EQ(open_descriptors(), descriptors);
}

TEST(channel, does_not_take_a_stopped_process_for_a_dead_one) {
    auto mine = channel::create().value();
    auto invited = std::optional{mine.invite().value()};
    child_process child([&] {
        {
            const auto of_parent = std::move(mine);
        }
        auto theirs = channel::join(*std::move(invited)).value();
        (void)theirs.receive().value();
        return 0;
    });
    invited.reset();
    child.stop();
    const auto soon = shm::deadline::clock::now() + std::chrono::milliseconds{20};
    EXPECT_EQ(mine.receive(soon).error().what, fault_kind::timed_out);
    EXPECT_FALSE(mine.is_peer_dead());
    mine.send(bytes_of("go on")).value();
    child.resume();
    EXPECT_EQ(child.wait(), exited(0));
}

TEST(channel_invitation, is_two_numbers_on_a_command_line) {
    auto mine = channel::create().value();
    auto invited = mine.invite().value();
    const std::string said = invited.to_arg();
    EXPECT_EQ(said, std::to_string(invited.memory.get()) + "," + invited.bell.to_arg());
    EXPECT_NE(fcntl(invited.memory.get(), F_GETFD, 0L) & FD_CLOEXEC, 0);
    EXPECT_NE(fcntl(invited.bell.as_raw_fd(), F_GETFD, 0L) & FD_CLOEXEC, 0);
    invited.keep_open().value();
    EXPECT_EQ(fcntl(invited.memory.get(), F_GETFD, 0L) & FD_CLOEXEC, 0);
    EXPECT_EQ(fcntl(invited.bell.as_raw_fd(), F_GETFD, 0L) & FD_CLOEXEC, 0);
    (void)std::move(invited.bell).release().release_fd();
    (void)invited.memory.release_fd();
    auto theirs = channel::join(shm::channel_invitation::from_arg(said).value()).value();
    theirs.send(bytes_of("hello")).value();
    EXPECT_EQ(take(mine), "hello");
}

TEST(channel_invitation, goes_to_any_process_over_a_socket) {
    const auto descriptors = open_descriptors();
    {
        int ends[2];
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        const shm::unique_fd here{ends[0]};
        std::optional there{shm::unique_fd{ends[1]}};
        child_process other([&] {  // before there is a channel
            auto theirs = channel::join(shm::channel_invitation::receive(there->get()).value()).value();
            theirs.send(bytes_of("hello")).value();
            return 0;
        });
        there.reset();
        auto mine = channel::create().value();
        auto invited = mine.invite().value();
        invited.send(here.get()).value();
        ASSERT_FALSE(invited.memory) << "or the other process's end would not be told";
        ASSERT_LT(invited.bell.as_raw_fd(), 0) << "likewise";
        EXPECT_EQ(take(mine), "hello");
        EXPECT_EQ(mine.receive().error().what, fault_kind::peer_dead);
        EXPECT_EQ(other.wait(), exited(0));

        auto again = mine.invite().value();
        EXPECT_EQ(again.send(here.get()).error(), (fault{fault_kind::system_call, 0, EPIPE}));
        EXPECT_TRUE(again.memory) << "it is still to be had";
        EXPECT_FALSE(shm::channel_invitation::receive(here.get()).has_value());
    }
    EXPECT_EQ(open_descriptors(), descriptors);
}

TEST(channel_invitation, refuses_what_it_is_not) {
    const auto descriptors = open_descriptors();
    for (const text wrong : {"", ",", "1", "1,", ",1", "1,2,3", "x,1", "1,x", "-1,2", "0,0"}) {
        const auto refused = shm::channel_invitation::from_arg(wrong);
        ASSERT_FALSE(refused.has_value()) << wrong;
        EXPECT_EQ(refused.error().what, fault_kind::argument) << wrong << ": " << refused.error().sentence();
        EXPECT_EQ(refused.error().sentence().substr(0, 14), "--channel-fds:");
    }
    const auto closed = shm::channel_invitation::from_arg("0,999");
    ASSERT_FALSE(closed.has_value());
    EXPECT_EQ(closed.error().what, fault_kind::system_call);
    EXPECT_EQ(open_descriptors(), descriptors) << "nothing was taken over";
}

TEST(channel, refuses_what_is_no_channel) {
    const auto descriptors = open_descriptors();
    const auto invited = [](int memory) {
        auto bells = shm::doorbell::create_pair().value();
        return channel::join({shm::unique_fd{memory}, std::move(bells.second)}).error();
    };
    EXPECT_EQ(invited(memfd_create("unsealed", MFD_CLOEXEC)).what, fault_kind::seals);
    const auto other = shm::memfd_region::create(4096).value();
    EXPECT_EQ(invited(fcntl(other.fd(), F_DUPFD_CLOEXEC, 0L)).what, fault_kind::not_ready);
    const auto plan = shm::segment_builder{}.add<int>("answer", 42);
    const auto segment = shm::memfd_region::create(plan.required_size()).value();
    (void)plan.create(segment.region()).value();
    EXPECT_EQ(invited(fcntl(segment.fd(), F_DUPFD_CLOEXEC, 0L)).what, fault_kind::no_block);
    for (const std::size_t wrong : {std::size_t{0}, std::size_t{7}, std::size_t{24}, std::size_t{1000}}) {
        const auto refused = channel::create(of_capacity(wrong));
        ASSERT_FALSE(refused.has_value());
        EXPECT_EQ(refused.error().what, fault_kind::capacity) << refused.error().sentence();
    }
    auto mine = channel::create().value();
    auto bell = mine.invite().value();
    const auto no_bell = channel::join({std::move(bell.memory), shm::doorbell_handle::from_raw_fd(-1)});
    ASSERT_FALSE(no_bell.has_value());
    EXPECT_EQ(no_bell.error(), (fault{fault_kind::system_call, 0, EBADF}));
    {
        const auto left = std::move(mine);
    }
    EXPECT_EQ(open_descriptors(), descriptors + 3) << "of the two regions, and the bell that was not handed on";
}

TEST(channel, has_at_most_the_capacity_that_its_positions_can_count) {
    constexpr std::uint64_t most = std::uint64_t{1} << 34;
    if constexpr (sizeof(std::size_t) > 4) {
        for (const std::size_t above : {std::size_t{most} * 2, std::size_t{1} << 63}) {
            const auto refused = channel::create(of_capacity(above));
            ASSERT_FALSE(refused.has_value());
            EXPECT_EQ(refused.error(), (fault{fault_kind::capacity, most, above})) << refused.error().sentence();
        }
        failing_memfd_create.fail(EMFILE);
        const auto largest = channel::create(of_capacity(std::size_t{most}));
        ASSERT_FALSE(largest.has_value());
        EXPECT_NE(largest.error().what, fault_kind::capacity) << largest.error().sentence();
        failing_memfd_create.fail(0, 0);
    }
    const auto least = channel::create(of_capacity(8));
    ASSERT_FALSE(least.has_value());
    EXPECT_EQ(least.error(), (fault{fault_kind::capacity, most, 8})) << least.error().sentence();
}

TEST(channel, that_is_assigned_to_ends_with_all_that_it_had) {
    const auto descriptors = open_descriptors();
    const auto mappings = mappings_of("shm");
    {
        auto mine = channel::create().value();
        std::optional theirs{channel::join(mine.invite().value()).value()};
        EXPECT_EQ(mappings_of("shm"), mappings + 2);
        mine = channel::create().value();
        EXPECT_TRUE(theirs->is_peer_dead());
        EXPECT_EQ(mappings_of("shm"), mappings + 2);
        theirs = channel::join(mine.invite().value()).value();
        EXPECT_EQ(mappings_of("shm"), mappings + 2);
        EXPECT_EQ(open_descriptors(), descriptors + 4) << "memory and bell of each side";
    }
    EXPECT_EQ(open_descriptors(), descriptors);
    EXPECT_EQ(mappings_of("shm"), mappings);
}

TEST(channel, reports_a_failing_system_call_and_leaves_nothing) {
    const auto descriptors = open_descriptors();
    const auto mappings = mappings_of("shm");
    struct {
        failing_call& call;
        int error;
    } const all[] = {
        {failing_memfd_create, EMFILE}, {failing_mmap, ENOMEM}, {failing_socketpair, EMFILE}, {failing_fcntl, EMFILE}};
    for (const auto& [call, error] : all) {
        for (int spared = 0;; ++spared) {
            call.fail(error, 1, spared);
            fault refused{};
            {
                auto mine = channel::create();
                if (!mine) {
                    refused = mine.error();
                } else if (auto invited = mine->invite(); !invited) {
                    refused = invited.error();
                } else if (const auto theirs = channel::join(*std::move(invited)); !theirs) {
                    refused = theirs.error();
                }
            }
            EXPECT_EQ(open_descriptors(), descriptors);
            EXPECT_EQ(mappings_of("shm"), mappings);
            if (!call.all_failed()) break;  // there was no such call
            EXPECT_EQ(refused, (fault{fault_kind::system_call, 0, static_cast<std::uint64_t>(error)}))
                << refused.sentence();
        }
        call.fail(0, 0);
    }
}

}  // namespace
