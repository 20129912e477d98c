// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The bip buffer at full speed, and messages over it: threads over one mapping, then processes over one file and over sealed
// memory. ThreadSanitizer sees the races of the first; a checksum in every message, and the models, have to do for the second.
//
//     bip_buffer_stress                                      all tests; SHM_STRESS_SECONDS (default 10) scales them
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <shm/bip_buffer.hpp>
#include <shm/heap_region.hpp>
#include <shm/message_framing.hpp>
#include <shm/proof_of_death.hpp>

#include "testkit/child_process.hpp"
#include "testkit/shared_page.hpp"
#include "testkit/stress_support.hpp"

namespace {

using namespace std::chrono_literals;
using shm::grant_result;
using shm::send_result;
using std::chrono::steady_clock;
using framing = shm::message_framing<>;
using buffer = framing::buffer;

/// Message number so and so: its length and each word of it follow from the number, so that a torn one is seen. The longest
/// takes all of a buffer of `capacity` words.
class message {
public:
    explicit message(std::uint32_t capacity) : words_(capacity) {}
    [[nodiscard]] std::span<const std::byte> number(std::uint64_t sequence) noexcept {
        const std::uint64_t random = mixed(~sequence);
        const std::size_t most = 8 * (words_.size() - 1);
        // No two neighbours are the same: only every other one may be shorter than a word, or empty.
        const std::size_t least = sequence % 2 == 0 ? 8 : 0;
        const std::size_t size_bytes = random % 16 == 0 ? most : least + random % (most - least + 1);
        for (std::size_t i = 0; 8 * i < size_bytes; ++i) words_[i] = mixed(random + i);
        return std::as_bytes(std::span{words_}).first(size_bytes);
    }

private:
    std::vector<std::uint64_t> words_;
};

/// Knows which message has to come next.
class checker {
public:
    explicit checker(std::uint32_t capacity, std::uint64_t next = 0) : expected_{capacity}, next_{next} {}
    void operator()(std::span<const std::byte> found) noexcept {
        const auto expected = expected_.number(next_);
        if ((found.size() != expected.size() || !std::equal(found.begin(), found.end(), expected.begin())) &&
            wrong_++ == 0)
            std::fprintf(stderr, "message %llu: expected %zu bytes that follow from its number, found %zu bytes\n",
                         static_cast<unsigned long long>(next_), expected.size(), found.size());
        ++next_;
    }
    [[nodiscard]] std::uint64_t next() const noexcept { return next_; }
    [[nodiscard]] std::uint64_t wrong() const noexcept { return wrong_; }

private:
    message expected_;
    std::uint64_t next_;
    std::uint64_t wrong_ = 0;
};

class threads : public testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(capacity, threads, testing::Values(2, 4, 16, 1024), testing::PrintToStringParamName());

TEST_P(threads, get_every_message_in_order_while_a_third_one_looks_on) {
    const std::uint32_t capacity = GetParam();
    const auto until = steady_clock::now() + seconds_for_all() / 10;
    const auto bytes = shm::heap_region::create(buffer::required_size(capacity)).value();
    const auto shared = buffer::create(bytes.region(), capacity, just_below_the_wrap(capacity)).value();
    auto ends = shared.split({1, 1}).value();
    std::atomic<std::uint64_t> total{0};  // known when the sender has finished
    std::atomic<bool> over{false};

    std::thread writing{[&, sender = framing::sender{std::move(ends.first)}]() mutable {
        message make{capacity};
        patience waiting;
        std::uint64_t next = 0;
        while (next % 64 != 63 || steady_clock::now() < until) {
            const auto told = sender.try_send(make.number(next));
            if (told == send_result::sent) {
                ++next;
                waiting.progress();
            } else if (told != send_result::full || !waiting.wait()) {
                ADD_FAILURE() << "message " << next << " was refused, or there was no room for it in a minute";
                break;
            }
        }
        EXPECT_FALSE(sender.corrupt());
        total.store(next, std::memory_order_relaxed);
    }};
    std::thread looking_on{[&] {
        while (!over.load(std::memory_order_relaxed)) {
            const auto seen = shared.status();
            ASSERT_LE(seen.size, capacity);
            ASSERT_GE(static_cast<std::int64_t>(seen.published - seen.consumed), 0);
            ASSERT_FALSE(seen.reported_corrupt);
            std::this_thread::yield();
        }
    }};

    framing::receiver receiver{std::move(ends.second)};
    patience waiting;
    checker check{capacity};
    for (std::uint64_t last = 0; last == 0 || check.next() < last; last = total.load(std::memory_order_relaxed)) {
        if (const auto found = receiver.try_receive()) {
            check(found->bytes());
            receiver.consume();
            waiting.progress();
        } else if (!waiting.wait()) {
            ADD_FAILURE() << "no message " << check.next() << " in a minute";
            break;
        }
    }
    over.store(true, std::memory_order_relaxed);
    writing.join();
    looking_on.join();
    EXPECT_EQ(check.wrong(), 0u);
    EXPECT_EQ(check.next(), total);
    EXPECT_FALSE(receiver.corrupt());
    RecordProperty("messages", std::to_string(check.next()));
}

/// Runs of bytes: more asked for than used, part of what is there read at a time.
TEST_P(threads, get_every_byte_in_order) {
    const std::uint32_t capacity = GetParam();
    const auto until = steady_clock::now() + seconds_for_all() / 10;
    const auto bytes = shm::heap_region::create(shm::bip_buffer<>::required_size(capacity)).value();
    const auto shared = shm::bip_buffer<>::create(bytes.region(), capacity, just_below_the_wrap(capacity)).value();
    auto ends = shared.split({1, 1}).value();
    std::atomic<std::uint64_t> total{0};
    const auto byte = [](std::uint64_t number) { return static_cast<std::byte>(mixed(number)); };

    std::thread writing{[&, producer = std::move(ends.first)]() mutable {
        std::minstd_rand random{1};
        patience waiting;
        std::uint64_t next = 1;
        for (unsigned round = 0; round % 64 != 63 || steady_clock::now() < until; ++round) {
            const std::size_t asked = 1 + random() % capacity;
            const std::size_t used = 1 + random() % asked;
            auto grant = producer.try_grant(asked);
            for (; grant.result == grant_result::full && waiting.wait();) grant = producer.try_grant(asked);
            if (!grant) {
                ADD_FAILURE() << "no room for " << asked << " bytes in a minute";
                break;
            }
            waiting.progress();
            for (auto& slot : grant.slots.first(used)) slot.write(byte(next++));
            producer.commit(used);
        }
        EXPECT_FALSE(producer.corrupt());
        total.store(next, std::memory_order_relaxed);
    }};
    auto& consumer = ends.second;
    std::minstd_rand random{2};
    patience waiting;
    std::uint64_t next = 1;
    std::uint64_t wrong = 0;
    for (std::uint64_t last = 0; last == 0 || next < last; last = total.load(std::memory_order_relaxed)) {
        const auto found = random() % 2 == 0 ? consumer.peek() : consumer.peek(1);
        if (found.empty()) {
            if (waiting.wait()) continue;
            ADD_FAILURE() << "no byte " << next << " in a minute";
            break;
        }
        waiting.progress();
        const auto some = found.first(1 + random() % found.size());
        for (const auto& slot : some) wrong += slot.read() != byte(next++);
        consumer.consume(some.size());
    }
    writing.join();
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(next, total);
    RecordProperty("bytes", std::to_string(next));
}

class processes : public testing::TestWithParam<medium> {
protected:
    static constexpr std::uint32_t capacity = 64;
    const std::uint64_t first_ = just_below_the_wrap(capacity);
    const shared_bytes bytes_{GetParam(), buffer::required_size(capacity)};
    const buffer shared_ = buffer::create(bytes_.region(), capacity, first_).value();
    const shared_word next_;  // of the messages: the sender's, or the receiver's
    std::minstd_rand random_{7};

    [[nodiscard]] static int rounds() { return static_cast<int>(std::max<std::int64_t>(seconds_for_all() / 200ms, 1)); }

    /// Sends from `next` on until there are `count`. Whether somebody took them.
    [[nodiscard]] bool send(buffer::producer end, std::uint64_t next, std::uint64_t count) const {
        framing::sender sender{std::move(end)};
        message make{capacity};
        patience waiting;
        while (next < count) {
            std::this_thread::yield();  // a good moment to be killed, on a single core too
            if (sender.try_send(make.number(next)) == send_result::sent) {
                (*next_).store(++next, std::memory_order_relaxed);
                waiting.progress();
            } else if (sender.corrupt() || !waiting.wait()) {
                return false;
            }
        }
        return true;
    }

    /// Receives until the message `count` would be next. Whether all came, and right.
    [[nodiscard]] static bool receive(framing::receiver& receiver, checker& check, std::uint64_t count) {
        patience waiting;
        while (check.next() < count) {
            if (const auto found = receiver.try_receive()) {
                check(found->bytes());
                receiver.consume();
                waiting.progress();
            } else if (receiver.corrupt() || !waiting.wait()) {
                return false;
            }
        }
        return check.wrong() == 0;
    }
};
INSTANTIATE_TEST_SUITE_P(, processes, testing::Values(medium::file, medium::memfd), [](const auto& test) {
    return test.param == medium::file ? "over_a_file" : "over_sealed_memory";
});

TEST_P(processes, get_every_message_in_order) {
    const auto count = static_cast<std::uint64_t>(seconds_for_all() / 1ms) * 10;
    child_process sending([&] {
        const auto mine = bytes_.attach();
        auto end = buffer::attach(mine.region())->claim_producer(shm::this_process().value()).value();
        return send(std::move(end), 0, count) ? 0 : 1;
    });
    child_process receiving([&] {
        const auto mine = bytes_.attach();
        framing::receiver receiver{buffer::attach(mine.region())->claim_consumer(shm::this_process().value()).value()};
        checker check{capacity};
        return receive(receiver, check, count) ? 0 : 1;
    });
    EXPECT_EQ(sending.wait(), exited(0)) << "the sender";
    EXPECT_EQ(receiving.wait(), exited(0)) << "the receiver";
    EXPECT_EQ(shared_.size_approx(), 0u);
    EXPECT_FALSE(shared_.status().reported_corrupt);
}

TEST_P(processes, lose_nothing_when_the_sender_is_killed) {
    const auto me = shm::this_process().value();
    framing::receiver receiver{shared_.claim_consumer(me).value()};
    checker check{capacity};
    for (int round = 0; round < rounds(); ++round) {
        child_process child([&] {
            const auto mine = bytes_.attach();
            auto end = buffer::attach(mine.region())->claim_producer(shm::this_process().value()).value();
            return send(std::move(end), check.next(), ~0ULL) ? 0 : 1;
        });
        ASSERT_TRUE(receive(receiver, check, check.next() + 1 + random_() % 1000));
        child.kill();
        const auto dead = child.reap();
        ASSERT_EQ(dead.end, killed_by(SIGKILL));

        framing::sender sender{shared_.take_over_producer(me, dead.proof).value()};
        while (const auto found = receiver.try_receive()) {
            check(found->bytes());
            receiver.consume();
        }
        const std::uint64_t told = *next_;
        ASSERT_TRUE(check.next() == told || check.next() == told + 1) << check.next() << " came, it had sent " << told;
        message make{capacity};
        for (int more = 0; more < 3; ++more) {
            auto sent = sender.try_send(make.number(check.next()));
            if (sent == send_result::full) {
                ASSERT_FALSE(receiver.try_receive());
                sent = sender.try_send(make.number(check.next()));
            }
            ASSERT_EQ(sent, send_result::sent);
            ASSERT_TRUE(receive(receiver, check, check.next() + 1));
        }
        ASSERT_EQ(check.wrong(), 0u);
    }
    RecordProperty("messages", std::to_string(check.next()));
}

TEST_P(processes, redeliver_only_what_was_not_consumed_when_the_receiver_is_killed) {
    const auto me = shm::this_process().value();
    framing::sender sender{shared_.claim_producer(me).value()};
    message make{capacity};
    std::uint64_t next = 0;
    std::uint64_t consumed = 0;  // messages
    for (int round = 0; round < rounds(); ++round) {
        (*next_).store(consumed, std::memory_order_relaxed);
        child_process child([&] {
            const auto mine = bytes_.attach();
            framing::receiver receiver{
                buffer::attach(mine.region())->claim_consumer(shm::this_process().value()).value()};
            checker check{capacity, consumed};
            while (receive(receiver, check, check.next() + 1)) {
                (*next_).store(check.next(), std::memory_order_relaxed);
                std::this_thread::yield();  // a good moment to be killed, on a single core too
            }
            return 1;
        });
        patience waiting;
        for (const std::uint64_t enough = next + 20 + random_() % 1000; next < enough;) {
            if (sender.try_send(make.number(next)) == send_result::sent) {
                ++next;
                waiting.progress();
            } else {
                ASSERT_TRUE(waiting.wait()) << "no room for message " << next << " in a minute";
            }
        }
        child.kill();
        const auto dead = child.reap();
        ASSERT_EQ(dead.end, killed_by(SIGKILL));

        // It had consumed what it said, or one message more. Which of the two, the oldest one left tells.
        framing::receiver receiver{shared_.take_over_consumer(me, dead.proof).value()};
        consumed = *next_;
        if (const auto oldest = receiver.try_receive()) {
            const auto expected = make.number(consumed);
            const auto found = oldest->bytes();
            if (found.size() != expected.size() || !std::equal(found.begin(), found.end(), expected.begin()))
                ++consumed;
        } else {
            consumed = next;
            ASSERT_LE(next, *next_ + 1) << "consumed what nobody has seen";
        }
        checker check{capacity, consumed};
        ASSERT_TRUE(receive(receiver, check, next));
        ASSERT_FALSE(receiver.try_receive());
        consumed = next;
    }
    RecordProperty("messages", std::to_string(next));
}

}  // namespace
