// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What every checking layer shares, whichever engine is behind it: ordered sites, the one that runs weakened, and the
// events of a replay. Production knows nothing of this.
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <map>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace shm::model {

enum class op : std::uint8_t { load, store, rmw, cas_failure, fence };

/// An ordered operation in the source. The success and the failure of a compare-exchange are two.
struct site {
    std::source_location at;
    op kind;
    std::memory_order order;
};

/// Where a site is, for finding it again: by line and column, whatever the template it was instantiated from.
struct site_key {
    std::string_view file;
    std::uint32_t line, column;
    op kind;
    friend auto operator<=>(const site_key&, const site_key&) = default;
};
[[nodiscard]] inline site_key key_of(const std::source_location& at, op kind) noexcept {
    return {at.file_name(), at.line(), at.column(), kind};
}

/// Every ordered site executed so far, and the one, if any, that runs with a weaker order than written.
class site_book {
public:
    /// The order with which an operation runs: the one written, except at the weakened site.
    std::memory_order effective(op kind, std::memory_order written, const std::source_location& at) {
        recent& last = recently_[(at.line() * 7 + at.column() + static_cast<unsigned>(kind) * 31) % recently_.size()];
        if (last.file != at.file_name() || last.line != at.line() || last.column != at.column() || last.kind != kind ||
            last.written != written)
            last = {at.file_name(), at.line(), at.column(), kind, written, look_up(kind, written, at)};
        return last.runs_with;
    }

    [[nodiscard]] const std::map<site_key, site>& seen() const { return seen_; }

    void forget() {
        seen_.clear();
        restore();
    }
    void weaken(const site_key& which, std::memory_order to) {
        weakened_ = which;
        weakened_to_ = to;
        weakening_ = true;
        recently_.fill({});
    }
    void restore() {
        weakening_ = false;
        recently_.fill({});
    }

private:
    /// What was found for the same operation before: engines ask for each operation of each execution.
    struct recent {
        const char* file = nullptr;
        std::uint32_t line = 0, column = 0;
        op kind{};
        std::memory_order written{}, runs_with{};
    };

    std::memory_order look_up(op kind, std::memory_order written, const std::source_location& at) {
        const site_key key = key_of(at, kind);
        if (weakening_) return key == weakened_ ? weakened_to_ : written;
        seen_.try_emplace(key, site{at, kind, written});
        return written;
    }

    std::map<site_key, site> seen_;
    std::array<recent, 256> recently_{};
    bool weakening_ = false;
    site_key weakened_{};
    std::memory_order weakened_to_{};
};
inline site_book sites;

inline std::memory_order effective(op kind, std::memory_order written, const std::source_location& at) {
    return sites.effective(kind, written, at);
}

/// The orders one step below `written`.
[[nodiscard]] inline std::vector<std::memory_order> one_step_weaker(op kind, std::memory_order written) {
    using enum std::memory_order;
    switch (written) {
        case seq_cst:
            if (kind == op::load || kind == op::cas_failure) return {acquire};
            if (kind == op::store) return {release};
            return {acq_rel};
        case acq_rel: return {acquire, release};
        case acquire:
        case consume:
        case release: return {relaxed};
        default: return {};
    }
}

[[nodiscard]] inline const char* name_of(std::memory_order order) noexcept {
    constexpr const char* names[] = {"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst"};
    return names[static_cast<int>(order)];
}

/// A round of a loop that tries again: where in its thread it began.
struct round {
    std::int16_t began_at = 0;
    unsigned effects = 0;  // that the thread had had by then
};

/// One step of a replayed execution.
enum class phase : std::uint8_t { before, threads, after };
struct event {
    phase when;
    unsigned thread;
    const void* object;      // null for a fence or a pause
    std::string what;        // "store 1", "load 0", "compare-exchange 0 -> 5 fails"
    std::string order;       // empty for plain accesses
    int reads_from = -1;     // the newest event that wrote the value that was read; -1: the initial one
    unsigned stale = 0;      // how many newer stores there were
    bool ambiguous = false;  // an older store wrote the same value: it may have been that one
    std::source_location at;
};

/// Called as each step of a replay has been taken, and does nothing. A debugger that is told
/// `break shm::model::step if number == 31` stops in that step, where the trace has a 31.
[[gnu::noinline]] inline void step(std::size_t number) { asm volatile("" : : "r"(number)); }

/// The events of an execution that is being replayed, and what its objects are called.
struct recording {
    phase now = phase::before;
    std::vector<event> events;
    std::map<const void*, std::string> names;

    void add(event taken) {
        events.push_back(std::move(taken));
        step(events.size());
    }

    struct version {
        std::string value;
        int written_by;
    };
    std::map<const void*, std::vector<version>> history;

    void wrote(const void* object, std::string value, bool initially = false) {
        history[object].push_back({std::move(value), initially ? -1 : static_cast<int>(events.size())});
    }
    /// Engines tell values, not stores: the newest store of `value` is named, and whether there was another.
    struct source {
        int event = -1;
        unsigned stale = 0;
        bool ambiguous = false;
    };
    [[nodiscard]] source source_of(const void* object, const std::string& value) const {
        source found;
        unsigned matches = 0;
        const auto known = history.find(object);
        if (known == history.end()) return found;
        const auto& versions = known->second;
        for (std::size_t age = 0; age < versions.size(); ++age) {
            const version& v = versions[versions.size() - 1 - age];
            if (v.value == value && matches++ == 0) found = {v.written_by, static_cast<unsigned>(age), false};
        }
        found.ambiguous = matches > 1;
        return found;
    }
    /// What a read-modify-write has read.
    [[nodiscard]] source newest_of(const void* object) const {
        const auto known = history.find(object);
        return {known == history.end() ? -1 : known->second.back().written_by, 0, false};
    }
};
inline recording* recorder = nullptr;  // null but while an execution is replayed

/// While it lives, what is run is recorded.
class recording_into {
public:
    explicit recording_into(recording& steps) { recorder = &steps; }
    ~recording_into() { recorder = nullptr; }
    recording_into(const recording_into&) = delete;
    recording_into& operator=(const recording_into&) = delete;
};

/// Calls `object` by a name in traces.
inline void name(const void* object, std::string called) {
    if (recorder != nullptr) recorder->names[object] = std::move(called);
}

/// A value as a trace shows it.
template <class T>
[[nodiscard]] std::string shown(const T& value) {
    if constexpr (std::is_enum_v<T>) {
        return shown(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::is_integral_v<T>) {
        return std::to_string(value);
    } else if constexpr (std::is_pointer_v<T>) {
        return value == nullptr ? "null" : "an address";
    } else if constexpr (requires { value.shown(); }) {
        return value.shown();
    } else {
        return std::to_string(sizeof(T)) + " bytes";
    }
}

}  // namespace shm::model
