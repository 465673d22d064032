#include "model/families.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "model/gpt2.h"
#include "model/gpt2_config.h"
#include "model/mixer.h"
#include "model/mixer_config.h"

namespace mumoe::model {
namespace {

std::unique_ptr<Model> make_gpt2(const ModelConfig& config,
                                 dist::ParameterRegistry& registry,
                                 const Sharding& sharding,
                                 dist::Communicator* /*batch_group*/) {
  return std::make_unique<Gpt2>(config, registry, sharding);
}

std::unique_ptr<Model> make_mixer(const ModelConfig& config,
                                  dist::ParameterRegistry& registry,
                                  const Sharding& sharding,
                                  dist::Communicator* batch_group) {
  return std::make_unique<Mixer>(config, registry, sharding, batch_group);
}

constexpr std::array kGpt2Members = {"heads", "context", "vocab", "dropout"};
constexpr std::array kMixerMembers = {"patch",
                                      "image_size",
                                      "channels",
                                      "classes",
                                      "token_hidden",
                                      "token_ranks",
                                      "stochastic_depth",
                                      "label_smoothing"};

constexpr Family kGpt2 = {.name = "gpt2",
                          .learns_from = LearnsFrom::tokens,
                          .paper = PaperFamily::gpt2,
                          .members = kGpt2Members,
                          .validate_shape = validate_gpt2_shape,
                          .validate = validate_gpt2,
                          .validate_sharding = validate_gpt2_sharding,
                          .mlps = gpt2_mlps,
                          .workspace = gpt2_workspace,
                          .make = make_gpt2};

constexpr Family kMixer = {.name = "mixer",
                           .learns_from = LearnsFrom::images,
                           .paper = PaperFamily::mixer,
                           .members = kMixerMembers,
                           .validate_shape = validate_mixer_shape,
                           .validate = validate_mixer,
                           .validate_sharding = validate_mixer_sharding,
                           .mlps = mixer_mlps,
                           .workspace = mixer_workspace,
                           .make = make_mixer};

constexpr std::array kFamilies = {kGpt2, kMixer};

}  // namespace

std::span<const Family> families() {
  return kFamilies;
}

const Family& family(std::string_view name) {
  const auto found = std::ranges::find(kFamilies, name, [](const Family& f) {
    return std::string_view(f.name);
  });
  MUMOE_CHECK(found != kFamilies.end(), "no family {}", name);
  return *found;
}

std::int64_t dense_parameters(const ModelConfig& config, const MlpKind& kind) {
  const BlockConfig& block = kind.block;
  return dense_mlp_parameters(block.input_dim,
                              block.hidden_dim,
                              block.output_dim,
                              config.bias,
                              block.input_layer_norm);
}

}  // namespace mumoe::model
