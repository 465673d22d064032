// LibTorch's operators on simulated GPUs, but those of sim_tensors.cpp: each is
// queued on the stream of its thread and runs there as the CPU's kernel on a
// view of the memory. What comes out has its shape from the meta device, so
// that the host does not wait.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "study/simulate/each_tensor.h"
#include "tests/fakes/sim_device.h"
#include "tests/fakes/sim_gpu.h"
#include "tests/fakes/sim_kernels.h"
#include "tests/fakes/sim_memory.h"
#include "tests/fakes/sim_tensors.h"

namespace mumoe::fakes {
namespace {

using c10::IValue;
using study::each_tensor;
using torch::jit::Stack;

/// `value` with `f(tensor)` in place of every defined tensor.
template <class F>
IValue with_tensors(const IValue& value, F f) {
  const auto one = [&](const at::Tensor& tensor) {
    return tensor.defined() ? f(tensor) : tensor;
  };
  if (value.isTensor()) return one(value.toTensor());
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& tensor : value.toTensorVector()) {
      list.push_back(one(tensor));
    }
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor>& tensor :
         value.toOptionalTensorVector()) {
      list.push_back(tensor ? std::optional(one(*tensor)) : std::nullopt);
    }
    return list;
  }
  if (value.isDevice() && value.toDevice().is_cuda()) {
    return at::Device(at::kCPU);
  }
  return value;
}

at::Tensor meta_of(const at::Tensor& tensor) {
  if (!tensor.is_cuda()) return tensor;
  return at::empty_strided(
      tensor.sizes(),
      tensor.strides(),
      at::TensorOptions(tensor.scalar_type()).device(at::kMeta));
}

/// Runs `op` below autograd.
void call(const c10::OperatorHandle& op, Stack& stack) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  op.callBoxed(&stack);
}

/// The products of CUDA alone whose result is wider than their matrices:
/// mm.dtype_out (a, b, dtype, out) and addmm.dtype_out (sum, a, b, dtype, beta,
/// alpha, out).
void multiply_into_wider(const Stack& stack) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  const bool adds = stack.size() == 7;
  const auto matrix = [&](std::size_t i) {
    return stack[i].toTensor().to(at::kDouble);
  };
  at::Tensor product = at::mm(matrix(adds ? 1 : 0), matrix(adds ? 2 : 1));
  if (adds) {
    product =
        product.mul_(stack[5].toScalar()) + matrix(0).mul(stack[4].toScalar());
  }
  stack.back().toTensor().copy_(product);
}

/// Runs `op` on the CPU. Products are summed in the next wider type and rounded
/// once: in which order cuBLAS adds, and what the CPU's libraries do, is
/// theirs.
void compute(const c10::OperatorHandle& op, Stack& stack) {
  static const std::set<std::string> products = {"aten::mm",
                                                 "aten::addmm",
                                                 "aten::bmm",
                                                 "aten::baddbmm"};
  const auto& schema = op.schema();
  if (schema.overload_name() == "dtype_out") return multiply_into_wider(stack);
  const bool product = products.count(schema.name()) > 0 &&
                       schema.arguments().back().alias_info() != nullptr;
  const at::Tensor out = product ? stack.back().toTensor() : at::Tensor();
  if (!product || out.scalar_type() == at::kDouble) return call(op, stack);
  const auto wide = out.scalar_type() == at::kFloat ? at::kDouble : at::kFloat;
  for (IValue& value : stack) {
    value =
        with_tensors(value, [&](const at::Tensor& t) { return t.to(wide); });
  }
  call(op, stack);
  const at::AutoDispatchBelowADInplaceOrView guard;
  at::Tensor(out).copy_(stack.back().toTensor());
}

/// The device of all arguments. Throws where there are several, or tensors of
/// the CPU that are no scalars, as CUDA's own operators do.
at::Device device_of(const std::string& name, const Stack& arguments) {
  std::optional<at::Device> found;
  bool on_cpu = false;
  for (const IValue& value : arguments) {
    each_tensor(value, [&](const at::Tensor& tensor) {
      if (!tensor.is_cuda()) {
        on_cpu = on_cpu || tensor.dim() > 0;
        return;
      }
      TORCH_CHECK(!found || *found == tensor.device(),
                  "simulated GPU: ",
                  name,
                  ": tensors on ",
                  found.value_or(at::kCPU),
                  " and on ",
                  tensor.device());
      found = tensor.device();
    });
  }
  TORCH_CHECK(!(found && on_cpu),
              "simulated GPU: ",
              name,
              ": tensors on the CPU and on ",
              *found);
  return found.value_or(at::Device(at::kCUDA, 0));
}

/// Which argument each result is: of operators that write into what they are
/// given. Nothing where a result is new.
std::optional<std::vector<std::size_t>> written_arguments(
    const c10::FunctionSchema& schema) {
  std::vector<std::size_t> places;
  for (const auto& result : schema.returns()) {
    const auto* alias = result.alias_info();
    if (alias == nullptr) return std::nullopt;
    std::size_t a = 0;
    for (; a < schema.arguments().size(); ++a) {
      const auto* other = schema.arguments()[a].alias_info();
      if (other != nullptr && other->beforeSets() == alias->beforeSets()) break;
    }
    TORCH_CHECK(a < schema.arguments().size() && alias->isWrite(),
                "simulated GPU: ",
                schema.operator_name(),
                " is a view: it needs an entry of its own");
    places.push_back(a);
  }
  return places;
}

/// What `op` returns on the meta device; nothing where it has no kernel there.
std::optional<Stack> results_on_meta(const c10::OperatorHandle& op,
                                     const Stack& arguments) {
  static std::mutex mutex;
  static std::set<std::string> without;
  const std::string name = c10::toString(op.operator_name());
  {
    const std::lock_guard lock(mutex);
    if (without.count(name) > 0) return std::nullopt;
  }
  Stack stack;
  for (const IValue& value : arguments) {
    stack.push_back(with_tensors(value, meta_of));
  }
  try {
    call(op, stack);
    return stack;
  } catch (const c10::Error&) {
    // Shapes that do not fit are found once more, by the CPU's kernel.
    const std::lock_guard lock(mutex);
    without.insert(name);
    return std::nullopt;
  }
}

Stack views_for_kernels(const Stack& arguments) {
  Stack views;
  for (const IValue& value : arguments) {
    views.push_back(with_tensors(value, view_for_kernels));
  }
  return views;
}

/// New memory of the device, as `like` is.
at::Tensor allocated(const at::Tensor& like, at::Device device) {
  return at::empty_strided(
      like.sizes(),
      like.strides(),
      at::TensorOptions(like.scalar_type()).device(device));
}

/// Where `op` has come out, `from`, into what the host has been given, `to`.
void store(const Stack& from, const Stack& to) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::vector<at::Tensor> sources, targets;
    each_tensor(from[i], [&](const at::Tensor& t) { sources.push_back(t); });
    each_tensor(to[i], [&](const at::Tensor& t) { targets.push_back(t); });
    for (std::size_t j = 0; j < std::min(sources.size(), targets.size()); ++j) {
      targets[j].copy_(sources[j]);
    }
  }
}

/// Runs `op` at once, for operators whose results have shapes that depend on
/// values, or that the meta device does not know.
Stack run_now(const c10::OperatorHandle& op,
              const Stack& arguments,
              at::Device device) {
  const auto stack = std::make_shared<Stack>(views_for_kernels(arguments));
  queue_work(device, [op, stack] { compute(op, *stack); });
  if (!sim_gpu().computes) call(op, *stack);
  settle_stream(device);
  Stack results;
  for (const IValue& value : *stack) {
    results.push_back(with_tensors(value, [&](const at::Tensor& t) {
      return allocated(t, device);
    }));
  }
  const Stack to = views_for_kernels(results);
  queue_work(device, [stack, to] { store(*stack, to); });
  return results;
}

/// Whether `op` is given an empty tensor to make as large as its result.
bool resizes(const Stack& arguments, const std::vector<std::size_t>& written) {
  for (const std::size_t place : written) {
    const IValue& value = arguments[place];
    if (value.isTensor() && value.toTensor().numel() == 0) return true;
  }
  return false;
}

/// Gives the tensors at `written` the sizes of the results `like`.
void resize_written(const Stack& arguments,
                    const std::vector<std::size_t>& written,
                    const Stack& like) {
  for (std::size_t i = 0; i < written.size(); ++i) {
    if (!like[i].isTensor() || !like[i].toTensor().defined()) continue;
    const at::Tensor out = arguments[written[i]].toTensor();
    const at::Tensor& shape = like[i].toTensor();
    if (out.sizes() != shape.sizes()) out.resize_(shape.sizes());
  }
}

/// Of an operator that writes into its arguments `written`.
Stack run_in_place(const c10::OperatorHandle& op,
                   const Stack& arguments,
                   const std::vector<std::size_t>& written,
                   at::Device device) {
  if (resizes(arguments, written)) {
    const auto shapes = results_on_meta(op, arguments);
    resize_written(arguments,
                   written,
                   shapes ? *shapes : run_now(op, arguments, device));
  }
  const auto stack = std::make_shared<Stack>(views_for_kernels(arguments));
  queue_work(device, [op, stack] { compute(op, *stack); });
  Stack results;
  for (const std::size_t place : written) results.push_back(arguments[place]);
  return results;
}

Stack run(const c10::OperatorHandle& op,
          const Stack& arguments,
          at::Device device) {
  if (const auto written = written_arguments(op.schema())) {
    return run_in_place(op, arguments, *written, device);
  }
  const auto shapes = results_on_meta(op, arguments);
  if (!shapes) return run_now(op, arguments, device);
  Stack results;
  for (const IValue& value : *shapes) {
    results.push_back(with_tensors(value, [&](const at::Tensor& t) {
      return allocated(t, device);
    }));
  }
  const auto stack = std::make_shared<Stack>(views_for_kernels(arguments));
  const Stack to = views_for_kernels(results);
  queue_work(device, [op, stack, to] {
    compute(op, *stack);
    store(*stack, to);
  });
  return results;
}

std::int64_t bytes_of(const Stack& values) {
  std::int64_t bytes = 0;
  for (const IValue& value : values) {
    each_tensor(value,
                [&](const at::Tensor& tensor) { bytes += gpu_bytes(tensor); });
  }
  return bytes;
}

/// Every operator without an entry of its own below.
void any_operator(const c10::OperatorHandle& op, Stack* stack) {
  const auto& schema = op.schema();
  const std::size_t count = schema.arguments().size();
  const auto last = torch::jit::last(*stack, count);
  const Stack arguments(last.begin(), last.end());
  const std::string& name = schema.name();
  const at::Device device = device_of(name, arguments);
  const c10::DeviceGuard guard(device);
  set_last_operation(name.c_str());
  Stack results = run(op, arguments, device);
  const bool writes = written_arguments(schema).has_value();
  // What is changed in place is read and written; `out` is written.
  const bool rewrites =
      name.back() == '_' && name != "aten::zero_" && name != "aten::fill_";
  count_operator(
      name,
      kernels_of(name),
      bytes_of(arguments) + (rewrites || !writes ? bytes_of(results) : 0));
  torch::jit::drop(*stack, count);
  for (IValue& value : results) stack->push_back(std::move(value));
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  // CUDA has kernels of its own for these; here LibTorch would put them
  // together from others.
  for (const char* name : {"native_layer_norm", "native_layer_norm_backward"}) {
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&any_operator>());
  }
}
TORCH_LIBRARY_IMPL(_, CUDA, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&any_operator>());
}

}  // namespace
}  // namespace mumoe::fakes
