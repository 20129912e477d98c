// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

/// A zeroed T that this process shares with the children that it forks from now on. (A region is not mapped in a child.)
template <class T>
class shared_page {
public:
    shared_page() {
        void* const page = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) std::abort();
        value_ = new (page) T{};
    }
    shared_page(const shared_page&) = delete;
    shared_page& operator=(const shared_page&) = delete;
    ~shared_page() { munmap(value_, sizeof(T)); }
    [[nodiscard]] T& operator*() const noexcept { return *value_; }
    [[nodiscard]] T* operator->() const noexcept { return value_; }

private:
    T* value_;
};
using shared_word = shared_page<std::atomic<std::uint64_t>>;
