#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "run/data_facts.h"
#include "train/evaluation.h"

namespace mumoe::launch {

/// The last line of a run that has made all its steps. An empty `out`: nothing
/// was kept.
std::string done_line(std::int64_t step,
                      const std::optional<train::Evaluation>& evaluation,
                      const run::DataFacts& data,
                      const std::filesystem::path& out);

/// What stops a run that is asked to stop, and one whose time is over.
constexpr const char* kBySignal = "by a signal";
std::string by_time(double max_minutes);

/// What it says when it is stopped before there is anything to save.
std::string stopped_early_line(const std::string& cause);

/// The same of a run that was stopped after `step` of `steps`: by what, what
/// was saved, and how it goes on.
std::string stopped_line(const std::string& cause,
                         std::int64_t step,
                         std::int64_t steps,
                         const std::filesystem::path& out);

}  // namespace mumoe::launch
