// SPDX-License-Identifier: MIT OR Apache-2.0
// Slabs and pools: processes allocate slots, send them to each other through rings, and give them back; they die, and so do
// those that recover what the dead had.
#include <sched.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <shm/spsc_ring.hpp>
#include <shm/treiber_slab.hpp>
#include <shm/var_slot_pool.hpp>

#include "sanitizers/kill/creation.hpp"
#include "sanitizers/kill/trial.hpp"
#include "testkit/payload.hpp"

namespace kill_test {
namespace {

using slab = shm::treiber_slab<shm::slab_widths{}, mortal_atomics>;

constexpr std::uint32_t members = 24;

/// Slots of one size.
struct slab_kind {
    using shared = slab;
    using handle = shm::slot_handle;
    static constexpr shm::slab_shape shape{.slot_count = 12, .slot_size = 64, .member_count = members};

    static std::size_t size_bytes() { return slab::required_size(shape); }
    static shm::result<slab> create(shm::region bytes) { return slab::create(bytes, shape); }
    static shm::result<slab> attach(shm::region bytes) { return slab::attach(bytes); }

    /// A slab, as one process sees it.
    struct attached {
        explicit attached(const shared_memory& memory, const shared_memory&) : bytes{memory.attach()} {}
        shm::memfd_region bytes;
        slab it = slab::attach(bytes.region()).value();
        void meet() {}
        void meet(slab::member&) {}
        void grow(slab::member&, dice&) {}
        [[nodiscard]] std::vector<const slab*> slabs() const { return {&it}; }
        static handle handle_of(std::size_t, shm::slot_handle slot) { return slot; }
        [[nodiscard]] std::span<std::byte> data(const slab::member&, handle of) const { return it.data(of); }
    };

    static shm::alloc_result try_alloc(slab::member& member, dice&) { return member.try_alloc(); }
};

/// Slots of two sizes, and of more that are added by and by: behind those that there are, or in other memory.
struct pool_kind {
    using shared = shm::var_slot_pool<shm::slab_widths{}, mortal_atomics>;
    using handle = shm::pool_handle;
    static constexpr std::array<shm::pool_class, 2> classes{shm::pool_class{6, 64}, shm::pool_class{3, 192}};
    static constexpr shm::pool_class more{2, 128};
    static constexpr shm::pool_shape shape{.classes = classes, .member_count = members};

    static std::size_t size_bytes() { return shared::required_size(shape) + 4 * slab_bytes(); }
    static std::size_t slab_bytes() {
        return slab::required_size({more.slot_count, more.slot_size, shape.slot_alignment, members});
    }
    static shm::result<shared> create(shm::region bytes) { return shared::create(bytes, shape); }
    static shm::result<shared> attach(shm::region bytes) { return shared::attach(bytes); }

    struct attached {
        explicit attached(const shared_memory& memory, const shared_memory& other)
            : bytes{memory.attach()}, annex{other.attach()} {
            meet();
        }
        shm::memfd_region bytes, annex;
        shared it = shared::attach(bytes.region()).value();

        /// `with` is the pool, or a member of it.
        template <class Pool>
        void meet(Pool& with) {
            with.meet().value();
            const auto there = with.attach_annex(annex.region());
            require(there || there.error().what == shm::fault_kind::not_ready,
                    "an annex: expected to attach to it, found \"" + (there ? "" : there.error().sentence()) + "\"");
        }
        void meet() { meet(it); }
        void grow(shared::member& member, dice& random) {
            using enum shm::fault_kind;
            const auto added = random.one_in(3)                                     ? it.add_annex(annex.region(), more)
                               : it.grown_size(more) <= bytes.region().size_bytes() ? it.grow(bytes.region(), more)
                                                                                    : shm::fault{too_small, 0, 0};
            const auto fine = {too_small, contended, already_created};
            require(
                added || std::ranges::find(fine, added.error().what) != fine.end(),
                "a pool that grows: expected another slab, found \"" + (added ? "" : added.error().sentence()) + "\"");
            meet(it);
            meet(member);
        }
        [[nodiscard]] std::vector<const slab*> slabs() const {
            std::vector<const slab*> all;
            for (std::uint32_t i = 0; i < it.slab_count(); ++i) all.push_back(&it.slab_at(i));
            return all;
        }
        static handle handle_of(std::size_t number, shm::slot_handle slot) {
            return {static_cast<std::uint32_t>(number), slot};
        }
        [[nodiscard]] std::span<std::byte> data(const shared::member& member, handle of) const {
            return member.data(of);
        }
    };

    static shm::pool_alloc_result try_alloc(shared::member& member, dice& random) {
        return member.try_alloc(1 + random.below(192));
    }
};

/// A slab or pool, two processes that die, and this one, until some have died.
///
/// Nothing is known of the dead but what lies in shared memory: which slots' words they own, which slots are neither in the
/// list nor anybody's, which handles wait in a ring. So many slots a reclaim returns. And then each slot is in the list, or
/// held here, or named by a message that waits.
template <class Kind>
class slots_world {
    using handle = typename Kind::handle;
    using member = typename Kind::shared::member;
    using attached = typename Kind::attached;
    using ring = shm::spsc_ring<handle, std::uint64_t, mortal_atomics>;
    static constexpr std::uint32_t capacity = 4;

    /// What goes to a child and comes from it.
    struct pair_of_rings {
        shared_memory to_memory{ring::required_size(capacity)}, from_memory{ring::required_size(capacity)};
    };
    struct attached_rings {
        explicit attached_rings(const pair_of_rings& of)
            : to_bytes{of.to_memory.attach()}, from_bytes{of.from_memory.attach()} {}
        shm::memfd_region to_bytes, from_bytes;
        [[nodiscard]] ring to() const { return ring::attach(to_bytes.region()).value(); }
        [[nodiscard]] ring from() const { return ring::attach(from_bytes.region()).value(); }

        /// The handles that wait in either.
        void add_to(std::set<std::uint64_t>& waiting) const {
            for (const auto* bytes : {&to_bytes, &from_bytes}) {
                const auto seen = ring::attach(bytes->region()).value().status();
                for (std::uint64_t at = seen.consumed; at != seen.published; ++at)
                    waiting.insert((*bytes->region().template get<handle>(sizeof(typename ring::header) +
                                                                          at % capacity * sizeof(handle)))
                                       ->word());
            }
        }
    };

public:
    slots_world(trial& on, const diaries& all) : on_{on}, all_{all} {
        for (const auto& each : rings_) {
            const auto to = each.to_memory.attach(), from = each.from_memory.attach();
            (void)ring::create(to.region(), capacity).value();
            (void)ring::create(from.region(), capacity).value();
            const attached_rings& here = here_rings_.emplace_back(each);
            to_.push_back(here.to().claim_producer(me_).value());
            from_.push_back(here.from().claim_consumer(me_).value());
        }
    }

    void run() {
        const std::size_t children = 1 + on_.random().below(rings_.size());
        for (int rounds = 0; rounds < 12 && !on_.over(); ++rounds) {
            std::vector<child> living;
            for (std::size_t i = 0; i < children; ++i) living.push_back(start(i));
            bury(on_.outlive(living, [this](bool stopped) { work_here(stopped); }));
            if (on_.random().one_in(3) || take_account().off_list != 0) recover_and_die();
            recover();
        }
        finish();
    }

private:
    [[nodiscard]] attached made() const {
        const auto bytes = memory_.attach();
        (void)Kind::create(bytes.region()).value();
        return attached{memory_, annex_};
    }

    [[nodiscard]] child start(std::size_t i) {
        return on_.start(all_[i], on_.draw(250), [this, i](dice& random) { live(i, random); });
    }

    void bury(const std::vector<shm::proof_of_death>& proofs) {
        for (const auto& proof : proofs) {
            dead_.push_back(proof);
            with_slots_.push_back(proof);
        }
    }

    /// What a child does until it dies.
    void live(std::size_t i, dice& random) {
        attached mine{memory_, annex_};
        const attached_rings rings{rings_[i]};
        const ring to = rings.to(), from = rings.from();
        const auto self = shm::this_process().value();
        for (int lives = 0;; ++lives) {
            auto joined = mine.it.join(self);
            require(joined.has_value(),
                    "a new member: expected to join, found \"" + (joined ? "" : joined.error().sentence()) + "\"");
            member& at_work = *joined;
            auto receives =
                taken_over(to, &ring::claim_consumer, &ring::take_over_consumer, to.status().consumer, self);
            auto sends =
                taken_over(from, &ring::claim_producer, &ring::take_over_producer, from.status().producer, self);
            std::vector<handle> held;
            for (auto calls = random.below(24); calls > 0; --calls) {
                switch (held.size() > 3 ? 5 : random.below(8)) {
                    case 0:
                    case 1: allocate(mine, at_work, held, random); break;
                    case 2: send(at_work, sends, held); break;
                    case 3: receive(mine, all_[i], at_work, receives, held); break;
                    case 4: adopt_back(at_work, held); break;
                    case 5: free_one(mine, at_work, held, random); break;
                    case 6: mine.grow(at_work, random); break;
                    default:
                        (void)mine.slabs().front()->free_count_approx();
                        (void)from.status();
                        ::sched_yield();
                }
            }
            // An entry of who leaves with slots stays its own until it is proven dead: a few may.
            while (!held.empty() && (lives >= 2 || !random.one_in(3))) free_one(mine, at_work, held, random);
        }
    }

    template <class Claim, class TakeOver>
    auto taken_over(const ring& of, Claim claim, TakeOver take_over, shm::peer_id holder, shm::peer_id self) const {
        for (const auto& proof : dead_)
            if (proof.peer() == holder) return (of.*take_over)(self, proof).value();
        return (of.*claim)(self).value();
    }

    static void allocate(const attached& mine, member& with, std::vector<handle>& held, dice& random) {
        const auto taken = Kind::try_alloc(with, random);
        require(
            taken || taken.status() == shm::alloc_status::would_block || taken.status() == shm::alloc_status::contended,
            "an allocation: expected a slot, or none now, found corrupt or too_large");
        if (!taken) return;
        fill(mine.data(with, *taken), random.number());
        held.push_back(*taken);
    }

    template <class Producer>
    static void send(member& with, Producer& through, std::vector<handle>& held) {
        if (held.empty() || through.is_full()) return;
        const handle sent = held.back();
        held.pop_back();
        with.mark_in_flight(sent).value();
        require(through.try_push(sent) == shm::push_result::pushed, "a ring with room: expected to push, found full");
    }

    /// Adopted before it is consumed: who dies in between leaves a handle that is stale by the time it is met again.
    template <class Consumer>
    static void receive(attached& mine, diary& tells, member& with, Consumer& through, std::vector<handle>& held) {
        mine.meet(with);
        const auto next = through.peek(1);
        if (next.empty()) return;
        const handle got = next[0].read();
        if (const auto adopted = with.adopt(got)) {
            require(number_of(mine.data(with, got)).has_value(), "a slot received: expected whole, found torn");
            held.push_back(got);
        } else {
            require(adopted.error().what == shm::slot_error::kind::generation_mismatch,
                    "a slot received: expected in flight, or stale, found \"" + adopted.error().sentence() + "\"");
            ++tells.again;
        }
        through.consume(1);
    }

    static void adopt_back(member& with, const std::vector<handle>& held) {
        if (held.empty()) return;
        with.mark_in_flight(held.back()).value();
        with.adopt(held.back()).value();
    }

    static void free_one(const attached& mine, member& with, std::vector<handle>& held, dice& random) {
        if (held.empty()) return;
        std::swap(held[random.below(held.size())], held.back());
        const handle one = held.back();
        held.pop_back();
        require(number_of(mine.data(with, one)).has_value(), "a slot of one's own: expected whole, found torn");
        const bool in_flight = random.one_in(3);
        if (in_flight) with.mark_in_flight(one).value();
        const auto freed = in_flight ? with.free(one) : with.free_allocated(one);
        require(freed.has_value(),
                "a slot: expected to be freed, found \"" + (freed ? "" : freed.error().sentence()) + "\"");
        require(!with.free_allocated(one), "a slot freed twice: expected to be refused, found it freed");
    }

    /// This process is one of them, and survives. With a peer that is stopped it gets on, too.
    void work_here(bool) {
        dice& random = on_.random();
        switch (held_.size() > 3 ? 1 : random.below(4)) {
            case 0: allocate(here_, *member_, held_, random); break;
            case 1: free_one(here_, *member_, held_, random); break;
            case 2: receive(here_, all_[3], *member_, from_[random.below(from_.size())], held_); break;
            default: send(*member_, to_[random.below(to_.size())], held_);
        }
        meet_all();
    }

    /// A slab that a child has added is met.
    void meet_all() {
        here_.meet();
        here_.meet(*member_);
    }

    /// Where everything is. The children are dead, and this process is not at anything.
    struct account {
        std::set<std::uint64_t> waiting;                  // handles in the rings
        std::map<std::uint64_t, std::uint64_t> of_alive;  // handle to word: held here or on its way, and not the dead's
        std::uint32_t of_dead = 0;                        // allocated by the dead, or sent and in no ring
        std::uint32_t off_list = 0;                       // free, and not in the list
        std::string stray;                                // the first that is nobody's
    };

    [[nodiscard]] account take_account() {
        meet_all();
        account now;
        now.waiting = waiting_in(here_rings_);
        std::set<std::uint64_t> mine;
        for (const handle each : held_) mine.insert(each.word());
        const auto slabs = here_.slabs();
        for (std::size_t number = 0; number < slabs.size(); ++number) {
            const auto& raw = slabs[number]->inner();
            const auto listed = walk(*slabs[number]);
            for (std::uint32_t i = 0; i < raw.slot_count(); ++i) {
                const auto is = raw.slot(i).now();
                const std::uint64_t word = Kind::attached::handle_of(number, {i, is.generation}).word();
                if (is.state == shm::slot_state::free) {
                    now.off_list += listed.contains(i) ? 0 : 1;
                    continue;
                }
                const std::string what = "slot " + std::to_string(i) + " of slab " + std::to_string(number);
                require(!listed.contains(i), what + ": expected out of the list of free slots, found in it");
                const bool in_flight = is.state == shm::slot_state::in_flight;
                if (in_flight ? now.waiting.contains(word) : mine.contains(word))
                    now.of_alive[word] = is.word();
                else if (is_dead(*slabs[number], is.owner))
                    ++now.of_dead;
                else if (now.stray.empty())
                    now.stray = what + ": expected free, held or named by a message, found " +
                                (in_flight ? "in flight" : "allocated") + " by entry " +
                                std::to_string(is.owner.entry) + ", incarnation " +
                                std::to_string(is.owner.incarnation);
            }
        }
        return now;
    }

    /// The slots in the list.
    [[nodiscard]] static std::set<std::uint32_t> walk(const slab& of) {
        const auto& raw = of.inner();
        constexpr std::uint32_t mask = (1U << shm::slot_handle::index_bits) - 1;
        std::set<std::uint32_t> listed;
        auto at = static_cast<std::uint32_t>(raw.shared().head.load(std::memory_order_relaxed) & mask);
        while (at != mask) {
            require(at < raw.slot_count() && listed.insert(at).second,
                    "the list of free slots: expected each once, found slot " + std::to_string(at) + " again");
            at = raw.slot(at).next.load(std::memory_order_relaxed);
        }
        return listed;
    }

    [[nodiscard]] static const slab::entry& entry_of(const slab& of, std::uint32_t i) {
        const auto* const header = reinterpret_cast<const std::byte*>(&of.inner().shared());
        return reinterpret_cast<const slab::entry*>(header + sizeof(slab::header))[i];
    }

    [[nodiscard]] bool is_dead(const slab& of, shm::slot_owner owner) const {
        if (owner.entry >= of.inner().member_count()) return false;
        const auto& entry = entry_of(of, owner.entry);
        if (entry.incarnation.load(std::memory_order_relaxed) != owner.incarnation) return false;
        return proven_dead(entry.claim.load(std::memory_order_relaxed));
    }
    [[nodiscard]] bool proven_dead(std::uint64_t peer) const {
        return std::ranges::any_of(dead_, [&](const auto& each) { return each.peer().word() == peer; });
    }

    [[nodiscard]] static std::set<std::uint64_t> waiting_in(const std::vector<attached_rings>& rings) {
        std::set<std::uint64_t> waiting;
        for (const auto& each : rings) each.add_to(waiting);
        return waiting;
    }

    /// All that can be had back of one that is dead, but for what waits in a ring.
    static shm::reclaimed reclaim(member& by, const shm::proof_of_death& dead, const std::set<std::uint64_t>& waiting) {
        shm::reclaimed all;
        for (int tries = 0; tries < 1000; ++tries) {
            const auto done = by.reclaim(dead, [&](handle sent) { return !waiting.contains(sent.word()); }).value();
            all = {all.returned + done.returned, done.in_flight, done.complete};
            if (all.complete) return all;
        }
        throw finding{"a recovery: expected to be complete, found that it never is"};
    }

    /// Another process recovers, and may die of it; now and then this one is at it too.
    void recover_and_die() {
        meet_all();
        const bool at_once = on_.random().one_in(3);
        const auto waiting = waiting_in(here_rings_);
        std::vector<child> recoverer;
        recoverer.push_back(on_.start(all_[2], on_.draw(400, 2), [this](dice&) {
            attached mine{memory_, annex_};
            auto joined = mine.it.join(shm::this_process().value()).value();
            std::vector<attached_rings> rings;
            for (const auto& each : rings_) rings.emplace_back(each);
            const auto in_its_sight = waiting_in(rings);
            for (const auto& each : with_slots_) (void)reclaim(joined, each, in_its_sight);
        }));
        const auto proofs = on_.outlive(
            recoverer,
            [&](bool stopped) {
                if (!at_once && !stopped) return void(::sched_yield());
                for (const auto& each : with_slots_)
                    on_.counts().slots_reclaimed += reclaim(*member_, each, waiting).returned;
            },
            true);
        on_.counts().recoverers_killed += recoverer.front().was_killed() ? 1 : 0;
        bury(proofs);
    }

    void recover() {
        const account before = take_account();
        require(before.stray.empty(), before.stray);
        std::uint32_t returned = 0;
        std::erase_if(with_slots_, [&](const auto& each) {
            const auto done = reclaim(*member_, each, before.waiting);
            returned += done.returned;
            return done.in_flight == 0;
        });
        on_.counts().slots_reclaimed += returned;
        require(returned == before.of_dead + before.off_list,
                "a recovery: expected " + std::to_string(before.of_dead) + " slots that the dead owned and " +
                    std::to_string(before.off_list) + " between list and owner, found " + std::to_string(returned) +
                    " returned");
        const account after = take_account();
        require(after.stray.empty(), after.stray);
        require(after.of_dead + after.off_list == 0, "after a recovery: expected each free slot in the list, found " +
                                                         std::to_string(after.off_list) + " out of it and " +
                                                         std::to_string(after.of_dead) + " of the dead");
        require(after.of_alive == before.of_alive, "a recovery: expected what others have untouched, found it changed");
        check_entries();
    }

    /// An entry is nobody's, or this process's, or that of a dead one of whom something is still on its way.
    void check_entries() {
        for (const slab* each : here_.slabs()) {
            for (std::uint32_t i = 0; i < each->inner().member_count(); ++i) {
                const auto& entry = entry_of(*each, i);
                const std::uint64_t claim = entry.claim.load(std::memory_order_relaxed);
                const bool waits =
                    std::ranges::any_of(with_slots_, [&](const auto& dead) { return dead.peer().word() == claim; });
                require(claim == 0 || claim == me_.word() || waits,
                        "an entry of the table of members: expected nobody's, found that of process " +
                            std::to_string(shm::peer_id::from_word(claim).id));
            }
        }
    }

    /// What is on its way is received, and then every slot is free.
    void finish() {
        for (std::size_t i = 0; i < rings_.size(); ++i) {
            while (from_[i].size() != 0) receive(here_, all_[3], *member_, from_[i], held_);
            const attached_rings& here = here_rings_[i];
            auto mine = taken_over(here.to(), &ring::claim_consumer, &ring::take_over_consumer,
                                   here.to().status().consumer, me_);
            while (mine.size() != 0) receive(here_, all_[3], *member_, mine, held_);
        }
        recover();
        require(with_slots_.empty(), "with nothing on its way: expected no slot of the dead, found some in flight");
        for (std::size_t i = 0; i < 4; ++i) on_.counts().redelivered += all_[i].again.exchange(0);
        while (!held_.empty()) free_one(here_, *member_, held_, on_.random());
        std::size_t free = 0, all = 0;
        for (const slab* each : here_.slabs()) {
            free += walk(*each).size();
            all += each->slot_count();
        }
        require(free == all,
                "at the end: expected " + std::to_string(all) + " free slots, found " + std::to_string(free));
    }

    trial& on_;
    const diaries& all_;
    const shm::peer_id me_ = shm::this_process().value();
    const shared_memory memory_{Kind::size_bytes()};
    const shared_memory annex_{64 + pool_kind::slab_bytes()};
    const std::array<pair_of_rings, 2> rings_;
    std::vector<attached_rings> here_rings_;
    std::vector<typename ring::producer> to_;
    std::vector<typename ring::consumer> from_;
    std::vector<shm::proof_of_death> dead_, with_slots_;
    std::vector<handle> held_;
    attached here_ = made();
    std::optional<member> member_{here_.it.join(me_).value()};
};

template <class Kind>
void try_slots(trial& on) {
    using shared = typename Kind::shared;
    const diaries all;
    while (!on.over()) {
        try_creation(on, all[0], Kind::size_bytes(), &Kind::create, &Kind::attach, [](const shared& made) {
            require(made.join({1, 1}).has_value(), "what was created: expected to be joined, found it refused");
        });
        slots_world<Kind>{on, all}.run();
    }
}

}  // namespace

void try_treiber_slab(trial& on) { try_slots<slab_kind>(on); }
void try_var_slot_pool(trial& on) { try_slots<pool_kind>(on); }

}  // namespace kill_test
