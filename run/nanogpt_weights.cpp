#include "run/nanogpt_weights.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "run/weight_names.h"

namespace mumoe::run {

NamedTensors to_nanogpt(const dist::ParameterRegistry& registry,
                        const NamedTensors& whole) {
  NamedTensors out;
  out.metadata = whole.metadata;
  for (const auto& theirs : foreign_tensors(WeightFormat::mumoe, registry)) {
    std::vector<at::Tensor> parts;
    for (const auto& [index, location] : theirs.pieces) {
      const std::string& name = registry.parameters()[index].name;
      parts.push_back(to_theirs(location, whole.at(name)));
    }
    out.tensors[theirs.name] = join_parts(parts);
  }
  return out;
}

NamedTensors from_nanogpt(const dist::ParameterRegistry& registry,
                          const NamedTensors& nanogpt) {
  NamedTensors out;
  out.metadata = nanogpt.metadata;
  for (const auto& theirs : foreign_tensors(WeightFormat::mumoe, registry)) {
    const at::Tensor& value = nanogpt.at(theirs.name);
    for (const auto& [index, location] : theirs.pieces) {
      const auto& parameter = registry.parameters()[index];
      require(value.sizes() == at::IntArrayRef(theirs.shape),
              "{}: shape {} does not hold the {} expected for {}",
              theirs.name,
              value.sizes(),
              at::IntArrayRef(theirs.shape),
              parameter.name);
      out.tensors[parameter.name] = from_theirs(location, parameter, value);
    }
  }
  return out;
}

}  // namespace mumoe::run
