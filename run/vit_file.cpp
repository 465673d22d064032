#include "run/vit_file.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "run/vit_names.h"

namespace mumoe::run {
namespace {

/// A tensor of transformers', and timm's name of what it is, or is part `part`
/// of.
struct Rule {
  std::string_view theirs;
  std::string_view timm;
  int part = -1;  ///< -1: all of it.
};

// Where both names end with .weight or .bias, one row is for both.
constexpr Rule kClip[] = {
    {"embeddings.class_embedding", "cls_token"},
    {"embeddings.position_embedding.weight", "pos_embed"},
    {"embeddings.patch_embedding", "patch_embed.proj"},
    {"pre_layrnorm", "norm_pre"},
    {"encoder.layers.#.layer_norm1", "blocks.#.norm1"},
    {"encoder.layers.#.layer_norm2", "blocks.#.norm2"},
    {"encoder.layers.#.self_attn.q_proj", "blocks.#.attn.qkv", 0},
    {"encoder.layers.#.self_attn.k_proj", "blocks.#.attn.qkv", 1},
    {"encoder.layers.#.self_attn.v_proj", "blocks.#.attn.qkv", 2},
    {"encoder.layers.#.self_attn.out_proj", "blocks.#.attn.proj"},
    {"encoder.layers.#.mlp.fc1", "blocks.#.mlp.fc1"},
    {"encoder.layers.#.mlp.fc2", "blocks.#.mlp.fc2"},
    {"post_layernorm", "norm"}};
constexpr Rule kVit[] = {
    {"embeddings.cls_token", "cls_token"},
    {"embeddings.position_embeddings", "pos_embed"},
    {"embeddings.patch_embeddings.projection", "patch_embed.proj"},
    {"encoder.layer.#.layernorm_before", "blocks.#.norm1"},
    {"encoder.layer.#.layernorm_after", "blocks.#.norm2"},
    {"encoder.layer.#.attention.attention.query", "blocks.#.attn.qkv", 0},
    {"encoder.layer.#.attention.attention.key", "blocks.#.attn.qkv", 1},
    {"encoder.layer.#.attention.attention.value", "blocks.#.attn.qkv", 2},
    {"encoder.layer.#.attention.output.dense", "blocks.#.attn.proj"},
    {"encoder.layer.#.intermediate.dense", "blocks.#.mlp.fc1"},
    {"encoder.layer.#.output.dense", "blocks.#.mlp.fc2"},
    {"layernorm", "norm"},
    {"classifier", "head"}};

/// What files of these models hold beside what the ViT is.
constexpr std::string_view kAside[] = {"text_model.",
                                       "text_projection.",
                                       "visual_projection.",
                                       "logit_scale",
                                       "embeddings.position_ids",
                                       "pooler."};

/// A model of transformers, what its names may begin with, and the tensor by
/// which it is known.
struct Kind {
  const char* model;
  std::string_view prefix;
  std::string_view known_by;
  const Rule* begin;
  const Rule* end;
};
constexpr Kind kKinds[] = {{"CLIPVisionModel",
                            "vision_model.",
                            "embeddings.class_embedding",
                            std::begin(kClip),
                            std::end(kClip)},
                           {"ViTModel",
                            "vit.",
                            "embeddings.cls_token",
                            std::begin(kVit),
                            std::end(kVit)}};

std::string without_prefix(const std::string& name, std::string_view prefix) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

const Kind* kind_of(const WeightFile& file) {
  for (const Kind& kind : kKinds) {
    const std::string bare(kind.known_by);
    if (file.find(bare) || file.find(std::string(kind.prefix) + bare)) {
      return &kind;
    }
  }
  return nullptr;
}

/// The row for `name`, and timm's name by it.
std::pair<const Rule*, std::string> rule_for(const Kind& kind,
                                             const std::string& name) {
  const auto [general, number] = without_number(name);
  for (const Rule* rule = kind.begin; rule != kind.end; ++rule) {
    if (general == rule->theirs) {
      return {rule, with_number(rule->timm, number)};
    }
    for (const std::string_view end : {".weight", ".bias"}) {
      if (general == std::string(rule->theirs) + std::string(end)) {
        return {rule, with_number(rule->timm, number) + std::string(end)};
      }
    }
  }
  return {nullptr, name};
}

class VitWeights final : public WeightFile {
 public:
  VitWeights(std::unique_ptr<WeightFile> file, const Kind& kind)
      : file_(std::move(file)) {
    metadata_ = file_->metadata();
    for (const auto& [stored, entry] : file_->entries()) {
      const std::string name = without_prefix(stored, kind.prefix);
      const bool aside =
          std::any_of(std::begin(kAside), std::end(kAside), [&](auto begin) {
            return name.starts_with(begin);
          });
      if (aside) continue;
      const auto [rule, timm] = rule_for(kind, name);
      auto& parts = parts_[timm];
      parts[rule == nullptr || rule->part < 0 ? 0 : rule->part] = stored;
      const bool first = rule == nullptr || rule->part <= 0;
      if (first) entries_[timm] = entry;
    }
    for (auto& [name, entry] : entries_) complete(name, entry);
  }

  at::Tensor read(const std::string& name) override {
    const auto shape = entries_.at(name).shape;
    std::vector<at::Tensor> tensors;
    for (const auto& part : parts_.at(name)) {
      if (!part.empty()) tensors.push_back(file_->read(part));
    }
    return at::cat(tensors).view(shape);
  }

 private:
  /// The shape that timm's tensor `name` has, from its first part's.
  void complete(const std::string& name, Entry& entry) {
    const auto& parts = parts_[name];
    const bool joined = name.find(".qkv.") != name.npos;
    for (std::size_t p = 1; joined && p < parts.size(); ++p) {
      require(!parts[p].empty() &&
                  file_->entries().at(parts[p]).shape == entry.shape,
              "{}: tensor {} has no key and value of its shape beside it",
              entry.file.string(),
              entry.stored_name);
    }
    if (joined && !entry.shape.empty()) entry.shape[0] *= 3;
    if (name == "cls_token" && entry.shape.size() == 1) {
      entry.shape.insert(entry.shape.begin(), {1, 1});
    }
    if (name == "pos_embed" && entry.shape.size() == 2) {
      entry.shape.insert(entry.shape.begin(), 1);
    }
  }

  std::unique_ptr<WeightFile> file_;
  /// By timm's name, what is there joined.
  std::map<std::string, std::array<std::string, 3>> parts_;
};

}  // namespace

std::unique_ptr<WeightFile> as_timm_vit(std::unique_ptr<WeightFile> file) {
  const Kind* kind = kind_of(*file);
  if (kind == nullptr) return file;
  return std::make_unique<VitWeights>(std::move(file), *kind);
}

const char* vit_of_transformers(const WeightFile& file) {
  const Kind* kind = kind_of(file);
  return kind == nullptr ? nullptr : kind->model;
}

}  // namespace mumoe::run
