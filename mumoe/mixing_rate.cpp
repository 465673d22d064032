#include "mumoe/mixing_rate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "mumoe/combine.h"
#include "mumoe/factors.h"
#include "mumoe/gemm_rate.h"

namespace mumoe {
namespace {

using Clock = std::chrono::steady_clock;

/// By how much the sparse way must be faster: times of one device differ from
/// moment to moment.
constexpr double kClear = 1.1;
constexpr double kLeastShare = 1.0 / 4096;
constexpr std::int64_t kMostTokens = 4096;
constexpr int kRounds = 3;
constexpr int kPasses = 4;

at::Tensor numbers(at::IntArrayRef shape, const at::TensorOptions& options) {
  return random_operand(1,
                        c10::multiply_integers(shape),
                        options.dtype().toScalarType(),
                        options.device())
      .view(shape);
}

/// Coefficients of which each token has `active` that are not zero.
at::Tensor coefficients(std::int64_t tokens,
                        std::int64_t experts,
                        std::int64_t active,
                        const at::TensorOptions& options) {
  const at::Tensor a = at::zeros({tokens, experts}, at::kFloat);
  auto values = a.accessor<float, 2>();
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t i = 0; i < active; ++i) {
      values[t][(7 * t + i * experts / active) % experts] =
          1.0F / static_cast<float>(active);
    }
  }
  return a.to(options);
}

/// One layer with all that both directions take.
class Timed {
 public:
  Timed(const LayerShape& shape,
        std::int64_t tokens,
        const at::TensorOptions& options)
      : tokens_(tokens) {
    u_.form = shape.form;
    u_.expert.resize(shape.experts.size());
    for (const FactorSpec& f : factor_specs(shape)) {
      u_.of(f) = numbers(f.shape(shape), options);
    }
    const auto sizes = combination_of(shape);
    projection_ = numbers({tokens, sizes.projection()}, options);
    grad_ = numbers({tokens, sizes.result()}, options);
  }

  void set_active(double share) {
    a_.clear();
    for (const at::Tensor& u : u_.expert) {
      const auto active = static_cast<std::int64_t>(
          std::lround(share * static_cast<double>(u.size(0))));
      a_.push_back(coefficients(tokens_,
                                u.size(0),
                                std::max<std::int64_t>(1, active),
                                u.options()));
    }
  }
  /// Returns what is last to be computed.
  at::Tensor run(bool sparse) const {
    const SparseLevels levels(a_.size(), sparse);
    const GemmLibrary library = preferred_gemm_library();
    combine(a_, levels, u_, projection_, library);
    return combine_backward(a_,
                            levels,
                            u_,
                            projection_,
                            grad_,
                            /*support_only=*/true,
                            /*coefficients_wanted=*/true,
                            library)
        .coefficients.back();
  }

 private:
  std::int64_t tokens_;
  Factors u_;
  std::vector<at::Tensor> a_;
  at::Tensor projection_, grad_;
};

/// Of one pass through all layers: the best of several rounds.
double seconds_of(const std::vector<Timed>& layers, bool sparse) {
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < kRounds; ++round) {
    const auto start = Clock::now();
    at::Tensor last;
    for (int pass = 0; pass < kPasses; ++pass) {
      for (const Timed& layer : layers) last = layer.run(sparse);
    }
    last[0][0].item<double>();  // waits for the device
    const std::chrono::duration<double> taken = Clock::now() - start;
    best = std::min(best, taken.count() / kPasses);
  }
  return best;
}

}  // namespace

double sparse_share(const MixingTimes& t) {
  const double slope =
      (t.more.seconds - t.few.seconds) / (t.more.share - t.few.share);
  const double at_none = t.few.seconds - slope * t.few.share;
  const double wanted = t.dense / kClear;
  if (wanted <= at_none) return 0;
  const double share = slope > 0 ? (wanted - at_none) / slope : 1;
  if (share < kLeastShare) return 0;
  return std::min(1.0, std::exp2(std::floor(std::log2(share))));
}

MixingTimes measure_mixing(const std::vector<LayerShape>& layers,
                           std::int64_t tokens,
                           at::ScalarType dtype,
                           at::Device device) {
  const at::NoGradGuard no_grad;
  const auto options = at::TensorOptions(dtype).device(device);
  std::vector<Timed> timed;
  for (const LayerShape& layer : layers) {
    timed.emplace_back(layer, std::min(tokens, kMostTokens), options);
  }
  const auto sparse = [&](double share) {
    for (Timed& layer : timed) layer.set_active(share);
    return MixingTimes::Sparse{share, seconds_of(timed, true)};
  };
  MixingTimes times = {};
  times.more = sparse(0.25);
  times.few = sparse(1.0 / 32);
  times.dense = seconds_of(timed, false);
  return times;
}

}  // namespace mumoe
