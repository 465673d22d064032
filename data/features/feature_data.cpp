#include "data/features/feature_data.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "data/fetch.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFacts = "features.json";
constexpr int kFormat = 1;

nlohmann::ordered_json to_json(const char* file,
                               const FeatureFacts::Split& split) {
  return {{"file", file},
          {"samples", split.samples},
          {"of_images", split.of},
          {"images_hash", split.images_hash},
          {"sha256", split.sha256}};
}

FeatureFacts::Split split_of(const nlohmann::json& json) {
  return {.samples = json.at("samples").get<std::int64_t>(),
          .of = json.at("of_images").get<std::int64_t>(),
          .images_hash = json.at("images_hash").get<std::string>(),
          .sha256 = json.at("sha256").get<std::string>()};
}

std::unique_ptr<FeatureSamples> open_split(const fs::path& path,
                                           const FeatureFacts& facts,
                                           const FeatureFacts::Split& split) {
  const std::string name = path.string();
  auto file = std::make_shared<const FeatureFile>(path);
  require(file->width() == facts.width,
          "{}: features of width {}; expected {}, as {} says",
          name,
          file->width(),
          facts.width,
          kFacts);
  require(file->size() == split.samples,
          "{}: {} rows; expected {}, as {} says",
          name,
          file->size(),
          split.samples,
          kFacts);
  require(file->attributes() == std::ssize(facts.attributes),
          "{}: {} attributes; expected {}, as {} says",
          name,
          file->attributes(),
          facts.attributes.size(),
          kFacts);
  const std::int64_t classes = std::ssize(facts.class_names);
  for (std::int64_t row = 0; row < file->size(); ++row) {
    const std::int64_t label = file->label(row);
    require(label >= 0 && label < classes,
            "{}: label {} in row {}; expected 0 to {}, one of the {} classes "
            "of {}",
            name,
            label,
            row,
            classes - 1,
            classes,
            kFacts);
  }
  const std::string hash = sha256_of_bytes(file->bytes());
  require(
      hash == split.sha256,
      "{}: sha256 {}; expected {}, as {} says: it was changed or is damaged",
      name,
      hash,
      split.sha256,
      kFacts);
  return std::make_unique<FeatureSamples>(std::move(file), facts.attributes);
}

}  // namespace

FeatureSamples::FeatureSamples(std::shared_ptr<const FeatureFile> file,
                               const std::vector<std::string>& names)
    : file_(std::move(file)), attributes_{names, {}} {
  for (std::int64_t row = 0; !names.empty() && row < file_->size(); ++row) {
    const auto its = file_->attributes_of(row);
    attributes_.values.insert(attributes_.values.end(), its.begin(), its.end());
  }
}

HostBatch FeatureSamples::make(std::span<const std::uint64_t> indices) const {
  const auto width = static_cast<std::size_t>(file_->width());
  std::vector<float> input(indices.size() * width);
  std::vector<std::int32_t> target(indices.size());
  for (std::size_t row = 0; row < indices.size(); ++row) {
    const auto at = static_cast<std::int64_t>(indices[row] % size());
    file_->read(at, input.data() + row * width);
    target[row] = static_cast<std::int32_t>(file_->label(at));
  }
  return {static_cast<std::int64_t>(indices.size()),
          std::move(input),
          std::move(target)};
}

bool is_feature_folder(const std::string& folder) {
  std::error_code error;
  return fs::is_regular_file(fs::path(folder) / kFacts, error);
}

FeatureFacts read_feature_facts(const fs::path& folder) {
  const fs::path path = folder / kFacts;
  const nlohmann::json json = parse_json(read_file(path), path.string());
  try {
    require(json.at("format").get<int>() == kFormat,
            "{}: format {}; expected {}, so prepare the features again",
            path.string(),
            json.at("format").dump(),
            kFormat);
    FeatureFacts facts{
        .source = json.at("source").get<std::string>(),
        .backbone = json.at("backbone").get<std::string>(),
        .backbone_hash = json.at("backbone_hash").get<std::string>(),
        .image_size = json.at("image_size").get<std::int64_t>(),
        .width = json.at("width").get<std::int64_t>(),
        .class_names = json.at("class_names").get<std::vector<std::string>>(),
        .attributes = json.at("attributes").get<std::vector<std::string>>(),
        .train = split_of(json.at("train")),
        .val = split_of(json.at("val"))};
    require(facts.width > 0 && !facts.class_names.empty(),
            "{}: width {} and {} classes; expected at least 1 of both",
            path.string(),
            facts.width,
            facts.class_names.size());
    return facts;
  } catch (const nlohmann::json::exception& error) {
    fail<InputError>("{}: not as mumoe data writes it ({})",
                     path.string(),
                     error.what());
  }
}

void write_feature_facts(const fs::path& folder, const FeatureFacts& facts) {
  const nlohmann::ordered_json json = {
      {"format", kFormat},
      {"source", facts.source},
      {"backbone", facts.backbone},
      {"backbone_hash", facts.backbone_hash},
      {"image_size", facts.image_size},
      {"width", facts.width},
      {"classes", facts.class_names.size()},
      {"class_names", facts.class_names},
      {"attributes", facts.attributes},
      {"train", to_json("train.safetensors", facts.train)},
      {"val", to_json("val.safetensors", facts.val)}};
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  write_file_atomically(folder / kFacts,
                        json.dump(2, ' ', false, replace) + '\n');
}

FeatureData open_features(const std::string& folder) {
  require(is_feature_folder(folder),
          "features {}: no {} there; expected a folder that mumoe data "
          "--features has made",
          folder,
          kFacts);
  const fs::path path = folder;
  FeatureData data{.name = folder,
                   .facts = read_feature_facts(path),
                   .train = nullptr,
                   .val = nullptr};
  data.train =
      open_split(path / "train.safetensors", data.facts, data.facts.train);
  data.val = open_split(path / "val.safetensors", data.facts, data.facts.val);
  return data;
}

FeatureShape feature_shape(const std::string& source) {
  if (!is_feature_folder(source)) return {};
  try {
    const FeatureFacts facts = read_feature_facts(source);
    return {facts.width, std::ssize(facts.class_names)};
  } catch (const InputError&) {
    return {};
  }
}

}  // namespace mumoe::data
