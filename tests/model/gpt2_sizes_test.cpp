// GPT-2 at the four sizes of Radford et al. (2019), counted without memory.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "dist/params/parameter_registry.h"
#include "dist/self_communicator.h"
#include "model/gpt2.h"
#include "model/gpt2_config.h"

namespace mumoe::model {
namespace {

struct Size {
  std::int64_t depth;
  std::int64_t heads;
  std::int64_t width;
  std::int64_t parameters;  ///< Dense, with biases, 50257 rows.
  std::int64_t bare;        ///< The same without biases, 50304 rows.
  std::int64_t rank;        ///< Of 256 experts in place of each of its MLPs.
};

constexpr Size kSizes[] = {
    {12, 12, 768, 124'439'808, 124'373'760, 551},
    {24, 16, 1024, 354'823'168, 354'599'936, 755},
    {36, 20, 1280, 774'030'080, 773'582'080, 959},
    {48, 25, 1600, 1'557'611'200, 1'556'840'000, 1215},
};

std::int64_t count(const ModelConfig& config) {
  const auto self = dist::make_self_communicator(at::kCPU);
  dist::ParameterRegistry registry(*self, at::kBFloat16, at::kMeta);
  const Gpt2 gpt2(config, registry);
  return registry.global_numel();
}

ModelConfig config_of(const Size& size) {
  ModelConfig config;
  config.depth = size.depth;
  config.heads = size.heads;
  config.width = size.width;
  config.mlp.hidden_dim = 4 * size.width;
  return config;
}

TEST(Gpt2Sizes, DenseModelsHaveThePublishedCounts) {
  for (const Size& size : kSizes) {
    ModelConfig config = config_of(size);
    config.set_mlp("dense");
    EXPECT_EQ(count(config), size.bare) << size.width;
    config.bias = true;
    config.vocab = 50257;
    EXPECT_EQ(count(config), size.parameters) << size.width;
  }
}

// With as many parameters as the dense MLP has, biases of neither counted: a
// rank more in every block would be too much.
TEST(Gpt2Sizes, MixturesOf256ExpertsHaveAsManyParameters) {
  for (const Size& size : kSizes) {
    ModelConfig config = config_of(size);
    config.mlp.ranks = {};
    config.mlp = with_parameters(config.block(),
                                 8 * size.width * size.width + size.width);
    EXPECT_EQ(config.mlp.ranks, std::vector{size.rank});
    const std::int64_t a_rank = 2 * (256 + 5 * size.width + 1) * size.depth;
    const std::int64_t parameters = count(config);
    EXPECT_LE(parameters, size.bare);
    EXPECT_GT(parameters, size.bare - a_rank) << size.width;
  }
}

TEST(Gpt2Sizes, EverySizeIsCutOverItsHeads) {
  for (const Size& size : kSizes) {
    ModelConfig config = config_of(size);
    EXPECT_EQ(config.width / config.heads, 64);
    EXPECT_NO_THROW(validate_gpt2(config));
  }
}

}  // namespace
}  // namespace mumoe::model
