#include "launch/compute.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <chrono>

#include "base/cpu.h"
#include "base/error.h"
#include "dist/nccl/nccl_communicator.h"
#include "dist/self_communicator.h"
#include "launch/figures.h"
#include "launch/memory.h"
#include "launch/plan_choice.h"
#include "model/families.h"
#include "run/option_table.h"
#include "train/batches.h"

namespace mumoe::launch {
namespace {

using namespace std::chrono_literals;

/// By how much a way must be faster than the one that is taken otherwise. Rates
/// of one machine are seen to differ by a tenth from moment to moment; and a
/// step in bf16 has conversions that its products do not show.
constexpr double kClearGemm = 1.2;
constexpr double kClearPrecision = 1.25;

/// Work of one round of measuring, so that all of it takes about half a second.
constexpr double kCpuFlops = 4e9;
constexpr double kGpuFlops = 4e12;

at::ScalarType dtype_of(run::Precision precision) {
  switch (precision) {
    case run::Precision::bf16:
      return at::kBFloat16;
    case run::Precision::fp64:
      return at::kDouble;
    default:
      return at::kFloat;
  }
}

run::Precision precision_of(at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return run::Precision::bf16;
  return dtype == at::kDouble ? run::Precision::fp64 : run::Precision::fp32;
}

GemmLibrary library_of(run::GemmChoice choice) {
  return choice == run::GemmChoice::mkl ? GemmLibrary::mkl
                                        : GemmLibrary::onednn;
}

run::GemmChoice choice_of(GemmLibrary library) {
  return library == GemmLibrary::mkl ? run::GemmChoice::mkl
                                     : run::GemmChoice::onednn;
}

GemmLibrary other_than(GemmLibrary library) {
  return library == GemmLibrary::mkl ? GemmLibrary::onednn : GemmLibrary::mkl;
}

/// The products of one micro-batch of a rank, by a model on the meta device.
std::vector<Product> products_of(const run::Options& options,
                                 std::int64_t micro_batch,
                                 at::Device device) {
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry(*self,
                                   at::kFloat,
                                   at::kMeta,
                                   /*decay_all=*/false,
                                   train::row_multiple(device));
  const auto model =
      model::family(options.family).make(options.model, registry, {}, nullptr);
  return with_fewer_rows(model->products(micro_batch),
                         device.is_cuda() ? kGpuFlops : kCpuFlops);
}

Figures figures_of(const std::vector<Product>& products,
                   at::Device device,
                   dist::Communicator& world) {
  const std::string what =
      device.is_cuda() ? dist::gpu_name(device.index()) : "CPU";
  std::string kind = fmt::format("{} on {}, {} ranks of {} threads, products",
                                 what,
                                 cpu_name(),
                                 world.size(),
                                 at::get_num_threads());
  for (const Product& p : products) {
    kind += fmt::format(" {}x{}x{}", p.m, p.k, p.n);
  }
  const auto basis =
      fmt::format("LibTorch {}, {}", TORCH_VERSION, to_string(best_isa()));
  return {std::move(kind), basis, world};
}

Figures::Values to_values(const ComputeFigures& f) {
  Figures::Values values;
  for (const GemmRate& rate : {f.bf16, f.mkl, f.onednn}) {
    values.push_back(rate.overall);
    values.push_back(rate.peak);
  }
  return values;
}
constexpr std::size_t kComputeValues = 6;

ComputeFigures from_values(const Figures::Values& v) {
  return {{v[0], v[1]}, {v[2], v[3]}, {v[4], v[5]}};
}

/// On this rank.
ComputeFigures measure_ways(const std::vector<Product>& products) {
  ComputeFigures figures;
  std::vector<GemmWay> ways = {{at::kFloat, GemmLibrary::mkl}};
  std::vector<GemmRate*> found = {&figures.mkl};
  if (offers(GemmLibrary::onednn)) {
    ways.push_back({at::kFloat, GemmLibrary::onednn});
    found.push_back(&figures.onednn);
  }
  // Where a CPU lacks the instructions bf16 is emulated, ten times slower.
  if (cpu_multiplies_bf16()) {
    ways.push_back({at::kBFloat16, GemmLibrary::mkl});
    found.push_back(&figures.bf16);
  }
  const auto rates = measure_gemm_rates(products, ways, at::kCPU);
  for (std::size_t i = 0; i < rates.size(); ++i) *found[i] = rates[i];
  return figures;
}

std::string gflops(double rate) {
  return fmt::format("{:.0f}", rate / 1e9);
}

std::string gemm_reason(const ComputeFigures& f, GemmLibrary chosen) {
  if (!offers(GemmLibrary::onednn)) {
    return "gemm auto: mkl, since LibTorch offers no other on this CPU";
  }
  const GemmLibrary other = other_than(chosen);
  return fmt::format(
      "gemm auto: {}, {} GFLOP/s a rank in fp32, {} by {}{}",
      to_string(chosen),
      gflops(f.fp32(chosen)),
      gflops(f.fp32(other)),
      to_string(other),
      chosen == preferred_gemm_library() && f.fp32(other) > f.fp32(chosen)
          ? fmt::format(", not {} times as fast", kClearGemm)
          : "");
}

std::string precision_reason(const ComputeFigures& f,
                             run::Precision chosen,
                             GemmLibrary gemm) {
  if (f.bf16.overall == 0) {
    return "precision auto: fp32, since this CPU does not multiply bf16";
  }
  return fmt::format(
      "precision auto: {}, at this model's products bf16 makes {} GFLOP/s a "
      "rank, fp32 {} (bf16 from {} times on)",
      chosen == run::Precision::bf16 ? "bf16" : "fp32",
      gflops(f.bf16.overall),
      gflops(f.fp32(gemm)),
      kClearPrecision);
}

/// Settles what is `auto` by figures, and gives the reasons.
std::vector<std::string> settle_by(const ComputeFigures& figures,
                                   run::Options& options) {
  std::vector<std::string> reasons;
  if (options.gemm == run::GemmChoice::automatic) {
    const auto chosen = offers(GemmLibrary::onednn)
                            ? choose_gemm(figures, preferred_gemm_library())
                            : GemmLibrary::mkl;
    options.gemm = choice_of(chosen);
    reasons.push_back(gemm_reason(figures, chosen));
  }
  if (options.precision == run::Precision::automatic) {
    const GemmLibrary gemm = library_of(options.gemm);
    options.precision = choose_precision(figures, gemm);
    reasons.push_back(precision_reason(figures, options.precision, gemm));
  }
  return reasons;
}

/// Where an earlier run of this kind chose otherwise, on another basis.
std::string describe_change(const Figures& figures,
                            const std::string& name,
                            run::Options before,
                            const run::Options& now) {
  const auto old = figures.before(name);
  if (!old || old->size() != kComputeValues) return {};
  settle_by(from_values(*old), before);
  std::string changes;
  for (const char* key : {"train.precision", "train.gemm"}) {
    const auto was = run::find_key(key)->text.get(before);
    const auto is = run::find_key(key)->text.get(now);
    if (was != is) changes += fmt::format(", {} was {}", key, was);
  }
  if (changes.empty()) return {};
  return "measured anew, since LibTorch or the instruction set is another" +
         changes;
}

/// The choice of a CPU, where something is `auto`.
std::vector<std::string> settle_on_cpu(run::Options& options,
                                       dist::Communicator& world,
                                       std::int64_t micro_batch) {
  const auto products = products_of(options, micro_batch, at::kCPU);
  Figures figures = figures_of(products, at::kCPU, world);
  const run::Options open = options;
  const auto values = figures.get("products", kComputeValues, [&] {
    return to_values(measure_ways(products));
  });
  auto reasons = settle_by(from_values(values), options);
  const auto change = describe_change(figures, "products", open, options);
  if (!change.empty()) reasons.push_back(change);
  if (!figures.problem().empty()) {
    reasons.push_back("these figures are not remembered: " + figures.problem());
  }
  return reasons;
}

/// A product that keeps a GPU busy: the first cube of sides 1024, 2048, ...
/// that takes it a millisecond, of 8192 at most. A small or slow one would wait
/// long for the largest, or lack the memory.
Product busy_product(const Compute& compute) {
  Product cube{1024, 1024, 1024};
  for (; cube.m < 8192; cube = {2 * cube.m, 2 * cube.m, 2 * cube.m}) {
    const auto rate =
        measure_gemm_rates({cube},
                           {{compute.dtype, compute.gemm}},
                           compute.device,
                           {.time = 5ms, .rounds = 2, .pause = 0ms});
    if (cube.flops() / 3 / rate[0].peak >= 1e-3) break;
  }
  return cube;
}

}  // namespace

GemmLibrary choose_gemm(const ComputeFigures& figures, GemmLibrary preferred) {
  const GemmLibrary other = other_than(preferred);
  return figures.fp32(other) > kClearGemm * figures.fp32(preferred) ? other
                                                                    : preferred;
}

run::Precision choose_precision(const ComputeFigures& figures,
                                GemmLibrary gemm) {
  return figures.bf16.overall > kClearPrecision * figures.fp32(gemm)
             ? run::Precision::bf16
             : run::Precision::fp32;
}

run::Options Compute::settled(run::Options options) const {
  options.precision = precision_of(dtype);
  options.gemm = choice_of(gemm);
  options.model.gemm = gemm;
  return options;
}

Compute choose_compute(run::Options options,
                       dist::Communicator& world,
                       at::Device device,
                       std::int64_t micro_batch) {
  std::vector<std::string> reasons;
  if (device.is_cuda() && options.precision == run::Precision::automatic) {
    options.precision = run::Precision::bf16;
    reasons.emplace_back("precision auto: bf16, the faster one on GPUs");
  }
  // Only fp32 on a CPU has two libraries.
  const bool gemm_matters = device.is_cpu() &&
                            options.precision != run::Precision::bf16 &&
                            options.precision != run::Precision::fp64;
  if (options.gemm == run::GemmChoice::automatic && !gemm_matters) {
    options.gemm = choice_of(preferred_gemm_library());
  }
  if (options.precision == run::Precision::automatic ||
      options.gemm == run::GemmChoice::automatic) {
    reasons = settle_on_cpu(options, world, micro_batch);
  }
  const GemmLibrary gemm = library_of(options.gemm);
  require(
      !gemm_matters || offers(gemm),
      "train.gemm = {}: LibTorch has no such product for this CPU; expected "
      "auto or mkl",
      to_string(gemm));
  return {dtype_of(options.precision), device, gemm, std::move(reasons)};
}

Figures compute_figures(const run::Options& options,
                        at::Device device,
                        dist::Communicator& world,
                        std::int64_t micro_batch) {
  return figures_of(products_of(options, micro_batch, device), device, world);
}

double measure_peak_flops(const run::Options& options,
                          const Compute& compute,
                          dist::Communicator& world,
                          std::int64_t micro_batch) {
  auto products = products_of(options, micro_batch, compute.device);
  Figures figures = figures_of(products, compute.device, world);
  world.barrier();
  const auto rate = with_room_on_gpu(micro_batch, [&] {
    if (compute.device.is_cuda()) products.push_back(busy_product(compute));
    return measure_gemm_rates(products,
                              {{compute.dtype, compute.gemm}},
                              compute.device,
                              {.time = 150ms, .rounds = 4, .pause = 20ms});
  });
  // A rank that is alone in a null world finds its own rate as the mean.
  const at::Tensor mean = at::full({1}, rate[0].peak, at::kDouble);
  world.all_reduce(mean, dist::ReduceOp::avg);
  const double now = mean.item<double>();

  const auto precision = run::to_map(compute.settled({})).at("train.precision");
  const auto name =
      fmt::format("peak of {} by {}", precision, to_string(compute.gemm));
  const double seen =
      figures.get(name, 1, [&] { return Figures::Values{now}; })[0];
  if (now > seen) figures.keep(name, {now});
  return world.size() * std::max(now, seen);
}

}  // namespace mumoe::launch
