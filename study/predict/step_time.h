#pragma once

#include <array>

#include "study/predict/machine.h"
#include "study/predict/step_work.h"

namespace mumoe::study {

/// How fast a program is on a machine: shares of what its maker says, fitted to
/// measured steps (study/predict/fit.h) or as they stand here.
struct Rates {
  double product_share = 0.75;  ///< of peak, of a product that fills it
  double product_ramp = 64;     ///< what a tile costs besides, in terms of k
  double wave_share = 0.5;      ///< 1: tiles left over cost a whole wave
  double memory_share = 0.8;    ///< of the memory's bandwidth
  /// Passes made for each that is counted, by PassKind.
  std::array<double, kPassKinds> passes = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  double launch = 2;      ///< time of a launch / the machine's
  double start = 2;       ///< of a collective, before its first step
  double ring_step = 2;   ///< of a step of a ring
  double micro_step = 1;  ///< ms of the host that nothing hides, a micro-step
  double step = 3;        ///< the same, a step
};

/// Seconds of a step, by what they are spent on.
struct StepTime {
  double products = 0;
  double passes = 0;
  double launches = 0;  ///< the processor waits for the host
  double tp = 0;        ///< collectives that nothing hides
  double dp = 0;
  double host = 0;  ///< between micro-steps and steps

  double total() const;
};

/// Seconds of `product`, all its times: tiles of 128 x 128, in waves over the
/// multiprocessors, or its operands' way through memory where that is slower.
double seconds_of(const Product& product,
                  const Machine& machine,
                  const Rates& rates);

/// Seconds of one of these collectives: by the ring, or for an all-reduce by
/// the tree where that is faster. 0 for one rank.
double seconds_of(const Collective& collective,
                  const Machine& machine,
                  const Rates& rates);

/// Bytes a second that a rank of the ring passes on: its own link's, or its
/// part of the node's network where the ring leaves the node.
double ring_bandwidth(const Collective& collective, const Machine& machine);

StepTime step_time(const StepWork& work,
                   const Machine& machine,
                   const Rates& rates);

}  // namespace mumoe::study
