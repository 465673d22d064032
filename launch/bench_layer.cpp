#include "launch/bench_layer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>

#include "base/error.h"
#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "launch/plan_choice.h"
#include "model/dense_mlp.h"
#include "mumoe/block.h"
#include "mumoe/gelu.h"
#include "mumoe/live_bytes.h"

namespace mumoe::launch {
namespace {

constexpr std::int64_t kTokens = 4096;
constexpr std::int64_t kRows = 8192, kLogits = 256;  // of entmax15

/// A product of a forward pass, [rows, inner] · [inner, columns], and the two
/// of its backward pass.
struct Product {
  std::int64_t inner;
  std::int64_t columns;
};

struct Place {
  at::ScalarType dtype;
  at::Device device;
};

/// A module whose forward pass is a function of x [T, I].
class ModuleCase : public LayerCase {
 public:
  ModuleCase(Place place, std::int64_t inputs, std::int64_t outputs)
      : self_(dist::make_self_communicator(at::kCPU)),
        registry_(*self_,
                  place.dtype,
                  place.device,
                  /*decay_all=*/false,
                  train::row_multiple(place.device)),
        device_(place.device),
        x_(at::randn({kTokens, inputs}).to(device_)),
        upstream_(at::randn({kTokens, outputs}).to(device_, place.dtype)) {
    x_.requires_grad_(true);
  }

  LayerTiming run() override {
    if (!warm_) {
      warm_ = true;
      gemm_ms();
      pass();
    }
    // The second of two: the passes of a training run follow one another, they
    // do not wake up.
    pass();
    LayerTiming timing = pass();
    timing.gemm_ms = gemm_ms();
    const LiveBytes live;
    const at::Tensor y = forward(x_);
    timing.held_bytes = live.read() - static_cast<std::int64_t>(y.nbytes());
    return timing;
  }
  double flops() const override {
    double macs = 0;
    for (const Product& p : products()) {
      macs += static_cast<double>(p.inner) * static_cast<double>(p.columns);
    }
    return 6 * macs * kTokens;
  }
  std::int64_t parameters() const override { return registry_.global_numel(); }
  std::string mixing() const override { return ""; }

 protected:
  virtual at::Tensor forward(const at::Tensor& x) = 0;
  virtual std::vector<Product> products() const = 0;
  dist::ParameterRegistry& registry() { return registry_; }
  const dist::ParameterRegistry& registry() const { return registry_; }
  /// Gives the parameters their values; after all are registered.
  void initialise() {
    buckets_ = std::make_unique<dist::FlatBuckets>(
        registry_,
        dist::BucketOptions{
            .bytes = 64 << 20,
            .align = train::bucket_options({}, {}, device_).align});
    buckets_->initialise(1);
  }
  const at::Tensor& x() const { return x_; }

 private:
  LayerTiming pass() {
    for (const auto& p : registry_.parameters()) {
      at::Tensor(p.value).mutable_grad().reset();
    }
    x_.mutable_grad().reset();
    const double start = now_ms(device_);
    forward(x_).backward(upstream_);
    return {.ms = now_ms(device_) - start};
  }

  double gemm_ms() {
    const at::NoGradGuard no_grad;
    const auto dtype = upstream_.scalar_type();
    const GemmLibrary library = preferred_gemm_library();
    double sum = 0;
    for (const Product& p : products()) {
      // Numbers like those of a run: products of equal ones are faster.
      const auto draw = [&](std::int64_t rows, std::int64_t columns) {
        return at::randn({rows, columns}).to(device_, dtype);
      };
      const at::Tensor x = draw(kTokens, p.inner);
      const at::Tensor y = draw(kTokens, p.columns);
      const at::Tensor w = draw(p.inner, p.columns);
      const double start = now_ms(device_);
      const at::Tensor out = mm(x, w, library);
      const at::Tensor dx = mm(y, w.t(), library);
      const at::Tensor dw = mm(x.t(), y, library);
      sum += now_ms(device_) - start;
    }
    return sum;
  }

  std::unique_ptr<dist::Communicator> self_;
  dist::ParameterRegistry registry_;
  std::unique_ptr<dist::FlatBuckets> buckets_;
  at::Device device_;
  at::Tensor x_;
  at::Tensor upstream_;
  bool warm_ = false;
};

class BlockCase final : public ModuleCase {
 public:
  BlockCase(const BlockConfig& config, Place place)
      : ModuleCase(place, config.input_dim, config.output_dim),
        block_(config, "", registry()) {
    initialise();
    const at::NoGradGuard no_grad;
    for (const auto& p : registry().parameters()) {
      if (p.name.starts_with("gate.")) p.value.copy_(at::randn(p.global_shape));
    }
  }
  std::string mixing() const override {
    const auto a = block_.coefficients(x().detach());
    return choose_mixing(a, block_.config().mixing)[0] ? "sparse" : "dense";
  }

 private:
  at::Tensor forward(const at::Tensor& x) override { return block_.forward(x); }
  std::vector<Product> products() const override {
    const BlockConfig& c = block_.config();
    std::vector<Product> all;
    for (const auto n : c.experts) all.push_back({c.input_dim, n});
    for (const Factors& u : block_.layers()) {
      for (const auto& e : u.expert) {
        all.push_back({e.size(0), e.numel() / e.size(0)});
      }
      all.push_back({u.input.size(0), u.input.numel() / u.input.size(0)});
      all.push_back({u.output.numel() / u.output.size(0), u.output.size(0)});
    }
    return all;
  }

  MuMoEBlock block_;
};

/// LN without bias → linear → GELU → linear, as in GPT-2.
class Gpt2MlpCase final : public ModuleCase {
 public:
  Gpt2MlpCase(std::int64_t width, std::int64_t hidden, Place place)
      : ModuleCase(place, width, width),
        mlp_(width,
             hidden,
             model::DenseMlpKind::gpt2(/*depth=*/12),
             /*bias=*/false,
             "",
             registry()),
        products_{{width, hidden}, {hidden, width}} {
    initialise();
  }

 private:
  at::Tensor forward(const at::Tensor& x) override { return mlp_.forward(x); }
  std::vector<Product> products() const override { return products_; }

  model::DenseMlp mlp_;
  std::vector<Product> products_;
};

/// Linear → GELU → linear with biases, as in MLP-Mixer, whose norm is outside.
class MixerMlpCase final : public ModuleCase {
 public:
  MixerMlpCase(std::int64_t width, std::int64_t hidden, Place place)
      : ModuleCase(place, width, width),
        products_{{width, hidden}, {hidden, width}} {
    const auto add = [&](const char* name, std::vector<std::int64_t> shape) {
      return registry().add({.name = name,
                             .global_shape = std::move(shape),
                             .placement = {},
                             .init = dist::Initializer::uniform(0.04)});
    };
    weights_ = {add("fc", {hidden, width}),
                add("fc_bias", {hidden}),
                add("proj", {width, hidden}),
                add("proj_bias", {width})};
    initialise();
  }

 private:
  at::Tensor forward(const at::Tensor& x) override {
    const GemmLibrary library = preferred_gemm_library();
    const at::Tensor h =
        mumoe::gelu(mumoe::linear(x.to(weights_[0].scalar_type()),
                                  weights_[0],
                                  weights_[1],
                                  library));
    return mumoe::linear(h, weights_[2], weights_[3], library);
  }
  std::vector<Product> products() const override { return products_; }

  std::vector<at::Tensor> weights_;
  std::vector<Product> products_;
};

class EntmaxCase final : public LayerCase {
 public:
  explicit EntmaxCase(Place place)
      : device_(place.device),
        logits_(at::randn({kRows, kLogits}).to(device_, place.dtype)),
        upstream_(at::randn({kRows, kLogits}).to(device_, place.dtype)) {
    logits_.requires_grad_(true);
  }
  LayerTiming run() override {
    double ms = 0;
    for (int pass = 0; pass < 2; ++pass) {
      logits_.mutable_grad().reset();
      const double start = now_ms(device_);
      gate_coefficients(logits_, {.norm = GateNorm::none}).backward(upstream_);
      ms = now_ms(device_) - start;
    }
    return {.ms = ms};
  }
  double flops() const override { return 0; }
  std::int64_t parameters() const override { return 0; }
  std::string mixing() const override { return ""; }

 private:
  at::Device device_;
  at::Tensor logits_;
  at::Tensor upstream_;
};

BlockConfig gpt2_block(Form form, std::vector<std::int64_t> ranks) {
  return {.input_dim = 768,
          .hidden_dim = 3072,
          .output_dim = 768,
          .experts = {256},
          .form = form,
          .ranks = std::move(ranks)};
}

BlockConfig mixer_block(Form form, std::vector<std::int64_t> ranks) {
  return {.input_dim = 512,
          .hidden_dim = 2048,
          .output_dim = 512,
          .experts = {64},
          .form = form,
          .ranks = std::move(ranks),
          .input_layer_norm = false};
}

const std::map<std::string, BlockConfig>& blocks() {
  static const std::map<std::string, BlockConfig> all{
      {"cp-gpt2", gpt2_block(Form::cp, {556})},
      {"tr-gpt2", gpt2_block(Form::tensor_ring, {4, 4, 149})},
      {"tt-gpt2", gpt2_block(Form::tensor_train, {1, 4, 149})},
      {"tucker-gpt2", gpt2_block(Form::tucker, {4, 149, 149})},
      {"cp-mixer", mixer_block(Form::cp, {384})},
      {"tr-mixer", mixer_block(Form::tensor_ring, {4, 4, 97})}};
  return all;
}

}  // namespace

double now_ms(at::Device device) {
  if (!device.is_cpu()) {
    const c10::impl::VirtualGuardImpl guard(device.type());
    guard.synchronizeDevice(device.index());
  }
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double, std::milli>(
             Clock::now().time_since_epoch())
      .count();
}

const std::vector<std::string>& layer_case_names() {
  static const std::vector<std::string> names{"dense-gpt2",
                                              "cp-gpt2",
                                              "tr-gpt2",
                                              "tt-gpt2",
                                              "tucker-gpt2",
                                              "dense-mixer",
                                              "cp-mixer",
                                              "tr-mixer",
                                              "entmax15"};
  return names;
}

std::unique_ptr<LayerCase> make_layer_case(const std::string& name,
                                           const std::string& precision,
                                           bool recompute,
                                           at::Device device) {
  require(precision == "fp32" || precision == "bf16",
          "precision {}: expected fp32 or bf16",
          precision);
  const Place place{precision == "bf16" ? at::kBFloat16 : at::kFloat, device};
  at::manual_seed(1);
  if (name == "entmax15") return std::make_unique<EntmaxCase>(place);
  if (name == "dense-gpt2") {
    return std::make_unique<Gpt2MlpCase>(768, 3072, place);
  }
  if (name == "dense-mixer") {
    return std::make_unique<MixerMlpCase>(512, 2048, place);
  }
  const auto found = blocks().find(name);
  require(found != blocks().end(),
          "case {}: expected one of dense-gpt2, cp-gpt2, tr-gpt2, tt-gpt2, "
          "tucker-gpt2, dense-mixer, cp-mixer, tr-mixer, entmax15",
          name);
  BlockConfig config = found->second;
  config.recompute = recompute;
  return std::make_unique<BlockCase>(config, place);
}

}  // namespace mumoe::launch
