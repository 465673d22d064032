#pragma once

#include <memory>

#include "data/samples.h"
#include "dist/process_mesh.h"
#include "run/data_facts.h"
#include "run/options.h"

namespace mumoe::launch {

/// What a run trains on and is evaluated on: the one place that knows in which
/// form the samples of a family lie on disk.
class RunData {
 public:
  virtual ~RunData() = default;

  const run::DataFacts& facts() const { return facts_; }
  /// Samples as the model of `options` takes them; the data must outlive them.
  virtual std::unique_ptr<data::Samples> train(
      const run::Options& options) const = 0;
  virtual std::unique_ptr<data::Samples> validation(
      const run::Options& options) const = 0;

 protected:
  explicit RunData(run::DataFacts facts) : facts_(std::move(facts)) {}

 private:
  run::DataFacts facts_;
};

/// The data of a run: fetched and made on rank 0, then opened by all. The
/// others wait for that up to an hour; if it fails, rank 0 ends them. Throws
/// `InputError` also where ranks find different data. Collective.
std::unique_ptr<RunData> open_run_data(const run::Options& options,
                                       dist::ProcessMesh& mesh);

}  // namespace mumoe::launch
