#include "run/vit_settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace mumoe::run {
namespace {

using nlohmann::json;
using Settings = std::map<std::string, std::string>;

constexpr const char* kClassToken = "cls_token";
constexpr const char* kFirstBlock = "blocks.0.attn.qkv.weight";

const std::vector<std::int64_t>& shape_of(const WeightFile& file,
                                          const std::string& name,
                                          std::size_t dims) {
  const auto* entry = file.find(name);
  require(entry != nullptr,
          "{}: no tensor is named {}",
          file.entries().begin()->second.file.string(),
          name);
  require(entry->shape.size() == dims,
          "{}: tensor {} has shape [{}], expected {} dims",
          entry->file.string(),
          entry->stored_name,
          fmt::join(entry->shape, ", "),
          dims);
  return entry->shape;
}

std::int64_t blocks_of(const WeightFile& file) {
  std::int64_t count = 0;
  while (file.find(fmt::format("blocks.{}.attn.qkv.weight", count))) ++count;
  return count;
}

/// Of timm's "vit_base_patch32_clip_quickgelu_224"; heads of the usual sizes
/// are 64 wide.
void add_timm(const std::string& architecture, Settings& settings) {
  static constexpr std::pair<const char*, const char*> kHeads[] = {
      {"vit_tiny_", "3"},
      {"vit_small_", "6"},
      {"vit_base_", "12"},
      {"vit_large_", "16"}};
  for (const auto& [begin, heads] : kHeads) {
    if (architecture.starts_with(begin)) settings["model.heads"] = heads;
  }
  const bool quick = architecture.find("quickgelu") != architecture.npos;
  settings["model.gelu"] = quick ? "quick" : "exact";
}

/// Of transformers, which leave out of a file what a class has by default.
void add_transformers(const json& config,
                      bool clip,
                      const std::string& where,
                      Settings& settings) {
  const json heads = config.value("num_attention_heads", json(12));
  require(as_count(heads).has_value(),
          "{}: num_attention_heads = {}; expected a whole number",
          where,
          to_text(heads));
  settings["model.heads"] = std::to_string(*as_count(heads));
  const json act =
      config.value("hidden_act", json(clip ? "quick_gelu" : "gelu"));
  const std::string name = act.is_string() ? act.get<std::string>() : "";
  require(name == "gelu" || name == "quick_gelu" || name == "gelu_new" ||
              name == "gelu_pytorch_tanh",
          "{}: hidden_act = {}; expected gelu, quick_gelu or gelu_new",
          where,
          to_text(act));
  settings["model.gelu"] = name == "gelu"         ? "exact"
                           : name == "quick_gelu" ? "quick"
                                                  : "tanh";
  const json eps = config.value("layer_norm_eps", json(clip ? 1e-5 : 1e-12));
  require(eps.is_number(),
          "{}: layer_norm_eps = {}; expected a number",
          where,
          to_text(eps));
  settings["model.norm_eps"] = fmt::format("{}", eps.get<double>());
}

}  // namespace

bool holds_vit(const WeightFile& file) {
  return file.find(kClassToken) != nullptr && file.find(kFirstBlock) != nullptr;
}

Settings vit_settings(const WeightFile& file) {
  const auto& stem = shape_of(file, "patch_embed.proj.weight", 4);
  const auto& places = shape_of(file, "pos_embed", 3);
  const auto side = std::llround(std::sqrt(static_cast<double>(places[1] - 1)));
  require(
      side * side == places[1] - 1,
      "{}: tensor pos_embed has {} places; expected a square, of patches of "
      "an image, and one",
      file.find("pos_embed")->file.string(),
      places[1]);
  const auto yes = [&](const char* name) {
    return file.find(name) == nullptr ? "no" : "yes";
  };
  const auto* head = file.find("head.weight");
  Settings settings = {
      {"model.family", "vit"},
      {"model.mlp", "dense"},
      {"model.depth", std::to_string(blocks_of(file))},
      {"model.width", std::to_string(stem[0])},
      {"model.channels", std::to_string(stem[1])},
      {"model.patch", std::to_string(stem[2])},
      {"model.image_size", std::to_string(side * stem[2])},
      {"model.hidden",
       std::to_string(shape_of(file, "blocks.0.mlp.fc1.weight", 2)[0])},
      {"model.bias", yes("norm.bias")},
      {"model.norm_pre", yes("norm_pre.weight")},
      {"model.norm_eps", file.find("norm_pre.weight") ? "1e-05" : "1e-06"}};
  if (head != nullptr && head->shape.size() == 2) {
    settings["model.head"] = "linear";
    settings["model.classes"] = std::to_string(head->shape[0]);
  }
  return settings;
}

Settings read_vit_config(const std::filesystem::path& file) {
  const std::string where = file.string();
  const json config = parse_json(read_file(file), where);
  require(config.is_object(), "{}: expected an object", where);
  Settings settings;
  if (const auto timm = config.find("architecture");
      timm != config.end() && timm->is_string()) {
    add_timm(*timm, settings);
    return settings;
  }
  const json model = config.value("model_type", json());
  const bool clip = model == "clip" || model == "clip_vision_model";
  require(clip || model == "vit",
          "{}: model_type = {}; expected clip, clip_vision_model or vit",
          where,
          to_text(model));
  const auto vision = config.find("vision_config");
  const bool inside = vision != config.end() && vision->is_object();
  add_transformers(inside ? *vision : config, clip, where, settings);
  return settings;
}

}  // namespace mumoe::run
