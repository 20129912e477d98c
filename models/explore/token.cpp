// SPDX-License-Identifier: MIT OR Apache-2.0
#include <cstdlib>
#include <explore/token.hpp>
#include <map>
#include <stdexcept>
#include <string_view>

namespace shm::explore {
namespace {

constexpr std::string_view digits = "0123456789abcdefghijklmnopqrstuvwxyz";

/// One digit where that is enough, else a number in parentheses.
std::string number(unsigned n) { return n < digits.size() ? std::string(1, digits[n]) : "(" + std::to_string(n) + ")"; }

[[noreturn]] void wrong(const std::string& token, std::size_t at) {
    throw std::invalid_argument("character " + std::to_string(at + 1) +
                                " of the token: expected a digit or a colon, found " +
                                (at < token.size() ? "\"" + token.substr(at, 1) + "\"" : "its end"));
}

}  // namespace

script::script(const std::string& token) {
    std::size_t at = 0;
    const auto read = [&] {
        if (at < token.size() && token[at] == '(') {
            const auto end = token.find(')', at);
            if (end == std::string::npos) wrong(token, at);
            const auto value = std::strtoul(token.c_str() + at + 1, nullptr, 10);
            at = end + 1;
            return static_cast<unsigned>(value);
        }
        const auto digit = at < token.size() ? digits.find(token[at]) : std::string_view::npos;
        if (digit == std::string_view::npos) wrong(token, at);
        ++at;
        return static_cast<unsigned>(digit);
    };
    const auto skip_colon = [&] {
        if (at >= token.size() || token[at] != ':') wrong(token, at);
        ++at;
    };
    while (at < token.size() && token[at] != ':') before.push_back(static_cast<std::uint8_t>(read()));
    skip_colon();
    while (at < token.size() && token[at] != ':') {
        const unsigned thread = read();
        steps.emplace_back(thread, read());
    }
    skip_colon();
    while (at < token.size()) after.push_back(static_cast<std::uint8_t>(read()));
}

std::string token_of(const graph& g) {
    const auto& events = g.events;
    const auto names = g.names();
    std::string text;
    for (const std::uint8_t choice : g.before) text += number(choice);
    text += ':';
    std::vector<bool> told(events.size());
    const auto can_be_told = [&](const event& e) {
        return (e.previous == nowhere || told[e.previous]) && (e.source == initial || told[e.source]);
    };
    for (std::size_t left = events.size(); left > 0;) {
        const std::size_t was_left = left;
        for (slot s = 0; s < g.size(); ++s) {
            const event& e = events[s];
            if (told[s] || !can_be_told(e)) continue;
            told[s] = true;
            --left;
            if (e.part_of_rmw) continue;
            unsigned option = 0;
            if (e.what == kind::choice) option = static_cast<unsigned>(e.value);
            if (e.what == kind::stuck) option = option_stuck;
            if (e.what == kind::read || e.what == kind::write)
                for (slot w = 0; w < g.size(); ++w)
                    if (told[w] && events[w].what == kind::write && events[w].location == e.location &&
                        events[w].place <= e.place)
                        ++option;
            text += number(names[e.thread]) + number(option);
            // The second half of a read-modify-write follows at once.
            if (e.succeeds)
                for (slot w = 0; w < g.size(); ++w)
                    if (!told[w] && events[w].previous == s && events[w].part_of_rmw) told[w] = true, --left;
        }
        if (left == was_left) break;
    }
    text += ':';
    for (const std::uint8_t choice : g.after) text += number(choice);
    return text;
}

std::string signature_of(const graph& g) {
    std::string text;
    const auto put = [&](unsigned number) {
        text += static_cast<char>(number & 0xff);
        text += static_cast<char>(number >> 8 & 0xff);
    };
    for (const std::uint8_t choice : g.before) put(choice);
    const auto names = g.names();
    std::map<unsigned, std::vector<slot>> threads;
    for (slot s = 0; s < g.size(); ++s) threads[names[g.events[s].thread]].push_back(s);
    for (const auto& [name, slots] : threads) {
        put(name);
        put(static_cast<unsigned>(slots.size()));
        for (const slot s : slots) {
            const event& e = g.events[s];
            put(static_cast<unsigned>(e.what));
            put(e.location);
            put(e.what == kind::choice ? static_cast<unsigned>(e.value) : e.place);
            if (e.what != kind::read) continue;
            put(e.source == initial ? initial : names[g.events[e.source].thread]);
            put(e.source == initial ? initial : static_cast<unsigned>(g.events[e.source].index));
        }
    }
    for (const std::uint8_t choice : g.after) put(choice);
    return text;
}

}  // namespace shm::explore
