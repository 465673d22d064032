#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "model/model.h"
#include "mumoe/block.h"
#include "study/experts/expert_examples.h"
#include "study/experts/routing.h"

namespace mumoe::study {

/// What is about the examples of one gate. Slot (n · 2 + kind) · per_expert + i
/// is that of example i of expert n, of kind 0 (top) or 1 (drawn).
struct GateSurroundings {
  /// The coefficients of the expert at the tokens from `before` in front of the
  /// example to `after` behind it, [slots, before + 1 + after] fp32; 0 where
  /// the sample has none.
  at::Tensor around;
  /// Of top examples what their mixture mixed there, by slot n · per_expert +
  /// i: x [slots, I] and a_e [slots, N_e] of each level, fp32 (fp64 of fp64);
  /// empty where it was not asked for.
  at::Tensor input = {};
  std::vector<at::Tensor> coefficients = {};
  /// What experts see x through.
  InputNorm norm = {};
};

/// Looks a second time at the samples in which examples lie.
class CloserLook {
 public:
  struct Options {
    std::int64_t per_expert = 8;  ///< As of `ExamplePicker`.
    std::int64_t before = 0;
    std::int64_t after = 0;
    bool inputs = false;  ///< Whether inputs are kept.
  };

  /// Of the mixtures of `model`, which must outlive this.
  CloserLook(const model::Model& model,
             std::span<const Gate> gates,
             const std::vector<std::vector<ExpertExamples>>& examples,
             const Options& options);
  ~CloserLook();
  CloserLook(const CloserLook&) = delete;
  CloserLook& operator=(const CloserLook&) = delete;

  /// The samples in which examples lie, in order.
  std::vector<std::uint64_t> samples() const;
  void add(const RoutedBatch& batch);
  /// Of each gate, the same on all ranks. As `ExpertLoad::finish`. Collective;
  /// once.
  std::vector<GateSurroundings> finish(dist::Communicator& world, bool tells);

 private:
  struct Place {
    std::size_t gate = 0;
    std::int64_t expert = 0;
    std::int64_t kind = 0;
    std::int64_t number = 0;
    std::int64_t token = 0;
  };
  void take(const RoutedBatch& batch, std::int64_t row, const Place& place);
  std::size_t first_level(std::size_t gate) const;

  const model::Model& model_;
  std::vector<Gate> gates_;
  Options options_;
  std::map<std::uint64_t, std::vector<Place>> places_;
  std::vector<at::Tensor> inputs_;  ///< Of each mixture, of the last pass.
  std::vector<GateSurroundings> seen_;
};

}  // namespace mumoe::study
