#include "launch/gpu_arithmetic.h"

#include <ATen/Context.h>

#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace mumoe::launch {
namespace {

/// cuBLAS adds the parts of a product in one order where each of its streams
/// has a workspace of a fixed size: one of two, by its manual.
void require_workspace() {
  constexpr const char* kName = "CUBLAS_WORKSPACE_CONFIG";
  const char* value = std::getenv(kName);
  const std::string_view given = value == nullptr ? "" : value;
  require(given == ":4096:8" || given == ":16:8",
          "{}={}: expected :4096:8 or :16:8, else a GPU's products may differ "
          "from time to time; unset it (a training run may be given "
          "--train.deterministic no instead)",
          kName,
          given);
}

}  // namespace

std::string set_gpu_arithmetic(bool deterministic) {
  if (deterministic) require_workspace();
  at::Context& torch = at::globalContext();
  torch.setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
  // Else it writes NaN into every new tensor: a kernel for each.
  torch.setDeterministicFillUninitializedMemory(false);
  torch.setSDPUseCuDNN(!deterministic);
  return deterministic
             ? "deterministic: the same bits each time, for which attention "
               "leaves cuDNN out"
             : "deterministic no: bits may differ from time to time, and so a "
               "resumed run from one that was not stopped";
}

}  // namespace mumoe::launch
