#include "dist/tensor_parallel.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "dist/node_state.h"

namespace mumoe::dist {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// An all-reduce would write over a tensor that is another's too.
at::Tensor sum_of(const TensorParallel& region, const at::Tensor& partial) {
  const at::Tensor whole = partial.contiguous();
  return region.sum(region.tokens_cut() ? whole : whole.clone());
}

enum class Move { enter, leave };

at::Tensor moved(const TensorParallel& region, Move move, const at::Tensor& x) {
  return move == Move::enter ? region.all_tokens(x.contiguous())
                             : sum_of(region, x);
}

// One of the two moves; its gradient is the other's.
struct Exchange : torch::autograd::Function<Exchange> {
  struct Call {
    TensorParallel region;
    Move move;
  };
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& x,
                            const Call& call) {
    at::AutoDispatchBelowADInplaceOrView guard;
    keep(*context, call);
    const at::Tensor y = moved(call.region, call.move, x);
    return y.is_same(x) ? x.view_as(x) : y;
  }
  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const auto [region, move] = kept<Call>(*context);
    const Move dual = move == Move::enter ? Move::leave : Move::enter;
    return {moved(region, dual, grads[0]), {}};
  }
};

}  // namespace

Slice TensorParallel::rows(std::int64_t total) const {
  if (!tokens_cut()) return {0, total, total};
  require(total % size() == 0,
          "{} tokens do not divide by {} tensor-parallel ranks: the plan "
          "sequence cuts tokens (plan bottleneck does not)",
          total,
          size());
  return slice_of(total, rank(), size());
}

TensorParallel::Pending TensorParallel::all_tokens_async(
    const at::Tensor& x) const {
  if (!tokens_cut()) return {x, {}};
  auto shape = x.sizes().vec();
  shape[0] *= size();
  const at::Tensor whole = at::empty(shape, x.options());
  return {whole, group_->all_gather_async(x.contiguous(), whole)};
}

TensorParallel::Pending TensorParallel::sum_async(
    const at::Tensor& partial) const {
  if (size() == 1) return {partial, {}};
  const at::Tensor whole = partial.contiguous();
  if (!tokens_cut()) return {whole, group_->all_reduce_async(whole)};
  auto shape = whole.sizes().vec();
  shape[0] = rows(shape[0]).count;
  const at::Tensor part = at::empty(shape, whole.options());
  return {part, group_->reduce_scatter_async(whole, part)};
}

at::Tensor TensorParallel::all_tokens(const at::Tensor& x) const {
  return all_tokens_async(x).wait();
}

at::Tensor TensorParallel::sum(const at::Tensor& partial) const {
  return sum_async(partial).wait();
}

at::Tensor TensorParallel::enter(const at::Tensor& x) const {
  if (size() == 1) return x;
  return Exchange::apply(x, Exchange::Call{*this, Move::enter});
}

at::Tensor TensorParallel::leave(const at::Tensor& partial) const {
  if (size() == 1) return partial;
  return Exchange::apply(partial, Exchange::Call{*this, Move::leave});
}

void TensorParallel::sum_together(std::vector<at::Tensor*> partial) const {
  if (size() == 1 || partial.empty()) return;
  std::vector<at::Tensor> flat;
  for (const at::Tensor* tensor : partial) flat.push_back(tensor->flatten());
  const at::Tensor joined =
      flat.size() == 1 ? flat[0].contiguous() : at::cat(flat);
  group_->all_reduce(joined);
  std::int64_t offset = 0;
  for (at::Tensor* tensor : partial) {
    *tensor = joined.narrow(0, offset, tensor->numel()).view(tensor->sizes());
    offset += tensor->numel();
  }
}

at::Tensor TensorParallel::of_all_ranks(const at::Tensor& x) const {
  if (size() == 1) return x.unsqueeze(0);
  auto shape = x.sizes().vec();
  shape.insert(shape.begin(), size());
  const at::Tensor all = at::empty(shape, x.options());
  group_->all_gather(x.contiguous(), all);
  return all;
}

}  // namespace mumoe::dist
