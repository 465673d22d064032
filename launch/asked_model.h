#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "dist/params/flat_buckets.h"
#include "dist/params/parameter_registry.h"
#include "launch/commands.h"
#include "launch/session.h"
#include "launch/settle.h"
#include "launch/show_facts.h"
#include "model/model.h"
#include "run/command_line.h"
#include "run/load_checkpoint.h"
#include "run/run_directory.h"

namespace mumoe::launch {

/// The model of a run on disk, laid over the ranks that ask it something, with
/// the weights of a checkpoint.
class AskedModel {
 public:
  /// Says on stderr, as `command`, what was passed by. Collective. Throws
  /// `run::DamagedCheckpoint` as `run::load_checkpoint` does.
  AskedModel(const std::string& command,
             const run::RunOnDisk& opened,
             const Settled& settled,
             Session& session);

  model::Model& model() { return *model_; }
  dist::ParameterRegistry& registry() { return registry_; }
  /// Steps that it has been trained for.
  std::int64_t step() const { return loaded_.state.step; }

 private:
  dist::ParameterRegistry registry_;
  Sharding sharding_;
  std::unique_ptr<model::Model> model_;
  dist::FlatBuckets buckets_;
  run::Loaded loaded_;
};

/// Where `--json` of `line` says, on rank 0; nothing on the others. Made before
/// the run is opened: what cannot be written is found then.
std::optional<FactsOutput> open_output(const Invocation& invocation,
                                       const run::CommandLine& line);

/// What a question about a run is asked with.
struct AskedRun {
  const run::RunOnDisk& opened;
  const Settled& settled;
  Session& session;
  AskedModel& asked;
};

/// Opens the run that `--run` names (of `--checkpoint`, the newest otherwise)
/// on all ranks, past damage, lays its model over them as [parallel] of `line`
/// says, and calls `ask`; again, where an older checkpoint must be taken.
/// `command`: "mumoe study", for messages. `whole_tokens`: whether every rank
/// must see all tokens of its samples, which rules out the plan `sequence`.
/// `change`: may set other options of the run before it is laid out, such as
/// its precision. Collective. Throws `InputError` where there is no such run,
/// and where ranks were asked different things.
ExitCode ask_run(const Invocation& invocation,
                 const run::CommandLine& line,
                 const std::string& command,
                 bool whole_tokens,
                 const std::function<void(AskedRun&)>& ask,
                 const std::function<void(run::Options&)>& change = {});

}  // namespace mumoe::launch
