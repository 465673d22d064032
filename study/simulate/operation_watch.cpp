#include "study/simulate/operation_watch.h"

#include <ATen/ATen.h>
#include <c10/util/ScopeExit.h>
#include <c10/util/Type.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <utility>

#include "base/error.h"
#include "study/simulate/each_tensor.h"
#include "study/simulate/meta_answers.h"
#include "study/simulate/operation_facts.h"

namespace mumoe::study {
namespace {

using torch::jit::Stack;

thread_local OperationWatch* watch_of_thread = nullptr;

/// Below all that watches.
void run_operator(const c10::OperatorHandle& op,
                  c10::DispatchKeySet keys,
                  Stack& stack) {
  op.redispatchBoxed(keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER,
                                                c10::DispatchKey::Fake),
                     &stack);
}

void any_operator(const c10::OperatorHandle& op,
                  c10::DispatchKeySet keys,
                  Stack* stack) {
  OperationWatch* const watch = OperationWatch::of_thread();
  if (watch != nullptr) return watch->dispatched(op, keys, *stack);
  run_operator(op, keys, *stack);
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
  if (!answer_for_meta(schema, stack)) run_operator(op, keys, stack);
  if (!counts || !under_way_) return;
  for (std::size_t i = below; i < stack.size(); ++i) {
    each_tensor(stack[i], [&](const at::Tensor& tensor) {
      under_way_->bytes += bytes_of(tensor);
    });
  }
}

}  // namespace mumoe::study
