#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"
#include "dist/params/flat_buckets.h"
#include "dist/params/gradient_reducer.h"
#include "dist/process_mesh.h"
#include "model/config.h"
#include "model/model.h"
#include "mumoe/sharding.h"
#include "tests/support/parameters.h"

// Models of images on images made up here, at any layout.

namespace mumoe::testing {

inline at::Tensor made_up(std::vector<std::int64_t> shape,
                          std::uint64_t stream) {
  const CounterRandom random(5, Purpose::test, stream);
  const at::Tensor all = at::empty(shape, at::kDouble);
  for (std::int64_t i = 0; i < all.numel(); ++i) {
    all.data_ptr<double>()[i] = random.normal(i);
  }
  return all;
}

inline at::Tensor made_up_images(const model::ModelConfig& c,
                                 std::int64_t samples) {
  return made_up({samples, c.channels * c.image_size * c.image_size}, 1);
}

/// Classes, sample numbers that do not begin at 0, and images.
inline model::Batch made_up_batch(const model::ModelConfig& c,
                                  std::int64_t samples) {
  return {.input = made_up_images(c, samples),
          .target = (at::arange(samples, at::kLong) * 3 + 1)
                        .remainder(c.classes)
                        .unsqueeze(1),
          .ids = at::arange(samples, at::kLong) + 40};
}

inline model::Batch rows_of(const model::Batch& batch,
                            std::int64_t begin,
                            std::int64_t count) {
  const auto part = [&](const at::Tensor& all) {
    return all.defined() ? all.narrow(0, begin, count) : all;
  };
  return {part(batch.input), part(batch.target), part(batch.ids)};
}

inline model::Batch on_device(const model::Batch& batch, at::Device device) {
  const auto there = [&](const at::Tensor& all) {
    return all.defined() ? all.to(device) : all;
  };
  return {there(batch.input), there(batch.target), there(batch.ids)};
}

/// A model of images on the ranks of a mesh, its weights drawn, its gates and
/// biases away from zero.
template <class Model>
struct ClassifierOnMesh {
  ClassifierOnMesh(
      const model::ModelConfig& config,
      dist::Communicator& world,
      int tp = 1,
      Plan plan = Plan::bottleneck,
      at::ScalarType dtype = at::kDouble,
      at::Device device = at::kCPU,
      dist::Communicator* data = nullptr)  ///< Moves a GPU's tensors.
      : mesh(world, 0, tp, data),
        registry(mesh.tp(), dtype, device),
        sharding{plan, &mesh.tp()},
        model(config,
              registry,
              sharding,
              sharding.region().tokens_cut() ? &mesh.dp_tp() : &mesh.dp()),
        buckets(registry,
                mesh,
                {.bytes = 1 << 12,
                 .whole_is_partial = sharding.region().tokens_cut()}),
        reducer(buckets) {
    buckets.initialise(3);
    const at::NoGradGuard no_grad;
    NamedTensors weights = whole_tensors(buckets, &dist::Bucket::master);
    for (const auto& p : registry.parameters()) {
      const bool norm = p.name.find("norm") != std::string::npos &&
                        p.name.ends_with(".weight");
      const bool gate = p.name.find("gate.") != std::string::npos;
      const bool bias =
          p.name.ends_with(".bias") || p.name.ends_with("qkv_bias");
      if (!norm && !gate && !bias) continue;
      weights.tensors[p.name] =
          0.5 * made_up(p.global_shape, hash_name(p.name)) + (norm ? 1 : 0);
    }
    set_weights(buckets, weights);
  }

  /// The mean loss of `batch`, dealt to the dp ranks one sample after the
  /// other; its gradients are then in the buckets.
  double loss(const model::Batch& batch) {
    const std::int64_t all = batch.input.size(0);
    const int ranks = mesh.dp().size(), rank = mesh.dp().rank();
    // 7 on 3 ranks: 3, 2, 2
    const std::int64_t begin =
        rank * (all / ranks) + std::min<std::int64_t>(rank, all % ranks);
    const std::int64_t count = all / ranks + (rank < all % ranks);
    const at::Tensor loss =
        model.loss(on_device(rows_of(batch, begin, count), registry.device()),
                   1 / static_cast<double>(all));
    reducer.begin(true);
    loss.backward();
    reducer.finish();
    const at::Tensor sum = loss.detach().to(at::kDouble).clone();
    mesh.dp().all_reduce(sum);
    return sum.item<double>();
  }
  NamedTensors tensors(at::Tensor dist::Bucket::*flat) const {
    return whole_tensors(buckets, flat);
  }

  dist::ProcessMesh mesh;
  dist::ParameterRegistry registry;
  Sharding sharding;
  Model model;
  dist::FlatBuckets buckets;
  dist::GradientReducer reducer;
};

}  // namespace mumoe::testing
