#include "run/vit_names.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"

namespace mumoe::run {
namespace {

struct Names {
  std::string_view ours;
  std::string_view timm;
};

constexpr Names kNames[] = {
    {"class_token", "cls_token"},
    {"positions", "pos_embed"},
    {"stem.weight", "patch_embed.proj.weight"},
    {"stem.bias", "patch_embed.proj.bias"},
    {"norm_pre.weight", "norm_pre.weight"},
    {"norm_pre.bias", "norm_pre.bias"},
    {"blocks.#.norm1.weight", "blocks.#.norm1.weight"},
    {"blocks.#.norm1.bias", "blocks.#.norm1.bias"},
    {"blocks.#.attn.qkv", "blocks.#.attn.qkv.weight"},
    {"blocks.#.attn.qkv_bias", "blocks.#.attn.qkv.bias"},
    {"blocks.#.attn.proj", "blocks.#.attn.proj.weight"},
    {"blocks.#.attn.proj_bias", "blocks.#.attn.proj.bias"},
    {"blocks.#.norm2.weight", "blocks.#.norm2.weight"},
    {"blocks.#.norm2.bias", "blocks.#.norm2.bias"},
    {"blocks.#.mlp.fc", "blocks.#.mlp.fc1.weight"},
    {"blocks.#.mlp.fc_bias", "blocks.#.mlp.fc1.bias"},
    {"blocks.#.mlp.proj", "blocks.#.mlp.fc2.weight"},
    {"blocks.#.mlp.proj_bias", "blocks.#.mlp.fc2.bias"},
    {"norm.weight", "norm.weight"},
    {"norm.bias", "norm.bias"},
    {"head.weight", "head.weight"},
    {"head.bias", "head.bias"}};

}  // namespace

bool is_vit(const dist::ParameterRegistry& registry) {
  return !registry.parameters().empty() &&
         registry.parameters().front().name == "class_token";
}

NumberedName without_number(const std::string& name) {
  for (std::size_t begin = 0; begin < name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
    if (end > begin &&
        std::all_of(name.begin() + static_cast<std::ptrdiff_t>(begin),
                    name.begin() + static_cast<std::ptrdiff_t>(end),
                    is_digit)) {
      return {name.substr(0, begin) + "#" + name.substr(end),
              name.substr(begin, end - begin)};
    }
    begin = end + 1;
  }
  return {name, ""};
}

std::string with_number(std::string_view name, const std::string& number) {
  std::string text(name);
  if (const auto at = text.find('#'); at != text.npos) {
    text.replace(at, 1, number);
  }
  return text;
}

std::string timm_vit_name(const std::string& name) {
  const auto [general, number] = without_number(name);
  for (const auto& [ours, timm] : kNames) {
    if (ours == general) return with_number(timm, number);
  }
  fail<InputError>(
      "timm: no name for {}, as of all mixtures of experts and heads of two "
      "layers; expected model.mlp = dense and model.head = linear",
      name);
}

}  // namespace mumoe::run
