// SPDX-License-Identifier: MIT OR Apache-2.0
#include "checker/explore/locations.hpp"
#include "checker/explore/arena.hpp"

namespace shm::explore {
namespace {

constexpr std::int16_t always = -1;  // a position that every thread knows of

}  // namespace

std::uint16_t locations::begin(std::uint64_t value, const moment& now) {
    if (made_ == most) return too_many;
    ++made_;
    const unsigned creator = now.alone ? 0 : now.thread + 1;
    auto& by_creator = all_[creator];
    by_creator.push_back(
        {.value = value, .begun_at = now.alone ? always : now.position, .begun_by = now.thread, .used_at = {}});
    by_creator.back().used_at.fill(always);
    return static_cast<std::uint16_t>(creator * each + by_creator.size() - 1);
}

std::string locations::end(std::uint16_t number, const moment& now) {
    if (const char* const misuse = use(number, now)) return misuse;
    word& ended = at(number);
    for (unsigned other = 0; other < max_threads; ++other)
        if (!now.knows_of(ended.used_at[other], other))
            return "destroyed while thread " + std::to_string(other) + " may be using it";
    ended.alive = false;
    return {};
}

/// A use of an atomic object is a race with its beginning and its end.
const char* locations::use(std::uint16_t number, const moment& now) {
    if (!has(number)) return "used before it is made";
    word& used = at(number);
    if (!used.alive) return "used after its end";
    if (now.alone) return nullptr;
    if (!now.knows_of(used.begun_at, used.begun_by)) return "used while it is being made";
    used.used_at[now.thread] = static_cast<std::int16_t>(now.position - 1);  // an access is an event, and has happened
    return nullptr;
}

void locations::take_newest_of(const execution_graph& g) {
    for (const event& e : g.events) {
        if (e.what != kind::write) continue;
        word& written = at(e.location);
        if (e.mo_index <= written.newest) continue;
        written.newest = e.mo_index;
        written.value = e.value;
    }
}

void make(cell_history& history) {
    history = {};
    history.made_in = arena::execution;
}

const char* misuse_of(const cell_history& history) {
    if (history.made_in != arena::execution) return "plain data that was never made is used";
    return history.ended ? "plain data is used after its end" : nullptr;
}

bool races(cell_history& history, touch how, const moment& now) {
    history.ended = how == touch::ended;
    if (now.alone) return false;
    bool race = !now.knows_of(history.written_at, static_cast<unsigned>(history.written_by));
    if (how == touch::read) {
        history.read_at[now.thread] = now.position;
    } else {
        for (unsigned other = 0; other < max_threads; ++other)
            race = race || !now.knows_of(history.read_at[other], other);
        history.written_at = now.position;
        history.written_by = static_cast<std::int16_t>(now.thread);
    }
    return race;
}

}  // namespace shm::explore
