#include "run/import_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/number.h"
#include "run/checkpoint_weights.h"
#include "run/hf_config.h"
#include "run/llmc_file.h"
#include "run/manifest.h"
#include "run/newest_checkpoint.h"
#include "run/option_table.h"
#include "run/vit_file.h"
#include "run/vit_settings.h"
#include "run/weight_settings.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using Settings = std::map<std::string, std::string>;

constexpr const char* kShardIndex = "model.safetensors.index.json";

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

/// Whether a key tells what a model is.
bool of_model(const std::string& key) {
  return find_key(key) != nullptr &&
         (key.starts_with("model.") || key == "data.tokenizer");
}

/// Tokens of GPT-2's encoding.
constexpr std::int64_t kBytePairs = 50257;

/// Keys that a model with dense MLPs has no use for.
constexpr const char* kOfMixtures[] = {"model.experts",
                                       "model.rank",
                                       "model.token_rank",
                                       "model.gate",
                                       "model.gate_top_k",
                                       "model.gate_norm",
                                       "model.expert_bias"};

/// Keys of a ViT's head, which begins anew where it is another one.
constexpr const char* kOfVitHeads[] = {"model.classes",
                                       "model.head",
                                       "model.head_parameters"};

/// Whether two models of a family of which `key` differs may have other weights
/// that cannot begin anew.
bool shapes_weights(const std::string& key,
                    bool dense,
                    const std::string& family) {
  return key.starts_with("model.") && !shapes_no_weight(key) &&
         (family != "vit" ||
          std::ranges::find(kOfVitHeads, key) == std::end(kOfVitHeads)) &&
         (!dense ||
          std::ranges::find(kOfMixtures, key) == std::end(kOfMixtures));
}

OpenedWeights open_checkpoint(const fs::path& path,
                              const fs::path& checkpoint) {
  OpenedWeights opened{WeightFormat::run, path, checkpoint};
  Manifest manifest = read_manifest(checkpoint);
  for (const auto& [key, value] : manifest.state.settings) {
    if (find_key(key) != nullptr) opened.settings[key] = value;
  }
  opened.file = open_checkpoint_weights(checkpoint, std::move(manifest));
  return opened;
}

/// The .safetensors files of a folder: those of its index, or all.
std::vector<fs::path> files_of(const fs::path& folder) {
  std::set<fs::path> files;
  if (const fs::path index = folder / kShardIndex; is_there(index)) {
    const auto json = parse_json(read_file(index), index.string());
    const auto map = json.find("weight_map");
    require(map != json.end() && map->is_object(),
            "{}: expected an object called weight_map",
            index.string());
    for (const auto& [name, file] : map->items()) {
      require(file.is_string(),
              "{}: {}: expected the name of a file",
              index.string(),
              name);
      files.insert(folder / file.get<std::string>());
    }
  } else {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      if (entry.path().extension() == ".safetensors") files.insert(entry);
    }
    require(!error, "{}: cannot list: {}", folder.string(), error.message());
  }
  require(!files.empty(),
          "{}: holds neither checkpoints nor .safetensors files "
          "(launch/pt_to_safetensors.py makes one of a .pt or .bin of PyTorch)",
          folder.string());
  return {files.begin(), files.end()};
}

/// A zip archive or a pickle: what torch.save writes.
bool is_pickled(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  char begin[2] = {};
  in.read(begin, sizeof(begin));
  const bool zip = begin[0] == 'P' && begin[1] == 'K';
  return in.good() && (zip || begin[0] == '\x80');
}

/// What `config`, if it is there, says of the ViT of `opened`.
void add_vit_config(const fs::path& config, OpenedWeights& opened) {
  if (is_there(config)) {
    opened.settings.merge(read_vit_config(config));
  } else if (!opened.settings.contains("model.gelu")) {
    opened.notes.push_back(
        "no config.json says with which GELU these weights were trained: "
        "OpenAI's CLIP with --model.gelu quick, most others with exact");
  }
}

OpenedWeights open_named(const fs::path& path) {
  const bool folder = fs::is_directory(path);
  if (!folder && is_llmc(path)) {
    auto file = open_llmc(path);
    auto settings = file->metadata();
    settings["model.gelu"] = "tanh";  // all that llm.c has
    return {WeightFormat::llmc, path, path, std::move(file), settings};
  }
  require(folder || !is_pickled(path),
          "{}: is a pickle of PyTorch, which may run any code; expected "
          ".safetensors, which launch/pt_to_safetensors.py makes of it",
          path.string());
  OpenedWeights opened{WeightFormat::hf, path, path};
  opened.file =
      open_safetensors(folder ? files_of(path) : std::vector<fs::path>{path});
  if (const char* model = vit_of_transformers(*opened.file)) {
    opened.file = as_timm_vit(std::move(opened.file));
    opened.notes.push_back(
        fmt::format("names of transformers' {}, taken as timm's", model));
  }
  try {
    opened.format = recognise(*opened.file);
  } catch (const InputError& error) {
    fail<InputError>("{}: {}", path.string(), error.what());
  }
  const auto& metadata = opened.file->metadata();
  if (const auto heads = metadata.find("n_head"); heads != metadata.end()) {
    opened.settings["model.heads"] = heads->second;
  }
  for (const auto& [key, value] : metadata) {
    if (of_model(key)) opened.settings[key] = value;
  }
  const fs::path config = (folder ? path : path.parent_path()) / "config.json";
  if (holds_vit(*opened.file)) {
    add_vit_config(config, opened);
  } else if (opened.format == WeightFormat::hf && is_there(config)) {
    opened.settings.merge(read_hf_config(config));
  } else if (opened.format == WeightFormat::hf &&
             opened.settings.emplace("model.gelu", "tanh").second) {
    opened.notes.push_back(
        "no config.json: GELU by the tanh formula, as GPT-2 was published; "
        "--model.gelu exact otherwise");
  }
  return opened;
}

}  // namespace

OpenedWeights open_weights(const fs::path& path, const Damage& known) {
  std::error_code error;
  require(fs::exists(path, error), "{}: is not there", path.string());
  if (is_there(path / "checkpoints")) {
    const auto newest = newest_checkpoint(path / "checkpoints", known);
    require(newest.has_value(), "{}: holds no checkpoint", path.string());
    OpenedWeights opened = open_checkpoint(path, newest->path);
    opened.notes = newest->damage;
    return opened;
  }
  if (is_checkpoint(path)) return open_checkpoint(path, path);
  if (path.filename() == kStateFile || path.filename() == kManifest) {
    return open_checkpoint(path, path.parent_path());
  }
  OpenedWeights opened = open_named(path);
  // What the files say of themselves wins: it may tell more.
  auto shapes = settings_from_shapes(*opened.file, opened.format);
  opened.settings.merge(shapes);
  return opened;
}

std::string OpenedWeights::digest() const {
  std::string text;
  std::set<fs::path> files;
  for (const auto& [name, entry] : file->entries()) {
    text += fmt::format("{} {} ", name, fmt::join(entry.shape, ","));
    files.insert(entry.file);
  }
  for (const auto& each : files) {
    std::error_code error;
    text += fmt::format("{} ", fs::file_size(each, error));
  }
  for (const auto& [key, value] : file->metadata()) text += key + value;
  return fmt::format("{:016x}", std::hash<std::string>()(text));
}

Options options_of(const OpenedWeights& weights, const Settings& given) {
  Settings settings = weights.settings;
  const auto is = [&](const char* key, const char* value) {
    const auto found = settings.find(key);
    return found != settings.end() && found->second == value;
  };
  for (const auto& [key, value] : given) {
    require(key != "model.mlp" || value == "dense" || !is("model.mlp", "dense"),
            "{}: model.mlp = {}, but these are weights of dense MLPs: no "
            "factors of a mixture compute what a trained dense MLP does, so "
            "that a start from them would be none; expected dense, or a run "
            "from the start",
            weights.path.string(),
            value);
    settings[key] = value;
  }
  require((settings["model.family"] != "gpt2" &&
           settings["model.family"] != "vit") ||
              settings.contains("model.heads"),
          "{}: does not say how many attention heads there are; expected "
          "--model.heads N",
          weights.path.string());
  if (!settings.contains("data.tokenizer")) {
    const auto vocab = settings.find("model.vocab");
    const bool pairs = vocab != settings.end() &&
                       parse_number<std::int64_t>(vocab->second) >= kBytePairs;
    settings["data.tokenizer"] = pairs ? "gpt2" : "bytes";
  }
  return options_from(settings, weights.path.string());
}

void require_same_model(const OpenedWeights& weights,
                        const Options& options,
                        const std::string& what) {
  const auto ours = to_map(options);
  const auto dense = weights.settings.find("model.mlp");
  require(dense == weights.settings.end() || dense->second != "dense" ||
              ours.at("model.mlp") == "dense",
          "{}: holds weights of dense MLPs, model.mlp = {}: no factors of a "
          "mixture compute what a trained dense MLP does; expected model.mlp = "
          "dense, or weights of a mixture",
          what,
          ours.at("model.mlp"));
  const auto check = [&](const std::string& key) {
    const auto found = weights.settings.find(key);
    if (found == weights.settings.end() ||
        !shapes_weights(key, ours.at("model.mlp") == "dense", options.family)) {
      return;
    }
    const std::string& theirs = found->second;
    require(ours.at(key) == theirs,
            "{}: {} is {} there, but {} = {} here; expected the same",
            what,
            key,
            theirs,
            key,
            ours.at(key));
  };
  // What may be `auto` follows from others, which are the ones to name.
  for (const bool follows : {false, true}) {
    for (const Key& key : option_table()) {
      if (key.text.has_auto == follows) check(key.name);
    }
  }
}

}  // namespace mumoe::run
