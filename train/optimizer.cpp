#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include <cmath>

#include "base/error.h"
#include "mumoe/kernels/on_device.h"
#include "train/kernels/adamw.h"

namespace mumoe::train {
namespace {

// Elements that one thread should have at least, to be worth starting.
constexpr std::int64_t kGrain = 1 << 16;

template <class T>
void update(const AdamWScalars& scalars,
            const dist::Bucket& bucket,
            const AdamW::Moments& moments) {
  const auto [begin, count] = bucket.owned;
  T* master = kernels::pointer<T>(bucket.master);
  const T* grad = kernels::pointer<T>(bucket.grad.narrow(0, begin, count));
  T* first = kernels::pointer<T>(moments.first);
  T* second = kernels::pointer<T>(moments.second);
  Bf16* compute =
      bucket.compute.scalar_type() == at::kBFloat16
          ? kernels::pointer<Bf16>(bucket.compute.narrow(0, begin, count))
          : nullptr;
  const at::Device device = bucket.master.device();
  const c10::OptionalDeviceGuard guard(device);
  const auto& kernel = kernels::row_for<T>(adamw_kernels, device);
  const AdamWConstants<T> constants = adamw_constants<T>(scalars);
  kernels::over_ranges(device,
                       count,
                       kGrain,
                       [&](std::int64_t from, std::int64_t to, void* stream) {
                         kernel.update(
                             stream,
                             constants,
                             master + from,
                             grad + from,
                             first + from,
                             second + from,
                             compute == nullptr ? nullptr : compute + from,
                             to - from);
                       });
}

}  // namespace

AdamW::AdamW(const run::OptimizerConfig& config, dist::FlatBuckets& buckets)
    : config_(config), buckets_(buckets) {
  config_.validate();
  for (const dist::Bucket& bucket : buckets.buckets()) {
    Moments& moments = moments_.emplace_back();
    if (!bucket.trained) continue;
    moments = {at::zeros_like(bucket.master), at::zeros_like(bucket.master)};
  }
}

void AdamW::step(double lr, double grad_scale) {
  ++steps_;
  const auto t = static_cast<double>(steps_);
  AdamWScalars scalars;
  scalars.lr = lr;
  scalars.beta1 = config_.beta1;
  scalars.beta2 = config_.beta2;
  scalars.eps = config_.eps;
  scalars.bias_correction1 = 1 - std::pow(config_.beta1, t);
  scalars.bias_correction2 = 1 - std::pow(config_.beta2, t);
  scalars.grad_scale = grad_scale;
  buckets_.await();
  // The model's front first: its weights are gathered while the rest is
  // updated, and are the first that the next forward pass needs.
  for (std::size_t b = moments_.size(); b-- > 0;) {
    const dist::Bucket& bucket = buckets_.buckets()[b];
    if (!bucket.trained) continue;
    scalars.weight_decay = bucket.decay ? config_.weight_decay : 0;
    if (bucket.master.scalar_type() == at::kDouble) {
      update<double>(scalars, bucket, moments_[b]);
    } else {
      update<float>(scalars, bucket, moments_[b]);
    }
    buckets_.start_gather(b);
  }
}

run::OptimizerState AdamW::state() const {
  run::OptimizerState state{{"adam_m", {}}, {"adam_v", {}}};
  for (const Moments& moments : moments_) {
    state[0].shards.push_back(moments.first);
    state[1].shards.push_back(moments.second);
  }
  return state;
}

double clip_factor(double norm, double clip) {
  // The small number is torch.nn.utils.clip_grad_norm_'s.
  return clip > 0 ? std::min(1.0, clip / (norm + 1e-6)) : 1.0;
}

}  // namespace mumoe::train
