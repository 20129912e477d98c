// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// A scenario: a few threads, what each does, what must hold. Written once over the atomics layer; which engine runs it
// is decided by the <engine.hpp> that the include path finds. It uses nothing but the layer and what is declared here.
//
//     template <class Atomics, form Form>
//     struct thing_concurrent {
//         static constexpr unsigned threads = 2;
//         static constexpr const char* holds = "one sentence that must always hold";
//         void before();                // sequential: set up
//         void thread(unsigned index);  // concurrent: 0 .. threads - 1
//         void after();                 // sequential: what must hold at the end
//     };
#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include <engine.hpp>
#include <shm/atomics_layer.hpp>
#include <shm/checking.hpp>

namespace shm::model {

/// Whether a scenario gives up after a few tries, and is searched completely, or waits until it succeeds, and is
/// searched as far as a bound.
enum class form : std::uint8_t { tries, waits };

/// What must be true here; if it is not, the execution is a counter-example.
void check(bool holds, std::source_location at = std::source_location::current());

/// A number from 0 to `count` - 1; the engine tries each.
unsigned choose(unsigned count);

/// One try, or in the waiting form as many as it takes. Says whether it succeeded.
template <form Form, class Try>
bool attempt(Try once) {
    while (!once()) {
        if (Form == form::tries) return false;
        engine_atomics::pause();
    }
    return true;
}

/// A scenario as the engines see it. Made anew, on a simulated thread, for each execution.
class instance {
public:
    instance() = default;
    instance(const instance&) = delete;
    instance& operator=(const instance&) = delete;
    virtual ~instance() = default;
    virtual void before() = 0;
    virtual void thread(unsigned index) = 0;
    virtual void after() = 0;
};

struct entry {
    std::string family;  // the primitive, or "litmus"
    std::string name;
    form how;
    unsigned threads;
    const char* holds;
    bool litmus_allowed = false;  // a litmus whose outcome the C++ memory model allows
    std::function<std::unique_ptr<instance>()> make;

    [[nodiscard]] bool is_litmus() const { return family == "litmus"; }
    [[nodiscard]] std::string full_name() const { return name + (how == form::waits ? ".waits" : ""); }
};

/// Every scenario of this program, in the order in which they were added.
inline std::vector<entry>& scenarios() {
    static std::vector<entry> all;
    return all;
}

template <class Scenario>
void add_form(const std::string& family, const std::string& name, form how, bool litmus_allowed = false) {
    struct made final : instance {
        Scenario scenario;
        void before() override { scenario.before(); }
        void thread(unsigned index) override { scenario.thread(index); }
        void after() override { scenario.after(); }
    };
    scenarios().push_back({family, name, how, Scenario::threads, Scenario::holds, litmus_allowed,
                           [] { return std::make_unique<made>(); }});
}

/// Adds both forms of a scenario.
template <template <class, form> class Scenario>
void add(const std::string& family, const std::string& name) {
    add_form<Scenario<engine_atomics, form::tries>>(family, name, form::tries);
    add_form<Scenario<engine_atomics, form::waits>>(family, name, form::waits);
}

/// Adds a scenario in which nobody waits.
template <template <class> class Scenario>
void add(const std::string& family, const std::string& name) {
    add_form<Scenario<engine_atomics>>(family, name, form::tries);
}

}  // namespace shm::model
