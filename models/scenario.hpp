// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// A scenario: a few threads, what each does, what must hold. Written once over the atomics layer, and compiled for each
// layer of <layers.hpp>, which the include path finds. It uses nothing but the layer and what is declared here.
//
//     template <class Atomics, form Form>
//     struct thing_concurrent {
//         static constexpr unsigned threads = 2;
//         static constexpr const char* holds = "one sentence that must always hold";
//         void before();                // sequential: set up
//         void thread(unsigned index);  // concurrent: 0 .. threads - 1
//         void after();                 // sequential: what must hold at the end
//     };
#include <csetjmp>
#include <entry.hpp>
#include <host.hpp>
#include <layers.hpp>
#include <source_location>
#include <string>
#include <tuple>
#include <type_traits>

#include <shm/atomics_layer.hpp>
#include <shm/checking.hpp>

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
        host::running->in_vain(round, at);
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

/// Adds what is the same scenario over each layer.
template <class First, class... Others>
void add_form(const std::string& family, const std::string& name, form how, bool litmus_allowed = false) {
    scenarios().push_back(
        {family, name, how, First::threads, First::holds, litmus_allowed, {maker_of<First>(), maker_of<Others>()...}});
}

/// Adds both forms of a scenario.
template <template <class, form> class Scenario>
void add(const std::string& family, const std::string& name) {
    [&]<class... Layer>(std::type_identity<std::tuple<Layer...>>) {
        add_form<Scenario<Layer, form::tries>...>(family, name, form::tries);
        add_form<Scenario<Layer, form::waits>...>(family, name, form::waits);
    }(std::type_identity<layers>{});
}

/// Adds a scenario in which nobody waits.
template <template <class> class Scenario>
void add(const std::string& family, const std::string& name, bool litmus_allowed = false) {
    [&]<class... Layer>(std::type_identity<std::tuple<Layer...>>) {
        add_form<Scenario<Layer>...>(family, name, form::tries, litmus_allowed);
    }(std::type_identity<layers>{});
}

}  // namespace shm::model
