#include "study/loss/law_draws.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/random.h"

namespace mumoe::study {
namespace {

constexpr std::size_t kFewest = 20;  // draws, for 5 % of them to be one

using Group = std::vector<const LossPoint*>;

/// The points of each model and number of tokens.
std::vector<Group> groups_of(std::span<const LossPoint> points) {
  std::map<std::pair<std::string, double>, Group> groups;
  for (const LossPoint& point : points) {
    groups[{point.model, point.tokens}].push_back(&point);
  }
  std::vector<Group> all;
  for (auto& [name, group] : groups) all.push_back(std::move(group));
  return all;
}

/// Random numbers in the order in which they are asked for.
class Dice {
 public:
  explicit Dice(std::uint64_t seed, std::uint64_t draw)
      : random_(seed, Purpose::measurement, draw) {}

  template <class T>
  const T& of(const std::vector<T>& all) {
    return all[random_.below(next_++, all.size())];
  }

 private:
  CounterRandom random_;
  std::uint64_t next_ = 0;
};

std::vector<LossPoint> drawn(const std::vector<Group>& groups, Dice dice) {
  std::vector<LossPoint> points;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const Group& group = dice.of(groups);
    for (std::size_t j = 0; j < group.size(); ++j) {
      points.push_back(*dice.of(group));
    }
  }
  return points;
}

double scatter_of(std::span<const LossPoint> points, const LossLaw& law) {
  double squares = 0;
  for (const LossPoint& point : points) {
    const double predicted = law.at(point.parameters, point.tokens);
    squares += std::pow(std::log(point.loss / predicted), 2);
  }
  return std::sqrt(squares / static_cast<double>(points.size()));
}

/// Of sorted values, between those next to it.
double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto before = static_cast<std::size_t>(at);
  const double part = at - static_cast<double>(before);
  // Also where both are infinite.
  if (part == 0 || sorted[before] == sorted[before + 1]) return sorted[before];
  return sorted[before] + part * (sorted[before + 1] - sorted[before]);
}

}  // namespace

std::optional<Range> range_of(std::vector<double> values) {
  if (values.size() < kFewest) return {};
  std::ranges::sort(values);
  return Range{quantile(values, 0.05), quantile(values, 0.95)};
}

std::optional<Range> DrawnLaw::range(
    const std::function<double(const LossLaw&)>& of) const {
  std::vector<double> values;
  for (const LossLaw& law : draws) values.push_back(of(law));
  return range_of(std::move(values));
}

DrawnLaw draw_laws(std::span<const LossPoint> points,
                   const DrawOptions& options) {
  DrawnLaw all;
  all.fit = fit_loss_law(points);
  if (!all.fit.law) return all;
  const LossLaw& law = *all.fit.law;
  all.scatter = scatter_of(points, law);
  const auto groups = groups_of(points);
  for (int draw = 0; draw < options.draws; ++draw) {
    const Dice dice(options.seed, static_cast<std::uint64_t>(draw));
    const auto fit = fit_loss_law(drawn(groups, dice), law);
    if (fit.law) {
      all.draws.push_back(*fit.law);
    } else {
      ++all.failed;
    }
  }
  return all;
}

}  // namespace mumoe::study
