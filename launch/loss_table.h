#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "study/loss/loss_result.h"

namespace mumoe::launch {

/// What a loss study's runs came to, for people: a row for each model and
/// budget, with the mean over its seeds; and the runs that failed, or came to
/// no finite loss and are left out, a line each. As wide as `columns`; ends
/// with a line end; empty of no results.
std::string loss_table(const std::vector<study::LossResult>& results,
                       std::size_t columns);

/// The same for programs, with all digits: {"losses": [{"model", "form",
/// "parameters", "targets", "flops", "loss": {"mean", "low", "high"},
/// "seeds"}], "left_out": [names of runs], "runs": [lines of results.jsonl]}.
std::string loss_table_json(const std::vector<study::LossResult>& results);

}  // namespace mumoe::launch
