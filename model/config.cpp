#include "model/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>

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
  require(config.gelu == Gelu::exact,
          "gelu = tanh: mixtures have the exact one; expected exact, or "
          "mlp = dense");
  // What is wrong with as many ranks as there must be is the experts' fault.
  named("mlp.experts", mlp.experts, [&] {
    const std::vector<std::int64_t> ones(
        rank_count(mlp.form, mlp.experts.size()),
        1);
    for (const BlockConfig& block : blocks) {
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

BlockConfig ModelConfig::block() const {
  BlockConfig block = mlp;
  block.input_dim = block.output_dim = width;
  block.gemm = gemm;
  block.recompute = mlp.recompute || recompute == Recompute::mixture;
  block.gradients_in_place = true;
  return block;
}

}  // namespace mumoe::model
