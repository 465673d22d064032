#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/samples.h"
#include "launch/asked_model.h"
#include "run/command_line.h"
#include "run/data_facts.h"
#include "train/scores.h"

namespace mumoe::launch {

/// The samples that a study sends through a model.
struct StudyData {
  run::DataFacts facts;
  std::string part;  ///< "training" or "validation"
  std::shared_ptr<const data::Samples> samples;
  std::vector<std::uint64_t> indices;  ///< Of those that are looked at.
  std::int64_t per_batch = 0;
  train::BatchList batches;
};

/// `--data` (a source as of data.source; the run's), `--part` (train or val, or
/// else `part`) and `--samples` (N, or all; spread evenly) of `line`. Images
/// are as in evaluation, training ones too. Collective; throws `InputError`
/// where they do not fit the model.
StudyData open_study_data(const AskedRun& run,
                          const run::CommandLine& line,
                          const std::string& part = "val");

/// The options of it.
std::vector<run::OwnOption> study_data_options();

}  // namespace mumoe::launch
