#pragma once

#include <memory>

#include "data/images/image_data.h"
#include "data/samples.h"
#include "data/sequence.h"
#include "dist/process_mesh.h"
#include "run/data_facts.h"
#include "run/options.h"

namespace mumoe::launch {

/// What a run trains on and is evaluated on, as its model takes it.
struct RunData {
  run::DataFacts facts;
  std::shared_ptr<const data::Samples> train;
  std::shared_ptr<const data::Samples> val;
  /// What is trained on when; null: `train` in the order of the seed.
  std::shared_ptr<const data::Sequence> sequence = nullptr;
  /// Images that no run is chosen by; null where the source has no such part.
  std::shared_ptr<const data::Samples> test = nullptr;
};

/// The data of a run: fetched and made on rank 0, then opened by all. The
/// others wait for that up to an hour; if it fails, rank 0 ends them. The one
/// place that knows in which form the samples of a family lie on disk. Throws
/// `InputError` also where the model of `options` does not fit, and where ranks
/// find different data. Collective.
RunData open_run_data(const run::Options& options, dist::ProcessMesh& mesh);

/// What `options` say of images.
data::ImageOptions image_options(const run::Options& options);

}  // namespace mumoe::launch
