#include "run/weights_run.h"

#include <ATen/ATen.h>

#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "dist/self_communicator.h"
#include "model/families.h"
#include "mumoe/safetensors.h"
#include "run/checkpoint_folder.h"
#include "run/optimizer_state.h"
#include "run/resume.h"
#include "run/single_file.h"

namespace mumoe::run {
namespace {

namespace fs = std::filesystem;

void write_state(const WeightsRun& run,
                 const RunState& state,
                 const fs::path& file) {
  std::vector<TensorHeader> headers;
  for (const dist::Parameter& p : run.registry.parameters()) {
    headers.push_back({kMaster + p.name, run.dtype, p.global_shape});
  }
  SafetensorsWriter writer(file,
                           std::move(headers),
                           single_file_metadata(state));
  for (std::size_t i = 0; i < run.registry.parameters().size(); ++i) {
    writer.write(run.value(i).to(run.dtype));
  }
  writer.commit();
}

void write_files(const WeightsRun& run) {
  std::error_code error;
  fs::create_directories(run.to, error);
  require(!error && fs::is_directory(run.to, error),
          "{}: cannot create: {}",
          run.to.string(),
          error ? error.message() : "it is not a folder");
  Options options = run.options;
  options.trainer.out = run.to;
  options.keep = Keep::folder;
  const RunState state{.settings = settings_of(options)};
  write_single_file(run.to / "checkpoints", 0, [&](const fs::path& file) {
    write_state(run, state, file);
  });
  write_file_atomically(run.to / "config.cfg", to_config_text(options));
  if (run.provenance.empty()) return;
  write_file_atomically(run.to / "provenance.json", run.provenance);
}

}  // namespace

ModelSkeleton::ModelSkeleton(const Options& options)
    : self(dist::make_self_communicator(at::kCPU)),
      registry(*self, at::kFloat, at::kMeta),
      model(model::family(options.family)
                .make(options.model, registry, {}, nullptr)) {}

void write_weights_run(const WeightsRun& run) {
  std::error_code error;
  const bool there = fs::exists(fs::symlink_status(run.to, error));
  require(!latest_checkpoint(run.to / "checkpoints"),
          "--to {}: holds a run with checkpoints; expected another folder",
          run.to.string());
  try {
    write_files(run);
  } catch (...) {
    if (!there) fs::remove_all(run.to, error);
    throw;
  }
}

}  // namespace mumoe::run
