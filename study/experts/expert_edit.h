#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mumoe/factors.h"
#include "mumoe/form.h"

namespace mumoe::study {

/// What becomes of the experts of one gate. Coefficients stay as they are: of
/// what is taken away nothing goes to the others.
struct ExpertEdit {
  std::vector<std::int64_t> remove = {};
  std::vector<std::int64_t> keep = {};  ///< None: all.
  std::map<std::int64_t, double> scale = {};

  bool empty() const { return remove.empty() && keep.empty() && scale.empty(); }
  /// What each of `experts` experts is multiplied by. Throws `InputError`: an
  /// expert that there is not, a factor that is not finite.
  std::vector<double> factors(std::int64_t experts) const;
};

/// y_o ← y_o + λ_o vᵀa of the logits y of a head that is one μMoE layer, a the
/// coefficients of one of its gates (layer.md has λ āᵀa as expert thresholding;
/// section 4.3 of the paper).
struct LogitShift {
  std::vector<double> direction = {};       ///< v, one an expert.
  std::map<std::int64_t, double> of_class;  ///< λ_o by o.
};

/// The shape of a layer to which a shift is written: every rank but a ring's
/// r_1 grows by one. Throws `InputError` where it has no expert biases.
LayerShape shape_with_shift(const LayerShape& shape);

/// The factors of that shape which are `factors` with the shift, exactly: in
/// the ranks that are new, row n of the gate's factor is v_n, those of other
/// levels 1 (their coefficients sum to 1), the bias row and a core 1, row o of
/// the output factor λ_o, and all else zero. Throws `InputError`: another
/// number of experts or classes.
Factors with_shift(const Factors& factors,
                   std::size_t level,
                   const LogitShift& shift);

}  // namespace mumoe::study
