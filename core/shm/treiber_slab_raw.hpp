// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include <atomic>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <shm/header_description.hpp>
#include <shm/role.hpp>
#include <shm/slot_meta.hpp>
#include <shm/treiber_slab_header.hpp>

namespace shm {
inline namespace v1 {

/// What a slab is made of.
struct slab_shape {
    std::uint32_t slot_count = 0;       ///< 1 to 2^24 - 1
    std::uint64_t slot_size = 0;        ///< in bytes; rounded up to a multiple of the alignment
    std::uint32_t slot_alignment = 64;  ///< in bytes, a power of two up to 4096
    std::uint32_t member_count = 16;    ///< 1 to 255: threads, of all processes together, that allocate and give back
};

/// What a reclaim has done.
struct reclaimed {
    std::uint32_t returned = 0;   ///< slots of the dead that are free again by this call
    std::uint32_t in_flight = 0;  ///< slots that the dead had sent and nobody has received; they stay as they are
    bool complete = true;         ///< false: the list never held still for a walk; call again
};

/// Equal slots and a free list of them, for any number of threads of any number of processes. This is the coordination
/// alone, in indices; `treiber_slab` is the same with the slots' bytes, placed in a region: prefer it.
///
/// Promise    a slot belongs to one allocation at a time. Who allocates a slot sees all that was done in it before it was
///            given back. A handle of an earlier allocation is refused. Slots come last in, first out
/// Progress   lock-free: somebody's call succeeds; `contended` after Widths.attempts tries in a row. reclaim needs the list to
///            hold still for a walk of it, at most twice for each entry; after Widths.walks it says that it is not complete
/// Callers    each member is used by one thread at a time; anyone may join, at any time
/// Shape      treiber_slab_header (128 bytes), the members (64 bytes each), the slots' slot_meta (16 bytes each)
/// Edges      [ready]     state, from create to attach:            the header, the table and the list are whole
///            [recycle]   head, from giving back to allocating:    all use of the slot is over, and its link is written
///            [off-list]  a slot's word, from who took the slot off the list, by way of all changes of the word, to who
///                        meets it in a generation of which the head that it has read knows nothing: the head has changed
///            [joined]    incarnation, from a new holder of an entry to who recovers its predecessor: the entry is not
///                        the dead one's any more
/// Refuses    create: `count`, `capacity`, `element_size`, `already_created`. attach: `not_ready`, `magic`, `layout_version`,
///            `layout_hash`, `count`, `capacity`, `element_size`, `too_small`. join: `peer_id`, `count`
/// Crash      wherever a member dies, each slot is in the list, or its own, or named by its entry's `taking` or `giving`:
///            reclaim finds it. A reclaim that is killed is finished by the next one of the same dead, or of the
///            reclaimer; any number may be at it
/// Trust      hostile peers: each index is checked before it is used, each walk and each loop is bounded, and nonsense
///            latches `corrupt` in the member that met it. Who may write the words can hand one slot to two: the bytes of
///            slots are as untrusted as the peers
/// Wraps      the tag counts slots taken: a thread that pauses in one allocation while exactly a multiple of 2^40 slots are
///            taken, and meets the same slot on top, takes a wrong link. At 10 ns each, that is a pause of three hours,
///            met to the operation. A handle kept while its slot is allocated a multiple of 2^40 - 1 times is taken for
///            fresh, and an entry's holder for the 16,383rd before it
/// Source     Treiber's stack (1986) with a counted head (IBM System/370). Recovery by intent words written before the
///            compare-exchange is ours
template <slab_widths Widths = slab_widths{}, atomics_layer Atomics = std_atomics>
class treiber_slab_raw {
    using enum std::memory_order;
    static_assert(Widths.generation_bits >= 2 && Widths.generation_bits <= slot_handle::generation_bits);
    static_assert(Widths.tag_bits <= 40 && Widths.incarnation_bits >= 1 && Widths.incarnation_bits <= 14);
    static_assert(Widths.attempts >= 1 && Widths.walks >= 1);

public:
    using header = treiber_slab_header<Atomics>;  ///< what lies in front
    using entry = treiber_slab_member<Atomics>;   ///< of the table of members
    using meta = slot_meta<Widths, Atomics>;      ///< what is kept of each slot

    static constexpr std::uint32_t max_slots =
        (std::uint32_t{1} << slot_handle::index_bits) - 1;  ///< one index is none
    static constexpr std::uint32_t max_members = 255;       ///< an entry is 8 bits
    static constexpr std::uint32_t max_alignment = 4096;    ///< a page

    /// What separately built peers must agree on beyond the fields that the header spells out.
    [[nodiscard]] static constexpr std::uint64_t layout_hash() noexcept {
        return header_description::hash_of({header::current_version, sizeof(header), sizeof(entry), sizeof(meta),
                                            slot_handle::index_bits, Widths.generation_bits, Widths.tag_bits,
                                            Widths.incarnation_bits});
    }

    class member;

    /// Makes a slab over all of `slots`, all free, the first on top. The bytes must be zero. Of two creators, one is
    /// refused `already_created`. `slot_size` and `slot_alignment` are the caller's to keep.
    [[nodiscard]] static result<treiber_slab_raw> create(header& shared, std::span<entry> members,
                                                         std::span<meta> slots, std::uint64_t slot_size,
                                                         std::uint32_t slot_alignment) noexcept {
        if (slots.size() > max_slots) return fault{fault_kind::count, max_slots, slots.size(), "slots"};
        if (members.size() > max_members) return fault{fault_kind::count, max_members, members.size(), "members"};
        const slab_shape shape{static_cast<std::uint32_t>(slots.size()), slot_size, slot_alignment,
                               static_cast<std::uint32_t>(members.size())};
        if (const auto fault = wrong(shape)) return *fault;
        std::uint32_t state = header::state_none;
        if (!shared.state.compare_exchange_strong(state, header::state_initialising, relaxed,  // nothing to see yet
                                                  relaxed))                                    // refused all the same
            return fault{fault_kind::already_created, header::state_none, state};
        shared.magic.write(header::magic_value);
        shared.layout_hash.write(layout_hash());
        shared.slot_size.write(slot_size);
        shared.slot_alignment.write(slot_alignment);
        shared.slot_count.write(shape.slot_count);
        shared.member_count.write(shape.member_count);
        shared.layout_version.write(header::current_version);
        for (std::uint32_t i = 0; i < shape.slot_count; ++i) slots[i].init(i + 1 < shape.slot_count ? i + 1 : none);
        shared.head.store(head_of(0, 0), relaxed);         // [ready] follows
        shared.state.store(header::state_ready, release);  // [ready]
        return treiber_slab_raw{shared, members, slots};
    }

    /// Attaches to the slab in `shared`, whose members and slots must fit into what is given. Waits for its creator until
    /// `until`; the default does not wait. Nothing of the header is believed before it has been checked, or read again after.
    [[nodiscard]] static result<treiber_slab_raw> attach(header& shared, std::span<entry> members,
                                                         std::span<meta> slots, deadline until = {}) noexcept {
        const auto shape = shape_of(shared, until);
        if (!shape) return shape.error();
        if (shape->member_count > members.size())
            return fault{fault_kind::too_small, shape->member_count, members.size(), "members"};
        if (shape->slot_count > slots.size())
            return fault{fault_kind::too_small, shape->slot_count, slots.size(), "slots"};
        return treiber_slab_raw{shared, members.first(shape->member_count), slots.first(shape->slot_count)};
    }

    /// The shape of the slab in `shared`, checked; waits and refuses as `attach` does.
    [[nodiscard]] static result<slab_shape> shape_of(const header& shared, deadline until = {}) noexcept {
        const auto settled = [](std::uint32_t state) {
            return state != header::state_none && state != header::state_initialising;
        };
        const auto state = Atomics::await_until(shared.state, acquire, settled, until);  // [ready]
        if (!state)
            return fault{fault_kind::not_ready, header::state_ready,
                         shared.state.load(relaxed)};  // to say how far it got
        if (const auto magic = shared.magic.read(); magic != header::magic_value)
            return fault{fault_kind::magic, header::magic_value, magic};
        if (*state != header::state_ready) return fault{fault_kind::not_ready, header::state_ready, *state};
        if (const auto version = shared.layout_version.read(); version != header::current_version)
            return fault{fault_kind::layout_version, header::current_version, version};
        if (const auto hash = shared.layout_hash.read(); hash != layout_hash())
            return fault{fault_kind::layout_hash, layout_hash(), hash};
        const slab_shape shape{shared.slot_count.read(), shared.slot_size.read(), shared.slot_alignment.read(),
                               shared.member_count.read()};
        if (const auto fault = wrong(shape)) return *fault;
        return shape;
    }

    /// Takes an entry of the table, which nobody may hold, for one thread. It is given up when the member is destroyed.
    [[nodiscard]] result<member> join(peer_id me) const noexcept {
        for (std::uint32_t i = 0; i < member_count_; ++i) {
            auto place = role<Atomics>::claim(members_[i].claim, me, "member");
            if (place) return member{*this, static_cast<std::uint8_t>(i), *std::move(place), me};
            if (place.error().what != fault_kind::busy) return place.error();
        }
        return fault{fault_kind::count, member_count_, std::uint64_t{member_count_} + 1, "members"};
    }

    /// How many slots there are.
    [[nodiscard]] std::uint32_t slot_count() const noexcept { return slot_count_; }

    /// How many members there can be.
    [[nodiscard]] std::uint32_t member_count() const noexcept { return member_count_; }

    /// How many slots are free; while the slab is in use, how many there were about now. Looks at every slot.
    [[nodiscard]] std::uint32_t free_count_approx() const noexcept {
        std::uint32_t free = 0;
        for (std::uint32_t i = 0; i < slot_count_; ++i) free += slots_[i].state() == slot_state::free ? 1 : 0;
        return free;
    }

    /// What is kept of a slot. Precondition: `index` is below slot_count().
    [[nodiscard]] meta& slot(std::uint32_t index) const noexcept {
        assert(index < slot_count_);
        return slots_[index];
    }

    /// The header, in shared memory.
    [[nodiscard]] header& shared() const noexcept { return *shared_; }

private:
    static constexpr std::uint32_t none = max_slots;  // in place of an index
    static constexpr std::uint64_t tag_mask = (std::uint64_t{1} << Widths.tag_bits) - 1;

    template <slab_widths, atomics_layer>
    friend class treiber_slab;

    treiber_slab_raw(header& shared, std::span<entry> members, std::span<meta> slots) noexcept
        : shared_{&shared},
          members_{members.data()},
          slots_{slots.data()},
          member_count_{static_cast<std::uint32_t>(members.size())},
          slot_count_{static_cast<std::uint32_t>(slots.size())} {}

    [[nodiscard]] static constexpr std::uint64_t head_of(std::uint32_t index, std::uint64_t tag) noexcept {
        return (tag & tag_mask) << slot_handle::index_bits | index;
    }
    [[nodiscard]] static constexpr std::uint32_t index_of(std::uint64_t head) noexcept { return head & max_slots; }
    [[nodiscard]] static constexpr std::uint64_t tag_of(std::uint64_t head) noexcept {
        return head >> slot_handle::index_bits;
    }

    /// What is wrong with a shape.
    [[nodiscard]] static constexpr std::optional<fault> wrong(slab_shape shape) noexcept {
        if (shape.slot_count == 0 || shape.slot_count > max_slots)
            return fault{fault_kind::count, max_slots, shape.slot_count, "slots"};
        if (shape.member_count == 0 || shape.member_count > max_members)
            return fault{fault_kind::count, max_members, shape.member_count, "members"};
        if (!std::has_single_bit(shape.slot_alignment) || shape.slot_alignment > max_alignment)
            return fault{fault_kind::capacity, max_alignment, shape.slot_alignment, "slot alignment"};
        if (shape.slot_size == 0 || shape.slot_size % shape.slot_alignment != 0)
            return fault{fault_kind::element_size,
                         shape.slot_size / shape.slot_alignment * shape.slot_alignment + shape.slot_alignment,
                         shape.slot_size, "slot size"};
        return std::nullopt;
    }

    header* shared_;
    entry* members_;
    meta* slots_;
    std::uint32_t member_count_;
    std::uint32_t slot_count_;
};

/// Who allocates and gives back: one entry of the table. Move-only.
///
/// A handle may be freed by any member. An owner is there for `reclaim`, not for permission.
template <slab_widths Widths, atomics_layer Atomics>
class treiber_slab_raw<Widths, Atomics>::member {
    using errors = slot_error::kind;

public:
    /// What was moved from reports `corrupt`: two live members would share an entry.
    member(member&& other) noexcept
        : slab_{other.slab_},
          me_{other.me_},
          peer_{other.peer_},
          role_{std::move(other.role_)},
          unfinished_{std::exchange(other.unfinished_, {})},
          corrupt_{std::exchange(other.corrupt_, true)},
          nonsense_at_{other.nonsense_at_} {}

    /// Likewise; the member that was here leaves.
    member& operator=(member&& other) noexcept {
        if (this == &other) return *this;
        leave();
        slab_ = other.slab_;
        me_ = other.me_;
        peer_ = other.peer_;
        role_ = std::move(other.role_);
        unfinished_ = std::exchange(other.unfinished_, {});
        corrupt_ = std::exchange(other.corrupt_, true);
        nonsense_at_ = other.nonsense_at_;
        return *this;
    }

    /// Gives the entry up. If it still has slots allocated, the entry stays its own until a proof of death, so that they are
    /// found. What it has sent is its receivers' to give back; what nobody can receive, `reclaim_in_flight` finds.
    ~member() { leave(); }

    /// Takes a free slot: a handle, `would_block`, `contended` or `corrupt`.
    [[nodiscard]] alloc_result try_alloc() noexcept {
        if (!finish()) return corrupt_ ? alloc_status::corrupt : alloc_status::contended;
        for (std::uint32_t tries = 0; tries < Widths.attempts; ++tries) {
            typename Atomics::retry_loop round;
            std::uint64_t head = slab_.shared_->head.load(acquire);  // [recycle]
            const std::uint32_t top = index_of(head);
            if (top == none) return alloc_status::would_block;
            if (top >= slab_.slot_count_) return nonsense(top);
            meta& slot = slab_.slots_[top];
            std::uint64_t word = slot.word.load(acquire);  // [off-list]
            const std::uint32_t below =
                slot.next.load(relaxed);                      // written before the slot was on top, or head has changed
            if (slab_.shared_->head.load(relaxed) != head) {  // [off-list] shows a change that the word tells of
                if (tries + 1 < Widths.attempts) round.retry();
                continue;
            }
            const auto is = slot_word::from_word(word);
            if (is.state != slot_state::free || is.generation == 0) return nonsense(top);
            if (below != none && below >= slab_.slot_count_) return nonsense(below);

            // The slot has been seen on the list in this generation: whoever finds it off the list and still free, when we are
            // dead, knows that it was taken off.
            round.prepare(mine().taking, slot_handle{top, is.generation}.word());  // for who finds us dead
            if (!slab_.shared_->head.compare_exchange_strong(head, head_of(below, tag_of(head) + 1),
                                                             relaxed,     // the load has acquired
                                                             relaxed)) {  // looked at again
                if (tries + 1 < Widths.attempts) round.retry();
                continue;
            }
            if (slot.word.compare_exchange_strong(word, slot_word{is.generation, me_, slot_state::allocated}.word(),
                                                  release,   // [off-list], [allocated]
                                                  relaxed))  // a reclaim has taken it: another
                return slot_handle{top, is.generation};
        }
        return alloc_status::contended;
    }

    /// Says that an allocated slot has been sent: from now on `free` gives it back, and `adopt` takes it on. Who cannot send
    /// it after all, because the queue is full, adopts it back.
    [[nodiscard]] result<void, slot_error> mark_in_flight(slot_handle handle) noexcept {
        return transition(handle, slot_state::allocated, slot_state::in_flight, std::nullopt);
    }

    /// Takes on what another has sent: the slot is allocated, and this member's.
    [[nodiscard]] result<void, slot_error> adopt(slot_handle handle) noexcept {
        return transition(handle, slot_state::in_flight, slot_state::allocated, me_);
    }

    /// Gives back a slot that is in flight. After `contended` it may be called again with the same handle; other calls
    /// first finish this one.
    [[nodiscard]] result<void, free_error> free(slot_handle handle) noexcept {
        return give_back(handle, slot_state::in_flight);
    }

    /// Gives back a slot that is allocated, likewise.
    [[nodiscard]] result<void, free_error> free_allocated(slot_handle handle) noexcept {
        return give_back(handle, slot_state::allocated);
    }

    /// Gives back all slots that a dead peer had allocated, was about to allocate or was giving back, in each entry that it
    /// held, and gives up those entries, so that others may have them. What it had sent stays in flight, and keeps
    /// its entry, unless `lost(slot_handle)` says that nobody can receive it any more. Not while the peer only sleeps:
    /// that is what the proof is for.
    template <class Lost>
    [[nodiscard]] result<reclaimed, slot_error> reclaim(const proof_of_death& dead, Lost lost) noexcept {
        if (const auto refused = refuses_copy()) return *refused;
        if (!finish()) return why_unfinished();
        reclaimed done;
        for (std::uint32_t i = 0; i < slab_.member_count_; ++i) {
            entry& of = slab_.members_[i];
            const std::uint64_t holder = dead.peer().word();
            if (of.claim.load(relaxed) != holder) continue;  // whatever the dead has written is seen: by the proof
            const slot_owner owner{static_cast<std::uint8_t>(i),
                                   static_cast<std::uint16_t>(of.incarnation.load(acquire))};  // [joined]
            if (of.claim.load(relaxed) != holder) continue;  // [joined] shows the successor, if it was a successor's
            const std::uint32_t in_flight_before = done.in_flight;
            bool clean = true;
            for (std::uint32_t slot = 0; slot < slab_.slot_count_ && unfinished_ == slot_handle{}; ++slot)
                clean = recover_owned(slot, owner, lost, done) && clean;
            const auto taking = slot_handle::from_word(of.taking.load(relaxed));  // by the proof
            const auto giving = slot_handle::from_word(of.giving.load(relaxed));  // by the proof
            clean = clean && recover_intended(taking, nullptr, done) && recover_intended(giving, &owner, done);
            if (corrupt_) return why_unfinished();
            done.complete = done.complete && clean;
            if (unfinished_ != slot_handle{}) return done;    // contended: to be finished first
            if (clean && done.in_flight == in_flight_before)  // given up as the role that is taken over here ends
                (void)role<Atomics>::take_over(of.claim, peer_, dead, "member");  // refused: somebody else was faster
        }
        return done;
    }

    /// The same; what the dead has sent stays in flight.
    [[nodiscard]] result<reclaimed, slot_error> reclaim(const proof_of_death& dead) noexcept {
        return reclaim(dead, [](slot_handle) { return false; });
    }

    /// Gives back each slot in flight, whoever sent it, alive, dead or gone, of which `lost(slot_handle)` says that nobody can
    /// receive it any more: of a queue that has been thrown away, say. A receiver that comes too late is refused.
    template <class Lost>
    [[nodiscard]] result<reclaimed, slot_error> reclaim_in_flight(Lost lost) noexcept {
        if (const auto refused = refuses_copy()) return *refused;
        if (!finish()) return why_unfinished();
        reclaimed done;
        for (std::uint32_t i = 0; i < slab_.slot_count_; ++i) {
            const slot_word is = slab_.slots_[i].now();
            if (is.state != slot_state::in_flight) continue;
            const slot_handle sent{i, is.generation};
            if (!lost(sent)) {
                ++done.in_flight;
                continue;
            }
            const auto freed = free(sent);
            if (freed)
                ++done.returned;
            else if (freed.error().what == errors::contended || corrupt_)
                return freed.error();
        }
        return done;
    }

    /// As which this member owns slots.
    [[nodiscard]] slot_owner owner() const noexcept { return me_; }

    /// Whether this member has ever met nonsense. Then each of its calls is refused.
    [[nodiscard]] bool corrupt() const noexcept { return corrupt_; }

private:
    friend class treiber_slab_raw;
    enum class whereabouts : std::uint8_t { on_the_list, off_the_list, unknown };

    member(const treiber_slab_raw& slab, std::uint8_t place, role<Atomics> claimed, peer_id peer) noexcept
        : slab_{slab}, me_{place, 0}, peer_{peer}, role_{std::move(claimed)} {
        const std::uint32_t before = mine().incarnation.load(relaxed);  // handed over with the role
        me_.incarnation = static_cast<std::uint16_t>((before + 1) & ((1U << Widths.incarnation_bits) - 1));
        if (me_.incarnation == 0) me_.incarnation = 1;
        mine().incarnation.store(me_.incarnation, release);  // [joined]
    }

    [[nodiscard]] entry& mine() const noexcept { return slab_.members_[me_.entry]; }

    alloc_status nonsense(std::uint32_t at) noexcept {
        corrupt_ = true;
        nonsense_at_ = at;
        slab_.shared_->reported_corrupt.store(1, relaxed);  // for people to read
        return alloc_status::corrupt;
    }
    /// To a forked child, which has a mere copy of the member that joined.
    [[nodiscard]] std::optional<slot_error> refuses_copy() const noexcept {
        if (corrupt_ || role_.held()) return std::nullopt;
        return slot_error{errors::wrong_process, static_cast<std::uint64_t>(role_.process()),
                          static_cast<std::uint64_t>(::getpid())};
    }
    [[nodiscard]] slot_error why_unfinished() const noexcept {
        if (corrupt_) return {errors::corrupt, slab_.slot_count_, nonsense_at_};
        return {errors::contended, Widths.attempts, 0};
    }

    [[nodiscard]] result<void, slot_error> transition(slot_handle handle, slot_state from, slot_state to,
                                                      std::optional<slot_owner> owner) noexcept {
        if (corrupt_) return why_unfinished();
        if (handle.index() >= slab_.slot_count_)
            return slot_error{errors::invalid_index, slab_.slot_count_, handle.index()};
        return slab_.slots_[handle.index()].try_transition(handle.generation(), from, to, owner);
    }

    [[nodiscard]] result<void, free_error> give_back(slot_handle handle, slot_state from) noexcept {
        const bool half_done = unfinished_ == handle && handle != slot_handle{};
        if (!finish()) return why_unfinished();
        if (half_done) return {};
        typename Atomics::retry_loop intent;
        intent.prepare(mine().giving, intent_to_give(handle));  // for who finds us dead
        if (auto changed = transition(handle, from, slot_state::free, me_); !changed) return changed;
        unfinished_ = handle;
        if (!finish()) return why_unfinished();
        return {};
    }

    /// What says, to who finds us dead, that we are about to end this allocation and to put the slot on the list.
    [[nodiscard]] static std::uint64_t intent_to_give(slot_handle handle) noexcept {
        return slot_handle{handle.index(), meta::after(handle.generation())}.word();
    }

    /// Puts the slot on the list that we have made free and not yet put there. False: `contended` or `corrupt`.
    bool finish() noexcept {
        if (corrupt_) return false;
        if (unfinished_ == slot_handle{}) return true;
        const std::uint32_t index = unfinished_.index();
        for (std::uint32_t tries = 0; tries < Widths.attempts; ++tries) {
            typename Atomics::retry_loop round;
            std::uint64_t head = slab_.shared_->head.load(relaxed);  // nothing of the slot below is used
            const std::uint32_t top = index_of(head);
            if (top != none && top >= slab_.slot_count_) return nonsense(top), false;
            round.prepare(slab_.slots_[index].next, top);  // [recycle] follows
            if (slab_.shared_->head.compare_exchange_strong(head, head_of(index, tag_of(head)), release,  // [recycle]
                                                            relaxed)) {  // looked at again
                unfinished_ = {};
                mine().giving.store(0, relaxed);  // it is on the list: nobody need look for it when we are dead
                return true;
            }
            if (tries + 1 < Widths.attempts) round.retry();
        }
        return false;
    }

    /// Ends the allocation of a slot of the dead, and puts the slot on the list. False: not yet.
    bool recover(std::uint32_t index, slot_word is, typename Atomics::retry_loop& round, reclaimed& done) noexcept {
        const slot_handle ended{index, is.generation};
        round.prepare(mine().giving, intent_to_give(ended));  // for who finds us dead
        std::uint64_t word = is.word();
        if (!slab_.slots_[index].word.compare_exchange_strong(
                word, slot_word{meta::after(is.generation), me_, slot_state::free}.word(), release,  // [off-list]
                relaxed))                                                                            // looked at again
            return false;
        ++done.returned;
        unfinished_ = ended;
        return finish();
    }

    /// A slot that the dead owned. False: not yet.
    template <class Lost>
    bool recover_owned(std::uint32_t index, slot_owner owner, Lost& lost, reclaimed& done) noexcept {
        for (std::uint32_t tries = 0; tries < Widths.attempts; ++tries) {
            typename Atomics::retry_loop round;
            const slot_word is = slab_.slots_[index].now();
            if (is.owner != owner || is.state == slot_state::free) return true;
            if (is.generation == 0) return nonsense(index), false;
            if (is.state != slot_state::allocated && !lost(slot_handle{index, is.generation})) {
                ++done.in_flight;
                return true;
            }
            if (recover(index, is, round, done)) return true;
            if (unfinished_ != slot_handle{} || corrupt_) return false;
            if (tries + 1 < Widths.attempts) round.retry();
        }
        return false;
    }

    /// A slot that the dead was about to take off the list, or, of `owner`, to put there. Where it was seen on the list in
    /// that very generation, or only the dead could have put it there, and it is free and not on the list now, it is ours to
    /// put there; a live member that has just taken it off finds its word changed, and takes another. False: not yet.
    bool recover_intended(slot_handle slot, const slot_owner* owner, reclaimed& done) noexcept {
        if (slot == slot_handle{} || slot.index() >= slab_.slot_count_) return true;
        typename Atomics::retry_loop round;
        const slot_word is = slab_.slots_[slot.index()].now();
        if (is.generation != slot.generation() || is.state != slot_state::free) return true;
        if (owner != nullptr && is.owner != *owner) return true;
        switch (look_for(slot.index())) {
            case whereabouts::on_the_list: return true;
            case whereabouts::unknown: return false;
            case whereabouts::off_the_list: break;
        }
        return recover(slot.index(), is, round, done) || (unfinished_ == slot_handle{} && !corrupt_);
    }

    /// Walks the list, until it has held still meanwhile.
    [[nodiscard]] whereabouts look_for(std::uint32_t index) noexcept {
        for (std::uint32_t tries = 0; tries < Widths.walks; ++tries) {
            typename Atomics::retry_loop round;
            std::uint64_t head = slab_.shared_->head.load(acquire);  // [recycle]
            std::uint32_t at = index_of(head);
            std::uint32_t steps = 0;
            for (; at != none && at != index && at < slab_.slot_count_ && steps < slab_.slot_count_; ++steps)
                at = slab_.slots_[at].next.load(relaxed);  // [recycle] has shown it, if the head has not changed
            // An exchange and not a load, which might not be the newest.
            if (slab_.shared_->head.compare_exchange_strong(head, head, relaxed,  // the tag says it all
                                                            relaxed)) {           // looked at again
                if (at == index) return whereabouts::on_the_list;
                if (at == none) return whereabouts::off_the_list;
                nonsense(at);  // out of range, or a circle
                return whereabouts::unknown;
            }
            if (tries + 1 < Widths.walks) round.retry();
        }
        return whereabouts::unknown;
    }

    /// Before the role is given up.
    void leave() noexcept {
        if (!role_.held()) return;
        bool owns = !finish();
        for (std::uint32_t i = 0; i < slab_.slot_count_ && !owns; ++i) {
            const slot_word is = slab_.slots_[i].now();
            owns = is.owner == me_ && is.state == slot_state::allocated;
        }
        if (owns) role_.keep();
    }

    treiber_slab_raw slab_;
    slot_owner me_;
    peer_id peer_;
    role<Atomics> role_;      // none is held: moved from
    slot_handle unfinished_;  // ended, and not yet on the list
    bool corrupt_ = false;
    std::uint32_t nonsense_at_ = none;  // to say where it was
};

}  // namespace v1
}  // namespace shm
