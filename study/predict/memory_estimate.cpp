#include "study/predict/memory_estimate.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/number.h"

namespace mumoe::study {
namespace {

// By measurement, whose figures are in launch/RUNNING.md: backward holds at
// once some gradients of the widest activations of a block and of a chunk of
// logits, in fp32, and what becomes of the gradient of the embedding.
constexpr double kWideTensors = 7;
constexpr double kLogits = 3;
constexpr double kLogitsChunk = 16 << 20;  ///< Elements.
constexpr double kGpuLogitsChunk = 256 << 20;
// One sum in fp32 (fp64); in bf16 what it is rounded from and to besides.
constexpr double kEmbeddings = 1, kRoundedEmbeddings = 4;
// What libraries take when they first compute: threads, autograd, their code.
constexpr double kLibraries = 32 << 20;

}  // namespace

MemoryEstimate estimate_memory(const model::Cost& cost,
                               const model::Workspace& samples,
                               std::int64_t micro_batch,
                               int tp,
                               at::ScalarType dtype,
                               bool on_cpu,
                               double program) {
  const auto count = static_cast<double>(micro_batch);
  // On a GPU wide gradients are in the model's dtype, logits become their
  // gradient where they lie, and products add the embedding's to its sum.
  const double element = !on_cpu ? static_cast<double>(c10::elementSize(dtype))
                         : dtype == at::kDouble ? 8
                                                : 4;
  const double chunk = on_cpu ? kLogitsChunk : kGpuLogitsChunk;
  const double logits =
      std::min(count * samples.logits, chunk * tp) * (on_cpu ? kLogits : 1);
  const double sums = dtype == at::kBFloat16 ? kRoundedEmbeddings : kEmbeddings;
  const double embeddings = on_cpu ? sums * samples.embeddings : 0;
  const double each = element / tp;
  MemoryEstimate estimate{
      .program = program,
      .parameters = cost.bytes,
      .kept = cost.pass.kept_bytes + cost.pass.repeated_bytes,
      .wide = kWideTensors * count * samples.widest * each,
      .embeddings = embeddings * each,
      .logits = logits * each};
  estimate.workspace =
      estimate.wide + estimate.embeddings + estimate.logits + kLibraries;
  return estimate;
}

std::string describe_memory(const MemoryEstimate& estimate, bool on_cpu) {
  const auto bytes = [](std::int64_t count) {
    return size_text(static_cast<double>(count));
  };
  return fmt::format(
      "memory   about {} a rank{}: weights {}, gradients {}, optimizer {}, "
      "kept for backward {}, workspace {}{}{}",
      size_text(on_cpu ? estimate.of_cpu() : estimate.model()),
      on_cpu ? "" : " on its GPU",
      bytes(estimate.parameters.weights),
      bytes(estimate.parameters.gradients),
      bytes(estimate.parameters.optimizer),
      size_text(estimate.kept),
      size_text(estimate.workspace),
      on_cpu ? ", program " + size_text(estimate.program) : "",
      estimate.saving > 0 ? fmt::format(", {}a checkpoint's copy {}",
                                        on_cpu ? "" : "on its host ",
                                        size_text(estimate.saving))
                          : "");
}

}  // namespace mumoe::study
