#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/cpu.h"
#include "base/json.h"
#include "dist/nccl/nccl_communicator.h"
#include "launch/bench_layer.h"
#include "launch/commands.h"
#include "launch/device_choice.h"
#include "mumoe/gemm_rate.h"
#include "run/command_line.h"
#include "run/options.h"

namespace mumoe::launch {
namespace {

constexpr int kMostRounds = 100000;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Answers lines `CASE PRECISION [recompute]` of stdin with one timed pass
/// each, as JSON, until the end: for launch/bench, which asks another program
/// in turn.
ExitCode serve(at::Device device) {
  std::map<std::string, std::unique_ptr<LayerCase>> cases;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string name, precision, option;
    words >> name >> precision >> option;
    require(option.empty() || option == "recompute",
            "bench layer --serve: {}: expected CASE PRECISION [recompute]",
            line);
    std::unique_ptr<LayerCase>& found = cases[line];
    if (!found) {
      found = make_layer_case(name, precision, option == "recompute", device);
    }
    const LayerTiming timing = found->run();
    const nlohmann::json answer = {{"case", name},
                                   {"precision", precision},
                                   {"ms", timing.ms},
                                   {"gemm_ms", timing.gemm_ms},
                                   {"held_bytes", timing.held_bytes},
                                   {"mixing", found->mixing()}};
    std::cout << to_text(answer) << std::endl;  // the other side waits
  }
  return ExitCode::done;
}

/// FLOP/s of large square products, the measure of the table's share.
double peak_flops(at::ScalarType dtype, at::Device device) {
  const std::int64_t side = device.is_cpu() ? 1024 : 8192;
  return measure_gemm_rates({{side, side, side}},
                            {{dtype, preferred_gemm_library()}},
                            device)[0]
      .peak;
}

/// What `--device` names, made this thread's.
at::Device read_device(const run::CommandLine& line) {
  const std::string given = line.text("device", "cpu");
  require(given == "cpu" || given == "cuda",
          "--device {}: expected cpu or cuda",
          given);
  if (given == "cpu") return at::kCPU;
  return own_gpu("--device cuda");
}

void print_table(const std::vector<std::string>& names,
                 const std::string& precision,
                 int rounds,
                 at::Device device) {
  const auto dtype = precision == "bf16" ? at::kBFloat16 : at::kFloat;
  const double peak = peak_flops(dtype, device);
  const std::string where =
      device.is_cuda() ? dist::gpu_name(device.index())
                       : fmt::format("{} threads, {}, fp32 by {}",
                                     at::get_num_threads(),
                                     to_string(best_isa()),
                                     to_string(preferred_gemm_library()));
  fmt::print(
      "{}, 4096 tokens, forward + backward, median of {}; {}; GEMM peak {:.0f} "
      "GFLOP/s\n"
      "{:<12} {:>10} {:>8} {:>7} {:>9} {:>10} {:>10} {:>7} {:>8}\n",
      precision,
      rounds,
      where,
      peak / 1e9,
      "case",
      "parameters",
      "ms",
      "peak %",
      "x GEMMs",
      "held MiB",
      "recompute",
      "x dense",
      "mixing");
  std::unique_ptr<LayerCase> dense;  // the one that the cases below it replace
  for (const std::string& name : names) {
    if (name.starts_with("dense")) dense.reset();
    std::unique_ptr<LayerCase> block =
        make_layer_case(name, precision, false, device);
    const bool module = block->flops() > 0;
    std::vector<double> ms, of_gemms, of_dense;
    LayerTiming last;
    for (int round = 0; round < rounds; ++round) {
      last = block->run();
      ms.push_back(last.ms);
      of_gemms.push_back(last.ms / last.gemm_ms);
      // In turn, since the speed of a machine drifts.
      if (dense) of_dense.push_back(last.ms / dense->run().ms);
    }
    const double share = 1e3 * block->flops() / median(ms) / peak;
    const auto mib = [](const LayerTiming& timing) {
      return static_cast<double>(timing.held_bytes) / (1 << 20);
    };
    fmt::print("{:<12} {:>10} {:>8.1f}", name, block->parameters(), median(ms));
    if (module) {
      fmt::print(
          " {:>7.0f} {:>9.2f} {:>10.1f} {:>10.1f} {:>7} {:>8}",
          100 * share,
          median(of_gemms),
          mib(last),
          mib(make_layer_case(name, precision, true, device)->run()),
          of_dense.empty() ? "" : fmt::format("{:.2f}", median(of_dense)),
          block->mixing());
    }
    fmt::print("\n");
    std::fflush(stdout);
    if (name.starts_with("dense")) dense = std::move(block);
  }
}

ExitCode bench_layer(const std::vector<std::string>& arguments) {
  const run::CommandLine line =
      run::read_command_line(arguments, "", bench_layer_options());
  const bool serves = line.own.contains("serve");
  require(!serves || line.own.size() == 1 + line.own.count("device"),
          "--serve: expected no other option but --device");
  const at::Device device = read_device(line);
  if (serves) return serve(device);
  const int rounds = line.number("rounds", 7, 1, kMostRounds);
  const std::string only = line.text("case", "");
  const auto names =
      only.empty() ? layer_case_names() : std::vector<std::string>{only};
  require(std::ranges::find(layer_case_names(), names.front()) !=
              layer_case_names().end(),
          "--case {}: expected one of {}",
          only,
          fmt::format("{}", fmt::join(layer_case_names(), ", ")));
  const std::string chosen = line.text("precision", "");
  require(chosen.empty() || chosen == "fp32" || chosen == "bf16",
          "--precision {}: expected fp32 or bf16",
          chosen);
  for (const std::string precision : {"fp32", "bf16"}) {
    if (!chosen.empty() && chosen != precision) continue;
    if (chosen.empty() && precision == "bf16" && device.is_cpu() &&
        !cpu_multiplies_bf16()) {
      fmt::print("bf16: this CPU does not multiply it natively\n");
      continue;
    }
    print_table(names, precision, rounds, device);
  }
  return ExitCode::done;
}

}  // namespace

std::vector<run::OwnOption> bench_layer_options() {
  return {
      {"case",
       "NAME",
       fmt::format("one of: {} [all]", fmt::join(layer_case_names(), ", "))},
      {"device", "D", "cpu or cuda [cpu]", "accelerator"},
      {"precision", "P", "fp32 or bf16 [both, where bf16 is native]", "dtype"},
      {"rounds",
       "N",
       "timed passes, of which the median is taken [7]",
       "iters repeats"},
      {"serve",
       "",
       "answers lines `CASE PRECISION [recompute]` of stdin with one pass "
       "each, as JSON; launch/bench uses it"}};
}

ExitCode bench_command(const Invocation& invocation) {
  auto arguments = invocation.arguments;
  const std::string what = arguments.empty() ? "" : arguments.front();
  require(what == "layer" || what == "kernels" || what == "comm",
          "mumoe bench: expected what to measure: layer, kernels or comm");
  arguments.erase(arguments.begin());
  if (what == "layer") return bench_layer(arguments);
  if (what == "kernels") return bench_kernels(arguments);
  return bench_comm(arguments, invocation);
}

}  // namespace mumoe::launch
