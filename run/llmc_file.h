#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "run/weight_file.h"

namespace mumoe {
class AtomicFile;
}

namespace mumoe::run {

/// What stands before the weights of llm.c: 256 int32, of which the first are
/// magic, version (3: fp32, 5: bf16) and these. The embedding has
/// `padded_vocab` rows in the file.
struct LlmcShape {
  std::int64_t context = 0;
  std::int64_t vocab = 0;
  std::int64_t depth = 0;
  std::int64_t heads = 0;
  std::int64_t width = 0;
  std::int64_t padded_vocab = 0;
};

/// Whether a file begins as llm.c's weights do.
bool is_llmc(const std::filesystem::path& file);

/// Such a file, under nanoGPT's names: a layer's weights are parts of tensors
/// that hold them for all layers, the embedding has its `vocab` rows. Metadata:
/// model.depth and so on. Throws `InputError` naming the file: another version,
/// sizes that cannot be, another length than follows from them.
std::unique_ptr<WeightFile> open_llmc(const std::filesystem::path& file);

/// A tensor of such a file.
struct LlmcTensor {
  std::string name;  ///< As nanoGPT has it.
  std::vector<std::int64_t> shape;
};
/// All of them, in the order of the file.
std::vector<LlmcTensor> llmc_tensors(const LlmcShape& shape);

/// Writes such a file, which is there when `commit` returns; the embedding's
/// rows are padded with zeros to a multiple of 128.
class LlmcWriter {
 public:
  /// `dtype`: kFloat or kBFloat16.
  LlmcWriter(const std::filesystem::path& path,
             LlmcShape shape,
             at::ScalarType dtype);
  ~LlmcWriter();

  /// The next one in the order of `llmc_tensors`.
  void write(const at::Tensor& tensor);
  void commit();

 private:
  at::ScalarType dtype_;
  std::int64_t padding_;  ///< Elements behind the first tensor.
  std::unique_ptr<AtomicFile> file_;
};

}  // namespace mumoe::run
