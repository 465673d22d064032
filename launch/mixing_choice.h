#pragma once

#include <cstdint>

#include "dist/communicator.h"
#include "launch/compute.h"
#include "run/options.h"

namespace mumoe::launch {

/// On a GPU the share of active experts at or below which reading those alone
/// is faster than dense products, at the sizes of the model of `options`: as
/// measured when this machine first did such a run (`mumoe/mixing_rate.h`), and
/// then remembered; a line of it goes to the reasons of `compute`. 0, and
/// nothing, on a CPU, in a dense model and where the mixing is given. 0 also
/// where nothing can be remembered and a run must repeat its bits
/// (`deterministic`): another time would choose otherwise. Collective.
double choose_sparse_share(const run::Options& options,
                           Compute& compute,
                           dist::Communicator& world,
                           std::int64_t micro_batch);

}  // namespace mumoe::launch
