#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mumoe::study {

/// The steps of a budget: all, and those before its rate comes down.
struct BudgetSteps {
  std::int64_t all = 0;
  std::int64_t stable = 0;

  bool operator==(const BudgetSteps&) const = default;
};

/// Those of `budgets`, targets (tokens, images) seen in training, of which a
/// step has `step_targets`, named `target`: each rounded up to a whole step;
/// the rate comes down in the share `decay` of them, to the nearest step, at
/// least one. Throws `InputError` where two budgets have as many steps.
std::vector<BudgetSteps> budget_steps(std::span<const std::int64_t> budgets,
                                      double decay,
                                      std::int64_t step_targets,
                                      const std::string& target);

}  // namespace mumoe::study
