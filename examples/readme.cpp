// SPDX-License-Identifier: MIT OR Apache-2.0
#include <cstdint>
#include <iostream>

#include <shm/heap_region.hpp>
#include <shm/spsc_ring.hpp>

int main() {
    using ring = shm::spsc_ring<std::uint64_t>;

    auto memory = shm::heap_region::create(ring::required_size(16)).value();
    auto numbers = ring::create(memory.region(), 16).value();
    auto [producer, consumer] = numbers.split(shm::this_process().value()).value();

    for (const std::uint64_t number : {42u, 43u})
        if (producer.try_push(number) != shm::push_result::pushed) return 1;

    for (const std::uint64_t expected : {42u, 43u}) {
        const auto number = consumer.try_pop();
        if (number != expected) return 1;
        std::cout << *number << '\n';
    }
    return consumer.try_pop() ? 1 : 0;  // and then nothing
}
