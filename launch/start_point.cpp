#include "launch/start_point.h"

#include <utility>

#include "base/error.h"
#include "launch/same_run.h"
#include "run/resume.h"
#include "run/run_directory.h"

namespace mumoe::launch {

StartPoint find_start(const run::Options& asked, dist::Communicator& world) {
  if (!asked.resume) return {asked};
  require(!asked.trainer.out.empty(),
          "--train.resume: train.out is empty; expected the folder of the run");
  const auto folder = asked.trainer.out / "checkpoints";
  const auto checkpoint = run::latest_checkpoint(folder);
  require_same_run(world,
                   {{"--train.resume: the newest checkpoint",
                     checkpoint ? checkpoint->string() : "none"}});
  require(checkpoint.has_value(),
          "--train.resume: {} holds no checkpoint",
          folder.string());
  auto state = run::read_run_state(*checkpoint);
  auto [options, reasons] = run::replay(asked, state.settings);
  // Before anything is fetched or measured.
  run::check_resumable(state.settings, run::settings_of(options), *checkpoint);
  return {std::move(options), std::move(reasons), checkpoint, std::move(state)};
}

void require_same_files(const data::PreparedData& prepared,
                        const StartPoint& start,
                        dist::Communicator& world) {
  Facts facts = {{"hash of train.bin", prepared.train.hash},
                 {"hash of val.bin", prepared.val.hash}};
  if (start.checkpoint) {
    facts["--train.resume: samples of the checkpoint"] =
        std::to_string(start.state.samples);
    for (const auto& [name, value] : start.state.settings) {
      facts["--train.resume: " + name + " of the checkpoint"] = value;
    }
  }
  require_same_run(world, facts);
}

}  // namespace mumoe::launch
