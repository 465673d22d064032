#include "run/weight_names.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <regex>

#include "base/error.h"
#include "run/vit_names.h"

namespace mumoe::run {
namespace {

using dist::Parameter;
using dist::ParameterRegistry;
using Part = WeightLocation::Part;
using Shape = std::vector<std::int64_t>;

struct FormatName {
  WeightFormat format;
  std::string_view name;
};

constexpr FormatName kFormats[] = {{WeightFormat::run, "run"},
                                   {WeightFormat::hf, "hf"},
                                   {WeightFormat::nanogpt, "nanogpt"},
                                   {WeightFormat::mumoe, "mumoe"},
                                   {WeightFormat::llmc, "llmc"},
                                   {WeightFormat::timm, "timm"}};

/// A parameter of a model, its name in the family's usual format (GPT-2:
/// nanoGPT and transformers; Mixer: timm) and in the authors' code.
struct Rule {
  std::regex ours;
  const char* theirs;
  const char* authors;
};

void add_gpt2(std::vector<Rule>& rules) {
  const auto add =
      [&](const char* ours, const char* theirs, const char* authors = nullptr) {
        rules.push_back(
            {std::regex(ours), theirs, authors == nullptr ? theirs : authors});
      };
  add(R"((wte|wpe))", "transformer.$1.weight");
  add(R"((h\.\d+\.)?(ln_1|ln_f)\.(weight|bias))", "transformer.$1$2.$3");
  add(R"((h\.\d+)\.attn\.qkv)", "transformer.$1.attn.c_attn.weight");
  add(R"((h\.\d+)\.attn\.qkv_bias)", "transformer.$1.attn.c_attn.bias");
  add(R"((h\.\d+)\.attn\.proj)", "transformer.$1.attn.c_proj.weight");
  add(R"((h\.\d+)\.attn\.proj_bias)", "transformer.$1.attn.c_proj.bias");
  // The authors' MLP holds its norm.
  add(R"((h\.\d+)\.mlp\.ln\.(weight|bias))",
      "transformer.$1.ln_2.$2",
      "transformer.$1.mlp.c_fc.0.$2");
  add(R"((h\.\d+)\.mlp\.fc)",
      "transformer.$1.mlp.c_fc.weight",
      "transformer.$1.mlp.c_fc.1.weight");
  add(R"((h\.\d+)\.mlp\.fc_bias)",
      "transformer.$1.mlp.c_fc.bias",
      "transformer.$1.mlp.c_fc.1.bias");
  add(R"((h\.\d+)\.mlp\.proj)", "transformer.$1.mlp.c_proj.weight");
  add(R"((h\.\d+)\.mlp\.proj_bias)", "transformer.$1.mlp.c_proj.bias");
}

void add_mixer(std::vector<Rule>& rules) {
  const auto add =
      [&](const char* ours, const char* timm, const char* authors) {
        rules.push_back({std::regex(ours), timm, authors});
      };
  add(R"(stem\.(weight|bias))", "stem.proj.$1", "stem.$1");
  add(R"((norm|head)\.(weight|bias))", "$1.$2", "$1.$2");
  add(R"(h\.(\d+)\.token_norm\.(weight|bias))",
      "blocks.$1.norm1.$2",
      "token.$1.norm.$2");
  add(R"(h\.(\d+)\.channel_norm\.(weight|bias))",
      "blocks.$1.norm2.$2",
      "channel.$1.norm.$2");
  add(R"(h\.(\d+)\.token\.fc)",
      "blocks.$1.mlp_tokens.fc1.weight",
      "token.$1.fn.fn.0.weight");
  add(R"(h\.(\d+)\.token\.fc_bias)",
      "blocks.$1.mlp_tokens.fc1.bias",
      "token.$1.fn.fn.0.bias");
  add(R"(h\.(\d+)\.token\.proj)",
      "blocks.$1.mlp_tokens.fc2.weight",
      "token.$1.fn.fn.2.weight");
  add(R"(h\.(\d+)\.token\.proj_bias)",
      "blocks.$1.mlp_tokens.fc2.bias",
      "token.$1.fn.fn.2.bias");
  add(R"(h\.(\d+)\.channel\.fc)",
      "blocks.$1.mlp_channels.fc1.weight",
      "channel.$1.fn.0.weight");
  add(R"(h\.(\d+)\.channel\.fc_bias)",
      "blocks.$1.mlp_channels.fc1.bias",
      "channel.$1.fn.0.bias");
  add(R"(h\.(\d+)\.channel\.proj)",
      "blocks.$1.mlp_channels.fc2.weight",
      "channel.$1.fn.2.weight");
  add(R"(h\.(\d+)\.channel\.proj_bias)",
      "blocks.$1.mlp_channels.fc2.bias",
      "channel.$1.fn.2.bias");
}

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all = [] {
    std::vector<Rule> list;
    add_gpt2(list);
    add_mixer(list);
    return list;
  }();
  return all;
}

/// Where a mixture lies: ours under "h.0.mlp.", theirs under
/// "transformer.h.0.mlp.MuMoE_layer.".
struct BlockPlace {
  std::string ours;
  std::string theirs;
};

/// The place of the mixture that `name` belongs to; none: empty.
BlockPlace block_of(const std::string& name) {
  static const std::regex place(R"((h\.(\d+)\.(mlp|token|channel)\.).*)");
  std::smatch match;
  if (!std::regex_match(name, match, place)) return {};
  const std::string ours = match[1], index = match[2], kind = match[3];
  if (kind == "mlp")
    return {ours, fmt::format("transformer.{}MuMoE_layer.", ours)};
  // A wrapper that transposes stands around what mixes tokens.
  const char* wrappers = kind == "token" ? ".fn.fn." : ".fn.";
  return {ours, fmt::format("{}.{}{}", kind, index, wrappers)};
}

bool has_parameter(const ParameterRegistry& registry, const std::string& name) {
  return std::ranges::any_of(registry.parameters(), [&](const Parameter& p) {
    return p.name == name;
  });
}

/// How many parameters of the registry begin with `prefix`.
std::size_t count_with_prefix(const ParameterRegistry& registry,
                              const std::string& prefix) {
  return static_cast<std::size_t>(std::ranges::count_if(
      registry.parameters(),
      [&](const Parameter& p) { return p.name.starts_with(prefix); }));
}

/// Factors are numbered: one for each level of experts, the input factor, the
/// output factor.
WeightLocation locate_factor(const ParameterRegistry& registry,
                             const BlockPlace& block,
                             const std::string& layer,
                             const std::string& kind) {
  const std::string ours = block.ours + "layer" + layer + ".";
  const auto levels = count_with_prefix(registry, ours + "expert.");
  const auto factor = [&](std::size_t number) {
    return fmt::format("{}MuMoE{}.factors.{}",
                       block.theirs,
                       layer == "1" ? "" : layer,
                       number);
  };
  if (kind == "input_bias") return {factor(levels), Part::last_row};
  if (kind == "output") return {factor(levels + 1)};
  if (kind == "input") {
    return {factor(levels),
            has_parameter(registry, ours + "input_bias")
                ? Part::all_but_last_row
                : Part::all};
  }
  return {factor(std::stoul(kind.substr(kind.rfind('.') + 1)))};
}

/// The authors' name of a mixture's parameter; empty: it is none.
WeightLocation locate_in_block(const ParameterRegistry& registry,
                               const std::string& name) {
  const BlockPlace block = block_of(name);
  if (block.ours.empty()) return {};
  const std::string rest = name.substr(block.ours.size());
  static const std::regex factor(
      R"(layer([12])\.(expert\.\d+|input|input_bias|output))");
  static const std::regex gate(R"(gate\.(\d+))");
  static const std::regex statistic(R"(gate_norm\.(\d+\.running_(mean|var)))");
  std::smatch match;
  if (std::regex_match(rest, match, factor)) {
    return locate_factor(registry, block, match[1], match[2]);
  }
  if (std::regex_match(rest, match, gate)) {
    return {block.theirs + "projs." + match[1].str()};
  }
  if (std::regex_match(rest, match, statistic)) {
    return {block.theirs + "bn." + match[1].str()};
  }
  if (rest.starts_with("input_ln.")) return {block.theirs + rest};
  return {};
}

/// The name alone.
WeightLocation locate(WeightFormat format,
                      const ParameterRegistry& registry,
                      const std::string& name) {
  require(!name.ends_with(".core"),
          "{}: no names for a Tucker block, expected dense, cp, tr or tt",
          to_string(format));
  auto in_block = locate_in_block(registry, name);
  if (!in_block.name.empty()) {
    require(format == WeightFormat::mumoe,
            "{}: no names for mixtures of experts, expected model.mlp = dense "
            "(mumoe has them)",
            to_string(format));
    return in_block;
  }
  const bool authors = format == WeightFormat::mumoe;
  for (const Rule& rule : rules()) {
    if (std::regex_match(name, rule.ours)) {
      return {std::regex_replace(name,
                                 rule.ours,
                                 authors ? rule.authors : rule.theirs)};
    }
  }
  fail<InternalError>("no {} name for parameter {}", to_string(format), name);
}

/// Order and shape. Heads are not a dim there, and the chain of a ring's cores
/// shows in theirs: [r_1, N, r_2], …, [r_{E+1}, I, r_{E+2}],
/// [r_{E+2}, O, r_1].
void lay_out(const Parameter& p, WeightLocation& location) {
  const Shape& s = p.global_shape;
  location.order.resize(s.size());
  std::iota(location.order.begin(), location.order.end(), 0);
  const auto flatten = [&](Shape shape) { location.shape = std::move(shape); };
  const auto permute = [&](Shape order) {
    location.order = order;
    for (const auto d : order) location.shape.push_back(s[d]);
  };
  if (p.name == "class_token") return flatten({1, 1, s[0]});
  if (p.name == "positions") return flatten({1, s[0], s[1]});
  if (p.name.ends_with("attn.qkv")) return flatten({s[0] * s[1] * s[2], s[3]});
  if (p.name.ends_with("attn.qkv_bias")) return flatten({s[0] * s[1] * s[2]});
  if (p.name.ends_with("attn.proj")) return flatten({s[0], s[1] * s[2]});
  if (location.part == Part::last_row) {
    return flatten(s.size() == 1 ? Shape{1, s[0]} : Shape{s[0], 1, s[1]});
  }
  if (s.size() < 3) return flatten(s);
  permute(p.name.ends_with("output") ? Shape{2, 0, 1} : Shape{1, 0, 2});
}

/// transformers' linear weights are [in, out]: the last of our dims first.
void transpose_linear(const Parameter& p, WeightLocation& location) {
  const bool linear = p.name.ends_with("attn.qkv") ||
                      p.name.ends_with("proj") || p.name.ends_with("mlp.fc");
  if (!linear) return;
  const auto dims = static_cast<std::ptrdiff_t>(p.global_shape.size());
  // The dims of the outputs: all but the last of qkv, else the first.
  const auto outputs = p.name.ends_with("attn.qkv") ? dims - 1 : 1;
  std::ranges::rotate(location.order, location.order.begin() + outputs);
  std::ranges::reverse(location.shape);
}

/// A patch's pixels are [p, p, channels] here, [channels, p, p] for a
/// convolution. Images have `kChannels`.
void as_convolution(const Parameter& p, WeightLocation& location) {
  const std::int64_t width = p.global_shape[0], pixels = p.global_shape[1];
  const auto side_for = [&](std::int64_t channels) {
    const auto side = static_cast<std::int64_t>(
        std::llround(std::sqrt(static_cast<double>(pixels / channels))));
    return side * side * channels == pixels ? side : 0;
  };
  const std::int64_t channels = side_for(3) > 0 ? 3 : 1,
                     side = side_for(channels);
  require(side > 0,
          "timm: patches of {} numbers; expected squares of 1 or 3 channels",
          pixels);
  location.split = {width, side, side, channels};
  location.order = {0, 3, 1, 2};
  location.shape = {width, channels, side, side};
}

/// The dim of an input factor [I, R] or [r, I, r'] that runs over inputs.
std::int64_t dim_of_inputs(std::size_t dims) {
  return static_cast<std::int64_t>(dims) - 2;
}

}  // namespace

std::string_view to_string(WeightFormat format) {
  for (const auto& [known, name] : kFormats) {
    if (known == format) return name;
  }
  return "?";
}

WeightFormat parse_weight_format(std::string_view name) {
  std::string names;
  for (const auto& [format, known] : kFormats) {
    if (known == name) return format;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known);
  }
  fail<InputError>("expected one of: {}", names);
}

std::vector<ForeignTensor> foreign_tensors(WeightFormat format,
                                           const ParameterRegistry& registry,
                                           std::string_view except) {
  std::vector<ForeignTensor> tensors;
  const auto& parameters = registry.parameters();
  const bool vit = is_vit(registry);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    if (!except.empty() && p.name.starts_with(except)) continue;
    if (format == WeightFormat::run) {
      WeightLocation same{.name = "master." + p.name, .shape = p.global_shape};
      same.order.resize(p.global_shape.size());
      std::iota(same.order.begin(), same.order.end(), 0);
      tensors.push_back({same.name, p.global_shape, {{i, same}}});
      continue;
    }
    WeightLocation location = vit ? WeightLocation{timm_vit_name(p.name)}
                                  : locate(format, registry, p.name);
    lay_out(p, location);
    if (format == WeightFormat::hf) transpose_linear(p, location);
    if (p.name == "stem.weight" && format == WeightFormat::timm) {
      as_convolution(p, location);
    }
    if (location.part == Part::last_row) {
      // The rows of an input factor are registered before its bias row.
      ForeignTensor& rows = tensors.back();
      MUMOE_CHECK(rows.name == location.name, "{}", location.name);
      rows.shape[dim_of_inputs(rows.shape.size())] += 1;
      rows.pieces.push_back({i, std::move(location)});
    } else {
      tensors.push_back({location.name, location.shape, {{i, location}}});
    }
  }
  return tensors;
}

at::Tensor to_theirs(const WeightLocation& location, const at::Tensor& ours) {
  const at::Tensor split =
      location.split.empty() ? ours : ours.reshape(location.split);
  return split.permute(location.order).reshape(location.shape).contiguous();
}

at::Tensor from_theirs(const WeightLocation& location,
                       const Parameter& parameter,
                       const at::Tensor& theirs) {
  at::Tensor value = theirs;
  if (location.part != Part::all) {
    const auto dim = dim_of_inputs(location.shape.size());
    const auto rows = theirs.size(dim);
    value = location.part == Part::last_row ? theirs.narrow(dim, rows - 1, 1)
                                            : theirs.narrow(dim, 0, rows - 1);
  }
  const Shape& split =
      location.split.empty() ? parameter.global_shape : location.split;
  Shape permuted, inverse(location.order.size());
  for (std::size_t d = 0; d < location.order.size(); ++d) {
    permuted.push_back(split[location.order[d]]);
    inverse[location.order[d]] = static_cast<std::int64_t>(d);
  }
  return value.reshape(permuted)
      .permute(inverse)
      .reshape(parameter.global_shape)
      .contiguous();
}

at::Tensor join_parts(const std::vector<at::Tensor>& parts) {
  if (parts.size() == 1) return parts.front();
  return at::cat(parts, dim_of_inputs(parts.front().dim()));
}

}  // namespace mumoe::run
