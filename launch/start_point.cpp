#include "launch/start_point.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "launch/same_run.h"
#include "run/agreed_errors.h"
#include "run/manifest.h"
#include "run/newest_checkpoint.h"
#include "run/rebuild.h"

namespace mumoe::launch {
namespace {

Facts facts_of(const run::RunState& state) {
  Facts facts = {{"--train.resume: samples of the checkpoint",
                  std::to_string(state.samples)}};
  for (const auto& [name, value] : state.settings) {
    facts["--train.resume: " + name + " of the checkpoint"] = value;
  }
  return facts;
}

/// A run that begins at step 0.
StartPoint begin(const run::Options& asked,
                 dist::Communicator& world,
                 const run::Damage& known) {
  StartPoint start{asked};
  start.options.resume = run::Resume::no;
  if (asked.from.empty()) return start;
  const std::string what = "train.from = " + asked.from.string();
  auto weights = std::make_shared<run::OpenedWeights>(
      run::open_weights(asked.from, known));
  run::require_same_model(*weights, start.options, what);
  require_same_run(world, {{"--train.from: what it holds", weights->digest()}});
  start.reasons.push_back(
      fmt::format("weights from {}: {}, {}; the optimizer begins anew",
                  asked.from.string(),
                  to_string(weights->format),
                  weights->origin.string()));
  for (const auto& note : weights->notes) {
    start.reasons.push_back("train.from: " + note);
  }
  start.from = std::move(weights);
  return start;
}

/// Throws `DamageError` where files do not begin as their manifest says.
void require_own_manifest(const std::filesystem::path& checkpoint) {
  const run::Manifest manifest = run::read_manifest(checkpoint);
  run::Rebuilder rebuilder(checkpoint, manifest);
  for (std::size_t f = 0; f < manifest.files.size(); ++f) {
    const run::CheckedFile& file = manifest.files[f];
    run::CheckedReader reader(checkpoint, file, rebuilder.of(f));
    char first = 0;
    if (file.bytes > 0) reader.read(0, {&first, 1}, "its beginning");
  }
}

}  // namespace

std::set<std::string> require_resumable(const StartPoint& start,
                                        const run::Settings& now,
                                        dist::Communicator& world) {
  try {
    return run::check_resumable(start.state.settings,
                                now,
                                run::forced_keys(start.options),
                                *start.checkpoint);
  } catch (const InputError&) {
    // All ranks compare the same.
    run::agree_on_damage(world, *start.checkpoint, [&] {
      if (world.rank() == 0) require_own_manifest(*start.checkpoint);
    });
    throw;
  }
}

std::filesystem::path numbered_out(const run::CommandLine& line) {
  const run::Options& options = line.options;
  const bool alone = options.parallel.backend == run::BackendChoice::null;
  if (options.keep != run::Keep::numbered || alone) return {};
  return std::filesystem::path("runs") /
         (line.config.empty() ? "default" : line.config.stem());
}

StartPoint find_start(const run::Options& asked,
                      dist::Communicator& world,
                      const run::Damage& known) {
  if (asked.resume == run::Resume::no) return begin(asked, world, known);
  require(!asked.trainer.out.empty(),
          "--train.resume: train.out = {}; expected the folder of the run",
          run::to_map(asked).at("train.out"));
  const auto folder = asked.trainer.out / "checkpoints";
  std::optional<run::NewestCheckpoint> newest;
  run::agree_on_errors(world,
                       [&] { newest = run::newest_checkpoint(folder, known); });
  require_same_run(world,
                   {{"--train.resume: the newest checkpoint",
                     newest ? newest->path.string() : "none"}});
  if (!newest && asked.resume == run::Resume::automatic) {
    return begin(asked, world, known);
  }
  require(newest.has_value(),
          "--train.resume: {} holds no checkpoint",
          folder.string());
  auto& [checkpoint, state, passed_by] = *newest;
  require_same_run(world, facts_of(state));
  require(state.step > 0,
          "--train.resume: {} holds weights alone, of mumoe convert; expected "
          "--train.from {}, to begin a run with them in another folder",
          checkpoint.string(),
          asked.trainer.out.string());
  auto [options, reasons] = run::replay(asked, state.settings);
  options.resume = run::Resume::yes;
  reasons.insert(reasons.begin(), passed_by.begin(), passed_by.end());
  StartPoint start{std::move(options),
                   std::move(reasons),
                   std::move(checkpoint),
                   std::move(state)};
  // Before anything is fetched or measured.
  require_resumable(start, run::settings_of(start.options), world);
  return start;
}

}  // namespace mumoe::launch
