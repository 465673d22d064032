// The gate on a GPU: mumoe/kernels/gate.h has the equations, gate_cpu.cpp the
// same algorithm with more words and a start nearer to the root. A warp holds a
// row in registers; rows too long for that are read again from the caches by a
// block, pass by pass.
#include <cmath>
#include <type_traits>

#include "mumoe/kernels/cuda_launch.h"
#include "mumoe/kernels/gate.h"
#include "mumoe/kernels/gate_rows.h"

namespace mumoe::kernels {
namespace {

constexpr double kEps = 1e-5;   // of the layer norm
constexpr int kMaxPasses = 64;  // a bound; 4 to 8 are usual
constexpr int kWarpsPerBlock = 4;

__device__ __forceinline__ float root(float x) {
  return sqrtf(x);
}
__device__ __forceinline__ double root(double x) {
  return sqrt(x);
}

template <class T>
struct Statistics {
  T mean;  // of the row after its maximum was taken away
  T rstd;  // 1 / √(var + eps)
};

/// Leaves ℓ − max ℓ in `row`.
template <class Row, class T = typename Row::T>
__device__ Statistics<T> standardise(Row& row, RowNorm norm) {
  using Group = typename Row::Group;
  T best = -static_cast<T>(INFINITY);
  row.each([&](int j) { best = row.at(j) > best ? row.at(j) : best; });
  row.shift_and_scale(Group::reduce(best, Maximum{}), 1);
  if (norm == RowNorm::none) return {0, 1};
  T sum = 0;
  row.each([&](int j) { sum += row.at(j); });
  const T mean = Group::reduce(sum, Add{}) / row.size;
  T squares = 0;
  row.each([&](int j) {
    const T d = row.at(j) - mean;
    squares += d * d;
  });
  const T variance = Group::reduce(squares, Add{}) / row.size;
  // ∞ − ∞: an overflow must not pass for a row of equal logits.
  const T nan_if_infinite = variance - variance;
  return {mean, 1 / root(variance + static_cast<T>(kEps)) + nan_if_infinite};
}

/// τ with Σ [x − τ]₊² = 1: Newton from the left, then the closed form.
template <class Row, class T = typename Row::T>
__device__ T entmax_threshold(const Row& row) {
  using Group = typename Row::Group;
  T tau = -1;
  for (int pass = 0; pass < kMaxPasses; ++pass) {
    T sum = 0, squares = 0, smallest = static_cast<T>(INFINITY);
    int count = 0;
    row.each([&](int j) {
      const T x = row.at(j);
      if (!(x <= tau)) {  // also NaN
        const T d = x - tau;
        sum += d;
        squares += d * d;
        count += 1;
        smallest = x < smallest ? x : smallest;
      }
    });
    sum = Group::reduce(sum, Add{});
    const T excess = Group::reduce(squares, Add{}) - 1;
    const T support = static_cast<T>(Group::reduce(count, Add{}));
    smallest = Group::reduce(smallest, Minimum{});
    const T newton = excess / (2 * sum);
    const T under_root = sum * sum - support * excess;
    const T exact =
        under_root >= 0 ? excess / (sum + root(under_root)) : newton;
    if (smallest >= tau + exact && under_root >= 0) {
      tau += exact;
      const T length = exact < 0 ? -exact : exact;
      if (4 * support * length <= sum) return tau;
    } else {
      if (tau + newton == tau) return tau;
      tau += newton;
    }
    if (!(tau <= 0)) break;  // NaN
  }
  return tau;
}

template <class Row, class E>
__device__ void forward_row(const E* logits,
                            E* coefficients,
                            int experts,
                            bool packed,
                            RowNorm norm) {
  using T = typename Row::T;
  Row row(logits, experts, packed);
  const Statistics<T> statistics = standardise(row, norm);
  row.shift_and_scale(0, statistics.rstd / 2);
  const T tau = entmax_threshold(row);
  row.write(coefficients, [&](int j) {
    const T x = row.at(j);
    const T d = x <= tau ? T(0) : x - tau;
    return d * d;
  });
}

template <class Row, class E>
__device__ void backward_row(const E* logits,
                             const E* coefficients,
                             const E* grad_coefficients,
                             E* grad_logits,
                             int experts,
                             bool packed,
                             RowNorm norm) {
  using T = typename Row::T;
  using Group = typename Row::Group;
  const Row a(coefficients, experts, packed);
  const Row g(grad_coefficients, experts, packed);
  T sum = 0, weighted = 0;
  a.each([&](int j) {
    const T s = root(a.at(j));
    sum += s;
    weighted += s == 0 ? T(0) : s * g.at(j);
  });
  sum = Group::reduce(sum, Add{});
  const T mean_g = Group::reduce(weighted, Add{}) / sum;
  const auto d = [&](int j) {
    const T s = root(a.at(j));
    return s == 0 ? T(0) : s * (g.at(j) - mean_g);
  };
  if (norm == RowNorm::none) {
    a.write(grad_logits, d);
    return;
  }
  Row y(logits, experts, packed);
  const Statistics<T> of_y = standardise(y, norm);
  T product = 0;
  y.each([&](int j) { product += d(j) * (y.at(j) - of_y.mean); });
  const T slope =
      of_y.rstd * of_y.rstd * Group::reduce(product, Add{}) / experts;
  y.write(grad_logits, [&](int j) {
    return of_y.rstd * (d(j) - (y.at(j) - of_y.mean) * slope);
  });
}

/// The row of this thread's group.
template <class Row>
__device__ std::int64_t row_of_group() {
  constexpr int kThreads = Row::Group::kThreads;
  const std::int64_t in_block = threadIdx.x / kThreads;
  return std::int64_t{blockIdx.x} * (blockDim.x / kThreads) + in_block;
}

template <class Row, class E>
__global__ void forward_kernel(const E* __restrict__ logits,
                               E* __restrict__ coefficients,
                               std::int64_t rows,
                               int experts,
                               bool packed,
                               RowNorm norm) {
  const std::int64_t row = row_of_group<Row>();
  if (row >= rows) return;
  const std::int64_t at = row * experts;
  forward_row<Row>(logits + at, coefficients + at, experts, packed, norm);
}

template <class Row, class E>
__global__ void backward_kernel(const E* __restrict__ logits,
                                const E* __restrict__ coefficients,
                                const E* __restrict__ grad_coefficients,
                                E* __restrict__ grad_logits,
                                std::int64_t rows,
                                int experts,
                                bool packed,
                                RowNorm norm) {
  const std::int64_t row = row_of_group<Row>();
  if (row >= rows) return;
  const std::int64_t at = row * experts;
  backward_row<Row>(logits + at,
                    coefficients + at,
                    grad_coefficients + at,
                    grad_logits + at,
                    experts,
                    packed,
                    norm);
}

/// How many blocks of how many threads give every row its group.
struct Grid {
  std::int64_t blocks;
  int threads;
};

template <class Row>
Grid grid_for(std::int64_t rows) {
  constexpr int kGroup = Row::Group::kThreads;
  constexpr int kThreads =
      kGroup == kWarp ? kWarpsPerBlock * kWarp : kBlockThreads;
  constexpr int kRows = kThreads / kGroup;
  return {(rows + kRows - 1) / kRows, kThreads};
}

/// Calls `f` with a null pointer to the row type for this many experts. In fp64
/// half as many values fit the registers.
template <class E, class F>
void with_row(std::int64_t experts, F f) {
  constexpr bool kWide = sizeof(Compute<E>) == 8;
  if (experts <= 32) return f(static_cast<RegisterRow<E, 1>*>(nullptr));
  if (experts <= 64) return f(static_cast<RegisterRow<E, 2>*>(nullptr));
  if (experts <= 128) return f(static_cast<RegisterRow<E, 4>*>(nullptr));
  if (experts <= 256) return f(static_cast<RegisterRow<E, 8>*>(nullptr));
  if (experts <= 512) return f(static_cast<RegisterRow<E, 16>*>(nullptr));
  if constexpr (!kWide) {
    if (experts <= 1024) return f(static_cast<RegisterRow<E, 32>*>(nullptr));
  }
  return f(static_cast<MemoryRow<E>*>(nullptr));
}

/// Whether rows of `experts` values of `E` at these addresses can be accessed
/// 16 bytes at a time.
template <class E, class... Pointers>
bool is_packed(std::int64_t experts, const Pointers*... pointers) {
  const auto aligned = [](const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
  };
  return experts * sizeof(E) % 16 == 0 && (aligned(pointers) && ...);
}

template <class E>
void forward(void* stream,
             const E* logits,
             E* coefficients,
             std::int64_t rows,
             std::int64_t experts,
             RowNorm norm) {
  const bool packed = is_packed<E>(experts, logits, coefficients);
  with_row<E>(experts, [&](auto* type) {
    using Row = std::remove_pointer_t<decltype(type)>;
    const Grid grid = grid_for<Row>(rows);
    launch("gate forward",
           forward_kernel<Row, E>,
           grid.blocks,
           grid.threads,
           stream,
           logits,
           coefficients,
           rows,
           static_cast<int>(experts),
           packed,
           norm);
  });
}

template <class E>
void backward(void* stream,
              const E* logits,
              const E* coefficients,
              const E* grad_coefficients,
              E* grad_logits,
              std::int64_t rows,
              std::int64_t experts,
              RowNorm norm) {
  const bool packed = is_packed<E>(experts,
                                   logits,
                                   coefficients,
                                   grad_coefficients,
                                   grad_logits);
  with_row<E>(experts, [&](auto* type) {
    using Row = std::remove_pointer_t<decltype(type)>;
    const Grid grid = grid_for<Row>(rows);
    launch("gate backward",
           backward_kernel<Row, E>,
           grid.blocks,
           grid.threads,
           stream,
           logits,
           coefficients,
           grad_coefficients,
           grad_logits,
           rows,
           static_cast<int>(experts),
           packed,
           norm);
  });
}

}  // namespace

namespace cuda {
const GateRow gate_row = {{forward<float>, backward<float>},
                          {forward<double>, backward<double>},
                          {forward<Bf16>, backward<Bf16>}};
}  // namespace cuda

}  // namespace mumoe::kernels
