#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "model/model.h"
#include "mumoe/block.h"

namespace mumoe::study {

/// A mixture whose output is a model's logits, and what it sees of a batch's
/// input.
struct LogitMixture {
  const MuMoEBlock* block = nullptr;
  std::function<at::Tensor(const at::Tensor& input)> seen;
};

/// None where the last layer of `model` is another.
std::optional<LogitMixture> logit_mixture(const model::Model& model);

/// What each expert adds to the output of a block of one layer, for some
/// tokens. A layer is linear in the coefficients of each level, so an expert's
/// part is what the layer gives with its coefficient alone, and without the
/// expert the output is less by that.
class ExpertParts {
 public:
  /// a_e [T, N_e] of each level and x [T, I], where the block is and in its
  /// dtype. Throws `InputError` where ranks hold slices of the layer.
  ExpertParts(const MuMoEBlock& block,
              std::vector<at::Tensor> coefficients,
              const at::Tensor& x);

  /// Of expert n of `level`, [rows, O] for the tokens `rows` (int64).
  at::Tensor part(std::size_t level,
                  std::int64_t expert,
                  const at::Tensor& rows) const;

 private:
  const MuMoEBlock& block_;
  std::vector<at::Tensor> coefficients_;
  at::Tensor projection_;
};

}  // namespace mumoe::study
