#pragma once

#include <cstddef>
#include <string>

#include "run/checkpoint_difference.h"
#include "run/checkpoint_survey.h"
#include "run/run_survey.h"

namespace mumoe::launch {

// What `mumoe inspect` found.

/// For people: lines of at most `columns`, but for words that are longer; where
/// a table is too wide, a few lines a row.
std::string table_of(const run::CheckpointSurvey& survey, std::size_t columns);
std::string table_of(const run::RunSurvey& survey, std::size_t columns);
std::string table_of(const run::CheckpointDifference& difference,
                     std::size_t columns);

/// The same for programs, numbers with all their digits; null for what is not
/// known or not finite.
std::string json_of(const run::CheckpointSurvey& survey);
std::string json_of(const run::RunSurvey& survey);
std::string json_of(const run::CheckpointDifference& difference);

}  // namespace mumoe::launch
