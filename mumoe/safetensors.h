#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace mumoe {

/// Named tensors with text metadata, as in a .safetensors file.
struct NamedTensors {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> metadata;

  /// Throws `InputError` when there is no such tensor.
  const at::Tensor& at(const std::string& name) const;
};

/// Reads a whole file into CPU tensors. Throws `InputError` naming the file and
/// what is wrong with it: missing, truncated, a header that is not JSON or does
/// not describe tensors that share out the file's bytes, an unknown dtype.
NamedTensors read_safetensors(const std::filesystem::path& path);

/// The metadata alone. Throws `InputError` as `read_safetensors` does.
std::map<std::string, std::string> read_safetensors_metadata(
    const std::filesystem::path& path);

/// Writes the tensors (any device, any strides) atomically and durably. Throws
/// `InputError` naming the file.
void write_safetensors(const std::filesystem::path& path,
                       const NamedTensors& named);

}  // namespace mumoe
