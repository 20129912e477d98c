// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Whether a history of concurrent calls has an order that explains its answers: Wing and Gong's search ("Testing and
// Verifying Concurrent Objects", 1993), with a memory of what has been tried (Lowe, "Testing for Linearizability", 2017).
#include <bit>
#include <cstdint>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace shm::model {

/// What a call was told, as numbers.
using answer = std::vector<std::uint64_t>;

/// A set of threads or of operations.
using bits = std::uint32_t;
inline constexpr std::size_t most_calls = 32;
[[nodiscard]] constexpr bits bit(std::size_t number) { return bits{1} << number; }

/// In place of a thread: before the threads begin and after they have ended, with nobody else at it.
inline constexpr unsigned alone = 31;

template <class Call>
struct operation {
    unsigned thread;
    Call made;
    answer told;
    bits after = 0;  // the operations of its history that happened before it
};
template <class Call>
using history = std::vector<operation<Call>>;

/// Whether there is an order of all operations, in keeping with what happened before what, in which the reference tells
/// the threads of `insiders` what they were told. With all of them inside that is linearizability.
///
/// An operation of another thread is one that `may_see` lets take place there. A reference without it knows no answers
/// that may be late, and then everybody is inside. One of another thread may take place in two steps, if `may_see_half` lets
/// the first take place there, and `may_see` the rest later.
template <class Reference>
class order_search {
public:
    order_search(const history<typename Reference::call>& judged, bits insiders)
        : judged_{judged}, insiders_{insiders | bit(alone)} {}

    [[nodiscard]] bool finds_one_from(const Reference& start) { return extends(start, 0, 0); }

private:
    bool extends(const Reference& now, bits done, bits half_done) {
        if (static_cast<std::size_t>(std::popcount(done)) == judged_.size()) return true;
        if (!tried_.emplace(done, half_done, now).second) return false;
        for (std::size_t i = 0; i < judged_.size(); ++i) {
            if ((done & bit(i)) != 0 || (judged_[i].after & ~done) != 0) continue;
            if (Reference next = now; accepts(next, judged_[i]) && extends(next, done | bit(i), half_done & ~bit(i)))
                return true;
            if constexpr (requires(Reference half) { half.may_see_half(judged_[i].made); })
                if (Reference half = now; ((insiders_ & bit(judged_[i].thread)) | (half_done & bit(i))) == 0 &&
                                          half.may_see_half(judged_[i].made) && extends(half, done, half_done | bit(i)))
                    return true;
        }
        return false;
    }

    bool accepts(Reference& now, const operation<typename Reference::call>& next) const {
        if (next.thread == alone) return perform(next.made, now) == next.told;
        if constexpr (requires { now.may_see(next.made, next.told); })
            if ((insiders_ & bit(next.thread)) == 0) return now.may_see(next.made, next.told);
        if constexpr (requires { now.may_tell(next.made, next.told); }) return now.may_tell(next.made, next.told);
        return perform(next.made, now) == next.told;
    }

    const history<typename Reference::call>& judged_;
    bits insiders_;
    std::set<std::tuple<bits, bits, Reference>> tried_;
};

template <class Reference>
[[nodiscard]] bool linearizable(const Reference& start, const history<typename Reference::call>& judged) {
    constexpr bits everybody = ~bits{0};
    return order_search<Reference>{judged, everybody}.finds_one_from(start);
}

/// A thread whose answers no order explains; `alone` when there is none. Each thread may have an order of its own.
template <class Reference>
[[nodiscard]] unsigned misled(const Reference& start, const history<typename Reference::call>& judged,
                              unsigned threads) {
    for (unsigned t = 0; t < threads; ++t)
        if (!order_search<Reference>{judged, bit(t)}.finds_one_from(start)) return t;
    return alone;
}

/// For a primitive of several words, whose calls may take place word by word: a part of it whose answers no order explains.
/// Each part may have an order of its own, but in it every call is one that nobody sees half done, and no answer is late.
template <class Reference>
[[nodiscard]] std::optional<std::size_t> unexplained_part(const Reference& start,
                                                          const history<typename Reference::call>& judged) {
    for (std::size_t part = 0; part < start.part_count(); ++part) {
        history<typename Reference::part::call> on_it;
        std::vector<std::size_t> was;  // which operation of `judged`
        for (std::size_t i = 0; i < judged.size(); ++i)
            if (const auto call = start.on_part(part, judged[i].made, judged[i].told)) {
                on_it.push_back({judged[i].thread, call->first, call->second});
                was.push_back(i);
            }
        for (std::size_t later = 0; later < was.size(); ++later)
            for (std::size_t other = 0; other < was.size(); ++other)
                if ((judged[was[later]].after & bit(was[other])) != 0) on_it[later].after |= bit(other);
        if (!linearizable(start.at(part), on_it)) return part;
    }
    return std::nullopt;
}

}  // namespace shm::model
