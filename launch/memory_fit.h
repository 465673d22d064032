#pragma once

#include "launch/session.h"
#include "launch/settle.h"
#include "run/options.h"

namespace mumoe::launch {

/// What this process holds and may still get, before it makes its model.
struct Room {
  explicit Room(at::Device device);

  double program;    ///< Bytes that it holds.
  double available;  ///< Of the device; negative: not known.
};

/// Throws `InputError` on all ranks where a host, or a GPU, has less memory in
/// all than what was settled needs, by more than estimates are wrong: which,
/// what it needs and has, and which smaller micro-batch or recomputation would
/// fit. Nothing is allocated. Collective.
void require_fit(const Settled& settled, const Session& session);

}  // namespace mumoe::launch
