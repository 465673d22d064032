// Shapes: T tokens, C width, V rows of the vocabulary here, S tokens of one
// chunk.
#include "model/cross_entropy_fused.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "dist/params/parameter_registry.h"
#include "dist/torch_text.h"
#include "model/kernels/cross_entropy.h"
#include "mumoe/kernels/on_device.h"

namespace mumoe::model {
namespace {

std::int64_t divided_up(std::int64_t number, std::int64_t by) {
  return (number + by - 1) / by;
}

/// [rows, columns] whose rows begin at multiples of 16 bytes, which products
/// and kernels are fastest with.
at::Tensor empty_logits(std::int64_t rows,
                        std::int64_t columns,
                        const at::TensorOptions& options) {
  const auto fit = static_cast<std::int64_t>(16 / options.dtype().itemsize());
  return at::empty({rows, dist::rounded_up(columns, fit)}, options)
      .narrow(1, 0, columns);
}

/// The kernels at one chunk.
struct Chunk {
  at::Tensor logits_SV;
  at::Tensor targets_S;
  std::int64_t first;

  /// Calls f(kernels, rows, stream).
  template <class F>
  void run(F f) const {
    const at::Device device = logits_SV.device();
    kernels::with_element(logits_SV.scalar_type(), [&](auto element) {
      using E = decltype(element);
      const LogitRows<E> rows{
          .logits = kernels::first_value<E>(logits_SV),
          .targets = kernels::pointer<std::int64_t>(targets_S),
          .rows = logits_SV.size(0),
          .columns = logits_SV.size(1),
          .stride = logits_SV.stride(0),
          .first = first};
      f(kernels::row_for<E>(cross_entropy_kernels, device),
        rows,
        kernels::stream_of(device));
    });
  }
};

/// Log-sum-exp and target's logit of the whole vocabulary into `found` [S, 2],
/// and this chunk's logits as their gradient where `factor` is given. Where
/// ranks share the vocabulary they exchange both between two readings of the
/// logits.
void run_softmax(const Chunk& chunk,
                 std::optional<double> factor,
                 const dist::TensorParallel& tp,
                 const at::Tensor& found) {
  const bool alone = tp.size() == 1;
  // A rank whose slice is all padding has no columns: it weighs nothing.
  const bool empty = chunk.logits_SV.size(1) == 0;
  if (empty) {
    found.select(1, 0).fill_(-std::numeric_limits<double>::infinity());
    found.select(1, 1).zero_();
  } else {
    chunk.run([&](const auto& kernel, const auto& rows, void* stream) {
      double* const to = kernels::pointer<double>(found);
      if (factor && alone) {
        kernel.statistics_and_gradient(stream, rows, to, *factor);
      } else {
        kernel.statistics(stream, rows, to);
      }
    });
  }
  if (alone) return;
  const at::Tensor all = tp.of_all_ranks(found);
  const at::Tensor lse_S = all.select(2, 0).logsumexp(0);
  found.select(1, 0).copy_(lse_S);
  found.select(1, 1).copy_(all.select(2, 1).sum(0));
  if (!factor || empty) return;
  chunk.run([&](const auto& kernel, const auto& rows, void* stream) {
    kernel.gradient(stream, rows, kernels::pointer<double>(lse_S), *factor);
  });
}

}  // namespace

std::int64_t fused_chunks(std::int64_t tokens,
                          std::int64_t rows,
                          std::int64_t most) {
  const std::int64_t length = std::max<std::int64_t>(1, most / rows);
  return std::max<std::int64_t>(1, divided_up(tokens, length));
}

HeadPass fused_cross_entropy(const at::Tensor& hidden,
                             const at::Tensor& weight,
                             const at::Tensor& targets,
                             double scale,
                             bool wants_gradient,
                             GemmLibrary library,
                             const dist::Slice& slice,
                             const dist::TensorParallel& tp,
                             std::int64_t most) {
  const c10::OptionalDeviceGuard guard(hidden.device());
  const auto wide = dist::master_dtype(hidden.scalar_type());
  const std::int64_t tokens = hidden.size(0);
  const at::Tensor rows_VC = weight.narrow(0, 0, slice.count);
  const std::int64_t chunks = fused_chunks(tokens, weight.size(0), most);
  const std::int64_t length = divided_up(tokens, chunks);
  const at::Tensor memory = empty_logits(length, slice.count, hidden.options());
  const auto factor = wants_gradient ? std::optional(scale) : std::nullopt;
  HeadPass pass;
  if (wants_gradient) {
    pass.hidden = at::empty_like(hidden);
    pass.weight = at::empty(weight.sizes(), hidden.options().dtype(wide));
    pass.weight.narrow(0, slice.count, weight.size(0) - slice.count).zero_();
    if (slice.count == 0) pass.hidden.zero_();
  }
  const at::Tensor found_T2 =
      at::empty({tokens, 2}, hidden.options().dtype(at::kDouble));
  for (std::int64_t first = 0; first < tokens; first += length) {
    const std::int64_t count = std::min(length, tokens - first);
    const at::Tensor h_SC = hidden.narrow(0, first, count);
    const Chunk chunk{memory.narrow(0, 0, count),
                      targets.narrow(0, first, count),
                      slice.begin};
    const at::Tensor& logits_SV = chunk.logits_SV;
    if (slice.count > 0) mm_into(logits_SV, h_SC, rows_VC.t(), false, library);
    run_softmax(chunk, factor, tp, found_T2.narrow(0, first, count));
    if (!wants_gradient || slice.count == 0) continue;
    mm_into(pass.hidden.narrow(0, first, count),
            logits_SV,
            rows_VC,
            false,
            library);
    mm_into(pass.weight.narrow(0, 0, slice.count),
            logits_SV.t(),
            h_SC,
            /*accumulate=*/first > 0,
            library);
  }
  const at::Tensor sums = found_T2.sum(0);
  pass.loss = (sums[0] - sums[1]).mul_(scale).to(wide);
  return pass;
}

}  // namespace mumoe::model
