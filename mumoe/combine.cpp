#include "mumoe/combine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "base/error.h"
#include "dist/torch_text.h"
#include "mumoe/kernels/combine.h"
#include "mumoe/kernels/on_device.h"

namespace mumoe {
namespace {

using kernels::CombineShape;
using kernels::pointer;
using Tensors = std::vector<at::Tensor>;

/// Tokens that a thread should have at least, to be worth starting.
constexpr std::int64_t kTokens = 16;
/// Sums of dU that one thread keeps at a time: they stay in its second-level
/// cache.
constexpr std::int64_t kSums = 96 * 1024;

std::int64_t active_count(const at::Tensor& values) {
  std::atomic<std::int64_t> total = 0;
  kernels::with_element(values.scalar_type(), [&](auto element) {
    using E = decltype(element);
    const E* const from = pointer<E>(values);
    const auto& kernel =
        kernels::row_for<E>(kernels::combine_kernels, values.device());
    at::parallel_for(
        0,
        values.numel(),
        1 << 16,
        [&](std::int64_t first, std::int64_t last) {
          std::int64_t found = 0;
          kernel.count_nonzero(nullptr, from + first, last - first, &found);
          total += found;
        });
  });
  auto* const watch = kernels::kernel_watch;
  const auto all = static_cast<double>(values.numel());
  if (values.is_meta()) {
    return std::llround((watch ? watch->active_share() : 1) * all);
  }
  if (watch != nullptr) watch->counted(static_cast<double>(total) / all);
  return total;
}

/// Adds it to `counter`, both on a GPU.
void add_active_count(const at::Tensor& values, const at::Tensor& counter) {
  const c10::OptionalDeviceGuard guard(values.device());
  kernels::with_element(values.scalar_type(), [&](auto element) {
    using E = decltype(element);
    kernels::row_for<E>(kernels::combine_kernels, values.device())
        .count_nonzero(kernels::stream_of(values.device()),
                       pointer<E>(values),
                       values.numel(),
                       pointer<std::int64_t>(counter));
  });
}

/// m_e of the levels that are mixed densely; undefined for the others.
Tensors mixed_densely(const Tensors& a,
                      const SparseLevels& sparse,
                      const Factors& u,
                      GemmLibrary library) {
  Tensors mixed(a.size());
  for (std::size_t e = 0; e < a.size(); ++e) {
    if (!sparse[e]) mixed[e] = mm(a[e], factor_matrix(u.expert[e]), library);
  }
  return mixed;
}

/// Fills in what `CombineForward` and `CombineBackward` share.
template <class E, class Matrices>
void set_operands(Matrices& m,
                  const Tensors& a,
                  const Tensors& mixed,
                  const Factors& u,
                  const at::Tensor& projection) {
  for (std::size_t e = 0; e < a.size(); ++e) {
    m.coefficients[e] = pointer<E>(a[e]);
    m.expert[e] = pointer<E>(u.expert[e]);
    m.mixed[e] = pointer<E>(mixed[e]);
  }
  m.projection = pointer<E>(projection);
  // Otherwise it has been added before the core.
  if (!u.core.defined()) m.bias = pointer<E>(u.input_bias);
}

}  // namespace

double sparse_mixing_threshold(at::ScalarType dtype) {
  // Measured on a CPU with AVX512-BF16, two threads, forward and backward: with
  // 64 experts and R = 384, 15 % of them active, the bf16 products take 1.2
  // times as long as reading the rows; with 256, R = 556 and 5.5 %, 1.9 times.
  // fp32 products take twice as long.
  return dtype == at::kBFloat16 ? 0.18 : 0.35;
}

SparseLevels choose_mixing(const Tensors& coefficients,
                           Mixing mixing,
                           MixingReport* report) {
  SparseLevels sparse;
  double active = 0, all = 0;
  for (const auto& a : coefficients) {
    bool chosen = mixing == Mixing::sparse;
    if (kernels::like_gpu(a.device())) {
      // Counting would make the host wait for the device.
      active += static_cast<double>(a.numel());
      all += static_cast<double>(a.numel());
      if (report != nullptr && report->counter.defined()) {
        add_active_count(a, report->counter);
      }
    } else if (mixing == Mixing::automatic || report != nullptr) {
      const auto count = static_cast<double>(active_count(a));
      const auto numel = static_cast<double>(a.numel());
      active += count;
      all += numel;
      if (mixing == Mixing::automatic) {
        chosen = count <= sparse_mixing_threshold(a.scalar_type()) * numel;
      }
    }
    sparse.push_back(chosen);
  }
  if (report != nullptr) {
    report->sparse =
        std::find(sparse.begin(), sparse.end(), true) != sparse.end();
    report->active = all > 0 ? active / all : 1;
    report->coefficients = static_cast<std::int64_t>(all);
  }
  return sparse;
}

at::Tensor combine(const Tensors& a,
                   const SparseLevels& sparse,
                   const Factors& u,
                   const at::Tensor& projection,
                   GemmLibrary library) {
  const c10::OptionalDeviceGuard guard(projection.device());
  const CombineShape shape = combination_of(u.shape());
  const std::int64_t tokens = projection.size(0);
  const Tensors mixed = mixed_densely(a, sparse, u, library);
  const at::Tensor c =
      at::empty({tokens, shape.result()}, projection.options());
  kernels::with_element(c.scalar_type(), [&](auto element) {
    using E = decltype(element);
    kernels::CombineForward<E> m;
    set_operands<E>(m, a, mixed, u, projection);
    m.result = pointer<E>(c);
    const auto& kernel =
        kernels::row_for<E>(kernels::combine_kernels, c.device());
    kernels::over_ranges(
        c.device(),
        tokens,
        kTokens,
        [&](std::int64_t first, std::int64_t last, void* stream) {
          kernel.forward(stream, shape, m, first, last);
        });
  });
  return c;
}

CombineGradients combine_backward(const Tensors& a,
                                  const SparseLevels& sparse,
                                  const Factors& u,
                                  const at::Tensor& projection,
                                  const at::Tensor& grad_result,
                                  bool support_only,
                                  bool coefficients_wanted,
                                  GemmLibrary library) {
  const c10::OptionalDeviceGuard guard(projection.device());
  const CombineShape shape = combination_of(u.shape());
  const std::int64_t tokens = projection.size(0);
  const Tensors mixed = mixed_densely(a, sparse, u, library);
  CombineGradients d;
  d.result = at::empty({tokens, shape.result()}, projection.options());
  d.projection = at::empty_like(projection);
  d.coefficients.resize(a.size());
  for (std::size_t e = 0; e < a.size(); ++e) {
    d.mixed.push_back(at::empty({tokens, shape.mixed[e]}, a[e].options()));
    if (coefficients_wanted && sparse[e] && support_only) {
      d.coefficients[e] = at::empty_like(a[e]);
    }
  }
  kernels::with_element(projection.scalar_type(), [&](auto element) {
    using E = decltype(element);
    kernels::CombineBackward<E> m;
    set_operands<E>(m, a, mixed, u, projection);
    m.grad_result = pointer<E>(grad_result);
    m.result = pointer<E>(d.result);
    m.grad_projection = pointer<E>(d.projection);
    for (std::size_t e = 0; e < a.size(); ++e) {
      m.grad_mixed[e] = pointer<E>(d.mixed[e]);
      m.grad_coefficients[e] = pointer<E>(d.coefficients[e]);
    }
    const auto& kernel =
        kernels::row_for<E>(kernels::combine_kernels, projection.device());
    kernels::over_ranges(
        projection.device(),
        tokens,
        kTokens,
        [&](std::int64_t first, std::int64_t last, void* stream) {
          kernel.backward(stream, shape, m, first, last);
        });
  });
  for (std::size_t e = 0; e < a.size(); ++e) {
    if (coefficients_wanted && !d.coefficients[e].defined()) {
      d.coefficients[e] =
          mm(d.mixed[e], factor_matrix(u.expert[e]).t(), library);
    }
  }
  return d;
}

void expert_gradient_into(const at::Tensor& out,
                          const at::Tensor& coefficients,
                          const at::Tensor& grad_mixed,
                          bool sparse,
                          bool accumulate,
                          GemmLibrary library) {
  if (!sparse || kernels::like_gpu(out.device())) {
    mm_into(out, coefficients.t(), grad_mixed, accumulate, library);
    return;
  }
  const std::int64_t width = grad_mixed.size(1);
  const std::int64_t experts = coefficients.size(1);
  // Every part of the columns reads all coefficients: as few parts as threads
  // and cache allow. Cut between the kernel's vectors, so that the sums do not
  // depend on the number of threads.
  constexpr std::int64_t kCut = kernels::kExpertGradientCut;
  const std::int64_t threads = at::get_num_threads();
  const std::int64_t fit = std::max<std::int64_t>(16, kSums / experts);
  const std::int64_t rounds = (width + threads * fit - 1) / (threads * fit);
  const std::int64_t blocks = (width + kCut - 1) / kCut;
  const std::int64_t parts = std::min(blocks, rounds * threads);
  const auto cut = [&](std::int64_t part) {
    return std::min(width, part * blocks / parts * kCut);
  };
  kernels::with_element(out.scalar_type(), [&](auto element) {
    using E = decltype(element);
    const auto& kernel =
        kernels::row_for<E>(kernels::mixing_kernels, out.device());
    const E* const a = pointer<E>(coefficients);
    const E* const d = pointer<E>(grad_mixed);
    E* const to = pointer<E>(out);
    at::parallel_for(0, parts, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t part = first; part < last; ++part) {
        kernel.expert_gradient(a,
                               d,
                               to,
                               grad_mixed.size(0),
                               experts,
                               width,
                               cut(part),
                               cut(part + 1),
                               accumulate);
      }
    });
  });
}

}  // namespace mumoe
