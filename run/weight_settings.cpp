#include "run/weight_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "run/vit_settings.h"

namespace mumoe::run {
namespace {

using Settings = std::map<std::string, std::string>;
using Shape = std::vector<std::int64_t>;

constexpr const char* kFirstAttention = "transformer.h.0.attn.c_attn.weight";
constexpr const char* kMixture = "transformer.h.0.mlp.MuMoE_layer.";
constexpr const char* kAuthorsDense = "transformer.h.0.mlp.c_fc.1.weight";
constexpr const char* kTimm = "blocks.0.mlp_tokens.fc1.weight";
constexpr const char* kAuthorsMixer = "token.0.norm.weight";
constexpr const char* kDense = "transformer.h.0.mlp.c_fc.weight";

std::string any_file(const WeightFile& file) {
  return file.entries().empty() ? "no file"
                                : file.entries().begin()->second.file.string();
}

/// The shape of a tensor that has to be there, of `dims` dims.
const Shape& shape_of(const WeightFile& file,
                      const std::string& name,
                      std::size_t dims) {
  const auto* entry = file.find(name);
  require(entry != nullptr, "{}: no tensor is named {}", any_file(file), name);
  require(entry->shape.size() == dims,
          "{}: tensor {} has shape [{}], expected {} dims",
          entry->file.string(),
          entry->stored_name,
          fmt::join(entry->shape, ", "),
          dims);
  return entry->shape;
}

/// How many of PREFIX0SUFFIX, PREFIX1SUFFIX and so on there are.
std::int64_t count_of(const WeightFile& file,
                      const std::string& prefix,
                      const std::string& suffix = "") {
  std::int64_t count = 0;
  while (file.find(fmt::format("{}{}{}", prefix, count, suffix)) != nullptr) {
    ++count;
  }
  return count;
}

std::string listed(const std::vector<std::int64_t>& numbers) {
  return fmt::format("{}", fmt::join(numbers, ","));
}

/// What a mixture's tensors tell.
struct Mixture {
  std::string form;
  std::string experts;
  std::string ranks;
  bool bias;
  std::int64_t hidden;
};

/// The mixture below `prefix`, on an input of `inputs`, by the first of its two
/// layers.
Mixture mixture_at(const WeightFile& file,
                   const std::string& prefix,
                   std::int64_t inputs) {
  const std::int64_t levels = count_of(file, prefix + "projs.");
  std::vector<std::int64_t> experts, ranks;
  const auto factor = [&](std::int64_t k) {
    return fmt::format("{}MuMoE.factors.{}", prefix, k);
  };
  for (std::int64_t k = 0; k < levels; ++k) {
    const auto gate = fmt::format("{}projs.{}", prefix, k);
    experts.push_back(shape_of(file, gate, 2)[1]);
  }
  const auto* first = file.find(factor(0));
  const bool cp = first == nullptr || first->shape.size() == 2;
  const std::size_t dims = cp ? 2 : 3;
  const Shape& input = shape_of(file, factor(levels), dims);
  const Shape& output = shape_of(file, factor(levels + 1), dims);
  if (cp) {
    ranks = {input[1]};
  } else {
    for (std::int64_t k = 0; k <= levels; ++k) {
      ranks.push_back(shape_of(file, factor(k), 3)[0]);
    }
    ranks.push_back(input[2]);
  }
  return {.form = cp                   ? "cp"
                  : ranks.front() == 1 ? "tt"
                                       : "tr",
          .experts = listed(experts),
          .ranks = listed(ranks),
          .bias = input[cp ? 0 : 1] == inputs + 1,
          .hidden = output[cp ? 0 : 1]};
}

void add_mixture(const Mixture& mixture, Settings& settings) {
  settings["model.mlp"] = mixture.form;
  settings["model.experts"] = mixture.experts;
  settings["model.rank"] = mixture.ranks;
  settings["model.expert_bias"] = mixture.bias ? "yes" : "no";
  settings["model.hidden"] = std::to_string(mixture.hidden);
}

Settings gpt2_settings(const WeightFile& file, WeightFormat format) {
  const Shape& tokens = shape_of(file, "transformer.wte.weight", 2);
  const Shape& positions = shape_of(file, "transformer.wpe.weight", 2);
  const bool bias = file.find("transformer.ln_f.bias") != nullptr;
  Settings settings = {
      {"model.family", "gpt2"},
      {"model.vocab", std::to_string(tokens[0])},
      {"model.width", std::to_string(tokens[1])},
      {"model.context", std::to_string(positions[0])},
      {"model.bias", bias ? "yes" : "no"},
      {"model.depth",
       std::to_string(
           count_of(file, "transformer.h.", ".attn.c_attn.weight"))}};
  if (count_of(file, fmt::format("{}projs.", kMixture)) > 0) {
    add_mixture(mixture_at(file, kMixture, tokens[1]), settings);
    return settings;
  }
  settings["model.mlp"] = "dense";
  const auto* name = format == WeightFormat::mumoe ? kAuthorsDense : kDense;
  const Shape& hidden = shape_of(file, name, 2);
  settings["model.hidden"] =
      std::to_string(hidden[format == WeightFormat::hf ? 1 : 0]);
  return settings;
}

/// The side of a square of `area`; 0: it is none.
std::int64_t side_of(std::int64_t area) {
  const auto side = std::llround(std::sqrt(static_cast<double>(area)));
  return side * side == area ? side : 0;
}

/// Of a Mixer, what both of its formats say alike.
Settings mixer_settings(const WeightFile& file,
                        const std::string& block,
                        const std::string& block_end,
                        std::int64_t patches) {
  const std::int64_t side = side_of(patches);
  require(side > 0,
          "{}: mixes {} tokens; expected a square, of patches of an image",
          any_file(file),
          patches);
  const bool bias = file.find("norm.bias") != nullptr;
  return {
      {"model.family", "mixer"},
      {"model.image_size", std::to_string(side)},  // in patches, so far
      {"model.depth", std::to_string(count_of(file, block, block_end))},
      {"model.width", std::to_string(shape_of(file, "norm.weight", 1)[0])},
      {"model.classes", std::to_string(shape_of(file, "head.weight", 2)[0])},
      {"model.bias", bias ? "yes" : "no"}};
}

void add_patches(std::int64_t patch,
                 std::int64_t channels,
                 Settings& settings) {
  auto& size = settings["model.image_size"];
  size = std::to_string(std::stoll(size) * patch);
  settings["model.patch"] = std::to_string(patch);
  settings["model.channels"] = std::to_string(channels);
}

Settings timm_settings(const WeightFile& file) {
  const Shape& token = shape_of(file, kTimm, 2);
  Settings settings =
      mixer_settings(file, "blocks.", ".norm1.weight", token[1]);
  const Shape& stem = shape_of(file, "stem.proj.weight", 4);
  add_patches(stem[2], stem[1], settings);
  settings["model.mlp"] = "dense";
  settings["model.token_hidden"] = std::to_string(token[0]);
  settings["model.hidden"] =
      std::to_string(shape_of(file, "blocks.0.mlp_channels.fc1.weight", 2)[0]);
  return settings;
}

Settings authors_mixer_settings(const WeightFile& file) {
  const std::string tokens = "token.0.fn.fn.", channels = "channel.0.fn.";
  const bool dense = file.find(tokens + "0.weight") != nullptr;
  const std::int64_t patches = dense ? shape_of(file, tokens + "0.weight", 2)[1]
                                     : shape_of(file, tokens + "projs.0", 2)[0];
  Settings settings = mixer_settings(file, "token.", ".norm.weight", patches);
  const std::int64_t pixels = shape_of(file, "stem.weight", 2)[1];
  const std::int64_t colours =
      pixels % 3 == 0 && side_of(pixels / 3) > 0 ? 3 : 1;
  add_patches(side_of(pixels / colours), colours, settings);
  if (dense) {
    settings["model.mlp"] = "dense";
    settings["model.token_hidden"] =
        std::to_string(shape_of(file, tokens + "0.weight", 2)[0]);
    settings["model.hidden"] =
        std::to_string(shape_of(file, channels + "0.weight", 2)[0]);
    return settings;
  }
  const std::int64_t width = shape_of(file, "norm.weight", 1)[0];
  const Mixture token = mixture_at(file, tokens, patches);
  add_mixture(mixture_at(file, channels, width), settings);
  settings["model.token_hidden"] = std::to_string(token.hidden);
  settings["model.token_rank"] = token.ranks;
  const bool batch = file.find(tokens + "bn.0.running_mean") != nullptr;
  settings["model.gate_norm"] = batch ? "batch" : "layer";
  return settings;
}

}  // namespace

WeightFormat recognise(const WeightFile& file) {
  const auto& entries = file.entries();
  require(!entries.empty(), "no tensors; expected the weights of a model");
  if (file.find(kFirstAttention) != nullptr) {
    const bool authors =
        count_of(file, fmt::format("{}projs.", kMixture)) > 0 ||
        file.find(kAuthorsDense) != nullptr;
    if (authors) return WeightFormat::mumoe;
    const Shape& shape = shape_of(file, kFirstAttention, 2);
    if (shape[1] == 3 * shape[0]) return WeightFormat::hf;
    if (shape[0] == 3 * shape[1]) return WeightFormat::nanogpt;
    fail<InputError>(
        "{}: tensor {} has shape [{}], expected [C, 3 C] (hf) or [3 C, C] "
        "(nanogpt)",
        file.find(kFirstAttention)->file.string(),
        kFirstAttention,
        fmt::join(shape, ", "));
  }
  if (file.find(kTimm) != nullptr || holds_vit(file)) return WeightFormat::timm;
  if (file.find(kAuthorsMixer) != nullptr) return WeightFormat::mumoe;
  const auto& [name, entry] = *entries.begin();
  fail<InputError>(
      "{}: tensor {} has a name of no known format; expected those of a GPT-2 "
      "of transformers or nanoGPT, of the authors of the layer, of timm's "
      "MLP-Mixer or ViT, or of transformers' CLIPVisionModel or ViTModel",
      entry.file.string(),
      entry.stored_name);
}

std::map<std::string, std::string> settings_from_shapes(const WeightFile& file,
                                                        WeightFormat format) {
  if (holds_vit(file)) return vit_settings(file);
  if (format == WeightFormat::timm) return timm_settings(file);
  if (file.find(kAuthorsMixer) != nullptr) return authors_mixer_settings(file);
  return gpt2_settings(file, format);
}

}  // namespace mumoe::run
