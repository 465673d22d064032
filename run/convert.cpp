#include "run/convert.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "mumoe/safetensors.h"
#include "run/hf_config.h"
#include "run/import_weights.h"
#include "run/llmc_file.h"
#include "run/option_table.h"
#include "run/weights_run.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

/// A conversion under way.
struct Conversion {
  const ConvertRequest& request;
  const Options& options;
  const ModelSkeleton& source;
  WeightImport& import;
};

WeightFormat choose_format(const ConvertRequest& request,
                           const OpenedWeights& weights,
                           const Options& options) {
  if (request.as) return *request.as;
  if (request.to.extension() == ".bin") return WeightFormat::llmc;
  if (weights.format != WeightFormat::run) return WeightFormat::run;
  const bool gpt2 = options.family == "gpt2";
  if (options.family == "vit") return WeightFormat::timm;
  if (!options.model.dense) return WeightFormat::mumoe;
  return gpt2 ? WeightFormat::hf : WeightFormat::timm;
}

/// The model as `format` has it: some have a bias everywhere.
Options in_format(Options options, WeightFormat format) {
  if (format == WeightFormat::hf || format == WeightFormat::llmc ||
      format == WeightFormat::timm) {
    options.model.bias = true;
  }
  return options;
}

void require_names(WeightFormat format, const Options& options) {
  const bool gpt2 = options.family == "gpt2";
  const bool vit = options.family == "vit";
  require((format != WeightFormat::timm) == gpt2 ||
              (format == WeightFormat::mumoe && !vit) ||
              format == WeightFormat::run,
          "--as {}: has no names for model.family = {}",
          to_string(format),
          options.family);
  require(format != WeightFormat::llmc || options.model.dense == false ||
              options.model.mlp.hidden_dim == 4 * options.model.width,
          "--as llmc: model.hidden = {}; expected 4 x model.width = {}, which "
          "is all that llm.c has",
          options.model.mlp.hidden_dim,
          4 * options.model.width);
  require(
      format != WeightFormat::llmc || options.model.gelu != model::Gelu::quick,
      "--as llmc: model.gelu = quick; expected tanh, which is all that "
      "llm.c has");
}

/// A parameter of the model that is written, by its name; zeros where the model
/// that is read has no such bias.
at::Tensor value_of(const Conversion& c, const dist::Parameter& parameter) {
  const auto& ours = c.source.registry.parameters();
  const auto found =
      std::ranges::find(ours, parameter.name, &dist::Parameter::name);
  if (found == ours.end()) return at::zeros(parameter.global_shape);
  return c.import.parameter(static_cast<std::size_t>(found - ours.begin()));
}

at::Tensor value_of(const Conversion& c,
                    const ModelSkeleton& target,
                    const ForeignTensor& tensor) {
  std::vector<at::Tensor> parts;
  for (const auto& [index, location] : tensor.pieces) {
    parts.push_back(
        to_theirs(location, value_of(c, target.registry.parameters()[index])));
  }
  return join_parts(parts);
}

/// What a file of ours says beside its tensors, for whoever reads it back.
std::map<std::string, std::string> metadata_of(const Options& options) {
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  if (options.family == "gpt2") {
    metadata["n_head"] = std::to_string(options.model.heads);
  }
  for (const auto& [key, value] : to_map(options)) {
    if (key.starts_with("model.") && value != "auto") metadata[key] = value;
  }
  metadata["data.tokenizer"] = options.tokenizer;
  return metadata;
}

void write_tensors(const Conversion& c,
                   const ModelSkeleton& target,
                   const std::vector<ForeignTensor>& tensors,
                   const fs::path& file,
                   const std::map<std::string, std::string>& metadata) {
  std::vector<TensorHeader> headers;
  for (const ForeignTensor& tensor : tensors) {
    headers.push_back({tensor.name, c.request.dtype, tensor.shape});
  }
  SafetensorsWriter writer(file, std::move(headers), metadata);
  for (const ForeignTensor& tensor : tensors) {
    writer.write(value_of(c, target, tensor).to(c.request.dtype));
  }
  writer.commit();
}

void write_llmc(const Conversion& c, const ModelSkeleton& target) {
  require(c.request.dtype == at::kFloat || c.request.dtype == at::kBFloat16,
          "--as llmc: has fp32 and bf16; expected one of these as --dtype");
  const auto& model = c.options.model;
  const LlmcShape shape{.context = model.context,
                        .vocab = model.vocab,
                        .depth = model.depth,
                        .heads = model.heads,
                        .width = model.width};
  const auto tensors = foreign_tensors(WeightFormat::llmc, target.registry);
  LlmcWriter writer(c.request.to, shape, c.request.dtype);
  for (const auto& [name, dims] : llmc_tensors(shape)) {
    const auto tensor = std::ranges::find(tensors, name, &ForeignTensor::name);
    MUMOE_CHECK(tensor != tensors.end() && tensor->shape == dims, "{}", name);
    writer.write(value_of(c, target, *tensor));
  }
  writer.commit();
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  if (folder.empty()) return;
  fs::create_directories(folder, error);
  require(!error && fs::is_directory(folder, error),
          "{}: cannot create: {}",
          folder.string(),
          error ? error.message() : "it is not a folder");
}

void write_run(const Conversion& c) {
  write_weights_run(
      {.to = c.request.to,
       .options = c.options,
       .registry = c.source.registry,
       .dtype = c.request.dtype,
       .value = [&](std::size_t index) { return c.import.parameter(index); }});
}

/// Where a format's tensors go: `to` itself, or a file in that folder.
fs::path tensor_file(const fs::path& to) {
  if (to.extension() == ".safetensors") {
    make_folder(to.parent_path());
    return to;
  }
  make_folder(to);
  return to / "model.safetensors";
}

const char* torch_name(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? "bfloat16"
         : dtype == at::kHalf   ? "float16"
         : dtype == at::kDouble ? "float64"
                                : "float32";
}

void write_named(const Conversion& c, WeightFormat format) {
  const Options options = in_format(c.options, format);
  const ModelSkeleton target(options);
  const auto tensors = foreign_tensors(format, target.registry);
  if (format == WeightFormat::llmc) {
    make_folder(c.request.to.parent_path());
    return write_llmc(c, target);
  }
  const fs::path file = tensor_file(c.request.to);
  write_tensors(c, target, tensors, file, metadata_of(options));
  if (format != WeightFormat::hf) return;
  write_file_atomically(file.parent_path() / "config.json",
                        hf_config_text(options, torch_name(c.request.dtype)));
}

std::vector<std::string> convert_past(const ConvertRequest& request,
                                      const Damage& known) {
  const OpenedWeights weights = open_weights(request.from, known);
  const Options options = options_of(weights, request.given);
  const ModelSkeleton source(options);
  WeightImport import(weights, source.registry, options.trainer.seed);
  const WeightFormat format = choose_format(request, weights, options);
  require_names(format, options);
  const Conversion conversion{request, options, source, import};
  std::error_code error;
  const bool there = fs::exists(request.to, error);
  try {
    if (format == WeightFormat::run) {
      write_run(conversion);
    } else {
      write_named(conversion, format);
    }
  } catch (const InputError&) {
    // Damage shows when it is read; a folder that is not empty stays.
    if (!there) fs::remove(request.to, error);
    throw;
  }
  std::vector<std::string> lines = {
      fmt::format("from  {}: {}, {} tensors",
                  request.from.string(),
                  to_string(weights.format),
                  weights.file->entries().size()),
      fmt::format("model {}", source.model->describe())};
  for (const auto& note : weights.notes) lines.push_back("note  " + note);
  for (const auto& note : import.notes()) lines.push_back("note  " + note);
  for (const auto& note : weights.file->rebuilt()) lines.push_back(note);
  if (format == WeightFormat::llmc &&
      options.model.gelu == model::Gelu::exact) {
    lines.push_back(
        "note  model.gelu = exact: llm.c has the tanh formula alone, which "
        "differs by up to 5e-4 of an activation");
  }
  lines.push_back(fmt::format("to    {}: {}, {} parameters",
                              request.to.string(),
                              to_string(format),
                              source.registry.global_numel()));
  return lines;
}

}  // namespace

std::vector<std::string> convert(const ConvertRequest& request) {
  return past_damage(
      [&](const Damage& known) { return convert_past(request, known); });
}

}  // namespace mumoe::run
