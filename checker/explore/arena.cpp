// SPDX-License-Identifier: MIT OR Apache-2.0
#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <shm/explore.hpp>

#include "checker/explore/arena.hpp"

namespace shm::explore::arena {
namespace {

constexpr std::size_t bytes_each = std::size_t{64} << 20;  // reserved; what is not touched costs nothing

struct block {  // lies before what `new` returns
    std::uint64_t live;
    std::uint64_t padding;
};
constexpr std::uint64_t live = 0x6c69766520626c6b, freed = 0x667265656420626c;

std::byte* const all = [] {
    void* const pages =
        mmap(nullptr, most * bytes_each, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? nullptr : static_cast<std::byte*>(pages);
}();
std::array<std::size_t, most> used, base;

bool owns(const void* memory) {
    const auto* const at = static_cast<const std::byte*>(memory);
    return all != nullptr && at >= all && at < all + most * bytes_each;
}

void* take(std::size_t bytes, std::size_t alignment) {
    if (current == none || all == nullptr) {
        void* const memory = alignment <= alignof(std::max_align_t)
                                 ? std::malloc(bytes)
                                 : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
        if (memory == nullptr) throw std::bad_alloc{};
        return memory;
    }
    std::size_t& next = used[current];
    if (alignment < alignof(std::max_align_t)) alignment = alignof(std::max_align_t);
    const std::size_t at = (next + sizeof(block) + alignment - 1) / alignment * alignment;
    if (bytes > bytes_each || at + bytes > bytes_each) {
        current = none;
        refuse("a simulated thread has asked for more than 64 MiB");
    }
    next = at + bytes;
    std::byte* const memory = all + current * bytes_each + at;
    *reinterpret_cast<block*>(memory - sizeof(block)) = {live, 0};
    return memory;
}

void give(void* memory) noexcept {
    if (!owns(memory)) {
        std::free(memory);
        return;
    }
    block& taken = *reinterpret_cast<block*>(static_cast<std::byte*>(memory) - sizeof(block));
    if (current != none && taken.live != live) {
        const paused engine_code;
        fail("freed twice, or never obtained");
    }
    taken.live = freed;
}

}  // namespace

void reset(bool keep) {
    if (keep) base = used;
    used = base;
    ++execution;
}

}  // namespace shm::explore::arena

namespace arena = shm::explore::arena;

void* operator new(std::size_t bytes) { return arena::take(bytes, 1); }
void* operator new[](std::size_t bytes) { return arena::take(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t a) { return arena::take(bytes, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t bytes, std::align_val_t a) { return arena::take(bytes, static_cast<std::size_t>(a)); }
void operator delete(void* memory) noexcept { arena::give(memory); }
void operator delete[](void* memory) noexcept { arena::give(memory); }
void operator delete(void* memory, std::size_t) noexcept { arena::give(memory); }
void operator delete[](void* memory, std::size_t) noexcept { arena::give(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { arena::give(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { arena::give(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { arena::give(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { arena::give(memory); }
