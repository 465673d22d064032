#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "dist/communicator.h"
#include "dist/params/parameter_registry.h"
#include "model/model.h"
#include "run/options.h"

namespace mumoe::run {

/// The parameters of the model of `options`, whole and without values.
struct ModelSkeleton {
  explicit ModelSkeleton(const Options& options);

  std::unique_ptr<dist::Communicator> self;
  dist::ParameterRegistry registry;
  std::unique_ptr<model::Model> model;
};

/// A run of weights alone that is to be written.
struct WeightsRun {
  /// Its folder, which holds no checkpoints.
  std::filesystem::path to;
  const Options& options;
  const dist::ParameterRegistry& registry;
  /// Of all its tensors.
  at::ScalarType dtype;
  /// Parameter `index` of the registry, whole.
  std::function<at::Tensor(std::size_t index)> value;
  /// Of provenance.json; empty: there is none.
  std::string provenance = {};
};

/// Writes a run directory that has done no step: weights, and no optimizer's
/// state, so that a run begins with it by train.from. Throws `InputError`, with
/// nothing left of a folder that was not there.
void write_weights_run(const WeightsRun& run);

}  // namespace mumoe::run
