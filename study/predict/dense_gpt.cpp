#include "study/predict/dense_gpt.h"

#include <algorithm>
#include <cmath>

namespace mumoe::study {
namespace {

/// Bytes of fp16 and of what gradients are summed in.
constexpr double kHalf = 2, kSingle = 4;

// Passes over a tensor a layer, read or written, counted in Megatron-LM's
// operations: forward twice, since layers are computed again, and backward.
// Fused kernels make fewer, others more: the rates scale them.
constexpr double kWholePasses = 37;  // norms, dropout and residual
constexpr double kCutPasses = 71;    // biases, GELU, heads in their order
constexpr double kScorePasses = 14;  // scale, mask, softmax, dropout
constexpr double kLogitPasses = 13;  // softmax and loss in fp32
constexpr double kStatePasses = 11;  // of 4 bytes: unscale, norm, Adam, cast
constexpr double kLayerKernels = 120, kHeadKernels = 40, kStateKernels = 100;
/// A layer's all-reduces over tp: attention and MLP, forward twice, backward.
constexpr double kLayerReduces = 6, kHeadReduces = 2;

/// One linear layer's products a step: forward `forwards` times, and the
/// gradients of input and weight.
void add_linear(Part& part,
                double tokens,
                double outputs,
                double inputs,
                double forwards,
                double batch = 1) {
  part.products.push_back({tokens, outputs, inputs, batch, forwards});
  part.products.push_back({tokens, inputs, outputs, batch, 1});
  part.products.push_back({inputs, outputs, tokens, batch, 1});
}

/// Ranks of tp are neighbours: they fill nodes first.
Collective tp_reduce(const MeasuredRun& run,
                     const Machine& machine,
                     double bytes,
                     double times) {
  const auto tp = static_cast<double>(run.tp);
  Collective reduce;
  reduce.axis = Axis::tp;
  reduce.bytes = bytes;
  reduce.ranks = tp;
  reduce.ranks_per_node = std::min(tp, machine.gpus_per_node);
  reduce.groups_per_node =
      std::max(machine.gpus_per_node / reduce.ranks_per_node, 1.0);
  reduce.times = times;
  return reduce;
}

Collective dp_reduce(const MeasuredRun& run,
                     const Machine& machine,
                     double bytes) {
  const auto tp = static_cast<double>(run.tp);
  const auto dp = static_cast<double>(run.dp);
  Collective reduce;
  reduce.axis = Axis::dp;
  reduce.bytes = bytes;
  reduce.ranks = dp;
  reduce.groups_per_node = std::min(tp, machine.gpus_per_node);
  reduce.ranks_per_node =
      std::min(dp, std::max(std::floor(machine.gpus_per_node / tp), 1.0));
  return reduce;
}

Part layer_part(const MeasuredRun& run, const Machine& machine) {
  const auto tp = static_cast<double>(run.tp);
  const auto width = static_cast<double>(run.hidden);
  const auto length = static_cast<double>(run.sequence);
  const auto heads = static_cast<double>(run.heads);
  const double tokens = static_cast<double>(run.micro_batch) * length;
  const double head_batch = static_cast<double>(run.micro_batch) * heads / tp;

  Part part;
  part.name = "layers";
  add_linear(part, tokens, 3 * width / tp, width, 2);
  add_linear(part, tokens, width, width / tp, 2);
  add_linear(part, tokens, 4 * width / tp, width, 2);
  add_linear(part, tokens, width, 4 * width / tp, 2);
  add_linear(part, length, length, width / heads, 2, head_batch);
  add_linear(part, length, width / heads, length, 2, head_batch);
  const double activation = tokens * width * kHalf;
  part.passes = {
      {PassKind::whole, kWholePasses * activation},
      {PassKind::cut, kCutPasses * activation / tp},
      {PassKind::scores, kScorePasses * head_batch * length * length * kHalf},
  };
  part.kernels = kLayerKernels;
  part.collectives = {tp_reduce(run, machine, activation, kLayerReduces)};
  part.repeats = static_cast<double>(run.layers) * run.micro_steps();
  return part;
}

Part head_part(const MeasuredRun& run, const Machine& machine) {
  const auto tp = static_cast<double>(run.tp);
  const auto width = static_cast<double>(run.hidden);
  const double tokens = static_cast<double>(run.micro_batch * run.sequence);
  Part part;
  part.name = "head";
  add_linear(part, tokens, kMeasuredVocabulary / tp, width, 1);
  part.passes = {{PassKind::logits,
                  kLogitPasses * tokens * kMeasuredVocabulary / tp * kSingle}};
  part.kernels = kHeadKernels;
  part.collectives = {
      tp_reduce(run, machine, tokens * width * kHalf, kHeadReduces)};
  part.repeats = run.micro_steps();
  return part;
}

Part update_part(const MeasuredRun& run, const Machine& machine) {
  const auto width = static_cast<double>(run.hidden);
  const double matrices = 12 * width * width * static_cast<double>(run.layers) +
                          kMeasuredVocabulary * width;
  const double parameters = matrices / static_cast<double>(run.tp) +
                            static_cast<double>(run.sequence) * width;
  Part part;
  part.name = "update";
  part.passes = {{PassKind::state, kStatePasses * parameters * kSingle}};
  part.kernels = kStateKernels;
  part.collectives = {dp_reduce(run, machine, parameters * kSingle)};
  return part;
}

}  // namespace

StepWork dense_gpt_work(const MeasuredRun& run, const Machine& machine) {
  StepWork work;
  work.parts = {layer_part(run, machine),
                head_part(run, machine),
                update_part(run, machine)};
  work.micro_steps = run.micro_steps();
  return work;
}

}  // namespace mumoe::study
