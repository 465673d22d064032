#include "run/single_file.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/number.h"
#include "mumoe/safetensors.h"
#include "run/checkpoint_folder.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "mumoe-checkpoint-1";
/// Of a run on GPUs: MixingState.
constexpr const char* kMixing = "gpu_mixing";
constexpr const char* kTaken = "samples_taken";

/// Two numbers of 16 hexadecimal digits.
TakenSamples parse_taken(const std::string& text, const fs::path& file) {
  const bool two = text.size() == 33 && text[16] == ' ';
  const auto chain = parse_hexadecimal(text.substr(0, 16));
  const auto next = two ? parse_hexadecimal(text.substr(17)) : std::nullopt;
  require(two && chain && next,
          "{}: {} = {} in its header: expected two numbers of 16 hexadecimal "
          "digits",
          file.string(),
          kTaken,
          text);
  return {*chain, *next};
}

RunState parse_state(const std::map<std::string, std::string>& metadata,
                     const fs::path& file) {
  const auto text = [&](const char* key) {
    const auto found = metadata.find(key);
    require(found != metadata.end(),
            "{}: no {} in its header: not a checkpoint of this program",
            file.string(),
            key);
    return found->second;
  };
  require(text("format") == kFormat,
          "{}: format {}, expected {}",
          file.string(),
          text("format"),
          kFormat);
  const auto count = [&](const char* key) {
    try {
      return parse_number<std::int64_t>(text(key), 0);
    } catch (const InputError& error) {
      fail<InputError>("{}: {} = {} in its header: {}",
                       file.string(),
                       key,
                       text(key),
                       error.what());
    }
  };
  RunState state{.step = count("step"), .samples = count("samples")};
  const std::string where = file.string() + ": settings in its header";
  const auto settings = parse_json(text("settings"), where);
  require(settings.is_object(), "{}: expected an object", where);
  for (const auto& [name, value] : settings.items()) {
    require(value.is_string(), "{}: {}: expected text", where, name);
    state.settings[name] = value.get<std::string>();
  }
  if (const auto mixing = metadata.find(kMixing); mixing != metadata.end()) {
    MixingState& stored = state.mixing.emplace();
    std::istringstream words(mixing->second);
    require(
        words >> stored.sparse_share >> stored.active && words.peek() == EOF,
        "{}: {} = {} in its header: expected two numbers",
        file.string(),
        kMixing,
        mixing->second);
  }
  if (const auto taken = metadata.find(kTaken); taken != metadata.end()) {
    state.taken = parse_taken(taken->second, file);
  }
  return state;
}

}  // namespace

std::map<std::string, std::string> single_file_metadata(const RunState& state) {
  std::map<std::string, std::string> metadata = {
      {"format", kFormat},
      {"step", std::to_string(state.step)},
      {"samples", std::to_string(state.samples)},
      {"settings", to_text(state.settings)}};
  if (state.mixing) {
    metadata[kMixing] = fmt::format("{:.17g} {:.17g}",
                                    state.mixing->sparse_share,
                                    state.mixing->active);
  }
  if (state.taken) {
    metadata[kTaken] =
        fmt::format("{:016x} {:016x}", state.taken->chain, state.taken->next);
  }
  return metadata;
}

Manifest read_single_file(const fs::path& checkpoint) {
  const fs::path path = checkpoint / kStateFile;
  try {
    SafetensorsFile file(path);
    Manifest manifest{.state = parse_state(file.metadata(), path),
                      .mesh = {},
                      .files = {{kStateFile, file.size(), {}}},
                      .tensors = {}};
    for (const auto& name : file.names()) {
      StoredTensor tensor{file.shape(name), file.dtype(name)};
      const std::vector<std::int64_t> origin(tensor.shape.size(), 0);
      tensor.pieces = {
          {0, file.offset(name), origin, tensor.shape, 0, tensor.numel()}};
      manifest.tensors.emplace(name, std::move(tensor));
    }
    return manifest;
  } catch (const InputError& error) {
    throw DamageError(error.what());
  }
}

void write_single_file(const fs::path& folder,
                       std::int64_t step,
                       const std::function<void(const fs::path& file)>& write) {
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error, "{}: cannot create: {}", folder.string(), error.message());
  const fs::path temporary = temporary_path(folder, step);
  remove_if_ours(real_disk(), temporary);  // of a save that was cut short
  fs::create_directory(temporary, error);
  require(!error, "{}: cannot create: {}", temporary.string(), error.message());
  try {
    write(temporary / kStateFile);
    const fs::path target = checkpoint_path(folder, step);
    fs::rename(temporary, target, error);
    require(!error, "{}: cannot rename: {}", target.string(), error.message());
  } catch (const InputError&) {
    remove_if_ours(real_disk(), temporary);
    throw;
  }
  sync_to_disk(folder);
}

}  // namespace mumoe::run
