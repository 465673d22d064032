#include "study/simulate/operation_watch.h"

#include <ATen/ATen.h>
#include <c10/util/ScopeExit.h>
#include <c10/util/Type.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "study/simulate/meta_answers.h"

namespace mumoe::study {
namespace {

using c10::IValue;
using torch::jit::Stack;

thread_local OperationWatch* watch_of_thread = nullptr;

/// Calls `f(tensor)` for every defined tensor of `value`.
template <class F>
void each_tensor(const IValue& value, F f) {
  const auto one = [&](const at::Tensor& tensor) {
    if (tensor.defined()) f(tensor);
  };
  if (value.isTensor()) return one(value.toTensor());
  if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) one(tensor);
  } else if (value.isOptionalTensorList()) {
    for (const std::optional<at::Tensor>& tensor :
         value.toOptionalTensorVector()) {
      if (tensor) one(*tensor);
    }
  }
}

/// Of a tensor as it is read: of one that repeats itself, what there is of it.
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

/// Operators that compute nothing: memory, views, and what reads alone.
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

/// What brings values to the meta device or from there, which a CPU does not.
bool crosses_to_meta(const c10::FunctionSchema& schema, const Stack& stack) {
  if (schema.name() != "aten::_to_copy") return false;
  const auto given = torch::jit::last(stack, schema.arguments().size());
  return !given[3].isNone() &&
         given[3].toDevice().is_meta() != given[0].toTensor().is_meta();
}

void any_operator(const c10::OperatorHandle& op,
                  c10::DispatchKeySet keys,
                  Stack* stack) {
  OperationWatch* const watch = OperationWatch::of_thread();
  if (watch != nullptr) return watch->dispatched(op, keys, *stack);
  op.redispatchBoxed(keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER,
                                                c10::DispatchKey::Fake),
                     stack);
}

// A key that lies below autograd and above all devices, and that nobody has
// but who asks for it, as `OperationWatch` does for its thread.
TORCH_LIBRARY_IMPL(_, Fake, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&any_operator>());
}

}  // namespace

OperationWatch::OperationWatch(OperationSink& sink)
    : sink_(sink), included_(c10::DispatchKey::Fake) {
  MUMOE_CHECK(watch_of_thread == nullptr && kernels::kernel_watch == nullptr,
              "operations of this thread are watched already");
  watch_of_thread = this;
  kernels::kernel_watch = this;
}

OperationWatch::~OperationWatch() {
  watch_of_thread = nullptr;
  kernels::kernel_watch = nullptr;
}

OperationWatch* OperationWatch::of_thread() {
  return watch_of_thread;
}

void OperationWatch::begin(Operation operation) {
  pause();
  under_way_ = std::move(operation);
  sink_.began();
}

void OperationWatch::pause() {
  if (!under_way_) return;
  Operation ended = std::move(*under_way_);
  under_way_.reset();
  if (ended.kind == Operation::Kind::kernel) {
    ended.bytes = std::exchange(operands_, 0);
    ended.key = fmt::format("{} {}", ended.name, ended.bytes);
  }
  sink_.operation(ended);
}

void OperationWatch::hold() {
  pause();
  ++inside_;
}

void OperationWatch::host(const std::string& name) {
  begin({Operation::Kind::host, name, name});
}

double OperationWatch::active_share() {
  if (active_shares_.empty()) return 1;
  return active_shares_[asked_++ % active_shares_.size()];
}

void OperationWatch::kernel(const std::type_info& family) {
  // Operands that came before are this one's.
  const bool follows =
      under_way_ && under_way_->kind == Operation::Kind::kernel;
  const double before = follows ? 0 : operands_;
  pause();
  // "mumoe::kernels::GateKernels<float>": one word of it.
  std::string name = c10::demangle(family.name());
  name = name.substr(0, name.find('<'));
  name = name.substr(name.rfind(':') + 1);
  begin({Operation::Kind::kernel, name, name});
  operands_ = before;
}

void OperationWatch::operand(const at::Tensor& tensor) {
  operands_ += bytes_of(tensor);
}

void OperationWatch::product(const at::Tensor& out,
                             const at::Tensor& a,
                             const at::Tensor& b) {
  pause();  // what describes the next is no part of it
  const auto of = [](std::int64_t size) { return static_cast<double>(size); };
  Operation operation;
  operation.kind = Operation::Kind::product;
  operation.name = "product";
  operation.key = fmt::format("product {} {} {}",
                              shape_of(a),
                              shape_of(b),
                              at::toString(out.scalar_type()));
  operation.bytes = bytes_of(out) + bytes_of(a) + bytes_of(b);
  operation.products = {{of(a.size(0)), of(b.size(1)), of(a.size(1)), 1, 1}};
  begin(std::move(operation));
  ++inside_;
}

void OperationWatch::dispatched(const c10::OperatorHandle& op,
                                c10::DispatchKeySet keys,
                                Stack& stack) {
  const c10::FunctionSchema& schema = op.schema();
  const std::size_t count = schema.arguments().size();
  const bool counts =
      inside_ == 0 && !is_free(schema) && !crosses_to_meta(schema, stack);
  if (counts) {
    pause();  // what describes the next is no part of it
    const auto last = torch::jit::last(stack, count);
    begin(describe(schema, Stack(last.begin(), last.end())));
  }
  const std::size_t below = stack.size() - count;
  // Operators that it is made of are a part of it.
  ++inside_;
  const auto out = c10::make_scope_exit([this] { --inside_; });
  if (reads_meta(schema, stack)) {
    pause();
    sink_.read_back();
  }
  if (!answer_for_meta(schema, stack)) {
    op.redispatchBoxed(
        keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER,
                                   c10::DispatchKey::Fake),
        &stack);
  }
  if (!counts || !under_way_) return;
  for (std::size_t i = below; i < stack.size(); ++i) {
    each_tensor(stack[i], [&](const at::Tensor& tensor) {
      under_way_->bytes += bytes_of(tensor);
    });
  }
}

}  // namespace mumoe::study
