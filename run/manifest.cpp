#include "run/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/number.h"
#include "mumoe/safetensors.h"
#include "run/checkpoint_folder.h"
#include "run/manifest_check.h"
#include "run/manifest_node.h"
#include "run/parity.h"
#include "run/single_file.h"

namespace mumoe::run {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "mumoe-checkpoint-2";
/// Of all that stands in the manifest beside it.
constexpr const char* kOwnHash = "xxh128";

std::string hexadecimal(std::uint64_t number) {
  return fmt::format("{:016x}", number);
}

// ---- To JSON

json to_json(const CheckedFile& file) {
  return {{"name", file.name}, {"bytes", file.bytes}, {"blocks", file.blocks}};
}

json to_json(const StoredPiece& piece) {
  return {{"file", piece.file},
          {"offset", piece.offset},
          {"begin", piece.begin},
          {"extent", piece.extent},
          {"first", piece.first},
          {"count", piece.count}};
}

json to_json(const std::map<std::string, StoredTensor>& tensors) {
  json all = json::object();
  for (const auto& [name, tensor] : tensors) {
    json pieces = json::array();
    for (const StoredPiece& piece : tensor.pieces) {
      pieces.push_back(to_json(piece));
    }
    all[name] = {{"shape", tensor.shape},
                 {"dtype", dtype_name(tensor.dtype)},
                 {"pieces", std::move(pieces)}};
  }
  return all;
}

void add_state(json& all, const RunState& state) {
  all["step"] = state.step;
  all["samples"] = state.samples;
  all["settings"] = state.settings;
  if (state.skipped > 0) all["skipped"] = state.skipped;
  if (state.mixing) {
    all["gpu_mixing"] = {{"sparse_share", state.mixing->sparse_share},
                         {"active", state.mixing->active}};
  }
  if (state.taken) {
    all["samples_taken"] = {{"chain", hexadecimal(state.taken->chain)},
                            {"next", hexadecimal(state.taken->next)}};
  }
  if (state.spikes) {
    all["spikes"] = {{"losses", state.spikes->losses},
                     {"norms", state.spikes->norms}};
  }
}

// ---- From JSON: every reader names where it is

using Node = ManifestNode;

RunState read_state(const Node& all) {
  RunState state{.step = all.count("step"), .samples = all.count("samples")};
  const json& settings = all.member("settings");
  if (!settings.is_object()) all.refuse("settings by name");
  for (const auto& [name, value] : settings.items()) {
    if (!value.is_string()) all.refuse("settings as text");
    state.settings[name] = value.get<std::string>();
  }
  if (all.has("gpu_mixing")) {
    const Node mixing{all.member("gpu_mixing"), all.where};
    state.mixing = {mixing.number("sparse_share"), mixing.number("active")};
  }
  if (all.has("samples_taken")) {
    const Node taken{all.member("samples_taken"), all.where};
    state.taken = {taken.digits("chain"), taken.digits("next")};
  }
  if (all.has("skipped")) state.skipped = all.count("skipped");
  if (all.has("spikes")) {
    const Node spikes{all.member("spikes"), all.where};
    state.spikes = {spikes.numbers("losses"), spikes.numbers("norms")};
  }
  return state;
}

/// A name that leads to no other folder.
bool is_plain(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find('/') == name.npos && name.find('\0') == name.npos;
}

CheckedFile read_file_entry(const Node& entry) {
  CheckedFile file{entry.text("name"), entry.count("bytes"), {}};
  if (!is_plain(file.name)) entry.refuse("the plain name of a file");
  for (const json& block : entry.list("blocks")) {
    if (!block.is_string()) entry.refuse("checksums as text");
    file.blocks.push_back(block.get<std::string>());
  }
  const auto blocks =
      file.bytes / kBlockBytes + (file.bytes % kBlockBytes == 0 ? 0 : 1);
  if (std::ssize(file.blocks) != blocks) {
    entry.refuse("a checksum for each block of a file");
  }
  return file;
}

StoredTensor read_tensor(const Node& entry) {
  StoredTensor tensor{entry.counts("shape")};
  try {
    tensor.dtype = dtype_of_name(entry.text("dtype"), entry.where);
  } catch (const InputError& error) {
    throw DamageError(error.what());
  }
  for (const json& each : entry.list("pieces")) {
    const Node piece{each, entry.where};
    tensor.pieces.push_back({static_cast<std::size_t>(piece.count("file")),
                             piece.count("offset"),
                             piece.counts("begin"),
                             piece.counts("extent"),
                             piece.count("first"),
                             piece.count("count")});
  }
  return tensor;
}

/// How the files are summed follows from their lengths; it is said too, for
/// readers that are not this program.
json parity_to_json(const Manifest& manifest) {
  const ParityLayout layout(lengths_of(manifest.files));
  json all = {{"chunk_bytes", layout.chunk_bytes()}, {"files", json::array()}};
  for (const CheckedFile& file : manifest.parity) {
    all["files"].push_back(to_json(file));
  }
  return all;
}

void read_parity(const Node& node, Manifest& manifest) {
  const auto wrong = [&](const char* how) {
    fail<DamageError>("{}: parity {}", node.where, how);
  };
  for (const json& entry : node.list("files")) {
    manifest.parity.push_back(read_file_entry({entry, node.where}));
  }
  if (manifest.files.empty() ||
      manifest.parity.size() != manifest.files.size()) {
    wrong("is not of as many files as there are");
  }
  const ParityLayout layout(lengths_of(manifest.files));
  bool same = node.count("chunk_bytes") == layout.chunk_bytes();
  for (std::size_t i = 0; i < manifest.parity.size(); ++i) {
    same = same &&
           manifest.parity[i].bytes == layout.bytes(manifest.files.size() + i);
  }
  if (!same) wrong("is of files of other lengths");
}

/// Without what says that it is whole.
json unsealed(std::string_view text, const std::string& where) {
  json all;
  try {
    all = parse_json(text, where);
  } catch (const InputError& error) {
    throw DamageError(error.what());
  }
  const std::string format = Node{all, where}.text("format");
  if (format != kFormat) {
    fail<DamageError>("{}: format {}, expected {}", where, format, kFormat);
  }
  const std::string hash = Node{all, where}.text(kOwnHash);
  all.erase(kOwnHash);
  if (hash_of(to_text(all)) != hash) {
    fail<DamageError>("{}: is not what was written", where);
  }
  return all;
}

}  // namespace

std::int64_t StoredTensor::numel() const {
  std::int64_t all = 1;
  for (const auto extent : shape) all *= extent;
  return all;
}

std::int64_t StoredTensor::bytes() const {
  return numel() * static_cast<std::int64_t>(c10::elementSize(dtype));
}

std::string manifest_text(const Manifest& manifest) {
  json all = {{"format", kFormat},
              {"block_bytes", kBlockBytes},
              {"mesh", {{"dp", manifest.mesh.dp}, {"tp", manifest.mesh.tp}}},
              {"files", json::array()},
              {"tensors", to_json(manifest.tensors)}};
  add_state(all, manifest.state);
  for (const CheckedFile& file : manifest.files) {
    all["files"].push_back(to_json(file));
  }
  if (!manifest.parity.empty()) all["parity"] = parity_to_json(manifest);
  all[kOwnHash] = hash_of(to_text(all));
  return to_text(all) + "\n";
}

Manifest parse_manifest(std::string_view text, const std::string& where) {
  const json all = unsealed(text, where);
  const Node node{all, where};
  if (node.count("block_bytes") != kBlockBytes) {
    node.refuse("blocks of 4 MiB");
  }
  Manifest manifest{.state = read_state(node),
                    .mesh = {},
                    .files = {},
                    .tensors = {}};
  const Node mesh{node.member("mesh"), where};
  const std::int64_t dp = mesh.count("dp"), tp = mesh.count("tp");
  constexpr std::int64_t kMost = 1 << 20;
  if (dp < 1 || tp < 1 || dp > kMost || tp > kMost) mesh.refuse("a mesh");
  manifest.mesh = {static_cast<int>(dp), static_cast<int>(tp)};
  for (const json& entry : node.list("files")) {
    manifest.files.push_back(read_file_entry({entry, where}));
  }
  if (node.has("parity")) read_parity({all.at("parity"), where}, manifest);
  const json& tensors = node.member("tensors");
  if (!tensors.is_object()) node.refuse("tensors by name");
  for (const auto& [name, entry] : tensors.items()) {
    const std::string of = fmt::format("{}: tensor {}", where, name);
    StoredTensor tensor = read_tensor({entry, of});
    require_shared_out(tensor, of);
    manifest.tensors.emplace(name, std::move(tensor));
  }
  require_places(manifest, where);
  return manifest;
}

namespace {

Manifest read_either(const std::filesystem::path& checkpoint) {
  const std::filesystem::path file = checkpoint / kManifest;
  std::error_code error;
  if (!std::filesystem::exists(file, error) &&
      std::filesystem::exists(checkpoint / kStateFile, error)) {
    return read_single_file(checkpoint);
  }
  std::string text;
  try {
    text = read_file(file);
  } catch (const InputError& unreadable) {
    throw DamageError(unreadable.what());
  }
  return parse_manifest(text, file.string());
}

}  // namespace

Manifest read_manifest(const std::filesystem::path& checkpoint) {
  Manifest manifest = read_either(checkpoint);
  const auto named = step_in_name(checkpoint);
  if (named && *named != manifest.state.step) {
    fail<DamageError>(
        "{}: holds the state after step {}; expected it under the name {}",
        checkpoint.string(),
        manifest.state.step,
        checkpoint_path("", manifest.state.step).string());
  }
  return manifest;
}

RunState read_run_state(const std::filesystem::path& checkpoint) {
  return read_manifest(checkpoint).state;
}

std::string tensors_to_text(const std::map<std::string, StoredTensor>& tensors,
                            const CheckedFile& file) {
  return to_text(json{{"file", to_json(file)}, {"tensors", to_json(tensors)}});
}

void add_part(Manifest& manifest, std::string_view text) {
  const std::string where = "a rank's part of a checkpoint";
  const json all = parse_json(text, where);
  const std::size_t file = manifest.files.size();
  manifest.files.push_back(read_file_entry({all.at("file"), where}));
  for (const auto& [name, entry] : all.at("tensors").items()) {
    StoredTensor part = read_tensor({entry, where});
    StoredTensor& whole =
        manifest.tensors.try_emplace(name, part.shape, part.dtype)
            .first->second;
    for (StoredPiece& piece : part.pieces) {
      piece.file = file;
      whole.pieces.push_back(std::move(piece));
    }
  }
}

std::string parity_to_text(const CheckedFile& file) {
  return to_text(to_json(file));
}

void add_parity(Manifest& manifest, std::string_view text) {
  const std::string where = "a rank's parity of a checkpoint";
  manifest.parity.push_back(read_file_entry({parse_json(text, where), where}));
}

}  // namespace mumoe::run
