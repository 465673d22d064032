// Shapes: T tokens, C width, V rows of the vocabulary here, S tokens of one
// chunk.
#include "model/cross_entropy.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "dist/params/parameter_registry.h"
#include "model/cross_entropy_fused.h"
#include "mumoe/kernels/kernel_watch.h"

namespace mumoe::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Elements of one chunk of fp32 logits: 64 MiB.
constexpr std::int64_t kChunkElements = std::int64_t{1} << 24;

/// Tokens of one chunk of a head of `rows` rows.
std::int64_t chunk_of(std::int64_t rows) {
  return std::max<std::int64_t>(1, kChunkElements / rows);
}

/// Chunks of `tokens` tokens on `device`.
std::int64_t chunks_of(std::int64_t tokens,
                       std::int64_t rows,
                       at::Device device) {
  if (kernels::like_gpu(device)) return fused_chunks(tokens, rows);
  const std::int64_t chunk = chunk_of(rows);
  return (tokens + chunk - 1) / chunk;
}

/// Where the targets of one chunk lie on this rank.
struct Targets {
  at::Tensor place_S1;  ///< Row of this rank's slice; 0 for others' targets.
  at::Tensor mine_S1;   ///< 1 or 0, in the dtype of the softmax.
};

Targets find(const at::Tensor& targets_S,
             const dist::Slice& slice,
             at::ScalarType dtype) {
  const at::Tensor local = targets_S - slice.begin;
  const at::Tensor mine = local.ge(0).logical_and_(local.lt(slice.count));
  return {local.mul(mine).unsqueeze(1), mine.to(dtype).unsqueeze(1)};
}

/// log p of one chunk: of this rank's rows, and of the targets.
struct LogSoftmax {
  at::Tensor local_SV;   ///< log p + shift
  at::Tensor shift_S1;   ///< what the other ranks' rows take away
  at::Tensor target_S1;  ///< log p of the targets, the same on all ranks
};

/// Each rank normalises its rows by themselves; their log-sum-exps and the
/// targets' logits then make the whole softmax. In fp64: an error here is one
/// of a whole row.
LogSoftmax log_softmax(const at::Tensor& logits_SV,
                       const Targets& targets,
                       at::ScalarType wide,
                       const dist::TensorParallel& tp) {
  const std::int64_t rows = logits_SV.size(1);
  LogSoftmax result;
  result.local_SV =
      rows == 0 ? logits_SV.to(wide) : at::log_softmax(logits_SV, 1, wide);
  // A rank whose slice is all padding has no rows: it weighs nothing.
  const at::Tensor lse_S1 =
      rows == 0 ? at::full({logits_SV.size(0), 1},
                           -std::numeric_limits<double>::infinity(),
                           logits_SV.options().dtype(at::kDouble))
                : logits_SV.narrow(1, 0, 1).to(at::kDouble) -
                      result.local_SV.narrow(1, 0, 1);
  const at::Tensor target_S1 =
      rows == 0 ? at::zeros_like(lse_S1)
                : (result.local_SV.gather(1, targets.place_S1) + lse_S1)
                      .mul_(targets.mine_S1);
  const at::Tensor all = tp.of_all_ranks(at::cat({lse_S1, target_S1}, 1));
  const at::Tensor whole_S1 = all.select(2, 0).logsumexp(0).unsqueeze(1);
  result.shift_S1 = (whole_S1 - lse_S1).to(wide);
  result.target_S1 = all.select(2, 1).sum(0).unsqueeze(1) - whole_S1;
  return result;
}

/// x · factor, rounded to `dtype` in the same pass.
at::Tensor scaled(const at::Tensor& x,
                  const at::Tensor& factor,
                  at::ScalarType dtype) {
  at::Tensor product = at::empty(x.sizes(), x.options().dtype(dtype));
  at::mul_out(product, x, factor);
  return product;
}

/// Of this rank's rows; a rank whose slice is all padding has none.
at::Tensor logits_of(const at::Tensor& h_SC,
                     const at::Tensor& weight_VC,
                     GemmLibrary library) {
  return weight_VC.size(0) == 0 ? at::empty({h_SC.size(0), 0}, h_SC.options())
                                : mm(h_SC, weight_VC.t(), library);
}

/// `fused_cross_entropy` of LibTorch's operations, on a CPU.
HeadPass composed_cross_entropy(const at::Tensor& hidden,
                                const at::Tensor& padded_weight,
                                const at::Tensor& targets,
                                double scale,
                                bool wants_gradient,
                                GemmLibrary library,
                                const dist::Slice& slice,
                                const dist::TensorParallel& tp) {
  const std::int64_t tokens = hidden.size(0);
  const auto wide = dist::master_dtype(hidden.scalar_type());
  const at::Tensor weight = padded_weight.narrow(0, 0, slice.count);
  const std::int64_t chunk = chunk_of(padded_weight.size(0));
  at::Tensor loss = at::zeros({}, hidden.options().dtype(wide));
  at::Tensor dh, dw;
  if (wants_gradient) {
    dh = at::zeros_like(hidden);
    dw = at::zeros(padded_weight.sizes(), hidden.options().dtype(wide));
  }
  for (std::int64_t first = 0; first < tokens; first += chunk) {
    const std::int64_t count = std::min(chunk, tokens - first);
    const at::Tensor h_SC = hidden.narrow(0, first, count);
    const Targets target = find(targets.narrow(0, first, count), slice, wide);
    LogSoftmax log_p =
        log_softmax(logits_of(h_SC, weight, library), target, wide, tp);
    loss.sub_(log_p.target_S1.sum());
    if (!wants_gradient || slice.count == 0) continue;
    // scale · (p − onehot)
    const at::Tensor d_SV =
        log_p.local_SV.exp_().mul_(log_p.shift_S1.neg_().exp_().mul_(scale));
    d_SV.scatter_add_(1, target.place_S1, target.mine_S1.mul(-scale));
    const at::Tensor dlogits_SV = d_SV.to(hidden.scalar_type());
    mm_into(dh.narrow(0, first, count), dlogits_SV, weight, false, library);
    dw.narrow(0, 0, slice.count).add_(mm(dlogits_SV.t(), h_SC, library));
  }
  return {loss.mul_(scale), dh, dw};
}

struct LinearCrossEntropy : torch::autograd::Function<LinearCrossEntropy> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& hidden,
                            const at::Tensor& weight,
                            const at::Tensor& targets,
                            double scale,
                            bool wants_gradient,
                            GemmLibrary library,
                            const Vocabulary& vocabulary) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const dist::Slice slice = vocabulary.slice(weight.size(0));
    const HeadPass pass = kernels::like_gpu(hidden.device())
                              ? fused_cross_entropy(hidden,
                                                    weight,
                                                    targets,
                                                    scale,
                                                    wants_gradient,
                                                    library,
                                                    slice,
                                                    vocabulary.tp)
                              : composed_cross_entropy(hidden,
                                                       weight,
                                                       targets,
                                                       scale,
                                                       wants_gradient,
                                                       library,
                                                       slice,
                                                       vocabulary.tp);
    if (wants_gradient) context->save_for_backward({pass.hidden, pass.weight});
    return pass.loss;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& dh = saved[0];
    const at::Tensor& dw = saved[1];
    return {dh * grads[0].to(dh.scalar_type()),
            scaled(dw, grads[0], dh.scalar_type()),
            {},
            {},
            {},
            {},
            {}};
  }
};

void check_shapes(const at::Tensor& hidden,
                  const at::Tensor& weight,
                  const at::Tensor& targets) {
  MUMOE_CHECK(hidden.dim() == 2 && weight.dim() == 2 &&
                  hidden.size(1) == weight.size(1),
              "hidden {}, weight {}",
              hidden.sizes(),
              weight.sizes());
  MUMOE_CHECK(targets.numel() == hidden.size(0),
              "{} targets for {} tokens",
              targets.numel(),
              hidden.size(0));
}

}  // namespace

at::Tensor linear_cross_entropy(const at::Tensor& hidden,
                                const at::Tensor& weight,
                                const at::Tensor& targets,
                                double scale,
                                GemmLibrary gemm,
                                const Vocabulary& vocabulary) {
  check_shapes(hidden, weight, targets);
  const bool wants_gradient =
      at::GradMode::is_enabled() &&
      (hidden.requires_grad() || weight.requires_grad());
  return LinearCrossEntropy::apply(hidden,
                                   weight,
                                   targets.reshape({-1}),
                                   scale,
                                   wants_gradient,
                                   gemm,
                                   vocabulary);
}

at::Tensor token_cross_entropy(const at::Tensor& hidden,
                               const at::Tensor& weight,
                               const at::Tensor& targets,
                               GemmLibrary gemm,
                               const Vocabulary& vocabulary) {
  check_shapes(hidden, weight, targets);
  const at::NoGradGuard no_grad;
  const auto wide = dist::master_dtype(hidden.scalar_type());
  const dist::Slice slice = vocabulary.slice(weight.size(0));
  const at::Tensor rows = weight.narrow(0, 0, slice.count);
  const at::Tensor targets_T = targets.reshape({-1});
  const std::int64_t tokens = hidden.size(0);
  const std::int64_t chunk = chunk_of(weight.size(0));
  const at::Tensor losses_T =
      at::empty({tokens}, hidden.options().dtype(at::kDouble));
  for (std::int64_t first = 0; first < tokens; first += chunk) {
    const std::int64_t count = std::min(chunk, tokens - first);
    const at::Tensor logits_SV =
        logits_of(hidden.narrow(0, first, count), rows, gemm);
    const Targets target = find(targets_T.narrow(0, first, count), slice, wide);
    const LogSoftmax log_p =
        log_softmax(logits_SV, target, wide, vocabulary.tp);
    losses_T.narrow(0, first, count).copy_(log_p.target_S1.squeeze(1).neg());
  }
  return losses_T;
}

PassCost linear_cross_entropy_cost(std::int64_t tokens,
                                   const at::Tensor& weight,
                                   const Vocabulary& vocabulary,
                                   at::Device device) {
  const auto n = static_cast<double>(tokens);
  const auto here = static_cast<double>(weight.numel());
  const auto width = static_cast<double>(weight.size(1));
  const auto whole = vocabulary.size == 0
                         ? here
                         : width * static_cast<double>(vocabulary.size);
  const auto wide = static_cast<double>(
      c10::elementSize(dist::master_dtype(weight.scalar_type())));
  PassCost cost{
      .flops = 6 * n * whole,
      .rank_flops = 6 * n * here,
      // dh and dW
      .kept_bytes =
          n * width * static_cast<double>(weight.element_size()) + here * wide};
  if (vocabulary.tp.size() > 1) {
    // Two numbers in fp64 of each token, gathered.
    cost.tp_bytes = n * vocabulary.tp.size() * sizeof(double);
    cost.tp_operations = chunks_of(tokens, weight.size(0), device);
  }
  return cost;
}

}  // namespace mumoe::model
