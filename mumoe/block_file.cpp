#include "mumoe/block_file.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "dist/torch_text.h"
#include "mumoe/block_text.h"

namespace mumoe {
namespace {

using dist::Parameter;

constexpr const char* kFormat = "mumoe-block-1";

bool is_edit(const Parameter& parameter) {
  return parameter.name.starts_with("edits.");
}

}  // namespace

bool is_block_dtype(at::ScalarType type) {
  return type == at::kFloat || type == at::kDouble || type == at::kBFloat16;
}

void write_block(const std::filesystem::path& path,
                 const BlockConfig& config,
                 const std::vector<Parameter>& parameters) {
  NamedTensors named;
  named.metadata = {{"format", kFormat}, {"config", to_text(config)}};
  for (const Parameter& p : parameters) named.tensors[p.name] = p.value;
  write_safetensors(path, named);
}

BlockFile::BlockFile(const std::filesystem::path& path, std::string prefix)
    : file_(path.string()),
      prefix_(std::move(prefix)),
      named_(read_safetensors(path)) {}

bool BlockFile::is_ours() const {
  const auto format = named_.metadata.find("format");
  return format != named_.metadata.end() && format->second == kFormat;
}

BlockConfig BlockFile::config() const {
  require(is_ours(),
          "{}: no saved block: expected the format {} in its header",
          file_,
          kFormat);
  const auto text = named_.metadata.find("config");
  require(text != named_.metadata.end(),
          "{}: no config in its header, expected that of the block",
          file_);
  return block_config(text->second, file_ + ": config in its header");
}

at::ScalarType BlockFile::dtype() const {
  const auto gate = named_.tensors.find("gate.0");
  require(gate != named_.tensors.end(), "{}: no tensor is named gate.0", file_);
  require_number(gate->first, gate->second);
  return gate->second.scalar_type();
}

void BlockFile::require_fits(const BlockConfig& config,
                             const std::vector<Parameter>& parameters) const {
  if (is_ours()) {
    const std::string other = difference(this->config(), config);
    require(other.empty(), "{}: a block with {}", file_, other);
  }
  for (const Parameter& p : parameters) {
    const at::Tensor* tensor = find(p);
    if (tensor == nullptr) continue;
    require_number(prefix_ + p.name, *tensor);
    require(tensor->sizes() == at::IntArrayRef(p.global_shape),
            "{}: tensor {}{} has shape {}, expected {}",
            file_,
            prefix_,
            p.name,
            tensor->sizes(),
            at::IntArrayRef(p.global_shape));
  }
  for (const auto& [name, tensor] : named_.tensors) {
    if (!name.starts_with(prefix_)) continue;
    const auto own = std::string_view(name).substr(prefix_.size());
    require(std::ranges::any_of(parameters,
                                [&](const auto& p) { return p.name == own; }),
            "{}: tensor {} is none of this block, expected its {} alone",
            file_,
            name,
            parameters.size());
  }
}

const at::Tensor* BlockFile::find(const Parameter& parameter) const {
  const auto found = named_.tensors.find(prefix_ + parameter.name);
  if (found != named_.tensors.end()) return &found->second;
  require(is_edit(parameter) && !is_ours(),
          "{}: no tensor is named {}{}",
          file_,
          prefix_,
          parameter.name);
  return nullptr;
}

void BlockFile::require_number(const std::string& name,
                               const at::Tensor& tensor) const {
  require(is_block_dtype(tensor.scalar_type()),
          "{}: tensor {} is of dtype {}, expected fp32, fp64 or bf16",
          file_,
          name,
          tensor.scalar_type());
}

}  // namespace mumoe
