#include "model/gpt2_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"

namespace mumoe::model {
namespace {

constexpr std::string_view kDense = "dense";

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

/// Of `number`, not above `most`.
std::int64_t largest_divisor(std::int64_t number, std::int64_t most) {
  auto divisor = std::min(number, most);
  while (number % divisor != 0) --divisor;
  return divisor;
}

}  // namespace

void Gpt2Config::validate_but_ranks() const {
  // So far no size of a tensor overflows, nor any sum of them.
  static constexpr std::int64_t kLargest = 1 << 24;
  const auto extent = [](const char* member, std::int64_t value) {
    require(value > 0, "{} = {}: expected at least 1", member, value);
    require(value <= kLargest,
            "{} = {}: expected at most {}",
            member,
            value,
            kLargest);
  };
  extent("depth", depth);
  extent("heads", heads);
  extent("width", width);
  extent("context", context);
  extent("vocab", vocab);
  extent("mlp.hidden_dim", mlp.hidden_dim);
  require(width % heads == 0,
          "heads = {}: width = {} does not divide by it, but by {}",
          heads,
          width,
          largest_divisor(width, heads));
  require(dropout >= 0 && dropout < 1,
          "dropout = {}: expected 0 to below 1",
          dropout);
  if (dense) return;
  // Its running statistics would have to be part of checkpoints.
  require(mlp.gate.norm != GateNorm::batch,
          "mlp.gate.norm = batch: GPT-2 has layer and none, since statistics "
          "over tokens would mix positions");
  // What is wrong with as many ranks as there must be is the experts' fault.
  named("mlp.experts", mlp.experts, [&] {
    const std::vector<std::int64_t> ones(
        rank_count(mlp.form, mlp.experts.size()),
        1);
    for (const auto& layer : block().shape().layers(ones)) layer.validate();
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

void Gpt2Config::validate() const {
  validate_but_ranks();
  if (dense) return;
  named("mlp.ranks", mlp.ranks, [&] {
    block().validate();
    MuMoEBlock::parameter_count(block());  // refuses what cannot be counted
  });
}

std::string_view Gpt2Config::mlp_name() const {
  return dense ? kDense : to_string(mlp.form);
}

void Gpt2Config::set_mlp(std::string_view name) {
  dense = name == kDense;
  if (dense) return;
  std::string allowed(kDense);
  for (const Form form : forms()) {
    if (to_string(form) == name) {
      mlp.form = form;
      return;
    }
    allowed += fmt::format(", {}", to_string(form));
  }
  fail<InputError>("expected one of: {}", allowed);
}

BlockConfig Gpt2Config::block() const {
  BlockConfig block = mlp;
  block.input_dim = block.output_dim = width;
  block.gemm = gemm;
  block.recompute = mlp.recompute || recompute == Recompute::mixture;
  block.gradients_in_place = true;
  return block;
}

void Gpt2Config::validate_sharding(const Sharding& sharding) const {
  const auto tp = sharding.region();
  require(heads % tp.size() == 0,
          "tp = {}: heads = {} does not divide by it, and "
          "attention is cut by heads",
          tp.size(),
          heads);
  require(!tp.tokens_cut() || context % tp.size() == 0,
          "plan = sequence: cuts the tokens of a window, and "
          "context = {} does not divide by tp = {}; the plan "
          "bottleneck does not cut tokens",
          context,
          tp.size());
}

}  // namespace mumoe::model
