#include "run/nanogpt_weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <numeric>
#include <regex>

#include "base/error.h"

namespace mumoe::run {
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
                        fmt::format("{}.mlp.layer{}.expert.", block, layer));
  const std::string factors =
      fmt::format("transformer.{}.mlp.MuMoE_layer.MuMoE{}.factors.",
                  block,
                  layer == "1" ? "" : layer);
  if (kind == "input_bias") {
    return {fmt::format("{}{}", factors, levels), Location::Part::last_row};
  }
  if (kind == "output") return {fmt::format("{}{}", factors, levels + 1)};
  if (kind == "input") {
    const bool has_bias =
        count_with_prefix(
            registry,
            fmt::format("{}.mlp.layer{}.input_bias", block, layer)) > 0;
    return {fmt::format("{}{}", factors, levels),
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
  require(!name.ends_with(".core"),
          "nanoGPT weights: no names for a Tucker block, expected dense, cp, "
          "tr or tt");
  fail<InternalError>("no nanoGPT name for parameter {}", name);
}

/// How nanoGPT lays a parameter out: our dims in `order`, then `shape`.
struct Layout {
  std::vector<std::int64_t> order;
  std::vector<std::int64_t> shape;
};

/// Heads are not a dim there, and the chain of a ring's cores shows in theirs:
/// [r_1, N, r_2], …, [r_{E+1}, I, r_{E+2}], [r_{E+2}, O, r_1].
Layout their_layout(const Parameter& p) {
  const auto& s = p.global_shape;
  std::vector<std::int64_t> same(s.size());
  std::iota(same.begin(), same.end(), 0);
  if (p.name.ends_with("attn.qkv")) return {same, {s[0] * s[1] * s[2], s[3]}};
  if (p.name.ends_with("attn.qkv_bias")) return {same, {s[0] * s[1] * s[2]}};
  if (p.name.ends_with("attn.proj")) return {same, {s[0], s[1] * s[2]}};
  if (p.name.ends_with("input_bias")) {
    if (s.size() == 1) return {same, {1, s[0]}};
    return {same, {s[0], 1, s[1]}};
  }
  if (s.size() < 3) return {same, s};
  if (p.name.ends_with("output")) return {{2, 0, 1}, {s[2], s[0], s[1]}};
  return {{1, 0, 2}, {s[1], s[0], s[2]}};
}

at::Tensor to_theirs(const Parameter& p, const at::Tensor& ours) {
  const Layout layout = their_layout(p);
  return ours.permute(layout.order).reshape(layout.shape).contiguous();
}

at::Tensor from_theirs(const Parameter& p, const at::Tensor& theirs) {
  const auto order = their_layout(p).order;
  std::vector<std::int64_t> permuted, inverse(order.size());
  for (std::size_t d = 0; d < order.size(); ++d) {
    permuted.push_back(p.global_shape[order[d]]);
    inverse[order[d]] = static_cast<std::int64_t>(d);
  }
  return theirs.reshape(permuted).permute(inverse).contiguous();
}

/// The dim of an input factor [I, R] or [r, I, r'] that runs over inputs.
std::int64_t dim_of_inputs(const at::Tensor& factor) {
  return factor.dim() - 2;
}

}  // namespace

NamedTensors to_nanogpt(const ParameterRegistry& registry,
                        const NamedTensors& whole) {
  NamedTensors out;
  out.metadata = whole.metadata;
  // The rows of an input factor are registered before its bias row.
  for (const Parameter& p : registry.parameters()) {
    const Location location = locate(registry, p.name);
    const at::Tensor value = to_theirs(p, whole.at(p.name));
    at::Tensor& target = out.tensors[location.name];
    target = location.part == Location::Part::last_row
                 ? at::cat({target, value}, dim_of_inputs(target))
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
    const auto expected = their_layout(p).shape;
    const auto expect = [&](bool fits) {
      require(fits,
              "{}: shape {} does not hold the {} expected for {}",
              location.name,
              nanogpt.at(location.name).sizes(),
              at::IntArrayRef(expected),
              p.name);
    };
    if (location.part != Location::Part::all) {
      expect(value.dim() == static_cast<std::int64_t>(expected.size()));
      const std::int64_t dim = dim_of_inputs(value), rows = value.size(dim);
      expect(rows > 1);
      value = location.part == Location::Part::last_row
                  ? value.narrow(dim, rows - 1, 1)
                  : value.narrow(dim, 0, rows - 1);
    }
    expect(value.sizes() == at::IntArrayRef(expected));
    out.tensors[p.name] = from_theirs(p, value);
  }
  return out;
}

}  // namespace mumoe::run
