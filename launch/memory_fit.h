#pragma once

#include "launch/session.h"
#include "run/options.h"
#include "train/batches.h"

namespace mumoe::launch {

/// What this process holds and may still get, before it makes its model.
struct Room {
  explicit Room(at::Device device);

  double program;    ///< Bytes that it holds.
  double available;  ///< Of the device; negative: not known.
};

/// Throws `InputError` on all ranks where a host, or a GPU, has less memory in
/// all than the run needs, by more than estimates are wrong: which, what it
/// needs and has, and which smaller micro-batch or recomputation would fit.
/// What `options` leave open is taken as what needs least. Nothing is allocated
/// or measured. Collective.
void require_fit(const run::Options& options,
                 const train::BatchPlan& batch,
                 const Session& session);

}  // namespace mumoe::launch
