// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// A scenario: a few threads, what each does, what must hold. Written once over the atomics layer, so that any engine can
// run it. It uses nothing but the layer and what is declared here.
//
//     template <class Atomics, form Form>  // Form only where a thread waits in one of two ways
//     struct thing_concurrent {
//         static constexpr unsigned threads = 2;
//         static constexpr const char* invariant = "one sentence that must always hold";
//         void before();                // sequential: set up
//         void thread(unsigned index);  // concurrent: 0 .. threads - 1
//         void after();                 // sequential: what must hold at the end
//     };
#include <csetjmp>
#include <memory>
#include <source_location>

#include <shm/atomics_layer.hpp>
#include <shm/checking.hpp>
#include <shm/model/entry.hpp>
#include <shm/model/host.hpp>

namespace shm::model {

/// What must be true here; if it is not, the execution is a counter-example.
inline void check(bool holds, std::source_location at = std::source_location::current()) {
    if (!holds) host::running->failed(at);
}

/// A number from 0 to `count` - 1; the engine tries each.
inline unsigned choose(unsigned count) { return host::running->choose(count); }

/// One try, or in the waiting form as many as it takes. Says whether it succeeded. A try that fails must leave nothing
/// changed.
template <form Form, class Try>
bool attempt(Try once, std::source_location at = std::source_location::current()) {
    auto round = host::running->begin_round();
    while (!once()) {
        if (Form == form::tries) return false;
        host::running->ineffective(round, at);
    }
    return true;
}

/// Runs `body`, in which this thread may be killed before any of its atomic operations, without unwinding. Says whether it
/// survived.
template <class Body>
bool survives(Body body) {
    std::jmp_buf last_breath;
    if (setjmp(last_breath) != 0) return false;
    host::running->make_mortal(&last_breath);
    body();
    host::running->make_mortal(nullptr);
    return true;
}

template <class Scenario>
maker maker_of() {
    struct made final : instance {
        Scenario scenario;
        void before() override { scenario.before(); }
        void thread(unsigned index) override { scenario.thread(index); }
        void after() override { scenario.after(); }
    };
    return [] { return std::make_unique<made>(); };
}

}  // namespace shm::model
