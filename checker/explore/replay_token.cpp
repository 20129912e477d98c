// SPDX-License-Identifier: MIT OR Apache-2.0
#include <charconv>
#include <map>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "checker/explore/replay_token.hpp"

namespace shm::explore {
namespace {

constexpr std::string_view digits = "0123456789abcdefghijklmnopqrstuvwxyz";
constexpr unsigned most_choice = 0xff;    // before and after the threads
constexpr unsigned most_number = 0xffff;  // of a thread's name, and of an option

/// One digit where that is enough, else a number in parentheses.
std::string number(unsigned n) { return n < digits.size() ? std::string(1, digits[n]) : "(" + std::to_string(n) + ")"; }

[[noreturn]] void wrong(const std::string& token, std::size_t at, const char* expected = "a digit or a colon") {
    throw std::invalid_argument("character " + std::to_string(at + 1) + " of the token: expected " + expected +
                                ", found " + (at < token.size() ? "\"" + token.substr(at, 1) + "\"" : "its end"));
}

}  // namespace

script::script(const std::string& token) {
    std::size_t at = 0;
    const auto read = [&](unsigned most) {
        if (at < token.size() && token[at] == '(') {
            unsigned value = 0;
            const auto parsed = std::from_chars(token.data() + at + 1, token.data() + token.size(), value);
            const std::string written = number(value);  // as it must have been
            if (parsed.ec != std::errc{} || value > most || token.compare(at, written.size(), written) != 0)
                wrong(token, at, "a digit, or a number in parentheses where no digit is enough");
            at += written.size();
            return value;
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
    while (at < token.size() && token[at] != ':') before.push_back(static_cast<std::uint8_t>(read(most_choice)));
    skip_colon();
    while (at < token.size() && token[at] != ':') {
        const unsigned thread = read(most_number);
        steps.emplace_back(thread, read(most_number));
    }
    skip_colon();
    while (at < token.size()) after.push_back(static_cast<std::uint8_t>(read(most_choice)));
}

std::string token_of(const execution_graph& g) {
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
        for (event_id s = 0; s < g.size(); ++s) {
            const event& e = events[s];
            if (told[s] || !can_be_told(e)) continue;
            told[s] = true;
            --left;
            if (e.part_of_rmw) continue;
            unsigned option = 0;
            if (e.what == kind::choice) option = static_cast<unsigned>(e.value);
            if (e.what == kind::blocked) option = option_blocked;
            if (e.what == kind::read || e.what == kind::write)
                for (event_id w = 0; w < g.size(); ++w)
                    if (told[w] && events[w].what == kind::write && events[w].location == e.location &&
                        events[w].mo_index <= e.mo_index)
                        ++option;
            text += number(names[e.thread]) + number(option);
            // The second half of a read-modify-write follows at once.
            if (e.succeeds)
                for (event_id w = 0; w < g.size(); ++w)
                    if (!told[w] && events[w].previous == s && events[w].part_of_rmw) told[w] = true, --left;
        }
        if (left == was_left) break;
    }
    text += ':';
    for (const std::uint8_t choice : g.after) text += number(choice);
    return text;
}

std::string signature_of(const execution_graph& g) {
    std::string text;
    const auto put = [&](unsigned number) {
        text += static_cast<char>(number & 0xff);
        text += static_cast<char>(number >> 8 & 0xff);
    };
    for (const std::uint8_t choice : g.before) put(choice);
    const auto names = g.names();
    std::map<unsigned, std::vector<event_id>> threads;
    for (event_id s = 0; s < g.size(); ++s) threads[names[g.events[s].thread]].push_back(s);
    for (const auto& [name, slots] : threads) {
        put(name);
        put(static_cast<unsigned>(slots.size()));
        for (const event_id s : slots) {
            const event& e = g.events[s];
            put(static_cast<unsigned>(e.what));
            put(e.location);
            put(e.what == kind::choice ? static_cast<unsigned>(e.value) : e.mo_index);
            if (e.what != kind::read) continue;
            put(e.source == initial ? initial : names[g.events[e.source].thread]);
            put(e.source == initial ? initial : static_cast<unsigned>(g.events[e.source].index));
        }
    }
    for (const std::uint8_t choice : g.after) put(choice);
    return text;
}

}  // namespace shm::explore
