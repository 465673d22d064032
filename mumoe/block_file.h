#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "mumoe/block.h"
#include "mumoe/safetensors.h"

namespace mumoe {

/// Whether blocks compute in it: fp32, fp64, bf16.
bool is_block_dtype(at::ScalarType type);

/// Writes a block as safetensors, atomically: whole `parameters`, buffers among
/// them, by their names, and the config in the metadata.
void write_block(const std::filesystem::path& path,
                 const BlockConfig& config,
                 const std::vector<dist::Parameter>& parameters);

/// The tensors of a file that are a block's: of one of `write_block`, or those
/// of a checkpoint whose names begin with `prefix`. All functions throw
/// `InputError` naming the file and what is wrong with it.
class BlockFile {
 public:
  explicit BlockFile(const std::filesystem::path& path,
                     std::string prefix = "");

  /// Of a file of `write_block`: what it says of itself, and the dtype of the
  /// products.
  BlockConfig config() const;
  at::ScalarType dtype() const;

  /// Throws unless it holds the parameters of such a block and no others; edits
  /// may be missing in a checkpoint.
  void require_fits(const BlockConfig& config,
                    const std::vector<dist::Parameter>& parameters) const;
  /// The tensor of `parameter`; null for edits that a checkpoint does not have.
  const at::Tensor* find(const dist::Parameter& parameter) const;

 private:
  bool is_ours() const;
  void require_number(const std::string& name, const at::Tensor& tensor) const;

  std::string file_;
  std::string prefix_;
  NamedTensors named_;
};

}  // namespace mumoe
