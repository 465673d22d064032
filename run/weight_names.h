#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dist/params/parameter_registry.h"

namespace mumoe::run {

/// Who names and shapes weights.
enum class WeightFormat {
  run,      ///< A checkpoint of this program.
  hf,       ///< transformers' GPT-2: linear weights are [in, out].
  nanogpt,  ///< nanoGPT.
  mumoe,    ///< The authors of the layer: GPT-2 and MLP-Mixer.
  llmc,     ///< llm.c's .bin: nanoGPT's tensors, all layers of one together.
  timm,     ///< timm's MLP-Mixer and ViT.
};

/// As on the command line: run, hf, nanogpt, mumoe, llmc, timm.
std::string_view to_string(WeightFormat format);
/// Throws `InputError`: the names that there are.
WeightFormat parse_weight_format(std::string_view name);

/// Where a parameter lies in files of a format.
struct WeightLocation {
  enum class Part { all, all_but_last_row, last_row };
  std::string name;  ///< Of the tensor.
  Part part = Part::all;
  /// Our dims, some of them taken apart (empty: as they are), then in `order`,
  /// then as `shape`, which is that of this part.
  std::vector<std::int64_t> split = {};
  std::vector<std::int64_t> order = {};
  std::vector<std::int64_t> shape = {};
};

/// A tensor as a format has it, and the parameters that it is made of, in their
/// order: one, or an input factor and its bias row.
struct ForeignTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  struct Piece {
    std::size_t parameter;  ///< Index into the registry.
    WeightLocation location;
  };
  std::vector<Piece> pieces;
};

/// All tensors of the registry's model in files of `format`, front to back; of
/// llm.c as nanoGPT has them; without those of parameters whose names begin
/// with `except`, where that says something. Throws `InputError` when the
/// format has no names for such a model.
std::vector<ForeignTensor> foreign_tensors(
    WeightFormat format,
    const dist::ParameterRegistry& registry,
    std::string_view except = {});

/// The part of a tensor of the format that `ours`, a whole parameter, is.
at::Tensor to_theirs(const WeightLocation& location, const at::Tensor& ours);
/// The reverse: the parameter, from the whole tensor `theirs`.
at::Tensor from_theirs(const WeightLocation& location,
                       const dist::Parameter& parameter,
                       const at::Tensor& theirs);
/// The tensor of these parts, in order.
at::Tensor join_parts(const std::vector<at::Tensor>& parts);

}  // namespace mumoe::run
