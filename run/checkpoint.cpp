#include "run/checkpoint.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/number.h"
#include "mumoe/safetensors.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;
using dist::Bucket;
using dist::BucketEntry;
using dist::FlatBuckets;
using dist::Parameter;

constexpr const char* kFormat = "mumoe-checkpoint-1";
constexpr const char* kMaster = "master.";
/// Of a run on GPUs: MixingState.
constexpr const char* kMixing = "gpu_mixing";
constexpr const char* kTaken = "samples_taken";

/// The tensors of a checkpoint that belong to bucket `index`: how their names
/// begin and this rank's shard. Buffers have no moments.
std::vector<std::pair<std::string, at::Tensor>> shards_of(
    const FlatBuckets& buckets,
    std::size_t index,
    const OptimizerState& optimizer) {
  std::vector<std::pair<std::string, at::Tensor>> shards = {
      {kMaster, buckets.buckets()[index].master}};
  if (!buckets.buckets()[index].trained) return shards;
  for (const Moment& moment : optimizer) {
    shards.emplace_back(moment.name + ".", moment.shards[index]);
  }
  return shards;
}

/// Whole tensors, on the rank that writes; the others only take part. One flat
/// tensor at a time is gathered.
NamedTensors collect(const RunState& state,
                     const FlatBuckets& buckets,
                     const OptimizerState& optimizer,
                     bool writes) {
  NamedTensors named;
  named.metadata = checkpoint_metadata(state);
  buckets.await();
  for (std::size_t b = 0; b < buckets.buckets().size(); ++b) {
    const Bucket& bucket = buckets.buckets()[b];
    for (const auto& [prefix, shard] : shards_of(buckets, b, optimizer)) {
      const at::Tensor flat = buckets.unshard(bucket, shard);
      for (const BucketEntry& entry : bucket.entries) {
        const at::Tensor whole = buckets.gather(flat, entry);
        if (!writes) continue;
        named.tensors[prefix + buckets.parameter(entry).name] = whole.cpu();
      }
    }
  }
  return named;
}

}  // namespace

std::map<std::string, std::string> checkpoint_metadata(const RunState& state) {
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

void write_checkpoint_folder(
    const fs::path& folder,
    std::int64_t step,
    const std::function<void(const fs::path& file)>& write) {
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error, "{}: cannot create: {}", folder.string(), error.message());
  const fs::path temporary = temporary_path(folder, step);
  remove_if_ours(temporary);  // of a save that was cut short
  fs::create_directory(temporary, error);
  require(!error, "{}: cannot create: {}", temporary.string(), error.message());
  write(temporary / kStateFile);
  const fs::path target = checkpoint_path(folder, step);
  fs::rename(temporary, target, error);
  require(!error, "{}: cannot rename: {}", target.string(), error.message());
  sync_to_disk(folder);
}

namespace {

/// Two numbers of 16 hexadecimal digits.
TakenSamples parse_taken(const std::string& text, const fs::path& file) {
  TakenSamples taken;
  const char* const end = text.data() + text.size();
  const auto chain = std::from_chars(text.data(), end, taken.chain, 16);
  const bool first = chain.ec == std::errc() && chain.ptr == text.data() + 16 &&
                     chain.ptr != end && *chain.ptr == ' ';
  const auto next =
      first ? std::from_chars(chain.ptr + 1, end, taken.next, 16) : chain;
  require(
      first && next.ec == std::errc() && next.ptr == end && text.size() == 33,
      "{}: {} = {} in its header: expected two numbers of 16 hexadecimal "
      "digits",
      file.string(),
      kTaken,
      text);
  return taken;
}

RunState parse_state(const NamedTensors& named, const fs::path& file) {
  const auto text = [&](const char* key) {
    const auto found = named.metadata.find(key);
    require(found != named.metadata.end(),
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
  if (const auto mixing = named.metadata.find(kMixing);
      mixing != named.metadata.end()) {
    MixingState& stored = state.mixing.emplace();
    std::istringstream words(mixing->second);
    require(
        words >> stored.sparse_share >> stored.active && words.peek() == EOF,
        "{}: {} = {} in its header: expected two numbers",
        file.string(),
        kMixing,
        mixing->second);
  }
  if (const auto taken = named.metadata.find(kTaken);
      taken != named.metadata.end()) {
    state.taken = parse_taken(taken->second, file);
  }
  return state;
}

/// The tensor called `name`, which must have the shape of `parameter`.
const at::Tensor& tensor_for(const Parameter& parameter,
                             const std::string& name,
                             const NamedTensors& named,
                             const fs::path& file) {
  const auto found = named.tensors.find(name);
  require(found != named.tensors.end(),
          "{}: no tensor is named {}",
          file.string(),
          name);
  const at::IntArrayRef shape = parameter.global_shape;
  require(found->second.sizes() == shape,
          "{}: tensor {} has shape {}, expected {}",
          file.string(),
          name,
          found->second.sizes(),
          shape);
  return found->second;
}

}  // namespace

void save_checkpoint(const fs::path& folder,
                     const RunState& state,
                     const FlatBuckets& buckets,
                     const OptimizerState& optimizer,
                     dist::ProcessMesh& mesh,
                     int keep) {
  at::NoGradGuard no_grad;
  const bool writes = mesh.control().rank() == 0;
  const NamedTensors named = collect(state, buckets, optimizer, writes);
  write_on_rank_0(mesh, checkpoint_path(folder, state.step), [&] {
    write_checkpoint_folder(folder, state.step, [&](const fs::path& file) {
      write_safetensors(file, named);
    });
    remove_old_checkpoints(folder, state.step, keep);
  });
}

void write_on_rank_0(dist::ProcessMesh& mesh,
                     const fs::path& path,
                     const std::function<void()>& write) {
  std::string problem;
  if (mesh.control().rank() == 0) {
    try {
      write();
    } catch (const InputError& error) {
      problem = error.what();
    }
  }
  at::Tensor failed = at::zeros({1}, at::kLong);
  failed.fill_(problem.empty() ? 0 : 1);
  mesh.control().broadcast(failed, 0);
  require(failed.item<std::int64_t>() == 0,
          "{}",
          problem.empty()
              ? fmt::format("{}: rank 0 could not write", path.string())
              : problem);
}

RunState read_run_state(const fs::path& checkpoint) {
  const fs::path file = checkpoint / kStateFile;
  NamedTensors header;
  header.metadata = read_safetensors_metadata(file);
  const RunState state = parse_state(header, file);
  // A copy under another name would be taken for what it is not.
  const auto named = step_in_name(checkpoint);
  require(!named || *named == state.step,
          "{}: holds the state after step {}; expected it under the name {}, "
          "or moved away",
          checkpoint.string(),
          state.step,
          checkpoint_path({}, state.step).string());
  return state;
}

RunState load_checkpoint(const fs::path& checkpoint,
                         FlatBuckets& buckets,
                         const OptimizerState& optimizer) {
  const fs::path file = checkpoint / kStateFile;
  const NamedTensors named = read_safetensors(file);
  const RunState state = parse_state(named, file);
  at::NoGradGuard no_grad;
  for (std::size_t b = 0; b < buckets.buckets().size(); ++b) {
    const Bucket& bucket = buckets.buckets()[b];
    for (const auto& [prefix, shard] : shards_of(buckets, b, optimizer)) {
      for (const BucketEntry& entry : bucket.entries) {
        const Parameter& p = buckets.parameter(entry);
        const auto& whole = tensor_for(p, prefix + p.name, named, file);
        if (prefix == kMaster) {
          buckets.assign(whole, bucket, entry);
        } else {
          buckets.scatter(whole, bucket, entry, shard);
        }
      }
    }
  }
  return state;
}

}  // namespace mumoe::run
