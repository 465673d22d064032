#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "run/optimizer_state.h"
#include "run/run_state.h"
#include "tests/support/parameters.h"

// A model of a few numbers and the state of its optimizer, at any layout, whose
// values are a function of the number of the save: what of it came back?

namespace mumoe::testing {

struct SavedLayout {
  int dp = 1;
  int tp = 1;
  int zero = 0;
  at::ScalarType compute = at::kFloat;
  /// Rows are padded and parameters begin at multiples, as on a GPU.
  bool padded = false;
  /// Parameters of all kinds, not just three, and a large one.
  bool many = false;
  bool large = false;
  std::int64_t bucket_bytes = 400;

  std::string describe() const {
    return fmt::format("dp {} tp {} zero {} {}{}",
                       dp,
                       tp,
                       zero,
                       c10::toString(compute),
                       padded ? " padded" : "");
  }
};

inline void add_saved(dist::ParameterRegistry& registry,
                      const SavedLayout& layout) {
  using dist::Placement;
  const auto add = [&](std::string name,
                       std::vector<std::int64_t> shape,
                       Placement placement,
                       bool trained = true,
                       bool full_precision = false) {
    const int last = static_cast<int>(shape.size()) - 1;
    registry.add({.name = std::move(name),
                  .global_shape = std::move(shape),
                  .placement = placement,
                  .decay = placement.is_cut(),
                  .init = {},
                  .full_precision = full_precision,
                  .padded_dim = trained ? last : -1,
                  .trained = trained});
  };
  add("cut", {5, 3}, Placement::cut(0));
  add("whole", {7}, {});
  add("statistics", {3}, {}, /*trained=*/false);
  // More than a block of a file.
  if (layout.large) add("large", {701, 1117}, Placement::cut(1));
  if (!layout.many) return;
  add("middle", {2, 5, 3}, Placement::cut(1));
  add("last", {3, 7}, Placement::cut(1));
  add("few", {1, 2}, Placement::cut(0));
  add("matrix", {6, 5}, {});
  add("norm", {5}, {}, true, /*full_precision=*/true);
  add("one", {1}, {});
  add("cut_statistics", {5}, Placement::cut(0), /*trained=*/false);
}

/// All of one rank.
struct SavedBuckets {
  SavedBuckets(dist::Communicator& world, const SavedLayout& layout)
      : mesh(world, layout.dp, layout.tp),
        registry(mesh.tp(),
                 layout.compute,
                 at::kCPU,
                 /*decay_all=*/false,
                 layout.padded ? 4 : 1),
        buckets(added(registry, layout),
                mesh,
                {.bytes = layout.bucket_bytes,
                 .align = layout.padded ? 16 : 1,
                 .zero = layout.zero}) {
    for (const char* name : {"first", "second"}) {
      run::Moment moment{.name = name, .shards = {}};
      for (const auto& bucket : buckets.buckets()) {
        moment.shards.push_back(bucket.trained ? at::zeros_like(bucket.master)
                                               : at::Tensor());
      }
      optimizer.push_back(std::move(moment));
    }
  }

  static dist::ParameterRegistry& added(dist::ParameterRegistry& registry,
                                        const SavedLayout& layout) {
    add_saved(registry, layout);
    return registry;
  }

  /// The numbers of save `save`, N(0, 1).
  at::Tensor values(const std::string& tensor,
                    const dist::Parameter& parameter,
                    int save) const {
    const CounterRandom random(static_cast<std::uint64_t>(save),
                               Purpose::test,
                               hash_name(tensor + parameter.name));
    const at::Tensor all = at::empty(parameter.global_shape, at::kDouble);
    for (std::int64_t i = 0; i < all.numel(); ++i) {
      all.data_ptr<double>()[i] = random.normal(static_cast<std::uint64_t>(i));
    }
    return all.to(registry.master_dtype());
  }

  /// Sets masters, weights and moments to those of save `save`. Collective.
  void fill(int save) {
    const at::NoGradGuard no_grad;
    for (std::size_t b = 0; b < buckets.buckets().size(); ++b) {
      const auto& bucket = buckets.buckets()[b];
      for (const auto& entry : bucket.entries) {
        const auto& p = buckets.parameter(entry);
        buckets.scatter(values("master", p, save),
                        bucket,
                        entry,
                        bucket.master);
        for (auto& moment : optimizer) {
          if (!bucket.trained) continue;
          buckets.scatter(values(moment.name, p, save),
                          bucket,
                          entry,
                          moment.shards[b]);
        }
      }
    }
    registry.set_given();
    buckets.refresh_compute();
  }

  /// What is not as `fill` makes it; empty: nothing. Collective.
  std::string differences(int save) const {
    const at::NoGradGuard no_grad;
    std::string different;
    for (std::size_t b = 0; b < buckets.buckets().size(); ++b) {
      const auto& bucket = buckets.buckets()[b];
      const auto compare = [&](const std::string& tensor,
                               const at::Tensor& shard) {
        const at::Tensor all = buckets.unshard(bucket, shard);
        for (const auto& entry : bucket.entries) {
          const auto& p = buckets.parameter(entry);
          const bool same =
              at::equal(buckets.gather(all, entry), values(tensor, p, save));
          if (!same) different += " " + tensor + "." + p.name;
        }
      };
      compare("master", bucket.master);
      if (!bucket.trained) continue;
      for (const auto& moment : optimizer) {
        compare(moment.name, moment.shards[b]);
      }
    }
    return different;
  }

  /// The number of the save is that of the samples.
  static run::RunState state(std::int64_t step, int save) {
    return {.step = step,
            .samples = save,
            .settings = {{"model.width", "5"}},
            .taken = run::TakenSamples{7, 9}};
  }

  dist::ProcessMesh mesh;
  dist::ParameterRegistry registry;
  dist::FlatBuckets buckets;
  run::OptimizerState optimizer;
};

}  // namespace mumoe::testing
