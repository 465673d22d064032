#include "study/experts/layer_costs.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "dist/params/flat_buckets.h"
#include "dist/params/parameter_registry.h"
#include "dist/self_communicator.h"
#include "mumoe/block.h"

namespace mumoe::study {
namespace {

constexpr int kWarm = 3;

/// The most bytes of tensors that this thread has had since its construction.
class PeakBytes {
 public:
  std::int64_t read() const { return report_->peak; }

 private:
  struct Report final : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*,
                           std::int64_t bytes,
                           std::size_t,
                           std::size_t,
                           c10::Device) override {
      live += bytes;
      peak = std::max(peak, live);
    }
    bool memoryProfilingEnabled() const override { return true; }
    std::int64_t live = 0;
    std::int64_t peak = 0;
  };

  std::shared_ptr<Report> report_ = std::make_shared<Report>();
  c10::DebugInfoGuard guard_{c10::DebugInfoKind::PROFILER_STATE, report_};
};

/// Draws weights: the same for layers of the same weights. What they are does
/// not change what they cost, but for denormal numbers.
class Draw {
 public:
  at::Tensor operator()(const std::vector<std::int64_t>& shape,
                        std::int64_t inputs) {
    return at::randn(shape, generator_) /
           std::sqrt(static_cast<double>(inputs));
  }

 private:
  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(1);
};

class Linear final : public CostedLayer {
 public:
  explicit Linear(const CostRequest& r) {
    Draw draw;
    weight_ = draw({r.outputs, r.inputs}, r.inputs);
    bias_ = draw({r.outputs}, r.inputs);
    name = "linear";
    parameters = weight_.numel() + bias_.numel();
    macs = parameters;
  }
  at::Tensor forward(const at::Tensor& x) const override {
    return at::linear(x, weight_, bias_);
  }

 private:
  at::Tensor weight_, bias_;
};

/// Mixtures of linear layers W [N, I, O] with biases and a gate.
class Mixture : public CostedLayer {
 protected:
  Mixture(const CostRequest& r, std::int64_t used) {
    Draw draw;
    gate_ = draw({r.inputs, r.experts}, r.inputs);
    weights_ = draw({r.experts, r.inputs, r.outputs}, r.inputs);
    biases_ = draw({r.experts, r.outputs}, r.inputs);
    detail = fmt::format("{} of {} experts", used, r.experts);
    parameters = gate_.numel() + weights_.numel() + biases_.numel();
    macs = gate_.numel() + used * (r.inputs + 1) * r.outputs;
  }
  at::Tensor logits(const at::Tensor& x) const { return x.matmul(gate_); }

  at::Tensor gate_, weights_, biases_;
};

class DenseMixture final : public Mixture {
 public:
  explicit DenseMixture(const CostRequest& r) : Mixture(r, r.experts) {
    name = "dense MoE";
  }
  at::Tensor forward(const at::Tensor& x) const override {
    const at::Tensor a_TN = at::softmax(logits(x), 1);
    const at::Tensor y_NTO = x.unsqueeze(0).matmul(weights_);
    // Σ_n a_n y_n for each token, and the biases mixed.
    return at::bmm(a_TN.unsqueeze(1), y_NTO.transpose(0, 1)).squeeze(1) +
           a_TN.matmul(biases_);
  }
};

class SparseMixture final : public Mixture {
 public:
  explicit SparseMixture(const CostRequest& r)
      : Mixture(r, r.active), active_(r.active) {
    name = "sparse MoE";
  }
  at::Tensor forward(const at::Tensor& x) const override {
    const auto [top, which] = at::topk(logits(x), active_, 1);
    const at::Tensor a_TK = at::softmax(top, 1);
    const at::Tensor y = at::zeros({x.size(0), biases_.size(1)});
    for (std::int64_t t = 0; t < x.size(0); ++t) {
      for (std::int64_t k = 0; k < active_; ++k) {
        const auto n = which[t][k].item<std::int64_t>();
        y[t].add_(at::addmv(biases_[n], weights_[n].t(), x[t]),
                  a_TK[t][k].item<double>());
      }
    }
    return y;
  }

 private:
  std::int64_t active_;
};

/// A factorised layer.
class Factorised final : public CostedLayer {
 public:
  Factorised(const CostRequest& r, Form form)
      : registry_(*self_, at::kFloat, at::kCPU),
        block_(config_of(r, form), "", registry_),
        buckets_(registry_, std::int64_t{1} << 22) {
    buckets_.initialise(1);
    const at::NoGradGuard no_grad;
    for (const dist::Parameter& p : registry_.parameters()) {
      // A gate that is zero would mix all experts alike.
      if (p.name.starts_with("gate.")) {
        at::Tensor value = p.value.detach();
        value.copy_(Draw()(p.global_shape, r.inputs));
      }
    }
    name = to_string(form);
    detail = fmt::format("ranks {}", fmt::join(block_.config().ranks, ", "));
    parameters = MuMoEBlock::parameter_count(block_.config());
    macs = MuMoEBlock::macs_per_token(block_.config());
  }
  at::Tensor forward(const at::Tensor& x) const override {
    return block_.forward(x);
  }

 private:
  static BlockConfig config_of(const CostRequest& r, Form form) {
    BlockConfig config{.input_dim = r.inputs,
                       .hidden_dim = r.outputs,
                       .experts = {r.experts},
                       .form = form,
                       .input_layer_norm = false};
    const std::int64_t linear =
        dense_mlp_parameters(r.inputs, r.outputs, 0, /*bias=*/true);
    config.ranks = match_ranks(config.shape(),
                               {.budget = linear, .rounding = Rounding::ceil});
    return config;
  }

  std::unique_ptr<dist::Communicator> self_ =
      dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry_;
  MuMoEBlock block_;
  dist::FlatBuckets buckets_;
};

double quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(
      share * static_cast<double>(sorted.size() - 1) + 0.5)];
}

}  // namespace

std::vector<std::unique_ptr<CostedLayer>> costed_layers(
    const CostRequest& request) {
  const at::NoGradGuard no_grad;
  require(request.active <= request.experts,
          "--active {}: expected at most --experts {}",
          request.active,
          request.experts);
  std::vector<std::unique_ptr<CostedLayer>> layers;
  layers.push_back(std::make_unique<Linear>(request));
  layers.push_back(std::make_unique<DenseMixture>(request));
  layers.push_back(std::make_unique<SparseMixture>(request));
  layers.push_back(std::make_unique<Factorised>(request, Form::tensor_ring));
  layers.push_back(std::make_unique<Factorised>(request, Form::cp));
  return layers;
}

std::vector<LayerCost> measure_layers(
    const std::vector<std::unique_ptr<CostedLayer>>& layers,
    const CostRequest& request) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({request.tokens, request.inputs});
  std::vector<LayerCost> costs;
  for (const auto& layer : layers) {
    for (int i = 0; i < kWarm; ++i) layer->forward(x);
    LayerCost cost{.weight_bytes = 4 * layer->parameters};
    const PeakBytes peak;
    layer->forward(x);
    cost.peak_bytes = peak.read();
    costs.push_back(cost);
  }
  std::vector<std::vector<double>> times(layers.size());
  for (int repeat = 0; repeat < request.repeats; ++repeat) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const auto begin = std::chrono::steady_clock::now();
      layers[i]->forward(x);
      times[i].push_back(std::chrono::duration<double, std::milli>(
                             std::chrono::steady_clock::now() - begin)
                             .count());
    }
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::ranges::sort(times[i]);
    costs[i].latency_ms = quantile(times[i], 0.5);
    costs[i].low_ms = quantile(times[i], 0.25);
    costs[i].high_ms = quantile(times[i], 0.75);
  }
  return costs;
}

}  // namespace mumoe::study
