#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "dist/params/flat_buckets.h"
#include "dist/params/gradient_reducer.h"
#include "dist/process_mesh.h"

// Parameters of every kind in sizes that divide by nothing, and gradients that
// are functions of (parameter, sample) alone, whatever rank computes them.

namespace mumoe::testing {

/// How ranks are laid out.
struct Layout {
  int dp = 1;
  int tp = 1;
  int zero = 0;
  bool whole_is_partial = false;
  /// Rows are padded and parameters begin at multiples, as on a GPU.
  bool padded = false;

  std::string describe() const {
    return fmt::format("dp {} tp {} zero {}{}{}",
                       dp,
                       tp,
                       zero,
                       whole_is_partial ? " partial" : "",
                       padded ? " padded" : "");
  }
};

/// All layouts of `ranks` ranks.
inline std::vector<Layout> layouts_of(int ranks) {
  std::vector<Layout> found;
  for (int tp = 1; tp <= ranks; ++tp) {
    if (ranks % tp != 0) continue;
    for (const int zero : {0, 1}) {
      for (const bool partial : {false, true}) {
        found.push_back({ranks / tp, tp, zero, partial});
      }
      found.push_back({ranks / tp, tp, zero, zero == 1, /*padded=*/true});
    }
  }
  return found;
}

/// Numbers of a global shape, N(0, 1), a function of (name, index, element).
inline at::Tensor drawn(const dist::Parameter& parameter, std::int64_t index) {
  const CounterRandom random(static_cast<std::uint64_t>(index),
                             Purpose::test,
                             hash_name(parameter.name));
  const at::Tensor values = at::empty(parameter.global_shape, at::kDouble);
  double* data = values.data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    data[i] = random.normal(static_cast<std::uint64_t>(i));
  }
  return values;
}

/// Registers the parameters.
inline void add_parameters(dist::ParameterRegistry& registry) {
  using dist::Placement;
  const auto init = dist::Initializer::normal(0, 0.5);
  const auto add = [&](std::string name,
                       std::vector<std::int64_t> shape,
                       Placement placement,
                       bool decay,
                       bool full_precision = false) {
    const int last = static_cast<int>(shape.size()) - 1;
    registry.add({.name = std::move(name),
                  .global_shape = std::move(shape),
                  .placement = placement,
                  .decay = decay,
                  .init = init,
                  .full_precision = full_precision,
                  .padded_dim = last});
  };
  add("embedding", {13, 5}, Placement::cut(0), true);
  for (int l = 0; l < 3; ++l) {
    const std::string block = fmt::format("block{}.", l);
    add(block + "norm", {5}, {}, false, true);
    add(block + "gate", {5, 11}, {}, true);
    add(block + "in", {5, 7}, Placement::cut(1), true);
    add(block + "in_bias", {7}, Placement::cut(0), false);
    add(block + "out", {7, 5}, Placement::cut(0), true);
    add(block + "out_bias", {1}, {}, false);
  }
  add("norm", {5}, {}, false, true);
}

/// Σ over `samples` of Σ (½ w² − w x + w⁴/10) over this rank's slices, x the
/// numbers drawn for the sample. Padding has the gradient 0. Where the
/// gradients of whole parameters are to be partial, this rank of tp takes the
/// share (rank + 1) / Σ (r + 1) of their loss.
inline at::Tensor toy_loss(const dist::ParameterRegistry& registry,
                           const dist::Communicator& tp,
                           bool whole_is_partial,
                           std::int64_t first_sample,
                           std::int64_t samples) {
  at::Tensor loss = at::zeros({}, at::kDouble);
  const double ranks = tp.size();
  const double share =
      whole_is_partial ? (tp.rank() + 1) / (ranks * (ranks + 1) / 2) : 1.0;
  for (const dist::Parameter& p : registry.parameters()) {
    const double weight = p.placement.is_cut() ? 1.0 : share;
    at::Tensor x = drawn(p, first_sample);
    for (std::int64_t s = 1; s < samples; ++s) x += drawn(p, first_sample + s);
    const at::Tensor w = p.value.to(at::kDouble);
    const at::Tensor w2 = w * w;
    const auto n = static_cast<double>(samples);
    const at::Tensor terms =
        (0.5 * n + 0.1 * n * w2) * w2 - w * registry.cut(p, x);
    loss = loss + terms.sum() * weight;
  }
  return loss;
}

/// Everything that holds the parameters on one rank.
struct BucketFixture {
  BucketFixture(dist::Communicator& world,
                const Layout& layout,
                at::ScalarType dtype,
                const dist::ReducerOptions& options = {})
      : layout(layout),
        mesh(world, layout.dp, layout.tp),
        registry(mesh.tp(),
                 dtype,
                 at::kCPU,
                 /*decay_all=*/false,
                 layout.padded ? 4 : 1) {
    add_parameters(registry);
    buckets = std::make_unique<dist::FlatBuckets>(
        registry,
        mesh,
        dist::BucketOptions{.bytes = 400,
                            .align = layout.padded ? 16 : 1,
                            .zero = layout.zero,
                            .whole_is_partial = layout.whole_is_partial});
    buckets->initialise(5);
    reducer = std::make_unique<dist::GradientReducer>(*buckets, options);
  }

  /// The reduced gradient of samples [first, first + samples), dealt over dp,
  /// in `micro_steps` backward passes.
  void backward(std::int64_t first,
                std::int64_t samples,
                std::int64_t micro_steps) {
    const std::int64_t own = samples / layout.dp;
    const std::int64_t each = own / micro_steps;
    for (std::int64_t micro = 0; micro < micro_steps; ++micro) {
      buckets->await();
      const at::Tensor loss =
          toy_loss(registry,
                   mesh.tp(),
                   layout.whole_is_partial,
                   first + mesh.dp().rank() * own + micro * each,
                   each);
      reducer->begin(micro + 1 == micro_steps);
      loss.backward();
    }
    reducer->finish();
  }

  Layout layout;
  dist::ProcessMesh mesh;
  dist::ParameterRegistry registry;
  std::unique_ptr<dist::FlatBuckets> buckets;
  std::unique_ptr<dist::GradientReducer> reducer;
};

}  // namespace mumoe::testing
