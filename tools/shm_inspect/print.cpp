// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "tools/shm_inspect/print.hpp"

namespace inspect {
namespace {

using json = nlohmann::ordered_json;

constexpr const char* words[] = {"alive", "dead", "unknown"};
const char* word(life is) { return words[static_cast<std::size_t>(is)]; }

/// Items a second in and out. A position that went back, or a ring that is another one, has none.
struct rates {
    double in = 0;
    double out = 0;
};
std::optional<rates> rates_of(const block& now, const earlier& before) {
    if (before.seen == nullptr || before.seconds <= 0) return std::nullopt;
    for (const block& then : before.seen->blocks) {
        const auto* const is = std::get_if<stream>(&now.holds);
        const auto* const was = std::get_if<stream>(&then.holds);
        if (then.name != now.name || is == nullptr || was == nullptr) continue;
        if (is->published < was->published || is->consumed < was->consumed) return std::nullopt;
        return rates{static_cast<double>(is->published - was->published) / before.seconds,
                     static_cast<double>(is->consumed - was->consumed) / before.seconds};
    }
    return std::nullopt;
}

std::string short_text(const peer& of) {
    if (!of.who.valid()) return "nobody";
    return fmt::format("{} {}", of.who.id, word(of.is));
}

std::string text_of(const stream& of, const std::optional<rates>& rate) {
    std::string text = fmt::format("{} of {} used, of {} bytes each; producer {}, consumer {}", of.depth, of.capacity,
                                   of.element_size, short_text(of.producer), short_text(of.consumer));
    if (rate) text += fmt::format("; {:.0f}/s in, {:.0f}/s out", rate->in, rate->out);
    return text + fmt::format("; {} in, {} out since it was made", of.published, of.consumed);
}

std::string text_of(const slab& of) {
    std::string text = fmt::format("{} of {} slots free, of {} bytes each; {} of {} members", of.free, of.slot_count,
                                   of.slot_size, of.members, of.most_members);
    for (const owner& has : of.owners) {
        text += fmt::format("; member {} ({}) has", has.member,
                            has.who.who.valid() ? short_text(has.who) : "somebody before");
        if (has.allocated != 0) text += fmt::format(" {} allocated", has.allocated);
        if (has.in_flight != 0) text += fmt::format("{} {} in flight", has.allocated != 0 ? "," : "", has.in_flight);
    }
    return text;
}

json json_of(const peer& of) {
    if (!of.who.valid()) return nullptr;
    json all{{"id", of.who.id}, {"incarnation", of.who.incarnation}, {"life", word(of.is)}, {"because", of.because}};
    if (!of.program.empty()) all["program"] = of.program;
    return all;
}

json json_of(const slab& of) {
    json owners = json::array();
    for (const owner& has : of.owners)
        owners.push_back({{"member", has.member},
                          {"peer", json_of(has.who)},
                          {"allocated", has.allocated},
                          {"in_flight", has.in_flight}});
    return {{"slots", of.slot_count}, {"slot_size", of.slot_size},       {"free", of.free},
            {"members", of.members},  {"most_members", of.most_members}, {"owners", owners}};
}

}  // namespace

std::string as_text(const std::string& name, const report& all, const earlier& before) {
    std::string text = fmt::format("{}: a segment of {} bytes, pid namespace {}\n\n{} of {} peers\n", name,
                                   all.size_bytes, all.pid_namespace, all.peers.size(), all.places);
    for (const peer& of : all.peers)
        text += fmt::format("  {:<10} {:<8} {}{}\n", of.who.id, word(of.is),
                            of.program.empty() ? "" : of.program + ": ", of.because);
    std::size_t widest = 0;
    for (const block& of : all.blocks) widest = std::max(widest, of.name.size());
    text += fmt::format("\n{} blocks\n", all.blocks.size());
    for (const block& of : all.blocks) {
        text += fmt::format("  {:<{}}  {:<13} {:>10} bytes at {}\n", of.name, widest, of.kind, of.as_planned.size_bytes,
                            of.as_planned.offset);
        if (const auto* const found = std::get_if<stream>(&of.holds))
            text += fmt::format("    {}\n", text_of(*found, rates_of(of, before)));
        else if (const auto* const one = std::get_if<slab>(&of.holds))
            text += fmt::format("    {}\n", text_of(*one));
        else if (const auto* const several = std::get_if<pool>(&of.holds)) {
            for (const slab& each : several->slabs) text += fmt::format("    {}\n", text_of(each));
            if (several->more_in_an_annex) text += "    more slabs in an annex, which is another region\n";
        } else if (of.as_planned.count != 0 && of.faults.empty()) {
            text += fmt::format("    {} x {} bytes\n", of.as_planned.count, of.as_planned.element_size);
        }
        for (const std::string& fault : of.faults) text += fmt::format("    FAULT {}\n", fault);
    }
    return text;
}

std::string as_json(const std::string& name, const report& all, const earlier& before) {
    json peers = json::array(), blocks = json::array();
    for (const peer& of : all.peers) peers.push_back(json_of(of));
    for (const block& of : all.blocks) {
        json one{{"name", of.name},
                 {"kind", of.kind},
                 {"offset", of.as_planned.offset},
                 {"size_bytes", of.as_planned.size_bytes},
                 {"count", of.as_planned.count},
                 {"element_size", of.as_planned.element_size},
                 {"faults", of.faults}};
        if (const auto* const found = std::get_if<stream>(&of.holds)) {
            one["stream"] = {{"capacity", found->capacity},          {"depth", found->depth},
                             {"published", found->published},        {"consumed", found->consumed},
                             {"producer", json_of(found->producer)}, {"consumer", json_of(found->consumer)}};
            if (const auto rate = rates_of(of, before))
                one["stream"]["per_second"] = {{"published", rate->in}, {"consumed", rate->out}};
        } else if (const auto* const slots = std::get_if<slab>(&of.holds)) {
            one["slab"] = json_of(*slots);
        } else if (const auto* const several = std::get_if<pool>(&of.holds)) {
            one["slabs"] = json::array();
            for (const slab& each : several->slabs) one["slabs"].push_back(json_of(each));
            one["more_in_an_annex"] = several->more_in_an_annex;
        }
        blocks.push_back(std::move(one));
    }
    return json{{"segment", name},
                {"size_bytes", all.size_bytes},
                {"pid_namespace", all.pid_namespace},
                {"places", all.places},
                {"peers", peers},
                {"blocks", blocks}}
               .dump(-1, ' ', false, json::error_handler_t::replace) +
           "\n";
}

}  // namespace inspect
