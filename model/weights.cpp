#include "model/weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <string>

#include "base/error.h"
#include "mumoe/safetensors.h"

namespace mumoe::model {

void load_weights(const std::filesystem::path& file,
                  dist::FlatBuckets& buckets) {
  const NamedTensors named = read_safetensors(file);
  const auto whole = [&](const dist::Parameter& p) -> const at::Tensor& {
    // The weights that were trained, beside the optimizer's moments.
    const auto found = named.tensors.find("master." + p.name);
    require(found != named.tensors.end(),
            "{}: no tensor is named master.{}: expected a checkpoint of this "
            "model",
            file.string(),
            p.name);
    require(found->second.sizes() == at::IntArrayRef(p.global_shape),
            "{}: tensor master.{} has shape {}, expected {}",
            file.string(),
            p.name,
            found->second.sizes(),
            at::IntArrayRef(p.global_shape));
    return found->second;
  };
  for (const auto& p : buckets.registry().parameters()) whole(p);
  const at::NoGradGuard no_grad;
  for (const auto& bucket : buckets.buckets()) {
    for (const auto& entry : bucket.entries) {
      buckets.assign(whole(buckets.parameter(entry)), bucket, entry);
    }
  }
}

}  // namespace mumoe::model
