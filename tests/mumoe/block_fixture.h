#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "mumoe/block.h"
#include "tests/mumoe/random_layers.h"

// Blocks with storage and values, for the tests of `MuMoEBlock`.

namespace mumoe::testing {

/// The ranks of small layers of any form: r at every place, a train's r_1 1.
inline std::vector<std::int64_t> small_ranks(Form form, std::size_t levels) {
  if (form == Form::cp) return {5};
  std::vector<std::int64_t> ranks(levels + 2, 3);
  for (std::size_t e = 0; e < levels; ++e)
    ranks[e] = form == Form::tucker ? 3 : 2;
  if (form == Form::tensor_train) ranks[0] = 1;
  ranks.back() = 4;
  return ranks;
}

inline BlockConfig small_block(Form form, std::vector<std::int64_t> experts) {
  BlockConfig config;
  config.input_dim = 6;
  config.hidden_dim = 9;
  config.output_dim = 7;
  config.form = form;
  config.ranks = small_ranks(form, experts.size());
  config.experts = std::move(experts);
  config.gemm = GemmLibrary::mkl;
  return config;
}

/// A block of one process, initialised.
class TestBlock {
 public:
  explicit TestBlock(const BlockConfig& config,
                     at::ScalarType dtype = at::kDouble)
      : self_(dist::make_self_communicator(at::kCPU)),
        registry_(*self_, dtype, at::kCPU),
        block_(config, "", registry_),
        buckets_(registry_, 1 << 16) {
    buckets_.initialise(/*seed=*/3);
    for (const auto& p : registry_.parameters()) {
      if (p.trained) parameters_.push_back(p);
    }
  }

  MuMoEBlock* operator->() { return &block_; }
  MuMoEBlock& operator*() { return block_; }
  /// Without buffers.
  const std::vector<dist::Parameter>& parameters() const { return parameters_; }
  std::int64_t parameter_count() const { return registry_.global_numel(); }
  at::Tensor value(const std::string& name) const {
    return registry_.at(name).value;
  }

  /// Normal numbers for every parameter, the same for the same name: logits of
  /// about unit size, factors around what keeps activations there.
  void randomise() const {
    const at::NoGradGuard no_grad;
    for (const auto& p : parameters()) {
      const bool norm = p.name.starts_with("input_ln");
      const double fan = static_cast<double>(
          p.name.starts_with("gate") ? p.global_shape[0] : 4);
      at::Tensor drawn = numbers(p.global_shape, hash_name(p.name));
      drawn.mul_(norm ? 0.3 : 1.5 / std::sqrt(fan));
      if (p.name == "input_ln.weight") drawn.add_(1);
      p.value.copy_(drawn);
    }
  }

  /// The gradients of Σ forward(x)∘w: of x (a leaf, cleared after), and of
  /// every parameter; zeros where there is none.
  std::vector<at::Tensor> gradients(const at::Tensor& x, const at::Tensor& w) {
    (block_.forward(x) * w).sum().backward();
    std::vector<at::Tensor> found;
    for (const at::Tensor& t : leaves(x)) {
      found.push_back(t.grad().defined() ? t.grad() : at::zeros_like(t));
      t.mutable_grad() = at::Tensor();
    }
    return found;
  }
  std::vector<at::Tensor> leaves(const at::Tensor& x) const {
    std::vector<at::Tensor> all{x};
    for (const auto& p : parameters()) all.push_back(p.value);
    return all;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all{"x"};
    for (const auto& p : parameters()) all.push_back(p.name);
    return all;
  }

 private:
  std::unique_ptr<dist::Communicator> self_;
  dist::ParameterRegistry registry_;
  MuMoEBlock block_;
  dist::FlatBuckets buckets_;
  std::vector<dist::Parameter> parameters_;
};

inline const Form kForms[] = {Form::cp,
                              Form::tensor_ring,
                              Form::tensor_train,
                              Form::tucker};

/// One level and two.
inline const std::vector<std::vector<std::int64_t>>& expert_counts() {
  static const std::vector<std::vector<std::int64_t>> counts{{11}, {5, 4}};
  return counts;
}

/// An input that takes a gradient.
inline at::Tensor input_leaf(std::int64_t tokens,
                             std::int64_t inputs,
                             at::ScalarType dtype = at::kDouble) {
  return numbers({tokens, inputs}, 900).to(dtype).requires_grad_(true);
}

}  // namespace mumoe::testing
