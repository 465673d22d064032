#include "study/scale/launcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/file_lock.h"

namespace mumoe::study {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// What a run that was killed takes to end on all ranks.
constexpr auto kLeaves = 60s;
// A job of Slurm is warned so many seconds before its time is over.
constexpr int kWarned = 10;

void remove_path(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  require(!error, "{}: cannot be removed: {}", path.string(), error.message());
}

/// The number of the job that `sbatch --parsable` has said, if it has.
std::string job_in(const fs::path& said) {
  std::string line;
  std::ifstream file(said);
  while (std::getline(file, line)) {
    if (!line.empty() && std::isdigit(static_cast<unsigned char>(line[0]))) {
      return line.substr(0, line.find_first_not_of("0123456789"));
    }
  }
  return {};
}

std::chrono::milliseconds limit_of(const ScaleStudy& study) {
  return std::chrono::milliseconds(std::llround(study.minutes * 60'000));
}

void append(std::vector<std::string>& words,
            const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
}

}  // namespace

fs::path RunPlaces::trace_of_rank_0(int ranks) const {
  fs::path path = trace;
  if (ranks > 1) path += ".rank0";
  return path;
}

void RunPlaces::await_end() const {
  const fs::path lock = out / ".lock";
  std::error_code error;
  if (!fs::exists(lock, error)) return;
  const auto until = std::chrono::steady_clock::now() + kLeaves;
  while (!FileLock::try_lock(lock)) {
    require(std::chrono::steady_clock::now() < until,
            "{}: held by {}; expected that run to have ended",
            out.string(),
            FileLock::holder(lock));
    std::this_thread::sleep_for(200ms);
  }
}

void RunPlaces::clear() const {
  await_end();
  remove_path(out);
  remove_path(log);
  remove_path(job);
  keep_figures();
}

void RunPlaces::keep_figures() const {
  remove_path(out / "checkpoints");
  std::error_code error;
  const std::string name = trace.filename().string();
  for (const auto& entry : fs::directory_iterator(trace.parent_path(), error)) {
    if (entry.path().filename().string().starts_with(name)) {
      remove_path(entry.path());
    }
  }
}

void Launcher::require_nodes(const StudyCell& cell) const {
  const int each = ranks_per_node;
  require(kind != Kind::slurm || each == 0 || cell.ranks() <= each ||
              cell.ranks() % each == 0,
          "{} ranks on nodes of {}: expected a multiple of that",
          cell.ranks(),
          each);
}

std::vector<std::string> measured_words(const ScaleStudy& study,
                                        const StudyCell& cell) {
  std::vector<std::string> words;
  if (!study.config.empty()) append(words, {"--config", study.config.string()});
  for (const auto& [key, value] : cell.settings) {
    append(words, {"--" + key, value});
  }
  return words;
}

std::vector<std::string> Launcher::words_of(const ScaleStudy& study,
                                            const StudyCell& cell,
                                            const RunPlaces& places) const {
  std::vector<std::string> all;
  if (kind == Kind::mpirun) {
    all = {(scripts / "mpirun").string(), "-n", std::to_string(cell.ranks())};
    append(all, words);
    append(all, {program.string(), "train"});
  } else {
    const int each = ranks_per_node == 0
                         ? cell.ranks()
                         : std::min(ranks_per_node, cell.ranks());
    const auto minutes = static_cast<std::int64_t>(std::ceil(study.minutes));
    all = {"sbatch",
           "--wait",
           "--parsable",
           "--no-requeue",
           "--job-name=mumoe-scale",
           fmt::format("--nodes={}", cell.ranks() / each),
           fmt::format("--ntasks-per-node={}", each),
           fmt::format("--time={}", minutes + 1),
           fmt::format("--signal=B:USR1@{}", kWarned),
           "--output=" + places.log.string()};
    append(all, words);
    all.push_back((scripts / "slurm.sbatch").string());
  }
  append(all, measured_words(study, cell));
  append(all, {"--train.out", places.out.string()});
  return all;
}

End Launcher::run(const ScaleStudy& study,
                  const StudyCell& cell,
                  const RunPlaces& places,
                  const std::function<bool()>& stop) const {
  Command command{.words = words_of(study, cell, places),
                  .output = places.log,
                  .limit = limit_of(study)};
  if (kind == Kind::mpirun) return run_to_end(command, stop);
  // sbatch works in the folder that it is called in, and ends with its job.
  command.output = places.job;
  command.folder = scripts.parent_path();
  command.limit = queue;
  const End end = run_to_end(command, stop, [&] {
    const std::string job = job_in(command.output);
    if (job.empty()) return;
    const Command cancel{.words = {"scancel", job},
                         .output = command.output.string() + ".scancel",
                         .limit = 60s};
    run_to_end(cancel, [] { return false; });
  });
  return end;
}

fs::path scripts_above(const fs::path& program) {
  for (fs::path folder = program.parent_path();;
       folder = folder.parent_path()) {
    std::error_code error;
    if (fs::exists(folder / "launch" / "mpirun", error)) {
      return folder / "launch";
    }
    if (!folder.has_relative_path()) break;
  }
  fail<InputError>(
      "{}: no launch/mpirun in the folders above it; expected --launch FOLDER",
      program.string());
}

}  // namespace mumoe::study
