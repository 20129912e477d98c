// SPDX-License-Identifier: MIT OR Apache-2.0
// Kills processes inside the operations of each primitive, and looks for what is lost. The seed says what each process does
// and after how many operations it dies; how the processes interleave it does not say.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "sanitizers/kill/trial.hpp"
#include "testkit/payload.hpp"
#include "testkit/process_state.hpp"

namespace {

using namespace kill_test;
using std::chrono::steady_clock;

enum : int { fine = 0, failed = 1, misused = 2 };

struct options {
    std::uint64_t kills = 10'000;
    std::uint64_t seed = 1;
    std::string only;
    std::string json;
};

/// To add one: a function that tries it, and the headers whose operations are to be points of death.
const std::vector<primitive> primitives{
    {"role", {"role.hpp"}, try_roles},
    {"spsc_ring",
     {"spsc_ring_raw.hpp", "stream/stream_end.hpp", "stream/raw_stream.hpp", "header_description.hpp",
      "object/handshake.hpp"},
     try_spsc_ring},
    {"bip_buffer",
     {"bip_buffer_raw.hpp", "stream/stream_end.hpp", "stream/raw_stream.hpp", "message_framing.hpp"},
     try_bip_buffer},
    {"treiber_slab",
     {"slab/slot_allocator.hpp", "slab/slot_recovery.hpp", "treiber_slab_raw.hpp", "slot_meta.hpp",
      "object/handshake.hpp"},
     try_treiber_slab},
    {"var_slot_pool",
     {"slab/pool_growth.hpp", "slab/pool_member.hpp", "slab/pool_slabs.hpp", "var_slot_pool.hpp",
      "object/handshake.hpp"},
     try_var_slot_pool},
    {"segment", {"segment.hpp", "object/handshake.hpp"}, try_segment},
    {"channel", {"wakeup.hpp", "channel_end.hpp"}, try_channel},
};

/// Operations that no process of these comes to, by what stands on their line, or on the first of their function.
struct out_of_reach {
    std::string_view text;
    std::string_view because;
};
constexpr out_of_reach unreachable[] = {
    {"reported_corrupt.fetch_or(", "written by who has met nonsense, and nobody here writes any"},
    {"reported_corrupt.store(", "written by who has met nonsense, and nobody here writes any"},
    {"of_peer_->exchange(is_asleep, relaxed);", "undoes what a refused bell has done, and here none is refused"},
    {"fault nonsense() const noexcept {", "read by who has met nonsense, and nobody here writes any"},
};

/// With fewer deaths than this, chance may leave a site out.
constexpr std::uint64_t enough_for_every_site = 1000;

struct source_line {
    site at;
    std::string code;
    std::string_view because;  // it is out of reach; empty if it is not
};

std::string trimmed(const std::string& text) {
    const auto first = text.find_first_not_of(' ');
    return first == text.npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

/// The lines on which an operation of the layer stands.
std::vector<source_line> operations_of(const primitive& of) {
    static const std::regex operation{
        R"((\.|->)(load|store|exchange|compare_exchange_\w+|fetch_\w+|prepare|read|write)\(|Atomics::(await|fence))"};
    std::vector<source_line> found;
    for (const char* const header : of.headers) {
        const std::string path = std::string{SHM_SOURCE_DIR "/core/shm/"} + header;
        const std::string_view name = std::string_view{header}.substr(std::string_view{header}.rfind('/') + 1);
        std::ifstream file{path};
        if (!file) throw std::runtime_error(path + ": expected the source of what is tried, found no such file");
        std::string text, end;                 // the line that ends a function
        std::string_view because_of_function;  // which is out of reach; empty if it is not
        for (std::uint32_t line = 1; std::getline(file, text); ++line) {
            const std::string code = text.substr(0, text.find("//"));
            if (code == end) because_of_function = {};
            std::string_view because = because_of_function;
            for (const out_of_reach& each : unreachable)
                if (code.find(each.text) != code.npos) because = each.because;
            if (std::regex_search(code, operation)) {
                found.push_back({{name, line}, trimmed(code), because});
            } else if (!because.empty() && because_of_function.empty()) {
                because_of_function = because;
                end = code.substr(0, code.find_first_not_of(' ')) + '}';
            }
        }
    }
    return found;
}

std::uint64_t deaths_at(const tally& of, const site& at) {
    const auto found = of.deaths.find(at);
    return found == of.deaths.end() ? 0 : found->second;
}

/// Each site, how many died there, and its line of source. Returns the sites where nobody did.
std::vector<source_line> show_histogram(const tally& of, const std::vector<source_line>& operations) {
    std::uint64_t most = 1;
    for (const auto& each : operations) most = std::max(most, deaths_at(of, each.at));
    std::vector<source_line> never;
    for (const auto& each : operations) {
        const std::uint64_t deaths = deaths_at(of, each.at);
        const std::string bar(static_cast<std::size_t>((deaths * 20 + most - 1) / most), '#');
        fmt::print("  {:>6} {:<20} {:<28} {}\n", deaths, bar, fmt::format("{}:{}", each.at.file, each.at.line),
                   each.because.empty() ? each.code.substr(0, 60) : fmt::format("out of reach: {}", each.because));
        if (deaths == 0 && each.because.empty()) never.push_back(each);
    }
    return never;
}

void show(const tally& of) {
    fmt::print("{}: {} kills in {:.1f} s ({:.0f} a second), {} stops", of.name, of.kills, of.seconds,
               static_cast<double>(of.kills) / std::max(of.seconds, 1e-9), of.stops);
    if (of.creators_killed != 0) fmt::print(", {} creators killed", of.creators_killed);
    if (of.redelivered != 0) fmt::print(", {} times redelivered", of.redelivered);
    if (of.slots_reclaimed != 0)
        fmt::print(", {} slots reclaimed, {} recoverers killed", of.slots_reclaimed, of.recoverers_killed);
    fmt::print("\n");
}

nlohmann::ordered_json json_of(const tally& of, const std::vector<source_line>& operations) {
    nlohmann::ordered_json sites = nlohmann::ordered_json::array();
    for (const auto& each : operations) {
        nlohmann::ordered_json row{
            {"file", each.at.file}, {"line", each.at.line}, {"code", each.code}, {"kills", deaths_at(of, each.at)}};
        if (!each.because.empty()) row["out_of_reach"] = each.because;
        sites.push_back(std::move(row));
    }
    return {{"name", of.name},
            {"kills", of.kills},
            {"stops", of.stops},
            {"creators_killed", of.creators_killed},
            {"recoverers_killed", of.recoverers_killed},
            {"slots_reclaimed", of.slots_reclaimed},
            {"redelivered", of.redelivered},
            {"seconds", of.seconds},
            {"sites", std::move(sites)}};
}

/// Says now and then how far it has come.
class progress {
public:
    void operator()(const tally& of, std::uint64_t wanted) {
        const auto now = steady_clock::now();
        if (now < next_) return;
        next_ = now + std::chrono::seconds{2};
        fmt::print("{:>4} s: {}, {} of {} kills\n", (now - begin_) / std::chrono::seconds{1}, of.name, of.kills,
                   wanted);
        std::fflush(stdout);
    }

private:
    steady_clock::time_point begin_ = steady_clock::now();
    steady_clock::time_point next_ = begin_ + std::chrono::seconds{2};
};

/// What is left of one primitive's processes: nothing.
void require_nothing_left(std::ptrdiff_t descriptors) {
    const auto now = open_descriptors();
    require(now == descriptors, fmt::format("descriptors: expected {} as before, found {}", descriptors, now));
    const auto mappings = mappings_of("memfd:kill-test");
    require(mappings == 0, fmt::format("mappings: expected none, found {}", mappings));
    require(::waitpid(-1, nullptr, WNOHANG) < 0, "children: expected none, found one");
}

int run(const options& asked) {
    std::vector<const primitive*> chosen;
    std::string names;
    for (const primitive& each : primitives) {
        names += fmt::format("{}{}", names.empty() ? "" : ", ", each.name);
        if (asked.only.empty() || asked.only == each.name) chosen.push_back(&each);
    }
    if (chosen.empty())
        throw std::invalid_argument(fmt::format("--only: expected one of {}, found \"{}\"", names, asked.only));
    const std::uint64_t each = (asked.kills + chosen.size() - 1) / chosen.size();

    progress tell;
    nlohmann::ordered_json results = nlohmann::ordered_json::array();
    std::vector<std::string> wrong;
    tally all;
    std::size_t sites = 0, never_hit = 0, excused = 0;
    const auto began = steady_clock::now();
    for (const primitive* const now : chosen) {
        const auto operations = operations_of(*now);
        const auto seed =
            mixed(asked.seed + 0x9e3779b97f4a7c15 * (1 + static_cast<std::uint64_t>(now - &primitives[0])));
        trial on{now->name, seed, each, [&](const tally& so_far) { tell(so_far, each); }};
        const auto descriptors = open_descriptors();
        const auto begin = steady_clock::now();
        const auto seconds = [&] { return std::chrono::duration<double>(steady_clock::now() - begin).count(); };
        try {
            now->run(on);
            require_nothing_left(descriptors);
        } catch (const finding& what) {
            wrong.push_back(fmt::format("{}, after {} kills: {}", now->name, on.counts().kills, what.what()));
        }
        tally& done = on.counts();
        done.seconds = seconds();
        show(done);
        const auto never = show_histogram(done, operations);
        for (const auto& there : operations) excused += there.because.empty() ? 0 : 1;
        sites += operations.size();
        never_hit += never.size();
        if (wrong.empty() && each >= enough_for_every_site)
            for (const auto& there : never)
                wrong.push_back(fmt::format("{}:{}: expected a death at each operation, found none in {} kills: {}",
                                            there.at.file, there.at.line, done.kills, there.code));
        results.push_back(json_of(done, operations));
        all.kills += done.kills;
        all.stops += done.stops;
        all.slots_reclaimed += done.slots_reclaimed;
        if (!wrong.empty()) break;
    }
    const double took = std::chrono::duration<double>(steady_clock::now() - began).count();
    if (!asked.json.empty()) {
        const nlohmann::ordered_json report{{"seed", asked.seed}, {"kills", all.kills},
                                            {"stops", all.stops}, {"slots_reclaimed", all.slots_reclaimed},
                                            {"seconds", took},    {"primitives", std::move(results)},
                                            {"findings", wrong}};
        if (!(std::ofstream{asked.json} << report.dump(2) << '\n' << std::flush))
            throw std::runtime_error(asked.json + ": writing failed");
    }
    std::fflush(stdout);
    for (const auto& each_wrong : wrong) fmt::print(stderr, "kill-test: {}\n", each_wrong);
    if (!wrong.empty()) {
        fmt::print(stderr, "kill-test: FAILED; the same processes: make kill-test KILLS={} SEED={}\n", asked.kills,
                   asked.seed);
        return failed;
    }
    fmt::print(
        "kill-test: {} kills and {} stops in {:.1f} s, seed {}: nothing is lost, {} slots reclaimed; deaths at {} of "
        "{} "
        "operations, {} out of reach\n",
        all.kills, all.stops, took, asked.seed, all.slots_reclaimed, sites - never_hit - excused, sites, excused);
    return fine;
}

}  // namespace

int main(int argc, char** argv) {
    options asked;
    CLI::App app{"Kills processes inside the operations of each primitive, and looks for what is lost."};
    app.add_option("--kills", asked.kills, "how many processes are killed, of all primitives together")
        ->check(CLI::Range(1, 100'000'000))
        ->capture_default_str();
    app.add_option("--seed", asked.seed, "what the processes do, and after how many operations each dies")
        ->capture_default_str();
    app.add_option("--only", asked.only, "one primitive");
    app.add_option("--json", asked.json, "write all that was counted to this file");
    try {
        app.parse(argc, argv);
        return run(asked);
    } catch (const CLI::CallForHelp& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        fmt::print(stderr, "kill-test: {}\n", error.what());
        return misused;
    } catch (const std::invalid_argument& error) {
        fmt::print(stderr, "kill-test: {}\n", error.what());
        return misused;
    } catch (const std::exception& error) {
        fmt::print(stderr, "kill-test: {}\n", error.what());
        return failed;
    }
}
