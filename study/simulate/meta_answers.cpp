#include "study/simulate/meta_answers.h"

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace mumoe::study {
namespace {

using at::Tensor;
using c10::IValue;
using torch::jit::Stack;

using Arguments = c10::ArrayRef<IValue>;
using Results = std::vector<IValue>;

/// Of statistics that are kept beside `x`.
at::TensorOptions statistics_of(const Tensor& x) {
  return x.options().dtype(x.scalar_type() == at::kDouble ? at::kDouble
                                                          : at::kFloat);
}

/// A number for a host that reads: finite.
Results local_scalar(const Arguments& given) {
  const bool floats = at::isFloatingType(given[0].toTensor().scalar_type());
  return {floats ? IValue(at::Scalar(1.0)) : IValue(at::Scalar(1))};
}

Results to_copy(const Arguments& given) {
  const Tensor from = given[0].toTensor();
  const auto dtype = given[1].isNone()
                         ? from.scalar_type()
                         : static_cast<at::ScalarType>(given[1].toInt());
  return {at::ones(from.sizes(), dtype)};
}

Results copy(const Arguments& given) {
  Tensor to = given[0].toTensor();
  return {to.fill_(1)};
}

Results index_select(const Arguments& given) {
  const Tensor from = given[0].toTensor();
  auto sizes = from.sizes().vec();
  sizes.at(static_cast<std::size_t>(given[1].toInt())) =
      given[2].toTensor().numel();
  return {at::empty(sizes, from.options())};
}

Results embedding_backward(const Arguments& given) {
  const Tensor dy = given[0].toTensor();
  return {at::empty({given[2].toInt(), dy.size(-1)}, dy.options())};
}

Results layer_norm(const Arguments& given) {
  const Tensor x = given[0].toTensor();
  auto sizes = x.sizes().vec();
  const auto normed =
      static_cast<std::ptrdiff_t>(given[1].toIntVector().size());
  std::fill(sizes.end() - normed, sizes.end(), 1);
  const auto options = statistics_of(x);
  return {at::empty_like(x),
          at::empty(sizes, options),
          at::empty(sizes, options)};
}

Results layer_norm_backward(const Arguments& given) {
  const auto wanted = given[7].toBoolList();
  const auto like = [&](std::size_t i, const IValue& value) {
    return wanted.get(i) && value.isTensor()
               ? IValue(at::empty_like(value.toTensor()))
               : IValue(Tensor());
  };
  return {like(0, given[1]), like(1, given[5]), like(2, given[6])};
}

/// In memory [B, T, H, D] and, the sums, [B, T, H].
Results attention(const Arguments& given) {
  const Tensor q = given[0].toTensor();
  const auto b = q.size(0), h = q.size(1), t = q.size(2), d = q.size(3);
  return {at::empty({b, t, h, d}, q.options()).transpose(1, 2),
          at::empty({b, t, h}, statistics_of(q)).transpose(1, 2)};
}

Results attention_backward(const Arguments& given) {
  Results gradients;
  for (const std::size_t i : {1, 2, 3}) {
    const Tensor x = given[i].toTensor();
    gradients.emplace_back(
        at::empty_like(x.transpose(1, 2), at::MemoryFormat::Contiguous)
            .transpose(1, 2));
  }
  return gradients;
}

/// Of elements, into the last argument, which gets the shape of all others.
Results elements_out(const Arguments& given) {
  std::vector<std::int64_t> sizes;
  for (std::size_t i = 0; i + 1 < given.size(); ++i) {
    if (!given[i].isTensor()) continue;
    sizes = at::infer_size(sizes, given[i].toTensor().sizes());
  }
  const Tensor out = given.back().toTensor();
  out.resize_(sizes);
  return {out};
}

using Answer = Results (*)(const Arguments&);

/// By name and overload.
const std::map<std::string, Answer>& answers() {
  static const std::map<std::string, Answer> table = {
      {"aten::_local_scalar_dense.", local_scalar},
      {"aten::_to_copy.", to_copy},
      {"aten::copy_.", copy},
      {"aten::index_select.", index_select},
      {"aten::embedding_dense_backward.", embedding_backward},
      {"aten::native_layer_norm.", layer_norm},
      {"aten::native_layer_norm_backward.", layer_norm_backward},
      {std::string(kAttention) + '.', attention},
      {std::string(kAttentionBackward) + '.', attention_backward},
      {"aten::abs.out", elements_out},
      {"aten::logical_and.out", elements_out}};
  return table;
}

bool holds_meta(const Arguments& given) {
  return std::ranges::any_of(given, [](const IValue& value) {
    return value.isTensor() && value.toTensor().defined() &&
           value.toTensor().is_meta();
  });
}

}  // namespace

bool reads_meta(const c10::FunctionSchema& schema, const Stack& stack) {
  const auto given = torch::jit::last(stack, schema.arguments().size());
  const std::string& name = schema.name();
  const auto on_meta = [&](std::size_t i) {
    return given[i].toTensor().is_meta();
  };
  if (name == "aten::_local_scalar_dense") return on_meta(0);
  if (name == "aten::copy_") return on_meta(1) && !on_meta(0);
  return name == "aten::_to_copy" && on_meta(0) && !given[3].isNone() &&
         !given[3].toDevice().is_meta();
}

bool answer_for_meta(const c10::FunctionSchema& schema, Stack& stack) {
  const auto found =
      answers().find(schema.name() + '.' + schema.overload_name());
  if (found == answers().end()) return false;
  const std::size_t count = schema.arguments().size();
  const auto given = torch::jit::last(stack, count);
  // LibTorch copies between tensors of the meta device.
  const bool copies = found->second == to_copy || found->second == copy;
  if (copies ? !reads_meta(schema, stack) : !holds_meta(given)) return false;
  Results results = found->second(given);
  torch::jit::drop(stack, count);
  for (IValue& result : results) stack.push_back(std::move(result));
  return true;
}

}  // namespace mumoe::study
