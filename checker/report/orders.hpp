// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
// Every memory order is needed: each ordered site of the library is run one step weaker, and some scenario must fail.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "checker/driver/search.hpp"

namespace shm::model {

/// A site under a name that survives edits elsewhere: "stream_producer::publish#1".
struct named_site {
    std::string function;
    unsigned ordinal;  // among the atomic operations of that function, from 1
    site where;
    std::string comment;

    [[nodiscard]] std::string name() const { return function + "#" + std::to_string(ordinal); }
};

struct weakening {
    named_site of;
    std::memory_order to;

    /// What one engine found: the first scenario that fails without the order; null: none does.
    struct finding {
        const entry* killer = nullptr;
        outcome how;
        bool gave_up = false;    // some search ran out of time
        std::string broken;      // a scenario that failed for a reason that says nothing
        bool elsewhere = false;  // another family shares it, and may need it in a scenario that is too large
    };
    std::vector<finding> by_engine;  // in the order of the report's engines

    /// "stream_producer::publish#1=relaxed", as in a replay token.
    [[nodiscard]] std::string token() const { return of.name() + "=" + name_of(to); }
};

struct orders_report {
    std::string family;
    std::vector<engine*> engines;
    std::vector<bool> has_searched_all;  // by engine: whether it can search each scenario
    std::vector<weakening> weakenings;
    std::vector<named_site> relaxed;
    std::vector<std::string> never_executed;  // ordered lines of the same files that no scenario reaches
    std::string unsound;                      // a scenario that fails, or is not searched to its end, as written

    /// Whether that engine, which found nothing, may have missed it: in a scenario that is too large for it.
    [[nodiscard]] bool may_miss(std::size_t engine, const weakening::finding& found) const {
        return found.killer == nullptr && found.broken.empty() && (found.elsewhere || !has_searched_all[engine]);
    }
};

/// Whether these are all that there are.
[[nodiscard]] bool are_all_primitives(const std::set<std::string>& families);

/// Runs the complete searches of a family once as written, to meet its sites, and once for each weakening. An order that
/// several families share is not tried again when one of `others` needs it; where not all families are run, it is left out
/// when this one does not.
[[nodiscard]] orders_report weaken_every_order(const std::string& family, const std::vector<engine*>& engines,
                                               const search& how, const std::vector<orders_report>& others,
                                               bool all_families, const std::function<void(const std::string&)>& tell,
                                               const progress& of_a_search);

/// The sites of the library that the family's scenarios execute, in the order of the source; and the first scenario, if
/// any, that does not pass as written: then no weakening says anything.
struct known_sites {
    std::vector<named_site> sites;
    std::vector<const entry*> scenarios;  // that the engine can search
    std::vector<std::set<site_key>> met;  // by each of these
    bool too_large = false;               // and some are too large for it
    std::string unsound;
};
[[nodiscard]] known_sites sites_of(engine& by, const std::string& family, search how, const progress& tell = {});

/// What a search of a scenario as written has found and met, so that `sites_of` need not search it again.
void remember(const engine& by, const entry& scenario, const outcome& as_written, const std::map<site_key, site>& met);

/// Makes the weakening that `token` names take effect; an empty token makes all orders as written again. Throws
/// std::invalid_argument when there is no such site.
void weaken(const std::string& token, const std::vector<named_site>& known);

/// docs/orders.md.
[[nodiscard]] std::string as_markdown(const std::vector<orders_report>& reports);

}  // namespace shm::model
