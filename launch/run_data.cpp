#include "launch/run_data.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/features/feature_data.h"
#include "data/images/image_data.h"
#include "data/mixture.h"
#include "data/mixup.h"
#include "data/text/prepare.h"
#include "data/text/token_windows.h"
#include "data/text/tokenizer.h"
#include "launch/same_run.h"
#include "model/families.h"

namespace mumoe::launch {
namespace {

// A corpus of many gigabytes over a slow network, tokenized; what takes longer
// is prepared beforehand (mumoe data).
constexpr std::chrono::hours kDataDeadline{1};

/// The token files of a split, and windows of them.
struct Windows {
  Windows(const data::Split& split,
          std::int64_t context,
          std::optional<std::uint64_t> seed)
      : files(split.open()), samples(data::TokenView(files), context, seed) {}

  std::vector<data::TokenFile> files;
  data::TokenWindows samples;
};

std::shared_ptr<const data::Samples> windows_of(
    const data::Split& split,
    std::int64_t context,
    std::optional<std::uint64_t> seed = {}) {
  const auto windows = std::make_shared<const Windows>(split, context, seed);
  return {windows, &windows->samples};
}

/// Windows of several sources.
struct Mixture {
  explicit Mixture(std::vector<std::shared_ptr<const data::Samples>> sources)
      : sources(std::move(sources)), samples(views()) {}

  std::vector<const data::Samples*> views() const {
    std::vector<const data::Samples*> all;
    for (const auto& source : sources) all.push_back(source.get());
    return all;
  }

  std::vector<std::shared_ptr<const data::Samples>> sources;
  data::MixedSamples samples;
};

/// The same in the order of their weights.
struct WeightedMixture : Mixture {
  WeightedMixture(std::vector<std::shared_ptr<const data::Samples>> sources,
                  const std::vector<data::PreparedSource>& prepared,
                  std::uint64_t seed)
      : Mixture(std::move(sources)),
        order(seed, shares(prepared)),
        sequence(samples, order) {}

  std::vector<data::MixtureOrder::Source> shares(
      const std::vector<data::PreparedSource>& prepared) const {
    std::vector<data::MixtureOrder::Source> all;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      all.push_back({sources[i]->size(), prepared[i].weight});
    }
    return all;
  }

  data::MixtureOrder order;
  data::OrderedSamples sequence;
};

/// Features are not taken for texts or images.
void require_no_features(const run::Options& options, const char* what) {
  require(!data::is_feature_folder(options.source),
          "data.source = {}: holds features, and model.family = {} learns from "
          "{}; expected model.family = head",
          options.source,
          options.family,
          what);
}

RunData open_text(const run::Options& options) {
  require_no_features(options, "text");
  require(options.mixup == 0,
          "data.mixup = {}: blends images; expected 0 for text",
          options.mixup);
  const auto tokenizer = data::make_tokenizer(options.tokenizer);
  const auto prepared = data::prepare_sources(
      options.source,
      *tokenizer,
      data::PrepareOptions{
          .field = options.field,
          .threads = static_cast<unsigned>(options.data_threads)});
  require(tokenizer->vocabulary() <= options.model.vocab,
          "model.vocab = {}: tokenizer {} has {} tokens",
          options.model.vocab,
          tokenizer->name(),
          tokenizer->vocabulary());
  const std::int64_t context = options.model.context;
  const std::uint64_t seed = options.trainer.seed;
  std::vector<std::shared_ptr<const data::Samples>> train, val;
  for (const data::PreparedSource& source : prepared) {
    train.push_back(windows_of(source.data.train, context, seed));
    val.push_back(windows_of(source.data.val, context));
  }
  run::DataFacts facts = run::facts_of(prepared);
  if (prepared.size() == 1) return {std::move(facts), train[0], val[0]};
  const auto mixture =
      std::make_shared<const WeightedMixture>(std::move(train), prepared, seed);
  const auto all_val = std::make_shared<const Mixture>(std::move(val));
  return {std::move(facts),
          {mixture, &mixture->samples},
          {all_val, &all_val->samples},
          {mixture, &mixture->sequence}};
}

/// A run's samples, blended.
struct Blended {
  Blended(std::shared_ptr<const data::Samples> samples,
          const run::Options& options)
      : samples(std::move(samples)),
        order(options.trainer.seed, this->samples->size()),
        mixup(*this->samples,
              order,
              options.model.classes,
              options.mixup,
              options.trainer.seed) {}

  std::shared_ptr<const data::Samples> samples;
  data::Order order;
  data::MixUp mixup;
};

void require_shape(const char* key,
                   std::int64_t value,
                   const char* what,
                   const data::ImageData& images,
                   std::int64_t found) {
  require(value == found,
          "{} = {}: the images of {} have {} {}",
          key,
          value,
          images.name,
          found,
          what);
}

RunData open_features(const run::Options& options) {
  require(options.mixup == 0,
          "data.mixup = {}: blends images; expected 0 for features",
          options.mixup);
  const model::ModelConfig& m = options.model;
  data::FeatureData features = data::open_features(options.source);
  const data::FeatureFacts& found = features.facts;
  require(m.features == found.width,
          "model.features = {}: those of {} are {} an image",
          m.features,
          features.name,
          found.width);
  require(m.classes == std::ssize(found.class_names),
          "model.classes = {}: the features of {} have {} classes",
          m.classes,
          features.name,
          found.class_names.size());
  run::DataFacts facts = run::facts_of(features);
  return {std::move(facts), std::move(features.train), std::move(features.val)};
}

RunData open_images(const run::Options& options) {
  require_no_features(options, "images");
  const model::ModelConfig& m = options.model;
  data::ImageData images = data::open_images(image_options(options));
  require_shape("model.image_size",
                m.image_size,
                "pixels a side",
                images,
                images.size);
  require_shape("model.channels",
                m.channels,
                "channels",
                images,
                images.channels);
  require_shape("model.classes", m.classes, "classes", images, images.classes);
  run::DataFacts facts = run::facts_of(images);
  RunData data{.facts = std::move(facts),
               .train = std::move(images.train),
               .val = std::move(images.val),
               .sequence = nullptr,
               .test = std::move(images.test)};
  if (options.mixup > 0) {
    const auto blended = std::make_shared<const Blended>(data.train, options);
    data.sequence = {blended, &blended->mixup};
  }
  return data;
}

RunData open_data(const run::Options& options) {
  switch (model::family(options.family).learns_from) {
    case model::LearnsFrom::tokens:
      break;
    case model::LearnsFrom::images:
      return open_images(options);
    case model::LearnsFrom::features:
      return open_features(options);
  }
  return open_text(options);
}

}  // namespace

data::ImageOptions image_options(const run::Options& options) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return {.source = options.source,
          .target = options.target,
          .size = options.model.image_size,
          .augment = options.augment,
          .normalisation = options.normalisation,
          .bad = options.bad_images,
          .seed = options.trainer.seed,
          .threads = options.data_threads > 0 ? options.data_threads
                                              : std::max(cores, 1)};
}

RunData open_run_data(const run::Options& options, dist::ProcessMesh& mesh) {
  dist::Communicator& world = mesh.control();
  const auto deadline = world.deadline();
  mesh.set_phase("data");
  world.set_deadline(kDataDeadline);
  if (world.rank() != 0) world.barrier();
  RunData data = open_data(options);
  world.set_deadline(deadline);
  // Rank 0 waits for ranks that wait for it: no longer without limit.
  if (world.rank() == 0) world.barrier();
  mesh.set_phase("start");
  Facts hashes;
  for (const auto* split : {&data.facts.train, &data.facts.val}) {
    hashes["hash of " + split->name] = split->hash;
  }
  require_same_run(world, hashes);
  return data;
}

}  // namespace mumoe::launch
