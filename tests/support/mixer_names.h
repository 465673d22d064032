#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <regex>
#include <string>

#include "dist/params/parameter_registry.h"
#include "mumoe/safetensors.h"

// The reference's names and shapes of a Mixer's parameters
// (tests/golden/README.md) for blocks of one level of experts.

namespace mumoe::testing {

/// The name there of a parameter of ours; the bias row of an input factor is
/// in that factor.
inline std::string mixer_reference_name(const std::string& ours) {
  static const std::regex block(R"(h\.(\d+)\.(token|channel)(_norm)?\.(.*))");
  std::smatch match;
  if (!std::regex_match(ours, match, block)) return ours;
  const std::string kind = match[2], index = match[1], rest = match[4];
  if (match[3].matched) return fmt::format("{}.{}.norm.{}", kind, index, rest);
  const std::string prefix =
      fmt::format("{}.{}.fn.{}", kind, index, kind == "token" ? "fn." : "");
  static const std::pair<std::regex, const char*> rules[] = {
      {std::regex(R"(fc)"), "0.weight"},
      {std::regex(R"(fc_bias)"), "0.bias"},
      {std::regex(R"(proj)"), "2.weight"},
      {std::regex(R"(proj_bias)"), "2.bias"},
      {std::regex(R"(gate\.(\d+))"), "projs.$1"},
      {std::regex(R"(gate_norm\.(\d+)\.(.*))"), "bn.$1.$2"},
      {std::regex(R"(layer1\.expert\.0)"), "MuMoE.factors.0"},
      {std::regex(R"(layer1\.input(_bias)?)"), "MuMoE.factors.1"},
      {std::regex(R"(layer1\.output)"), "MuMoE.factors.2"},
      {std::regex(R"(layer2\.expert\.0)"), "MuMoE2.factors.0"},
      {std::regex(R"(layer2\.input(_bias)?)"), "MuMoE2.factors.1"},
      {std::regex(R"(layer2\.output)"), "MuMoE2.factors.2"}};
  for (const auto& [mine, theirs] : rules) {
    if (std::regex_match(rest, mine)) {
      return prefix + std::regex_replace(rest, mine, theirs);
    }
  }
  return {};
}

/// What `file` has for `p` under `prefix`, as we have it.
inline at::Tensor mixer_reference(const NamedTensors& file,
                                  const std::string& prefix,
                                  const dist::Parameter& p) {
  at::Tensor value = file.at(prefix + mixer_reference_name(p.name));
  const bool in_layer = p.name.find(".layer") != std::string::npos;
  if (in_layer && p.name.ends_with("input")) {
    value = value.narrow(-2, 0, value.size(-2) - 1);
  } else if (in_layer && p.name.ends_with("input_bias")) {
    return value.select(-2, value.size(-2) - 1);
  }
  if (!in_layer || value.dim() != 3) return value;
  return p.name.ends_with("output") ? value.permute({1, 2, 0})
                                    : value.permute({1, 0, 2});
}

}  // namespace mumoe::testing
