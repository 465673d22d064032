#include "run/run_directory.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/number.h"
#include "dist/nccl/nccl_communicator.h"
#include "run/best_checkpoint.h"
#include "run/checkpoint_folder.h"
#include "run/manifest.h"
#include "run/newest_checkpoint.h"
#include "run/option_table.h"
#include "run/resume.h"
#include "run/version.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

nlohmann::json describe_split(const SplitFacts& split) {
  nlohmann::json json = {{"xxh64", split.hash}};
  for (const auto& [what, count] : split.counts) json[what] = count;
  return json;
}

nlohmann::json describe_data(const DataFacts& data) {
  nlohmann::json json = {{"source", data.source},
                         {"train", describe_split(data.train)},
                         {"val", describe_split(data.val)}};
  if (!data.tokenizer.empty()) json["tokenizer"] = data.tokenizer;
  return json;
}

nlohmann::json provenance(const Options& options,
                          const DataFacts& data,
                          const dist::ProcessMesh& mesh,
                          const dist::HostMap& hosts) {
  nlohmann::json ranks_of_hosts;
  for (const auto& host : hosts.hosts()) {
    ranks_of_hosts[host] = hosts.ranks_on(host);
  }
  return {
      {"version", kVersion},
      {"git_revision", kGitRevision},
      {"libtorch", TORCH_VERSION},
      {"nccl", dist::nccl_version().value_or("none")},
      {"gemm_library", to_string(options.model.gemm)},
      {"instruction_set", to_string(best_isa())},
      {"native_bf16", cpu_multiplies_bf16()},
      {"threads_per_rank", at::get_num_threads()},
      {"hosts", ranks_of_hosts},
      {"mesh",
       {{"dp", mesh.dp().size()},
        {"tp", mesh.tp().size()},
        {"world", mesh.control().size()}}},
      {"weights_from", options.from.empty() ? "none" : options.from.string()},
      {"branch_of", options.branch.empty() ? "none" : options.branch.string()},
      {"precision", to_map(options).at("train.precision")},
      {"data", describe_data(data)},
  };
}

/// The nearest folder above and including `path` that is there.
fs::path existing_part_of(fs::path path) {
  std::error_code error;
  path = fs::absolute(path, error);
  while (path.has_relative_path() && !fs::exists(path, error)) {
    path = path.parent_path();
  }
  return path;
}

/// What there is against checkpoints of `bytes` by the free space of the disk:
/// throws where there is no room for one, returns a line where there is none
/// for as many as are kept and one in the making.
std::string check_space(const fs::path& out, double bytes, int keep) {
  std::error_code error;
  const auto space = fs::space(existing_part_of(out), error);
  if (error) return {};
  const auto free = static_cast<double>(space.available);
  require(free >= bytes,
          "train.out = {}: {} free; expected room for a checkpoint, {}",
          out.string(),
          size_text(free),
          size_text(bytes));
  if (free >= bytes * (keep + 1)) return {};
  return fmt::format(
      "checkpoints of {} each, {} kept and one in the making: {} free",
      size_text(bytes),
      keep,
      size_text(free));
}

void require_free_names(const fs::path& folder,
                        std::int64_t step,
                        std::int64_t last) {
  const auto names = names_in_the_way(folder, step, last);
  require(names.empty(),
          "{}: is in the place of a checkpoint to come and holds no {}; "
          "expected it to be moved away",
          (folder / (names.empty() ? "" : names.front())).string(),
          kManifest);
}

/// Throws where `out` lies among the checkpoints of a run.
void require_no_part_of_a_run(const fs::path& out) {
  std::error_code error;
  fs::path part = fs::absolute(out, error).lexically_normal();
  for (; part.has_relative_path(); part = part.parent_path()) {
    const fs::path run = part.parent_path();
    if (part.filename() != "checkpoints") continue;
    require(!fs::exists(run / "provenance.json", error),
            "train.out = {}: is a part of the run in {}; expected that folder, "
            "or another",
            out.string(),
            run.string());
  }
}

/// Names of what a run leaves that ended before its first checkpoint.
constexpr std::pair<const char*, const char*> kLeft[] = {{"metrics", "jsonl"},
                                                         {"config", "cfg"},
                                                         {"provenance", "json"},
                                                         {"log", "txt"}};

fs::path left_file(const fs::path& out, std::size_t which) {
  return out / fmt::format("{}.{}", kLeft[which].first, kLeft[which].second);
}

/// Throws where something that is no file has the name of a file of the run.
void require_files(const fs::path& out) {
  for (std::size_t i = 0; i < std::size(kLeft); ++i) {
    const fs::path path = left_file(out, i);
    std::error_code error;
    const auto type = fs::status(path, error).type();
    require(type == fs::file_type::not_found || type == fs::file_type::regular,
            "{}: is in the place of a file of the run; expected it to be moved "
            "away",
            path.string());
  }
}

/// Whether `out` holds more than what this run would write anew: metrics, or
/// another configuration.
bool left_by_another(const fs::path& out, const std::string& config) {
  std::error_code error;
  const auto size = fs::file_size(out / "metrics.jsonl", error);
  if (!error && size > 0) return true;
  return fs::exists(out / "config.cfg", error) &&
         read_file(out / "config.cfg") != config;
}

/// "metrics.1.jsonl" and so on: the first number that none of them has.
std::string set_aside(const fs::path& out, const std::string& config) {
  std::error_code error;
  if (!left_by_another(out, config)) return {};
  const auto numbered = [&](const auto& name, int number) {
    return out / fmt::format("{}.{}.{}", name.first, number, name.second);
  };
  int number = 1;
  while (std::ranges::any_of(kLeft, [&](const auto& name) {
    return fs::exists(numbered(name, number), error);
  })) {
    ++number;
  }
  for (std::size_t i = 0; i < std::size(kLeft); ++i) {
    const fs::path old = left_file(out, i);
    if (!fs::exists(old, error)) continue;
    fs::rename(old, numbered(kLeft[i], number), error);
    require(!error, "{}: cannot rename: {}", old.string(), error.message());
  }
  return fmt::format(
      "train.out = {}: an earlier run ended before its first checkpoint; its "
      "files are kept as metrics.{}.jsonl, config.{}.cfg and so on",
      out.string(),
      number,
      number);
}

/// The checkpoint that `which` says, as `open_run` takes it.
std::optional<NewestCheckpoint> find_checkpoint(const fs::path& folder,
                                                const std::string& which,
                                                const Damage& known) {
  if (which.empty()) return newest_checkpoint(folder, known);
  const auto named = [](const fs::path& path) {
    return NewestCheckpoint{path, read_run_state(path)};
  };
  if (which == kBestName) {
    const fs::path best = folder / kBestName;
    return is_checkpoint(best) ? std::optional(named(best)) : std::nullopt;
  }
  std::int64_t step = 0;
  try {
    step = parse_number<std::int64_t>(which, 0);
  } catch (const InputError&) {
    fail<InputError>("--checkpoint {}: expected best or the number of a step",
                     which);
  }
  for (const CheckpointFile& file : list_checkpoints(folder)) {
    if (file.step == step) return named(file.path);
  }
  return std::nullopt;
}

/// In what a resumed run differs from what it was, a line; empty: in nothing,
/// or nobody knows.
std::string describe_changes(const fs::path& out, const Options& options) {
  try {
    const auto changed =
        changed_settings(to_map(read_config(out / "config.cfg")),
                         to_map(options));
    return changed.empty()
               ? ""
               : fmt::format("changed  {}", fmt::join(changed, "; "));
  } catch (const InputError&) {
    return {};  // it is gone, or somebody's draft
  }
}

/// How much of the run will be there if it ends unasked.
std::string describe_checkpoints(const TrainerConfig& config) {
  std::string when;
  if (config.checkpoint_every > 0) {
    when = fmt::format("every {} steps, ", config.checkpoint_every);
  }
  if (config.checkpoint_minutes > 0) {
    when += fmt::format("every {:g} minutes, ", config.checkpoint_minutes);
  }
  if (!config.checkpoint_last) {
    when += when.empty() ? "if it is stopped" : "or if it is stopped";
  } else {
    when += when.empty() ? "only at the end" : "at the end";
  }
  return fmt::format(
      "out      {}: checkpoints {}, the newest {} kept{}",
      config.out.string(),
      when,
      config.checkpoint_keep,
      config.checkpoint_best ? ", and the best by validation" : "");
}

}  // namespace

RunDirectory::RunDirectory(fs::path out, fs::path numbered)
    : out_(std::move(out)), numbered_(std::move(numbered)) {
  std::error_code error;
  if (out_.empty()) return;
  require_no_part_of_a_run(out_);
  if (fs::is_directory(out_, error)) claim();
}

namespace {

/// Makes the names of `folder` and of those above it, up to `known`, which was
/// there, outlast a power cut: as long as its checkpoints do.
void sync_names(const fs::path& folder, const fs::path& known) {
  std::error_code error;
  for (fs::path path = fs::absolute(folder, error).lexically_normal();
       path != known && path.has_relative_path();) {
    path = path.parent_path();
    sync_to_disk(path);
  }
}

}  // namespace

void RunDirectory::make() {
  std::error_code error;
  const fs::path known =
      existing_part_of(out_.empty() ? numbered_.parent_path() : out_)
          .lexically_normal();
  const auto require_made = [&](const fs::path& path) {
    require(!error,
            "train.out = {}: cannot create: {}",
            path.string(),
            error.message());
  };
  if (!out_.empty()) {
    fs::create_directories(out_, error);
    require_made(out_);
    return sync_names(out_, known);
  }
  fs::create_directories(numbered_.parent_path(), error);
  require_made(numbered_);
  // Runs that begin at once make different ones: who makes a folder has it.
  for (int n = 1; out_.empty(); ++n) {
    fs::path next = fmt::format("{}-{}", numbered_.string(), n);
    if (fs::exists(fs::symlink_status(next, error))) continue;
    const bool made = fs::create_directory(next, error);
    require_made(next);
    if (made) out_ = std::move(next);
  }
  sync_names(out_, known);
}

void RunDirectory::claim() {
  const fs::path file = out_ / ".lock";
  lock_ = FileLock::try_lock(file);
  require(lock_.has_value(),
          "train.out = {}: {} trains there; wait for its end, or choose "
          "another folder",
          out_.string(),
          FileLock::holder(file));
}

void RunDirectory::require_free(const Start& start, bool resumes) const {
  const fs::path checkpoints = out_ / "checkpoints";
  require(resumes || !latest_checkpoint(checkpoints),
          "train.out = {}: holds a run with checkpoints; resume it with "
          "--train.resume or choose another folder",
          out_.string());
  require_files(out_);
  require_free_names(checkpoints, start.step, start.options.trainer.steps);
  if (start.options.trainer.checkpoint_best) {
    require_place_for_best(checkpoints);
  }
}

std::vector<std::string> RunDirectory::prepare(const Start& start) {
  if (out_.empty() && numbered_.empty()) {
    return {"out      none: nothing of this run will be kept"};
  }
  Options options = start.options;
  const TrainerConfig& config = options.trainer;
  const bool resumes = options.resume != Resume::no;
  if (!out_.empty()) require_free(start, resumes);
  // Of a run that was killed while it saved: room for one that is whole.
  if (!out_.empty()) remove_leftovers(real_disk(), out_ / "checkpoints");
  const auto space =
      check_space(out_.empty() ? numbered_ : out_,
                  start.checkpoint_bytes,
                  config.checkpoint_keep + (config.checkpoint_best ? 1 : 0));
  make();
  options.trainer.out = out_;
  options.force.clear();  // of this start alone
  if (!lock_) claim();
  probe_checkpoint_folder(out_ / "checkpoints");
  const std::string config_text = to_config_text(options);
  const auto aside = resumes ? "" : set_aside(out_, config_text);
  const auto changed = resumes ? describe_changes(out_, options) : "";
  write_file_atomically(out_ / "config.cfg", config_text);
  write_file_atomically(
      out_ / "provenance.json",
      to_text(provenance(options, start.data, start.mesh, start.hosts), 2) +
          "\n");
  std::vector<std::string> lines = {describe_checkpoints(config)};
  if (!lock_->excludes()) {
    lines.emplace_back(
        "this file system knows no locks: nothing keeps a second run out");
  }
  for (const auto& line : {space, aside, changed}) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

RunOnDisk open_run(const fs::path& folder,
                   const std::string& which,
                   const Damage& known) {
  const auto checkpoint = find_checkpoint(folder / "checkpoints", which, known);
  require(checkpoint.has_value(),
          "{}: holds no checkpoint{}",
          folder.string(),
          which.empty() ? "" : " " + which);
  const fs::path config = folder / "config.cfg";
  RunOnDisk run{checkpoint->path, {}, checkpoint->damage};
  std::map<std::string, std::string> values;
  std::error_code error;
  if (fs::exists(fs::symlink_status(config, error))) {
    values = to_map(read_config(config));
  } else {
    // The checkpoint has all settings that its weights depend on.
    run.notes.push_back(config.string() +
                        ": is not there; the checkpoint's settings are taken");
  }
  for (const auto& [key, value] : checkpoint->state.settings) {
    const Key* row = find_key(key);
    if (row == nullptr || !must_match(*row)) continue;
    const auto [found, added] = values.emplace(key, value);
    if (added || found->second == value) continue;
    run.notes.push_back(fmt::format(
        "{} = {} in {}, {} in the checkpoint, which is what was trained: {}",
        key,
        found->second,
        config.string(),
        value,
        checkpoint->path.filename().string()));
    found->second = value;
  }
  run.options = options_from(values, checkpoint->path.string());
  return run;
}

}  // namespace mumoe::run
