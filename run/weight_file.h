#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace mumoe::run {

/// Weights in files of any format, read one tensor at a time. Names are those
/// that the format gives them, without what wrappers of torch put before them
/// (`_orig_mod.`, `module.`); those of GPT-2 begin with `transformer.`, also
/// where the file leaves that out. Not thread-safe.
class WeightFile {
 public:
  struct Entry {
    std::vector<std::int64_t> shape;
    std::filesystem::path file;
    std::string stored_name;  ///< In the file.
  };

  virtual ~WeightFile() = default;
  const std::map<std::string, Entry>& entries() const { return entries_; }
  /// Nullptr: there is none.
  const Entry* find(const std::string& name) const;
  /// What the files say beside tensors.
  const std::map<std::string, std::string>& metadata() const {
    return metadata_;
  }
  /// Of a tensor that is there (MUMOE_CHECK): on the CPU, as it is stored.
  virtual at::Tensor read(const std::string& name) = 0;
  /// A line for each file of a checkpoint that is damaged, of whose bytes those
  /// read so far were rebuilt from the others.
  virtual std::vector<std::string> rebuilt() const { return {}; }

 protected:
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// The tensors of one or several .safetensors files. Throws `InputError` as
/// `read_safetensors` does, and where two hold one name.
std::unique_ptr<WeightFile> open_safetensors(
    const std::vector<std::filesystem::path>& files);

}  // namespace mumoe::run
