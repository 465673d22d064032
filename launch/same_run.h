#pragma once

#include <map>
#include <string>

#include "dist/communicator.h"

namespace mumoe::launch {

/// What must be the same on all ranks, by name: options, files, the checkpoint
/// to go on from.
using Facts = std::map<std::string, std::string>;

/// Throws `InputError`, the same on all ranks, when some rank has other `facts`
/// than rank 0 (a host with an old copy of a file): names the first such rank
/// and its host, the first fact, and both values. Nothing else would notice:
/// shapes agree, and ranks would train models of their own. Collective.
void require_same_run(dist::Communicator& world, const Facts& facts);

}  // namespace mumoe::launch
