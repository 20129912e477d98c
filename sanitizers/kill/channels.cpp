// SPDX-License-Identifier: MIT OR Apache-2.0
// A channel: this process sends numbers, and a child that dies again and again sends each back. Its successor goes on.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <shm/channel_end.hpp>

#include "sanitizers/kill/trial.hpp"
#include "testkit/payload.hpp"

namespace kill_test {
namespace {

using end = shm::channel_end<shm::doorbell, std::uint64_t, mortal_atomics>;
using buffer = end::framing::buffer;
using word = end::waker::word;

constexpr std::uint32_t capacity = 32;  // words
constexpr std::uint64_t under_way = 3;  // so many numbers fit, both ways
constexpr std::size_t most_bytes = 48;

constexpr std::size_t buffer_at(unsigned side) {
    return 2 * shm::cache_line_bytes + side * (buffer::required_size(capacity) + shm::cache_line_bytes - 1) /
                                           shm::cache_line_bytes * shm::cache_line_bytes;
}

shm::deadline in(std::chrono::milliseconds time) { return shm::deadline::clock::now() + time; }

class channel_world {
public:
    channel_world(trial& on, diary& echoes) : on_{on}, echoes_{echoes} {
        for (const unsigned side : {0U, 1U})
            (void)buffer::create(bytes_of(here_, side), capacity, 0 - 2 * (capacity + 3ULL)).value();
    }

    void run() {
        auto bells = shm::doorbell::create_pair().value();
        const auto me = shm::this_process().value();
        auto out = buffer::attach(bytes_of(here_, 1)).value().claim_producer(me).value();
        auto in = buffer::attach(bytes_of(here_, 0)).value().claim_consumer(me).value();
        mine_.emplace(waker(here_, 0, std::move(bells.first)), end::framing::sender{std::move(out)},
                      end::framing::receiver{std::move(in)});
        for (int deaths = 0; deaths < 12 && !on_.over(); ++deaths) {
            std::vector<child> echo;
            echo.push_back(start(std::move(bells.second)));
            const auto proof = on_.outlive(echo, [this](bool stopped) { exchange(stopped); }).front();
            hear_of_the_end();
            give_up_for(proof);
            bells = shm::doorbell::create_pair().value();
            mine_->change_bell(waker(here_, 0, std::move(bells.first)));
        }
    }

private:
    [[nodiscard]] static shm::region bytes_of(const shm::memfd_region& bytes, unsigned side) {
        return bytes.region().subregion(buffer_at(side), buffer::required_size(capacity)).value();
    }
    /// Half of them sleep at once.
    [[nodiscard]] end::waker waker(const shm::memfd_region& bytes, unsigned side, shm::doorbell bell) const {
        const auto of = [&](unsigned whose) { return bytes.region().get<word>(whose * shm::cache_line_bytes).value(); };
        return {*of(side), *of(1 - side), std::move(bell), std::chrono::microseconds{on_.random().one_in(2) ? 0 : 20}};
    }

    [[nodiscard]] child start(shm::doorbell_handle bell) {
        auto handed_on = std::optional{std::move(bell)};
        return on_.start(echoes_, on_.draw(120), [&](dice& random) {
            const auto bytes = memory_.attach();
            const auto me = shm::this_process().value();
            auto wake = waker(bytes, 1, shm::doorbell::from_handle(*std::move(handed_on)).value());
            auto out = buffer::attach(bytes_of(bytes, 0)).value().claim_producer(me).value();
            auto in = buffer::attach(bytes_of(bytes, 1)).value().claim_consumer(me).value();
            end theirs{std::move(wake), end::framing::sender{std::move(out)}, end::framing::receiver{std::move(in)}};
            for (;;) {
                if (random.one_in(8)) (void)theirs.wait(shm::deadline{});
                const auto message = theirs.receive().value();
                std::array<std::byte, most_bytes> copy{};
                std::ranges::copy(message.bytes(), copy.begin());
                require(number_of(message.bytes()).has_value(),
                        "a message: expected a whole one, found one that is torn");
                theirs.send(std::span{copy}.first(message.size_bytes)).value();
                theirs.consume();
            }
        });
    }

    /// Some numbers there and back, until nothing moves.
    void exchange(bool stopped) {
        for (int some = 0; some < 20; ++some) {
            while (sent_ - answered_ < under_way) {
                std::array<std::byte, most_bytes> bytes;
                const auto message = std::span{bytes}.first(8 + mixed(sent_) % (most_bytes - 7));
                fill(message, sent_ + 1);
                const auto outcome = mine_->try_send(message);
                if (outcome == shm::send_result::full) break;  // of what lies there since the death of another
                require(outcome == shm::send_result::sent, "a message: expected to be sent, found it refused");
                ++sent_;
            }
            const auto found = mine_->receive(in(std::chrono::milliseconds{stopped ? 0 : 5}));
            if (!found) {
                require(!stopped || found.error().what == shm::fault_kind::timed_out,
                        "a stopped process: expected no answer, found \"" + found.error().sentence() + "\"");
                return;
            }
            take(*found);
        }
    }
    void take(const end::message& message) {
        const auto number = number_of(message.bytes());
        require(number.has_value(), "an answer: expected a whole one, found one that is torn");
        require(*number == answered_ + 1 || *number == answered_,
                "an answer: expected number " + std::to_string(answered_ + 1) + ", or again the one before, found " +
                    std::to_string(*number));
        if (*number == answered_) ++on_.counts().redelivered;
        answered_ = *number;
        mine_->consume();
    }

    /// What the dead one has sent comes first.
    void hear_of_the_end() {
        for (;;) {
            const auto found = mine_->receive(in(std::chrono::minutes{1}));
            if (found) {
                take(*found);
                continue;
            }
            require(found.error().what == shm::fault_kind::peer_dead,
                    "after a death: expected to be told of it, found \"" + found.error().sentence() + "\"");
            return;
        }
    }

    /// The roles of a dead one: its own, or nobody's where it had not come to claim them.
    void give_up_for(const shm::proof_of_death& dead) const {
        const auto me = shm::this_process().value();
        const auto allowed = [&](const auto& taken) {
            require(taken.has_value() || taken.error().found == 0,
                    "a role: expected the dead one's or nobody's, found another's");
        };
        allowed(buffer::attach(bytes_of(here_, 0)).value().take_over_producer(me, dead));
        allowed(buffer::attach(bytes_of(here_, 1)).value().take_over_consumer(me, dead));
    }

    trial& on_;
    diary& echoes_;
    const shared_memory memory_{buffer_at(2)};
    const shm::memfd_region here_ = memory_.attach();
    std::optional<end> mine_;
    std::uint64_t sent_ = 0;
    std::uint64_t answered_ = 0;
};

}  // namespace

void try_channel(trial& on) {
    const diaries all;
    while (!on.over()) channel_world{on, all[0]}.run();
}

}  // namespace kill_test
