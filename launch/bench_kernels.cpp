#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "dist/nccl/nccl_communicator.h"
#include "launch/bench_layer.h"
#include "launch/commands.h"
#include "launch/device_choice.h"
#include "launch/kernel_cases.h"
#include "run/command_line.h"

namespace mumoe::launch {
namespace {

constexpr std::int64_t kMostTokens = 1 << 20;

/// Of one of many calls that follow each other; the best of three times.
double seconds_of(const KernelCase& one, at::Device device) {
  const auto timed = [&](int calls) {
    const double start = now_ms(device);
    for (int i = 0; i < calls; ++i) one.run();
    return 1e-3 * (now_ms(device) - start);
  };
  timed(1);
  int calls = 1;
  constexpr double kLongEnough = 0.02;
  while (calls < 1024 && timed(calls) < kLongEnough) calls *= 2;
  return std::min({timed(calls), timed(calls), timed(calls)}) / calls;
}

void print_case(const KernelCase& one, double seconds, bool json) {
  const double gb_s = one.bytes / seconds / 1e9;
  const double tflop_s = one.flops / seconds / 1e12;
  if (json) {
    fmt::print("{}\n",
               to_text(nlohmann::json{{"kernel", one.name},
                                      {"ms", 1e3 * seconds},
                                      {"gb", one.bytes / 1e9},
                                      {"tflop", one.flops / 1e12},
                                      {"gb_s", gb_s},
                                      {"tflop_s", tflop_s}}));
  } else {
    fmt::print("{:<24} {:>9.4f} {:>8.4f} {:>8.1f} {:>8}\n",
               one.name,
               1e3 * seconds,
               one.bytes / 1e9,
               gb_s,
               one.flops > 0 ? fmt::format("{:.1f}", tflop_s) : "");
  }
  std::fflush(stdout);
}

}  // namespace

std::vector<run::OwnOption> bench_kernels_options() {
  return {{"json", "", "a line of JSON for each kernel"},
          {"precision", "P", "fp32 or bf16 [bf16]", "dtype"},
          {"tokens",
           "N",
           "of a micro-batch, a multiple of 4 and, above it, of 1024 [16384]"}};
}

ExitCode bench_kernels(const std::vector<std::string>& arguments) {
  const run::CommandLine line =
      run::read_command_line(arguments, "", bench_kernels_options());
  const auto tokens =
      line.number<std::int64_t>("tokens", 16 * kCaseContext, 4, kMostTokens);
  require(tokens % (tokens < kCaseContext ? 4 : kCaseContext) == 0,
          "--tokens {}: expected a multiple of 4 and, above it, of {}",
          tokens,
          kCaseContext);
  const std::string precision = line.text("precision", "bf16");
  require(precision == "fp32" || precision == "bf16",
          "--precision {}: expected fp32 or bf16",
          precision);
  const bool json = line.own.contains("json");
  const at::Device device = own_gpu("mumoe bench kernels");
  const c10::DeviceGuard guard(device);
  if (!json) {
    fmt::print("{}, {} tokens, {}\n{:<24} {:>9} {:>8} {:>8} {:>8}\n",
               precision,
               tokens,
               dist::gpu_name(device.index()),
               "kernel",
               "ms",
               "GB",
               "GB/s",
               "TFLOP/s");
  }
  const auto dtype = precision == "bf16" ? at::kBFloat16 : at::kFloat;
  for (const KernelCase& one : kernel_cases(tokens, dtype, device)) {
    print_case(one, seconds_of(one, device), json);
  }
  return ExitCode::done;
}

}  // namespace mumoe::launch
