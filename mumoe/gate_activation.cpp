#include "mumoe/gate_activation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "dist/torch_text.h"
#include "mumoe/kernels/gate.h"
#include "mumoe/kernels/on_device.h"

// Shapes: T rows, N experts. Entmax has kernels of its own (mumoe/kernels);
// softmax and top-k are composed of LibTorch's operations.

namespace mumoe {
namespace {

using at::Tensor;
using kernels::pointer;

constexpr double kEps = 1e-5;  // of the layer norm

/// Values that a thread should have at least, to be worth starting.
constexpr std::int64_t kGrain = 16384;

std::int64_t rows_of_thread(std::int64_t experts) {
  return std::max<std::int64_t>(1, kGrain / experts);
}

/// The batch norm is done with before rows are looked at one by one.
kernels::RowNorm row_norm(GateNorm norm) {
  MUMOE_CHECK(norm != GateNorm::batch);
  return norm == GateNorm::layer ? kernels::RowNorm::layer
                                 : kernels::RowNorm::none;
}

/// Calls `f(kernel, values, rows, stream)` for ranges of rows of the logits;
/// `values(x_TN)` are those of a tensor of their shape and type.
template <class F>
void over_rows(const Tensor& logits_TN, const F& f) {
  const std::int64_t experts = logits_TN.size(1);
  const at::Device device = logits_TN.device();
  kernels::with_element(logits_TN.scalar_type(), [&](auto element) {
    using E = decltype(element);
    const auto& kernel = kernels::row_for<E>(kernels::gate_kernels, device);
    kernels::over_ranges(
        device,
        logits_TN.size(0),
        rows_of_thread(experts),
        [&](std::int64_t first, std::int64_t last, void* stream) {
          const auto values = [&](const Tensor& x_TN) {
            return pointer<E>(x_TN) + first * experts;
          };
          f(kernel, values, last - first, stream);
        });
  });
}

Tensor entmax(const Tensor& logits_TN, kernels::RowNorm norm) {
  const Tensor a_TN = at::empty_like(logits_TN);
  over_rows(
      logits_TN,
      [&](const auto& kernel, const auto& values, auto rows, void* stream) {
        kernel.forward(stream,
                       values(logits_TN),
                       values(a_TN),
                       rows,
                       logits_TN.size(1),
                       norm);
      });
  return a_TN;
}

Tensor entmax_backward(const Tensor& logits_TN,
                       const Tensor& a_TN,
                       const Tensor& grad_a_TN,
                       kernels::RowNorm norm) {
  const Tensor grad_logits_TN = at::empty_like(logits_TN);
  over_rows(
      logits_TN,
      [&](const auto& kernel, const auto& values, auto rows, void* stream) {
        kernel.backward(stream,
                        values(logits_TN),
                        values(a_TN),
                        values(grad_a_TN),
                        values(grad_logits_TN),
                        rows,
                        logits_TN.size(1),
                        norm);
      });
  return grad_logits_TN;
}

struct Normalised {
  Tensor z_TN;
  Tensor rstd_T1;  // undefined without a norm
};

Normalised normalise(const Tensor& logits_TN, GateNorm norm) {
  const Tensor wide_TN = logits_TN.to(compute_type(logits_TN.scalar_type()));
  if (norm == GateNorm::none) return {wide_TN, Tensor()};
  // Without its maximum a row of equal logits has variance 0 exactly.
  Tensor y_TN = wide_TN - wide_TN.amax(-1, true);
  y_TN.sub_(y_TN.mean(-1, true));
  const Tensor rstd_T1 = reciprocal_deviation((y_TN * y_TN).mean(-1, true));
  y_TN.mul_(rstd_T1);
  return {y_TN, rstd_T1};
}

/// −∞ in place of all but the k largest of each row. NaN in a row makes its
/// k-th largest NaN, hence all of it −∞ and the softmax NaN.
Tensor keep_largest(const Tensor& z_TN, std::int64_t k) {
  if (k == z_TN.size(-1)) return z_TN;
  const Tensor largest_Tk = std::get<0>(z_TN.topk(k, -1, true, false));
  const Tensor kth_T1 = largest_Tk.amin(-1, true);
  const Tensor above_TN = z_TN > kth_T1;
  const Tensor tied_TN = z_TN == kth_T1;
  const Tensor room_T1 = k - above_TN.sum(-1, true, at::kInt);
  const Tensor first_TN = tied_TN.cumsum(-1, at::kInt) <= room_T1;
  const Tensor kept_TN = above_TN | (tied_TN & first_TN);
  return z_TN.masked_fill(~kept_TN, -std::numeric_limits<double>::infinity());
}

}  // namespace

at::ScalarType compute_type(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

Tensor reciprocal_deviation(const Tensor& variance) {
  return (variance + kEps).rsqrt() + (variance - variance);
}

Tensor gate_rows(const Tensor& logits_TN, const GateConfig& config) {
  MUMOE_CHECK(config.norm != GateNorm::batch);
  if (config.activation == GateActivation::entmax15) {
    return entmax(logits_TN, row_norm(config.norm));
  }
  Tensor z_TN = normalise(logits_TN, config.norm).z_TN;
  if (config.activation == GateActivation::top_k) {
    z_TN = keep_largest(z_TN, config.top_k);
  }
  return at::_softmax(z_TN, -1, false).to(logits_TN.scalar_type());
}

Tensor gate_rows_backward(const Tensor& logits_TN,
                          const Tensor& a_TN,
                          const Tensor& grad_a_TN,
                          const GateConfig& config) {
  MUMOE_CHECK(config.norm != GateNorm::batch);
  if (config.activation == GateActivation::entmax15) {
    return entmax_backward(logits_TN, a_TN, grad_a_TN, row_norm(config.norm));
  }
  // Where a is 0, so is its row of the Jacobian: top-k needs no mask.
  const auto type = compute_type(logits_TN.scalar_type());
  const Tensor wide_a_TN = a_TN.to(type);
  const Tensor g_TN = grad_a_TN.to(type).masked_fill(wide_a_TN == 0, 0);
  Tensor d_TN = at::_softmax_backward_data(g_TN, wide_a_TN, -1, type);
  if (config.norm == GateNorm::layer) {
    const auto [z_TN, rstd_T1] = normalise(logits_TN, config.norm);
    const Tensor slope_T1 = (d_TN * z_TN).mean(-1, true);
    d_TN = (d_TN - d_TN.mean(-1, true) - z_TN * slope_T1) * rstd_T1;
  }
  return d_TN.to(logits_TN.scalar_type());
}

}  // namespace mumoe
