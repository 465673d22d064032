#include "launch/decisions.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"
#include "data/attributes.h"

namespace mumoe::launch {

std::int64_t target_class(const std::string& name,
                          const std::vector<std::string>& names) {
  if (name.empty() && names.size() == 2) return 1;
  const auto found = std::ranges::find(names, name);
  require(
      found != names.end(),
      "--target {}: expected one of the {} classes, {}{}",
      name,
      names.size(),
      fmt::join(std::span(names).first(std::min<std::size_t>(5, names.size())),
                ", "),
      names.size() > 5 ? " ..." : "");
  return found - names.begin();
}

std::vector<std::uint8_t> groups_of(const StudyData& data,
                                    const std::string& group) {
  const data::Attributes* known = data.samples->attributes();
  require(known != nullptr && !known->empty(),
          "--group {}: nothing is known of the {} samples of {} but their "
          "class; expected data with attributes",
          group,
          data.part,
          data.facts.source);
  const std::size_t place = known->find(group, "--group");
  std::vector<std::uint8_t> groups;
  for (std::size_t i = 0; i < known->images(); ++i) {
    groups.push_back(known->at(i, place) ? 1 : 0);
  }
  return groups;
}

at::Tensor margins_of(const at::Tensor& logits, std::int64_t target) {
  const at::Tensor wide = logits.to(at::kCPU, at::kDouble);
  at::Tensor others = wide.clone();
  others.select(1, target).fill_(-INFINITY);
  return wide.select(1, target) - others.amax(1);
}

std::vector<double> numbers_of(const at::Tensor& tensor) {
  const at::Tensor rows = tensor.contiguous();
  const auto* first = rows.const_data_ptr<double>();
  return {first, first + rows.numel()};
}

}  // namespace mumoe::launch
