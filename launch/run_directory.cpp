#include "launch/run_directory.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/headeronly/version.h>

#include <nlohmann/json.hpp>

#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "dist/nccl_version.h"
#include "launch/version.h"
#include "train/checkpoint.h"
#include "train/metrics.h"

namespace mumoe::launch {
namespace {

nlohmann::json describe_split(const data::Split& split) {
  return {{"tokens", split.tokens},
          {"bytes", split.bytes},
          {"xxh64", split.hash}};
}

nlohmann::json provenance(const Options& options,
                          const data::PreparedData& data,
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
        {"world", mesh.world().size()}}},
      {"precision", to_map(options).at("train.precision")},
      {"data",
       {{"source", data.source},
        {"tokenizer", data.tokenizer},
        {"train", describe_split(data.train)},
        {"val", describe_split(data.val)}}},
  };
}

}  // namespace

void prepare_run_directory(const Options& options,
                           const data::PreparedData& data,
                           const dist::ProcessMesh& mesh,
                           const dist::HostMap& hosts) {
  const std::filesystem::path& out = options.trainer.out;
  if (out.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(out, error);
  require(!error,
          "train.out = ",
          out.string(),
          ": cannot create: ",
          error.message());
  require(options.resume || !train::latest_checkpoint(out / "checkpoints"),
          "train.out = ",
          out.string(),
          ": holds a run with checkpoints; resume it with --train.resume or "
          "choose another folder");
  if (options.resume) train::require_metrics(out);
  write_file_atomically(out / "config.cfg", to_config_text(options));
  write_file_atomically(
      out / "provenance.json",
      to_text(provenance(options, data, mesh, hosts), 2) + "\n");
}

std::map<std::string, std::string> settings_that_matter(
    const Options& options,
    const data::PreparedData& data) {
  std::map<std::string, std::string> kept;
  for (const auto& [name, value] : to_map(options)) {
    if (name.starts_with("model.") || name.starts_with("optimizer.") ||
        name.starts_with("schedule.") || name == "train.batch" ||
        name == "train.seed" || name == "train.precision" ||
        name == "train.gemm" || name == "train.mixing" ||
        name == "data.tokenizer") {
      kept[name] = value;
    }
  }
  kept["data.source (hash of train.bin)"] = data.train.hash;
  return kept;
}

void check_resumable(const std::map<std::string, std::string>& stored,
                     const std::map<std::string, std::string>& now,
                     const std::filesystem::path& checkpoint) {
  for (const auto& [name, value] : now) {
    const auto found = stored.find(name);
    require(found != stored.end() && found->second == value,
            "--train.resume: ",
            name,
            " is ",
            value,
            ", but the run in ",
            checkpoint.string(),
            " has ",
            found == stored.end() ? "none" : found->second,
            "; give the same value, or start a new run");
  }
}

}  // namespace mumoe::launch
