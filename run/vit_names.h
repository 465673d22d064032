#pragma once

#include <string>
#include <string_view>

#include "dist/params/parameter_registry.h"

namespace mumoe::run {

/// What the names of a ViT's head begin with: the one part that weights of
/// others may have otherwise, and that begins anew then.
inline constexpr std::string_view kVitHead = "head.";

/// Whether the parameters are a ViT's.
bool is_vit(const dist::ParameterRegistry& registry);

/// timm's name of a ViT's parameter. Throws `InputError` for one of a mixture,
/// or of a head of two layers, which timm has none for.
std::string timm_vit_name(const std::string& name);

/// A name of which the first part that is a number is taken out:
/// "blocks.3.attn.qkv" is "blocks.#.attn.qkv" and "3".
struct NumberedName {
  std::string name;
  std::string number;  ///< Empty: it has none.
};
NumberedName without_number(const std::string& name);
/// The reverse.
std::string with_number(std::string_view name, const std::string& number);

}  // namespace mumoe::run
