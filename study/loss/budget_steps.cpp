#include "study/loss/budget_steps.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace mumoe::study {
namespace {

constexpr std::int64_t kMostSteps = 1'000'000'000;

}  // namespace

std::vector<BudgetSteps> budget_steps(std::span<const std::int64_t> budgets,
                                      double decay,
                                      std::int64_t step_targets,
                                      const std::string& target) {
  std::vector<BudgetSteps> all;
  for (std::size_t i = 0; i < budgets.size(); ++i) {
    const std::int64_t steps = (budgets[i] - 1) / step_targets + 1;
    require(steps <= kMostSteps,
            "budgets[{}] = {}: {} steps; expected {} at most",
            i,
            budgets[i],
            steps,
            kMostSteps);
    require(all.empty() || steps > all.back().all,
            "budgets[{}] = {}: as many steps of {} {}s as the one before it; "
            "expected a step more",
            i,
            budgets[i],
            step_targets,
            target);
    const auto falls = std::max<std::int64_t>(
        1,
        std::llround(decay * static_cast<double>(steps)));
    all.push_back({steps, steps - falls});
  }
  return all;
}

}  // namespace mumoe::study
