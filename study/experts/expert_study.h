#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/samples.h"
#include "data/text/tokenizer.h"
#include "study/experts/closer_look.h"
#include "study/experts/expert_examples.h"
#include "study/experts/expert_load.h"
#include "study/experts/level_pairs.h"
#include "study/experts/promoted_tokens.h"
#include "study/experts/routing_trace.h"

namespace mumoe::study {

/// What one token of a gate is.
enum class TokenUnit {
  token,    ///< Of a text.
  patch,    ///< Of an image, in rows; in front of them maybe a class token.
  channel,  ///< A hidden channel, over all patches of an image.
  image,    ///< A whole image.
};
const char* name_of(TokenUnit unit);

/// Images as a model sees them.
struct ImageForm {
  std::int64_t side = 0;  ///< Pixels.
  std::int64_t channels = 0;
  std::int64_t patch = 0;  ///< Pixels a side; 0: it has no patches.
  std::vector<std::string> class_names = {};

  std::int64_t patches() const {
    return patch == 0 ? 0 : (side / patch) * (side / patch);
  }
};

/// Where examples come from.
struct Material {
  std::shared_ptr<const data::Samples> samples;
  std::shared_ptr<const data::Tokenizer> tokenizer;  ///< Null: no text.
  /// Of images, or of the images that features are of; none: nothing to see.
  std::optional<ImageForm> images = {};
  /// The images of samples; `samples` itself unless these are features.
  std::shared_ptr<const data::Samples> pictures = nullptr;
};

/// A text or image with the experts that worked at each of its tokens.
struct ShownSample {
  std::string title;
  std::uint64_t sample = 0;               ///< Of `Material`, unless it is a
  std::vector<std::int32_t> tokens = {};  ///< prompt, which is these.
  RoutingTrace trace = {};
};

/// What a gate's experts are worth: the mean score of all targets with all of
/// them and without each (`ClassScores`: accuracy, or log-likelihood, nats).
struct RemovalCost {
  double with_all = 0;
  std::vector<double> without = {};
};

/// A run as one of two that are compared.
struct RunFacts {
  std::string run;
  std::string checkpoint;
  std::int64_t step = 0;
  std::string model;
  std::string data;
  std::string part;
  std::int64_t samples = 0;
};

/// What the experts of a run do: all that its JSON and its page say.
struct ExpertStudy {
  RunFacts facts;
  double threshold = 0.5;
  std::int64_t per_expert = 8;
  std::uint64_t seed = 1;
  Material material;
  std::vector<GateLoad> loads = {};
  std::vector<TokenUnit> units = {};                       ///< Of each gate.
  std::vector<std::vector<ExpertExamples>> examples = {};  ///< [gate][expert]
  CloserLook::Options look = {};
  std::vector<GateSurroundings> surroundings = {};  ///< Of texts.
  /// [gate][expert]; empty: not a text.
  std::vector<std::vector<std::vector<PromotedToken>>> promoted = {};
  std::vector<RemovalCost> removal = {};  ///< Of each gate; empty: not asked.
  std::int64_t removal_samples = 0;
  std::vector<LevelPair> pairs = {};
  std::vector<ShownSample> shown = {};
  std::optional<RunFacts> other = {};
  std::vector<GateLoad> other_loads = {};

  bool text() const { return material.tokenizer != nullptr; }
};

/// What tokens of each gate are, of a model with `images` (none: of a text) by
/// the number of tokens of a sample.
std::vector<TokenUnit> units_of(std::span<const GateLoad> loads,
                                const std::optional<ImageForm>& images,
                                bool text);

/// The class of sample `sample`; −1: of a text, or a mixture of classes.
std::int64_t label_of(const Material& material, std::uint64_t sample);

/// The tokens of sample `sample` of a text.
std::vector<std::int32_t> tokens_of(const data::Samples& samples,
                                    std::uint64_t sample);

}  // namespace mumoe::study
