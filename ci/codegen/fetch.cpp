// SPDX-License-Identifier: MIT OR Apache-2.0
// Check a field of what a peer may be rewriting, then use it. How often is it fetched?
#include <cstdint>

#include <shm/std_atomics.hpp>

struct small_item {
    std::uint32_t index;
    std::uint32_t value;
};
struct large_item {
    std::uint64_t index;
    std::uint64_t value[2];
};

shm::plain_cell<small_item> small_slot;
shm::plain_cell<large_item> large_slot;
int table[16];
extern "C" void something_else();  // after which the compiler must take memory as changed

extern "C" int once_small() {
    const small_item item = small_slot.read();
    if (item.index >= 16) return -1;
    something_else();
    return table[item.index];
}

extern "C" int once_large() {
    const large_item item = large_slot.read();
    if (item.index >= 16) return -1;
    something_else();
    return table[item.index];
}

extern "C" int naive_small() {
    if (small_slot.value.index >= 16) return -1;
    something_else();
    return table[small_slot.value.index];
}

extern "C" int naive_large() {
    if (large_slot.value.index >= 16) return -1;
    something_else();
    return table[large_slot.value.index];
}
