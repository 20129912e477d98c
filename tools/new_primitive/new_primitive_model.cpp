// SPDX-License-Identifier: MIT OR Apache-2.0
// Every interleaving of new_primitive, at the smallest sizes at which it wraps or fills.
#include <optional>

#include <shm/new_primitive.hpp>

#include "checker/driver/scenario.hpp"
#include "testkit/named_fields.hpp"

namespace shm::model {
namespace {

/// Its bytes, as typed objects with names for the traces.
template <class A>
struct memory {
    typename shm::new_primitive<A>::header header;

    memory() { name_fields(header); }
};

/// Two sides at once.
template <class A, form Form>
struct concurrent {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "OWED: models/new_primitive/model.cpp: this scenario checks nothing yet";
    using primitive = shm::new_primitive<A>;
    memory<A> shared;
    std::optional<primitive> made;

    void before() { made.emplace(primitive::create(shared.header).value()); }
    void thread(unsigned) {}  // OWED: a few calls of each side; attempt<Form>(one try) where it waits for the other
    void after() { check(false); }  // OWED: what must be true when both are done
};

/// One side dies, at whichever step, and the other goes on.
template <class A>
struct one_side_killed {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "OWED: models/new_primitive/model.cpp: nobody dies yet";
    using primitive = shm::new_primitive<A>;
    memory<A> shared;
    std::optional<primitive> made;

    void before() { made.emplace(primitive::create(shared.header).value()); }
    void thread(unsigned index) {
        if (index == 0) (void)survives([] {});  // OWED: a call of the side that dies; the other side's calls in an else
    }
    void after() { check(false); }  // OWED: what the dead side may leave behind, and nothing else
};

/// The creator is still at it when the other side attaches.
template <class A, form Form>
struct attach_while_created {
    static constexpr unsigned threads = 2;
    static constexpr const char* invariant = "who can attach finds it whole; who cannot is told that it is not ready";
    using primitive = shm::new_primitive<A>;
    memory<A> shared;

    void before() {}
    void thread(unsigned index) {
        if (index == 0) {
            check(primitive::create(shared.header).has_value());
            return;
        }
        const auto attached = primitive::attach(shared.header, Form == form::waits ? deadline::max() : deadline{});
        check(attached || (Form == form::tries && attached.error().what == fault_kind::not_ready));
    }
    void after() { check(primitive::attach(shared.header).has_value()); }
};

const bool added = [] {
    add<concurrent>("new_primitive", "new_primitive_concurrent");
    add<one_side_killed>("new_primitive", "new_primitive_one_side_killed");
    add<attach_while_created>("new_primitive", "new_primitive_attach_while_created");
    return true;
}();

}  // namespace
}  // namespace shm::model
