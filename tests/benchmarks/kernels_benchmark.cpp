// Times of the CPU kernels on one thread, for every instruction set of this
// machine: rows (or values) a second, and bytes of the matrices a second.
//
//   bench_kernels --benchmark_filter='combine.*/cp_gpt2/.*/avx512'
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "mumoe/kernels/combine.h"
#include "mumoe/kernels/gate.h"
#include "mumoe/kernels/gelu.h"
#include "tests/mumoe/combine_oracle.h"
#include "tests/mumoe/kernels_gate_oracle.h"

namespace mumoe {
namespace {

using kernels::Bf16;
using kernels::CombineShape;
using testing::stored;
using testing::Values;

constexpr std::int64_t kRows = 8192;  // tokens of the gate's benchmarks
constexpr std::int64_t kTokens = 2048;

template <class E>
constexpr const char* kName = "fp32";
template <>
inline constexpr const char* kName<Bf16> = "bf16";

/// What one call works on, and the call.
struct Work {
  std::int64_t items;
  std::int64_t bytes;
  std::function<void()> run;
};

/// Registers `make(isa)`, which prepares the data, for the instruction sets
/// from portable to `best`.
void add(const std::string& name, Isa best, std::function<Work(Isa)> make) {
  for (const Isa isa :
       {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16}) {
    if (isa > best_isa() || isa > best) continue;
    benchmark::RegisterBenchmark(
        fmt::format("{}/{}", name, to_string(isa)).c_str(),
        [make, isa](benchmark::State& state) {
          const Work work = make(isa);
          for (auto _ : state) {
            work.run();
            benchmark::ClobberMemory();
          }
          state.SetItemsProcessed(state.iterations() * work.items);
          state.SetBytesProcessed(state.iterations() * work.bytes);
        })
        ->Unit(benchmark::kMicrosecond);
  }
}

/// Normal numbers; the first 2^16 over and over.
template <class E>
std::vector<E> random_values(std::uint64_t stream, std::int64_t size) {
  Values values = testing::random_row(stream, std::min(size, 1L << 16), 1);
  values.resize(size);
  for (std::int64_t i = 1 << 16; i < size; ++i) {
    values[i] = values[i % (1 << 16)];
  }
  return stored<E>(values);
}

/// As a gate gives them at the start of training: of 256 experts 14 are active,
/// of 64 experts 10.
template <class E>
std::vector<E> random_coefficients(std::int64_t rows, std::int64_t experts) {
  const auto logits = random_values<E>(1, rows * experts);
  std::vector<E> a(logits.size());
  kernels::gate_kernels.row<E>(best_isa())
      .forward(nullptr,
               logits.data(),
               a.data(),
               rows,
               experts,
               kernels::RowNorm::layer);
  return a;
}

template <class E>
void add_gate(std::int64_t experts) {
  const std::string where = fmt::format("/{}/{}x{}", kName<E>, kRows, experts);
  const std::int64_t values = kRows * experts;
  const std::int64_t bytes = values * static_cast<std::int64_t>(sizeof(E));
  struct Data {
    std::vector<E> logits, a, grad, result;
  };
  const auto data = [=] {
    return std::make_shared<Data>(Data{random_values<E>(1, values),
                                       random_coefficients<E>(kRows, experts),
                                       random_values<E>(2, values),
                                       std::vector<E>(values)});
  };
  add("gate_forward" + where, Isa::avx512, [=](Isa isa) {
    return Work{kRows, 2 * bytes, [=, d = data()] {
                  kernels::gate_kernels.row<E>(isa).forward(
                      nullptr,
                      d->logits.data(),
                      d->result.data(),
                      kRows,
                      experts,
                      kernels::RowNorm::layer);
                }};
  });
  add("gate_backward" + where, Isa::avx512, [=](Isa isa) {
    return Work{kRows, 4 * bytes, [=, d = data()] {
                  kernels::gate_kernels.row<E>(isa).backward(
                      nullptr,
                      d->logits.data(),
                      d->a.data(),
                      d->grad.data(),
                      d->result.data(),
                      kRows,
                      experts,
                      kernels::RowNorm::layer);
                }};
  });
}

/// The matrices of a combination, all filled; results point at their own.
template <class E>
class Layer {
 public:
  Layer(const CombineShape& shape, bool given) {
    forward.projection = backward.projection = matrix(2, shape.projection());
    backward.grad_result = matrix(3, shape.result());
    forward.result = backward.result = matrix(0, shape.result());
    backward.grad_projection = matrix(0, shape.projection());
    arrays_.push_back(random_values<E>(4, shape.projection()));
    forward.bias = backward.bias = arrays_.back().data();
    arrays_.push_back(random_coefficients<E>(kTokens, shape.experts[0]));
    forward.coefficients[0] = backward.coefficients[0] = arrays_.back().data();
    arrays_.push_back(random_values<E>(5, shape.experts[0] * shape.mixed[0]));
    forward.expert[0] = backward.expert[0] = arrays_.back().data();
    backward.grad_mixed[0] = matrix(0, shape.mixed[0]);
    // As in a layer: mixed densely, the product with Uᵀ gives da.
    if (given) {
      forward.mixed[0] = backward.mixed[0] = matrix(6, shape.mixed[0]);
    } else {
      backward.grad_coefficients[0] = matrix(0, shape.experts[0]);
    }
  }
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  kernels::CombineForward<E> forward;
  kernels::CombineBackward<E> backward;

 private:
  E* matrix(std::uint64_t stream, std::int64_t width) {
    arrays_.push_back(random_values<E>(stream, kTokens * width));
    return arrays_.back().data();
  }

  std::vector<std::vector<E>> arrays_;
};

template <class E>
void add_combination(const std::string& model, const CombineShape& shape) {
  for (const bool given : {false, true}) {
    const std::string where =
        fmt::format("/{}{}{}", model, given ? "/dense/" : "/sparse/", kName<E>);
    const auto bytes_of = [=](std::int64_t widths) {
      return kTokens * widths * static_cast<std::int64_t>(sizeof(E));
    };
    const std::int64_t n = shape.experts[0], mixed = shape.mixed[0];
    add("combine_forward" + where, Isa::avx512_bf16, [=](Isa isa) {
      const auto layer = std::make_shared<Layer<E>>(shape, given);
      return Work{
          kTokens,
          bytes_of((given ? mixed : n) + shape.projection() + shape.result()),
          [=] {
            kernels::combine_kernels.row<E>(isa).forward(nullptr,
                                                         shape,
                                                         layer->forward,
                                                         0,
                                                         kTokens);
          }};
    });
    add("combine_backward" + where, Isa::avx512_bf16, [=](Isa isa) {
      const auto layer = std::make_shared<Layer<E>>(shape, given);
      return Work{kTokens,
                  bytes_of((given ? mixed : 2 * n) + mixed +
                           2 * shape.projection() + 2 * shape.result()),
                  [=] {
                    kernels::combine_kernels.row<E>(isa)
                        .backward(nullptr, shape, layer->backward, 0, kTokens);
                  }};
    });
  }
  const std::int64_t experts = shape.experts[0], width = shape.mixed[0];
  add(fmt::format("expert_gradient/{}/{}", model, kName<E>),
      Isa::avx512_bf16,
      [=](Isa isa) {
        struct Data {
          std::vector<E> a, dm, du;
        };
        const auto d = std::make_shared<Data>(
            Data{random_coefficients<E>(kTokens, experts),
                 random_values<E>(7, kTokens * width),
                 std::vector<E>(experts * width)});
        const std::size_t values = d->a.size() + d->dm.size() + d->du.size();
        return Work{kTokens,
                    static_cast<std::int64_t>(values * sizeof(E)),
                    [=] {
                      kernels::mixing_kernels.row<E>(isa).expert_gradient(
                          d->a.data(),
                          d->dm.data(),
                          d->du.data(),
                          kTokens,
                          experts,
                          width,
                          0,
                          width,
                          false);
                    }};
      });
}

template <class E>
void add_values() {
  constexpr std::int64_t kValues = 1 << 20;
  const std::int64_t bytes = kValues * static_cast<std::int64_t>(sizeof(E));
  add(fmt::format("gelu_forward/{}", kName<E>), Isa::avx512_bf16, [=](Isa isa) {
    const auto x =
        std::make_shared<std::vector<E>>(random_values<E>(1, kValues));
    const auto y = std::make_shared<std::vector<E>>(kValues);
    return Work{kValues, 2 * bytes, [=] {
                  kernels::gelu_kernels.row<E>(isa).forward(nullptr,
                                                            x->data(),
                                                            y->data(),
                                                            kValues);
                }};
  });
  add(fmt::format("gelu_backward/{}", kName<E>),
      Isa::avx512_bf16,
      [=](Isa isa) {
        const auto x =
            std::make_shared<std::vector<E>>(random_values<E>(1, kValues));
        const auto dy =
            std::make_shared<std::vector<E>>(random_values<E>(2, kValues));
        const auto dx = std::make_shared<std::vector<E>>(kValues);
        const auto y = std::make_shared<std::vector<E>>(kValues);
        return Work{kValues, 4 * bytes, [=] {
                      kernels::gelu_kernels.row<E>(isa).backward(nullptr,
                                                                 x->data(),
                                                                 dy->data(),
                                                                 dx->data(),
                                                                 y->data(),
                                                                 kValues);
                    }};
      });
  add(fmt::format("count_nonzero/{}", kName<E>),
      Isa::avx512_bf16,
      [=](Isa isa) {
        const auto a = std::make_shared<std::vector<E>>(
            random_coefficients<E>(kValues / 256, 256));
        return Work{kValues, bytes, [=] {
                      std::int64_t found = 0;
                      kernels::combine_kernels.row<E>(isa)
                          .count_nonzero(nullptr, a->data(), kValues, &found);
                      benchmark::DoNotOptimize(found);
                    }};
      });
}

template <class E>
void add_all() {
  for (const std::int64_t experts : {64, 256, 1024}) add_gate<E>(experts);
  // The layers of the paper: GPT-2 with 256 experts, channel mixing of the
  // Mixer with 64.
  add_combination<E>("cp_gpt2", testing::hadamard_shape({256}, 556));
  add_combination<E>("cp_mixer", testing::hadamard_shape({64}, 384));
  add_combination<E>("ring_gpt2", testing::ring_shape({256}, {4, 4}, 149));
  add_combination<E>("ring_mixer", testing::ring_shape({64}, {4, 4}, 97));
  add_values<E>();
}

}  // namespace
}  // namespace mumoe

int main(int argc, char** argv) {
  mumoe::add_all<float>();
  mumoe::add_all<mumoe::kernels::Bf16>();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
