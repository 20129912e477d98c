// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// What a run of the model check has shown, as a file: of which sources, by which engine, how far. Parts of a run that was
// split over machines make one certificate.
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checker/driver/search.hpp"
#include "checker/report/orders.hpp"

namespace shm::model {

enum class verdict : std::uint8_t { pass, fail, incomplete };

/// One scenario under one engine.
struct row {
    const entry* scenario;
    engine* by;
    search how;
    outcome result;
    verdict judged;
    std::string says;
    std::string token;
    search asked{};      // where it was more than `how`: that had more than `asked.affordable` executions
    double seconds = 0;  // of all searches that were tried

    [[nodiscard]] bool was_cut_down() const { return asked.kind != how.kind || asked.bound != how.bound; }
};

/// "complete", "bounded 2"; and of what, where a larger search had too many executions: "bounded 2 of 3".
[[nodiscard]] std::string in_words(const row& r);

/// engine,scenario,search,weakening,choices
[[nodiscard]] std::string token_for(const engine& by, const entry& scenario, const search& how,
                                    const std::string& weakened, const outcome& result);

/// A source that has changed since this program was built, which would then speak of code that it has not run.
[[nodiscard]] std::optional<std::filesystem::path> newer_source();

/// Shard 0 of 1 is a whole run.
struct shard_of {
    unsigned index = 0, count = 1;
    std::size_t searches = 0;  // of a scenario by an engine, in all shards together
};
/// What a run was asked for, other than who does it: an option and its value. Only parts of one and the same run make a
/// whole.
using settings = std::vector<std::pair<std::string, std::string>>;
[[nodiscard]] std::string certificate(const std::vector<row>& rows, const std::vector<orders_report>& orders,
                                      shard_of shard, const settings& asked);

/// The same for people to read: a page of Markdown, which any viewer of the sources renders.
[[nodiscard]] std::string page_of(const std::string& certificate);

/// One certificate of those of all shards, and a table. Throws std::invalid_argument for files that are no certificates
/// of shards of one run, with the same sources, compiler and settings; what is missing makes it incomplete.
struct merged {
    std::string text;
    std::string table;
    verdict judged;
};
[[nodiscard]] merged merge(const std::vector<std::string>& files);

}  // namespace shm::model
