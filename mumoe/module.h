#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "mumoe/block.h"

namespace mumoe {

/// A μMoE block as a module of LibTorch, on one process: it owns its parameters
/// and can be trained by any optimizer, moved, cloned, saved and be part of
/// other modules. What it computes is `MuMoEBlock`.
///
/// Parameters and buffers have the names that `MuMoEBlock` says: gate.0,
/// input_ln.weight, layer1.expert.0, ...; edits of experts are the buffers
/// edits.E [N_E], so that whatever keeps or moves the module keeps and moves
/// them. Levels, experts and layers count from 0. Not thread-safe.
class MuMoEImpl : public torch::nn::Cloneable<MuMoEImpl> {
 public:
  /// In fp32 on the CPU, with the initial values of `seed`: the same seed, the
  /// same values. Without `config.ranks`, those of `with_parameters(config)`.
  /// Throws `InputError` for a config that makes no block.
  explicit MuMoEImpl(BlockConfig config, std::uint64_t seed = 0);

  /// x [..., I], fp32, fp64 or bf16 → [..., O] in the dtype of the module,
  /// differentiable once in x and in the parameters. Throws `InputError` as
  /// `MuMoEBlock::forward` does.
  at::Tensor forward(const at::Tensor& x);
  /// The coefficients a_e [..., N_e] of each level for x [..., I], before
  /// edits, without a graph.
  std::vector<at::Tensor> coefficients(const at::Tensor& x) const;
  /// Matrix [I, O] and bias [O] of the expert with one index a level, in layer
  /// 0 or 1, before edits.
  Expert expert(std::size_t layer,
                const std::vector<std::int64_t>& indices) const;

  // Edits (`MuMoEBlock`): each is on top of earlier ones, factors multiply.
  void scale_expert(std::size_t level, std::int64_t expert, double factor);
  void remove_expert(std::size_t level, std::int64_t expert);
  void keep_experts(std::size_t level,
                    const std::vector<std::int64_t>& experts);
  void clear_edits();

  /// Writes configuration, parameters, buffers and edits as safetensors, whole
  /// or not at all; `load_module` makes a module of it. Throws `InputError`
  /// naming the file.
  void save(const std::filesystem::path& path) const;
  /// Sets all of them from a file of `save`, or, by the part of the tensors'
  /// names that comes before its own, from a file that holds more: of block 3
  /// of a checkpoint of GPT-2, "master.h.3.mlp.". Values are rounded to the
  /// dtype of the module. Throws `InputError`, with nothing changed, that says
  /// which tensor is missing, not expected or of another shape, or what of the
  /// configuration differs; a checkpoint has no edits and tells nothing of the
  /// gate.
  void load(const std::filesystem::path& path, const std::string& prefix = "");

  const BlockConfig& config() const;
  const MuMoEBlock& block() const;

  // Of torch::nn::Module. fp32, fp64 and bf16; norms and buffers stay in fp32
  // under bf16. A batch-norm gate tells `train` from `eval`.
  using Cloneable::load;
  using Cloneable::save;
  void reset() override;
  std::shared_ptr<torch::nn::Module> clone(
      const std::optional<torch::Device>& device = std::nullopt) const override;
  void train(bool on = true) override;
  void to(torch::Device device,
          torch::Dtype dtype,
          bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;
  void pretty_print(std::ostream& stream) const override;

 private:
  struct State;
  void move(std::optional<torch::Device> device,
            std::optional<torch::Dtype> dtype,
            bool non_blocking);

  BlockConfig given_;
  std::uint64_t seed_;
  /// Shared by copies, as modules' tensors are; `clone` makes others.
  std::shared_ptr<State> state_;
};

/// What holds a `MuMoEImpl`, as modules of LibTorch are held:
///   mumoe::MuMoE block({.input_dim = 768, .hidden_dim = 3072,
///                       .output_dim = 768, .experts = {256}});
///   y = block(x);  block->save("block.safetensors");
/// A copy shares the module.
class MuMoE : public torch::nn::ModuleHolder<MuMoEImpl> {
 public:
  using torch::nn::ModuleHolder<MuMoEImpl>::ModuleHolder;
  using Impl = MuMoEImpl;
  explicit MuMoE(BlockConfig config, std::uint64_t seed = 0)
      : ModuleHolder(std::make_shared<MuMoEImpl>(std::move(config), seed)) {}
};

/// The module that `MuMoEImpl::save` wrote, in the dtype that it had, on the
/// CPU. Throws `InputError` naming the file and what is wrong with it.
MuMoE load_module(const std::filesystem::path& path);

}  // namespace mumoe
