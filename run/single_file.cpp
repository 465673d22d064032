#include "run/single_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <ranges>
#include <sstream>
#include <vector>

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
/// Of a run that looks for spikes: SpikeHistory, as JSON.
constexpr const char* kSpikes = "spikes";
constexpr const char* kSkipped = "skipped";

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

SpikeHistory parse_spikes(const std::string& text, const fs::path& file) {
  const std::string where =
      fmt::format("{}: {} in its header", file.string(), kSpikes);
  const auto json = parse_json(text, where);
  const auto numbers = [&](const char* name) {
    const bool listed =
        json.is_object() && json.contains(name) && json[name].is_array() &&
        std::ranges::all_of(json[name],
                            [](const auto& each) { return each.is_number(); });
    require(listed, "{}: expected numbers called {}", where, name);
    return json[name].template get<std::vector<double>>();
  };
  return {numbers("losses"), numbers("norms")};
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
  if (const auto spikes = metadata.find(kSpikes); spikes != metadata.end()) {
    state.spikes = parse_spikes(spikes->second, file);
  }
  if (metadata.contains(kSkipped)) state.skipped = count(kSkipped);
  return state;
}

/// Without a slash at its end.
fs::path plain_path(const fs::path& path) {
  const fs::path plain = path.lexically_normal();
  return plain.has_filename() ? plain : plain.parent_path();
}

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : ".";
}

void require_free(const fs::path& folder) {
  std::error_code error;
  const bool there = fs::exists(fs::symlink_status(folder, error));
  const bool empty = there && fs::is_directory(folder, error) &&
                     fs::is_empty(folder, error) && !error;
  require(!there || empty,
          "{}: is there already; expected the name of a folder to be made",
          folder.string());
}

/// Makes a folder and those above it; `made`: those that were not there.
void make_folders(const fs::path& folder, std::vector<fs::path>& made) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  if (folder.has_parent_path()) make_folders(folder.parent_path(), made);
  const bool fresh = fs::create_directory(folder, error);
  require(!error, "{}: cannot create: {}", folder.string(), error.message());
  if (fresh) made.push_back(folder);
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
  if (state.spikes) {
    metadata[kSpikes] = to_text(nlohmann::json{{"losses", state.spikes->losses},
                                               {"norms", state.spikes->norms}});
  }
  if (state.skipped > 0) metadata[kSkipped] = std::to_string(state.skipped);
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

void write_single_file_as(
    const fs::path& target,
    std::int64_t step,
    const std::function<void(const fs::path& file)>& write) {
  const fs::path folder = plain_path(target);
  require_free(folder);
  const fs::path parent = parent_of(folder);
  const fs::path temporary = temporary_path(parent, step);
  std::vector<fs::path> made;
  try {
    make_folders(parent, made);
    remove_if_ours(real_disk(), temporary);  // of a save that was cut short
    std::error_code error;
    fs::create_directory(temporary, error);
    require(!error,
            "{}: cannot create: {}",
            temporary.string(),
            error.message());
    write(temporary / kStateFile);
    fs::rename(temporary, folder, error);
    require(!error, "{}: cannot rename: {}", folder.string(), error.message());
  } catch (...) {
    remove_if_ours(real_disk(), temporary);
    std::error_code ignored;
    for (const fs::path& each : std::views::reverse(made)) {
      fs::remove(each, ignored);  // unless somebody has put something there
    }
    throw;
  }
  sync_to_disk(parent);
  for (const fs::path& each : std::views::reverse(made)) {
    sync_to_disk(parent_of(each));
  }
}

void write_single_file(const fs::path& folder,
                       std::int64_t step,
                       const std::function<void(const fs::path& file)>& write) {
  write_single_file_as(checkpoint_path(folder, step), step, write);
}

}  // namespace mumoe::run
