#pragma once

#include <memory>
#include <vector>

#include "data/samples.h"
#include "data/text/prepare.h"
#include "data/text/token_windows.h"
#include "dist/process_mesh.h"
#include "run/options.h"

namespace mumoe::launch {

/// What a run trains on and is evaluated on: the one place that knows in which
/// form the samples of a family lie on disk.
struct RunData {
  /// The run's token files: fetched and made on rank 0, then opened by all. The
  /// others wait for that up to an hour; if it fails, rank 0 ends them. Throws
  /// `InputError` also where ranks find different files. Collective.
  RunData(const run::Options& options, dist::ProcessMesh& mesh);

  /// Samples of so many tokens as the model of `options` takes; the data must
  /// outlive them.
  std::unique_ptr<data::Samples> train(const run::Options& options) const;
  std::unique_ptr<data::Samples> validation(const run::Options& options) const;

  data::PreparedData prepared;

 private:
  std::vector<data::TokenFile> train_;
  std::vector<data::TokenFile> val_;
};

}  // namespace mumoe::launch
