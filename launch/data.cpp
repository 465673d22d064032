#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/number.h"
#include "data/features/feature_data.h"
#include "data/images/named_images.h"
#include "data/text/prepare.h"
#include "data/text/sources.h"
#include "data/text/tokenizer.h"
#include "launch/commands.h"
#include "launch/feature_maker.h"
#include "launch/run_data.h"
#include "model/families.h"
#include "run/command_line.h"
#include "run/data_facts.h"
#include "run/options.h"

namespace mumoe::launch {
namespace {

void print_notes(const std::vector<std::string>& notes) {
  for (const std::string& note : notes)
    std::printf("  note: %s\n", note.c_str());
}

void print_split(const char* name, const data::Split& split) {
  std::printf("  %-5s %12llu tokens  %8.2f MB in %llu documents  %s",
              name,
              static_cast<unsigned long long>(split.tokens),
              static_cast<double>(split.bytes) / 1e6,
              static_cast<unsigned long long>(split.documents),
              split.path.filename().c_str());
  if (split.shards.size() > 1) {
    std::printf(" to %s", split.shards.back().file.c_str());
  }
  std::printf("\n");
}

void print_source(const data::PreparedSource& source, bool one_of_several) {
  const data::PreparedData& prepared = source.data;
  if (one_of_several) std::printf("%.4g of the mixture: ", source.weight);
  std::printf("%s (%s, vocabulary %lld) in %s\n",
              prepared.source.c_str(),
              prepared.tokenizer.c_str(),
              static_cast<long long>(prepared.vocabulary),
              prepared.folder.c_str());
  print_split("train", prepared.train);
  print_split("val", prepared.val);
  print_notes(prepared.notes);
}

/// Fetches them, or looks through their folders.
void print_images(const run::Options& options) {
  const run::DataFacts facts =
      run::facts_of(data::open_images(image_options(options)));
  std::printf("%s\n", facts.description.c_str());
  print_notes(facts.notes);
}

/// "20000,4000": images for training and for validation; 0: all.
FeatureRequest request_of(const run::CommandLine& line) {
  FeatureRequest request{.out = line.text("out", "")};
  require(!request.out.empty(),
          "mumoe data --features: --out FOLDER is missing");
  const std::string text = line.text("images", "");
  if (text.empty()) return request;
  const auto comma = text.find(',');
  require(comma != text.npos,
          "--images {}: expected how many for training and for validation, "
          "such as 20000,4000",
          text);
  try {
    request.train = parse_number<std::int64_t>(text.substr(0, comma), 1);
    request.val = parse_number<std::int64_t>(text.substr(comma + 1), 1);
  } catch (const InputError& error) {
    fail<InputError>("--images {}: {}", text, error.what());
  }
  return request;
}

/// Features of images by the backbone that is asked for.
void make_features(const run::CommandLine& line) {
  FeatureRequest request = request_of(line);
  const Backbone backbone = open_backbone(
      line.text("features", ""),
      line.number("image_size", std::int64_t{0}, std::int64_t{0}));
  run::Options options = line.options;
  options.augment = data::Augmentation::none;
  options.model.image_size = backbone.image_size;
  const data::ImageOptions asked = image_options(options);
  request.threads = asked.threads;
  const data::ImageData images = data::open_images(asked);
  const auto begin = std::chrono::steady_clock::now();
  const data::FeatureFacts facts = make_features(request, backbone, images);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
          .count();
  const auto count = facts.train.samples + facts.val.samples;
  std::printf(
      "%s: %lld features of %lld and %lld images of %s, %lld classes\n"
      "  by %s\n"
      "  in %.1f s, %.1f images/s\n",
      request.out.c_str(),
      static_cast<long long>(facts.width),
      static_cast<long long>(facts.train.samples),
      static_cast<long long>(facts.val.samples),
      facts.source.c_str(),
      static_cast<long long>(facts.class_names.size()),
      facts.backbone.c_str(),
      seconds,
      static_cast<double>(count) / seconds);
  print_notes(images.notes);
}

}  // namespace

std::vector<run::OwnOption> data_options() {
  return {{"out",
           "FOLDER",
           "where to write train.bin and val.bin; of several sources "
           "(data.source speeches=0.7,novels=0.3) a folder each in it [the "
           "user's cache]",
           "output out_dir output_dir output_prefix"},
          {"shard",
           "TOKENS",
           "more than these are several files, train_000000.bin, ... "
           "[100000000]",
           "shard_size shard_tokens tokens_per_shard"},
          {"features",
           "BACKBONE",
           "make features of images into --out, for model.family = head: a run "
           "directory of a ViT or Mixer, or efficientnet-lite0",
           "backbone encoder extract"},
          {"images",
           "TRAIN,VAL",
           "of --features: so many images, even by class [all]",
           "limit samples subset"},
          {"image_size",
           "PIXELS",
           "of --features efficientnet-lite0: what images are scaled to [96]",
           "size resolution"}};
}

ExitCode data_command(const Invocation& invocation) {
  const run::CommandLine line =
      run::read_command_line(invocation.arguments, "data", data_options());
  if (line.own.contains("features")) {
    make_features(line);
    return ExitCode::done;
  }
  for (const char* name : {"images", "image_size"}) {
    require(!line.own.contains(name),
            "--{}: says something of --features; expected that beside it",
            name);
  }
  if (data::is_feature_folder(line.options.source)) {
    const auto facts = run::facts_of(data::open_features(line.options.source));
    std::printf("%s\n", facts.description.c_str());
    return ExitCode::done;
  }
  // A name says by itself that it is of images.
  if (model::family(line.options.family).learns_from ==
          model::LearnsFrom::images ||
      data::find_named_images(line.options.source) != nullptr) {
    print_images(line.options);
    return ExitCode::done;
  }
  const auto tokenizer = data::make_tokenizer(line.options.tokenizer);
  data::PrepareOptions options;
  if (const auto out = line.own.find("out"); out != line.own.end()) {
    options.out_folder = out->second;
  }
  options.field = line.options.field;
  options.shard_tokens = line.number<std::uint64_t>("shard",
                                                    options.shard_tokens,
                                                    1,
                                                    (1u << 31) - 1);
  options.threads = static_cast<unsigned>(line.options.data_threads);
  const auto sources =
      data::prepare_sources(line.options.source, *tokenizer, options);
  for (const data::PreparedSource& source : sources) {
    print_source(source, sources.size() > 1);
  }
  return ExitCode::done;
}

}  // namespace mumoe::launch
