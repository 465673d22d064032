#pragma once

#include <cstdint>
#include <type_traits>

#include "mumoe/kernels/bf16.h"
#include "mumoe/kernels/lanes.h"

// A row of gate values in scratch memory, for gate_cpu.cpp: compiled once per
// instruction set, like lanes.h.

namespace mumoe::kernels::MUMOE_ISA {

template <class T>
constexpr T infinity() {
  return static_cast<T>(__builtin_inff());
}

inline float root(float x) {
  return __builtin_sqrtf(x);
}
inline double root(double x) {
  return __builtin_sqrt(x);
}
/// Written lane by lane; the compiler makes vectors of it.
template <class T>
Lanes<T> root(const Lanes<T>& x) {
  T lane[Lanes<T>::kSize];
  x.store(lane);
  for (T& value : lane) value = root(value);
  return Lanes<T>::load(lane);
}

/// A row in scratch memory: `size` values, then padding up to whole blocks. The
/// padding is set before each pass to a value that does not change what the
/// pass computes.
template <class T>
struct Row {
  T* data;
  std::int64_t size;
  std::int64_t padded;

  void pad(T value) const {
    for (std::int64_t i = size; i < padded; ++i) data[i] = value;
  }
  Lanes<T> at(std::int64_t i) const { return Lanes<T>::load(data + i); }
};

/// row ← `from`, and its padding.
template <class E, class T>
void fetch(const E* from, const Row<T>& row, T padding) {
  for (std::int64_t i = 0; i < row.size; ++i) row.data[i] = load_value(from[i]);
  row.pad(padding);
}

/// `to` ← f(i) for each block of lanes at i; `row` is scratch, and f may read
/// its block at i.
template <class E, class T, class F>
[[gnu::always_inline]] inline void write_row(E* to, const Row<T>& row, F f) {
  using L = Lanes<T>;
  // Straight to where it belongs, as far as blocks are whole.
  std::int64_t done = 0;
  if constexpr (std::is_same_v<E, T>) {
    for (; done + L::kSize <= row.size; done += L::kSize) {
      f(done).store(to + done);
    }
  }
  for (std::int64_t i = done; i < row.size; i += L::kSize) {
    f(i).store(row.data + i);
  }
  for (std::int64_t i = done; i < row.size; ++i) {
    store_value(to[i], row.data[i]);
  }
}

}  // namespace mumoe::kernels::MUMOE_ISA
