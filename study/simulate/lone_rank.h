#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "dist/process_mesh.h"
#include "model/model.h"
#include "run/options.h"
#include "study/predict/run_cost.h"
#include "study/simulate/blank_samples.h"
#include "train/trainer.h"

namespace mumoe::study {

/// Rank 0 of a run whose other ranks are not there, with everything that
/// `mumoe train` gives a trainer, and samples that say nothing.
class LoneRank {
 public:
  /// Of the run of `options`, cut as `layout` says, in `dtype` on `device`:
  /// the meta device too, which then stands for `kind`. Throws `InputError`
  /// that says why model or batch cannot be cut so.
  LoneRank(const run::Options& options,
           const RunLayout& layout,
           at::ScalarType dtype,
           at::Device device,
           c10::DeviceType kind);
  ~LoneRank();
  LoneRank(const LoneRank&) = delete;
  LoneRank& operator=(const LoneRank&) = delete;

  /// Lets `observer`, which must outlive this, see phases and collectives.
  void observe(dist::Observer& observer) { mesh_->observe(observer); }
  /// The trainer's own step.
  train::StepReport step();
  /// FLOPs of the whole model for a step, forward and backward.
  double model_flops() const;

 private:
  run::Options options_;
  c10::DeviceType stood_for_;  ///< Before.
  std::unique_ptr<dist::Communicator> world_;
  std::unique_ptr<dist::Communicator> carrier_;
  std::unique_ptr<dist::ProcessMesh> mesh_;
  std::unique_ptr<Sharding> sharding_;
  std::unique_ptr<dist::ParameterRegistry> registry_;
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<dist::FlatBuckets> buckets_;
  std::unique_ptr<BlankSamples> samples_;
  std::unique_ptr<train::Trainer> trainer_;
};

}  // namespace mumoe::study
