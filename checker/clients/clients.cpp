// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "checker/clients/clients.hpp"
#include "checker/driver/search.hpp"
#include "checker/report/trace.hpp"

namespace shm::model {

std::string text_of(const failed_client& failed) {
    std::vector<std::size_t> widths;
    for (unsigned lane = 0; lane < failed.lanes.size(); ++lane) {
        widths.push_back(failed.lanes[lane].size());
        for (const auto& [thread, call] : failed.calls)
            if (thread == lane) widths.back() = std::max(widths.back(), call.size());
    }
    std::string text = failed.title + "\n\n";
    const auto row = [&](const std::string& number, auto cell, const std::string& remark) {
        std::string line = fmt::format("{:>5}", number);
        for (unsigned lane = 0; lane < failed.lanes.size(); ++lane)
            line += fmt::format("  {:<{}}", cell(lane), widths[lane]);
        line += remark;
        text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
    };

    bool begun = false;
    for (std::size_t i = 0; i < failed.calls.size(); ++i) {
        const auto& [thread, call] = failed.calls[i];
        if (thread == alone) {
            text += fmt::format("{:>5}  {}: {}\n", i + 1, begun ? "after" : "before", call);
            continue;
        }
        if (!std::exchange(begun, true)) row("", [&](unsigned lane) { return failed.lanes[lane]; }, "");
        std::string remark;
        for (std::size_t other = 0; other < failed.calls.size(); ++other) {
            const unsigned by = failed.calls[other].first;
            if ((failed.after[i] & bit(other)) != 0 && by != thread && by != alone)
                remark += fmt::format("{}{}", remark.empty() ? "  after " : ", ", other + 1);
        }
        row(std::to_string(i + 1), [&](unsigned lane) { return lane == thread ? call : ""; }, remark);
    }
    return text + "       " + failed.why + '\n';
}

std::string trace_of(const std::string& family, unsigned threads, const recording& execution, const std::string& why) {
    const entry scenario{family,
                         family + " client",
                         form::tries,
                         threads,
                         "each thread has an order of the calls that explains what it was told",
                         false,
                         {}};
    outcome ended;
    ended.failed = !why.empty();
    ended.why = why;
    return trace_of(scenario, execution, ended);
}

client_token::client_token(const std::string& text) {
    const auto wrong = [&text](const std::string& expected) -> std::invalid_argument {
        return std::invalid_argument{"expected " + expected + ", found \"" + text + "\""};
    };
    std::vector<std::string> parts;
    std::istringstream words{text};
    for (std::string part; std::getline(words, part, ',');) parts.push_back(part);
    if (parts.size() != 5) throw wrong("family,seed,client,shrinks,choices");
    const auto number = [&]<class Number>(const std::string& digits, Number& into) {
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), into);
        if (error != std::errc{} || end != digits.data() + digits.size()) throw wrong("numbers from 0 on");
    };
    family = parts[0];
    number(parts[1], seed);
    number(parts[2], client);
    if (client == 0) throw wrong("clients that are numbered from 1 on");
    std::istringstream steps{parts[3] == "-" ? "" : parts[3] + "."};
    for (std::string step; std::getline(steps, step, '.');) number(step, shrinks.emplace_back());
    choices = parts[4];
}

std::string text_of(const client_token& token) {
    return fmt::format("{},{},{},{},{}", token.family, token.seed, token.client,
                       token.shrinks.empty() ? "-" : fmt::to_string(fmt::join(token.shrinks, ".")), token.choices);
}

}  // namespace shm::model
