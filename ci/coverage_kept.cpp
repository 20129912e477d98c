// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A build of the preset `coverage` links this into every program: g++'s counters are written at exit, and would be lost in
// a child that ends by _exit or abort, or kills itself. Those of a child that is killed by another are.
#include <csignal>

extern "C" void __gcov_dump();

[[noreturn]] void real_exit(int status) asm("__real__exit");
[[noreturn]] void wrapped_exit(int status) asm("__wrap__exit");
void wrapped_exit(int status) {
    __gcov_dump();
    real_exit(status);
}

[[noreturn]] void real_abort() asm("__real_abort");
[[noreturn]] void wrapped_abort() asm("__wrap_abort");
void wrapped_abort() {
    __gcov_dump();
    real_abort();
}

int real_raise(int signal) asm("__real_raise");
int wrapped_raise(int signal) asm("__wrap_raise");
int wrapped_raise(int signal) {
    if (signal == SIGKILL) __gcov_dump();
    return real_raise(signal);
}
