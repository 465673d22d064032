#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "run/weight_names.h"

namespace mumoe::run {

/// What is to become what.
struct ConvertRequest {
  std::filesystem::path from;
  /// A file, or a folder: a run directory for `run`, else one that gets
  /// model.safetensors, and config.json for `hf`.
  std::filesystem::path to;
  /// None: by what `to` is called (.bin: llmc); else of a run the format that
  /// has its model, of others a run.
  std::optional<WeightFormat> as;
  /// kFloat, kBFloat16, kHalf or kDouble.
  at::ScalarType dtype = c10::ScalarType::Float;
  /// Settings of the model that are given, by key, on top of what the files
  /// tell.
  std::map<std::string, std::string> given;
};

/// Reads weights of any format and writes them in another, tensor by tensor;
/// what it writes is there when it is done, and not before. Returns lines to
/// say. Throws `InputError` naming file and tensor, and where the format has
/// no place for such a model.
std::vector<std::string> convert(const ConvertRequest& request);

}  // namespace mumoe::run
