// SPDX-License-Identifier: MIT OR Apache-2.0
// Two processes and a ring: the parent counts to a thousand, the child adds up. How to notice that the other side has
// died, and to wait without turning for ever, is in send_file.cpp.
#include <unistd.h>

#include <cstdio>
#include <thread>
#include <utility>

#include <shm/memfd_region.hpp>
#include <shm/proof_of_death.hpp>
#include <shm/spsc_ring.hpp>

namespace {

using ring = shm::spsc_ring<int>;
constexpr int last = 1000;

int add_up(shm::unique_fd memory) {
    const auto bytes = shm::memfd_region::attach(std::move(memory)).value();
    auto numbers = ring::attach(bytes.region()).value().claim_consumer(shm::this_process().value()).value();
    long sum = 0;
    for (int expected = 1; expected <= last;) {
        if (const auto number = numbers.try_pop()) {
            sum += *number;
            ++expected;
        } else {
            std::this_thread::yield();  // empty: the other side may need this core
        }
    }
    std::printf("the sum of 1 to %d is %ld\n", last, sum);
    return sum == last * (last + 1L) / 2 ? 0 : 1;
}

}  // namespace

int main() {
    const auto bytes = shm::memfd_region::create(ring::required_size(16)).value();
    const auto made = ring::create(bytes.region(), 16).value();
    const pid_t child = fork();
    if (child == 0) return add_up(shm::unique_fd{dup(bytes.fd())});  // a stranger gets it over a Unix socket

    auto numbers = made.claim_producer(shm::this_process().value()).value();
    for (int number = 1; number <= last;) {
        if (numbers.try_push(number) == shm::push_result::pushed)
            ++number;
        else
            std::this_thread::yield();
    }
    return shm::reap(child).value().status == 0 ? 0 : 1;
}
