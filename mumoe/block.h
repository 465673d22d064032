#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "mumoe/factors.h"
#include "mumoe/gate.h"
#include "mumoe/mixture.h"
#include "mumoe/rank_matching.h"

namespace mumoe {

/// What a μMoE block is made of. Counts are of elements; all positive.
struct BlockConfig {
  std::int64_t input_dim = 0;
  /// O of the first layer; I of the second.
  std::int64_t hidden_dim = 0;
  /// O of the second layer; 0: a single layer, without GELU.
  std::int64_t output_dim = 0;
  /// Experts of each level, one to four levels.
  std::vector<std::int64_t> experts = {};
  Form form = Form::cp;
  /// In the order of `LayerShape::ranks`, the same in both layers.
  std::vector<std::int64_t> ranks = {};
  GateConfig gate = {};
  /// Whether experts see an affine layer norm of the input. The gate always
  /// sees the input itself.
  bool input_layer_norm = true;
  /// Whether every expert has a bias (the folded row of the input factor).
  bool expert_bias = true;
  /// σ of N(1, σ²) for levels after the first; the authors have 0, from which
  /// those levels cannot specialise (see `add_factors`).
  double level_noise = 0;
  /// How the factors are cut between ranks.
  Sharding sharding = {};
  /// How to compute; none of these changes what is computed.
  GemmLibrary gemm = preferred_gemm_library();
  Mixing mixing = Mixing::automatic;
  bool recompute = false;
  bool gradients_in_place = false;
  /// Whether edits of experts are buffers of the registry, edits.E [N_E], and
  /// so part of what is kept and moved with the parameters.
  bool edits_registered = false;

  /// Throws `InputError`: what, and what was expected.
  void validate() const;
  /// What counts and ranks depend on.
  BlockShape shape() const;
  /// O of the whole block.
  std::int64_t outputs() const {
    return output_dim == 0 ? hidden_dim : output_dim;
  }
};

/// `config`, which names no ranks, with the largest for so many parameters,
/// gate and norm among them (`match_ranks`); 0: as many as the dense MLP (or
/// linear layer) that it takes the place of, with biases and norm. Throws
/// `InputError` where ranks are given, or where not even ranks of 1 fit.
BlockConfig with_parameters(BlockConfig config, std::int64_t parameters = 0);

/// A gate and one or two μMoE layers in place of an MLP:
///   a_e = φ(norm(x G_e)),  y = layer2(GELU(layer1(LN(x), a)), a).
/// G starts at zero, so that every token first mixes all experts evenly.
///
/// Expert edits multiply coefficients and leave the others as they are: the
/// same as multiplying the experts' rows of both layers' factors.
///
/// Levels, experts and layers count from 0, in calls and in messages. A copy of
/// a block shares its tensors. Not thread-safe.
class MuMoEBlock {
 public:
  /// Registers the parameters under `prefix`, cut as `config.sharding` says:
  /// gate.E [I, N_E], input_ln.weight, input_ln.bias and the factors of layer1.
  /// and layer2. (`add_factors`), and as buffers gate_norm.E.running_mean and
  /// .running_var of a batch norm. Weight decay applies to all but the norm. A
  /// batch-norm gate takes its statistics over all ranks of `batch_group`
  /// (null: this process alone), which must outlive the block; with cut tokens,
  /// that is dp and tp.
  MuMoEBlock(BlockConfig config,
             const std::string& prefix,
             dist::ParameterRegistry& registry,
             dist::Communicator* batch_group = nullptr);

  /// x [..., I] → [..., O] in the compute dtype; under the plan `sequence`,
  /// this rank's tokens of both. x is fp32, fp64 or bf16 and may be of a wider
  /// dtype than the block: the norm then sees all of it, the products its
  /// rounded value. Collective over the tp group, and over `batch_group` for a
  /// batch-norm gate in training. Throws `InputError` for an x of another
  /// shape, dtype or device, and while the parameters have no values.
  at::Tensor forward(const at::Tensor& x) const;
  /// The same, and the coefficients a_e [..., N_e] that were mixed (after
  /// edits), without their graph.
  at::Tensor forward(const at::Tensor& x,
                     std::vector<at::Tensor>& coefficients) const;

  /// The same for x [T, I] whose norm the caller has made: `z` [T, I] = LN(x)
  /// by `norm()`, in the compute dtype. The gate sees x.
  at::Tensor forward_normed(const at::Tensor& x, const at::Tensor& z) const;
  /// The norm that experts see their input through; undefined: none.
  const InputNorm& norm() const { return norm_; }

  /// The coefficients a_e [..., N_e] of each level for x [..., I], before edits
  /// and without a graph, by the running statistics of a batch-norm gate.
  /// Errors are those of `forward`.
  std::vector<at::Tensor> coefficients(const at::Tensor& x) const;

  /// Whoever looks at a block inside of a model: receives the coefficients of
  /// every forward pass from now on, as `forward` gives them, but that all
  /// tokens are one dim: a_e [T, N_e]. Empty: nobody.
  using Watcher = std::function<void(const std::vector<at::Tensor>&)>;
  void watch(Watcher watcher) const { watcher_ = std::move(watcher); }
  /// The same of what it mixes: `input` [T, I], which experts see through
  /// `norm` (undefined tensors: as it is).
  using InputWatcher =
      std::function<void(const at::Tensor& input, const InputNorm& norm)>;
  void watch_inputs(InputWatcher watcher) const {
    input_watcher_ = std::move(watcher);
  }

  /// How the last forward pass mixed the experts.
  const MixingReport& last_mixing() const { return last_mixing_; }
  /// From now on every forward pass on a GPU adds there, without waiting, how
  /// many coefficients are not zero to `counter`, int64 [] on the same device.
  void count_active(at::Tensor counter) const {
    last_mixing_.counter = std::move(counter);
  }

  /// How automatic mixing does it on a GPU from now on: densely, to begin with.
  void mix_on_gpu(Mixing mixing) const { gpu_mixing_ = mixing; }

  /// For as long as it lives, passes through a block repeat earlier ones, for
  /// their backward: nobody is told of them, and nothing is counted. Not for a
  /// batch-norm gate in training.
  class Repeating {
   public:
    explicit Repeating(const MuMoEBlock& block) : block_(block) {
      block_.repeating_ = true;
    }
    ~Repeating() { block_.repeating_ = false; }
    Repeating(const Repeating&) = delete;
    Repeating& operator=(const Repeating&) = delete;

   private:
    const MuMoEBlock& block_;
  };

  /// Whether a batch-norm gate uses and updates statistics of the batch (it
  /// does, to begin with) or uses the running ones.
  void set_training(bool training);

  /// The expert `indices[e]` of each level, of layer 0 or 1, as its matrix and
  /// bias. Throws `InputError` where ranks hold slices of the layer.
  Expert materialize(std::size_t layer,
                     const std::vector<std::int64_t>& indices) const;

  /// Multiplies expert n of `level` by `factor`, on top of earlier edits; of
  /// several levels, it is all experts below that branch. Throws `InputError`
  /// for an expert that there is not.
  void scale_expert(std::size_t level, std::int64_t expert, double factor);
  /// Takes expert n out: `scale_expert` by 0.
  void remove_expert(std::size_t level, std::int64_t expert);
  /// Takes all but these out.
  void keep_experts(std::size_t level,
                    const std::vector<std::int64_t>& experts);
  void clear_edits();
  /// What all edits multiply by, [N_E] a level, undefined: nothing; and back to
  /// that.
  std::vector<at::Tensor> edits() const;
  void set_edits(const std::vector<at::Tensor>& edits);

  const BlockConfig& config() const { return config_; }
  /// What its parameters' names begin with: "h.0.mlp.".
  const std::string& prefix() const { return prefix_; }
  /// The factors of the one or two layers; they share the parameters' storage
  /// (`Factors`).
  const std::vector<Factors>& layers() const { return layers_; }
  /// Running statistics, one a level; none without batch norm.
  std::vector<BatchStatistics>& statistics() { return statistics_; }

  /// Elements of all parameters of such a block.
  static std::int64_t parameter_count(const BlockConfig& config);
  /// Multiply-accumulates for one token (Table 6 of the paper, and what rings
  /// and Tucker add).
  static std::int64_t macs_per_token(const BlockConfig& config);

 private:
  LayerCut cut_of(std::size_t layer, std::size_t layers) const;
  /// Its name for messages, if its parameters have values.
  std::string require_values() const;
  /// x as [T, I], if this block takes it.
  at::Tensor rows_of(const at::Tensor& x) const;
  /// The mixture of `in` [T, I] seen through `norm`, by the gates of x [T, I];
  /// and what was mixed.
  at::Tensor mix(const at::Tensor& x,
                 const at::Tensor& in,
                 const InputNorm& norm,
                 std::vector<at::Tensor>& coefficients) const;
  /// a_e before edits; `training`: a batch norm may use the batch.
  std::vector<at::Tensor> run_gates(const at::Tensor& x, bool training) const;
  std::vector<at::Tensor> edited(std::vector<at::Tensor> coefficients) const;
  at::Tensor& scale_of(std::size_t level, std::int64_t expert);

  BlockConfig config_;
  std::string prefix_;
  /// Whether parameters [first_, last_) of the registry have values.
  std::shared_ptr<const std::vector<bool>> given_;
  std::size_t first_ = 0, last_ = 0;
  std::vector<at::Tensor> gates_;
  std::vector<BatchStatistics> statistics_;
  InputNorm norm_;
  std::vector<Factors> layers_;
  /// One [N_e] a level; undefined while nothing is edited and none is
  /// registered.
  std::vector<at::Tensor> scales_;
  mutable MixingReport last_mixing_;
  mutable Mixing gpu_mixing_ = Mixing::dense;
  mutable Watcher watcher_;
  mutable InputWatcher input_watcher_;
  mutable bool repeating_ = false;
};

}  // namespace mumoe
