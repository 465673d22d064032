#pragma once

#include <string>
#include <vector>

#include "study/loss/loss_analysis.h"
#include "study/report/page.h"

namespace mumoe::study {

// Of a loss study, a table each; one without rows has nothing to say.
// Intervals are of 90 %, in brackets.

/// E, the exponents and a of N_opt ~ C^a: a row for each law.
Table law_table(const LossAnalysis& analysis);
/// A, B, what the laws were fitted to, and how well.
Table fit_table(const LossAnalysis& analysis);
/// The best size, tokens and loss at each budget, by the laws.
Table optimum_table(const LossAnalysis& analysis);
/// The minimum among measured sizes at each budget, without a law.
Table parabola_table(const LossAnalysis& analysis);
/// Forms against the first at equal parameters and tokens.
Table difference_table(const LossAnalysis& analysis);
/// How many times the FLOPs of other forms the first takes.
Table multiplier_table(const LossAnalysis& analysis);
/// Every model after every number of tokens.
Table loss_cell_table(const LossAnalysis& analysis);

/// One line each: points that are left out, laws that there are not, draws that
/// failed, optima outside of measured sizes, forms that do not compare.
std::vector<std::string> loss_notes(const LossAnalysis& analysis);

/// One line each: the mean difference of every form from the first.
std::vector<std::string> comparison_lines(const LossAnalysis& analysis);

}  // namespace mumoe::study
