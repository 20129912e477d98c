// SPDX-License-Identifier: MIT OR Apache-2.0
#include "checker/driver/search.hpp"

namespace shm::model {

const std::vector<engine*>& engines() {
    static const std::vector<engine*> all{&explore_engine(), &relacy_engine()};
    return all;
}

}  // namespace shm::model
