#pragma once

#include <cstdint>
#include <vector>

#include "mumoe/form.h"

namespace mumoe::study {

/// A layer of some form in a sweep over the number of experts.
struct SweptLayer {
  Form form = Form::cp;
  std::vector<std::int64_t> ranks = {};
  std::int64_t matrix_rank = 0;  ///< Largest that an expert's matrix can have.
  std::int64_t parameters = 0;   ///< With the gate.
  std::int64_t macs = 0;         ///< For one token, without the gate.
};

/// One layer I -> O with N experts, in several ways; all have expert biases.
struct SweptCount {
  std::int64_t experts = 0;
  /// As many parameters as the budget, gate included, or the few more that the
  /// next rank needs (the authors' rule for heads): CP, and a ring of r_1 = r_2
  /// = 4.
  SweptLayer cp = {};
  SweptLayer ring = {};
  /// Ranks that let every expert have the rank of a whole matrix: CP with R =
  /// min(I, O), and a ring of r_1 = r_2 = 4 with a quarter of that as r_3.
  SweptLayer whole_cp = {};
  SweptLayer whole_ring = {};
  /// Of experts that are matrices of their own, with the gate; and what their
  /// sum takes for one token, all of them used, without it.
  std::int64_t dense_parameters = 0;
  std::int64_t dense_macs = 0;
};

/// Of each of `experts`. Throws `InputError` where a budget leaves nothing
/// beside the gate.
std::vector<SweptCount> sweep_experts(std::int64_t inputs,
                                      std::int64_t outputs,
                                      const std::vector<std::int64_t>& experts,
                                      std::int64_t budget);

}  // namespace mumoe::study
