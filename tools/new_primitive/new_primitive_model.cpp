// SPDX-License-Identifier: MIT OR Apache-2.0
// Every interleaving of new_primitive, at the smallest sizes at which it wraps or fills.
#include <optional>

#include <scenario.hpp>
#include <shm/new_primitive.hpp>

namespace shm::model {
namespace {

/// Its bytes, as typed objects with names for the traces.
template <class A>
struct memory {
    typename shm::new_primitive<A>::header header;

    memory() {
        name(&header.state, "state");
        name(&header.layout_version, "layout_version");
        name(&header.magic, "magic");
    }
};

/// Two sides at once.
template <class A, form Form>
struct concurrent {
    static constexpr unsigned threads = 2;
    static constexpr const char* holds = "OWED: models/new_primitive_model.cpp: this scenario checks nothing yet";
    using primitive = shm::new_primitive<A>;
    memory<A> shared;
    std::optional<primitive> made;

    void before() { made.emplace(primitive::create(shared.header).value()); }
    void thread(unsigned) {}  // OWED: a few calls of each side; attempt<Form>(one try) where it waits for the other
    void after() { check(false); }  // OWED: what must be true when both are done
};

/// The creator is still at it when the other side attaches.
template <class A, form Form>
struct attach_while_created {
    static constexpr unsigned threads = 2;
    static constexpr const char* holds = "who can attach finds it whole; who cannot is told that it is not ready";
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
    add<attach_while_created>("new_primitive", "new_primitive_attach_while_created");
    return true;
}();

}  // namespace
}  // namespace shm::model
