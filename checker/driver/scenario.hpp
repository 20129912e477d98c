// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What the models of this tree are written with: scenarios, compiled for each layer of <layers.hpp>, which the include path
// finds.
#include <layers.hpp>
#include <string>
#include <tuple>
#include <type_traits>

#include <shm/model/scenario.hpp>

namespace shm::model {

/// Adds what is the same scenario over each layer.
template <class First, class... Others>
void add_form(const std::string& family, const std::string& name, form how, bool litmus_allowed = false) {
    scenarios().push_back({family,
                           name,
                           how,
                           First::threads,
                           First::invariant,
                           litmus_allowed,
                           {maker_of<First>(), maker_of<Others>()...}});
}

/// Adds both forms of a scenario. Static, as is the other: for g++ a template of an unnamed namespace has no linkage of its own
/// when it is an argument, and of two models' scenarios of one name the linker would keep one, in silence.
template <template <class, form> class Scenario>
static void add(const std::string& family, const std::string& name) {
    [&]<class... Layer>(std::type_identity<std::tuple<Layer...>>) {
        add_form<Scenario<Layer, form::tries>...>(family, name, form::tries);
        add_form<Scenario<Layer, form::waits>...>(family, name, form::waits);
    }(std::type_identity<layers>{});
}

/// Adds a scenario in which nobody waits.
template <template <class> class Scenario>
static void add(const std::string& family, const std::string& name, bool litmus_allowed = false) {
    [&]<class... Layer>(std::type_identity<std::tuple<Layer...>>) {
        add_form<Scenario<Layer>...>(family, name, form::tries, litmus_allowed);
    }(std::type_identity<layers>{});
}

}  // namespace shm::model
