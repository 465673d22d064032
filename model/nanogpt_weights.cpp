#include "model/nanogpt_weights.h"

#include <ATen/ATen.h>

#include <regex>

#include "base/error.h"

namespace mumoe::model {
namespace {

using dist::Parameter;
using dist::ParameterRegistry;

/// Where a parameter lies in a nanoGPT-style file.
struct Location {
  enum class Part { all, all_but_last_row, last_row };
  std::string name;
  Part part = Part::all;
};

struct Rule {
  std::regex ours;
  const char* theirs;
};

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all = [] {
    std::vector<Rule> list;
    const auto add = [&](const char* ours, const char* theirs) {
      list.push_back({std::regex(ours), theirs});
    };
    add(R"((wte|wpe))", "transformer.$1.weight");
    add(R"((h\.\d+\.)?(ln_1|ln_f)\.(weight|bias))", "transformer.$1$2.$3");
    add(R"((h\.\d+)\.attn\.qkv)", "transformer.$1.attn.c_attn.weight");
    add(R"((h\.\d+)\.attn\.qkv_bias)", "transformer.$1.attn.c_attn.bias");
    add(R"((h\.\d+)\.attn\.proj)", "transformer.$1.attn.c_proj.weight");
    add(R"((h\.\d+)\.attn\.proj_bias)", "transformer.$1.attn.c_proj.bias");
    add(R"((h\.\d+)\.mlp\.ln\.(weight|bias))", "transformer.$1.mlp.c_fc.0.$2");
    add(R"((h\.\d+)\.mlp\.fc)", "transformer.$1.mlp.c_fc.1.weight");
    add(R"((h\.\d+)\.mlp\.fc_bias)", "transformer.$1.mlp.c_fc.1.bias");
    add(R"((h\.\d+)\.mlp\.proj)", "transformer.$1.mlp.c_proj.weight");
    add(R"((h\.\d+)\.mlp\.proj_bias)", "transformer.$1.mlp.c_proj.bias");
    add(R"((h\.\d+)\.mlp\.gate\.(\d+))",
        "transformer.$1.mlp.MuMoE_layer.projs.$2");
    add(R"((h\.\d+)\.mlp\.(input_ln\.(weight|bias)))",
        "transformer.$1.mlp.MuMoE_layer.$2");
    return list;
  }();
  return all;
}

/// How many parameters of the registry begin with `prefix`.
std::size_t count_with_prefix(const ParameterRegistry& registry,
                              const std::string& prefix) {
  std::size_t count = 0;
  for (const Parameter& p : registry.parameters()) {
    count += p.name.starts_with(prefix);
  }
  return count;
}

/// Factors are numbered: one for each level of experts, the input factor, the
/// output factor.
Location locate_factor(const ParameterRegistry& registry,
                       const std::smatch& match) {
  const std::string block = match[1], layer = match[2], kind = match[3];
  const std::size_t levels =
      count_with_prefix(registry,
                        concat(block, ".mlp.layer", layer, ".expert."));
  const std::string factors = concat("transformer.",
                                     block,
                                     ".mlp.MuMoE_layer.MuMoE",
                                     layer == "1" ? "" : layer,
                                     ".factors.");
  if (kind == "input_bias") {
    return {concat(factors, levels), Location::Part::last_row};
  }
  if (kind == "output") return {concat(factors, levels + 1)};
  if (kind == "input") {
    const bool has_bias =
        count_with_prefix(registry,
                          concat(block, ".mlp.layer", layer, ".input_bias")) >
        0;
    return {concat(factors, levels),
            has_bias ? Location::Part::all_but_last_row : Location::Part::all};
  }
  return {factors + kind.substr(kind.rfind('.') + 1)};
}

Location locate(const ParameterRegistry& registry, const std::string& name) {
  static const std::regex factor(
      R"((h\.\d+)\.mlp\.layer([12])\.(expert\.\d+|input|input_bias|output))");
  std::smatch match;
  if (std::regex_match(name, match, factor)) {
    return locate_factor(registry, match);
  }
  for (const Rule& rule : rules()) {
    if (std::regex_match(name, rule.ours)) {
      return {std::regex_replace(name, rule.ours, rule.theirs)};
    }
  }
  fail<InternalError>("no nanoGPT name for parameter ", name);
}

/// The shape nanoGPT gives a parameter: heads are not a dim there.
std::vector<std::int64_t> their_shape(const Parameter& p) {
  const auto& s = p.global_shape;
  if (p.name.ends_with("attn.qkv")) return {s[0] * s[1] * s[2], s[3]};
  if (p.name.ends_with("attn.qkv_bias")) return {s[0] * s[1] * s[2]};
  if (p.name.ends_with("attn.proj")) return {s[0], s[1] * s[2]};
  if (p.name.ends_with("input_bias")) return {1, s[0]};
  return s;
}

}  // namespace

NamedTensors to_nanogpt(const ParameterRegistry& registry,
                        const NamedTensors& whole) {
  NamedTensors out;
  out.metadata = whole.metadata;
  // The rows of an input factor are registered before its bias row.
  for (const Parameter& p : registry.parameters()) {
    const Location location = locate(registry, p.name);
    const at::Tensor value = whole.at(p.name).reshape(their_shape(p));
    at::Tensor& target = out.tensors[location.name];
    target = location.part == Location::Part::last_row
                 ? at::cat({target, value})
                 : value;
  }
  return out;
}

NamedTensors from_nanogpt(const ParameterRegistry& registry,
                          const NamedTensors& nanogpt) {
  NamedTensors out;
  out.metadata = nanogpt.metadata;
  for (const Parameter& p : registry.parameters()) {
    const Location location = locate(registry, p.name);
    at::Tensor value = nanogpt.at(location.name);
    const std::int64_t rows = value.size(0);
    if (location.part == Location::Part::last_row) {
      value = value.narrow(0, rows - 1, 1);
    } else if (location.part == Location::Part::all_but_last_row) {
      value = value.narrow(0, 0, rows - 1);
    }
    const auto expected = their_shape(p);
    require(value.sizes() == at::IntArrayRef(expected),
            location.name,
            ": shape ",
            value.sizes(),
            ", expected ",
            at::IntArrayRef(expected),
            " for ",
            p.name);
    out.tensors[p.name] = value.reshape(p.global_shape).contiguous();
  }
  return out;
}

}  // namespace mumoe::model
