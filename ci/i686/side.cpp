// SPDX-License-Identifier: MIT OR Apache-2.0
// One side of what a 64-bit and a 32-bit process do with each other; ci/i686.sh builds it both ways. Prints what came of
// it: the sentence of a refusal, or "attached".
//
//     side create FILE                a file with an empty ring of `natural`
//     side attach FILE                attaches to that ring
//     side follow FILE                attaches to the file, which then grows to 5 GiB, and maps it again
//     side memory SIDE                hands sealed memory of 5 GiB to the program SIDE
//     side memory-of DESCRIPTOR       attaches to it
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <shm/memfd_region.hpp>
#include <shm/mmap_region.hpp>
#include <shm/spsc_ring.hpp>

namespace {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
constexpr off64_t five_gib = off64_t{5} << 30;

/// Aligned to 8 where pointers have 64 bits, to 4 on i386.
struct natural {
    std::uint64_t value;
};
using ring = shm::spsc_ring<natural>;

template <class Result>
int say(const Result& outcome) {
    std::puts(outcome ? "attached" : outcome.error().sentence().c_str());
    return EXIT_SUCCESS;
}

int create(const char* file) {
    auto bytes = shm::mmap_region::prepare(file, ring::required_size(4)).value();
    static_cast<void>(ring::create(bytes.region(), 4).value());
    bytes.publish().value();
    return EXIT_SUCCESS;
}

int attach(const char* file) {
    const auto bytes = shm::mmap_region::attach(file);
    return bytes ? say(ring::attach(bytes->region())) : say(bytes);
}

int follow(const char* file) {
    auto bytes = shm::mmap_region::attach(file).value();
    if (truncate64(file, five_gib) != 0) return EXIT_FAILURE;
    return say(bytes.check_and_remap());
}

int memory(const char* program) {
    const int memory = memfd_create("five GiB", MFD_ALLOW_SEALING);  // inherited by the program
    if (memory < 0 || ftruncate64(memory, five_gib) != 0 ||
        fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return EXIT_FAILURE;
    execl(program, program, "memory-of", std::to_string(memory).c_str(), nullptr);
    return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return EXIT_FAILURE;
    const std::string_view what = argv[1];
    if (what == "create") return create(argv[2]);
    if (what == "attach") return attach(argv[2]);
    if (what == "follow") return follow(argv[2]);
    if (what == "memory") return memory(argv[2]);
    if (what == "memory-of") return say(shm::memfd_region::attach(shm::unique_fd{std::atoi(argv[2])}));
    return EXIT_FAILURE;
}
