// SPDX-License-Identifier: MIT OR Apache-2.0
// What the sanitizers must see on a fiber, planted: `overflow` of an array on its stack, and a `race` with another thread.
// `neither` switches to and fro, abandons a life and starts anew, and must be left in peace.
#include <cstdio>
#include <string_view>
#include <thread>

#include "checker/explore/fiber.hpp"

namespace {

using shm::explore::fiber;

int shared;
volatile unsigned beyond = 16;

void overflow(unsigned) {
    volatile char bytes[16] = {};
    volatile char* const start = bytes;
    fiber::suspend();  // found after a switch as well
    start[beyond] = 1;
}
void race(unsigned) {
    fiber::suspend();
    shared = 1;
}
void neither(unsigned depth) {
    volatile char frame[256] = {};
    frame[depth % sizeof frame] = 1;
    fiber::suspend();
    if (depth != 0) neither(depth - 1);
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc == 2 ? argv[1] : "";
    fiber subject;
    if (what == "overflow") {
        subject.start(overflow, 0);
        for (int i = 0; i < 2; ++i) subject.resume();
    } else if (what == "race") {
        subject.start(race, 0);
        subject.resume();
        std::thread other{[] { shared = 2; }};
        subject.resume();
        other.join();
    } else if (what == "neither") {
        for (unsigned life = 0; life < 2000; ++life) {
            subject.start(neither, 10);
            for (unsigned i = 0; i < life % 12; ++i) subject.resume();
        }
    } else {
        std::fputs("fiber-check: expected overflow, race or neither\n", stderr);
        return 2;
    }
    std::printf("nothing was found, %d\n", shared);
    return 0;
}
