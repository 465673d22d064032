#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "dist/process_mesh.h"
#include "model/cost.h"
#include "mumoe/gemm_rate.h"
#include "mumoe/sharding.h"
#include "run/options.h"
#include "study/predict/memory_estimate.h"
#include "train/batches.h"

namespace mumoe::study {

/// How a run may be cut over ranks: what `mumoe plan` chooses among.
struct RunLayout {
  int dp = 1;
  int tp = 1;
  Plan plan = Plan::sequence;
  int zero = 1;
  std::int64_t micro_batch = 1;
  model::Recompute recompute = model::Recompute::none;

  int ranks() const { return dp * tp; }
  dist::MeshShape mesh() const { return {.dp = dp, .tp = tp}; }
  bool operator==(const RunLayout&) const = default;
};

/// Bytes of a step that a rank moves, as `Communicator::total_bytes` counts:
/// over dp, over tp, over all ranks.
struct StepMoved {
  double dp = 0, tp = 0, all = 0;

  bool operator==(const StepMoved&) const = default;
};

/// "none", "mixture", "everything"
const char* word_of(model::Recompute recompute);

/// "--parallel.tp 2 --parallel.plan sequence ...": what `mumoe train` takes.
std::string arguments_of(const RunLayout& layout);

/// What `options` say of a mesh of `shape`, with `micro_batch` samples at once;
/// a plan that they leave open is sequence.
RunLayout layout_of(const run::Options& options,
                    dist::MeshShape shape,
                    std::int64_t micro_batch);

/// `options`, with what `layout` says.
run::Options laid_out(run::Options options, const RunLayout& layout);

/// What a rank of a run has to compute, to move and to hold. Nothing is
/// allocated for it: the model is on the meta device, and its ranks are not
/// there.
struct RunCost {
  train::BatchPlan batch;
  /// Of a micro-batch, and of a step.
  model::Cost cost;
  /// Of training, without the process.
  MemoryEstimate memory;
  /// The products of a micro-batch's forward pass that take most of the time,
  /// of the whole tp group.
  std::vector<Product> products;
  /// Bytes of an activation's element.
  double element = 0;
  /// Of a micro-batch: what gates' batch norms sum over dp or over all ranks.
  StepMoved norms = {};

  StepMoved moved() const;
};

/// Of the run of `options`, cut as `layout` says, in `dtype` on `device`, which
/// need not be there. Throws `InputError` that says why model or batch cannot
/// be cut so.
RunCost cost_of_run(const run::Options& options,
                    const RunLayout& layout,
                    at::ScalarType dtype,
                    at::Device device);

}  // namespace mumoe::study
