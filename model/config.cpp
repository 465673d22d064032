#include "model/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>

#include "base/error.h"

namespace mumoe::model {
namespace {

constexpr std::string_view kDense = "dense";
constexpr std::string_view kLinear = "linear";
constexpr std::string_view kHighRank = "high_rank";

/// The form called `name`. Throws `InputError`: `others`, and the forms.
Form form_named(std::string_view name, std::string others) {
  for (const Form form : forms()) {
    if (to_string(form) == name) return form;
    others += fmt::format(", {}", to_string(form));
  }
  fail<InputError>("expected one of: {}", others);
}

/// What `check` throws, with "MEMBER = 4,4: " before it.
template <class Check>
void named(const char* member,
           const std::vector<std::int64_t>& values,
           Check check) {
  try {
    check();
  } catch (const InputError& error) {
    fail<InputError>("{} = {}: {}",
                     member,
                     fmt::join(values, ","),
                     error.what());
  }
}

}  // namespace

void require_extent(const char* member, std::int64_t value) {
  // So far no size of a tensor overflows, nor any sum of them.
  static constexpr std::int64_t kLargest = 1 << 24;
  require(value > 0, "{} = {}: expected at least 1", member, value);
  require(value <= kLargest,
          "{} = {}: expected at most {}",
          member,
          value,
          kLargest);
}

std::int64_t largest_divisor(std::int64_t number, std::int64_t most) {
  auto divisor = std::min(number, most);
  while (number % divisor != 0) --divisor;
  return divisor;
}

void require_mixtures(const ModelConfig& config,
                      const std::vector<BlockConfig>& blocks) {
  const BlockConfig& mlp = config.mlp;
  const bool gelus = std::ranges::any_of(blocks, [](const BlockConfig& block) {
    return block.output_dim > 0;
  });
  require(!gelus || config.gelu == Gelu::exact,
          "gelu = {}: mixtures have the exact one; expected exact, or "
          "mlp = dense",
          config.gelu == Gelu::tanh ? "tanh" : "quick");
  // What is wrong with as many ranks as there must be is the experts' fault.
  named("mlp.experts", mlp.experts, [&] {
    for (const BlockConfig& block : blocks) {
      const std::vector<std::int64_t> ones(
          rank_count(block.form, mlp.experts.size()),
          1);
      for (const auto& layer : block.shape().layers(ones)) layer.validate();
    }
  });
  require(mlp.level_noise >= 0,
          "mlp.level_noise = {}: expected at least 0",
          mlp.level_noise);
  if (mlp.gate.activation != GateActivation::top_k) return;
  const auto fewest = *std::min_element(mlp.experts.begin(), mlp.experts.end());
  require(mlp.gate.top_k >= 1 && mlp.gate.top_k <= fewest,
          "mlp.gate.top_k = {}: expected 1 to {}, the experts of a level",
          mlp.gate.top_k,
          fewest);
}

void require_images(const ModelConfig& c) {
  require_extent("patch", c.patch);
  require_extent("image_size", c.image_size);
  require_extent("channels", c.channels);
  require_extent("classes", c.classes);
  require(c.image_size % c.patch == 0,
          "patch = {}: image_size = {} does not divide by it, but by {}",
          c.patch,
          c.image_size,
          largest_divisor(c.image_size, c.patch));
  const auto share = [](const char* member, double value) {
    require(value >= 0 && value < 1,
            "{} = {}: expected at least 0 and less than 1",
            member,
            value);
  };
  share("stochastic_depth", c.stochastic_depth);
  share("label_smoothing", c.label_smoothing);
}

void require_whole_samples(const char* model,
                           const dist::TensorParallel& tp,
                           std::int64_t micro_batch) {
  require(!tp.tokens_cut() || micro_batch % tp.size() == 0,
          "micro_batch = {}: plan = sequence cuts the tokens of {} by whole "
          "samples, and these do not divide by tp = {}; the plan bottleneck "
          "does not cut samples",
          micro_batch,
          model,
          tp.size());
}

void require_ranks(const char* member, const BlockConfig& block) {
  named(member, block.ranks, [&] {
    block.validate();
    MuMoEBlock::parameter_count(block);  // refuses what cannot be counted
  });
}

std::string_view ModelConfig::mlp_name() const {
  return dense ? kDense : to_string(mlp.form);
}

void ModelConfig::set_mlp(std::string_view name) {
  dense = name == kDense;
  if (!dense) mlp.form = form_named(name, std::string(kDense));
}

std::string_view ModelConfig::head_name() const {
  switch (head) {
    case HeadKind::linear:
      return kLinear;
    case HeadKind::high_rank:
      return kHighRank;
    case HeadKind::mixture:
      break;
  }
  return to_string(head_form);
}

void ModelConfig::set_head(std::string_view name) {
  if (name == kLinear || name == kHighRank) {
    head = name == kLinear ? HeadKind::linear : HeadKind::high_rank;
    return;
  }
  head_form = form_named(name, fmt::format("{}, {}", kLinear, kHighRank));
  head = HeadKind::mixture;
}

BlockConfig ModelConfig::block() const {
  BlockConfig block = mlp;
  block.input_dim = block.output_dim = width;
  block.gemm = gemm;
  block.recompute = mlp.recompute || recompute == Recompute::mixture;
  block.gradients_in_place = true;
  return block;
}

}  // namespace mumoe::model
