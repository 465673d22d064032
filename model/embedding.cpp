#include "model/embedding.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace mumoe::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Embed : torch::autograd::Function<Embed> {
  /// `mine` [..., 1]: which ids are this rank's; empty where all are.
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& weight,
                            const at::Tensor& ids,
                            const at::Tensor& mine) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({ids, mine});
    context->saved_data["rows"] = weight.size(0);
    const at::Tensor rows = at::embedding(weight, ids);
    if (mine.numel() > 0) rows.mul_(mine);
    return rows;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &ids = saved[0], &mine = saved[1];
    const auto dtype = grads[0].scalar_type();
    const auto wide = dtype == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor grad = grads[0].to(wide);
    if (mine.numel() > 0) grad = grad * mine;
    const at::Tensor sum =
        at::embedding_dense_backward(grad,
                                     ids,
                                     context->saved_data["rows"].toInt(),
                                     /*padding_idx=*/-1,
                                     /*scale_grad_by_freq=*/false);
    return {sum.to(dtype), {}, {}};
  }
};

}  // namespace

at::Tensor embed(const at::Tensor& weight,
                 const at::Tensor& ids,
                 const Vocabulary& vocabulary) {
  const dist::Slice slice = vocabulary.slice(weight.size(0));
  if (vocabulary.is_whole(slice)) {
    return Embed::apply(weight, ids, at::empty({0}, ids.options()));
  }
  const at::Tensor local = ids - slice.begin;
  const at::Tensor mine = local.ge(0).logical_and_(local.lt(slice.count));
  return Embed::apply(weight, local.mul(mine), mine.unsqueeze(-1));
}

double embed_kept_bytes(double tokens,
                        std::int64_t rows,
                        const Vocabulary& vocabulary) {
  if (vocabulary.is_whole(vocabulary.slice(rows))) return 0;
  return tokens * (sizeof(std::int64_t) + sizeof(bool));  // places, and whose
}

}  // namespace mumoe::model
