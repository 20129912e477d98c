// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once
#include "checker/explore/scheduler.hpp"

namespace shm::explore {

/// Which part of a search, and by how many processes. Neither changes what is found, nor the counts of the whole.
struct part {
    unsigned shard = 0, shards = 1;
    unsigned workers = 1;
    long cpu_seconds = 0;  // of a worker process between two looks at it; then SIGPROF. 0: no limit
};

struct finding {
    totals counted;
    bool exhausted = false;  // this part
    bool failed = false, broken = false;
    std::string why, token;
};

/// Searches one part. The search is cut into subtrees in a way that depends on the program alone; a shard takes every
/// n-th of them, and its workers take them one by one. Of several failures that of the first subtree is reported.
/// `go_on` is asked now and then, with what all workers have counted.
[[nodiscard]] finding search(const program& subject, const settings& how, const part& which,
                             const std::function<bool(const totals&)>& go_on);

}  // namespace shm::explore
