// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

namespace shm::model {

/// Whether Relacy's execution that is going on has turned out to repeat another. It ends all the same, and is checked.
[[nodiscard]] bool repeats_another();

}  // namespace shm::model
