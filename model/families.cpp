#include "model/families.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "model/gpt2.h"
#include "model/gpt2_config.h"
#include "model/head_model.h"
#include "model/mixer.h"
#include "model/mixer_config.h"
#include "model/vit.h"
#include "model/vit_config.h"

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

std::unique_ptr<Model> make_head(const ModelConfig& config,
                                 dist::ParameterRegistry& registry,
                                 const Sharding& sharding,
                                 dist::Communicator* batch_group) {
  return std::make_unique<HeadModel>(config, registry, sharding, batch_group);
}

std::unique_ptr<Model> make_vit(const ModelConfig& config,
                                dist::ParameterRegistry& registry,
                                const Sharding& sharding,
                                dist::Communicator* batch_group) {
  return std::make_unique<Vit>(config, registry, sharding, batch_group);
}

constexpr std::array kGpt2Members = {"heads", "context", "vocab", "dropout"};
constexpr std::array kHeadMembers = {"head",
                                     "head_parameters",
                                     "features",
                                     "classes",
                                     "label_smoothing"};
constexpr std::array kMixerMembers = {"patch",
                                      "image_size",
                                      "channels",
                                      "classes",
                                      "token_hidden",
                                      "token_ranks",
                                      "stochastic_depth",
                                      "label_smoothing"};

constexpr std::array kVitMembers = {"heads",
                                    "patch",
                                    "image_size",
                                    "channels",
                                    "classes",
                                    "stochastic_depth",
                                    "label_smoothing",
                                    "head",
                                    "head_parameters",
                                    "norm_pre",
                                    "norm_epsilon",
                                    "frozen"};

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

constexpr Family kHead = {.name = "head",
                          .learns_from = LearnsFrom::features,
                          .paper = PaperFamily::clip_head,
                          .members = kHeadMembers,
                          .validate_shape = validate_head_model_shape,
                          .validate = validate_head_model,
                          .validate_sharding = validate_head_model_sharding,
                          .mlps = head_model_mlps,
                          .workspace = head_model_workspace,
                          .make = make_head};

constexpr Family kVit = {.name = "vit",
                         .learns_from = LearnsFrom::images,
                         .paper = PaperFamily::clip_head,
                         .members = kVitMembers,
                         .validate_shape = validate_vit_shape,
                         .validate = validate_vit,
                         .validate_sharding = validate_vit_sharding,
                         .mlps = vit_mlps,
                         .workspace = vit_workspace,
                         .make = make_vit};

constexpr std::array kFamilies = {kGpt2, kMixer, kVit, kHead};

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

std::int64_t dense_parameters(const MlpKind& kind) {
  const BlockConfig& block = kind.block;
  return dense_mlp_parameters(block.input_dim,
                              block.hidden_dim,
                              block.output_dim,
                              kind.bias,
                              block.input_layer_norm);
}

bool has_mixtures(const Family& family, const ModelConfig& config) {
  return !std::ranges::all_of(family.mlps(config), &MlpKind::dense);
}

}  // namespace mumoe::model
