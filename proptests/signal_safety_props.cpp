// SPDX-License-Identifier: MIT OR Apache-2.0
// shm_test(signal_safety_props WRAP aligned_alloc calloc malloc realloc)
//
// What the table in docs/portability.md says of each function: which allocate, which make system calls, which may be
// called in a signal handler.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <shm/heap_region.hpp>
#include <shm/memfd_region.hpp>
#include <shm/message_framing.hpp>
#include <shm/mmap_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/spsc_ring.hpp>
#include <shm/treiber_slab.hpp>
#include <shm/var_slot_pool.hpp>
#include <shm/wakeup.hpp>

#include "testkit/child_process.hpp"
#include "testkit/process_state.hpp"
#include "testkit/temporary_directory.hpp"

namespace {

std::atomic<int> allocations = 0;

}  // namespace

// The linker sends each call of f to __wrap_f, and knows the f of the C library as __real_f. What the C++ library
// allocates comes through operator new.
void* real_malloc(std::size_t size_bytes) asm("__real_malloc");
void* real_calloc(std::size_t count, std::size_t size_bytes) asm("__real_calloc");
void* real_realloc(void* bytes, std::size_t size_bytes) asm("__real_realloc");
void* real_aligned_alloc(std::size_t alignment, std::size_t size_bytes) asm("__real_aligned_alloc");
void* wrapped_malloc(std::size_t size_bytes) asm("__wrap_malloc");
void* wrapped_calloc(std::size_t count, std::size_t size_bytes) asm("__wrap_calloc");
void* wrapped_realloc(void* bytes, std::size_t size_bytes) asm("__wrap_realloc");
void* wrapped_aligned_alloc(std::size_t alignment, std::size_t size_bytes) asm("__wrap_aligned_alloc");

void* wrapped_malloc(std::size_t size_bytes) { return ++allocations, real_malloc(size_bytes); }
void* wrapped_calloc(std::size_t count, std::size_t size_bytes) {
    return ++allocations, real_calloc(count, size_bytes);
}
void* wrapped_realloc(void* bytes, std::size_t size_bytes) { return ++allocations, real_realloc(bytes, size_bytes); }
void* wrapped_aligned_alloc(std::size_t alignment, std::size_t size_bytes) {
    return ++allocations, real_aligned_alloc(alignment, size_bytes);
}
// Not inlined: g++ 12 would see what is newed meet free, and warn of it.
[[gnu::noinline]] void* operator new(std::size_t size_bytes) {
    if (void* const bytes = std::malloc(size_bytes)) return bytes;
    std::abort();
}
[[gnu::noinline]] void operator delete(void* bytes) noexcept { std::free(bytes); }
[[gnu::noinline]] void operator delete(void* bytes, std::size_t) noexcept { std::free(bytes); }

namespace {

using ring = shm::spsc_ring<std::uint64_t>;
using shm::push_result;

constexpr std::uint32_t capacity = 16;
constexpr shm::peer_id peer{1, 1};

template <class Call>
[[nodiscard]] int allocations_of(Call call) {
    const int before = allocations;
    call();
    return allocations - before;
}

/// All that the two ends of a ring can do, and what observers see. Whether it is what it should be.
[[nodiscard]] bool use(const ring& shared, ring::producer& producer, ring::consumer& consumer) {
    std::array<std::uint64_t, 4> some{1, 2, 3, 4};
    bool right = producer.try_push(0) == push_result::pushed && consumer.try_pop() == 0u;
    right &= producer.try_push_n(some) == 4 && consumer.try_pop_n(some) == 4 && some[3] == 4;
    for (std::uint32_t filled = 0; filled < capacity;) {
        const auto slots = producer.reserve(capacity - filled);
        for (auto& slot : slots) slot.write(5);
        producer.commit(slots.size());
        filled += static_cast<std::uint32_t>(slots.size());
    }
    right &= producer.is_full() && producer.available_capacity() == 0 && producer.try_push(6) == shm::ring_full;
    right &= shared.status().size == capacity && shared.size_approx() == capacity && !shared.is_empty();
    while (const std::size_t count = consumer.peek(capacity).size()) consumer.consume(count);
    right &= consumer.is_empty() && consumer.size() == 0 && !consumer.try_pop();
    auto moved = std::move(producer);
    producer = std::move(moved);
    return right && !producer.corrupt() && !consumer.corrupt();
}

using framing = shm::message_framing<>;

/// Likewise of a bip buffer, and of messages over it.
[[nodiscard]] bool use(const framing::buffer& shared, framing::buffer::producer& producer,
                       framing::buffer::consumer& consumer) {
    bool right = producer.max_grant() == capacity && producer.try_grant(capacity).slots.size() == capacity;
    producer.commit(0);
    framing::sender sender{std::move(producer)};
    framing::receiver receiver{std::move(consumer)};
    const std::array<std::byte, 8 * (capacity - 1)> bytes{};
    for (const std::size_t size : {std::size_t{3}, bytes.size(), bytes.size()}) {
        auto sent = sender.try_send(std::span{bytes}.first(size));
        if (sent == shm::send_result::full) {  // past an empty wrap
            right &= !receiver.try_receive();
            sent = sender.try_send(std::span{bytes}.first(size));
        }
        right &= sent == shm::send_result::sent && receiver.try_receive()->size_bytes == size;
        right &= shared.status().size == framing::words(size) && shared.size_approx() != 0 && !shared.is_empty();
        receiver.consume();
    }
    return right && !sender.corrupt() && !receiver.corrupt();
}

using slab = shm::treiber_slab<>;
constexpr shm::slab_shape shape{.slot_count = 3, .slot_size = 64, .member_count = 2};

/// Likewise of a slab and a member of it.
[[nodiscard]] bool use(const slab& shared, slab::member& member) {
    const auto kept = member.try_alloc(), sent = member.try_alloc(), third = member.try_alloc();
    bool right = kept && sent && third && member.try_alloc().status() == shm::alloc_status::would_block;
    right &= shared.data(*kept).size() == shape.slot_size && shared.free_count_approx() == 0;
    right &= member.mark_in_flight(*sent) && member.mark_in_flight(*third) && member.adopt(*sent);
    right &= member.free_allocated(*sent) && member.free(*third) && !member.free(*third) && !member.adopt({9, 9});
    auto moved = std::move(member);
    right &= moved.free_allocated(*kept) && shared.free_count_approx() == shape.slot_count && !moved.corrupt();
    member = std::move(moved);
    return right;
}

using pool = shm::var_slot_pool<>;
constexpr shm::pool_class pool_classes[] = {{1, 64}, {1, 128}};
constexpr shm::pool_shape shape_of_pool{pool_classes, 64, 2};

/// Likewise of a pool's member, with all its slots free before and after. Two slots, so nothing is ever looked for.
[[nodiscard]] bool use(const pool& shared, pool::member& member) {
    const auto small = member.try_alloc(1), large = member.try_alloc(65);
    if (!small || !large) return false;
    bool right = member.data(*small).size() == 64 && shared.data(*large).size() == 128;
    right &= member.mark_in_flight(*small) && member.adopt(*small) && member.mark_in_flight(*large);
    right &= member.free_allocated(*small) && member.free(*large) && !member.free(*large);
    right &= shared.slab_at(0).free_count_approx() == 1 && shared.slab_count() == 2;
    return right && !member.corrupt();
}

class signal_safety : public testing::Test {
protected:
    const shm::heap_region bytes_ = shm::heap_region::create(ring::required_size(capacity)).value();
};

TEST_F(signal_safety, a_ring_allocates_nothing) {
    bool right = false;
    EXPECT_EQ(allocations_of([&] {
                  const auto made = ring::create(bytes_.region(), capacity).value();
                  const auto shared = ring::attach(bytes_.region()).value();
                  auto [producer, consumer] = made.split(peer).value();
                  right = use(shared, producer, consumer) && !shared.claim_producer(peer) &&
                          !ring::create(bytes_.region(), capacity) && !ring::attach({});
              }),
              0);
    EXPECT_TRUE(right);
}

TEST_F(signal_safety, a_bip_buffer_allocates_nothing) {
    bool right = false;
    EXPECT_EQ(allocations_of([&] {
                  const auto made = framing::buffer::create(bytes_.region(), capacity).value();
                  const auto shared = framing::buffer::attach(bytes_.region()).value();
                  auto [producer, consumer] = made.split(peer).value();
                  right = use(shared, producer, consumer) && !framing::buffer::create(bytes_.region(), capacity);
              }),
              0);
    EXPECT_TRUE(right);
}

TEST_F(signal_safety, a_slab_allocates_nothing) {
    const auto memory = shm::heap_region::create(slab::required_size(shape)).value();
    const auto dead = dead_child_that([] {});
    bool right = false;
    EXPECT_EQ(allocations_of([&] {
                  const auto made = slab::create(memory.region(), shape).value();
                  const auto shared = slab::attach(memory.region()).value();
                  auto member = made.join(peer).value();
                  const auto other = shared.join(peer).value();
                  right = use(shared, member) && !shared.join(peer) && !slab::create(memory.region(), shape);
                  right &= member.reclaim(dead)->complete;
                  right &= member.reclaim_in_flight([](auto) { return true; })->complete;
              }),
              0);
    EXPECT_TRUE(right);
}

TEST_F(signal_safety, a_pool_allocates_nothing) {
    const auto bytes = shm::heap_region::create(pool::required_size(shape_of_pool) + 4096).value();
    const auto further = shm::heap_region::create(4096).value();
    bool right = false;
    EXPECT_EQ(allocations_of([&] {
                  auto made = pool::create(bytes.region(), shape_of_pool).value();
                  const auto shared = pool::attach(bytes.region()).value();
                  auto member = shared.join(peer).value();
                  right = use(shared, member) && made.grow(bytes.region(), {1, 64}) &&
                          made.add_annex(further.region(), {1, 64}) && member.extend(bytes.region()) &&
                          member.attach_annex(further.region()) && member.slab_count() == 4;
              }),
              0);
    EXPECT_TRUE(right);
}

TEST_F(signal_safety, what_a_take_over_needs_is_had_before_it) {
    const auto shared = ring::create(bytes_.region(), capacity).value();
    const auto dead = dead_child_that([] {});
    EXPECT_EQ(allocations_of([&] { EXPECT_FALSE(shared.take_over_consumer(peer, dead)); }), 0);
}

TEST_F(signal_safety, a_region_without_a_name_allocates_nothing) {
    EXPECT_EQ(allocations_of([] {
                  const auto made = shm::memfd_region::create(4096).value();
                  const shm::unique_fd copy{fcntl(made.fd(), F_DUPFD_CLOEXEC, 0)};
                  auto other = shm::memfd_region::attach(shm::unique_fd{fcntl(made.fd(), F_DUPFD_CLOEXEC, 0)}).value();
                  EXPECT_TRUE(other.region().get<std::uint64_t>(8) && other.region().offset(4096));
                  EXPECT_FALSE(shm::memfd_region::attach(shm::unique_fd{}));
                  EXPECT_FALSE(other.region().subregion(1, 4096));
              }),
              0);
}

TEST_F(signal_safety, a_named_region_allocates_only_for_its_name) {
    const temporary_directory directory;
    const auto path = directory / "bytes";
    std::optional<shm::mmap_region> made;
    EXPECT_GT(allocations_of([&] { made = shm::mmap_region::create(path, 4096).value(); }), 0);
    EXPECT_EQ(allocations_of([&] {
                  made->take_ownership();
                  EXPECT_TRUE(made->resize(8192) && made->check_and_remap());
                  EXPECT_EQ(made->region().size_bytes(), 8192u);
                  EXPECT_TRUE(made->close_name().value());
                  made->release_ownership();
              }),
              0);
}

TEST_F(signal_safety, a_doorbell_and_a_wakeup_allocate_nothing) {
    EXPECT_EQ(allocations_of([] {
                  auto [bell, handle] = shm::doorbell::create_pair().value();
                  auto other = shm::doorbell::from_handle(std::move(handle)).value();
                  EXPECT_EQ(other.signal().value(), shm::signal_result::sent);
                  EXPECT_EQ(bell.pending_bytes().value(), 1u);
                  EXPECT_EQ(bell.wait(shm::deadline::max()).value(), shm::wait_result::rung);
                  EXPECT_TRUE(bell.accept() && !bell.is_peer_dead() && bell.drain());
                  std::array<shm::wakeup<>::word, 2> words{};
                  shm::wakeup<> here{words[0], words[1], std::move(bell)};
                  shm::wakeup<> there{words[1], words[0], std::move(other)};
                  EXPECT_TRUE(here.announce([] { return false; }));
                  EXPECT_EQ(there.notify().value(), shm::notify_result::rung);
                  bool ready = false;
                  EXPECT_EQ(here.wait([&] { return std::exchange(ready, true); }, shm::deadline::max()).value(),
                            shm::wakeup_result::ready);
              }),
              0);
}

TEST_F(signal_safety, a_wait_for_a_death_allocates_nothing) {
    const auto watch = shm::process_watch::open(shm::this_process().value()).value();
    EXPECT_EQ(allocations_of([&] { EXPECT_EQ(watch.wait().error().what, shm::fault_kind::not_dead); }), 0);
}

TEST_F(signal_safety, memory_and_sentences_are_allocated) {
    EXPECT_GT(allocations_of([] { EXPECT_TRUE(shm::heap_region::create(64)); }), 0);
    EXPECT_GT(allocations_of([] { EXPECT_FALSE(shm::fault{}.sentence().empty()); }), 0);
}

/// How a child ends that makes this call where the kernel kills for every system call but read, write and exit.
template <class Call>
[[nodiscard]] process_end ended_without_system_calls(Call call) {
    child_process child([&] {
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 2;
        syscall(SYS_exit, call() ? 0 : 1);
        return 3;
    });
    return child.wait();
}

TEST_F(signal_safety, a_ring_makes_no_system_call) {
    const auto shared = ring::create(bytes_.region(), capacity).value();
    auto [producer, consumer] = shared.split(peer).value();
    const auto status = ended_without_system_calls([&] {
        return ring::attach(bytes_.region()) && use(shared, producer, consumer) && !shared.claim_consumer(peer);
    });
    EXPECT_EQ(status, exited(0));
}

TEST_F(signal_safety, a_bip_buffer_makes_no_system_call) {
    const auto shared = framing::buffer::create(bytes_.region(), capacity).value();
    auto [producer, consumer] = shared.split(peer).value();
    // The ends are moved on into a sender and a receiver that are never destroyed: giving up a role asks who one is.
    const auto status = ended_without_system_calls([&] {
        if (!framing::buffer::attach(bytes_.region()) || shared.claim_consumer(peer)) return false;
        alignas(framing::sender) std::array<std::byte, sizeof(framing::sender)> sending;
        alignas(framing::receiver) std::array<std::byte, sizeof(framing::receiver)> receiving;
        auto& sender = *new (sending.data()) framing::sender{std::move(producer)};
        auto& receiver = *new (receiving.data()) framing::receiver{std::move(consumer)};
        const std::array<std::byte, 20> bytes{};
        bool right = true;
        for (int lap = 0; lap < 20; ++lap) {
            right &= sender.try_send(bytes) == shm::send_result::sent;
            right &= receiver.try_receive()->size_bytes == bytes.size();
            receiver.consume();
        }
        return right;
    });
    EXPECT_EQ(status, exited(0));
}

TEST_F(signal_safety, a_slab_makes_no_system_call) {
    const auto memory = shm::heap_region::create(slab::required_size(shape)).value();
    const auto shared = slab::create(memory.region(), shape).value();
    auto member = shared.join(peer).value();
    const auto status =
        ended_without_system_calls([&] { return slab::attach(memory.region()) && use(shared, member); });
    EXPECT_EQ(status, exited(0));
}

TEST_F(signal_safety, joining_and_recovering_make_one) {
    const auto memory = shm::heap_region::create(slab::required_size(shape)).value();
    const auto shared = slab::create(memory.region(), shape).value();
    const auto joining = ended_without_system_calls([&] { return shared.join(peer).has_value(); });
    EXPECT_EQ(joining, killed_by(SIGKILL));

    const auto between_processes = shm::memfd_region::create(slab::required_size(shape)).value();
    const auto recovered = slab::create(between_processes.region(), shape).value();
    child_process keeping_a_slot([&] {
        const auto mine = shm::memfd_region::attach(shm::unique_fd{dup(between_processes.fd())}).value();
        auto member = slab::attach(mine.region()).value().join(shm::this_process().value()).value();
        return member.try_alloc() ? 0 : 1;
    });
    const auto dead = keeping_a_slot.reap().proof;
    auto member = recovered.join(peer).value();
    const auto recovering = ended_without_system_calls([&] { return member.reclaim(dead).has_value(); });
    EXPECT_EQ(recovering, killed_by(SIGKILL));
}

TEST_F(signal_safety, a_pool_makes_no_system_call) {
    const auto bytes = shm::heap_region::create(pool::required_size(shape_of_pool) + 4096).value();
    auto shared = pool::create(bytes.region(), shape_of_pool).value();
    auto member = shared.join(peer).value();
    const auto status = ended_without_system_calls([&] {
        return pool::attach(bytes.region()) && use(shared, member) && shared.grow(bytes.region(), {1, 64}) &&
               !shared.grow(bytes.region(), {1, 1 << 20});
    });
    EXPECT_EQ(status, exited(0));
}

TEST_F(signal_safety, notifying_who_is_awake_makes_none) {
    auto [bell, handle] = shm::doorbell::create_pair().value();
    std::array<shm::wakeup<>::word, 2> words{};
    shm::wakeup<> wake{words[0], words[1], std::move(bell)};
    const auto status = ended_without_system_calls([&] {
        return wake.notify().value() == shm::notify_result::nobody_asleep && !wake.announce([] { return true; }) &&
               wake.wait([] { return true; }).value() == shm::wakeup_result::ready;
    });
    EXPECT_EQ(status, exited(0));
}

TEST_F(signal_safety, attaching_to_what_is_not_ready_makes_none) {
    const shm::region empty = bytes_.region();  // not in the child: UBSan would ask the kernel whether `this` is a test
    const auto status =
        ended_without_system_calls([=] { return ring::attach(empty).error().what == shm::fault_kind::not_ready; });
    EXPECT_EQ(status, exited(0));
}

TEST_F(signal_safety, an_end_makes_one_when_it_gives_its_role_up_for_another) {
    const auto more_bytes = shm::heap_region::create(ring::required_size(capacity)).value();
    auto held = ring::create(bytes_.region(), capacity).value().claim_producer(peer).value();
    auto other = ring::create(more_bytes.region(), capacity).value().claim_producer(peer).value();
    const auto status = ended_without_system_calls([&] {
        held = std::move(other);
        return true;
    });
    EXPECT_EQ(status, killed_by(SIGKILL));
}

/// Moves on into a place that is never destroyed.
template <class Owner>
void move_on(Owner& from) {
    alignas(Owner) std::array<std::byte, sizeof(Owner)> place;
    new (place.data()) Owner{std::move(from)};
}

TEST_F(signal_safety, moving_an_owner_makes_none_and_assigning_to_one_does) {
    const temporary_directory directory;
    auto heap = shm::heap_region::create(64).value();
    auto sealed = shm::memfd_region::create(4096).value();
    auto named = shm::mmap_region::create(directory / "bytes", 4096).value();
    auto watch = shm::process_watch::open(shm::this_process().value()).value();
    const auto status = ended_without_system_calls([&] {
        move_on(heap);
        move_on(sealed);
        move_on(named);
        move_on(watch);
        return true;
    });
    EXPECT_EQ(status, exited(0));

    const auto assigning_makes_one = [](auto& owner, auto& other) {
        const auto ended = ended_without_system_calls([&] {
            owner = std::move(other);
            return true;
        });
        EXPECT_EQ(ended, killed_by(SIGKILL));
    };
    auto other_sealed = shm::memfd_region::create(4096).value();
    auto other_named = shm::mmap_region::create(directory / "other", 4096).value();
    auto other_watch = shm::process_watch::open(shm::this_process().value()).value();
    assigning_makes_one(sealed, other_sealed);
    assigning_makes_one(named, other_named);
    assigning_makes_one(watch, other_watch);
}

TEST_F(signal_safety, a_claim_makes_one) {
    const auto shared = ring::create(bytes_.region(), capacity).value();
    const auto status = ended_without_system_calls([&] { return shared.claim_producer(peer).has_value(); });
    EXPECT_EQ(status, killed_by(SIGKILL));
}

/// What the handler below works with: one end of each of two rings.
struct {
    const ring* shared;
    ring::producer* producer;
    ring::consumer* consumer;
    std::uint64_t pushed;
    std::uint64_t popped;
    int allocations;
    bool wrong;
} in_handler;

void work(int) {
    auto& my = in_handler;
    const int before = allocations;
    while (my.producer->try_push(my.pushed) == push_result::pushed) ++my.pushed;
    while (const auto found = my.consumer->try_pop()) my.wrong |= *found != my.popped++;
    my.wrong |= my.shared->status().size > capacity || my.shared->claim_producer(peer).has_value();
    my.allocations += allocations - before;
}

TEST_F(signal_safety, ends_work_in_a_signal_handler_wherever_it_interrupts_the_others) {
    constexpr std::uint64_t items = 20'000;
    const auto more_bytes = shm::heap_region::create(ring::required_size(capacity)).value();
    const auto forth = ring::create(bytes_.region(), capacity).value();
    const auto back = ring::create(more_bytes.region(), capacity).value();
    auto [producer, handlers_consumer] = forth.split(peer).value();
    auto [handlers_producer, consumer] = back.split(peer).value();
    in_handler = {&back, &handlers_producer, &handlers_consumer, 0, 0, 0, false};

    struct sigaction before{};
    struct sigaction handled{};
    handled.sa_handler = work;
    handled.sa_flags = SA_RESTART;
    ASSERT_EQ(sigaction(SIGALRM, &handled, &before), 0);
    constexpr timeval often{0, 50};
    const itimerval ticking{often, often};
    ASSERT_EQ(setitimer(ITIMER_REAL, &ticking, nullptr), 0);

    std::uint64_t pushed = 0;
    bool wrong = false;
    for (std::uint64_t popped = 0; popped < items;) {
        if (producer.try_push(pushed) == push_result::pushed) ++pushed;
        if (const auto found = consumer.try_pop()) wrong |= *found != popped++;
        const std::vector<int> interrupted(popped % 64);  // the allocator too
    }
    const itimerval never{};
    ASSERT_EQ(setitimer(ITIMER_REAL, &never, nullptr), 0);
    ASSERT_EQ(sigaction(SIGALRM, &before, nullptr), 0);
    work(0);

    EXPECT_FALSE(wrong || in_handler.wrong);
    EXPECT_EQ(in_handler.popped, pushed);
    EXPECT_EQ(in_handler.allocations, 0);
}

}  // namespace
