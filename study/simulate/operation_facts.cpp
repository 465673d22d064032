#include "study/simulate/operation_facts.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "study/simulate/each_tensor.h"
#include "study/simulate/meta_answers.h"

namespace mumoe::study {
namespace {

using c10::IValue;
using torch::jit::Stack;

/// Read only at the rows that are asked for.
bool reads_rows(const std::string& name) {
  static const std::set<std::string> names = {"aten::embedding",
                                              "aten::index_select",
                                              "aten::gather",
                                              "aten::index",
                                              "aten::scatter_add_"};
  return names.contains(name);
}

/// Written, and not read before.
bool only_writes(const std::string& name) {
  return name == "aten::copy_" || name == "aten::zero_" ||
         name == "aten::fill_" || name.ends_with("_out");
}

/// The products of causal attention, half of each square: Q Kᵀ and P V; once
/// more Q Kᵀ, and the gradients of all four matrices.
std::vector<Product> attention_products(const at::Tensor& q, bool backward) {
  const auto length = static_cast<double>(q.size(2));
  const auto head = static_cast<double>(q.size(3));
  const double batch = static_cast<double>(q.size(0) * q.size(1)) / 2;
  return {{length, length, head, batch, backward ? 3.0 : 1.0},
          {length, head, length, batch, backward ? 2.0 : 1.0}};
}

/// [m, k] by [k, n] of what `name` multiplies; nothing of other operators.
std::vector<Product> products_of(const std::string& name,
                                 const std::vector<at::Tensor>& tensors) {
  if (name == kAttention) return attention_products(tensors.at(0), false);
  if (name == kAttentionBackward) {
    return attention_products(tensors.at(1), true);
  }
  static const std::set<std::string> first = {"aten::mm", "aten::bmm"};
  static const std::set<std::string> second = {"aten::addmm", "aten::baddbmm"};
  const bool adds = second.contains(name);
  if (!adds && !first.contains(name)) return {};
  const at::Tensor& a = tensors.at(adds ? 1 : 0);
  const at::Tensor& b = tensors.at(adds ? 2 : 1);
  const auto of = [](std::int64_t size) { return static_cast<double>(size); };
  return {{of(a.size(-2)),
           of(b.size(-1)),
           of(a.size(-1)),
           a.dim() == 3 ? of(a.size(0)) : 1,
           1}};
}

}  // namespace

double bytes_of(const at::Tensor& tensor) {
  double bytes = static_cast<double>(tensor.element_size());
  for (std::int64_t d = 0; d < tensor.dim(); ++d) {
    if (tensor.stride(d) != 0) bytes *= static_cast<double>(tensor.size(d));
  }
  return bytes;
}

std::string shape_of(const at::Tensor& tensor) {
  // Of one that lies otherwise than its shape says, how it does.
  return tensor.is_contiguous()
             ? fmt::format("{}{}",
                           at::toString(tensor.scalar_type()),
                           fmt::join(tensor.sizes(), "x"))
             : fmt::format("{}{}/{}",
                           at::toString(tensor.scalar_type()),
                           fmt::join(tensor.sizes(), "x"),
                           fmt::join(tensor.strides(), ","));
}

bool is_free(const c10::FunctionSchema& schema) {
  static const std::set<std::string> names = {"aten::empty",
                                              "aten::empty_like",
                                              "aten::empty_strided",
                                              "aten::new_empty",
                                              "aten::new_empty_strided",
                                              "aten::_local_scalar_dense",
                                              "aten::resize_",
                                              "aten::set_",
                                              "aten::detach_",
                                              "aten::is_same_size",
                                              "aten::_reshape_alias"};
  if (names.contains(schema.name())) return true;
  // Views: what comes out is a part of what went in, and nothing is written.
  return std::ranges::any_of(schema.returns(), [](const auto& result) {
    return result.alias_info() != nullptr && !result.alias_info()->isWrite();
  });
}

bool crosses_to_meta(const c10::FunctionSchema& schema, const Stack& stack) {
  if (schema.name() != "aten::_to_copy") return false;
  const auto given = torch::jit::last(stack, schema.arguments().size());
  return !given[3].isNone() &&
         given[3].toDevice().is_meta() != given[0].toTensor().is_meta();
}

Operation describe(const c10::FunctionSchema& schema, const Stack& arguments) {
  Operation operation;
  operation.kind = Operation::Kind::passes;
  operation.name = schema.name();
  // On a CPU autograd adds gradients in place, where it can, on the meta device
  // never: it takes as long.
  if (operation.name.back() == '_') operation.name.pop_back();
  operation.key = operation.name + '.' + schema.overload_name();
  std::vector<at::Tensor> tensors;
  for (const IValue& value : arguments) {
    each_tensor(value, [&](const at::Tensor& t) { tensors.push_back(t); });
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    operation.key += ' ' + shape_of(tensors[i]);
    const bool skipped =
        i == 0 && (only_writes(schema.name()) || reads_rows(schema.name()));
    if (!skipped) operation.bytes += bytes_of(tensors[i]);
  }
  // Factories have no tensor to tell how much it is.
  if (tensors.empty()) {
    for (const IValue& value : arguments) {
      if (value.isIntList()) {
        operation.key +=
            fmt::format(" {}", fmt::join(value.toIntVector(), "x"));
      }
    }
  }
  operation.products = products_of(schema.name(), tensors);
  if (!operation.products.empty()) operation.kind = Operation::Kind::product;
  return operation;
}

}  // namespace mumoe::study
