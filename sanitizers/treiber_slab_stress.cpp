// SPDX-License-Identifier: MIT OR Apache-2.0
// Slots that are shared by real threads, and by processes that are killed. SHM_STRESS_SECONDS says how long all of it
// takes, 10 if not said; the soak takes SHM_SOAK_SECONDS, 2 if not said (make soak).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <shm/heap_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/treiber_slab.hpp>

#include "testkit/child_process.hpp"
#include "testkit/shared_page.hpp"
#include "testkit/stress_support.hpp"

namespace {

using namespace std::chrono_literals;
using shm::alloc_status;
using shm::slot_handle;
using std::chrono::steady_clock;
using slab = shm::treiber_slab<>;
using ring = shm::spsc_ring<slot_handle>;

constexpr std::uint64_t slot_size = 64;
/// Each slot can be had, once.
void expect_all_free(const slab& shared, slab::member& member) {
    std::set<std::uint32_t> had;
    while (const auto taken = member.try_alloc()) EXPECT_TRUE(had.insert((*taken).index()).second);
    EXPECT_EQ(had.size(), shared.slot_count());
    EXPECT_EQ(shared.inner().shared().reported_corrupt.load(), 0u);
}

/// All that counts is about to wrap.
void age(const slab& shared, shm::region bytes, std::uint32_t members) {
    constexpr std::uint64_t few = 100, end = 1ULL << 40;
    shared.inner().shared().head.store((end - few) << 24);
    for (std::uint32_t i = 0; i < shared.slot_count(); ++i)
        shared.inner().slot(i).word.store(shm::slot_word{end - few, {}, shm::slot_state::free}.word());
    for (std::uint32_t i = 0; i < members; ++i)
        bytes.get<slab::entry>(sizeof(slab::header) + i * sizeof(slab::entry)).value()->incarnation.store(16380);
}

class threads : public testing::TestWithParam<std::uint32_t> {
protected:
    const shm::slab_shape shape_{.slot_count = GetParam(), .slot_size = slot_size, .member_count = 5};
    const shm::heap_region bytes_ = shm::heap_region::create(slab::required_size(shape_)).value();
    const slab shared_ = slab::create(bytes_.region(), shape_).value();
    const steady_clock::time_point until_ = steady_clock::now() + seconds_for_all() / 10;

    void SetUp() override { age(shared_, bytes_.region(), shape_.member_count); }
};
INSTANTIATE_TEST_SUITE_P(slots, threads, testing::Values(1, 3, 64), testing::PrintToStringParamName());

TEST_P(threads, never_share_a_slot) {
    std::atomic<std::uint64_t> allocated{0};
    const auto use = [&](std::uint32_t me) {
        auto member = shared_.join({me, 1}).value();
        std::minstd_rand random{me};
        std::vector<slot_handle> held;
        std::uint64_t mine = 0;
        const auto give_one_back = [&] {
            ASSERT_TRUE(number_of(shared_.data(held.back())).has_value());
            ASSERT_TRUE(member.free_allocated(held.back()));
            ASSERT_FALSE(member.free_allocated(held.back())) << "twice";
            held.pop_back();
        };
        for (unsigned round = 0; round % 64 != 63 || steady_clock::now() < until_; ++round) {
            if (random() % 2 == 0 && held.size() < 8) {
                const auto taken = member.try_alloc();
                ASSERT_TRUE(taken || taken.status() == alloc_status::would_block);
                if (!taken) continue;
                held.push_back(*taken);
                fill(shared_.data(*taken), std::uint64_t{me} << 56 | ++mine);
            } else if (!held.empty()) {
                give_one_back();
            }
        }
        while (!held.empty()) give_one_back();
        allocated += mine;
    };
    std::array all{std::thread{use, 1}, std::thread{use, 2}, std::thread{use, 3}};
    for (auto& each : all) each.join();
    auto member = shared_.join({4, 1}).value();
    expect_all_free(shared_, member);
    RecordProperty("slots", std::to_string(allocated));
}

TEST_P(threads, pass_slots_through_a_ring) {
    const auto ring_bytes = shm::heap_region::create(ring::required_size(8)).value();
    auto ends = ring::create(ring_bytes.region(), 8, just_below_the_wrap(8))->split({1, 1}).value();
    std::atomic<bool> over{false};
    std::thread sending{[&, producer = std::move(ends.first)]() mutable {
        auto member = shared_.join({1, 1}).value();
        patience waiting;
        std::uint64_t next = 0;
        while (next % 64 != 63 || steady_clock::now() < until_) {
            const auto taken = producer.is_full() ? shm::alloc_result{alloc_status::would_block} : member.try_alloc();
            if (taken) {
                fill(shared_.data(*taken), ++next);
                ASSERT_TRUE(member.mark_in_flight(*taken));
                ASSERT_EQ(producer.try_push(*taken), shm::push_result::pushed);
                waiting.progress();
            } else {
                ASSERT_EQ(taken.status(), alloc_status::would_block);
                ASSERT_TRUE(waiting.wait()) << "no slot in a minute";
            }
        }
        over.store(true, std::memory_order_release);
    }};
    auto member = shared_.join({2, 1}).value();
    auto& consumer = ends.second;
    std::uint64_t last = 0, wrong = 0;
    for (bool more = true; more;) {
        more = !over.load(std::memory_order_acquire);
        while (const auto got = consumer.try_pop()) {
            more = true;
            wrong += number_of(shared_.data(*got)) != ++last || !member.free(*got);
        }
        std::this_thread::yield();
    }
    sending.join();
    EXPECT_EQ(wrong, 0u);
    EXPECT_GT(last, 0u);
    expect_all_free(shared_, member);
    RecordProperty("slots", std::to_string(last));
}

/// Processes in a circle. Each allocates slots, fills them, sends them on, takes on what comes, and gives some of all back,
/// at random. The parent kills one after the other, recovers what it held, and starts its successor.
class circle {
public:
    circle(medium kind, std::size_t processes)
        : bytes_{kind, slab::required_size(shape)}, shared_{slab::create(bytes_.region(), shape).value()} {
        age(shared_, bytes_.region(), shape.member_count);
        for (std::size_t i = 0; i < processes; ++i) {
            ring_bytes_.emplace_back(kind, ring::required_size(capacity));
            rings_.push_back(
                ring::create(ring_bytes_.back().region(), capacity, just_below_the_wrap(capacity)).value());
        }
    }

    /// Until then; `tell` is called now and then.
    template <class Tell>
    void run(steady_clock::time_point until, bool with_kills, Tell tell) {
        member_.emplace(shared_.join(me_).value());
        for (std::size_t i = 0; i < rings_.size(); ++i) children_.push_back(start(i));
        do {
            wait_for(1 + random_() % 500);
            settle();
            if (with_kills && sent_by_the_dead_.size() < 6) {
                const std::size_t next = random_() % children_.size();
                kill_and_recover(next);
                if (!testing::Test::HasFatalFailure()) children_[next] = start(next);
            }
            tell();
        } while (steady_clock::now() < until && !testing::Test::HasFatalFailure());
        (*stop_).store(1);
        for (child_process& child : children_) EXPECT_EQ(child.wait(), exited(0)) << "a process of the circle";
        finish();
    }

    [[nodiscard]] std::string counts() const {
        return std::to_string(*allocated_) + " slots allocated, " + std::to_string(*received_) + " received, " +
               std::to_string(kills_) + " kills (" + std::to_string(*recoveries_killed_) + " in a recovery), " +
               std::to_string(reclaimed_) + " slots reclaimed, " + std::to_string(*redelivered_) + " redelivered";
    }
    [[nodiscard]] std::uint64_t kills() const { return kills_; }

private:
    static constexpr std::uint32_t capacity = 8;
    static constexpr std::size_t ring_header_bytes = sizeof(ring::header);
    static constexpr shm::slab_shape shape{.slot_count = 24, .slot_size = slot_size, .member_count = 16};

    [[nodiscard]] std::size_t before(std::size_t i) const { return (i + rings_.size() - 1) % rings_.size(); }
    [[nodiscard]] child_process start(std::size_t i) const {
        return child_process([&] { return live(i); });
    }

    /// 0 when all was right to the end.
    [[nodiscard]] int live(std::size_t i) const {
        const auto slab_bytes = bytes_.attach(), to_bytes = ring_bytes_[i].attach(),
                   from_bytes = ring_bytes_[before(i)].attach();
        const auto mine = slab::attach(slab_bytes.region()).value();
        const auto self = shm::this_process().value();
        auto member = mine.join(self).value();
        auto producer = ring::attach(to_bytes.region())->claim_producer(self).value();
        auto consumer = ring::attach(from_bytes.region())->claim_consumer(self).value();
        std::minstd_rand random{self.id};
        std::vector<slot_handle> held;
        std::uint64_t number = std::uint64_t{self.id} << 32;
        const auto good_moment_to_be_killed = [&] {
            if (random() % 8 == 0) std::this_thread::yield();  // on a single core too
        };
        const auto one_held = [&] {
            std::swap(held[random() % held.size()], held.back());
            const slot_handle one = held.back();
            held.pop_back();
            return one;
        };
        while ((*stop_).load(std::memory_order_relaxed) == 0) {
            good_moment_to_be_killed();
            switch (held.size() > 6 ? 3 : random() % 4) {
                case 0:
                    if (const auto taken = member.try_alloc()) {
                        fill(mine.data(*taken), ++number);
                        held.push_back(*taken);
                        (*allocated_).fetch_add(1, std::memory_order_relaxed);
                    } else if (taken.status() != alloc_status::would_block) {
                        return 2;
                    }
                    break;
                case 1: {
                    if (held.empty() || producer.is_full()) break;
                    const slot_handle sent = one_held();
                    if (!member.mark_in_flight(sent)) return 3;
                    good_moment_to_be_killed();
                    if (producer.try_push(sent) != shm::push_result::pushed) return 4;
                    break;
                }
                case 2: {
                    const auto next = consumer.peek(1);
                    if (next.empty()) break;
                    const slot_handle got = next[0].read();
                    // Adopted before it is consumed, so that one who dies in between has lost nothing. Its successor meets the
                    // handle again, which is stale then.
                    if (const auto adopted = member.adopt(got)) {
                        if (!number_of(mine.data(got))) return 5;
                        held.push_back(got);
                        (*received_).fetch_add(1, std::memory_order_relaxed);
                    } else if (adopted.error().what == shm::slot_error::kind::generation_mismatch) {
                        (*redelivered_).fetch_add(1, std::memory_order_relaxed);
                    } else {
                        return 6;
                    }
                    good_moment_to_be_killed();
                    consumer.consume(1);
                    break;
                }
                default:
                    if (held.empty()) break;
                    const slot_handle one = one_held();
                    if (!number_of(mine.data(one))) return 7;
                    if (!member.free_allocated(one)) return 8;
            }
        }
        for (const slot_handle each : held)
            if (!number_of(mine.data(each)) || !member.free_allocated(each)) return 9;
        return member.corrupt() || producer.corrupt() || consumer.corrupt() ? 10 : 0;
    }

    /// Until so many slots more are allocated.
    void wait_for(std::uint64_t slots) const {
        patience waiting;
        for (const std::uint64_t enough = *allocated_ + slots; *allocated_ < enough;)
            ASSERT_TRUE(waiting.wait()) << "nobody has allocated a slot in a minute";
    }

    /// Whether `handle` waits in a dead one's ring, to which nobody writes now.
    [[nodiscard]] static bool waits_in_ring(shm::region bytes, slot_handle handle) {
        const auto seen = ring::attach(bytes).value().status();
        for (std::uint64_t at = seen.consumed; at != seen.published; ++at) {
            const auto word = bytes.get<slot_handle>(ring_header_bytes + at % capacity * sizeof(slot_handle));
            if (**word == handle) return true;
        }
        return false;
    }

    /// All that can be had back of a dead one with that ring. What it was about to send and has not pushed is lost to its
    /// receiver: who receives takes a slot on before it leaves the ring.
    [[nodiscard]] static shm::reclaimed recover(slab::member& member, shm::region bytes,
                                                const shm::proof_of_death& dead) {
        patience waiting;
        shm::reclaimed all;
        do {
            const auto done =
                member.reclaim(dead, [&](slot_handle sent) { return !waits_in_ring(bytes, sent); }).value();
            all = {all.returned + done.returned, done.in_flight, done.complete};
        } while (!all.complete && waiting.wait());
        return all;
    }

    void kill_and_recover(std::size_t i) {
        // The kernel vouches for a death to the parent, or to anybody who has watched.
        const auto peer = rings_[i].status().producer;
        std::optional<shm::process_watch> watch;
        if (peer.valid() && random_() % 2 == 0) watch.emplace(shm::process_watch::open(peer).value());
        children_[i].kill();
        std::optional<shm::proof_of_death> seen;
        if (watch) seen.emplace(watch->wait(steady_clock::now() + 1min).value());
        const auto reaped = children_[i].reap();
        ASSERT_EQ(reaped.end, killed_by(SIGKILL));
        ++kills_;
        const shm::proof_of_death dead = seen ? *seen : reaped.proof;
        if (random_() % 4 == 0) kill_a_recovery(i, dead);

        const auto done = recover(*member_, ring_bytes_[i].region(), dead);
        ASSERT_TRUE(done.complete) << "the list has not held still in a minute";
        reclaimed_ += done.returned;
        if (done.in_flight != 0) sent_by_the_dead_.push_back(dead);
        free_roles(i, dead);
    }

    /// What the dead had sent is received by and by; until then each keeps an entry of the table.
    void settle() {
        std::erase_if(sent_by_the_dead_, [&](const auto& each) {
            const auto done = member_->reclaim(each).value();
            return done.complete && done.in_flight == 0;
        });
    }

    void kill_a_recovery(std::size_t i, const shm::proof_of_death& dead) {
        child_process recovering([&] {
            const auto slab_bytes = bytes_.attach(), its_ring = ring_bytes_[i].attach();
            const auto mine = slab::attach(slab_bytes.region()).value();
            auto member = mine.join(shm::this_process().value()).value();
            (*recoveries_begun_).fetch_add(1);
            return recover(member, its_ring.region(), dead).complete ? 0 : 1;
        });
        patience waiting;
        for (const std::uint64_t begun = recoveries_seen_++; *recoveries_begun_ == begun;) ASSERT_TRUE(waiting.wait());
        for (auto spins = random_() % 200; spins != 0; --spins) shm::std_atomics::pause();
        recovering.kill();
        const auto recoverer = recovering.reap();
        const bool killed = recoverer.end == killed_by(SIGKILL);
        ASSERT_TRUE(killed || recoverer.end == exited(0) || recoverer.end == exited(1)) << recoverer.end;
        if (killed) (*recoveries_killed_).fetch_add(1);
        const auto done = recover(*member_, ring_bytes_[i].region(), recoverer.proof);
        ASSERT_TRUE(done.complete);
        reclaimed_ += done.returned;
    }

    /// The dead one's roles, if it had come to claim them.
    void free_roles(std::size_t i, const shm::proof_of_death& dead) const {
        const auto sent = rings_[i].take_over_producer(me_, dead);
        const auto received = rings_[before(i)].take_over_consumer(me_, dead);
        ASSERT_TRUE(sent || sent.error().what == shm::fault_kind::not_holder) << sent.error().sentence();
        ASSERT_TRUE(received || received.error().what == shm::fault_kind::not_holder) << received.error().sentence();
    }

    /// All have ended: what is still on its way is received, and then every slot and every entry is free.
    void finish() {
        for (const ring& each : rings_) {
            auto consumer = each.claim_consumer(me_).value();
            while (const auto got = consumer.try_pop()) {
                if (!member_->adopt(*got)) {
                    (*redelivered_).fetch_add(1);
                    continue;
                }
                EXPECT_TRUE(number_of(shared_.data(*got)).has_value());
                EXPECT_TRUE(member_->free_allocated(*got));
            }
        }
        settle();
        EXPECT_TRUE(sent_by_the_dead_.empty());
        EXPECT_LE(*redelivered_, kills_) << "a handle is stale that nobody had taken on: what was sent is lost";
        expect_all_free(shared_, *member_);
        std::vector<slab::member> others;
        for (std::uint32_t i = 1; i < shape.member_count; ++i) others.push_back(shared_.join({1, i}).value());
    }

    const shm::peer_id me_ = shm::this_process().value();
    const shared_bytes bytes_;
    const slab shared_;
    std::vector<shared_bytes> ring_bytes_;
    std::vector<ring> rings_;  // from each to the next
    std::vector<child_process> children_;
    std::optional<slab::member> member_;
    std::vector<shm::proof_of_death> sent_by_the_dead_;
    std::minstd_rand random_{7};
    const shared_word stop_, allocated_, received_, redelivered_, recoveries_begun_, recoveries_killed_;
    std::uint64_t kills_ = 0, reclaimed_ = 0, recoveries_seen_ = 0;
};

struct company {
    medium kind;
    std::size_t processes;
};

class processes : public testing::TestWithParam<company> {};
INSTANTIATE_TEST_SUITE_P(, processes,
                         testing::Values(company{medium::file, 2}, company{medium::file, 4}, company{medium::memfd, 2},
                                         company{medium::memfd, 4}),
                         [](const auto& test) {
                             return std::string{test.param.processes == 2 ? "two" : "four"} +
                                    (test.param.kind == medium::file ? "_over_a_file" : "_over_sealed_memory");
                         });

TEST_P(processes, lose_no_slot) {
    circle all{GetParam().kind, GetParam().processes};
    all.run(steady_clock::now() + seconds_for_all() / 20, false, [] {});
    RecordProperty("counts", all.counts());
}

TEST_P(processes, lose_no_slot_when_they_are_killed) {
    circle all{GetParam().kind, GetParam().processes};
    all.run(steady_clock::now() + seconds_for_all() / 10, true, [] {});
    EXPECT_GT(all.kills(), 0u);
    RecordProperty("counts", all.counts());
}

TEST(soak, four_processes_lose_no_slot_when_they_are_killed) {
    const char* const asked = std::getenv("SHM_SOAK_SECONDS");
    const auto seconds = std::chrono::seconds{asked != nullptr ? std::atoi(asked) : 2};
    const auto begin = steady_clock::now();
    auto next_line = begin + 5s;
    circle all{medium::memfd, 4};
    all.run(begin + seconds, true, [&] {
        if (steady_clock::now() < next_line) return;
        std::printf("%3lld s: %s\n", static_cast<long long>((next_line - begin) / 1s), all.counts().c_str());
        std::fflush(stdout);
        next_line += 5s;
    });
    EXPECT_GT(all.kills(), 0u);
    std::printf("soak of %lld s: %s; all slots are there, each once\n", static_cast<long long>(seconds / 1s),
                all.counts().c_str());
    std::fflush(stdout);
}

}  // namespace
