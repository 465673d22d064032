#pragma once

// Mixing of the active experts of one token, for combine_cpu.cpp: compiled once
// per instruction set.

#include <type_traits>

#include "mumoe/kernels/rows.h"
#include "mumoe/kernels/rows_bf16.h"

namespace mumoe::kernels::MUMOE_ISA {

/// Hands out parts of the scratch memory.
template <class T>
class Scratch {
 public:
  explicit Scratch(double* memory) : next_(reinterpret_cast<T*>(memory)) {}
  T* take(std::int64_t count) {
    T* const part = next_;
    next_ += count;
    return part;
  }

 private:
  T* next_;
};

template <class E, class T>
void load_row(const E* from, T* to, std::int64_t size) {
  over_row<T>(
      size,
      [&](std::int64_t i) { Memory<E>::load(from + i).store(to + i); },
      [&](std::int64_t i) { to[i] = load_value(from[i]); });
}

template <class E, class T>
void store_row(const T* from, E* to, std::int64_t size) {
  over_row<T>(
      size,
      [&](std::int64_t i) {
        Memory<E>::store(to + i, Lanes<T>::load(from + i));
      },
      [&](std::int64_t i) { store_value(to[i], from[i]); });
}

/// to ← x ∘ y; `to` is neither of them.
template <class T>
void multiply(const T* x, const T* y, T* to, std::int64_t size) {
  over_row<T>(
      size,
      [&](std::int64_t i) {
        (Lanes<T>::load(x + i) * Lanes<T>::load(y + i)).store(to + i);
      },
      [&](std::int64_t i) { to[i] = x[i] * y[i]; });
}

template <class E, class T>
void load_biased(const E* q, const E* bias, T* to, std::int64_t size) {
  if (bias == nullptr) return load_row(q, to, size);
  over_row<T>(
      size,
      [&](std::int64_t i) {
        (Memory<E>::load(q + i) + Memory<E>::load(bias + i)).store(to + i);
      },
      [&](std::int64_t i) { to[i] = load_value(q[i]) + load_value(bias[i]); });
}

/// Room for all experts.
template <class T>
Active<T> take_active(std::int64_t experts, Scratch<T>& scratch) {
  Active<T> active = {};
  active.coefficient = scratch.take((experts + 7) / 8 * 8);
  auto address = reinterpret_cast<std::uintptr_t>(
      scratch.take(experts * (8 / static_cast<std::int64_t>(sizeof(T))) + 8));
  address = (address + 7) / 8 * 8;  // indices are 8 bytes wide
  active.expert = reinterpret_cast<std::int64_t*>(address);
  return active;
}

template <class E, class T>
void find_active(const E* row, std::int64_t experts, Active<T>& active) {
  active.count = 0;
  over_nonzero(row, experts, [&](std::int64_t n, T value) {
    active.expert[active.count] = n;
    active.coefficient[active.count] = value;
    ++active.count;
  });
}

/// kBlocks blocks of m = Σ_k a_k U[n_k], from column `at`.
template <int kBlocks, class E, class T>
[[gnu::always_inline]] inline void mix_blocks(const Active<T>& active,
                                              const E* expert,
                                              std::int64_t width,
                                              std::int64_t at,
                                              T* to) {
  using L = Lanes<T>;
  L sum[kBlocks];
  for (int b = 0; b < kBlocks; ++b) sum[b] = L::all(0);
  for (std::int64_t k = 0; k < active.count; ++k) {
    const E* const row = expert + active.expert[k] * width + at;
    const L a = L::all(active.coefficient[k]);
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) {
      sum[b] = sum[b] + a * Memory<E>::load(row + b * L::kSize);
    }
  }
  for (int b = 0; b < kBlocks; ++b) sum[b].store(to + at + b * L::kSize);
}

/// sums[n_k] += a_k dm for kBlocks blocks from column `at`: dm is read once and
/// stays in registers.
template <int kBlocks, class E, class T>
[[gnu::always_inline]] inline void add_scaled(const Active<T>& active,
                                              const E* dm,
                                              std::int64_t at,
                                              std::int64_t columns,
                                              T* sums) {
  using L = Lanes<T>;
  L block[kBlocks];
#pragma GCC unroll 8
  for (int b = 0; b < kBlocks; ++b) {
    block[b] = Memory<E>::load(dm + at + b * L::kSize);
  }
  for (std::int64_t k = 0; k < active.count; ++k) {
    T* const sum = sums + active.expert[k] * columns + at;
    const L a = L::all(active.coefficient[k]);
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) {
      (L::load(sum + b * L::kSize) + a * block[b]).store(sum + b * L::kSize);
    }
  }
}

template <class E, class T>
void mix(const Active<T>& active, const E* expert, std::int64_t width, T* to) {
  constexpr std::int64_t kSize = Lanes<T>::kSize;
  constexpr int kBlocks = MUMOE_VECTOR_BYTES == 64 ? 8 : 4;
  std::int64_t at = 0;
  for (; at + kBlocks * kSize <= width; at += kBlocks * kSize) {
    mix_blocks<kBlocks>(active, expert, width, at, to);
  }
  for (; at + kSize <= width; at += kSize) {
    mix_blocks<1>(active, expert, width, at, to);
  }
  if (at < width && width >= kSize) {
    mix_blocks<1>(active, expert, width, width - kSize, to);
  } else {
    for (; at < width; ++at) {
      T sum = 0;
      for (std::int64_t k = 0; k < active.count; ++k) {
        sum += active.coefficient[k] *
               load_value(expert[active.expert[k] * width + at]);
      }
      to[at] = sum;
    }
  }
}

/// result(k, x · row(k)) for k < count, four at a time.
template <class X, class Row, class Result>
[[gnu::always_inline]] inline void each_dot(const X* x,
                                            std::int64_t size,
                                            std::int64_t count,
                                            Row row,
                                            Result result) {
  constexpr int kRows = 4;
  using E = std::remove_cv_t<std::remove_pointer_t<decltype(row(0))>>;
  Compute<E> values[kRows];
  std::int64_t k = 0;
  for (; k + kRows <= count; k += kRows) {
    const E* const rows[kRows] = {row(k), row(k + 1), row(k + 2), row(k + 3)};
    dots<kRows>(x, rows, size, values);
    for (int r = 0; r < kRows; ++r) result(k + r, values[r]);
  }
  for (; k < count; ++k) {
    const E* const rows[1] = {row(k)};
    dots<1>(x, rows, size, values);
    result(k, values[0]);
  }
}

}  // namespace mumoe::kernels::MUMOE_ISA
