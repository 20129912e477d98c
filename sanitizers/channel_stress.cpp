// SPDX-License-Identifier: MIT OR Apache-2.0
// Two sides that send each other messages of any length as fast as they can, as threads and as processes; one of them is
// killed again and again, and a successor is invited.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include <shm/channel.hpp>

#include "testkit/child_process.hpp"
#include "testkit/stress_support.hpp"

namespace {

using shm::channel;

constexpr auto long_enough = std::chrono::minutes{1};
shm::deadline soon() { return shm::deadline::clock::now() + long_enough; }

/// The message of that number: so few bytes that several fit, or each side could wait
/// for room while the other does.
struct numbered_message {
    std::array<std::byte, 1000> bytes;
    std::size_t size_bytes;

    numbered_message(std::uint64_t number, std::size_t most) {
        size_bytes = sizeof number + mixed(number) % (std::min(most, bytes.size()) - sizeof number + 1);
        fill(std::span{bytes}.first(size_bytes), number);
    }
    [[nodiscard]] std::span<const std::byte> whole() const { return std::span{bytes}.first(size_bytes); }
};

/// Whether the message is whole.
bool is_whole(const channel::message& message, std::size_t most) {
    const auto number = number_of(message.bytes());
    return number && message.size_bytes == numbered_message{*number, most}.size_bytes;
}

void send(channel& to, std::uint64_t number) {
    const numbered_message message{number, to.max_size_bytes() / 8};
    if (number % 2 == 0) {
        to.send(message.whole(), soon()).value();
    } else {  // in place
        const auto place = to.prepare(message.size_bytes + number % 3, soon()).value();
        std::ranges::copy(message.whole(), place.begin());
        to.commit(message.size_bytes);
    }
}

/// Answers each message by its copy, until there is no other side.
int echo(channel mine) {
    for (;;) {
        const auto message = mine.receive(soon());
        if (!message) return message.error().what == shm::fault_kind::peer_dead ? 0 : 1;
        if (!is_whole(*message, mine.max_size_bytes() / 8)) return 2;
        // What has been sent and not consumed when this process is killed is answered twice.
        if (!mine.send(message->bytes(), soon())) return 3;
        mine.consume();
    }
}

/// Sends numbers as long as there is room for them, and receives the answers, which come in order.
void expect_echoes(channel& mine, std::chrono::milliseconds duration, bool may_repeat) {
    const auto end = std::chrono::steady_clock::now() + duration;
    std::uint64_t sent = 0, answered = 0;
    while (std::chrono::steady_clock::now() < end) {
        for (int i = 0; i < 100; ++i) {
            send(mine, ++sent);
            // So many fit, both ways.
            while (sent - answered >= 4) {
                const auto message = mine.receive(soon()).value();
                ASSERT_TRUE(is_whole(message, mine.max_size_bytes() / 8));
                const auto number = number_of(message.bytes()).value();
                ASSERT_TRUE(number == answered + 1 || (may_repeat && number == answered)) << number << ' ' << answered;
                answered = number;
                mine.consume();
            }
        }
    }
    EXPECT_EQ(mine.stats().messages_sent, sent);
}

shm::channel_options options(std::size_t capacity_bytes) { return {.capacity_bytes = capacity_bytes, .memory = {}}; }

TEST(channel_stress, two_threads) {
    for (const std::size_t capacity_bytes : {1024U, 8192U, 65536U}) {
        auto mine = channel::create(options(capacity_bytes)).value();
        auto theirs = channel::join(mine.invite().value()).value();
        std::thread other{[&] { EXPECT_EQ(echo(std::move(theirs)), 0); }};
        expect_echoes(mine, seconds_for_all() / 10, false);
        {
            const auto left = std::move(mine);
        }
        other.join();
    }
}

TEST(channel_stress, two_processes) {
    auto mine = channel::create(options(8192)).value();
    auto invited = mine.invite().value();
    child_process child([&] {
        {
            const auto of_parent = std::move(mine);
        }
        return echo(channel::join(std::move(invited)).value());
    });
    {
        const auto handed_on = std::move(invited);
    }
    expect_echoes(mine, seconds_for_all() / 5, false);
    {
        const auto left = std::move(mine);
    }
    EXPECT_EQ(child.wait(), exited(0)) << "the echo";
}

TEST(channel_stress, one_is_killed_and_replaced) {
    std::mt19937 random{1};
    auto mine = channel::create(options(4096)).value();
    const auto end = std::chrono::steady_clock::now() + seconds_for_all() / 4;
    std::uint64_t sent = 0, answered = 0;
    unsigned kills = 0;
    while (std::chrono::steady_clock::now() < end) {
        auto invited = mine.invite().value();
        child_process child([&] {
            {
                const auto of_parent = std::move(mine);
            }
            return echo(channel::join(std::move(invited)).value());
        });
        {
            const auto handed_on = std::move(invited);
        }
        const auto life = std::chrono::microseconds{random() % 3000};
        const auto born = std::chrono::steady_clock::now();
        for (bool alive = true; alive;) {
            if (std::chrono::steady_clock::now() - born > life) child.kill();
            while (sent - answered < 3 && alive) {
                const numbered_message message{sent + 1, mine.max_size_bytes() / 8};
                const auto done = mine.send(message.whole(), soon());
                alive = done.has_value();
                ASSERT_TRUE(alive || done.error().what == shm::fault_kind::peer_dead) << done.error().sentence();
                sent += alive ? 1 : 0;
            }
            const auto message = mine.receive(soon());
            if (!message) {
                ASSERT_EQ(message.error().what, shm::fault_kind::peer_dead) << message.error().sentence();
                break;
            }
            ASSERT_TRUE(is_whole(*message, mine.max_size_bytes() / 8));
            const auto number = number_of(message->bytes()).value();
            ASSERT_TRUE(number == answered + 1 || number == answered) << number << " after " << answered;
            answered = number;
            mine.consume();
        }
        EXPECT_EQ(child.wait(), killed_by(SIGKILL));
        ++kills;
    }
    std::printf("%u deaths, %llu messages\n", kills, static_cast<unsigned long long>(answered));
    EXPECT_GT(kills, 0U);
}

}  // namespace
