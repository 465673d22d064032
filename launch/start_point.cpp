#include "launch/start_point.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "launch/same_run.h"
#include "run/agreed_errors.h"
#include "run/manifest.h"
#include "run/named_checkpoint.h"
#include "run/newest_checkpoint.h"
#include "run/rebuild.h"
#include "train/schedule.h"

namespace mumoe::launch {
namespace {

/// `option`: how the run was told to go on.
Facts facts_of(const run::RunState& state, const std::string& option) {
  Facts facts = {
      {option + ": samples of the checkpoint", std::to_string(state.samples)}};
  for (const auto& [name, value] : state.settings) {
    facts[option + ": " + name + " of the checkpoint"] = value;
  }
  return facts;
}

/// A run of `asked` that goes on from `found`, which was named by `folder`.
StartPoint go_on(const run::Options& asked,
                 run::NewestCheckpoint found,
                 const std::filesystem::path& folder,
                 dist::Communicator& world) {
  const std::string option =
      run::branches(asked) ? "--train.branch" : "--train.resume";
  auto& [checkpoint, state, damage] = found;
  require_same_run(world, facts_of(state, option));
  require(state.step > 0,
          "{}: {} holds weights alone, of no run; expected "
          "--train.from {}, to begin a run with them in another folder",
          option,
          checkpoint.string(),
          folder.string());
  auto [options, reasons] = run::replay(asked, state.settings);
  reasons.insert(reasons.begin(), damage.begin(), damage.end());
  StartPoint start{std::move(options),
                   std::move(reasons),
                   std::move(checkpoint),
                   std::move(state)};
  // Before anything is fetched or measured.
  require_resumable(start, run::settings_of(start.options), world);
  return start;
}

/// A run that begins where a checkpoint of another one stands.
StartPoint begin_branch(const run::Options& options,
                        dist::Communicator& world,
                        const run::Damage& known) {
  const std::filesystem::path& path = options.branch;
  require(options.from.empty(),
          "train.branch = {}: goes on with the weights of that run; expected "
          "no train.from = {} beside it",
          path.string(),
          options.from.string());
  run::NewestCheckpoint found;
  run::agree_on_errors(world, [&] {
    std::error_code error;
    require(std::filesystem::exists(path, error),
            "train.branch = {}: is not there; expected a checkpoint, or a run",
            path.string());
    auto [checkpoint, notes] = run::named_checkpoint(path, known);
    if (const auto damaged = known.find(checkpoint); damaged != known.end()) {
      throw run::DamageError(damaged->second);
    }
    found = {checkpoint, run::read_run_state(checkpoint), std::move(notes)};
  });
  require_same_run(world,
                   {{"--train.branch: the checkpoint", found.path.string()}});
  return go_on(options, std::move(found), path, world);
}

/// A run that begins at step 0.
StartPoint begin(const run::Options& asked,
                 dist::Communicator& world,
                 const run::Damage& known) {
  StartPoint start{asked};
  start.options.resume = run::Resume::no;
  if (run::branches(start.options)) {
    return begin_branch(start.options, world, known);
  }
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

/// Throws `InputError` unless the steps that a branch takes over had the
/// learning rates of its own schedule, to the bit: else it would end otherwise
/// than a run that has this schedule from the beginning.
void require_same_rates(const StartPoint& start,
                        const std::set<std::string>& forced) {
  const run::ScheduleConfig& now = start.options.schedule;
  const auto of_schedule = [](const std::string& key) {
    return key.starts_with("schedule.") || key == "optimizer.lr";
  };
  // Its length follows from data that is not there yet, or it may differ.
  if (now.steps == 0 || std::ranges::any_of(forced, of_schedule)) return;
  const auto before = run::schedule_of(start.state.settings);
  for (std::int64_t step = 0; step < start.state.step; ++step) {
    const double had = train::learning_rate(before, step);
    const double has = train::learning_rate(now, step);
    require(
        had == has,
        "--train.branch: step {} had the learning rate {} in {}, {} in this "
        "schedule; expected the same up to step {}: schedule.kind = wsd "
        "with a decay that begins later, of a run that was constant or wsd",
        step + 1,
        had,
        start.checkpoint->string(),
        has,
        start.state.step);
  }
}

}  // namespace

std::set<std::string> require_resumable(const StartPoint& start,
                                        const run::Settings& now,
                                        dist::Communicator& world) {
  const bool branch = run::branches(start.options);
  try {
    const auto forced = run::forced_keys(start.options);
    auto changed = run::check_resumable(start.state.settings,
                                        now,
                                        forced,
                                        *start.checkpoint,
                                        branch);
    if (branch) require_same_rates(start, forced);
    return changed;
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
  const std::filesystem::path runs = "runs";
  if (line.config.empty()) return runs / "default";
  // The settings of the run that it branches from.
  const bool of_a_run =
      !options.branch.empty() && line.config.filename() == "config.cfg";
  if (!of_a_run) return runs / line.config.stem();
  std::error_code error;
  const auto file = std::filesystem::absolute(line.config, error);
  return runs / (file.parent_path().filename().string() + "-branch");
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
  run::Options options = asked;
  options.resume = run::Resume::yes;
  return go_on(options, std::move(*newest), asked.trainer.out, world);
}

}  // namespace mumoe::launch
