#include "train/expert_figures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace mumoe::train {

double largest_bin(int bin, std::int64_t experts) {
  const double part = static_cast<double>(bin) / ExpertFigures::kLargestBins;
  return std::pow(static_cast<double>(experts), part - 1);
}

std::vector<double> quartiles(std::vector<double> values) {
  std::ranges::sort(values);
  std::vector<double> found;
  for (std::size_t quarter = 0; quarter <= 4; ++quarter) {
    found.push_back(values[(values.size() - 1) * quarter / 4]);
  }
  return found;
}

std::string to_json(const std::vector<ExpertFigures>& figures) {
  std::vector<std::string> gates;
  for (const ExpertFigures& f : figures) {
    gates.push_back(fmt::format(
        R"({{"layer":"{}","n":{},"tokens":{},"active":{:.17g},"dead":{},)"
        R"("idle":{},"entropy":{:.17g},"effective":{:.17g},)"
        R"("largest":[{:.17g}],"load":[{:.17g}]}})",
        f.layer,
        f.experts,
        f.tokens,
        f.active,
        f.dead,
        f.idle,
        f.entropy,
        f.effective,
        fmt::join(f.largest, ","),
        fmt::join(quartiles(f.load), ",")));
  }
  return fmt::format("[{}]", fmt::join(gates, ","));
}

std::string describe(const std::vector<ExpertFigures>& figures) {
  double active = 0, effective = 0;
  std::int64_t dead = 0;
  for (const ExpertFigures& gate : figures) {
    active += gate.active;
    effective += gate.effective;
    dead += gate.dead;
  }
  const auto gates =
      static_cast<double>(std::max<std::size_t>(figures.size(), 1));
  return fmt::format("experts {:.1f}% active, {} dead, {:.1f} effective",
                     100 * active / gates,
                     dead,
                     effective / gates);
}

}  // namespace mumoe::train
